//! What stands beside an answer: the condition under which it holds, what was rejected, what was only
//! supposed, and words that make a number an operand, a bound or a part of another.

use super::calculation::computed;
use super::closing::split_words;

/// Words that begin a condition, whatever follows.
const CONDITIONS: &str = "\
    when whenever where while whereas although though which attained achieved obtained reached occurs \
    occurring occur provided assuming given namely";
/// Words that begin one if a relation follows: `for x = 3`.
const RELATED: &str = "for with at if on by";
/// Words of what is not so.
const DENIALS: &str = "\
    impossible contradiction contradicts contradicting extraneous rejected reject rejecting discard \
    discarded invalid fails exclude excluded excluding except undefined incorrect wrong suppose assume \
    consider unless isn't can't cannot isnt not";
/// Words behind an answer that say that it is none.
const REJECTIONS: &str = "\
    impossible contradiction contradicts extraneous rejected reject discarded invalid fails wrong incorrect";
/// How sentences begin that suppose something, or go about it.
const BEGINNINGS: &str = "\
    suppose assume let consider try case setting substituting plugging given next now first second \
    substitute multiply divide subtract add by from using as check test";
/// What is done with numbers on the way.
const ACTS: &str = "check test need want use try consider divide multiply subtract add substitute plug";
/// Words before a number that names something, or that is computed with.
const OPERANDS: &str = "\
    equation theorem lemma figure fig table section chapter problem question exercise example case \
    step part base mod modulo pmod bmod times plus minus negative twice thrice double half except \
    exceeds exceed divides divided multiplied increased decreased reduced remainder below above beyond";
/// Words before `of` and a number that is a part of something else: `a multiple of 4`.
const PARTS_OF: &str = "\
    multiple multiples divisor divisors factor factors root roots power powers square cube half third \
    thirds quarter quarters fourth fourths groups sets out percent fraction";
/// Words before `of the` and a number that is more than what is meant.
const SOME_OF: &str = "\
    half third thirds quarter quarters fourth fifth sixth eighth tenth most none some part rest fraction \
    each";
/// Words before `by` and a number that something is divided by or comes in.
const DIVIDED: &str = "divisible divided divide multiplied multiply sides bounded increased";
/// How a check of the answer begins.
const CHECKS: [&str; 24] = [
    "this makes sense",
    "proof:",
    "sanity check",
    "let me double",
    "let me check",
    "let me verify",
    "let's double",
    "let us check",
    "double check",
    "check:",
    "check ",
    "checking",
    "verification",
    "verifying",
    "verify",
    "to check",
    "to verify",
    "let's check",
    "let's verify",
    "we can check",
    "we can verify",
    "double-check",
    "explanation",
    "as a check",
];

/// The words of a text with the byte at which each begins, without what is around them, in lower case.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    split_words(text).filter_map(|(at, word)| {
        // `\text{when}` is a word.
        let from = word.rfind("text{").map_or(0, |from| from + "text{".len());
        let bare = word[from..].trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        (!bare.is_empty()).then_some((at, bare))
    })
}

/// The last three words of a text, empty where there are fewer.
pub(super) fn last_words(text: &str) -> [String; 3] {
    words(text).fold(Default::default(), |[_, b, c], (_, word)| [b, c, word])
}

/// Whether a word is one of a list, which has a blank between two.
pub(super) fn is(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split(' ').any(|known| known == word)
}

pub(super) fn has_digit(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

/// Whether something is said to equal, differ from or bound something.
fn has_relation(text: &str) -> bool {
    const SIGNS: [char; 9] = ['=', '<', '>', '≤', '≥', '≠', '∈', '≡', '≈'];
    const NAMES: [&str; 8] = ["\\ne", "\\le", "\\ge", "\\lt", "\\gt", "\\in", "\\equiv", "\\approx"];
    text.contains(SIGNS) || text.contains('\\') && NAMES.iter().any(|name| text.contains(name))
}

/// Whether a text denies or supposes what it names.
pub(super) fn denies(text: &str) -> bool {
    // Words of at least three letters; nearly all answers have none.
    let long = |run: &[u8]| run.iter().all(u8::is_ascii_alphabetic);
    text.as_bytes().windows(3).any(long) && words(text).any(|(_, word)| is(DENIALS, &word))
}

/// Whether the last clause of a sentence denies what it names.
pub(super) fn claims_nothing(sentence: &str) -> bool {
    denies(last_clause(sentence))
}

/// What stands behind the last comma, if there is a number in it; else all.
pub(super) fn last_clause(sentence: &str) -> &str {
    let behind = sentence.match_indices(", ").map(|(at, _)| &sentence[at + 2..]);
    behind.filter(|clause| has_digit(clause)).last().unwrap_or(sentence)
}

/// Whether a text with a number in it denies or supposes it, or answers several parts: it is no value.
pub(super) fn is_no_value(text: &str) -> bool {
    has_digit(text) && !is_truth(text) && (denies(text) || negates(text) || supposes(text) || is_parts(text))
}

/// `No, it cannot be 5`.
fn is_truth(text: &str) -> bool {
    let body = text.trim_start().trim_start_matches('*').trim_start_matches("\\text{");
    let word = &body[..body.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(body.len())];
    let known = is("yes no true false", &word.to_lowercase());
    known && body[word.len()..].starts_with([',', '.', ';', ':', '*', '!'])
}

/// Whether words around a number change its sign or deny it.
pub(super) fn negates(text: &str) -> bool {
    const NEGATIONS: [&str; 12] = [
        "below zero",
        "below sea",
        "false for",
        "is false",
        "is too ",
        "is a factor",
        "is a divisor",
        "is a multiple",
        " or so",
        "different from",
        "differs from",
        "anything but",
    ];
    NEGATIONS.iter().any(|words| text.contains(words))
}

/// A text cut behind its answer.
pub(super) struct Cut<'a> {
    pub main: &'a str,
    /// Whether what was cut off says that the answer is none.
    pub denied: bool,
}

