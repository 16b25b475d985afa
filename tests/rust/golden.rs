//! Accuracy against reference values that `scripts/make_golden.py` computes with mpmath, and coverage of the
//! reported errors on random problems. Run with `--nocapture` to see the worst errors.

use headrace::belief::{Belief, Uncertainty};
use headrace::expected_max::{
    CorrelatedMax, Estimate, ExpectedMax, IndependentMax, OneFactorMax, expected_max, value_of,
};
use headrace::model_set::ModelSet;
use headrace::normal::{density, inverse_unit_excess, quantile, unit_excess, upper_tail};

// Written by Python, which doesn't group digits; and random inputs happen to resemble constants.
#[allow(clippy::approx_constant, clippy::unreadable_literal)]
mod golden_values;
use golden_values::{
    FACTORS, FactorCase, INDEPENDENT, INVERSE_UNIT_EXCESS, IndependentCase, PAIRS, QUANTILE, UNIT_EXCESS,
    UPPER_TAIL,
};

/// The documented accuracy for independent models, in units of the largest standard deviation.
const ACCURACY: f64 = 1e-7;

/// The same bound in absolute terms, for standard deviations up to 10.
const ABSOLUTE_ACCURACY: f64 = 1e-6;

/// Rounding, in units of the largest mean plus the largest standard deviation: 45 units in the last place, for
/// sums over some thousand nodes.
const ROUNDING: f64 = 1e-14;

/// Accuracy asked of [`conditional_max`], against the golden values.
const ORACLE_ACCURACY: f64 = 1e-7;

/// Points per replicate in a decision; `expected_max` takes eight times as many.
const DECISION_POINTS: usize = 128;

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, x| x.abs().max(most))
}

fn squares(sds: &[f64]) -> Vec<f64> {
    sds.iter().map(|sd| sd * sd).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value of all models, on the grid of a decision in which `run` has run.
fn value_after(evaluator: &mut IndependentMax, run: ModelSet, all: ModelSet) -> f64 {
    let candidates = all.minus(run);
    evaluator.prepare(run, candidates, candidates.len());
    let mut state = vec![0.0; evaluator.n_points()];
    let mut next = state.clone();
    let mut value = evaluator.start(&mut state);
    for model in run.iter().chain(candidates.iter()) {
        value += evaluator.gain(&state, model);
        evaluator.extend(&state, model, &mut next);
        std::mem::swap(&mut state, &mut next);
    }
    value
}

/// The rounding that a case may show, and all of the error that it may.
fn tolerances(case: &IndependentCase) -> (f64, f64) {
    let sd = largest(case.sd);
    let rounding = ROUNDING * (largest(case.mean) + sd);
    let quadrature = if sd <= 10.0 { (ACCURACY * sd).min(ABSOLUTE_ACCURACY) } else { ACCURACY * sd };
    (rounding, rounding + quadrature)
}

#[test]
fn independent_values_keep_the_documented_bound() {
    let mut worst = (0.0, "");
    for case in INDEPENDENT {
        let (rounding, allowed) = tolerances(case);
        let all = ModelSet::first(case.mean.len());
        let mut evaluator = IndependentMax::default();
        evaluator.reset(case.mean, &squares(case.sd), 1.0, ModelSet::first(case.mean.len()));
        // Each grid is laid for other sets; the value of all models has to come out on every one of them.
        for n_run in [0, 1, case.mean.len() / 2, case.mean.len()] {
            let got = value_after(&mut evaluator, ModelSet::first(n_run), all);
            let error = (got - case.value).abs();
            assert!(error <= allowed, "{case:?}, {n_run} run: {got} is off by {error:e}");
            let in_sds = (error - rounding) / largest(case.sd);
            if in_sds > worst.0 {
                worst = (in_sds, case.name);
            }
        }
    }
    println!("{} cases, worst error {:.1e} sd: {}", INDEPENDENT.len(), worst.0, worst.1);
}

#[test]
fn independent_estimates_cover_their_error() {
    for case in INDEPENDENT {
        let (rounding, _) = tolerances(case);
        // Powers of two scale without rounding.
        for scale in [1.0, 4.0] {
            let variance: Vec<f64> = squares(case.sd).iter().map(|v| v / (scale * scale)).collect();
            let belief = Belief::new(case.mean, Uncertainty::Independent(&variance)).unwrap();
            let Estimate { value, error } = expected_max(&belief, scale).unwrap();
            assert!((value - case.value).abs() <= error + rounding, "{case:?}: {value} +- {error:e}");
            assert!(error <= ACCURACY * largest(case.sd) + rounding, "{case:?}: {error:e}");
        }
    }
}

#[test]
fn pairs_are_exact() {
    let mut worst = (0.0, "");
    for case in PAIRS {
        for scale in [1.0, 4.0] {
            let covariance = case.covariance.map(|c| c / (scale * scale));
            let belief = Belief::new(&case.mean, Uncertainty::Correlated(&covariance)).unwrap();
            let Estimate { value, error } = expected_max(&belief, scale).unwrap();
            let relative = (value / case.value - 1.0).abs();
            assert!(relative <= 1e-12, "{case:?}: {value} is off by {relative:e} of it");
            assert_eq!(error, 0.0);
            if relative > worst.0 {
                worst = (relative, case.name);
            }
        }
    }
    println!("{} pairs, worst relative error {:.1e}: {}", PAIRS.len(), worst.0, worst.1);
}

/// Models that share one factor z: model j is Normal(mean + loading z, `own_sd`^2) given z, independently.
struct OneFactor<'a> {
    mean: &'a [f64],
    own_sd: &'a [f64],
    loading: &'a [f64],
}

