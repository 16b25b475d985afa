//! Exact search among all supersets of what has run, by depth-first branch and bound.
//!
//! Leans on the submodularity of v, which holds for the evaluator's numbers themselves:
//! - *lemma* (negative marginal gain): a model that doesn't raise tau on top of S raises it on top of no superset of S, so
//!   it leaves the candidates of the whole subtree;
//! - *bound*: tau(S + T) <= tau(S) + the sum of the largest marginal gains at S, as many as there are slots;
//! - *closed forms first*: what they leave at the root is searched, see [`Outlook`];
//! - *symmetry*: of models with the same numbers, the first is taken first.
//!
//! Siblings are visited by falling gain, so that the first dive is the greedy one and the first sibling that is bounded
//! away ends its level. Typical inputs take about k nodes; the worst case is the number of sets within `max_depth`.

use super::candidate::{Candidate, settle, sort, sum_of_gains};
use super::level::Outlook;
use super::scratch::Scratch;
use super::tangent::Ranks;
use super::{Incumbent, Limits, Problem, Solution, tradeoff};
use crate::error::{Error, Result};
use crate::expected_max::ExpectedMax;
use crate::model_set::ModelSet;
use crate::normal::ExcessChords;

/// Fewer candidates than this are searched faster than a tangent is drawn.
const WORTH_A_TANGENT: usize = 5;

/// Steps of a walk between two questions whether to stop it: a step takes some microseconds, or a millisecond at worst.
const STEPS_PER_QUESTION: u32 = 128;

/// Which prunings to use. None loses anything; the first two are switched off for tests and ablations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruning {
    /// Drop candidates of negative marginal gain.
    pub lemma: bool,
    /// Drop subtrees whose bound is below the best plan.
    pub bound: bool,
    /// Ask closed forms first; off where they have been asked.
    pub closed_forms: bool,
}

impl Default for Pruning {
    fn default() -> Self {
        Self { lemma: true, bound: true, closed_forms: true }
    }
}

/// The set at hand in the depth-first walk.
#[derive(Debug, Clone, Copy)]
struct Node {
    depth: usize,
    set: ModelSet,
    value: f64,
    tradeoff: f64,
    cost: f64,
    /// How many models may still be added.
    slots: usize,
}

struct Walk<'a, E> {
    evaluator: &'a mut E,
    problem: &'a Problem<'a>,
    cost_weight: f64,
    node_limit: u64,
    pruning: Pruning,
    scratch: &'a mut Scratch,
    best: Incumbent,
    /// Steps until the next question whether to stop.
    patience: u32,
    is_stopped: bool,
    /// Highest bound among the subtrees that the node limit left unvisited.
    open_bound: f64,
    n_nodes: u64,
    tie: f64,
    /// The models that are in the search.
    in_play: ModelSet,
    /// Value that stands for what has run.
    start_value: f64,
    /// What the tangent grants it.
    granted_none: f64,
}

/// The best plan, proven or with a gap when the node limit is reached.
///
/// # Errors
/// Nothing has run and nothing may; [`Error::Interrupted`] where [`Problem::stop`] said so.
pub fn branch_and_bound<E: ExpectedMax>(
    evaluator: &mut E,
    problem: &Problem<'_>,
    cost_weight: f64,
    limits: Limits,
    pruning: Pruning,
    scratch: &mut Scratch,
) -> Result<Solution> {
    let open = problem.open()?;
    if cost_weight.is_infinite() {
        return cheapest(evaluator, problem, open, limits, pruning, scratch);
    }
    let slots = limits.max_depth.saturating_sub(problem.run.len());
    let (run, tie) = (problem.run, problem.tie());
    let mut walk = Walk {
        evaluator,
        problem,
        cost_weight,
        node_limit: limits.node_limit,
        pruning,
        scratch,
        best: Incumbent::new(problem, cost_weight, tie, run, f64::NEG_INFINITY),
        patience: STEPS_PER_QUESTION,
        is_stopped: false,
        open_bound: f64::NEG_INFINITY,
        n_nodes: 0,
        tie,
        in_play: ModelSet::EMPTY,
        start_value: 0.0,
        granted_none: f64::INFINITY,
    };
    walk.scratch.tangent.clear();
    let root = Node { depth: 0, set: run, value: 0.0, tradeoff: 0.0, cost: 0.0, slots };
    if run.is_empty() {
        walk.start_with_nothing(root, open);
    } else {
        walk.start_with_run(root, open);
    }
    if walk.is_stopped {
        return Err(Error::Interrupted);
    }
    Ok(walk.best.solution(walk.open_bound, walk.n_nodes))
}

