//! Times of day and dates: `3:00 p.m.`, `March 5, 2024`, `2024-03-05`.
//!
//! `15:30` alone is a ratio or a time, and stays a ratio; `5/3/2024` may mean two days, and is no date.

use std::fmt;

use num_rational::BigRational;

use super::judge::{Equality, NOT_DECIDED, OTHER_KIND, WRONG};
use super::tree::{Answer, Expr};

/// A time of which the half of the day is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Seconds since midnight.
    seconds: u32,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (minutes, seconds) = (self.seconds / 60, self.seconds % 60);
        write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)?;
        if seconds > 0 { write!(f, ":{seconds:02}") } else { Ok(()) }
    }
}

/// A month, with what else is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    year: Option<u32>,
    month: u32,
    day: Option<u32>,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(year) = self.year {
            write!(f, "{year:04}-")?;
        }
        write!(f, "{:02}", self.month)?;
        self.day.map_or(Ok(()), |day| write!(f, "-{day:02}"))
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The number of a month by its name or the beginning of it.
pub(super) fn month(word: &str) -> Option<u32> {
    let word = word.trim_end_matches('.').to_ascii_lowercase();
    let is = |name: &str| name == word || matches!(word.len(), 3 | 4) && name.starts_with(&word);
    MONTHS.iter().position(|name| is(name)).map(|at| at as u32 + 1)
}

/// Reads a text in normal form.
pub(super) fn moment(text: &str) -> Option<Answer> {
    if text.len() > 40 {
        return None;
    }
    match text {
        "noon" | "12 noon" => return Some(Answer::Clock(Clock { seconds: 43_200 })),
        "midnight" | "12 midnight" => return Some(Answer::Clock(Clock { seconds: 0 })),
        _ => {}
    }
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    clock(text).map(Answer::Clock).or_else(|| date(text).map(Answer::Date))
}

/// A number of at most `most` digits.
fn digits(text: &str, most: usize) -> Option<u32> {
    let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| good)
}

