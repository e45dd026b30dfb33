//! The loop of every search: each problem's algorithm says what it wants to see, the policy is asked for all
//! problems at once, then the value model for all that is new, until every problem is done.
//!
//! Problems advance in step, so a model always sees as many states as there are problems at work. With a
//! policy that enumerates and values that are computed on the spot there is nothing to gather, and problems
//! run in parallel instead; what comes out is the same.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use anyhow::{Context, Result};
use datasets::number::Number;
use datasets::types::{Problem, StepCheck, Verdict};
use datasets::{Domain, domains, expr};
use rayon::prelude::*;

use super::astar::AStar;
use super::beam::Beam;
use super::best_of_n::{Aim, BestOfN};
use super::budget::{Allowance, Spent, Unit};
use super::dvts::Dvts;
use super::mcts::Mcts;
use super::tree::{Item, NONE, Status, Tree};
use super::value::{Place, Shared, Values};
use super::{Algorithm, Draws, Goal, Grow, TreeConfig, Want};
use crate::events::Events;
use crate::policy::{Ask, Horizon, Policy, Proposal, Sampling};
use crate::siblings::Siblings;

/// Paths over duplicates that are looked at for each solution that is wanted.
const WAYS: usize = 64;

/// A search as it is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub algorithm: Algorithm,
    pub tree: TreeConfig,
    /// Most samples of best-of-N.
    pub samples: usize,
    /// When it draws fewer: the samples of a wave, and what ends them.
    pub aim: Option<(usize, Aim)>,
    /// Problems on which a correct path is tried, and how many have to confirm it so that it counts.
    pub siblings: Option<(Arc<Siblings>, usize)>,
    /// How paths are drawn; steps have `tree.step_tokens` instead of its token limit.
    pub sampling: Sampling,
    /// The `algorithm` of its solutions.
    pub name: &'static str,
}

/// What the search of one problem came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub tree: Tree,
    pub spent: Spent,
    /// What was spent when the first correct path had been found.
    pub first: Option<Spent>,
    /// Last nodes of distinct correct paths, in the order in which they were found.
    pub solutions: Vec<u32>,
    /// Last nodes of whole paths, once for each vote.
    pub ends: Vec<u32>,
    /// What a policy sampled as whole paths, in the order of `ends`; empty for other searches.
    pub samples: Vec<Proposal>,
}

enum Searcher {
    BestOfN(BestOfN),
    Beam(Beam),
    Dvts(Dvts),
    Mcts(Mcts),
    AStar(AStar),
}

/// The search of one problem under way.
struct Search<'a> {
    problem: &'a Problem,
    domain: &'static dyn Domain,
    plan: &'a Plan,
    /// The gold answer, if it is a plain number: rules out almost every state without asking the verifier.
    gold: Option<Number>,
    enumerates: bool,
    searcher: Searcher,
    tree: Tree,
    spent: Spent,
    first: Option<Spent>,
    /// Distinct correct paths.
    paths: HashSet<String>,
    solutions: Vec<u32>,
    samples: Vec<Proposal>,
    /// Samples drawn at a node so far.
    asked: HashMap<u32, usize>,
    done: bool,
}

/// Searches each problem, in order.
///
/// # Errors
/// A domain without rules under a policy that enumerates; those of the policy and of the value model;
/// [`crate::Cancelled`].
pub fn run(
    problems: &[Problem],
    plan: &Plan,
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    draws: Draws,
    events: &dyn Events,
) -> Result<Vec<Outcome>> {
    let enumerates = policy.enumerates();
    if plan.tree.budget != u64::MAX {
        ensure!(
            plan.tree.unit != Unit::Expansions || enumerates,
            "a budget in expansions is for rules, which show all steps of a state: give a model's in tokens or calls (tree.unit)"
        );
        ensure!(
            plan.tree.unit != Unit::Tokens || !enumerates,
            "rules generate no tokens: give their budget in expansions or calls (tree.unit)"
        );
    }
    let rest = !matches!(values, Values::Effort | Values::None);
    let new = |problem| Search::new(problem, plan, enumerates, rest, draws);
    if enumerates && let Some(shared) = values.shared() {
        return problems
            .par_iter()
            .map(|problem| {
                events.check()?;
                let mut search = new(problem)?;
                search.alone(&shared)?;
                Ok(search.finish())
            })
            .collect();
    }
    let mut searches = problems.iter().map(new).collect::<Result<Vec<_>>>()?;
    together(&mut searches, policy, values, draws, events)?;
    Ok(searches.into_par_iter().map(Search::finish).collect())
}

