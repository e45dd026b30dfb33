//! The answer of a text without a marker, by its end: the last formula of the closing sentence, the last bold
//! words, or the last relation or number of the closing sentence.
//!
//! A closing sentence that denies, supposes or estimates what it says is an answer that cannot be read, and
//! so is one with several numbers of which nobody can tell which is meant (`3 groups of 4`); what a
//! calculation comes to is always meant (`9 + 6 = 15 of the 24`). A sentence without any claim leaves the
//! text without an answer. What checks the answer behind it (`Check: …`) is passed over.

use std::borrow::Cow;

use super::blocks::{aligned, inline_formulas, item, last_display, sentence_end, sentence_start};
use super::calculation::{computed, value_of};
use super::extract::{Rule, is_readable};
use super::moments::month;
use super::remarks::{doubts_elsewhere, is_remark};
use super::several::{given, is_parallel, uncovered};
use super::{letters, scripts, side, spelled};

/// An answer by the end of a text.
#[derive(Clone, Debug)]
pub(super) struct Closing<'a> {
    pub rule: Rule,
    pub answer: Cow<'a, str>,
    /// Whether the text is one sentence.
    pub alone: bool,
}

/// Words before what is no longer the answer.
const REASONS: [&str; 5] = ["because", "since", "as", "so", "which"];
/// Words of a sentence that does not say what it names.
const DOUBTS: &str = "\
    not never cannot cant isnt doesnt dont didnt wasnt arent wrong incorrect impossible unknown \
    unclear if unless maybe perhaps might could suppose assume whether nobody unlikely doubt hoped contains \
    includes";
/// Words before a number that is only about right, or a bound.
const HEDGES: &str = "\
    about approximately approx around roughly nearly almost least most than over under within between \
    upwards step case or to ~";
/// Words before `to` and what a sentence comes to.
const TOTALS: &str = "comes come out up down amounts amount equal sums simplifies evaluates leads";
/// Words before all of what a sentence comes to.
pub(super) const VERBS: &str = "\
    is are was were be has have had gets get equals total totals needs costs pays receive receives \
    paid earned";
/// Words behind which a sentence says what it comes to.
pub(super) const LEADS: &str = "\
    so then thus hence therefore that gives giving makes making leaves leaving becomes means";
/// Words that begin a conclusion.
const CONCLUSIONS: &str = "so thus hence therefore finally altogether consequently total together";
/// Most words that one number or relation may have.
const MAX_WORDS: usize = 12;

/// The text before a first word that gives a reason or draws a conclusion.
pub(super) fn before_reason(text: &str) -> &str {
    before(text, &REASONS)
}

/// The text before a first `because` or `since`.
pub(super) fn before_because(text: &str) -> &str {
    let cut = before(text, &["because", "since"]);
    if cut.is_empty() { text } else { cut }
}

fn before<'a>(text: &'a str, words: &[&str]) -> &'a str {
    for (at, word) in split_words(text) {
        if words.iter().any(|reason| bare(word).eq_ignore_ascii_case(reason)) {
            return text[..at].trim_end().trim_end_matches(',').trim_end();
        }
    }
    text
}

/// Words with the byte at which each begins.
pub(super) fn split_words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

pub(super) fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// A word's letters and digits, in lower case.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric() || *c == '~').collect::<String>().to_lowercase()
}

pub(super) fn is_among(words: &str, word: &str) -> bool {
    side::is(words, &plain(word))
}

