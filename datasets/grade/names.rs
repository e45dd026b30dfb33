//! What the lexer knows by name: functions, LaTeX commands, signs of their own.

/// Brackets and separators that have no spelling of one character of their own.
pub(super) const SET_OPEN: char = '⦃';
pub(super) const SET_CLOSE: char = '⦄';
pub(super) const MATRIX_OPEN: char = '⟦';
pub(super) const MATRIX_CLOSE: char = '⟧';
/// `\\$`, which is never a delimiter of mathematics.
pub(super) const DOLLAR: char = '＄';
pub(super) const ROW: char = '⏎';
pub(super) const FLOOR_OPEN: char = '⌊';
pub(super) const FLOOR_CLOSE: char = '⌋';
pub(super) const CEIL_OPEN: char = '⌈';
pub(super) const CEIL_CLOSE: char = '⌉';

/// Names in LaTeX and in plain text, and the one by which the parser knows them.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("frac", "frac"),
    ("dfrac", "frac"),
    ("tfrac", "frac"),
    ("cfrac", "frac"),
    ("binom", "binom"),
    ("dbinom", "binom"),
    ("tbinom", "binom"),
    ("choose", "choose"),
    ("sqrt", "sqrt"),
    ("cbrt", "cbrt"),
    ("pi", "pi"),
    ("infty", "infinity"),
    ("infinity", "infinity"),
    ("oo", "infinity"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("cot", "cot"),
    ("sec", "sec"),
    ("csc", "csc"),
    ("arcsin", "asin"),
    ("asin", "asin"),
    ("arccos", "acos"),
    ("acos", "acos"),
    ("arctan", "atan"),
    ("atan", "atan"),
    ("sinh", "sinh"),
    ("cosh", "cosh"),
    ("tanh", "tanh"),
    ("ln", "ln"),
    ("log", "log"),
    ("lg", "lg"),
    ("exp", "exp"),
    ("abs", "abs"),
    ("floor", "floor"),
    ("ceil", "ceil"),
    ("factorial", "factorial"),
];

/// LaTeX commands that stand for a sign.
pub(super) const SIGNS: &[(&str, char)] = &[
    ("times", '*'),
    ("cdot", '*'),
    ("ast", '*'),
    ("div", '/'),
    ("pm", '±'),
    ("le", '≤'),
    ("leq", '≤'),
    ("leqslant", '≤'),
    ("ge", '≥'),
    ("geq", '≥'),
    ("geqslant", '≥'),
    ("lt", '<'),
    ("gt", '>'),
    ("ne", '≠'),
    ("neq", '≠'),
    ("in", '∈'),
    ("cup", '∪'),
    ("circ", '°'),
    ("degree", '°'),
    ("approx", '≈'),
    ("lfloor", FLOOR_OPEN),
    ("rfloor", FLOOR_CLOSE),
    ("lceil", CEIL_OPEN),
    ("rceil", CEIL_CLOSE),
    ("lvert", '|'),
    ("rvert", '|'),
    ("vert", '|'),
    ("mid", '|'),
    ("lbrace", SET_OPEN),
    ("rbrace", SET_CLOSE),
    ("langle", '('),
    ("rangle", ')'),
    ("lbrack", '['),
    ("rbrack", ']'),
    ("colon", ':'),
    ("emptyset", '∅'),
    ("varnothing", '∅'),
];

/// LaTeX commands that say nothing about the value.
pub(super) const SILENT: &[&str] = &[
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "displaystyle",
    "textstyle",
    "quad",
    "qquad",
    "limits",
    "rm",
    "bf",
    "it",
    "space",
    "thinspace",
    "boxed",
    "fbox",
    "mathbf",
    "boldsymbol",
    "bm",
    "mathit",
    "ensuremath",
    "hfill",
];

pub(super) const TEXTS: &[&str] = &[
    "text",
    "textbf",
    "textit",
    "textrm",
    "mathrm",
    "mbox",
    "textsf",
    "mathsf",
    "operatorname",
    "hbox",
    "emph",
];

pub(super) const GREEK: &[&str] = &[
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Sigma",
    "Phi",
    "Psi",
    "Omega",
    "ell",
];

/// Letters that mean a product where they stand together: `xy`, `abc`, `bi`. Longer ones in alphabetical
/// order only, so that no two words become the same product.
pub(super) fn is_product(text: &str) -> bool {
    let all = |letters: &[u8]| text.bytes().all(|b| letters.contains(&b));
    let sorted = text.as_bytes().windows(2).all(|pair| pair[0] < pair[1]);
    match text.len() {
        2 => {
            text != "by" && (all(b"ixyz") || (sorted && all(b"abcxyz")) || matches!(text, "ai" | "bi" | "ci"))
        }
        3 => sorted && all(b"abcxyz"),
        _ => false,
    }
}

pub(super) fn power_of(c: char) -> Option<char> {
    let at = "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|p| p == c);
    match at {
        Some(at) => char::from_digit(at as u32, 10),
        None => (c == '⁻').then_some('-'),
    }
}

pub(super) fn vulgar(c: char) -> Option<(i64, i64)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅐' => (1, 7),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        '⅑' => (1, 9),
        '⅒' => (1, 10),
        _ => return None,
    })
}
