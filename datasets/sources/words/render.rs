//! Fills the slots of a sentence: `{N}`, `{he}`, `{items}`, `{rest:items}`, `{An:item}`, `{a}`.

use super::draw::{below, shuffle};
use super::lexicon::{HE, SHE};
use super::table::Setting;
use rand::Rng;

/// Who and what a problem is about.
pub struct Cast {
    hero: &'static str,
    friend: &'static str,
    hero_is_she: bool,
    /// Slot name, singular and plural.
    slots: Vec<(&'static str, &'static str, &'static str)>,
}

impl Cast {
    /// Draws names and the values of the slots. The friend's sex is the other one, so that a pronoun
    /// can only mean the hero.
    pub fn draw(rng: &mut impl Rng, setting: &Setting) -> Self {
        let hero_is_she = below(rng, 2) == 0;
        let (she, he) = (SHE[below(rng, SHE.len())], HE[below(rng, HE.len())]);
        let mut slots = Vec::new();
        for list in &setting.slots {
            let mut values = list.values.clone();
            shuffle(rng, &mut values);
            for (name, value) in list.names.iter().zip(values) {
                let (one, many) = value.split_once('/').unwrap_or((value, value));
                slots.push((*name, one, many));
            }
        }
        let (hero, friend) = if hero_is_she { (she, he) } else { (he, she) };
        Self { hero, friend, hero_is_she, slots }
    }

    fn word(&self, key: &str) -> Option<&'static str> {
        let gendered = |she, he| Some(if self.hero_is_she { she } else { he });
        match key {
            "N" => return Some(self.hero),
            "M" => return Some(self.friend),
            "he" => return gendered("she", "he"),
            "He" => return gendered("She", "He"),
            "his" => return gendered("her", "his"),
            "His" => return gendered("Her", "His"),
            "him" => return gendered("her", "him"),
            _ => {}
        }
        let (slot, plural) =
            self.slots.iter().find(|(name, ..)| *name == key).map(|slot| (slot, false)).or_else(|| {
                Some((self.slots.iter().find(|(name, ..)| key.strip_suffix('s') == Some(name))?, true))
            })?;
        Some(if plural { slot.2 } else { slot.1 })
    }

    /// A phrasing as text. `taken` says that something has been taken away from what the story is about;
    /// `number` gives the text of a number by its letter. Unknown slots stay, for a test to find.
    pub fn render(&self, phrasing: &str, taken: bool, number: impl Fn(u8) -> Option<String>) -> String {
        let mut out = String::with_capacity(phrasing.len() + 32);
        let mut rest = phrasing;
        while let Some((before, tail)) = rest.split_once('{') {
            let Some((key, after)) = tail.split_once('}') else {
                break;
            };
            out.push_str(before);
            match self.slot(key, taken, &number) {
                Some(text) => out.push_str(&text),
                None => out.extend(["{", key, "}"]),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn slot(&self, key: &str, taken: bool, number: impl Fn(u8) -> Option<String>) -> Option<String> {
        if let Some((form, noun)) = key.split_once(':') {
            let noun = self.word(noun).unwrap_or(noun);
            let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
            let lead = match (form, taken) {
                ("an", _) => ["a", "an"][usize::from(vowel)],
                ("An", _) => ["A", "An"][usize::from(vowel)],
                ("rest" | "all" | "this", true) => "the remaining",
                ("All" | "Rest", true) => "The remaining",
                ("rest", false) => "the",
                ("Rest", false) => "The",
                ("this", false) => "this",
                ("all", false) => "all the",
                ("All", false) => "All the",
                _ => return None,
            };
            return Some(format!("{lead} {noun}"));
        }
        match key.as_bytes() {
            [letter @ b'a'..=b'd'] => number(*letter),
            _ => self.word(key).map(str::to_owned),
        }
    }
}