/// The answer by the end of a text.
pub(super) fn closing(text: &str) -> Option<Closing<'_>> {
    let whole = text;
    let text = side::before_check(text);
    let checked = text.len() < whole.trim_end().len();
    let sentence = final_sentence(text);
    let alone = sentence.is_some_and(|sentence| sentence.len() == text.trim().len());
    let closing = |rule, answer| Closing { rule, answer, alone };
    let cut = sentence.map(side::without_conditions);
    if let (Some(cut), Some(sentence)) = (&cut, sentence)
        && (cut.denied
            || side::claims_nothing(cut.main)
            || side::negates(sentence)
            || side::supposes(sentence)
            || doubts_elsewhere(sentence)
            || is_parallel(sentence))
        && computed(cut.main).is_none()
        && side::has_digit(sentence)
        && last_display(text).is_none()
    {
        if let Some(answer) = yes_or_no(text) {
            return Some(closing(Rule::Sentence, answer.into()));
        }
        // `The answer is **5**, not 6.`
        let said = bold(text).filter(|answer| {
            sentence
                .find(answer)
                .is_some_and(|at| !side::denies(&sentence[..at]) && !side::supposes(sentence))
        });
        if let Some(answer) = said {
            return Some(closing(Rule::Bold, answer.into()));
        }
        return Some(closing(Rule::Sentence, sentence.into()));
    }
    let sentence = cut.map(|cut| {
        let main = before_because(cut.main);
        if side::has_digit(main) { main } else { cut.main }
    });
    if alone && checked && sentence.is_some_and(is_readable) {
        return sentence.map(|sentence| closing(Rule::Sentence, value_of(sentence).into()));
    }
    if let Some(values) = spelled::last_values(text) {
        return Some(closing(Rule::Formula, values.into()));
    }
    if let Some(answer) = formula(text, sentence) {
        return Some(closing(Rule::Formula, answer));
    }
    if let Some(answer) = bold(text) {
        return Some(closing(Rule::Bold, answer.into()));
    }
    if !alone && let Some(answer) = yes_or_no(text) {
        return Some(closing(Rule::Sentence, answer.into()));
    }
    let claims = sentence.filter(|sentence| !alone || is_claim(sentence)).and_then(claimed);
    let answer = claims.map(|answer| closing(Rule::Sentence, answer));
    // A formula that is not read is a claim.
    answer.or_else(|| last_display(text).map(|display| closing(Rule::Formula, display.into())))
}

/// The last sentence that is no pleasantry.
fn final_sentence(text: &str) -> Option<&str> {
    let mut rest = text.trim();
    for _ in 0..6 {
        let line = rest.lines().next_back()?;
        // `> 5` is a bound, and no quotation.
        let marks: &[char] =
            if line.chars().any(char::is_alphabetic) { &['>', '•', '#'] } else { &['•', '#'] };
        let bare = line.trim_start_matches(marks).trim_start();
        let bare = item(bare).trim_start();
        let sentence = bare[sentence_start(bare)..].trim();
        let earlier = &rest[..rest.len() - sentence.len()];
        // One that goes on as an earlier one did: the text repeats itself until it is cut.
        let repeats = || !sentence.ends_with(['.', '!', '?', ')', '*', '$']) && earlier.contains(sentence);
        let passes = is_remark(sentence) || !side::has_digit(sentence) && repeats();
        if !sentence.starts_with("```") && !passes {
            return Some(sentence);
        }
        let part = if sentence.is_empty() { line } else { sentence };
        rest = rest[..rest.len() - part.len()].trim_end();
    }
    None
}

/// Whether a text of one sentence is one: a price tag or a date is none.
fn is_claim(sentence: &str) -> bool {
    let words: Vec<&str> = sentence
        .split_whitespace()
        .filter(|word| word.chars().filter(|c| c.is_alphabetic()).count() > 1)
        .collect();
    let first = words.first().is_some_and(|word| is_among(CONCLUSIONS, word));
    let contracted =
        words.iter().any(|word| word.ends_with("'s") || word.ends_with("’s") || word.ends_with("'re"));
    let verb = words.iter().any(|word| is_among(VERBS, word));
    let equation = sentence.contains('=') && (!words.is_empty() || value_of(sentence) != sentence);
    let ended = sentence.contains('。') || scripts::ENDS.iter().any(|end| sentence.contains(end));
    let eastern = || ended && scripts::claimed(sentence, &is_readable).is_some();
    first
        || equation
        || contracted
        || eastern()
        || words.len() >= 2 && (verb || sentence.ends_with(['.', '!']))
}

