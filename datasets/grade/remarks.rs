//! What stands behind an answer and says nothing of it: wishes, offers, ends, footers. And what takes an
//! answer back.

use super::side::{has_digit, is};
use super::spelled::is_number_word;

/// How sentences begin that close a text politely, whatever numbers they have.
const WISHES: [&str; 10] = [
    "i hope",
    "shall we",
    "do you want to try",
    "hope this",
    "hope that",
    "let me know",
    "feel free",
    "good luck",
    "is there anything",
    "can i help",
];
/// How sentences begin that speak of the text, or to the reader, and have no number.
const REMARKS: &[&str] = &[
    "if you have",
    "if you need",
    "if you",
    "please let",
    "please feel",
    "please ask",
    "please check",
    "please double",
    "thank you",
    "thanks for",
    "thanks!",
    "would you like",
    "do you",
    "want ",
    "does that",
    "does this",
    "this is the final",
    "this is our final",
    "this completes",
    "this concludes",
    "this matches",
    "this problem was",
    "this is a simple",
    "this solution follows",
    "the problem is solved",
    "problem solved",
    "hence proved",
    "that is the answer",
    "that's the answer",
    "that is the final",
    "that is how",
    "that's how",
    "thus, we have found",
    "we have found",
    "remember to",
    "great job",
    "well done",
    "good job",
    "happy to help",
    "i am happy to",
    "i'm happy to",
    "i'm confident",
    "i am confident",
    "you're welcome",
    "you are welcome",
    "this assumes",
    "best regards",
    "disclaimer",
    "as an ai",
    "tip:",
    "p.s.",
    "simple, right",
    "keep practicing",
    "stay curious",
    "you got this",
    "and there you have it",
    "i used",
    "ready for",
    "what if",
    "actually, you can also",
    "viel erfolg",
    "ich hoffe",
    "espero que",
    "j'espère",
    "pretty neat",
    "answer verified",
    "the reasoning is",
    "always check",
    "always remember",
    "希望",
    "如果你",
    "如果您",
    "他に",
    "ご質問",
    "¿quieres",
    "¿tienes",
    "hast du",
    "haben sie",
    "möchtest du",
    "avez-vous",
    "voulez-vous",
    "n'hésite",
    "n’hésite",
];
/// Words of praise in a short exclamation.
const PRAISE: &str = "\
    great good well nice excellent congratulations awesome amazing perfect bravo cheers enjoy lot wonderful";
/// All that some lines say.
const ENDS: &str = "\
    q.e.d qed end done answer final complete finished end_of_solution end_of_answer the_end";
/// What names a figure that is about the text, with a colon behind it or no other number.
const FOOTERS: [&str; 7] = [
    "confidence:",
    "confidence level:",
    "difficulty:",
    "topic:",
    "total tokens:",
    "this solution took",
    "this is a grade",
];

/// Whether a sentence at the end of a text is no part of its answer.
pub(super) fn is_remark(sentence: &str) -> bool {
    let bare = sentence.trim_matches(|c: char| !c.is_alphanumeric() && c != '¿');
    let lower = bare.to_lowercase().replace('*', "");
    let starts = |words: &str| {
        let edge = |c: char| !c.is_alphanumeric() || !words.is_ascii();
        lower.strip_prefix(words).is_some_and(|rest| {
            words.ends_with(|c: char| !c.is_alphanumeric()) || rest.chars().next().is_none_or(edge)
        })
    };
    let offers =
        lower.starts_with("if you") && ["question", "help", "ask"].iter().any(|word| lower.contains(word));
    if offers || FOOTERS.iter().chain(&WISHES).any(|words| starts(words)) {
        return true;
    }
    if has_digit(sentence) || sentence.contains(['\\', '$', '∞', 'π']) || is_error(&lower) {
        return false;
    }
    if bare.is_empty() {
        // Signs alone, but no formula: `---`, `✅`, an empty `####`.
        return true;
    }
    let word = |list: &str| lower.split(|c: char| !c.is_alphanumeric()).any(|word| is(list, word));
    if lower.split(|c: char| !c.is_alphanumeric()).any(is_number_word) {
        return false;
    }
    let end = lower.replace(' ', "_");
    let signs = |c: char| !c.is_ascii_punctuation() || c == '*';
    let end_sign = sentence.trim_end_matches(signs);
    let short = lower.split_whitespace().count() <= 8;
    REMARKS.iter().any(|words| starts(words))
        || is(ENDS, &end)
        || end_sign.ends_with('!') && short && word(PRAISE)
        || end_sign.ends_with('?') && !word("no not")
}