/// Cuts off the conditions at the end of a text: `5 when x = 3`, `5 (x = -2 is extraneous)`.
pub(super) fn without_conditions(text: &str) -> Cut<'_> {
    let mut main = text.trim_end();
    let mut denied = false;
    for _ in 0..3 {
        let Some(at) = bracket(main).or_else(|| clause(main)) else { break };
        let tail = &main[at..];
        if has_another(tail) {
            return Cut { main: text, denied: false };
        }
        if is_about(tail, &main[..at]) || computed(tail).is_some() {
            break;
        }
        denied |= !has_digit(tail) && words(tail).any(|(_, word)| is(REJECTIONS, &word));
        main =
            main[..at].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '$' | '\\'));
        if text[main.len()..].starts_with('$') && main.matches('$').count() % 2 == 1 {
            main = &text[..=main.len()];
        }
        for close in ["\\)", "\\]"] {
            if text[main.len()..].starts_with(close) {
                main = &text[..main.len() + close.len()];
            }
        }
    }
    Cut { main, denied }
}

/// Whether what follows an answer has another one: `5 when x = 3, 7 otherwise`.
fn has_another(tail: &str) -> bool {
    let joined = |(at, word): (usize, String)| {
        is("and or but so otherwise should giving", &word) && has_digit(&tail[at + word.len()..])
    };
    let listed = |(at, _): (usize, &str)| {
        tail[at + 1..].trim_start_matches([' ', '$']).starts_with(|c: char| c.is_ascii_digit())
    };
    words(tail).any(joined)
        || words(tail).any(|(_, word)| word == "otherwise")
        || tail.contains(';')
        || tail.match_indices(", ").any(listed)
}

/// Whether a condition is about a variable of the answer: `k\pi (k \in \mathbb{Z})` is all of an answer.
fn is_about(tail: &str, main: &str) -> bool {
    const SIGNS: [char; 8] = ['=', '<', '>', '≤', '≥', '≠', '∈', '\\'];
    let variable = |(at, _): (usize, &str)| {
        let name = tail[..at].trim_end().chars().next_back()?;
        name.is_alphabetic().then_some(name)
    };
    let value = main.rsplit('=').next().unwrap_or(main);
    let symbols = || value.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() == 1);
    tail.match_indices(SIGNS).filter_map(variable).any(|name| symbols().any(|word| word.starts_with(name)))
}

/// Where a condition in brackets begins that ends the text.
fn bracket(text: &str) -> Option<usize> {
    let body = text.trim_end_matches(['.', '$', '*', ' ']);
    let inner = body.strip_suffix(')')?;
    let mut depth = 0;
    let open = inner.char_indices().rev().find_map(|(at, c)| match c {
        ')' => {
            depth += 1;
            None
        }
        '(' if depth == 0 => Some(at),
        '(' => {
            depth -= 1;
            None
        }
        _ => None,
    })?;
    // `\(` begins a formula.
    if inner[..open].ends_with('\\') && inner.ends_with('\\') {
        return None;
    }
    let before = inner[..open].trim_end_matches("\\text{");
    let apart = before.is_empty() || before.ends_with([' ', '$', '\\', '\n', '*', '~']);
    let said = &inner[open + 1..];
    // `(x, y) = (1, 2)` and `x \in (1, 3)` are no conditions.
    let stands = !before.trim_end().ends_with(['=', '<', '>', '+', '-', '*', '/', '^', '∈', '×', '∪', ','])
        && !["\\in", "\\times", "\\cdot", "\\cup", "\\le", "\\ge", "\\ne"]
            .iter()
            .any(|name| before.trim_end().ends_with(name));
    let condition = has_relation(said)
        || words(said).any(|(_, word)| is(CONDITIONS, &word) || is(DENIALS, &word) || word == "confidence");
    (apart && stands && condition && has_value(before)).then_some(before.len())
}

