//! A problem as a walk over the relations of a setting, with numbers, sentences and the latent graph.

use super::draw::{self, pick, shuffle};
use super::fixed::{Fixed, OPERATIONS};
use super::lexicon::lexicon_in;
use super::render::Cast;
use super::table::{Operand, Relation, Setting};
use rand::Rng;

/// Smaller results are odd things to ask for, and things are no longer many.
const SMALLEST: Fixed = Fixed::from_int(2);

/// Larger results are odd too, unless a percentage is on its way.
const LARGEST: Fixed = Fixed::from_int(5_000);

/// One operation of the latent solution.
pub struct Node {
    pub name: String,
    pub op: char,
    /// Numbers of the text, words of the lexicon or names of earlier nodes.
    pub args: [String; 2],
    pub operands: [Fixed; 2],
    pub value: Fixed,
}

/// A problem with everything that is known of it.
pub struct Story {
    pub sentences: Vec<String>,
    /// Names of the relations, in the order of the walk.
    pub templates: Vec<&'static str>,
    pub nodes: Vec<Node>,
    pub givens: Vec<Fixed>,
    pub distractor: bool,
}

/// A random walk from `start` to `end` with exactly `operations` operations; `None` if the search got lost.
pub fn walk<'a>(rng: &mut impl Rng, setting: &'a Setting, operations: u32) -> Option<Vec<&'a Relation>> {
    let mut walker = Walker { rng, setting, path: Vec::new(), budget: 2_000 };
    walker.extend("start", operations).then_some(walker.path)
}

/// A depth-first search for a walk.
struct Walker<'a, 'r, R> {
    rng: &'r mut R,
    setting: &'a Setting,
    path: Vec<&'a Relation>,
    /// States that may still be looked at.
    budget: u32,
}

impl<R: Rng> Walker<'_, '_, R> {
    /// Extends the path from a state to the end by exactly so many operations; false if that is not found.
    fn extend(&mut self, state: &str, operations: u32) -> bool {
        if state == "end" {
            return operations == 0;
        }
        if self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        let mut next: Vec<&Relation> = self
            .setting
            .relations
            .iter()
            .filter(|r| r.from.contains(&state) && r.operations() <= operations)
            .filter(|r| self.path.iter().all(|used| used.group() != r.group()))
            .collect();
        shuffle(self.rng, &mut next);
        for relation in next {
            self.path.push(relation);
            if self.extend(relation.to, operations - relation.operations()) {
                return true;
            }
            self.path.pop();
        }
        false
    }
}

/// What a letter stands for while a story is told.
#[derive(Clone)]
struct Bound {
    value: Fixed,
    arg: String,
    text: String,
}

/// Letters `a` to `z`.
type Letters = [Option<Bound>; 26];

fn slot(letter: u8) -> usize {
    usize::from(letter.wrapping_sub(b'a')).min(25)
}

/// Tells a walk with fresh names and numbers. `None` if the numbers do not work out.
pub fn tell(rng: &mut impl Rng, setting: &Setting, path: &[&Relation], distractor: bool) -> Option<Story> {
    let cast = Cast::draw(rng, setting);
    let mut story = Story {
        sentences: Vec::new(),
        templates: path.iter().map(|r| r.name).collect(),
        nodes: Vec::new(),
        givens: Vec::new(),
        distractor,
    };
    let mut letters: Letters = std::array::from_fn(|_| None);
    let mut state = "start";
    for relation in path {
        letters[..4].fill(None);
        let phrasing = pick(rng, &relation.texts)?;
        compute(rng, relation, phrasing, &mut letters, &mut story)?;
        let number = |letter| letters[slot(letter)].as_ref().map(|bound| bound.text.clone());
        story.sentences.push(cast.render(phrasing, state.ends_with('-'), number));
        state = relation.to;
    }
    if distractor {
        let relation = pick(rng, &setting.distractors)?;
        letters[..4].fill(None);
        give(rng, relation, b'a', &mut letters, &mut story.givens)?;
        let number = |letter| letters[slot(letter)].as_ref().map(|bound| bound.text.clone());
        let sentence = cast.render(pick(rng, &relation.texts)?, false, number);
        // Between the opening and the question, but not before a sentence that points back.
        let places: Vec<usize> =
            (1..story.sentences.len()).filter(|&at| !points_back(&story.sentences[at])).collect();
        story.sentences.insert(*pick(rng, &places)?, sentence);
    }
    Some(story)
}

