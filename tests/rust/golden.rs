//! Accuracy against reference values that `scripts/make_golden.py` computes with mpmath, and coverage of the reported
//! errors on random problems. Run with `--nocapture` to see the worst errors.

use headrace::belief::{Belief, Uncertainty};
use headrace::expected_max::{
    CorrelatedMax, Estimate, ExpectedMax, Factor, IndependentMax, expected_max, value_of,
};
use headrace::model_set::ModelSet;
use headrace::normal::{inverse_unit_excess, quantile, unit_excess, upper_tail};

// Written by Python, which doesn't group digits.
#[allow(clippy::unreadable_literal)]
mod golden_values;
use golden_values::{
    FACTORS, FactorCase, INDEPENDENT, INVERSE_UNIT_EXCESS, IndependentCase, PAIRS, QUANTILE, UNIT_EXCESS,
    UPPER_TAIL,
};

/// The documented accuracy for independent models, in units of the largest standard deviation.
const ACCURACY: f64 = 1e-7;

/// The same bound in absolute terms, for standard deviations up to 10.
const ABSOLUTE_ACCURACY: f64 = 1e-6;

/// Rounding in units of the largest quality at work: some tens of units in the last place, over sums of up to 1e4 terms.
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

/// What numerical error a case may show, and what of it is rounding.
fn tolerance(case: &IndependentCase) -> (f64, f64) {
    let sd = largest(case.sd);
    let rounding = ROUNDING * (largest(case.mean) + sd);
    let quadrature = if sd <= 10.0 { (ACCURACY * sd).min(ABSOLUTE_ACCURACY) } else { ACCURACY * sd };
    (quadrature + rounding, rounding)
}

#[test]
fn independent_values_keep_the_documented_bound() {
    let mut worst = (0.0, "");
    for case in INDEPENDENT {
        let (allowed, _) = tolerance(case);
        let all = ModelSet::first(case.mean.len());
        let mut evaluator = IndependentMax::default();
        evaluator.reset(case.mean, &squares(case.sd), 1.0);
        // Each grid is laid for other sets; the value of all models has to come out on every one of them.
        for n_run in [0, 1, case.mean.len() / 2, case.mean.len()] {
            let got = value_after(&mut evaluator, ModelSet::first(n_run), all);
            let error = (got - case.value).abs();
            assert!(error <= allowed, "{case:?}, {n_run} run: {got} is off by {error:e}");
            let in_sds = error / largest(case.sd);
            if in_sds > worst.0 && allowed < 2.0 * ACCURACY * largest(case.sd) {
                worst = (in_sds, case.name);
            }
        }
    }
    println!("{} cases, worst error {:.1e} sd: {}", INDEPENDENT.len(), worst.0, worst.1);
}

#[test]
fn independent_estimates_cover_their_error() {
    for case in INDEPENDENT {
        let (_, rounding) = tolerance(case);
        let variance = squares(case.sd);
        let belief = Belief::new(case.mean, Uncertainty::Independent(&variance)).unwrap();
        let Estimate { value, error } = expected_max(&belief, 1.0).unwrap();
        assert!((value - case.value).abs() <= error + rounding, "{case:?}: {value} +- {error:e}");
        assert!(error <= ACCURACY * largest(case.sd) * (1.0 + ROUNDING), "{case:?}: {error:e}");
    }
}

#[test]
fn pairs_are_exact() {
    let mut worst = 0.0_f64;
    for case in PAIRS {
        let belief = Belief::new(&case.mean, Uncertainty::Correlated(&case.covariance)).unwrap();
        let Estimate { value, error } = expected_max(&belief, 1.0).unwrap();
        let relative = (value / case.value - 1.0).abs();
        assert!(relative <= 1e-12, "{case:?}: {value} is off by {relative:e} of it");
        assert_eq!(error, 0.0);
        worst = worst.max(relative);
    }
    println!("{} pairs, worst relative error {worst:.1e}", PAIRS.len());
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

    fn estimate_with(&self, evaluator: &mut CorrelatedMax) -> Estimate {
        let k = self.mean.len();
        evaluator.reset(self.mean, Factor::new(&self.covariance(), k).unwrap(), 1.0);
        evaluator.estimate(ModelSet::first(k))
    }
}

/// Positive Gauss-Legendre nodes on [-1, 1], 8 points, and their weights.
const GAUSS_LEGENDRE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
];

/// Ends and spacing of the panels over the factor. Beyond 7.5 lies 6e-14 of its mass.
const FACTOR_REACH: f64 = 7.5;
const PANELS_PER_UNIT: i32 = 4;