impl<'a> From<&'a FactorCase> for OneFactor<'a> {
    fn from(case: &FactorCase) -> Self {
        Self { mean: case.mean, own_sd: case.own_sd, loading: case.loading }
    }
}

impl OneFactor<'_> {
    fn covariance(&self) -> Vec<f64> {
        let k = self.mean.len();
        let entry = |i: usize, j: usize| {
            let own = if i == j { self.own_sd[i] * self.own_sd[i] } else { 0.0 };
            self.loading[i] * self.loading[j] + own
        };
        (0..k * k).map(|at| entry(at / k, at % k)).collect()
    }

    fn estimate(&self) -> Estimate {
        let covariance = self.covariance();
        let belief = Belief::new(self.mean, Uncertainty::Correlated(&covariance)).unwrap();
        expected_max(&belief, 1.0).unwrap()
    }

    fn estimate_with(&self, evaluator: &mut CorrelatedMax, set: ModelSet) -> Estimate {
        evaluator.reset(self.mean, &self.covariance(), 1.0, ModelSet::first(self.mean.len())).unwrap();
        evaluator.estimate(set)
    }

    fn all(&self) -> ModelSet {
        ModelSet::first(self.mean.len())
    }
}

/// Positive Gauss-Legendre nodes on [-1, 1], 8 points, and their weights.
const GAUSS_LEGENDRE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// Where the integral over the factor ends, with 6e-14 of its mass beyond.
const FACTOR_REACH: f64 = 7.5;

/// Panels on each side of zero: a quarter wide, where the sharpest bend of the cases here is 0.08 wide.
const N_PANELS: i32 = 30;

/// Edges of the panels.
fn panel_edges(models: &OneFactor<'_>) -> Vec<f64> {
    let k = models.mean.len();
    let mut edges: Vec<f64> =
        (-N_PANELS..=N_PANELS).map(|at| FACTOR_REACH * f64::from(at) / f64::from(N_PANELS)).collect();
    // Two models that follow the factor alone are lines in it; the value has a kink where they cross.
    for (i, j) in (0..k).flat_map(|i| (0..i).map(move |j| (i, j))) {
        let crossing = (models.mean[j] - models.mean[i]) / (models.loading[i] - models.loading[j]);
        if models.own_sd[i] == 0.0 && models.own_sd[j] == 0.0 && crossing.abs() < FACTOR_REACH {
            edges.push(crossing);
        }
    }
    edges.sort_unstable_by(f64::total_cmp);
    edges
}

/// The expected maximum by conditional independence: the independent models' value, averaged over the factor.
fn conditional_max(models: &OneFactor<'_>, set: ModelSet) -> f64 {
    let variance = squares(models.own_sd);
    let mut evaluator = IndependentMax::default();
    let mut weighted = |z: f64| {
        let mean: Vec<f64> = models.mean.iter().zip(models.loading).map(|(m, b)| m + b * z).collect();
        evaluator.reset(&mean, &variance, 1.0, ModelSet::first(mean.len()));
        density(z) * value_of(&mut evaluator, set)
    };
    let mut total = 0.0;
    for ends in panel_edges(models).windows(2) {
        let (centre, half) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
        for (x, w) in GAUSS_LEGENDRE {
            total += half * w * (weighted(centre - half * x) + weighted(centre + half * x));
        }
    }
    total
}

