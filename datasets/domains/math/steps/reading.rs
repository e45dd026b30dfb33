//! A solution as numbers, each with the place where it stands.

use super::super::givens::written;
use crate::expr::{self, Clarity, Equation, Kind, Token, evaluate, lex, parse, rows};
use crate::number::Number;

/// Most words between a number and the operator that it belongs to, as in `3 boxes * 5`.
const UNIT_WORDS: usize = 3;
/// Most numbers of a solution that are looked at, which bounds the work.
pub(super) const MAX_MENTIONS: usize = 1000;

/// A solution, read once.
pub(super) struct Reading<'a> {
    pub question: &'a str,
    /// One for each step.
    pub lines: Vec<Line>,
    /// The results of all equations, in order. Where a step has annotations, its other equations are left
    /// out.
    pub outcomes: Vec<EquationResult>,
    /// All numbers, in order.
    pub mentions: Vec<Mention>,
    /// What is computed without a result beside it, in order.
    pub silent: Vec<Silent>,
}

/// A bracket, `(15 + 23)` in `100 - (15 + 23)`, or a row that is an expression and nothing else: what follows
/// may go on with its value.
pub(super) struct Silent {
    pub step: usize,
    pub value: Number,
    pub operands: Vec<Number>,
}

/// A step.
pub(super) struct Line {
    pub equations: Vec<Equation>,
    pub echoes: Vec<Echo>,
    pub tokens: Vec<Token>,
}

/// What stands right behind an annotation: `24` in `<<48/2=24>>24`.
pub(super) struct Echo {
    pub annotation: String,
    /// The annotation's result as text.
    pub result: String,
    pub written: String,
    /// The number, and what it may mean with its neighbours: `1 1/2`, `3 thousand`.
    pub values: Vec<Number>,
    /// A percent sign or a word that scales numbers stands behind it.
    pub has_unit: bool,
}

/// The result of an equation.
pub(super) struct EquationResult {
    pub step: usize,
    /// Index of the first mention that can use it.
    pub at: usize,
    pub value: Number,
    /// What it was computed from; empty where nothing was computed, or where words beside the equation may
    /// bend it.
    pub operands: Vec<Number>,
    /// The equation.
    pub text: String,
}

/// A number of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub step: usize,
    pub value: Number,
    pub place: Standing,
}

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Beside an operator or before an `=`.
    Operand,
    /// Behind the `=` of an equation that was read, or behind an annotation.
    Result,
    /// Behind an `=` with no arithmetic before it: `x = 5`, `12(4) = 48`, `1 hour = 60 minutes`.
    Stated,
    /// Anywhere else.
    Prose,
}

impl<'a> Reading<'a> {
    pub fn of<S: AsRef<str>>(question: &'a str, steps: &[S]) -> Self {
        let mut reading = Reading {
            question,
            lines: Vec::with_capacity(steps.len()),
            outcomes: Vec::new(),
            mentions: Vec::new(),
            silent: Vec::new(),
        };
        for (step, text) in steps.iter().enumerate() {
            let mut line = Line { equations: Vec::new(), echoes: Vec::new(), tokens: Vec::new() };
            for row in rows(text.as_ref()) {
                let row = reading.read(step, &row);
                line.equations.extend(row.equations);
                line.echoes.extend(row.echoes);
                line.tokens.extend(row.tokens);
            }
            reading.lines.push(line);
        }
        reading
    }

    /// Are there more numbers than are looked at?
    pub fn is_cut(&self) -> bool {
        self.mentions.len() >= MAX_MENTIONS
    }

    fn mention(&mut self, step: usize, value: Number, place: Standing) {
        if self.mentions.len() < MAX_MENTIONS {
            self.mentions.push(Mention { step, value, place });
        }
    }