fn formula<'a>(text: &'a str, sentence: Option<&'a str>) -> Option<Cow<'a, str>> {
    if let Some(display) = last_display(text) {
        let answer = aligned(display).map_or(Cow::Borrowed(display), Cow::Owned);
        // `9 rooms × 10 rooms/floor = 90 rooms`: the last side, if all of it is not read.
        let last = || display.rsplit_once('=').map(|(_, last)| Cow::Borrowed(last.trim()));
        return Some(answer)
            .filter(|answer| is_readable(answer))
            .or_else(|| last().filter(|a| is_readable(a)));
    }
    let sentence = sentence?;
    if sentence.ends_with('?') || is_doubtful(sentence) {
        return None;
    }
    let (mut formulas, mut sentence) = (inline_formulas(sentence), sentence);
    // `$x + 1$ for $x \neq 1$`: the last is a condition of the one before.
    while let [.., earlier, last] = &formulas[..]
        && is_condition(&sentence[earlier.end..last.start])
    {
        sentence = &sentence[..sentence[..last.start].trim_end_matches(['$', '(', '\\']).len()];
        formulas.pop();
    }
    let last = formulas.last()?;
    // Formulas side by side are one list.
    let mut first = formulas.len() - 1;
    while first > 0 {
        let between = &sentence[formulas[first - 1].end..formulas[first].start];
        let mut words = between
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '$' | '(' | ')' | '\\'))
            .filter(|word| !word.is_empty());
        if !words.all(|word| is_among("and or und oder et ou y и или 或 和", word)) {
            break;
        }
        first -= 1;
    }
    let opens = sentence[..formulas[first].start].trim_end_matches(['$', '(', '\\']).len();
    let number = |word: &str| is_number(word) && !word.starts_with('(');
    let computed = value_of(&sentence[last.clone()]) != &sentence[last.clone()];
    let behind = || sentence[last.end..].split_whitespace().any(number);
    let before = sentence[..opens].split_whitespace().next_back().unwrap_or("");
    let hedged = is_among(HEDGES, before) && !is_among("to or", before);
    if hedged || is_modular(sentence) || side::qualifies(&sentence[..opens]) || !computed && behind() {
        return None;
    }
    // `\(18\) ways to choose \(2\) items`: nobody knows which of them is meant.
    let stands = before.is_empty()
        || before.ends_with([':', ',', '='])
        || is_among(VERBS, before)
        || is_among(LEADS, before)
        || is_among("to or makes made get got obtain find yields value into as", before)
        || sentence[last.clone()].contains('=');
    if first > 0 && !computed && !stands {
        return Some(sentence.into());
    }
    // With what stands behind it: a unit, a percent sign.
    let behind = before_reason(&sentence[last.end..]);
    let end = last.end + sentence_end(behind).min(behind.len());
    let candidates = [&sentence[opens..end], &sentence[last.clone()]];
    candidates.into_iter().map(str::trim).find(|answer| is_readable(answer)).map(Cow::Borrowed)
}

/// Whether words between two formulas make the second a condition of the first.
fn is_condition(between: &str) -> bool {
    let words: Vec<&str> = between.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect();
    match words[..] {
        [word] => is_among("for where when with if satisfies", word),
        ["for", word] => is_among("all any every some", word),
        _ => false,
    }
}

