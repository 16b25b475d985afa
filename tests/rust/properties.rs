//! Properties of the search, the rules and the batch, on random problems, against oracles that are slow and plain.

use headrace::batch::{Batch, BatchUncertainty, Beliefs, Rows, select_batch};
use headrace::belief::{Belief, Uncertainty};
use headrace::calibrate::{Piece, ProfiledRule};
use headrace::expected_max::{
    BeliefForms, CertainMax, ClosedForms, CorrelatedMax, ExpectedMax, IndependentMax, OneFactorMax, PairMax,
    expected_max,
};
use headrace::model_set::ModelSet;
use headrace::normal::excess;
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Routing, Rule, ThresholdCascade, Workspace};
use headrace::search::{
    Limits, Problem, Pruning, Scratch, Solution, Status, Stop, TIE, best_prefix, branch_and_bound, exhaustive,
};
use proptest::prelude::*;

/// `HEADRACE_CASES` multiplies the number of random cases: 10 for a long run, 0.02 for a short one; 1 by default.
fn cases(n: u32) -> ProptestConfig {
    let times: f64 = std::env::var("HEADRACE_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let cases = (f64::from(n) * times).ceil() as u32;
    ProptestConfig { cases, ..ProptestConfig::default() }
}

/// The numbers of one random problem.
#[derive(Debug, Clone)]
struct Case {
    quality: Vec<f64>,
    variance: Vec<f64>,
    /// Loadings on three common factors, for covariances.
    loadings: Vec<[f64; 3]>,
    cost: Vec<f64>,
    run: ModelSet,
    allowed: ModelSet,
    max_cost: f64,
    cost_weight: f64,
    max_depth: usize,
}

impl Case {
    fn problem<'a>(&'a self, covariance: Option<&'a [f64]>) -> Problem<'a> {
        let uncertainty =
            covariance.map_or(Uncertainty::Independent(&self.variance), Uncertainty::Correlated);
        let belief = Belief::new(&self.quality, uncertainty).unwrap();
        let mut problem = Problem::new(belief, &self.cost).unwrap();
        problem.run = self.run;
        problem.allowed = self.allowed;
        problem.max_cost = self.max_cost;
        problem
    }

    /// The r that solves E[(Q - r)+] = price.
    fn reservation(&self, model: usize, cost_weight: f64) -> f64 {
        let (mean, sd, price) =
            (self.quality[model], self.variance[model].sqrt(), cost_weight * self.cost[model]);
        let below = if sd > 0.0 { -sd * headrace::normal::inverse_unit_excess(price / sd) } else { price };
        mean - below
    }

    fn all(&self) -> ModelSet {
        ModelSet::first(self.quality.len())
    }

    /// Loadings on the first of the factors; none for half of the models that have run.
    fn loading(&self) -> Vec<f64> {
        let own =
            |j: usize| if self.run.contains(j) && j.is_multiple_of(2) { 0.0 } else { self.loadings[j][0] };
        (0..self.quality.len()).map(own).collect()
    }

    fn largest_sd(&self) -> f64 {
        self.variance.iter().zip(self.loading()).map(|(v, b)| v.sqrt().hypot(b)).fold(0.0, f64::max)
    }

    fn one_factor_covariance(&self) -> Vec<f64> {
        let loading = self.loading();
        let k = loading.len();
        (0..k * k)
            .map(|at| (at / k, at % k))
            .map(|(i, j)| loading[i] * loading[j] + if i == j { self.variance[i] } else { 0.0 })
            .collect()
    }

    fn covariance(&self) -> Vec<f64> {
        let k = self.quality.len();
        let mut covariance = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..k {
                let common: f64 = (0..3).map(|d| self.loadings[i][d] * self.loadings[j][d]).sum();
                covariance[i * k + j] = common + if i == j { self.variance[i] } else { 0.0 };
            }
        }
        covariance
    }
}

/// One coordinate, either anywhere in the range or on a coarse grid, so that exact ties are common.
fn coordinate(low: f64, high: f64) -> impl Strategy<Value = f64> {
    prop_oneof![3 => low..high, 1 => (0..=4).prop_map(move |step| low + (high - low) * f64::from(step) / 4.0)]
}

fn case(most: usize) -> impl Strategy<Value = Case> {
    (1..=most).prop_flat_map(|k| {
        let spread = prop_oneof![Just(0.05), Just(0.3), Just(1.0)];
        let cost_scale = prop_oneof![Just(0.02), Just(0.3), Just(1.0)];
        (spread, cost_scale).prop_flat_map(move |(spread, cost_scale)| {
            let sd = prop_oneof![1 => Just(0.0), 6 => coordinate(0.0, 0.4), 1 => 1e-6..1e-4_f64, 1 => 1.0..10.0_f64];
            (
                proptest::collection::vec(coordinate(0.5 - spread / 2.0, 0.5 + spread / 2.0), k),
                proptest::collection::vec(sd, k),
                proptest::collection::vec(proptest::array::uniform3(-0.3..0.3_f64), k),
                proptest::collection::vec(coordinate(0.0, cost_scale), k),
                proptest::collection::vec((0..4_u8, 0..6_u8), k),
                prop_oneof![3 => Just(f64::INFINITY), 1 => 0.5..1.5_f64],
                prop_oneof![4 => 0.0..1.5_f64, 1 => Just(0.0), 1 => Just(f64::INFINITY)],
                1..=k,
            )
                .prop_map(move |(quality, sd, loadings, cost, flags, max_cost, cost_weight, max_depth)| {
                    let run: ModelSet = (0..k).filter(|&j| flags[j].0 == 0).collect();
                    let mut allowed: ModelSet = (0..k).filter(|&j| flags[j].1 != 0).collect();
                    if run.is_empty() && allowed.is_empty() {
                        allowed = ModelSet::first(k);
                    }
                    let cheapest = cost.iter().copied().fold(f64::INFINITY, f64::min);
                    let max_cost: f64 = cheapest + max_cost * cost_scale;
                    // Half of the models run have shown their quality; the others may still be re-estimated.
                    let variance =
                        (0..k).map(|j| if flags[j].0 == 0 && j % 2 == 0 { 0.0 } else { sd[j] * sd[j] }).collect();
                    Case {
                        quality,
                        variance,
                        loadings,
                        cost,
                        run,
                        allowed,
                        max_cost,
                        cost_weight,
                        max_depth: max_depth.max(run.len()),
                    }
                })
        })
    })
}