/// Whether a sentence says "that" or the like of the sentence before it.
fn points_back(sentence: &str) -> bool {
    let mut words = sentence.split(|c: char| !c.is_alphabetic());
    words.any(|word| ["that", "this", "these", "them", "it"].contains(&word.to_lowercase().as_str()))
}

/// Draws a number of a relation, unless it has been drawn.
fn give(
    rng: &mut impl Rng,
    relation: &Relation,
    letter: u8,
    letters: &mut Letters,
    givens: &mut Vec<Fixed>,
) -> Option<()> {
    if letters[slot(letter)].is_none() {
        let (_, spec) = relation.numbers.iter().find(|(name, _)| *name == letter)?;
        let (value, money) = draw::number(rng, *spec, |reg| letters[slot(reg)].as_ref().map(|b| b.value))?;
        let text = if money { value.price() } else { value.to_string() };
        letters[slot(letter)] = Some(Bound { value, arg: value.to_string(), text });
        givens.push(value);
    }
    Some(())
}

fn compute(
    rng: &mut impl Rng,
    relation: &Relation,
    phrasing: &str,
    letters: &mut Letters,
    story: &mut Story,
) -> Option<()> {
    let words = lexicon_in(phrasing);
    for (index, assignment) in relation.assignments.iter().enumerate() {
        let mut read = |operand: Operand, letters: &mut Letters| match operand {
            Operand::Letter(letter) => {
                give(rng, relation, letter, letters, &mut story.givens)?;
                letters[slot(letter)].clone()
            }
            Operand::Constant(int) => {
                let value = Fixed::from_int(int);
                let (word, _) = words.iter().find(|(_, digits)| *digits == value.to_string())?;
                Some(Bound { value, arg: (*word).to_owned(), text: String::new() })
            }
        };
        let left = read(assignment.left, letters)?;
        let Some((op, right)) = assignment.right else {
            letters[slot(assignment.target)] = Some(left);
            continue;
        };
        let right = read(right, letters)?;
        let value = left.value.apply(op, right.value)?;
        if !value.is_multiple_of(assignment.unit) || value < SMALLEST {
            return None;
        }
        let name = match relation.operations() {
            1 => relation.name.to_owned(),
            _ => format!("{}:{}", relation.name, index + 1),
        };
        story.nodes.push(Node {
            name: name.clone(),
            op,
            args: [left.arg, right.arg],
            operands: [left.value, right.value],
            value,
        });
        letters[slot(assignment.target)] = Some(Bound { value, arg: name, text: String::new() });
    }
    Some(())
}

impl Story {
    pub fn question(&self) -> String {
        self.sentences.join(" ")
    }

    pub fn answer(&self) -> Option<Fixed> {
        self.nodes.last().map(|node| node.value)
    }

    /// Whether no number means two things: numbers differ from each other, from the constants and from the
    /// results; none is large; no step's result is also the result of another operation on its operands; and,
    /// beyond one operation, no single operation on numbers in the text gives the answer.
    pub fn is_unambiguous(&self) -> bool {
        let Some(answer) = self.answer() else { return false };
        let constants: Vec<Fixed> = lexicon_in(&self.question())
            .iter()
            .filter_map(|(_, v)| v.parse().ok().map(Fixed::from_int))
            .collect();
        let results: Vec<Fixed> = self.nodes.iter().map(|node| node.value).collect();
        let distinct = |list: &[Fixed]| list.iter().enumerate().all(|(i, v)| !list[..i].contains(v));
        let written: Vec<Fixed> = self.givens.iter().chain(&results).copied().collect();
        if !distinct(&written)
            || constants.iter().any(|c| self.givens.contains(c))
            || constants.contains(&answer)
        {
            return false;
        }
        if self.nodes.iter().any(|n| n.value > LARGEST && n.op != '*') || answer > LARGEST {
            return false;
        }
        if !self.nodes.iter().all(|n| ways(n.operands[0], n.operands[1], n.value) == 1) {
            return false;
        }
        let pool: Vec<Fixed> = self.givens.iter().chain(&constants).copied().collect();
        self.nodes.len() == 1
            || pool.iter().enumerate().all(|(i, &a)| pool[..i].iter().all(|&b| ways(a, b, answer) == 0))
    }
}

/// In how many ways one operation on two numbers, in any order, gives a result.
fn ways(a: Fixed, b: Fixed, result: Fixed) -> usize {
    let forward = OPERATIONS.into_iter().filter(|&op| a.apply(op, b) == Some(result)).count();
    forward + ['-', '/'].into_iter().filter(|&op| b.apply(op, a) == Some(result)).count()
}