/// New nodes of one problem, by what was wanted.
type Added = Vec<(Want, Vec<u32>)>;

/// All searches in step.
fn together(
    searches: &mut [Search<'_>],
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    draws: Draws,
    events: &dyn Events,
) -> Result<()> {
    let flops = policy.flops_per_token();
    for search in searches.iter_mut() {
        search.spent.policy_flops += flops * policy.prompt_tokens(search.problem)?;
        search.spent.value_flops += values.prompt_flops(search.problem)?;
    }
    if !policy.enumerates() {
        let roots: Vec<(usize, Vec<u32>)> = (0..searches.len()).map(|i| (i, vec![0])).collect();
        evaluate(searches, &roots, policy, values, events)?;
    }
    loop {
        events.check()?;
        let wants: Vec<Vec<Want>> = searches.par_iter_mut().map(|search| search.want()).collect();
        if wants.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let added: Vec<Added> = if policy.enumerates() {
            let pairs = searches.par_iter_mut().zip(&wants);
            pairs
                .map(|(search, wants)| {
                    wants.iter().map(|want| Ok((*want, search.enumerate(*want)?))).collect()
                })
                .collect::<Result<_>>()?
        } else {
            let before: u64 = searches.iter().map(|s| s.spent.tokens).sum();
            let added = ask(searches, &wants, policy, draws, flops, events)?;
            let after: u64 = searches.iter().map(|s| s.spent.tokens).sum();
            events.advance(0, 0, after - before);
            added
        };
        let new: Vec<(usize, Vec<u32>)> = added
            .iter()
            .enumerate()
            .map(|(i, lists)| (i, lists.iter().flat_map(|(_, nodes)| nodes.iter().copied()).collect()))
            .collect();
        evaluate(searches, &new, policy, values, events)?;
        searches.par_iter_mut().zip(added).for_each(|(search, lists)| search.settle(&lists));
    }
}

/// Asks a policy that samples for what all searches want.
fn ask(
    searches: &mut [Search<'_>],
    wants: &[Vec<Want>],
    policy: &mut dyn Policy,
    draws: Draws,
    flops: u64,
    events: &dyn Events,
) -> Result<Vec<Added>> {
    let mut added: Vec<Added> = wants.iter().map(|_| Vec::new()).collect();
    for horizon in [Horizon::Step, Horizon::Path] {
        let mut places: Vec<(usize, Want)> = Vec::new();
        for (i, wants) in wants.iter().enumerate() {
            let of_kind = |want: &&Want| matches!(want.grow, Grow::Steps(_)) == (horizon == Horizon::Step);
            places.extend(wants.iter().filter(of_kind).map(|want| (i, *want)));
        }
        if places.is_empty() {
            continue;
        }
        let inputs: Vec<(Vec<String>, Vec<u64>)> = places
            .iter()
            .map(|(i, want)| {
                let search = &mut searches[*i];
                let steps = search.tree.steps(want.node);
                let (Grow::Steps(count) | Grow::Paths(count)) = want.grow;
                let asked = search.asked.entry(want.node).or_default();
                let seed = |k| {
                    if horizon == Horizon::Path {
                        draws.sample(search.problem, k)
                    } else {
                        draws.step(search.problem, want.node, k)
                    }
                };
                let seeds = (*asked..*asked + count).map(seed).collect();
                *asked += count;
                (steps, seeds)
            })
            .collect();
        let asks: Vec<Ask<'_>> = places
            .iter()
            .zip(&inputs)
            .map(|((i, _), (steps, seeds))| Ask { problem: searches[*i].problem, steps, seeds })
            .collect();
        let plan = searches[places[0].0].plan;
        let mut sampling = plan.sampling.clone();
        if horizon == Horizon::Step {
            sampling.max_tokens = plan.tree.step_tokens;
        }
        let answers = policy.propose(&asks, horizon, &sampling, events)?;
        for ((i, want), proposals) in places.into_iter().zip(answers) {
            let search = &mut searches[i];
            let tokens: u64 = proposals.iter().map(|p| u64::from(p.tokens)).sum();
            search.spent.calls += proposals.len() as u64;
            search.spent.tokens += tokens;
            search.spent.policy_flops += flops * tokens;
            let nodes = if horizon == Horizon::Step {
                search.add_steps(want, proposals)
            } else {
                search.add_paths(proposals)
            };
            added[i].push((want, nodes));
        }
    }
    Ok(added)
}

/// Gives new nodes of all searches their values, in one call.
fn evaluate(
    searches: &mut [Search<'_>],
    new: &[(usize, Vec<u32>)],
    policy: &mut dyn Policy,
    values: &mut Values<'_>,
    events: &dyn Events,
) -> Result<()> {
    let constant = values.is_constant();
    let asked: Vec<(usize, u32)> = new
        .iter()
        .flat_map(|(i, nodes)| searches[*i].unvalued(nodes, constant).into_iter().map(move |node| (*i, node)))
        .collect();
    let steps: Vec<Vec<String>> = asked.iter().map(|(i, node)| searches[*i].tree.steps(*node)).collect();
    let places: Vec<Place<'_>> =
        asked.iter().zip(&steps).map(|((i, node), steps)| searches[*i].place(*node, steps)).collect();
    let found = values.of(&places, policy, events)?;
    for ((i, node), (value, flops)) in asked.into_iter().zip(found) {
        searches[i].set_value(node, value, flops);
    }
    Ok(())
}

impl<'a> Search<'a> {
    /// `rest`: whether values leave out the steps that are to come.
    fn new(problem: &'a Problem, plan: &'a Plan, enumerates: bool, rest: bool, draws: Draws) -> Result<Self> {
        let name = &problem.domain;
        let domain = domains::domain(name).with_context(|| format!("no domain is named `{name}`"))?;
        let samples = !enumerates;
        let rng = draws.rng(problem, plan.name);
        let searcher = match plan.algorithm {
            Algorithm::BestOfN => {
                // If one success ends the search, samples come one by one.
                let wave = if plan.tree.goal == Goal::Verified {
                    1
                } else {
                    plan.aim.map_or(plan.samples, |(wave, _)| wave)
                };
                Searcher::BestOfN(BestOfN::new(plan.samples, wave, plan.aim.map(|(_, aim)| aim), rng))
            }
            Algorithm::Beam => Searcher::Beam(Beam::new(samples)),
            Algorithm::Dvts => Searcher::Dvts(Dvts::new(samples)),
            Algorithm::Mcts => Searcher::Mcts(Mcts::new(samples, rng)),
            Algorithm::AStar => Searcher::AStar(AStar::new(samples, rest)),
        };
        Ok(Self {
            problem,
            domain,
            plan,
            gold: Number::parse(problem.answer.trim()),
            enumerates,
            searcher,
            tree: Tree::new(Some(domain.start(problem))),
            spent: Spent::default(),
            first: None,
            paths: HashSet::new(),
            solutions: Vec::new(),
            samples: Vec::new(),
            asked: HashMap::new(),
            done: false,
        })
    }

    /// The whole search of a problem whose states are enumerated and valued on the spot.
    fn alone(&mut self, shared: &Shared<'_>) -> Result<()> {
        let scorer = shared.scorer(self.problem, self.domain);
        loop {
            let wants = self.want();
            if wants.is_empty() {
                return Ok(());
            }
            let mut lists = Vec::with_capacity(wants.len());
            for want in wants {
                let nodes = self.enumerate(want)?;
                let asked = self.unvalued(&nodes, shared.is_constant());
                for node in asked {
                    let value = self.tree.get(node).state.as_deref().map_or(0.5, &scorer);
                    self.set_value(node, value, shared.flops());
                }
                lists.push((want, nodes));
            }
            self.settle(&lists);
        }
    }

    fn verified(&self) -> bool {
        self.plan.tree.goal == Goal::Verified
    }

    /// What the algorithm wants to see next, within the budget; nothing once it is done.
    fn want(&mut self) -> Vec<Want> {
        if self.done {
            return Vec::new();
        }
        let config = &self.plan.tree;
        let mut allowance = Allowance {
            unit: config.unit,
            left: config.budget.saturating_sub(self.spent.of(config.unit)),
            step_tokens: config.step_tokens as u64,
            path_tokens: self.plan.sampling.max_tokens as u64,
            samples: !self.enumerates,
        };
        let wants = match &mut self.searcher {
            Searcher::BestOfN(search) if !self.enumerates => search.want_paths(&mut allowance),
            Searcher::BestOfN(search) => {
                let (domain, problem, paths, solutions, first) =
                    (self.domain, self.problem, &mut self.paths, &mut self.solutions, &mut self.first);
                let (verified, spent) = (config.goal == Goal::Verified, self.spent);
                search.want_step(&mut self.tree, &mut allowance, config, &mut |tree, node| {
                    let Some(answer) = &tree.get(node).answer else { return false };
                    if !verified || !is_correct(problem, domain, &tree.steps(node), answer) {
                        return false;
                    }
                    if paths.insert(expr::canonical_path(&tree.steps(node))) {
                        solutions.push(node);
                        tree.at(node).status = Status::Solution;
                        first.get_or_insert(spent);
                    }
                    solutions.len() >= config.solutions
                })
            }
            Searcher::Beam(search) => search.want(&self.tree, &mut allowance, config),
            Searcher::Dvts(search) => search.want(&self.tree, &mut allowance, config),
            Searcher::Mcts(search) => search.want(&mut self.tree, &mut allowance, config),
            Searcher::AStar(search) => search.want(&self.tree, self.domain, &mut allowance, config),
        };
        self.done = wants.is_empty();
        wants
    }

    /// All legal next steps of a state.
    fn enumerate(&mut self, want: Want) -> Result<Vec<u32>> {
        let parent = self.tree.get(want.node);
        let depth = parent.depth + 1;
        let name = self.domain.name();
        let state = parent.state.as_deref().with_context(|| format!("a state of `{name}` is lost"))?;
        let moves = self
            .domain
            .moves(state)
            .with_context(|| format!("the domain `{name}` has no rules to enumerate"))?;
        self.tree.expand(want.node);
        self.spent.expansions += 1;
        self.spent.calls += 1;
        let prior = 1.0 / moves.len().max(1) as f32;
        // Best-of-N sees the step that it draws, and no further.
        let ahead = !matches!(self.searcher, Searcher::BestOfN(_));
        let most = self.plan.tree.depth;
        let mut nodes = Vec::with_capacity(moves.len());
        for step in moves {
            let least = self.domain.least_steps(&step.next) as u32;
            if depth + least > most {
                continue;
            }
            let hopeless = ahead && self.verified() && self.gold.is_some_and(|gold| gold != step.value);
            let answer = if hopeless { None } else { self.domain.answer(&step.next) };
            let node = self.tree.add(Item {
                prior,
                logprob: prior.ln(),
                answer,
                ..Item::child(want.node, depth, step.text, Some(step.next))
            });
            self.spent.nodes += 1;
            if ahead {
                self.judge(node);
            }
            // One number has nothing to be joined with.
            let last =
                depth == most || self.tree.get(node).state.as_ref().is_some_and(|state| state.pool.len() < 2);
            if last && self.tree.get(node).status == Status::Open {
                self.tree.at(node).status = Status::Dead;
            }
            self.admit(node);
            nodes.push(node);
        }
        if self.tree.get(want.node).children == 0 && !self.tree.get(want.node).end {
            self.tree.at(want.node).status = Status::Dead;
        }
        Ok(nodes)
    }

    /// Lets the algorithm recognise a state that is there already.
    fn admit(&mut self, node: u32) {
        if let Searcher::AStar(search) = &mut self.searcher
            && !search.admit(&mut self.tree, node, self.domain, &self.plan.tree)
        {
            self.spent.duplicates += 1;
        }
    }

    /// What the verifier says of a path that may end here; only where the search is told.
    fn judge(&mut self, node: u32) {
        let Some(answer) = self.tree.get(node).answer.as_ref().filter(|_| self.verified()) else { return };
        let steps = self.tree.steps(node);
        let status = if !is_correct(self.problem, self.domain, &steps, answer) {
            // A path of rules may go on.
            if self.tree.get(node).end { Status::Wrong } else { return }
        } else if self
            .plan
            .siblings
            .as_ref()
            .is_some_and(|(all, least)| !all.try_on(self.problem, &steps).confirmed(*least))
        {
            // Right by chance, as far as siblings tell; a longer path may be right.
            return;
        } else if self.paths.insert(expr::canonical_path(&steps)) {
            self.solutions.push(node);
            Status::Solution
        } else {
            Status::Duplicate
        };
        self.tree.at(node).status = status;
    }

    /// Next steps that a policy sampled at a node.
    fn add_steps(&mut self, want: Want, proposals: Vec<Proposal>) -> Vec<u32> {
        self.tree.expand(want.node);
        self.spent.expansions += 1;
        let mut nodes = Vec::new();
        for proposal in proposals {
            let (node, new) = match proposal.steps.into_iter().next() {
                Some(step) => self.add_step(want.node, step.text, step.logprob, proposal.tokens),
                None => self.add_end(want.node, proposal.final_answer, proposal.tokens),
            };
            if new {
                nodes.push(node);
            } else {
                self.spent.duplicates += 1;
            }
        }
        self.weigh_siblings(want.node);
        for node in &nodes {
            self.admit(*node);
        }
        nodes
    }

    /// Whole paths that a policy sampled at the root.
    fn add_paths(&mut self, proposals: Vec<Proposal>) -> Vec<u32> {
        let mut nodes = Vec::new();
        for proposal in proposals {
            let mut at = 0;
            self.tree.at(0).visits += 1;
            let stepped: u32 = proposal.steps.iter().map(|s| s.tokens).sum();
            for step in &proposal.steps {
                self.tree.expand(at);
                let (node, new) = self.add_step(at, step.text.clone(), step.logprob, step.tokens);
                if new {
                    nodes.push(node);
                } else {
                    self.spent.duplicates += 1;
                }
                self.weigh_siblings(at);
                self.spent.expansions += 1;
                self.tree.at(node).visits += 1;
                at = node;
            }
            self.tree.expand(at);
            let (end, new) =
                self.add_end(at, proposal.final_answer.clone(), proposal.tokens.saturating_sub(stepped));
            self.tree.at(end).visits += 1;
            if new {
                nodes.push(end);
            } else {
                self.spent.duplicates += 1;
            }
            if let Searcher::BestOfN(search) = &mut self.searcher {
                search.ends.push(end);
                if search.asks_verdicts() {
                    let steps = self.tree.steps(end);
                    if is_correct(self.problem, self.domain, &steps, &proposal.final_answer) {
                        search.correct(expr::canonical_path(&steps));
                    }
                }
            }
            self.samples.push(proposal);
        }
        nodes
    }

    /// A child with this step, and whether it is new.
    fn add_step(&mut self, parent: u32, text: String, logprob: f32, tokens: u32) -> (u32, bool) {
        self.spent.nodes += 1;
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        let key = squeezed(&text);
        let same = self
            .tree
            .children(parent)
            .find(|c| !self.tree.get(*c).end && squeezed(&self.tree.get(*c).step) == key);
        if let Some(node) = same {
            return (self.again(node, tokens), false);
        }
        let depth = self.tree.get(parent).depth + 1;
        let state = self.tree.get(parent).state.as_deref().and_then(|state| self.domain.follow(state, &text));
        let status = if matches!(self.searcher, Searcher::BestOfN(_)) {
            // Whole paths are judged as such.
            Status::Open
        } else if self.domain.check_step(self.problem, &self.tree.steps(parent), &text) == StepCheck::False {
            Status::False
        } else if depth >= self.plan.tree.depth {
            Status::Dead
        } else {
            Status::Open
        };
        let node = self.tree.add(Item { logprob, tokens, status, ..Item::child(parent, depth, text, state) });
        (node, true)
    }

    /// A child that ends the path, with its answer (empty for none), and whether it is new.
    fn add_end(&mut self, parent: u32, answer: String, tokens: u32) -> (u32, bool) {
        self.spent.nodes += 1;
        let same = self.tree.children(parent).find(|c| {
            let item = self.tree.get(*c);
            item.end && item.answer.as_deref().unwrap_or_default() == answer
        });
        if let Some(node) = same {
            return (self.again(node, tokens), false);
        }
        let depth = self.tree.get(parent).depth + 1;
        let line = if answer.is_empty() { String::new() } else { format!("#### {answer}") };
        let status = if answer.is_empty() { Status::Wrong } else { Status::Open };
        let answer = Some(answer).filter(|a| !a.is_empty());
        let node = self.tree.add(Item {
            tokens,
            status,
            answer,
            end: true,
            ..Item::child(parent, depth, line, None)
        });
        self.judge(node);
        (node, true)
    }

    /// A child that was proposed once more.
    fn again(&mut self, node: u32, tokens: u32) -> u32 {
        let item = self.tree.at(node);
        item.samples += 1;
        item.tokens += tokens;
        node
    }

    /// Priors among siblings: their probabilities under the policy, or how often it proposed them where it
    /// gives none.
    fn weigh_siblings(&mut self, parent: u32) {
        let children: Vec<u32> = self.tree.children(parent).collect();
        let known = children.iter().all(|c| self.tree.get(*c).logprob.is_finite());
        let weight = |item: &Item| {
            if known { f64::from(item.logprob).exp().max(1e-30) } else { f64::from(item.samples) }
        };
        let sum: f64 = children.iter().map(|c| weight(self.tree.get(*c))).sum();
        for child in children {
            let item = self.tree.at(child);
            item.prior = (weight(item) / sum) as f32;
        }
    }

    /// Which of these nodes the value model is asked about; the others have their values.
    fn unvalued(&mut self, nodes: &[u32], constant: bool) -> Vec<u32> {
        let verified = self.verified();
        let mut asked = Vec::with_capacity(nodes.len());
        for node in nodes {
            let item = self.tree.at(*node);
            // Without a verifier an end is worth what the value model says.
            let sure =
                verified || matches!(item.status, Status::False | Status::Duplicate) || item.answer.is_none();
            match known(item.status).filter(|_| sure) {
                Some(value) => item.value = value,
                None if constant => item.value = 1.0,
                None => asked.push(*node),
            }
        }
        asked
    }

    fn place<'s>(&'s self, node: u32, steps: &'s [String]) -> Place<'s> {
        let item = self.tree.get(node);
        Place {
            problem: self.problem,
            domain: self.domain,
            steps,
            state: item.state.as_deref(),
            answer: item.answer.as_deref().filter(|_| item.end),
        }
    }

    fn set_value(&mut self, node: u32, value: f32, flops: u64) {
        self.spent.values += 1;
        self.spent.value_flops += flops;
        let threshold = self.plan.tree.threshold as f32;
        let item = self.tree.at(node);
        item.value = value;
        if value < threshold && node != 0 && item.is_open() {
            item.status = Status::Pruned;
        }
    }

    /// Takes up what is new and has its values: says the algorithm so, and sees whether the goal is reached.
    fn settle(&mut self, lists: &[(Want, Vec<u32>)]) {
        let config = &self.plan.tree;
        for (want, nodes) in lists {
            if self.tree.get(want.node).value.is_nan() {
                self.tree.at(want.node).value = 1.0;
            }
            match &mut self.searcher {
                Searcher::BestOfN(_) => {}
                Searcher::Beam(search) => search.grown(nodes),
                Searcher::Dvts(search) => search.grown(&self.tree, want, nodes, config),
                Searcher::Mcts(search) => search.grown(&mut self.tree, want, nodes, config),
                Searcher::AStar(search) => search.grown(&self.tree, want, nodes, self.domain, config),
            }
        }
        let new: Vec<u32> = lists
            .iter()
            .flat_map(|(_, nodes)| nodes)
            .copied()
            .filter(|n| self.tree.get(*n).status == Status::Solution)
            .collect();
        if !new.is_empty() {
            self.first.get_or_insert(self.spent);
        }
        let mut shorter = false;
        if let Searcher::AStar(search) = &mut self.searcher {
            for node in new {
                search.solved(&self.tree, self.tree.length(node), self.domain, config);
            }
            shorter = config.shortest;
        }
        self.done |= config.goal == Goal::Verified && self.solutions.len() >= config.solutions && !shorter;
    }

    fn finish(mut self) -> Outcome {
        let mut ends = match &mut self.searcher {
            Searcher::BestOfN(search) => std::mem::take(&mut search.ends),
            _ if self.enumerates => {
                (0..self.tree.items.len() as u32).filter(|n| self.tree.get(*n).answer.is_some()).collect()
            }
            _ => (0..self.tree.items.len() as u32).filter(|n| self.tree.get(*n).end).collect(),
        };
        if !self.verified() {
            // Now that the search is over, the verifier says what was right.
            let mut nodes = ends.clone();
            nodes.sort_unstable();
            nodes.dedup();
            for node in nodes {
                let item = self.tree.get(node);
                let Some(answer) = item.answer.clone() else { continue };
                let steps = self.tree.steps(node);
                let correct = is_correct(self.problem, self.domain, &steps, &answer);
                if correct && self.paths.insert(expr::canonical_path(&steps)) {
                    self.solutions.push(node);
                }
                let item = self.tree.at(node);
                if item.end {
                    item.status = if correct { Status::Solution } else { Status::Wrong };
                } else if correct && item.status != Status::Duplicate {
                    item.status = Status::Solution;
                }
            }
        } else if self.plan.tree.transpositions && matches!(self.searcher, Searcher::AStar(_)) {
            ends.extend(self.other_ways());
        }
        let shortest = self.plan.tree.shortest;
        if self.enumerates || shortest {
            let mut solutions = std::mem::take(&mut self.solutions);
            solutions.sort_by_key(|node| {
                (if shortest { self.tree.length(*node) } else { 0 }, self.effort(*node), *node)
            });
            self.solutions = solutions;
        }
        if self.verified() {
            self.solutions.truncate(self.plan.tree.solutions);
        }
        Outcome {
            tree: self.tree,
            spent: self.spent,
            first: self.first,
            solutions: self.solutions,
            ends,
            samples: self.samples,
        }
    }

    /// Further solutions that transpositions hold: a path to a duplicate goes on as the path from the state
    /// that it repeats. Of every path that ends right, states are replaced by their duplicates from the end
    /// to the beginning, so no way comes twice.
    fn other_ways(&mut self) -> Vec<u32> {
        let wanted = self.plan.tree.solutions;
        let nodes = 0..self.tree.items.len() as u32;
        let mut ways: HashMap<u32, Vec<u32>> = HashMap::new();
        for node in nodes.clone().filter(|node| self.tree.get(*node).same != NONE) {
            ways.entry(self.tree.get(node).same).or_default().push(node);
        }
        let mut right = std::mem::take(&mut self.solutions);
        right.extend(nodes.filter(|node| {
            self.tree.get(*node).status == Status::Duplicate && self.tree.get(*node).same == NONE
        }));
        // Below a state that was re-opened paths are no longer what they were when they were found.
        self.paths.clear();
        for node in &right {
            let new = self.paths.insert(expr::canonical_path(&self.tree.steps(*node)));
            self.tree.at(*node).status = if new { Status::Solution } else { Status::Duplicate };
            self.solutions.extend(Some(*node).filter(|_| new));
        }
        let mut grafted = Vec::new();
        let mut left = wanted.saturating_mul(WAYS);
        // Paths, and how many of their first states may be replaced.
        let mut paths: VecDeque<(Vec<u32>, usize)> =
            right.iter().map(|node| self.tree.path(*node)).map(|path| (path.clone(), path.len())).collect();
        while let Some((path, free)) = paths.pop_front() {
            for (at, state) in path[..free].iter().enumerate() {
                for other in ways.get(state).into_iter().flatten() {
                    if self.solutions.len() >= wanted || left == 0 {
                        return grafted;
                    }
                    left -= 1;
                    grafted.extend(self.graft(*other, &path[at + 1..]));
                    let mut way = self.tree.path(*other);
                    let free = way.len() - 1;
                    way.extend(&path[at + 1..]);
                    paths.push_back((way, free));
                }
            }
        }
        grafted
    }

    /// Length of a whole path and what it leaves unused, in thousandths of a step: the sensible ones first.
    fn effort(&self, node: u32) -> u64 {
        let rest = self.tree.get(node).state.as_deref().map_or(0.0, |state| self.domain.effort(state));
        ((f64::from(self.tree.length(node)) + rest) * 1000.0).round() as u64
    }

    /// Copies the rest of a solution below a duplicate state, if that is a solution that is not known.
    fn graft(&mut self, from: u32, rest: &[u32]) -> Option<u32> {
        let mut steps = self.tree.steps(from);
        steps.extend(
            rest.iter().map(|n| self.tree.get(*n)).filter(|item| !item.end).map(|item| item.step.clone()),
        );
        let last = rest.last().copied();
        let answer = last.and_then(|n| self.tree.get(n).answer.clone())?;
        let good = steps.len() <= self.plan.tree.depth as usize
            && is_correct(self.problem, self.domain, &steps, &answer);
        if !good || !self.paths.insert(expr::canonical_path(&steps)) {
            return None;
        }
        let mut at = from;
        for node in rest {
            let like = self.tree.get(*node).clone();
            let depth = self.tree.get(at).depth + 1;
            let (status, same) = match like.same {
                _ if Some(*node) == last => (Status::Solution, NONE),
                NONE => (Status::Duplicate, *node),
                same => (Status::Duplicate, same),
            };
            at = self.tree.add(Item {
                status,
                same,
                logprob: like.logprob,
                prior: like.prior,
                value: like.value,
                answer: like.answer,
                end: like.end,
                ..Item::child(at, depth, like.step, like.state.map(|state| *state))
            });
        }
        self.solutions.push(at);
        Some(at)
    }
}

/// What a node's state is worth where that is no question.
fn known(status: Status) -> Option<f32> {
    match status {
        Status::Solution => Some(1.0),
        Status::Wrong | Status::Dead | Status::Duplicate | Status::False => Some(0.0),
        Status::Open | Status::Expanded | Status::Pruned => None,
    }
}

/// Whether the verifier accepts a path.
fn is_correct(problem: &Problem, domain: &dyn Domain, steps: &[String], answer: &str) -> bool {
    domain.verify(problem, steps, answer).verdict == Verdict::Correct
}