/// The plan's tradeoff on the oracle's own grid.
fn retraced<E: ExpectedMax>(evaluator: &mut E, problem: &Problem<'_>, case: &Case, plan: ModelSet) -> f64 {
    let mut state = vec![0.0; evaluator.n_points()];
    let mut next = state.clone();
    let mut value = evaluator.start(&mut state);
    for model in plan.iter() {
        value += evaluator.gain(&state, model);
        evaluator.extend(&state, model, &mut next);
        std::mem::swap(&mut state, &mut next);
    }
    let cost = problem.added_cost(plan);
    if cost == 0.0 { value } else { value - case.cost_weight * cost }
}

/// Equal plans; or, where the integrals' own accuracy leaves the choice open, plans of equal worth.
fn check_equal<E: ExpectedMax>(
    fast: &Solution,
    slow: &Solution,
    evaluator: &mut E,
    problem: &Problem<'_>,
    case: &Case,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(fast.status, Status::Optimal);
    prop_assert_eq!(fast.gap, 0.0);
    prop_assert!(problem.run.is_subset(fast.plan));
    prop_assert!(fast.plan.minus(problem.run).is_subset(problem.allowed));
    let tolerance = 1e-11 + 2.0 * evaluator.slack();
    prop_assert!((fast.value - slow.value).abs() <= tolerance || fast.plan != slow.plan);
    if fast.plan != slow.plan {
        let worth = retraced(evaluator, problem, case, fast.plan);
        prop_assert!(
            (worth - slow.tradeoff).abs() <= tolerance || worth == slow.tradeoff,
            "{fast:?} {slow:?} {worth}"
        );
    }
    Ok(())
}

fn check_search<E: ExpectedMax + Clone>(
    mut evaluator: E,
    problem: &Problem<'_>,
    case: &Case,
) -> Result<(), TestCaseError> {
    let limits = Limits { max_depth: case.max_depth, node_limit: u64::MAX };
    let mut oracle = evaluator.clone();
    let Ok(slow) = exhaustive(&mut oracle, problem, case.cost_weight, case.max_depth) else {
        let refused = branch_and_bound(
            &mut evaluator,
            problem,
            case.cost_weight,
            limits,
            Pruning::default(),
            &mut Scratch::default(),
        );
        prop_assert!(refused.is_err());
        return Ok(());
    };
    let mut visited = Vec::new();
    for pruning in [(true, true), (true, false), (false, true), (false, false)] {
        let pruning = Pruning { lemma: pruning.0, bound: pruning.1, closed_forms: pruning.1 };
        let mut scratch = Scratch::default();
        let fast = branch_and_bound(
            &mut evaluator.clone(),
            problem,
            case.cost_weight,
            limits,
            pruning,
            &mut scratch,
        )
        .unwrap();
        check_equal(&fast, &slow, &mut oracle, problem, case)?;
        visited.push(fast.n_nodes);
    }
    // Bounds leave out sets and change no order, but for up to three pairs that closed forms value first; the lemma moves
    // where the bounds' tangent is drawn.
    prop_assert!(visited[0] <= visited[1] + 3 && visited[2] <= visited[3] + 3, "{visited:?}");
    prop_assert!(visited[1] <= visited[3] + 1, "{visited:?}");
    Ok(())
}