#[test]
fn correlated_estimates_cover_the_golden_values_and_the_oracle_equals_them() {
    let (mut oracle_error, mut covered) = (0.0_f64, [0, 0]);
    let mut decision = CorrelatedMax::new(DECISION_POINTS);
    for case in FACTORS {
        let models = OneFactor::from(case);
        let error = (conditional_max(&models, models.all()) - case.value).abs();
        assert!(error <= ORACLE_ACCURACY, "{case:?}: the oracle is off by {error:e}");
        oracle_error = oracle_error.max(error);
        let estimates = [models.estimate(), models.estimate_with(&mut decision, models.all())];
        for (covered, estimate) in covered.iter_mut().zip(estimates) {
            let off = (estimate.value - case.value).abs();
            println!("{}: off by {off:.1e}, reported {:.1e}", case.name, estimate.error);
            *covered += usize::from(off <= estimate.error);
        }
    }
    println!("{} cases, oracle off by {oracle_error:.1e} at most, covered {covered:?}", FACTORS.len());
    // At 99% confidence, two misses among so few are a matter of one in a hundred.
    assert!(covered.iter().all(|&n| n + 1 >= FACTORS.len()), "{covered:?} of {}", FACTORS.len());
}

/// Knuth's linear congruential generator, its upper 53 bits.
struct Uniforms(u64);

impl Uniforms {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Zero with the given probability, else uniform.
    fn zero_or_between(&mut self, zero: f64, low: f64, high: f64) -> f64 {
        let x = self.between(low, high);
        if self.between(0.0, 1.0) < zero { 0.0 } else { x }
    }
}

/// Most nodes of the factor in a decision; `expected_max` takes eight times as many.
const DECISION_NODES: usize = 129;

impl OneFactor<'_> {
    /// The value by the core's own one-factor evaluator, and the bound of its error.
    fn by_factor(&self, most_nodes: usize, set: ModelSet) -> Estimate {
        let mut evaluator = OneFactorMax::new(most_nodes);
        evaluator.reset(
            self.mean,
            &squares(self.own_sd),
            self.loading,
            1.0,
            ModelSet::first(self.mean.len()),
        );
        Estimate { value: value_of(&mut evaluator, set), error: evaluator.slack() }
    }

    fn largest_sd(&self) -> f64 {
        self.own_sd.iter().zip(self.loading).map(|(sd, b)| sd.hypot(*b)).fold(0.0, f64::max)
    }
}

#[test]
fn one_factor_values_keep_their_bound_at_the_golden_values() {
    for case in FACTORS {
        let models = OneFactor::from(case);
        let variance = squares(case.own_sd);
        for scale in [1.0, 4.0] {
            let variance: Vec<f64> = variance.iter().map(|v| v / (scale * scale)).collect();
            let loading: Vec<f64> = case.loading.iter().map(|b| b / scale).collect();
            let uncertainty = Uncertainty::OneFactor { variance: &variance, loading: &loading };
            let belief = Belief::new(case.mean, uncertainty).unwrap();
            let Estimate { value, error } = expected_max(&belief, scale).unwrap();
            let off = (value - case.value).abs();
            println!("{}: off by {off:.1e}, at most {error:.1e}", case.name);
            assert!(off <= error, "{case:?}: {value}");
        }
        let Estimate { value, error } = models.by_factor(DECISION_NODES, models.all());
        assert!((value - case.value).abs() <= error, "{case:?}: {value} in a decision");
    }
}

/// Draws one-factor models, and checks the evaluator against the oracle; gives the worst error in standard deviations.
fn worst_one_factor_error(
    own: impl Fn(&mut Uniforms) -> f64,
    loading: impl Fn(&mut Uniforms) -> f64,
    most_nodes: usize,
) -> f64 {
    let mut uniforms = Uniforms(17);
    let mut worst = 0.0_f64;
    for at in 0..150 {
        let k = 1 + at % 7;
        let spread = [0.05, 0.3, 1.0][at % 3];
        let mean: Vec<f64> = (0..k).map(|_| uniforms.between(0.0, spread)).collect();
        let own_sd: Vec<f64> = (0..k).map(|_| own(&mut uniforms)).collect();
        let loading: Vec<f64> = (0..k).map(|_| loading(&mut uniforms)).collect();
        let models = OneFactor { mean: &mean, own_sd: &own_sd, loading: &loading };
        let Estimate { value, error } = models.by_factor(most_nodes, models.all());
        let off = (value - conditional_max(&models, models.all())).abs();
        assert!(
            off <= error + ORACLE_ACCURACY * models.largest_sd(),
            "{value} is off by {off:e}: {mean:?} {own_sd:?} {loading:?}"
        );
        worst = worst.max(off / models.largest_sd());
    }
    worst
}