/// The last bold words, if they can be read; numbers of items are none.
fn bold(text: &str) -> Option<&str> {
    let end = text.rfind("**")?;
    let start = text[..end].rfind("**")? + 2;
    let content = text[start..end].trim();
    let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let numbers = text[line..start - 2].trim().is_empty()
        && content.len() <= 4
        && content
            .strip_suffix(['.', ')', ':'])
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if content.is_empty() || content.contains('\n') || numbers {
        return None;
    }
    // `**18** a day by selling **9** eggs`: nobody knows which of them is meant.
    let before = &text[line..start - 2];
    let word = before.split_whitespace().next_back().unwrap_or("");
    let stands = word.ends_with([':', '=', ',']) || is_among(VERBS, word) || is_among(LEADS, word);
    if before.matches("**").count() >= 2 && side::has_digit(before) && side::has_digit(content) && !stands {
        return Some(text[line..].lines().next().unwrap_or(""));
    }
    let rest = text[end..].lines().next().unwrap_or("");
    let behind = before_reason(&rest[..sentence_end(rest)]);
    let with_unit = text[start..end + behind.len()].trim();
    if is_readable(content) {
        let unit = behind.len() > 2 && with_unit.len() > content.len() && is_readable(with_unit);
        return Some(if unit { with_unit } else { content });
    }
    let inner = final_sentence(content)?;
    claimed(inner)
        .and_then(|answer| match answer {
            Cow::Borrowed(answer) => Some(answer),
            Cow::Owned(_) => None,
        })
        .filter(|answer| is_readable(answer))
}

/// `Yes. …`, `No, …` at the start.
fn yes_or_no(text: &str) -> Option<&str> {
    let text = text.trim_start().trim_start_matches('*');
    let word = &text[..text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len())];
    let known = ["yes", "no", "true", "false"].iter().any(|known| word.eq_ignore_ascii_case(known));
    (known && text[word.len()..].trim_start_matches('*').starts_with(['.', ',', '!', ';', ':', '\n']))
        .then_some(word)
}

fn is_doubtful(sentence: &str) -> bool {
    let supposes = |word: &str| is_among("if unless suppose assume", word);
    sentence.split_whitespace().any(supposes)
        || side::last_clause(sentence).split_whitespace().any(|word| is_among(DOUBTS, word))
}

/// What a sentence says: the last relation or number in it, or a choice. The sentence itself, where it says
/// something that is not read.
fn claimed(sentence: &str) -> Option<Cow<'_, str>> {
    if sentence.ends_with('?') || sentence.trim_end().ends_with(['=', '+', '-', '*', '/', '(']) {
        return None;
    }
    let part = conclusion(sentence);
    let part = part[..sentence_end(part)].trim();
    if let Some(choice) = letters::choice(part).or_else(|| letters::choice_in_chinese(part)) {
        return Some(if is_doubtful(part) { sentence } else { choice }.into());
    }
    if let Some(answer) = scripts::claimed(part, &is_readable) {
        return Some(answer.into());
    }
    if let Some(value) = computed(part).or_else(|| computed(sentence)) {
        return Some(value.into());
    }
    let words: Vec<(usize, &str)> = split_words(part).collect();
    let Some(last) = words.iter().rposition(|(_, word)| is_number(word)) else {
        let counts = || words.iter().any(|(_, word)| spelled::is_number_word(&plain(word)));
        return counts().then(|| sentence.into());
    };
    if is_doubtful(part) {
        return Some(sentence.into());
    }
    let mut first = last;
    while first > 0 && last - first < MAX_WORDS && is_mathematics(words[first - 1].1) {
        first -= 1;
    }
    // All of a bracket: `(3, 4)`.
    let inside = |from: usize| {
        let part = &part[words[from].0..];
        let count = |signs: [char; 2]| part.matches(signs).count();
        count([')', ']']) > count(['(', '['])
    };
    while first > 0 && last - first < MAX_WORDS && inside(first) {
        first -= 1;
    }
    let before = |back: usize| first.checked_sub(back).map_or("", |at| words[at].1);
    let equation = part[words[first].0..].contains('=');
    if is_modular(part) || !equation && side::qualifies(&part[..words[first].0]) {
        return Some(sentence.into());
    }
    // `comes to 14`, unlike `close to 14`.
    let sums = is_among("to", before(1)) && is_among(TOTALS, before(2));
    if is_among(HEDGES, before(1)) && !sums || before(1).ends_with('~') {
        return Some(sentence.into());
    }
    let text = |from: usize, to: usize| {
        let end = words.get(to).map_or(part.len(), |(at, _)| *at);
        part[words[from].0..end].trim().trim_end_matches([',', ';', ':', '!'])
    };
    // All of a list or of amounts that belong together, behind a verb: `there are 9 chickens and 6 rabbits`.
    let lists = (1..first).filter(|at| is_number(words[*at].1) && is_among(VERBS, words[at - 1].1));
    for from in lists.take(3) {
        let whole = text(from, words.len());
        if is_readable(whole) {
            return Some(whole.into());
        }
    }
    let ends = [words.len(), last + 3, last + 2, last + 1];
    if let Some(from) = uncovered(&words, first).filter(|_| !text(first, last + 1).contains('=')) {
        if let Some(to) = given(&words, from, first) {
            let hedged =
                from > 0 && (is_among(HEDGES, words[from - 1].1) || is_among(DOUBTS, words[from - 1].1));
            let ends = [to, from + 3, from + 2, from + 1].into_iter().filter(|end| *end <= to);
            let known = ends.map(|to| text(from, to)).find(|answer| is_readable(answer));
            let qualified = hedged || side::qualifies(&part[..words[from].0]);
            return Some(known.filter(|_| !qualified).unwrap_or(sentence).into());
        }
        // One quantity of several numbers, or what nobody can tell apart.
        if from > 0 && is_among(HEDGES, words[from - 1].1) {
            return Some(sentence.into());
        }
        let whole = ends.into_iter().filter(|to| *to <= words.len()).map(|to| text(from, to));
        return Some(whole.into_iter().find(|whole| is_readable(whole)).unwrap_or(sentence).into());
    }
    for from in first..=last {
        for to in ends.into_iter().filter(|to| *to <= words.len()) {
            let candidate = text(from, to);
            if is_readable(candidate) {
                return Some(value_of(candidate).into());
            }
        }
    }
    Some(sentence.into())
}