/// The plan of a decision, against enumeration by an evaluator of the same belief.
fn check_decision<E: ExpectedMax>(
    problem: &Problem<'_>,
    evaluator: &mut E,
    case: &Case,
    scale: f64,
    tolerance: f64,
) -> Result<(), TestCaseError> {
    let limits = Limits { max_depth: case.max_depth, node_limit: u64::MAX };
    let rule = CascadeRouting::new(case.cost_weight, limits, scale).unwrap();
    let decision = rule.select(problem, &mut Workspace::default());
    let Ok(slow) = exhaustive(evaluator, problem, case.cost_weight, case.max_depth) else {
        prop_assert!(decision.is_err());
        return Ok(());
    };
    let decision = decision.unwrap();
    prop_assert_eq!(decision.status, Status::Optimal);
    prop_assert!(problem.added_cost(decision.plan) <= problem.max_cost);
    prop_assert!(decision.plan.len() <= case.max_depth);
    prop_assert!(decision.next.is_none_or(|next| decision.plan.minus(problem.run).contains(next)));
    let tolerance = tolerance + 1e-10;
    let worth = retraced(evaluator, problem, case, decision.plan);
    let near = |a: f64, b: f64| a == b || (a - b).abs() <= tolerance;
    prop_assert!(near(worth, slow.tradeoff), "{decision:?} worth {worth} {slow:?}");
    prop_assert!(near(worth, decision.tradeoff), "{decision:?} worth {worth}");
    Ok(())
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn search_equals_enumeration_independent(case in case(10)) {
        let problem = case.problem(None);
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, 1.0, case.all());
        check_search(evaluator, &problem, &case)?;
    }

    /// Closed forms settle most of these before an evaluator is asked.
    #[test]
    fn select_equals_enumeration(case in case(9), scale in prop_oneof![Just(0.0), Just(1.0), 0.2..1.5_f64]) {
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, scale, case.all());
        check_decision(&case.problem(None), &mut evaluator, &case, scale, 2e-7 * scale * case.largest_sd())?;
    }

    /// A cap that no plan reaches makes a decision without the first look.
    #[test]
    fn a_first_look_decides_as_closed_forms_do(
        case in case(70),
        scale in prop_oneof![Just(0.0), Just(1.0), 0.2..1.5_f64],
        far in prop_oneof![3 => Just(1.0), 1 => -1e12..1e12_f64],
        apart in prop_oneof![2 => Just(None), 1 => (-4e-11..4e-11_f64).prop_map(Some)]
    ) {
        let Case { mut quality, mut cost, .. } = case.clone();
        quality[0] *= far;
        if let (Some(apart), [.., before, last]) = (apart, &mut quality[..]) {
            // Two models that are all but equal.
            *last = *before + apart * before.abs();
            cost[case.cost.len() - 1] = cost[case.cost.len() - 2];
        }
        let limits = Limits { max_depth: case.max_depth, node_limit: 300 };
        let rules: [Box<dyn Rule>; 2] = [
            Box::new(CascadeRouting::new(case.cost_weight, limits, scale).unwrap()),
            Box::new(Routing::new(case.cost_weight).unwrap()),
        ];
        for uncertainty in [Uncertainty::Independent(&case.variance), Uncertainty::Certain] {
            let looked = Problem::new(Belief::new(&quality, uncertainty).unwrap(), &cost).unwrap();
            let not_looked = Problem { max_cost: f64::MAX, ..looked };
            for rule in &rules {
                let [one, other] = [looked, not_looked].map(|problem| rule.select(&problem, &mut Workspace::default()));
                prop_assert_eq!(one.unwrap(), other.unwrap());
            }
        }
    }

    #[test]
    fn search_equals_enumeration_certain(case in case(9)) {
        let problem = case.problem(None);
        let mut evaluator = CertainMax::default();
        evaluator.reset(&case.quality, case.all());
        check_search(evaluator, &problem, &case)?;
    }

    #[test]
    fn search_equals_enumeration_for_pairs(case in case(2)) {
        let problem = case.problem(None);
        let forms = BeliefForms::new(problem.belief, 1.0, case.all());
        check_search(PairMax::new(forms, case.all()), &problem, &case)?;
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn search_equals_enumeration_at_twelve_models(case in case(12)) {
        let problem = case.problem(None);
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, 0.5, case.all());
        check_search(evaluator, &problem, &case)?;
    }

    #[test]
    fn select_equals_enumeration_with_dependence(case in case(7), scale in prop_oneof![Just(1.0), 0.2..1.5_f64]) {
        let loading = case.loading();
        let problem = case.problem(None);
        let factor = Uncertainty::OneFactor { variance: &case.variance, loading: &loading };
        let one_factor = Problem { belief: Belief::new(&case.quality, factor).unwrap(), ..problem };
        let covariance = case.one_factor_covariance();
        let joint = Uncertainty::Correlated(&covariance);
        let joint = Problem { belief: Belief::new(&case.quality, joint).unwrap(), ..problem };
        let mut by_factor = OneFactorMax::new(257);
        by_factor.reset(&case.quality, &case.variance, &loading, scale, case.all());
        let sd = scale * case.largest_sd();
        // Decisions evaluate a factor at fewer nodes than here, and covariances at points.
        check_decision(&one_factor, &mut by_factor, &case, scale, 1e-3 * sd)?;
        check_decision(&joint, &mut by_factor, &case, scale, 1e-2 * sd)?;
    }

    #[test]
    fn search_equals_enumeration_on_points(case in case(8)) {
        let covariance = case.covariance();
        let problem = case.problem(Some(&covariance));
        let Ok(open) = problem.open() else { return Ok(()) };
        let mut evaluator = CorrelatedMax::new(16);
        evaluator.reset(&case.quality, &covariance, 1.0, case.all()).unwrap();
        evaluator.prepare(case.run, open, case.quality.len());
        check_search(OnPoints(evaluator), &problem, &case)?;
    }

    #[test]
    fn search_on_points_loses_no_more_than_their_error(case in case(8)) {
        let loading = case.loading();
        let k = case.quality.len();
        let entry = |i: usize, j: usize| loading[i] * loading[j] + if i == j { case.variance[i] } else { 0.0 };
        let covariance: Vec<f64> = (0..k * k).map(|at| entry(at / k, at % k)).collect();
        let problem = case.problem(Some(&covariance));
        let Ok(open) = problem.open() else { return Ok(()) };
        if case.cost_weight.is_infinite() { return Ok(()); }
        let mut points = CorrelatedMax::new(16);
        points.reset(&case.quality, &covariance, 1.0, case.all()).unwrap();
        points.prepare(case.run, open, k);
        let limits = Limits { max_depth: case.max_depth, node_limit: u64::MAX };
        let found = branch_and_bound(
            &mut points, &problem, case.cost_weight, limits, Pruning::default(), &mut Scratch::default(),
        ).unwrap();
        let mut truth = OneFactorMax::new(1025);
        truth.reset(&case.quality, &case.variance, &loading, 1.0, case.all());
        truth.prepare(case.run, open, k);
        let (mut best, mut largest_error) = (f64::NEG_INFINITY, 0.0_f64);
        for bits in 0..1_u128 << k {
            let added = ModelSet::from_bits(bits);
            let plan = case.run.union(added);
            let cost = problem.added_cost(plan);
            let fits = added.is_subset(open) && plan.len() <= case.max_depth && cost <= case.max_cost;
            if !fits || plan.is_empty() { continue; }
            let worth = retraced(&mut truth, &problem, &case, plan);
            best = best.max(worth);
            largest_error = largest_error.max((retraced(&mut points, &problem, &case, plan) - worth).abs());
        }
        // The best plan, one without a model that the points find worthless, and the plan found: each may be off.
        let missed = best - retraced(&mut truth, &problem, &case, found.plan);
        let tolerance = 1e-11 + 3.0 * largest_error + 2.0 * (truth.slack() + points.slack());
        prop_assert!(missed <= tolerance, "{missed:e} {largest_error:e} {found:?}");
    }

    #[test]
    fn tangents_lie_above_every_value(case in case(7), bits in 0_u128..128) {
        let covariance = case.covariance();
        let mut independent = IndependentMax::default();
        independent.reset(&case.quality, &case.variance, 1.0, case.all());
        check_tangent(independent, &case, bits, true)?;
        let mut one_factor = OneFactorMax::new(33);
        one_factor.reset(&case.quality, &case.variance, &case.loading(), 1.0, case.all());
        check_tangent(one_factor, &case, bits, true)?;
        let mut correlated = CorrelatedMax::new(16);
        correlated.reset(&case.quality, &covariance, 1.0, case.all()).unwrap();
        check_tangent(correlated, &case, bits, false)?;
    }

    #[test]
    fn search_equals_enumeration_one_factor(case in case(10)) {
        let problem = case.problem(None);
        let mut evaluator = OneFactorMax::new(33);
        evaluator.reset(&case.quality, &case.variance, &case.loading(), 1.0, case.all());
        // One grid for both, so that they value every set alike.
        let Ok(open) = problem.open() else { return Ok(()) };
        evaluator.prepare(case.run, open, case.quality.len());
        check_search(evaluator.clone(), &problem, &case)?;
        let slow = exhaustive(&mut evaluator, &problem, case.cost_weight, case.max_depth).unwrap();
        let limits = Limits { max_depth: case.max_depth, node_limit: u64::MAX };
        let fast = branch_and_bound(
            &mut evaluator, &problem, case.cost_weight, limits, Pruning::default(), &mut Scratch::default(),
        ).unwrap();
        // The single models' means come from closed forms, good to the independent evaluator's accuracy.
        let tolerance = 1e-11 + 2e-6 * case.largest_sd();
        let worth = retraced(&mut evaluator, &problem, &case, fast.plan);
        prop_assert!(worth == slow.tradeoff || (worth - slow.tradeoff).abs() <= tolerance, "{fast:?} {slow:?} {worth}");
    }

    #[test]
    fn one_factor_values_are_monotone_submodular_and_within_bounds(case in case(7)) {
        let k = case.quality.len();
        let mut evaluator = OneFactorMax::new(33);
        evaluator.reset(&case.quality, &case.variance, &case.loading(), 1.0, case.all());
        check_values(evaluator, k)?;
    }

    #[test]
    fn a_factor_changes_nothing_by_its_sign_or_by_what_all_share(case in case(6), shift in -1.0..1.0_f64) {
        let value = |loading: &[f64]| {
            let uncertainty = Uncertainty::OneFactor { variance: &case.variance, loading };
            expected_max(&Belief::new(&case.quality, uncertainty).unwrap(), 0.7).unwrap().value
        };
        let loading = case.loading();
        let turned: Vec<f64> = loading.iter().map(|b| -b).collect();
        let shifted: Vec<f64> = loading.iter().map(|b| b + shift).collect();
        prop_assert!((value(&turned) - value(&loading)).abs() < 1e-12);
        // A shift rounds the loadings, and so may move a node across a panel's edge.
        prop_assert!((value(&shifted) - value(&loading)).abs() < 1e-7 * (1.0 + case.largest_sd()));
    }

    #[test]
    fn loadings_that_are_equal_are_no_factor(case in case(7), shared in prop_oneof![Just(0.0), -0.5..0.5_f64]) {
        let independent = case.problem(None);
        if independent.open().is_err() { return Ok(()); }
        let loading = vec![shared; case.quality.len()];
        let uncertainty = Uncertainty::OneFactor { variance: &case.variance, loading: &loading };
        let belief = Belief::new(&case.quality, uncertainty).unwrap();
        let limits = Limits { max_depth: case.max_depth, node_limit: 1000 };
        let rule = CascadeRouting::new(case.cost_weight, limits, 0.8).unwrap();
        let mut workspace = Workspace::default();
        let without = rule.select(&independent, &mut workspace).unwrap();
        let with = rule.select(&Problem { belief, ..independent }, &mut workspace).unwrap();
        prop_assert_eq!(without, with);
    }

    #[test]
    fn prefixes_equal_enumeration_of_prefixes(case in case(8)) {
        let problem = case.problem(None);
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, 1.0, case.all());
        let order: Vec<usize> = (0..case.quality.len()).rev().collect();
        let found = best_prefix(
            &mut evaluator.clone(), &problem, &order, case.cost_weight, case.max_depth, &mut Scratch::default(),
        );
        let Ok(open) = problem.open() else { prop_assert!(found.is_err()); return Ok(()) };
        let passed = order.iter().rposition(|&j| case.run.contains(j)).map_or(0, |at| at + 1);
        let mut plans = vec![];
        if !case.run.is_empty() { plans.push(case.run); }
        let mut plan = case.run;
        for &j in order[passed..].iter().filter(|&&j| open.contains(j)) {
            plan = plan.with(j);
            if plan.len() > case.max_depth || problem.added_cost(plan) > case.max_cost { break; }
            plans.push(plan);
        }
        if plans.is_empty() { prop_assert!(found.is_err()); return Ok(()); }
        evaluator.prepare(case.run, open, case.quality.len());
        let worth = |plan, evaluator: &mut IndependentMax| retraced(evaluator, &problem, &case, plan);
        let best = plans.iter().map(|&p| worth(p, &mut evaluator)).fold(f64::NEG_INFINITY, f64::max);
        let found = found.unwrap();
        prop_assert!(plans.contains(&found.plan));
        let gap = best - worth(found.plan, &mut evaluator);
        prop_assert!(gap <= 1e-11 + 2.0 * evaluator.slack() || best == f64::NEG_INFINITY, "{found:?} {best}");
    }

    #[test]
    fn index_rule_runs_the_model_of_the_highest_reservation_value(case in case(12)) {
        let problem = case.problem(None);
        let Ok(open) = problem.open() else { return Ok(()) };
        let rule = IndexRule::new(case.cost_weight, 1.0).unwrap();
        let found = rule.select(&problem, &mut Workspace::default()).unwrap().next;
        let reservation = |j: usize| {
            let (sd, price) = (case.variance[j].sqrt(), case.cost_weight * case.cost[j]);
            let z = headrace::normal::inverse_unit_excess(price / sd);
            if sd == 0.0 { case.quality[j] - price } else { case.quality[j] + sd * z }
        };
        let priced = open.iter().all(|j| case.cost[j] > 0.0) && case.cost_weight > 0.0 && case.cost_weight.is_finite();
        if let Some(found) = found.filter(|_| priced) {
            let highest = open.iter().map(reservation).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(reservation(found) >= highest - 1e-9 * highest.abs().max(1.0), "{found} {highest}");
        }
    }

    #[test]
    fn node_limits_give_a_gap_that_holds(case in case(10), node_limit in 1_u64..40) {
        let problem = case.problem(None);
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, 1.0, case.all());
        let Ok(slow) = exhaustive(&mut evaluator.clone(), &problem, case.cost_weight, case.max_depth) else { return Ok(()) };
        let limits = Limits { max_depth: case.max_depth, node_limit };
        let found = branch_and_bound(
            &mut evaluator, &problem, case.cost_weight, limits, Pruning::default(), &mut Scratch::default(),
        ).unwrap();
        let missed = slow.tradeoff - found.tradeoff;
        if case.cost_weight.is_finite() {
            prop_assert!(missed <= found.gap + 1e-11 + 2.0 * evaluator.slack(), "{found:?} {slow:?}");
        }
        prop_assert_eq!(found.gap > 0.0, found.status == Status::Bounded);
    }

    #[test]
    fn values_are_monotone_submodular_and_within_bounds(case in case(8)) {
        let k = case.quality.len();
        let mut evaluator = IndependentMax::default();
        evaluator.reset(&case.quality, &case.variance, 1.0, case.all());
        check_values(evaluator, k)?;
    }

    #[test]
    fn batches_equal_loops_of_singles(cases in proptest::collection::vec(case(4), 1..90), k in 1_usize..5) {
        let fit: Vec<&Case> = cases.iter().filter(|c| c.quality.len() == k).collect();
        let flat = |f: fn(&Case) -> &Vec<f64>| fit.iter().flat_map(|c| f(c).clone()).collect::<Vec<f64>>();
        let (quality, variance, cost) = (flat(|c| &c.quality), flat(|c| &c.variance), flat(|c| &c.cost));
        let run: Vec<ModelSet> = fit.iter().map(|c| c.run).collect();
        let allowed: Vec<ModelSet> = fit.iter().map(|c| c.allowed.union(ModelSet::first(k).minus(c.run))).collect();
        let batch = Batch {
            n_queries: fit.len(),
            n_models: k,
            beliefs: Beliefs {
                quality: Rows::each(&quality, k),
                uncertainty: BatchUncertainty::Independent(Rows::each(&variance, k)),
            },
            cost: Rows::each(&cost, k),
            run: &run,
            allowed: &allowed,
            max_cost: &[],
        };
        let loading: Vec<f64> = fit.iter().flat_map(|c| c.loading()).collect();
        let uncertainty = BatchUncertainty::OneFactor {
            variance: Rows::each(&variance, k),
            loading: Rows::each(&loading, k),
        };
        check_batch(&Cascade::new(0.3, None, 4, 1.0).unwrap(), &Batch { beliefs: Beliefs { uncertainty, ..batch.beliefs }, ..batch })?;
        let limits = Limits { max_depth: 3, node_limit: 1000 };
        check_batch(&CascadeRouting::new(0.3, limits, 0.7).unwrap(), &batch)?;
        check_batch(&Cascade::new(0.3, None, 4, 1.0).unwrap(), &batch)?;
        check_batch(&Routing::new(0.3).unwrap(), &batch)?;
        check_batch(&ThresholdCascade::new(vec![0.5], None).unwrap(), &batch)?;
        check_batch(&IndexRule::new(0.3, 1.0).unwrap(), &batch)?;
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn profiles_say_what_select_does(case in case(6), at in proptest::collection::vec(0.0..1.0_f64, 12)) {
        let problem = case.problem(None);
        if problem.open().is_err() { return Ok(()); }
        let limits = Limits { max_depth: case.max_depth, node_limit: u64::MAX };
        let loading = case.loading();
        let uncertainty = Uncertainty::OneFactor { variance: &case.variance, loading: &loading };
        let one_factor = Problem { belief: Belief::new(&case.quality, uncertainty).unwrap(), ..problem };
        let largest = 60.0;
        let weights: Vec<f64> = at.iter().map(|u| largest * u.powi(6)).chain([0.0, f64::INFINITY]).collect();
        check_plans(&problem, |w| CascadeRouting::new(w, limits, 0.7).unwrap(), &weights, case.largest_sd())?;
        check_plans(&problem, |w| CascadeRouting::new(w, limits, 0.0).unwrap(), &weights, case.largest_sd())?;
        check_plans(&problem, |w| Cascade::new(w, None, case.max_depth, 1.0).unwrap(), &weights, case.largest_sd())?;
        check_plans(&problem, |w| Routing::new(w).unwrap(), &weights, case.largest_sd())?;
        // Values next to a kink are good to 1e-3 only: where plans differ in cost by little, breakpoints move by more.
        if case.variance.iter().all(|&v| v > 0.01) {
            check_plans(&one_factor, |w| CascadeRouting::new(w, limits, 0.7).unwrap(), &weights, case.largest_sd())?;
            check_plans(&one_factor, |w| Cascade::new(w, None, case.max_depth, 1.0).unwrap(), &weights, case.largest_sd())?;
        }
        let thresholds: Vec<f64> = at.iter().map(|u| -u).collect();
        check_profile(&problem, |t| ThresholdCascade::new(vec![-t], None).unwrap(), &thresholds, f64::NEG_INFINITY, |_, _, _| false)?;
        // At lambda = 0 every uncertain model has an infinite index, and the order is that of the ties.
        let positive: Vec<f64> = weights.into_iter().filter(|&w| w > 1e-6).collect();
        // Leads of a millionth of the largest standard deviation may be missed.
        let as_good = |weight: f64, found: Option<usize>, said: Option<usize>| {
            let (Some(found), Some(said)) = (found, said) else { return false };
            let level = case.reservation(found, weight);
            let excess = headrace::normal::excess(case.quality[said], case.variance[said].sqrt(), level);
            excess >= weight * case.cost[said] - 2e-6 * case.largest_sd()
        };
        check_profile(&problem, |w| IndexRule::new(w, 1.0).unwrap(), &positive, 0.0, as_good)?;
        let part = (positive[0].min(0.5), positive[0].min(0.5) + 0.5);
        check_part(&problem, |w| CascadeRouting::new(w, limits, 0.7).unwrap(), part, case.largest_sd())?;
        check_part(&problem, |w| IndexRule::new(w, 0.7).unwrap(), part, case.largest_sd())?;
    }
}