/// Where a clause begins that is a condition and ends the text.
fn clause(text: &str) -> Option<usize> {
    let found: Vec<(usize, String)> = words(text).collect();
    let at = |i: usize| found[i].0;
    let begins = (1..found.len()).find(|&i| {
        let (word, rest) = (&found[i].1, &text[at(i)..]);
        let strong = is(CONDITIONS, word);
        let apart = text[..at(i)].trim_end().ends_with(',') && word == "with";
        let weak = apart || is(RELATED, word) && has_relation(rest) && !has_value_before_relation(rest);
        // What goes on with a claim of its own is no condition: `when x = 4, the maximum is 24`.
        (strong || weak) && has_value(&text[..at(i)]) && !goes_on(rest)
    })?;
    // `attained at`, `with equality when`: from the first such word.
    let mut from = begins;
    while from > 1
        && matches!(found[from - 1].1.as_str(), "with" | "equality" | "it" | "is" | "value" | "this")
        && has_value(&text[..at(from - 1)])
    {
        from -= 1;
    }
    Some(text[..at(from)].trim_end_matches("\\text{").trim_end_matches("\\(").len())
}

/// A number or a formula.
fn has_value(text: &str) -> bool {
    has_digit(text) || text.contains(['$', '\\']) || words(text).any(|(_, word)| word.len() == 1)
}

/// `for $12 when x = 3`: what follows the word is a value by itself.
fn has_value_before_relation(rest: &str) -> bool {
    let end = rest.find(['=', '<', '>', '≤', '≥', '≠', '\\']).unwrap_or(rest.len());
    has_digit(&rest[..end])
}

fn goes_on(rest: &str) -> bool {
    let Some((_, behind)) = rest.split_once([',', ';']) else { return false };
    let verbs = "is are has have get gets equals becomes gives";
    has_digit(behind) && words(behind).any(|(_, word)| is(verbs, &word))
}

/// Whether a sentence supposes what it names, or does something with it.
pub(super) fn supposes(sentence: &str) -> bool {
    let mut all = words(sentence);
    let first = all.next().map(|(_, word)| word).unwrap_or_default();
    let second = all.next().map(|(_, word)| word).unwrap_or_default();
    let open = sentence.trim_end().trim_end_matches(['*', '$']).ends_with([':', ',']);
    is(BEGINNINGS, &first) && !is("there", &second) && !claims(sentence) && !concludes(sentence, &first)
        || (first == "we" || first == "then" && second == "we")
            && words(sentence).take(3).any(|(_, word)| is(ACTS, &word) || is("must now", &word))
        || open && is("for when if where case", &first)
        || sentence.trim_end().ends_with(" gives")
        || sentence.trim_end().ends_with(" get")
}

/// `By symmetry, AB = 3`, `Setting y = 0 gives x = 3`, `Now x = 5`.
fn concludes(sentence: &str, first: &str) -> bool {
    let last = [", ", ": ", " gives ", " yields "]
        .iter()
        .fold(sentence, |rest, end| rest.rsplit(end).next().unwrap_or(rest));
    let whole = last.len() == sentence.len();
    last.contains('=')
        && !(whole && is("suppose assume let consider try given setting substituting plugging", first))
        && first != "case"
        && !words(last).any(|(_, word)| is(ACTS, &word) || word == "find")
}

/// `Now she has 5 apples`, `By symmetry, the answer is 5`.
fn claims(sentence: &str) -> bool {
    let verbs = "is are was has have had equals get gets makes earns costs";
    let supposes = "suppose assume let consider try case setting";
    let mut all = words(sentence).map(|(_, word)| word);
    let first = all.next().unwrap_or_default();
    !is(supposes, &first) && all.any(|word| is(verbs, &word))
}

/// Whether the words before a value make it something else: an operand, a bound, a name, a part.
pub(super) fn qualifies(before: &str) -> bool {
    let [third, second, last] = &last_words(before);
    let sign = before.trim_end().ends_with(['~', '+', '×', '÷']);
    sign || is(OPERANDS, last)
        || last == "of" && (is(PARTS_OF, second) || has_digit(second) && !second.contains('='))
        || last == "by" && is(DIVIDED, second)
        || last == "in" && is("ends end", second)
        || last == "with" && is("starts start begins begin", second)
        || last == "but" && is("any all", second)
        || last == "to" && is("equal congruent", second) && is("than or", third)
        || last == "to" && is("or than", second)
        || last == "the" && is("to of", second) && has_digit(third)
        || last == "the" && second == "of" && is(SOME_OF, third)
        || last == "equal" && second == "or"
}