#[test]
fn one_factor_values_are_as_accurate_as_documented() {
    type Draw = fn(&mut Uniforms) -> f64;
    let own: Draw = |u| u.between(0.1, 0.3);
    let kinds: [(&str, Draw, Draw, f64); 5] = [
        ("loadings alike", own, |u| u.between(0.1, 0.2), 1e-6),
        ("loadings of any sign", own, |u| u.between(-0.3, 0.3), 1e-6),
        ("some without a loading", own, |u| u.zero_or_between(0.5, 0.0, 0.3), 1e-6),
        (
            "some certain given the factor",
            |u| u.zero_or_between(0.3, 0.1, 0.3),
            |u| u.between(-0.2, 0.2),
            1e-3,
        ),
        ("none with a part of its own", |_| 0.0, |u| u.between(-0.2, 0.2), 1e-3),
    ];
    for (name, own, loading, allowed) in kinds {
        let worst = worst_one_factor_error(own, loading, DECISION_NODES);
        let finest = worst_one_factor_error(own, loading, 1025);
        println!("{name}: off by {worst:.1e} sd in a decision, {finest:.1e} in expected_max");
        assert!(worst <= allowed && finest <= allowed, "{name}: {worst:e} {finest:e}");
    }
}

#[test]
fn kinks_beside_a_large_deviation_take_few_nodes_and_keep_the_accuracy() {
    let mut uniforms = Uniforms(29);
    for at in 0..60 {
        let k = 3 + at % 5;
        let largest = [30.0, 300.0, 1e4, 1e8][at % 4];
        let mean: Vec<f64> = (0..k).map(|_| uniforms.between(0.0, 0.1)).collect();
        let own_sd: Vec<f64> = (0..k).map(|j| if j == 0 { largest } else { 0.0 }).collect();
        let loading: Vec<f64> = (0..k).map(|_| uniforms.between(-0.05, 0.05)).collect();
        let models = OneFactor { mean: &mean, own_sd: &own_sd, loading: &loading };
        let mut evaluator = OneFactorMax::new(DECISION_NODES);
        evaluator.reset(&mean, &squares(&own_sd), &loading, 1.0, models.all());
        let value = value_of(&mut evaluator, models.all());
        let off = (value - conditional_max(&models, models.all())).abs();
        assert!(off <= evaluator.slack() + ORACLE_ACCURACY * largest, "{off:e}: {mean:?} {loading:?}");
        assert!(off <= 1e-6 * largest, "{off:e}: {mean:?} {loading:?}");
        assert!(largest < 1e4 || evaluator.n_nodes() <= 25, "{} nodes", evaluator.n_nodes());
    }
}

/// The grids at the nodes of the factor, coarser than those of independent models, at the latter's hardest cases.
#[test]
fn a_vanishing_factor_changes_little() {
    let mut worst = (0.0, "");
    for case in INDEPENDENT {
        let tiny = 1e-9 * largest(case.sd);
        let loading: Vec<f64> = (0..case.mean.len()).map(|j| if j % 2 == 0 { tiny } else { -tiny }).collect();
        let models = OneFactor { mean: case.mean, own_sd: case.sd, loading: &loading };
        let Estimate { value, error } = models.by_factor(DECISION_NODES, models.all());
        let (rounding, _) = tolerances(case);
        // The factor itself adds at most half of what it varies.
        let off = ((value - case.value).abs() - rounding - tiny).max(0.0);
        if off / largest(case.sd) > worst.0 {
            worst = (off / largest(case.sd), case.name);
        }
        assert!(off <= error, "{case:?}: {value} is off by {off:e}, at most {error:e}");
    }
    println!("worst error {:.1e} sd: {}", worst.0, worst.1);
}

#[test]
fn one_factor_pairs_equal_clarks_closed_form() {
    let mut uniforms = Uniforms(23);
    for _ in 0..300 {
        let mut two = |low, high| [uniforms.between(low, high), uniforms.between(low, high)];
        let (mean, own_sd, loading) = (two(0.0, 0.5), two(0.02, 0.3), two(-0.3, 0.3));
        let models = OneFactor { mean: &mean, own_sd: &own_sd, loading: &loading };
        let Estimate { value, error } = models.by_factor(DECISION_NODES, models.all());
        let variance = squares(&own_sd);
        let factor = Uncertainty::OneFactor { variance: &variance, loading: &loading };
        let pair = expected_max(&Belief::new(&mean, factor).unwrap(), 1.0).unwrap().value;
        let covariance = models.covariance();
        let belief = Belief::new(&mean, Uncertainty::Correlated(&covariance)).unwrap();
        let clark = expected_max(&belief, 1.0).unwrap().value;
        assert!((pair - clark).abs() < 1e-14);
        assert!(
            (value - clark).abs() <= error,
            "{models:?}: {value} {clark}",
            models = (mean, own_sd, loading)
        );
    }
}