/// The values of a correlated belief on its points alone: no closed form, which bounds the expectation and not the average.
#[derive(Clone)]
struct OnPoints(CorrelatedMax);

impl OnPoints {
    /// Are there points, or are the models as good as independent?
    fn has_points(&self) -> bool {
        self.0.n_points() == 8 * 16
    }
}

impl ClosedForms for OnPoints {
    fn mean(&self, model: usize) -> f64 {
        self.0.mean(model)
    }

    fn sd(&self, model: usize) -> f64 {
        if self.has_points() { f64::INFINITY } else { self.0.sd(model) }
    }

    fn difference_sd(&self, a: usize, b: usize) -> f64 {
        if self.has_points() { f64::INFINITY } else { self.0.difference_sd(a, b) }
    }
}

impl ExpectedMax for OnPoints {
    fn prepare(&mut self, run: ModelSet, candidates: ModelSet, max_added: usize) {
        self.0.prepare(run, candidates, max_added);
    }

    fn n_points(&self) -> usize {
        self.0.n_points()
    }

    fn start(&self, state: &mut [f64]) -> f64 {
        self.0.start(state)
    }

    fn gain(&mut self, state: &[f64], model: usize) -> f64 {
        self.0.gain(state, model)
    }

    fn extend(&mut self, state: &[f64], model: usize, next: &mut [f64]) {
        self.0.extend(state, model, next);
    }