    fn outcome(&mut self, step: usize, equation: &Equation, at: usize) {
        let tokens = lex(&equation.lhs);
        let computes = equation.clarity == Clarity::Clear && parse(&tokens).is_ok_and(|node| node.computes());
        let written = evaluate(&equation.rhs)
            .or_else(|error| if computes { evaluate(&equation.lhs) } else { Err(error) });
        let Some(value) = written.ok().and_then(|value| Number::from_big(&value)) else { return };
        let operands = if computes { tokens.iter().filter_map(plain).collect() } else { Vec::new() };
        self.outcomes.push(EquationResult {
            step,
            at,
            value,
            operands,
            text: format!("{}={}", equation.lhs, equation.rhs),
        });
    }

    /// A row of a step.
    fn read(&mut self, step: usize, text: &str) -> Line {
        let (equations, mut whole) = expr::read(text);
        let annotations = equations.iter().filter(|e| e.annotated).count();
        let mut line = Line { equations, echoes: Vec::new(), tokens: Vec::new() };
        let first = self.mentions.len();
        let mut rest = text;
        // The annotation before the text that is being read.
        let mut before: Option<&str> = None;
        let mut read = 0;
        loop {
            let cut = rest.split_once("<<").and_then(|(text, behind)| Some((text, behind.split_once(">>")?)));
            let tokens = whole.take().unwrap_or_else(|| lex(cut.map_or(rest, |(text, _)| text)));
            let mut at = 0;
            if let Some((length, echo)) =
                before.and_then(|annotation| echo(annotation, &tokens, line.tokens.last()))
            {
                self.mention(step, echo.values[0], Standing::Result);
                line.echoes.push(echo);
                at = length;
            }
            self.prose(step, &tokens, at, &line);
            self.silent.extend(expressions(&tokens).into_iter().filter_map(|part| silent(step, part)));
            line.tokens.extend(tokens);
            let Some((_, (annotation, behind))) = cut else { break };
            // The annotation's own equations, one for each `=` in it.
            let own = lex(annotation).iter().filter(|t| t.kind == Kind::Equals).count();
            for (nth, equation) in line.equations[..annotations].iter().skip(read).take(own).enumerate() {
                for value in lex(&equation.lhs).iter().filter(|_| nth == 0).filter_map(plain) {
                    self.mention(step, value, Standing::Operand);
                }
                self.outcome(step, equation, self.mentions.len());
            }
            read += own;
            (before, rest) = (Some(annotation), behind);
        }
        if annotations == 0 {
            for equation in line.equations.iter().filter(|e| !e.chained) {
                self.outcome(step, equation, first);
            }
        }
        line
    }

    /// Numbers of running text from a token on.
    fn prose(&mut self, step: usize, tokens: &[Token], from: usize, line: &Line) {
        let mut at = from;
        while at < tokens.len() {
            let Some((value, length)) = written(&tokens[at..]) else {
                at += 1;
                continue;
            };
            let end = at + length;
            let (place, negative) = place(tokens, at, end, line);
            // `24/3` that is computed is two numbers, and not 8.
            let quotient =
                length == 3 && tokens[at + 1].kind == Kind::Operator('/') && place == Standing::Operand;
            if !quotient {
                self.mention(
                    step,
                    if negative { value.checked_neg().unwrap_or(value) } else { value },
                    place,
                );
            }
            if length > 1 {
                // `3/4` is one number and two, `3 thousand` may be meant by 3.
                for value in tokens[at..end].iter().filter_map(plain) {
                    self.mention(step, value, place);
                }
            }
            at = end;
        }
    }
}

/// The insides of brackets, the inner ones first, and all of the tokens.
fn expressions(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => open.push(at + 1),
            Kind::Close => found.extend(open.pop().map(|from| &tokens[from..at])),
            _ => {}
        }
    }
    found.push(tokens);
    found
}

/// What an expression computes, if it is one.
fn silent(step: usize, tokens: &[Token]) -> Option<Silent> {
    let value = parse(tokens).ok().filter(|node| node.computes())?.value().ok()?;
    let operands = tokens.iter().filter_map(plain).collect();
    Some(Silent { step, value: Number::from_big(&value)?, operands })
}

/// The value of a number token.
pub(super) fn plain(token: &Token) -> Option<Number> {
    if token.kind == Kind::Number { Number::from_big(&crate::expr::decimal(&token.text)?) } else { None }
}

