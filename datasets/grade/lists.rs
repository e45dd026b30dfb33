//! Lists, sets and tuples: which of their items must be the same.

use num_rational::BigRational;
use num_traits::Zero;

use super::judge::{Equality, Judge, NOT_DECIDED, WRONG};
use super::tree::{Answer, Expr, variable};

impl Judge {
    pub(super) fn in_order(&mut self, gold: &[Answer], given: &[Answer]) -> Equality {
        if gold.len() != given.len() {
            return WRONG;
        }
        gold.iter().zip(given).fold(Equality::Same, |so_far, (a, b)| so_far.and(|| self.items(a, b)))
    }

    /// Two items of lists: equal numbers of what has different names may be the same or not.
    fn items(&mut self, gold: &Answer, given: &Answer) -> Equality {
        let found = self.compare(gold, given);
        let (a, b) = (gold.noun(), given.noun());
        let set = |answer: &Answer| matches!(answer, Answer::Group { open: '{', .. });
        let named_apart = a != b && !a.is_empty() && !b.is_empty();
        // `{1, {2}}` is not {1, 2}.
        let apart = named_apart || set(gold) != set(given);
        if found == Equality::Same && apart { NOT_DECIDED } else { found }
    }

    /// Lists and sets have no order, but `9 chickens and 6 rabbits` beside `6, 9` has one.
    pub(super) fn lists(&mut self, gold: &[Answer], given: &[Answer]) -> Equality {
        let names = |items: &[Answer]| {
            items.iter().any(|item| items.first().is_some_and(|first| name_of(item) != name_of(first)))
        };
        if names(gold) == names(given) {
            return self.same_set(gold, given);
        }
        self.in_order(gold, given).or(|| match self.same_set(gold, given) {
            Equality::Same => NOT_DECIDED,
            other => other,
        })
    }

    pub(super) fn same_set(&mut self, gold: &[Answer], given: &[Answer]) -> Equality {
        let all_in = |judge: &mut Self, from: &[Answer], to: &[Answer], turned: bool| {
            from.iter().fold(Equality::Same, |so_far, a| {
                so_far.and(|| {
                    let named = |b: &&Answer| !a.noun().is_empty() && a.noun() == b.noun();
                    let named_so = to.iter().any(|b| named(&b));
                    to.iter().filter(|b| !named_so || named(b)).fold(WRONG, |found, b| {
                        found.or(|| if turned { judge.items(b, a) } else { judge.items(a, b) })
                    })
                })
            })
        };
        all_in(self, gold, given, false).and(|| all_in(self, given, gold, true))
    }

    /// `3:4` and `6:8` may be one ratio, and are two times of day.
    pub(super) fn ratios(&mut self, gold: &[Answer], given: &[Answer]) -> Equality {
        let written = self.in_order(gold, given);
        let numbers = |items: &[Answer]| -> Option<Vec<BigRational>> {
            items.iter().map(|i| i.expr()?.number()).collect()
        };
        if let (Equality::Different(_), Some(x), Some(y)) = (written, numbers(gold), numbers(given))
            && x.len() == y.len()
            && x.iter().chain(&y).all(|n| !n.is_zero())
            && x.iter().zip(&y).all(|(p, q)| p * &y[0] == q * &x[0])
        {
            return NOT_DECIDED;
        }
        // `3:45` and `3:45:00`
        let (short, long) = if gold.len() < given.len() { (gold, given) } else { (given, gold) };
        let seconds = long.split_at_checked(short.len()).filter(|_| (short.len(), long.len()) == (2, 3));
        match seconds {
            Some((start, [rest])) if rest.expr().and_then(Expr::number).is_some_and(|n| n.is_zero()) => {
                if self.in_order(short, start) == Equality::Same {
                    NOT_DECIDED
                } else {
                    written
                }
            }
            _ => written,
        }
    }
}

/// The name of what an item of a list says: `9 chickens`, `x = 4`.
fn name_of(item: &Answer) -> &str {
    match item {
        Answer::Relation { sides, signs } if signs.as_slice() == ['='] => variable(&sides[0]).unwrap_or(""),
        item => item.noun(),
    }
}
