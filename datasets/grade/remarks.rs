//! What stands behind an answer and says nothing of it: wishes, offers, ends, footers. And what takes an
//! answer back.

use super::side::has_digit;

/// How sentences begin that close a text politely.
const WISHES: [&str; 15] = [
    "do you want",
    "do you have",
    "is there anything",
    "can i help",
    "want me to",
    "i hope",
    "hope ",
    "let me know",
    "please ",
    "feel free",
    "thank",
    "good luck",
    "if you have",
    "if you need",
    "would you like",
];
/// How sentences begin that speak of the text, or to the reader.
const REMARKS: [&str; 21] = [
    "does that make sense",
    "does this make sense",
    "this is the final",
    "this is our final",
    "this completes",
    "this concludes",
    "the problem is solved",
    "that is the answer",
    "that's the answer",
    "that is the final",
    "and that's",
    "thus, we have found",
    "we have found",
    "remember to",
    "great job",
    "well done",
    "good job",
    "happy to help",
    "happy ",
    "you're welcome",
    "this assumes",
];
/// All that some lines say.
const ENDS: &str = "q.e.d qed end done answer solution final complete finished end_of_solution";
/// What names a figure that is about the text.
const FOOTERS: [&str; 9] = [
    "confidence",
    "difficulty",
    "topic",
    "level",
    "time taken",
    "steps used",
    "this solution took",
    "this is a grade",
    "source",
];

/// Whether a sentence at the end of a text is no part of its answer.
pub(super) fn is_remark(sentence: &str) -> bool {
    let bare = sentence.trim_matches(|c: char| !c.is_alphanumeric());
    let lower = bare.to_lowercase();
    if WISHES.iter().chain(&FOOTERS).any(|name| lower.starts_with(name)) {
        return true;
    }
    if has_digit(sentence) || sentence.contains(['\\', '$', '∞', 'π']) {
        return false;
    }
    if bare.is_empty() {
        // Signs alone, but no formula: `---`, `✅`, an empty `####`.
        return true;
    }
    let end = lower.replace(' ', "_");
    let ends = ENDS.split(' ').any(|known| known == end);
    let exclaims = sentence.trim_end_matches(|c: char| !c.is_ascii_punctuation()).ends_with('!');
    let short = lower.split_whitespace().count() <= 8;
    let claims = ["no", "not", "none", "never", "yes", "true", "false", "solution"];
    let claims = || lower.split(|c: char| !c.is_alphanumeric()).any(|word| claims.contains(&word));
    REMARKS.iter().any(|words| lower.starts_with(words)) || ends || exclaims && short && !claims()
}

/// How sentences begin that take back what was said.
const RETRACTIONS: [&str; 34] = [
    "wait, that's",
    "wait, that is",
    "wait, this",
    "wait, no",
    "wait, it",
    "wait, i",
    "wait no",
    "no wait",
    "no, wait",
    "this is wrong",
    "this is incorrect",
    "this is not correct",
    "that is wrong",
    "that's wrong",
    "that is incorrect",
    "that's incorrect",
    "that's not",
    "however, this is",
    "however, that is",
    "however, this does",
    "actually, it",
    "actually, no",
    "actually, the",
    "oops",
    "sorry, ",
    "correction",
    "corrected",
    "no, it",
    "no, the",
    "hold on",
    "let me reconsider",
    "let me recalculate",
    "i made a",
    "hmm, that does",
];
/// How they go on at once behind an answer: `\boxed{12} cannot be right`.
const DENIALS: [&str; 8] = [
    "cannot be",
    "can't be",
    "is too small",
    "is too large",
    "is not right",
    "is false",
    "does not work",
    "doesn't work",
];

/// Whether the text behind an answer takes it back.
pub(super) fn retracts(behind: &str) -> bool {
    if !behind.contains(char::is_alphanumeric) {
        return false;
    }
    let at_once = behind.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let same_line = !behind.trim_start_matches([' ', '$', '*', '.', ')']).starts_with('\n');
    if same_line && DENIALS.iter().any(|words| at_once.starts_with(words)) {
        return true;
    }
    let mut from = 0;
    let text = behind.replace('’', "'");
    while from < text.len() {
        let line_end = text[from..].find('\n').map_or(text.len(), |length| from + length);
        let rest = &text[from..line_end];
        let sentence = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        let head: String = sentence.chars().take(24).collect::<String>().to_lowercase();
        if RETRACTIONS.iter().any(|words| head.starts_with(words)) {
            return true;
        }
        let end = super::blocks::sentence_end(rest);
        from += (end + 1).min(rest.len() + 1).max(1);
        while !text.is_char_boundary(from.min(text.len())) {
            from += 1;
        }
    }
    false
}

/// Words of other languages that deny, estimate or bound a number.
const FOREIGN: &[&str] = &[
    // French
    "n'est",
    "n’est",
    "environ",
    "presque",
    "pas",
    "moins",
    "plus de",
    "plus que",
    "plus grand",
    "plus grande",
    "plus petit",
    "plus petite",
    "le double",
    "la moitié",
    // German
    "nicht",
    "ungefähr",
    "etwa",
    "fast",
    "mindestens",
    "höchstens",
    "mehr als",
    "weniger als",
    "größer",
    "kleiner",
    "kein",
    "keine",
    "keinen",
    "doppelte",
    "hälfte",
    "vielfaches",
    // Spanish
    "la respuesta no",
    "no hay",
    "no es",
    "no son",
    "aproximadamente",
    "casi",
    "al menos",
    "más de",
    "menos de",
    "mayor que",
    "menor que",
    "la mitad",
    "el doble",
    "unos",
    // Italian, Portuguese
    "non",
    "circa",
    "più di",
    "meno di",
    "quasi",
    "não",
    "cerca de",
    "mais de",
    "menos do",
    "pelo menos",
    // Dutch
    "niet",
    "geen",
    "ongeveer",
    "meer dan",
    "minder dan",
    "bijna",
    "minstens",
    // Russian
    "не",
    "нет",
    "больше",
    "меньше",
    "более",
    "менее",
    "около",
    "примерно",
    "почти",
    "половина",
    "вдвое",
    // Polish, Turkish, Indonesian
    "nie",
    "ponad",
    "około",
    "prawie",
    "değil",
    "fazla",
    "yaklaşık",
    "bukan",
    "lebih dari",
    "kurang dari",
    "sekitar",
];

/// Whether a sentence in another language than English denies, estimates or bounds its number.
pub(super) fn doubts_elsewhere(sentence: &str) -> bool {
    let lower: String = sentence.to_lowercase();
    let ascii_words = |text: &str| text.is_ascii();
    FOREIGN.iter().any(|words| {
        lower.match_indices(words).any(|(at, _)| {
            let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
            edge(lower[..at].chars().next_back()) && edge(lower[at + words.len()..].chars().next())
        }) && (!ascii_words(words) || !is_english(&lower))
    })
}

/// Whether a sentence has a frequent English word.
fn is_english(lower: &str) -> bool {
    const WORDS: [&str; 14] = [
        "the", "are", "were", "and", "has", "have", "she", "they", "it", "for", "there", "will", "his",
        "answer",
    ];
    lower.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
}