    fn tangent(
        &mut self,
        state: &[f64],
        at: ModelSet,
        models: ModelSet,
        buffer: &mut Vec<f64>,
        weights: &mut [f64],
    ) -> f64 {
        self.0.tangent(state, at, models, buffer, weights)
    }

    fn slack(&self) -> f64 {
        self.0.slack()
    }

    fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.0.interchangeable(a, b)
    }
}

/// The bound at one set of additions, against all.
fn check_tangent<E: ExpectedMax>(
    mut evaluator: E,
    case: &Case,
    bits: u128,
    touches: bool,
) -> Result<(), TestCaseError> {
    let k = case.quality.len();
    let models = ModelSet::first(k).minus(case.run);
    let at = ModelSet::from_bits(bits).intersection(models);
    evaluator.prepare(case.run, models, k);
    let mut states = [vec![0.0; evaluator.n_points()], vec![0.0; evaluator.n_points()]];
    let mut value_of = |evaluator: &mut E, set: ModelSet| {
        let [state, next] = &mut states;
        let mut value = evaluator.start(state);
        for j in set.iter() {
            value += evaluator.gain(state, j);
            evaluator.extend(state, j, next);
            std::mem::swap(state, next);
        }
        (value, state.clone())
    };
    let (start, state) = value_of(&mut evaluator, case.run);
    let mut weights: Vec<f64> = case.cost.iter().map(|cost| -0.3 * cost).collect();
    let none = evaluator.tangent(&state, at, models, &mut Vec::new(), &mut weights);
    for (weight, cost) in weights.iter_mut().zip(&case.cost) {
        *weight += 0.3 * cost;
    }
    // What counts as a CDF of zero lifts the bound by a billionth of the grid's width per model.
    let accuracy = evaluator.slack() + 1e-7 * (1.0 + case.largest_sd());
    for bits in 0..1_u128 << k {
        let added = ModelSet::from_bits(bits);
        if added.is_subset(models) && !case.run.union(added).is_empty() {
            let (value, _) = value_of(&mut evaluator, case.run.union(added));
            let bound = start + none + added.iter().map(|j| weights[j]).sum::<f64>();
            prop_assert!(value <= bound + 1e-11 * (1.0 + bound.abs()), "{added:?} {value} {bound}");
            prop_assert!(!touches || added != at || bound <= value + accuracy, "{added:?} {value} {bound}");
        }
    }
    Ok(())
}