/// The text before a check of its answer.
pub(super) fn before_check(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let mut from = 0;
        while from < line.len() {
            let sentence = &line[from..];
            let bare = sentence.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '\\');
            let head: String = bare.chars().take(16).collect::<String>().to_lowercase().replace('’', "'");
            if CHECKS.iter().any(|check| head.starts_with(check)) && has_value(&text[..at + from]) {
                let rest = &text[at + from..];
                let more = "so thus therefore hence finally instead fails extraneous not altogether answer";
                let goes_on = rest.contains('≠') || words(rest).any(|(_, word)| is(more, &word));
                return if goes_on { text } else { text[..at + from].trim_end() };
            }
            let end = super::blocks::sentence_end(sentence);
            from += (end + 1).min(sentence.len()).max(1);
            while !line.is_char_boundary(from.min(line.len())) {
                from += 1;
            }
        }
        at += line.len();
    }
    text
}

/// Marks of parts, by the number of each: `(1)`, `1)`, `1.`, `(a)`, `a.`, `(i)`, `①`, `Part 1:`.
fn part(text: &str) -> Option<usize> {
    const ROMAN: [&str; 4] = ["i", "ii", "iii", "iv"];
    let body = text.trim_start().trim_start_matches(['*', '#', '-']).trim_start();
    let circled = |c: char| ('①'..='⑨').contains(&c).then(|| c as usize - '①' as usize);
    if let Some(number) = body.chars().next().and_then(circled) {
        return Some(number);
    }
    let (named, rest) = match ["Part ", "part ", "Question "].iter().find_map(|name| body.strip_prefix(name))
    {
        Some(rest) => (true, rest),
        None => (false, body),
    };
    let open = rest.starts_with('(');
    let rest = rest.trim_start_matches('(');
    let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(length);
    let closed = behind.starts_with(')') || !open && behind.starts_with([':', '.']);
    if !closed || !(open || named || behind.len() > 1 && behind[1..].starts_with(' ')) {
        return None;
    }
    if matches!(name.as_bytes(), [b'A'..=b'H']) {
        return None;
    }
    let name = name.to_lowercase();
    let roman = name.chars().map(|c| match c {
        'ⅰ' => "i".to_owned(),
        'ⅱ' => "ii".to_owned(),
        'ⅲ' => "iii".to_owned(),
        _ => c.to_string(),
    });
    let name: String = roman.collect();
    match name.as_bytes() {
        [digit @ b'1'..=b'9'] => Some((digit - b'1') as usize),
        [letter @ b'a'..=b'f'] => Some((letter - b'a') as usize),
        _ => ROMAN.iter().position(|roman| *roman == name),
    }
}

/// Whether a text is answers to several parts, each behind its mark or on a line of its own.
pub(super) fn is_parts(text: &str) -> bool {
    let text = text.trim();
    let left = text.split('=').rev().skip(1);
    let calculates = || {
        left.clone().any(|left| left.trim_end().trim_end_matches(')').ends_with(|c: char| c.is_ascii_digit()))
    };
    if text.len() > 200 || text.lines().any(|line| line.len() > 60) || calculates() {
        return false;
    }
    let second = |(at, _): (usize, &str)| part(&text[at + 1..]) == Some(1);
    part(text) == Some(0) && text.match_indices([';', '\n', ',', ' ']).any(second) || is_lines(text)
}

/// `x = 3` and `y = 5` on two lines, or two numbers: nobody knows which of them is asked.
fn is_lines(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let value = |line: &&str| {
        let (name, value) = line.split_once([':', '=']).unwrap_or(("", line));
        let plain = |c: char| c.is_ascii_digit() || c.is_whitespace() || ".,-/()[]$%".contains(c);
        name.len() <= 20 && !has_digit(name) && has_digit(value) && value.chars().all(plain)
    };
    // Of a line that has no name, all.
    let names: Vec<&str> = lines.iter().map(|line| line.split([':', '=']).next().unwrap_or("")).collect();
    let bare: Vec<&str> = names.iter().map(|name| name.trim_matches(['$', ' '])).collect();
    let Some(last) = bare.last() else { return false };
    // A chain of one name, or what is made of the names before it.
    let named = |at: usize| names[at].len() < lines[at].len();
    let again = (1..bare.len()).any(|at| named(at) && bare[..at].contains(&bare[at]));
    let built = bare.iter().any(|name| !name.is_empty() && name.len() < last.len() && last.contains(name));
    let name = names[names.len() - 1].trim().to_lowercase();
    let total = name.split(' ').any(|word| is("total sum result answer altogether final", word));
    (2..=6).contains(&lines.len())
        && !(again || built || total)
        && lines.iter().all(value)
        && lines.iter().any(|line| line != &lines[0])
}