/// The number right behind an annotation, and at which token it ends; `None` if none stands there, if it
/// starts another calculation, or if the result stands before the annotation already.
fn echo(annotation: &str, tokens: &[Token], before: Option<&Token>) -> Option<(usize, Echo)> {
    let result = annotation.rsplit_once('=')?.1.trim();
    let mut start = tokens.iter().take_while(|t| t.kind == Kind::Currency).count();
    let negative = tokens.get(start).is_some_and(|t| t.kind == Kind::Operator('-'));
    start += usize::from(negative);
    start += tokens[start..].iter().take_while(|t| t.kind == Kind::Currency).count();
    let sign = |value: Number| if negative { value.checked_neg() } else { Some(value) };
    let first = sign(plain(tokens.get(start)?)?)?;
    if before.and_then(plain).is_some_and(|value| evaluate(result) == Ok(value.to_big())) {
        return None;
    }
    let (joined, length) = written(&tokens[start..])?;
    let joined = sign(joined)?;
    let behind = tokens.get(start + length);
    if behind.is_some_and(|t| {
        matches!(t.kind, Kind::Operator(_))
            && tokens.get(start + length + 1).is_some_and(|t| plain(t).is_some())
    }) {
        return None;
    }
    let scaling =
        ["percent", "cent", "cents", "thousand", "million", "billion", "k", "hundred", "dollars", "dollar"];
    let has_unit = tokens[start + 1..].iter().take(2).any(|t| {
        t.kind == Kind::Percent
            || t.text == "¢"
            || t.kind == Kind::Word && scaling.iter().any(|word| t.text.eq_ignore_ascii_case(word))
    });
    let echo = Echo {
        annotation: annotation.to_owned(),
        result: result.to_owned(),
        written: if negative { format!("-{}", tokens[start].text) } else { tokens[start].text.clone() },
        values: vec![first, joined],
        has_unit,
    };
    Some((start + length, echo))
}

/// Where the number stands that takes up the tokens from `at` to `end`, and whether its sign is a minus.
fn place(tokens: &[Token], at: usize, end: usize, line: &Line) -> (Standing, bool) {
    let skipped = |t: &&Token| matches!(t.kind, Kind::Currency | Kind::Open | Kind::Close | Kind::Percent);
    let mut left =
        tokens[..at].iter().rev().chain(line.tokens.iter().rev()).skip_while(skipped).map(|t| t.kind);
    let mut previous = left.next();
    let negative = previous == Some(Kind::Operator('-'))
        && left.clone().next().is_none_or(|kind| matches!(kind, Kind::Equals | Kind::Word));
    if negative {
        previous = left.next();
    }
    let behind = tokens[end..].iter().skip_while(skipped);
    let words = behind.clone().take_while(|t| t.kind == Kind::Word).count();
    let next = if words <= UNIT_WORDS { behind.clone().nth(words).map(|t| t.kind) } else { None };
    let operator = |kind: Option<Kind>| matches!(kind, Some(Kind::Operator(_)));
    // Signs in front of a word are none: `20-mile`, `30 miles/hour`. `10 = b` states what b is.
    let after = behind.clone().nth(words + 1).map(|t| t.kind);
    let hyphen = matches!(next, Some(Kind::Operator('-' | '/'))) && after == Some(Kind::Word);
    let defines = next == Some(Kind::Equals) && after == Some(Kind::Word);
    let place = if operator(next) && !hyphen || next == Some(Kind::Equals) && !defines || operator(previous) {
        Standing::Operand
    } else if previous == Some(Kind::Equals) {
        // The right side of an equation that was read, else a statement.
        let value = plain(&tokens[at]).map(|value| value.to_string());
        let read = line.equations.iter().any(|e| {
            !e.lhs.is_empty()
                && e.clarity == Clarity::Clear
                && evaluate(&e.rhs).is_ok_and(|rhs| Some(crate::number::render(&rhs)) == value)
        });
        if read { Standing::Result } else { Standing::Stated }
    } else {
        Standing::Prose
    };
    (place, negative)
}