/// Monotone, submodular, and within the closed forms, for all subsets of k models.
fn check_values<E: ExpectedMax>(mut evaluator: E, k: usize) -> Result<(), TestCaseError> {
    let all = ModelSet::first(k);
    evaluator.prepare(ModelSet::EMPTY, all, k);
    let value = |evaluator: &mut E, set: ModelSet| {
        let mut state = vec![0.0; evaluator.n_points()];
        let mut next = state.clone();
        let mut value = evaluator.start(&mut state);
        for j in set.iter() {
            value += evaluator.gain(&state, j);
            evaluator.extend(&state, j, &mut next);
            std::mem::swap(&mut state, &mut next);
        }
        value
    };
    let rounding = 1e-11;
    for bits in 1..1_u128 << k {
        let set = ModelSet::from_bits(bits);
        let v = value(&mut evaluator, set);
        let highest = set.iter().map(|j| evaluator.mean(j)).fold(f64::NEG_INFINITY, f64::max);
        prop_assert!(v >= highest - evaluator.slack() - rounding);
        let above: f64 = set.iter().map(|j| excess(evaluator.mean(j), evaluator.sd(j), highest)).sum();
        prop_assert!(v <= highest + above + evaluator.slack() + rounding);
        for j in all.minus(set).iter() {
            let gain = value(&mut evaluator, set.with(j)) - v;
            prop_assert!(gain >= -rounding);
            let i = set.iter().next().unwrap_or(0);
            prop_assert!(gain <= evaluator.gain_bound(i, j) + evaluator.slack() + rounding);
            for m in all.minus(set.with(j)).iter() {
                let later = value(&mut evaluator, set.with(m).with(j)) - value(&mut evaluator, set.with(m));
                prop_assert!(later <= gain + rounding);
            }
        }
    }
    Ok(())
}