/// The cheapest plan and, among those, the most valuable: the limit of a growing lambda.
fn cheapest<E: ExpectedMax>(
    evaluator: &mut E,
    problem: &Problem<'_>,
    open: ModelSet,
    limits: Limits,
    pruning: Pruning,
    scratch: &mut Scratch,
) -> Result<Solution> {
    let must_pay = problem.run.is_empty();
    let least =
        if must_pay { open.iter().map(|j| problem.cost[j]).fold(f64::INFINITY, f64::min) } else { 0.0 };
    let allowed: ModelSet = open.iter().filter(|&j| problem.cost[j] <= least).collect();
    let max_depth = if must_pay && least > 0.0 { 1 } else { limits.max_depth };
    let tie = problem.finer_tie(problem.run.union(allowed), |j| evaluator.sd(j)).or(problem.tie);
    let restricted = Problem { allowed, tie, ..*problem };
    let solution =
        branch_and_bound(evaluator, &restricted, 0.0, Limits { max_depth, ..limits }, pruning, scratch)?;
    let cost = problem.added_cost(solution.plan);
    Ok(Solution { tradeoff: tradeoff(solution.value, f64::INFINITY, cost), ..solution })
}

impl<E: ExpectedMax> Walk<'_, E> {
    /// Starts with some models run: they are the first plan.
    fn start_with_run(&mut self, mut root: Node, mut open: ModelSet) {
        let run = self.problem.run;
        if self.pruning.lemma && self.pruning.closed_forms {
            let slack = self.evaluator.slack();
            let outlook = Outlook::new(self.problem, &*self.evaluator, self.cost_weight, slack);
            if let Some(level) = outlook.level(open, root.slots, None) {
                if level.is_settled && self.evaluator.agrees_on_pairs() {
                    (self.best, self.n_nodes) = (level.best, level.n_nodes);
                    return;
                }
                open = level.left;
            }
        }
        if root.slots == 0 {
            open = ModelSet::EMPTY;
        }
        self.evaluator.prepare(run, open, root.slots);
        let n_points = self.evaluator.n_points();
        let (state, next) = self.scratch.two_states(n_points);
        root.value = self.evaluator.start(state);
        for model in run.iter() {
            root.value += self.evaluator.gain(state, model);
            self.evaluator.extend(state, model, next);
            std::mem::swap(state, next);
        }
        root.tradeoff = root.value;
        self.in_play = open;
        self.start_value = root.value;
        self.n_nodes = 1;
        self.best = Incumbent::new(self.problem, self.cost_weight, self.tie, run, root.value);
        self.scratch.candidates[0].clear();
        let unrated = |model| Candidate { model, gain: 0.0, net: 0.0, is_fresh: true };
        self.scratch.candidates[0].extend(open.iter().map(unrated));
        self.rate(0);
        self.expand(root, 0.0);
    }

    /// Starts with nothing run: the first plan is the best single model.
    fn start_with_nothing(&mut self, mut root: Node, open: ModelSet) {
        let slack = self.evaluator.slack() * (root.slots + 1) as f64;
        let outlook = Outlook::new(self.problem, &*self.evaluator, self.cost_weight, slack);
        let Some(single) = outlook.of_single_models(open) else { return };
        (self.best, self.n_nodes) = (single.best, single.n_nodes);
        let mut models = open;
        if root.slots <= 1 || self.best.tradeoff == f64::NEG_INFINITY {
            return;
        }
        if self.pruning.bound
            && self.pruning.closed_forms
            && let Some(known) = outlook.level(open, root.slots, None)
        {
            models = known.left;
            if self.evaluator.agrees_on_pairs() {
                self.best = known.best;
                if known.is_settled {
                    self.n_nodes = known.n_nodes;
                    return;
                }
            }
        }
        // The root stands for a sure thing worth this level.
        let level = single.best.tradeoff;
        self.scratch.reach(0, 0);
        let mut candidates = std::mem::take(&mut self.scratch.candidates[0]);
        self.shortlist(&mut candidates, models, level, slack + self.tie, root.slots);
        self.in_play = candidates.iter().map(|c| c.model).collect();
        self.scratch.candidates[0] = candidates;
        if self.in_play.len() <= 1 {
            return;
        }
        self.evaluator.prepare(ModelSet::EMPTY, self.in_play, root.slots);
        self.scratch.reach(0, self.evaluator.n_points());
        root.value = self.evaluator.start(&mut self.scratch.states[0]);
        // A single model is worth its mean, whatever the accuracy of the states.
        for candidate in &mut self.scratch.candidates[0] {
            candidate.gain = self.evaluator.mean(candidate.model) - root.value;
        }
        self.start_value = root.value;
        root.tradeoff = level;
        self.expand(root, slack + self.tie);
    }

    /// Lists the models that may be part of a set worth more than `level`, by falling net gain over it.
    fn shortlist(
        &mut self,
        candidates: &mut Vec<Candidate>,
        models: ModelSet,
        level: f64,
        slack: f64,
        slots: usize,
    ) {
        let chords = ExcessChords::get();
        candidates.clear();
        candidates.extend(models.iter().map(|model| {
            let gain = chords.bound(self.evaluator.mean(model), self.evaluator.sd(model), level);
            Candidate { model, gain, net: gain - self.price(model), is_fresh: true }
        }));
        sort(candidates);
        if self.pruning.bound {
            // The best partners of a model are the first of the list, itself left out.
            let partners = sum_of_gains(candidates, slots - 1);
            candidates.retain(|c| c.net + partners >= -slack);
        }
    }

    /// Finds the gains of the candidates of a depth over the state there, and puts them in order.
    fn rate(&mut self, depth: usize) {
        let mut candidates = std::mem::take(&mut self.scratch.candidates[depth]);
        candidates.retain_mut(|candidate| self.refresh(depth, candidate));
        sort(&mut candidates);
        self.scratch.candidates[depth] = candidates;
    }

    /// Finds the gain of a candidate over the state at a depth. May it still be added there?
    fn refresh(&mut self, depth: usize, candidate: &mut Candidate) -> bool {
        candidate.gain = self.evaluator.gain(&self.scratch.states[depth], candidate.model);
        candidate.net = candidate.gain - self.price(candidate.model);
        candidate.is_fresh = true;
        !self.pruning.lemma || candidate.net > self.tie
    }

    fn price(&self, model: usize) -> f64 {
        self.cost_weight * self.problem.cost[model]
    }

    /// May no more sets be valued? Counts a step.
    #[inline]
    fn is_at_limit(&mut self) -> bool {
        self.patience -= 1;
        if self.patience == 0 {
            self.ask();
        }
        self.n_nodes >= self.node_limit
    }

    /// Asks whether to stop; if so, no more sets may be valued.
    #[cold]
    fn ask(&mut self) {
        self.patience = STEPS_PER_QUESTION;
        if self.problem.stop.is_wanted() {
            self.is_stopped = true;
            self.node_limit = 0;
        }
    }

    /// Can no plan of this tradeoff or less become the best?
    fn is_beaten(&self, bound: f64) -> bool {
        self.pruning.bound && bound < self.best.tradeoff - self.tie
    }

    /// Visits the sets that extend `node` by its listed candidates; there are none where there are no slots. `slack` is
    /// added to the bounds at this node.
    fn expand(&mut self, node: Node, slack: f64) {
        let mut candidates = std::mem::take(&mut self.scratch.candidates[node.depth]);
        // Those after the current one, by the order of the tangent, once it is drawn.
        let mut ranks: Option<Ranks> = None;
        let mut at = 0;
        while at < candidates.len() {
            let later = &candidates[at + 1..];
            let mut candidate = candidates[at];
            if let Some(later) = &mut ranks {
                *later = later.minus(self.scratch.tangent.rank(candidate.model));
            }
            let before = at.checked_sub(1).map(|at| candidates[at].model);
            if before.is_some_and(|before| self.stands_in_for(before, candidate.model)) {
                at += 1;
                continue;
            }
            let base = node.tradeoff + candidate.net + slack;
            let mut bound = base + sum_of_gains(later, node.slots - 1);
            if self.is_beaten(bound) {
                break;
            }
            if self.is_at_limit() {
                self.open_bound = self.open_bound.max(bound);
                break;
            }
            if at > 0 && self.pruning.bound && candidates.len() - at >= WORTH_A_TANGENT && self.draw() {
                self.weed(&node, &mut candidates, at);
                continue;
            }
            let tangent = &self.scratch.tangent;
            if tangent.is_drawn() {
                let later = *ranks.get_or_insert_with(|| tangent.ranks(later));
                bound = bound.min(self.granted(&node, candidate.model, later));
            }
            if self.is_beaten(bound) {
                at += 1;
                continue;
            }
            if !candidate.is_fresh {
                if self.refresh(node.depth, &mut candidate) {
                    ranks = ranks.map(|later| later.union(self.scratch.tangent.rank(candidate.model)));
                    settle(&mut candidates[at..], candidate);
                } else {
                    candidates.remove(at);
                }
                continue;
            }
            at += 1;
            let cost = node.cost + self.problem.cost[candidate.model];
            if cost > self.problem.max_cost {
                continue;
            }
            let child = self.child(&node, &candidate, cost);
            // Single models have been valued, and counted, before.
            if !node.set.is_empty() {
                self.n_nodes += 1;
                self.best.offer(self.problem, child.set, child.value, child.tradeoff);
            }
            if child.slots > 0 {
                self.descend(&node, child, candidate.model, later, base);
            }
        }
        self.scratch.candidates[node.depth] = candidates;
    }

    /// The most that the tangent, which is drawn, grants a set that contains `node` and `model`, and else some of the `later`
    /// ones.
    fn granted(&self, node: &Node, model: usize, later: Ranks) -> f64 {
        let tangent = &self.scratch.tangent;
        let rest = tangent.heaviest(later, node.slots - 1);
        self.tangent_at(node.set) + tangent.net(model) + rest
    }

    /// What the tangent grants a set.
    fn tangent_at(&self, set: ModelSet) -> f64 {
        let added = set.minus(self.problem.run);
        self.granted_none + added.iter().map(|j| self.scratch.tangent.net(j)).sum::<f64>()
    }

    /// Draws the tangent at the best plan so far, if there is none yet. Was there none?
    fn draw(&mut self) -> bool {
        if self.scratch.tangent.is_drawn() {
            return false;
        }
        let added = self.best.plan.minus(self.problem.run);
        let Scratch { states, tangent, .. } = &mut *self.scratch;
        let none =
            tangent.draw(self.evaluator, self.problem, self.cost_weight, &states[0], (added, self.in_play));
        self.granted_none = self.start_value + none;
        true
    }

    /// Drops the candidates, from an index on, with which the tangent grants no set enough.
    fn weed(&mut self, node: &Node, candidates: &mut Vec<Candidate>, from: usize) {
        if !self.scratch.tangent.is_drawn() {
            return;
        }
        let tangent = &self.scratch.tangent;
        let others = tangent.heaviest(tangent.ranks(&candidates[from..]), node.slots - 1);
        let granted = self.tangent_at(node.set) + others;
        let mut at = 0;
        candidates.retain(|candidate| {
            at += 1;
            at <= from || !self.is_beaten(granted + self.scratch.tangent.net(candidate.model))
        });
    }

    /// Visits the sets that extend `child`, which is `node` and `model`, by the `later` candidates of `node`. No set has a
    /// tradeoff above `base` and its nets there.
    fn descend(&mut self, node: &Node, child: Node, model: usize, later: &[Candidate], base: f64) {
        let others = sum_of_gains(later, child.slots - 1);
        let n_open = later.iter().take_while(|c| !self.is_beaten(base + c.net + others)).count();
        if n_open == 0 {
            return;
        }
        self.scratch.reach(child.depth, self.evaluator.n_points());
        let (upper, lower) = self.scratch.states.split_at_mut(child.depth);
        self.evaluator.extend(&upper[node.depth], model, &mut lower[0]);
        if child.slots == 1 {
            self.finish(&child, &later[..n_open], base);
        } else {
            let mut candidates = std::mem::take(&mut self.scratch.candidates[child.depth]);
            candidates.clear();
            candidates.extend(later[..n_open].iter().map(|c| Candidate { is_fresh: false, ..*c }));
            self.weed(&child, &mut candidates, 0);
            self.scratch.candidates[child.depth] = candidates;
            // The nets over nothing are those over a level, which need not be above those over a model.
            if node.set.is_empty() {
                self.rate(child.depth);
            }
            self.expand(child, 0.0);
        }
    }

    /// Visits the sets that extend `node` by one candidate, without a list: the nets of its parent, which bound its own, are
    /// order enough.
    fn finish(&mut self, node: &Node, candidates: &[Candidate], base: f64) {
        for candidate in candidates {
            let bound = base + candidate.net;
            if self.is_beaten(bound) {
                break;
            }
            if self.scratch.tangent.is_drawn()
                && self.is_beaten(self.granted(node, candidate.model, Ranks::EMPTY))
            {
                continue;
            }
            if self.is_at_limit() {
                self.open_bound = self.open_bound.max(bound);
                break;
            }
            let cost = node.cost + self.problem.cost[candidate.model];
            if cost > self.problem.max_cost {
                continue;
            }
            let gain = self.evaluator.gain(&self.scratch.states[node.depth], candidate.model);
            if !self.pruning.lemma || gain - self.price(candidate.model) > self.tie {
                let child = self.child(node, &Candidate { gain, ..*candidate }, cost);
                self.n_nodes += 1;
                self.best.offer(self.problem, child.set, child.value, child.tradeoff);
            }
        }
    }

    fn child(&self, node: &Node, candidate: &Candidate, cost: f64) -> Node {
        let value = node.value + candidate.gain;
        Node {
            depth: node.depth + 1,
            set: node.set.with(candidate.model),
            value,
            tradeoff: tradeoff(value, self.cost_weight, cost),
            cost,
            slots: node.slots - 1,
        }
    }

    /// With the same numbers, the model visited before has already stood for this one.
    fn stands_in_for(&self, visited: usize, model: usize) -> bool {
        self.problem.cost[visited] == self.problem.cost[model]
            && self.evaluator.interchangeable(visited, model)
    }
}
