//! Words that mean a number, and the first names of the stories.

/// Words that stand for numbers which a solution may use, although the question does not write them
/// in digits. Matching is by whole words without regard to case, see [`lexicon_in`].
///
/// A fraction is written with its parts: half of x is `x/2`, three quarters of x are `x/4*3`, and 20% of x
/// is `x*20/100`.
pub const LEXICON: &[(&str, &[&str])] = &[
    ("half", &["2"]),
    ("twice", &["2"]),
    ("double", &["2"]),
    ("doubled", &["2"]),
    ("pair", &["2"]),
    ("pairs", &["2"]),
    ("triple", &["3"]),
    ("three times", &["3"]),
    ("third", &["3"]),
    ("two thirds", &["2", "3"]),
    ("quarter", &["4"]),
    ("three quarters", &["3", "4"]),
    ("fifth", &["5"]),
    ("week", &["7"]),
    ("dozen", &["12"]),
    ("hour", &["60"]),
    ("hours", &["60"]),
    ("percent", &["100"]),
    ("%", &["100"]),
];

/// Every occurrence of a [`LEXICON`] word in a text with one of its values, in the order of the table.
pub fn lexicon_in(text: &str) -> Vec<(&'static str, &'static str)> {
    let text = text.to_lowercase();
    let mut found = Vec::new();
    for &(word, values) in LEXICON {
        for (at, _) in text.match_indices(word) {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            let inside = |c: Option<char>| c.is_some_and(char::is_alphabetic);
            if word == "%" || !(inside(before) || inside(after)) {
                found.extend(values.iter().map(|&value| (word, value)));
            }
        }
    }
    found
}

/// Names of women and girls.
pub const SHE: &[&str] = &[
    "Alice", "Amy", "Anna", "Clara", "Ella", "Emma", "Grace", "Ivy", "Julia", "Lena", "Lucy", "Maya", "Mia",
    "Nora", "Olga", "Rosa", "Ruby", "Sara", "Tara", "Zoe",
];

/// Names of men and boys.
pub const HE: &[&str] = &[
    "Adam", "Ben", "Carl", "David", "Eric", "Finn", "Hugo", "Ivan", "Jack", "Leo", "Liam", "Luke", "Max",
    "Noah", "Omar", "Paul", "Peter", "Ravi", "Sam", "Tom",
];
