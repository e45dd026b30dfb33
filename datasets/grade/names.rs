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
    ("simeq", '≈'),
    ("doteq", '≈'),
    ("mp", '∓'),
    ("prime", '\''),
    ("setminus", '∖'),
    ("smallsetminus", '∖'),
    ("backslash", '∖'),
    ("R", 'ℝ'),
    ("textdollar", DOLLAR),
    ("pounds", '£'),
    ("euro", '€'),
    ("yen", '¥'),
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
    ("oslash", '∅'),
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
    "framebox",
    "underline",
    "mathbf",
    "boldsymbol",
    "bm",
    "mathit",
    "ensuremath",
    "hfill",
];

/// LaTeX commands that are left out with their first argument.
pub(super) const SKIPPED: &[&str] = &["hspace", "vspace", "phantom", "color", "textcolor", "label", "tag"];

/// LaTeX commands that make another letter of one.
pub(super) const ACCENTS: &[&str] = &[
    "bar",
    "overline",
    "hat",
    "widehat",
    "tilde",
    "widetilde",
    "vec",
    "overrightarrow",
    "dot",
    "ddot",
    "mathcal",
    "mathscr",
    "mathfrak",
];

pub(super) const TEXTS: &[&str] = &[
    "text",
    "textbf",
    "textit",
    "textrm",
    "textnormal",
    "textup",
    "texttt",
    "textsc",
    "mathrm",
    "mathtt",
    "mbox",
    "textsf",
    "mathsf",
    "operatorname",
    "hbox",
    "emph",
];

pub(super) const GREEK: &[&str] = &[
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta",
    "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell",
];

/// Greek letters as characters.
pub(super) const GREEK_LETTERS: &[(char, &str)] = &[
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('ε', "epsilon"),
    ('ζ', "zeta"),
    ('η', "eta"),
    ('θ', "theta"),
    ('ι', "iota"),
    ('κ', "kappa"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('ν', "nu"),
    ('ξ', "xi"),
    ('ρ', "rho"),
    ('σ', "sigma"),
    ('τ', "tau"),
    ('υ', "upsilon"),
    ('φ', "phi"),
    ('χ', "chi"),
    ('ψ', "psi"),
    ('ω', "omega"),
    ('Γ', "Gamma"),
    ('Δ', "Delta"),
    ('Θ', "Theta"),
    ('Λ', "Lambda"),
    ('Ξ', "Xi"),
    ('Σ', "Sigma"),
    ('Φ', "Phi"),
    ('Ψ', "Psi"),
    ('Ω', "Omega"),
];

/// Pairs of consonants that are words or units.
const NO_PRODUCTS: &[&str] = &[
    "cm", "mm", "km", "dm", "kg", "mg", "ml", "dl", "cl", "ft", "hr", "hz", "lb", "oz", "pt", "qt", "yd",
    "nd", "rd", "st", "th", "pm", "rs", "vs", "mr", "ms", "dr", "kw", "kb", "mb", "gb", "tv", "pc", "bc",
    "ph", "gm", "hp", "ps", "ct", "bn", "sq", "ok", "km", "no", "ln", "lg", "ny", "dc",
];

/// Letters that mean a product where they stand together: `xy`, `abc`, `bi`, `mn`. Longer ones in
/// alphabetical order only, so that no two words become the same product. Behind a number and a blank they
/// are rather a unit.
pub(super) fn is_product(text: &str, behind_number: bool) -> bool {
    let all = |letters: &[u8]| text.bytes().all(|b| letters.contains(&b));
    let sorted = text.as_bytes().windows(2).all(|pair| pair[0] < pair[1]);
    match text.len() {
        2 => {
            let pair = all(b"bcdfghjkmnpqrstvwxz") && !NO_PRODUCTS.contains(&text) && !behind_number;
            text != "by"
                && (all(b"ixyz") || (sorted && all(b"abcxyz")) || pair || matches!(text, "ai" | "bi" | "ci"))
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