/// What a sentence comes to: what stands before a reason, but behind `so`.
fn conclusion(sentence: &str) -> &str {
    let mut part = sentence;
    for (at, word) in split_words(sentence) {
        if at > 0 && bare(word).eq_ignore_ascii_case("so") && side::has_digit(&sentence[at..]) {
            part = &sentence[at + word.len()..];
        }
    }
    let cut = before(part, &["because", "since", "as", "which"]);
    if side::has_digit(cut) { cut } else { part }
}

/// Whether a sentence speaks of remainders or divisors.
fn is_modular(sentence: &str) -> bool {
    let row = sentence.trim_start().starts_with('|');
    ["\\pmod", "\\equiv", "\\mid", "≡", " | "].iter().any(|sign| sentence.contains(sign)) && !row
}

pub(super) fn is_number(word: &str) -> bool {
    let core = bare(word);
    let ordinal = ["st", "nd", "rd", "th"].iter().any(|end| {
        core.strip_suffix(end)
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    });
    let numeric = |c: char| c.is_numeric() || matches!(c, 'π' | '√' | '∞');
    (word.contains(numeric) || ["\\frac", "\\sqrt", "\\pi", "\\infty"].iter().any(|name| word.contains(name)))
        && !ordinal
}

/// Whether a word may be part of a formula, or of a date.
fn is_mathematics(word: &str) -> bool {
    let core = bare(word);
    let letter =
        core.len() == 1 && core.bytes().all(|b| b.is_ascii_alphabetic()) && !matches!(core, "a" | "A" | "I");
    let sign = !word.contains(char::is_alphanumeric)
        && word.contains(|c: char| "+-−*/=<>≤≥≠≈±×·÷^()[]{}|$€£%".contains(c));
    let joined = word.contains(['=', '<', '>', '≤', '≥', '^', '_', '\\', '$', '+']);
    (is_number(word) && !word.ends_with([',', ';', ':']))
        || letter
        || sign
        || joined
        || month(word).is_some() && core.len() > 2
}