fn clock(text: &str) -> Option<Clock> {
    let (body, afternoon) =
        [("a.m.", false), ("a.m", false), ("am", false), ("p.m.", true), ("p.m", true), ("pm", true)]
            .into_iter()
            .find_map(|(end, afternoon)| Some((text.strip_suffix(end)?.trim_end(), afternoon)))?;
    let parts: Vec<u32> = body.split(':').map(|part| digits(part, 2)).collect::<Option<_>>()?;
    let (hour, minute, second) = match *parts.as_slice() {
        [hour] => (hour, 0, 0),
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let good = (1..=12).contains(&hour) && minute < 60 && second < 60;
    let hour = hour % 12 + if afternoon { 12 } else { 0 };
    good.then_some(Clock { seconds: (hour * 60 + minute) * 60 + second })
}

fn date(text: &str) -> Option<Date> {
    let valid =
        |date: &Date| (1..=12).contains(&date.month) && date.day.is_none_or(|day| (1..=31).contains(&day));
    // `1/15/2024` can only be the 15th of January, `5/3/2024` is two days.
    if let [first, second, year] = text.split('/').collect::<Vec<_>>().as_slice()
        && year.len() == 4
    {
        let (first, second, year) = (digits(first, 2)?, digits(second, 2)?, digits(year, 4));
        let (month, day) = if first > 12 { (second, first) } else { (first, second) };
        return Some(Date { year, month, day: Some(day) }).filter(valid).filter(|_| day > 12);
    }
    let numeric: Vec<&str> = text.split(['-', '/']).collect();
    if let [year, month, day] = numeric.as_slice() {
        if year.len() != 4 || month.len() > 2 || day.len() > 2 {
            return None;
        }
        let (year, month, day) = (digits(year, 4), digits(month, 2)?, digits(day, 2));
        return Some(Date { year, month, day }).filter(valid).filter(|date| date.day.is_some());
    }
    let words = text.split([' ', ',']).filter(|word| !matches!(*word, "" | "the" | "of"));
    let mut found = (None, None, None);
    for word in words {
        let ordinal = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        let (year, month_, day) = &mut found;
        if let Some(number) = month(word).filter(|_| month_.is_none()) {
            *month_ = Some(number);
        } else if let Some(number) = digits(ordinal, 2).filter(|_| day.is_none() && year.is_none()) {
            *day = Some(number);
        } else if let Some(number) = digits(word, 4).filter(|_| word.len() == 4 && year.is_none()) {
            *year = Some(number);
        } else if !word.ends_with("day") || month_.is_some() || day.is_some() {
            return None;
        }
    }
    let (year, month, day) = found;
    Some(Date { year, month: month?, day })
        .filter(valid)
        .filter(|date| date.year.is_some() || date.day.is_some())
}

/// Are two moments the same, or a moment and an answer of another kind?
pub(super) fn compare(gold: &Answer, given: &Answer) -> Equality {
    match (gold, given) {
        (Answer::Clock(a), Answer::Clock(b)) => Equality::when(a == b),
        (Answer::Date(a), Answer::Date(b)) => {
            let pairs = [(a.year, b.year), (Some(a.month), Some(b.month)), (a.day, b.day)];
            let differ = |pair: &(Option<u32>, Option<u32>)| matches!(pair, (Some(x), Some(y)) if x != y);
            if a == b {
                return Equality::Same;
            }
            // Else a year or a day is left out by one of both.
            if pairs.iter().any(differ) { WRONG } else { NOT_DECIDED }
        }
        (Answer::Clock(clock), other) | (other, Answer::Clock(clock)) => beside_clock(*clock, other),
        (Answer::Date(date), other) | (other, Answer::Date(date)) => {
            let parts = [date.year, Some(date.month), date.day];
            let part = whole(other).is_some_and(|number| parts.contains(&Some(number)));
            if part || is_quotient(*date, other) { NOT_DECIDED } else { OTHER_KIND }
        }
        _ => OTHER_KIND,
    }
}

/// `07/04/1776`, which was read as a number.
fn is_quotient(date: Date, other: &Answer) -> bool {
    let (Some(year), month, Some(day)) = (date.year, date.month, date.day) else { return false };
    let Some(value) = other.expr().and_then(Expr::number) else { return false };
    let over = |a: u32, b: u32| BigRational::new(a.into(), (u64::from(b) * u64::from(year)).max(1).into());
    value == over(month, day) || value == over(day, month)
}

/// Whether `3:20` may be this time, in hours and minutes or in minutes and seconds.
pub(super) fn lasts(items: &[Answer], other: &Answer) -> bool {
    let Answer::Value { expr, unit: Some(unit), .. } = other else { return false };
    let (Some(value), [major, minor]) = (expr.number(), items) else { return false };
    let (Some(major), Some(minor)) = (whole(major), whole(minor)) else { return false };
    let seconds = BigRational::from_integer((u64::from(major) * 60 + u64::from(minor)).into());
    let minute = BigRational::from_integer(60.into());
    let value = value * &unit.size;
    unit.dimensions == [("time", 1)] && (value == seconds || value == seconds * minute)
}

fn whole(answer: &Answer) -> Option<u32> {
    let value = answer.expr()?.number().filter(BigRational::is_integer)?;
    u32::try_from(value.to_integer()).ok()
}

/// `3:00` beside `3:00 pm` leaves open which half of the day it means, `15:00` does not.
fn beside_clock(clock: Clock, other: &Answer) -> Equality {
    let parts: Option<Vec<u32>> = match other {
        Answer::Group { open: ':', items, .. } => items.iter().map(whole).collect(),
        value => whole(value).map(|hour| vec![hour, 0]),
    };
    let (hour, rest) = match parts.as_deref() {
        Some([hour, minute]) => (*hour, minute.checked_mul(60)),
        Some([hour, minute, second]) => (*hour, minute.checked_mul(60).and_then(|m| m.checked_add(*second))),
        _ => return OTHER_KIND,
    };
    let alone = !matches!(other, Answer::Group { .. });
    if hour > 24 || rest != Some(clock.seconds % 3600) {
        return if alone { OTHER_KIND } else { WRONG };
    }
    match (hour == clock.seconds / 3600, hour % 12 == clock.seconds / 3600 % 12) {
        (true, _) if !(1..=12).contains(&hour) && !alone => Equality::Same,
        (_, true) if (1..=12).contains(&hour) || alone => NOT_DECIDED,
        _ if alone => OTHER_KIND,
        _ => WRONG,
    }
}