/// Whether a text says that something is wrong.
fn is_error(lower: &str) -> bool {
    const ERRORS: [&str; 36] = [
        "this is wrong",
        "this was wrong",
        "that is wrong",
        "it is wrong",
        "it's wrong",
        "that's wrong",
        "above is wrong",
        "answer is wrong",
        "answer was wrong",
        "result is wrong",
        "i was wrong",
        "went wrong",
        "this is incorrect",
        "that is incorrect",
        "that's incorrect",
        "it is incorrect",
        "answer is incorrect",
        "answer is therefore incorrect",
        "above is incorrect",
        "is not correct",
        "that's not right",
        "is not right",
        "not the right answer",
        "can't be right",
        "cannot be right",
        "made a mistake",
        "made an error",
        "made an arithmetic",
        "is a mistake",
        "contains an error",
        "be an error",
        "doesn't add up",
        "this does not work",
        "this does not satisfy",
        "that does not satisfy",
        "miscounted",
    ];
    let fine =
        ["not wrong", "no error", "no mistake", "nothing is wrong", "would be", "common", "if ", "some "];
    ERRORS.iter().any(|words| lower.contains(words)) && !fine.iter().any(|words| lower.contains(words))
}

/// How sentences begin that put another answer in the place of one.
const CORRECTIONS: &[&str] = &[
    "wait",
    "no",
    "nope",
    "oops",
    "sorry",
    "actually",
    "correction",
    "corrected",
    "edit",
    "revised",
    "updated",
    "rather",
    "my bad",
    "my mistake",
    "let me fix",
    "strike that",
    "hold on",
    "in fact",
    "apologies",
    "i apologize",
    "hmm",
    "upon checking",
    "upon further",
    "after rechecking",
];
/// How they go on at once behind an answer: `\boxed{12} cannot be right`.
const DENIALS: [&str; 9] = [
    "cannot be right",
    "cannot be correct",
    "can't be right",
    "is too small",
    "is too large",
    "is not right",
    "is false",
    "does not work",
    "doesn't work",
];
/// What all of it takes back.
const IGNORED: [&str; 6] = [
    "ignore the previous",
    "ignore the above",
    "disregard the",
    "let me reconsider",
    "let me recalculate",
    "strike that",
];

/// The last number of a text, without commas for thousands.
fn last_number(text: &str) -> Option<String> {
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let number = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.');
    let from = text[..end].trim_end_matches(number).len();
    Some(text[from..end].replace(',', ""))
}

/// Whether the text behind an answer takes it back.
pub(super) fn retracts(behind: &str, answer: &str) -> bool {
    if !behind.contains(char::is_alphanumeric) {
        return false;
    }
    let at_once = behind.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let same_line = !behind.trim_start_matches([' ', '$', '*', '.', ')']).starts_with('\n');
    if same_line && DENIALS.iter().any(|words| at_once.starts_with(words)) {
        return true;
    }
    let text = behind.replace('’', "'");
    let (mut from, mut before) = (0, String::new());
    while from < text.len() {
        let line_end = text[from..].find('\n').map_or(text.len(), |length| from + length);
        let rest = &text[from..line_end];
        let end = super::blocks::sentence_end(rest);
        let sentence = rest[..end].trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let head = |words: &str| {
            sentence.strip_prefix(words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        // What is said of another answer: `A common mistake is to answer 14. This is incorrect.`
        let other = ["mistake is", "common", "might think", "some ", "if we", "if you", "others"];
        let of_another = other.iter().any(|words| before.contains(words));
        let corrects = CORRECTIONS.iter().any(|words| head(words))
            && last_number(&sentence).is_some_and(|number| Some(number) != last_number(answer))
            && !["correct", "yes", "indeed", "right"].iter().any(|word| sentence.ends_with(word));
        let ignores = IGNORED.iter().any(|words| sentence.contains(words));
        if ignores || !of_another && (corrects || is_error(&sentence)) {
            return true;
        }
        before = sentence;
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