/// True and reported errors, case by case.
#[derive(Default)]
struct Coverage {
    off: Vec<f64>,
    reported: Vec<f64>,
}

impl Coverage {
    fn add(&mut self, estimate: Estimate, truth: f64) {
        self.off.push((estimate.value - truth).abs());
        self.reported.push(estimate.error);
    }

    /// At least 95% covered, where 99% are claimed, and errors reported at most `widest` times too wide.
    fn check(&self, what: &str, widest: f64) {
        let covered = self.off.iter().zip(&self.reported).filter(|(off, reported)| off <= reported).count();
        let share = covered as f64 / self.off.len() as f64;
        let (off, reported) = (median(self.off.clone()), median(self.reported.clone()));
        println!("{what}: {:.2}% covered, median error {off:.1e}, reported {reported:.1e}", 100.0 * share);
        assert!(share >= 0.95, "{what}: {share}");
        assert!(reported <= widest * off, "{what}: {reported:e} reported for {off:e}");
    }
}

#[test]
fn reported_errors_of_random_covariances_cover_the_truth() {
    const N_CASES: usize = 600;
    let mut uniforms = Uniforms(11);
    let mut evaluator = CorrelatedMax::new(DECISION_POINTS);
    let (mut full, mut decision) = (Coverage::default(), Coverage::default());
    for at in 0..N_CASES {
        let k = 4 + at % 5;
        let mut draw = |f: fn(&mut Uniforms) -> f64| (0..k).map(|_| f(&mut uniforms)).collect::<Vec<f64>>();
        let mean = draw(|u| u.between(0.2, 0.8));
        let own_sd = draw(|u| u.zero_or_between(0.2, 0.05, 0.3));
        let loading = draw(|u| u.zero_or_between(0.1, -0.3, 0.3));
        let models = OneFactor { mean: &mean, own_sd: &own_sd, loading: &loading };
        let truth = conditional_max(&models, models.all());
        full.add(models.estimate(), truth);
        decision.add(models.estimate_with(&mut evaluator, models.all()), truth);
        let two = ModelSet::of(0).with(k - 1);
        let Estimate { value, error } = models.estimate_with(&mut evaluator, two);
        assert!((value - conditional_max(&models, two)).abs() <= error + ORACLE_ACCURACY, "{mean:?} {value}");
    }
    full.check("expected_max", 10.0);
    decision.check("a decision, all models", 10.0);
}

fn check_table(name: &str, table: &[(f64, f64)], f: fn(f64) -> f64, allowed: impl Fn(f64, f64) -> f64) {
    let mut worst = (0.0, 0.0);
    for &(x, expected) in table {
        let got = f(x);
        let error = (got - expected).abs();
        assert!(error <= allowed(x, expected), "{name}({x:e}) = {got:e}, not {expected:e}");
        let share = error / allowed(x, expected);
        if share > worst.0 {
            worst = (share, x);
        }
    }
    println!("{name}: at most {:.2} of the tolerance, at {:e}", worst.0, worst.1);
}

/// Relative error of a tail or a density: a rounding of z moves its logarithm by z^2 times as much.
fn tail_error(z: f64) -> f64 {
    f64::EPSILON * (4.0 + z * z)
}

/// Relative error of the excess, for z > 0 a difference of two terms that are z^2 times as large.
fn excess_error(z: f64) -> f64 {
    if z > 0.0 { tail_error(z) * (1.0 + z * z) } else { 4.0 * f64::EPSILON }
}

#[test]
fn normal_functions_keep_their_tolerances() {
    check_table("upper_tail", UPPER_TAIL, upper_tail, |z, tail| tail_error(z.max(0.0)) * tail);
    check_table("quantile", QUANTILE, quantile, |_, z| 4.0 * f64::EPSILON * z.abs().max(1.0));
    check_table("unit_excess", UNIT_EXCESS, unit_excess, |z, excess| excess_error(z) * excess);
    // The root moves by the relative error times the excess over its slope: below 1 / z in the right tail.
    check_table("inverse_unit_excess", INVERSE_UNIT_EXCESS, inverse_unit_excess, |_, z| {
        excess_error(z) * if z > 1.0 { 1.0 / z } else { z.abs().max(1.0) }
    });
}