/// Among many models, the levels of a tangent on points are more than one.
#[test]
fn tangents_of_many_models_lie_above_every_value() {
    let k = 13;
    let mut seed = 3_u64;
    let mut uniform = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    for bits in [0b1, 0b1_0110, 0b1_0000_0000_0110] {
        let mut row =
            |low: f64, high: f64| (0..k).map(|_| low + (high - low) * uniform()).collect::<Vec<_>>();
        let (quality, variance, cost) = (row(0.4, 0.5), row(0.01, 0.05), row(0.0, 0.02));
        let [a, b, c] = [row(-0.3, 0.3), row(-0.3, 0.3), row(-0.3, 0.3)];
        let case = Case {
            quality,
            variance,
            loadings: (0..k).map(|j| [a[j], b[j], c[j]]).collect(),
            cost,
            run: ModelSet::EMPTY,
            allowed: ModelSet::first(k),
            max_cost: f64::INFINITY,
            cost_weight: 0.3,
            max_depth: k,
        };
        let mut correlated = CorrelatedMax::new(16);
        correlated.reset(&case.quality, &case.covariance(), 1.0, case.all()).unwrap();
        check_tangent(correlated, &case, bits, false).unwrap();
    }
}

/// `as_good(parameter, found, said)`: may the profile name one model where the rule runs another?
fn check_profile<R: Rule + ProfiledRule>(
    problem: &Problem<'_>,
    rule: impl Fn(f64) -> R,
    parameters: &[f64],
    start: f64,
    as_good: impl Fn(f64, Option<usize>, Option<usize>) -> bool,
) -> Result<(), TestCaseError> {
    let mut pieces = Vec::new();
    let mut workspace = Workspace::default();
    rule(1.0).profile(problem, start, f64::INFINITY, &mut workspace, &mut pieces).unwrap();
    prop_assert_eq!(pieces[0].from, start);
    prop_assert_eq!(pieces[pieces.len() - 1].to, f64::INFINITY);
    prop_assert!(
        pieces.windows(2).all(|p| p[0].to == p[1].from && p[0].next != p[1].next && p[0].from < p[0].to)
    );
    for &parameter in parameters {
        let found = rule(parameter).select(problem, &mut workspace).unwrap().next;
        // Next to a breakpoint, the accuracy of the values decides.
        let near = 1e-5 * (1.0 + parameter.abs());
        let possible = pieces.iter().filter(|p| p.from - near <= parameter && parameter <= p.to + near);
        let says = |p: &Piece| p.next == found || as_good(parameter, found, p.next);
        prop_assert!(possible.clone().any(says), "{parameter}: {found:?} not in {pieces:?}");
    }
    Ok(())
}

/// Are two next models worth the same at a cost weight, to the accuracy of the values?
///
/// A search that closed forms settle and one that needs a grid may part where plans are that near.
fn as_good_as<R: Rule>(
    problem: &Problem<'_>,
    rule: &R,
    weight: f64,
    largest_sd: f64,
    next: [Option<usize>; 2],
) -> bool {
    let largest = problem.belief.quality().iter().fold(0.0, |largest: f64, q| largest.max(q.abs()));
    let tolerance = 3.0 * TIE * if largest > 0.0 { largest } else { 1.0 } + 1e-7 * largest_sd;
    let worth = |next: Option<usize>| {
        let (run, price) =
            next.map_or((problem.run, 0.0), |j| (problem.run.with(j), weight * problem.cost[j]));
        let allowed = if next.is_some() { problem.allowed } else { ModelSet::EMPTY };
        let after = Problem { run, allowed, ..*problem };
        let decision = rule.select(&after, &mut Workspace::default());
        decision.map_or(f64::NEG_INFINITY, |decision| decision.tradeoff - price)
    };
    (worth(next[0]) - worth(next[1])).abs() <= tolerance
}

fn check_plans<R: Rule + ProfiledRule>(
    problem: &Problem<'_>,
    rule: impl Fn(f64) -> R,
    cost_weights: &[f64],
    largest_sd: f64,
) -> Result<(), TestCaseError> {
    let as_good = |weight: f64, found: Option<usize>, said: Option<usize>| {
        as_good_as(problem, &rule(weight), weight, largest_sd, [found, said])
    };
    check_profile(problem, &rule, cost_weights, 0.0, as_good)
}

/// The profile of a part is the part of the profile.
fn check_part<R: Rule + ProfiledRule>(
    problem: &Problem<'_>,
    rule: impl Fn(f64) -> R,
    (low, high): (f64, f64),
    largest_sd: f64,
) -> Result<(), TestCaseError> {
    let mut workspace = Workspace::default();
    let (mut whole, mut part) = (Vec::new(), Vec::new());
    rule(0.0).profile(problem, 0.0, f64::INFINITY, &mut workspace, &mut whole).unwrap();
    rule(0.0).profile(problem, low, high, &mut workspace, &mut part).unwrap();
    prop_assert_eq!((part[0].from, part[part.len() - 1].to), (low, high));
    for piece in part.iter().filter(|p| p.to - p.from > 1e-4) {
        let middle = 0.5 * (piece.from + piece.to);
        let same = whole.iter().find(|p| p.from <= middle && middle < p.to).unwrap();
        let near_edge = (same.from - middle).abs().min((same.to - middle).abs()) < 1e-5;
        let as_good = || as_good_as(problem, &rule(middle), middle, largest_sd, [same.next, piece.next]);
        prop_assert!(same.next == piece.next || near_edge || as_good(), "{part:?} {whole:?}");
    }
    Ok(())
}

fn check_batch<R: Rule>(rule: &R, batch: &Batch<'_>) -> Result<(), TestCaseError> {
    let mut workspace = Workspace::default();
    let singles: Vec<String> = (0..batch.n_queries)
        .map(|query| format!("{:?}", rule.select(&batch.problem(query).unwrap(), &mut workspace).unwrap()))
        .collect();
    for n_threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let mut out = vec![String::new(); batch.n_queries];
        // Debug output of floats is exact, so equal text is equal bits.
        pool.install(|| select_batch(rule, batch, &mut out, |d| format!("{d:?}"), Stop::default())).unwrap();
        prop_assert_eq!(&out, &singles);
    }
    Ok(())
}