/// The expected maximum by conditional independence: an integral over the factor of the independent models' value.
fn conditional_max(models: &OneFactor<'_>) -> f64 {
    let k = models.mean.len();
    let reach = (FACTOR_REACH * f64::from(PANELS_PER_UNIT)).round();
    let mut edges: Vec<f64> = Vec::new();
    let mut step = -reach;
    while step <= reach {
        edges.push(step / f64::from(PANELS_PER_UNIT));
        step += 1.0;
    }
    // Two models that follow the factor alone are lines in it; the value has an edge where they cross.
    for (i, j) in (0..k).flat_map(|i| (0..i).map(move |j| (i, j))) {
        let slope = models.loading[i] - models.loading[j];
        let crossing = (models.mean[j] - models.mean[i]) / slope;
        if models.own_sd[i] == 0.0 && models.own_sd[j] == 0.0 && crossing.abs() < FACTOR_REACH {
            edges.push(crossing);
        }
    }
    edges.sort_unstable_by(f64::total_cmp);

    let variance = squares(models.own_sd);
    let mut evaluator = IndependentMax::default();
    let mut weighted = |z: f64| {
        let mean: Vec<f64> = models.mean.iter().zip(models.loading).map(|(m, b)| m + b * z).collect();
        evaluator.reset(&mean, &variance, 1.0);
        headrace::normal::density(z) * value_of(&mut evaluator, ModelSet::first(k))
    };
    let mut total = 0.0;
    for ends in edges.windows(2) {
        let (centre, half) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
        for (x, w) in GAUSS_LEGENDRE {
            total += half * w * (weighted(centre - half * x) + weighted(centre + half * x));
        }
    }
    total
}

#[test]
fn correlated_values_and_the_oracle_agree_with_the_golden_ones() {
    let (mut oracle_error, mut covered) = (0.0_f64, [0, 0]);
    let mut decision = CorrelatedMax::new(DECISION_POINTS);
    for case in FACTORS {
        let models = OneFactor::from(case);
        let error = (conditional_max(&models) - case.value).abs();
        assert!(error <= ORACLE_ACCURACY, "{case:?}: the oracle is off by {error:e}");
        oracle_error = oracle_error.max(error);
        for (at, estimate) in [models.estimate(), models.estimate_with(&mut decision)].iter().enumerate() {
            let off = (estimate.value - case.value).abs();
            println!("{}: off by {off:.1e}, reported {:.1e}", case.name, estimate.error);
            covered[at] += usize::from(off <= estimate.error);
        }
    }
    println!("{} cases, oracle off by {oracle_error:.1e} at most, covered {covered:?}", FACTORS.len());
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

#[test]
fn reported_errors_of_random_covariances_cover_the_truth() {
    const N_CASES: usize = 600;
    let mut uniforms = Uniforms(11);
    let mut decision = CorrelatedMax::new(DECISION_POINTS);
    let (mut true_errors, mut reported, mut covered) = ([vec![], vec![]], [vec![], vec![]], [0, 0]);
    for at in 0..N_CASES {
        let k = 3 + at % 6;
        let mut draw = |f: fn(&mut Uniforms) -> f64| (0..k).map(|_| f(&mut uniforms)).collect::<Vec<f64>>();
        let mean = draw(|u| u.between(0.2, 0.8));
        let own_sd = draw(|u| u.zero_or_between(0.2, 0.05, 0.3));
        let loading = draw(|u| u.zero_or_between(0.1, -0.3, 0.3));
        let models = OneFactor { mean: &mean, own_sd: &own_sd, loading: &loading };
        let truth = conditional_max(&models);
        for (at, estimate) in [models.estimate(), models.estimate_with(&mut decision)].iter().enumerate() {
            let off = (estimate.value - truth).abs();
            covered[at] += usize::from(off <= estimate.error);
            true_errors[at].push(off);
            reported[at].push(estimate.error);
        }
    }
    for (at, points) in ["expected_max", "a decision"].iter().enumerate() {
        let (off, error) = (median(true_errors[at].clone()), median(reported[at].clone()));
        let share = covered[at] as f64 / N_CASES as f64;
        println!("{points}: {:.1}% covered, median error {off:.1e}, reported {error:.1e}", 100.0 * share);
        assert!(share >= 0.95, "{points}: {share}");
        assert!(error <= 10.0 * off, "{points}: {error:e} reported for {off:e}");
    }
}

fn check_table(name: &str, table: &[(f64, f64)], f: fn(f64) -> f64, allowed: impl Fn(f64, f64) -> f64) {
    for &(x, expected) in table {
        let got = f(x);
        let error = (got - expected).abs();
        println!("{name}({x:e}): off by {error:.1e}, {:.1e} of it", error / expected.abs());
        assert!(error <= allowed(x, expected), "{name}({x:e}) = {got:e}, not {expected:e}");
    }
}

#[test]
fn normal_functions() {
    check_table("upper_tail", UPPER_TAIL, upper_tail, |_, y| 1e-10 * y);
    check_table("quantile", QUANTILE, quantile, |_, y| 1e-6 * y.abs());
    check_table("unit_excess", UNIT_EXCESS, unit_excess, |_, y| 1e-4 * y);
    check_table("inverse_unit_excess", INVERSE_UNIT_EXCESS, inverse_unit_excess, |_, y| 1e-6 * y.abs());
}