/// Weitzman's rule against dynamic programming over all adaptive policies, on a discretised problem.
// The level's number lies between 0 and 300.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#[test]
fn index_rule_decides_as_dynamic_programming_does() {
    // Three boxes; the state is (which are open, best seen); the prize of box j is one of n equally likely normal quantiles.
    const N: usize = 400;
    let (mean, sd, cost) = ([0.4, 0.5, 0.55], [0.3, 0.1, 0.02], [0.03, 0.02, 0.01]);
    let prize =
        |j: usize, at: usize| mean[j] + sd[j] * headrace::normal::quantile((at as f64 + 0.5) / N as f64);
    let levels: Vec<f64> = (0..=300).map(|i| -0.5 + f64::from(i) * 0.007).collect();
    let index_of = |seen: f64| ((seen + 0.5) / 0.007).round().clamp(0.0, 300.0) as usize;
    let mut worth = vec![vec![0.0; levels.len()]; 8];
    worth[7] = levels.clone();
    let gain_of = |worth: &Vec<Vec<f64>>, opened: usize, j: usize, seen: f64| {
        let later: f64 = (0..N).map(|at| worth[opened | 1 << j][index_of(seen.max(prize(j, at)))]).sum();
        later / N as f64 - cost[j]
    };
    for opened in (0..7_usize).rev() {
        for (at, &seen) in levels.iter().enumerate() {
            let best = (0..3).filter(|j| opened >> j & 1 == 0).map(|j| gain_of(&worth, opened, j, seen));
            worth[opened][at] = best.fold(seen, f64::max);
        }
    }
    // Compare where the best action is clear beyond the discretisation.
    let rule = IndexRule::new(1.0, 1.0).unwrap();
    let mut compared = 0;
    for opened in 1..7_usize {
        for &seen in &levels {
            let gains: Vec<(f64, Option<usize>)> = (0..3)
                .filter(|j| opened >> j & 1 == 0)
                .map(|j| (gain_of(&worth, opened, j, seen), Some(j)))
                .chain([(seen, None)])
                .collect();
            let best =
                gains.iter().copied().fold((f64::NEG_INFINITY, None), |a, b| if b.0 > a.0 { b } else { a });
            if gains.iter().filter(|g| g.0 > best.0 - 0.004).count() > 1 {
                continue;
            }
            let quality: Vec<f64> =
                (0..3).map(|j| if opened >> j & 1 == 1 { seen } else { mean[j] }).collect();
            let variance: Vec<f64> =
                (0..3).map(|j| if opened >> j & 1 == 1 { 0.0 } else { sd[j] * sd[j] }).collect();
            let belief = Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap();
            let mut problem = Problem::new(belief, &cost).unwrap();
            problem.run = (0..3).filter(|j| opened >> j & 1 == 1).collect();
            let decision = rule.select(&problem, &mut Workspace::default()).unwrap();
            assert_eq!(decision.next, best.1, "opened {opened:b} seen {seen}: {gains:?}");
            compared += 1;
        }
    }
    assert!(compared > 800, "{compared}");
}

/// The search's own statistics on the paper's inputs: few nodes, where enumeration needs 2^k.
/// An expensive model that is the best one alone, and two that are better together: one of them is a rival.
#[test]
fn the_best_single_model_need_not_be_part_of_the_best_plan() {
    let (quality, variance) = ([1.0, 0.58, 0.55, 0.2], [0.0, 0.09, 0.01, 0.01]);
    let belief = Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap();
    let problem = Problem::new(belief, &[0.4, 0.02, 0.03, 0.3]).unwrap();
    let rule = CascadeRouting::new(1.0, Limits { max_depth: 4, node_limit: u64::MAX }, 1.0).unwrap();
    let decision = rule.select(&problem, &mut Workspace::default()).unwrap();
    assert_eq!(decision.plan, [1, 2].into_iter().collect());
    assert_eq!(decision.next, Some(1));
}

#[test]
fn typical_inputs_take_about_k_nodes() {
    let mut seed = 7_u64;
    let mut uniform = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    for k in [5, 11, 20, 50, 100] {
        let mut total = 0;
        for _ in 0..50 {
            let quality: Vec<f64> = (0..k).map(|_| uniform()).collect();
            let cost: Vec<f64> = (0..k).map(|_| uniform()).collect();
            let variance = vec![0.01; k];
            let problem =
                Problem::new(Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap(), &cost)
                    .unwrap();
            let limits = Limits { max_depth: k, node_limit: u64::MAX };
            let rule = CascadeRouting::new(uniform(), limits, 1.0).unwrap();
            let decision = rule.select(&problem, &mut Workspace::default()).unwrap();
            assert_eq!(decision.status, Status::Optimal);
            total += decision.n_nodes;
        }
        println!("{k} models: {} nodes on average", total / 50);
        assert!(total / 50 <= 30 * k as u64, "{k}: {total}");
    }
}

/// Estimates that are clipped to 1 tie; where quality is free, none of them costs more than another.
#[test]
fn models_without_uncertainty_take_k_nodes() {
    let k = 128_u32;
    let quality: Vec<f64> = (0..k).map(|j| (0.5 + 0.01 * f64::from(j % 80)).min(1.0)).collect();
    let cost: Vec<f64> = (0..k).map(|j| 0.01 * f64::from(1 + j % 7)).collect();
    let (variance, limits) = (vec![0.1; quality.len()], Limits { max_depth: 5, node_limit: u64::MAX });
    for uncertainty in [Uncertainty::Certain, Uncertainty::Independent(&variance)] {
        let problem = Problem::new(Belief::new(&quality, uncertainty).unwrap(), &cost).unwrap();
        for cost_weight in [0.0, 1e-9, 0.1] {
            let rule = CascadeRouting::new(cost_weight, limits, 0.0).unwrap();
            let decision = rule.select(&problem, &mut Workspace::default()).unwrap();
            assert_eq!((decision.plan.len(), decision.status), (1, Status::Optimal));
            assert!(decision.n_nodes <= 2 * u64::from(k), "{cost_weight}: {}", decision.n_nodes);
        }
    }
}
