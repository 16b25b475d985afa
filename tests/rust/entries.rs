//! Public entries of the core that Python calls: against their formulas and against loops, and what they refuse.

use headrace::batch::{Batch, BatchUncertainty, Pool, Rows, profile_batch};
use headrace::belief::{Belief, Uncertainty};
use headrace::calibrate::{Piece, ProfiledRule};
use headrace::linear::Linear;
use headrace::model_set::ModelSet;
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Rule, ThresholdCascade, Workspace};
use headrace::search::{Limits, Problem, Stop};

const N_QUERIES: usize = 40;
const N_MODELS: usize = 3;

/// Numbers between 0 and 1 that repeat themselves late.
fn spread(n: usize, step: f64) -> Vec<f64> {
    (1..=n).map(|at| (at as f64 * step).fract()).collect()
}

fn limits() -> Limits {
    Limits { max_depth: N_MODELS, node_limit: u64::MAX }
}

/// Profiles of a batch, with and without threads, are those of its queries one by one; a faulty row is named.
fn check_profiles<R: ProfiledRule + Rule + Sync>(rule: &R) {
    let quality = spread(N_QUERIES * N_MODELS, 0.618_034);
    let variance: Vec<f64> = spread(N_QUERIES * N_MODELS, 0.414_214).iter().map(|v| 0.1 * v).collect();
    let cost = [0.01, 0.1, 0.3];
    let batch = Batch {
        n_queries: N_QUERIES,
        n_models: N_MODELS,
        quality: Rows::each(&quality, N_MODELS),
        uncertainty: BatchUncertainty::Independent(Rows::each(&variance, N_MODELS)),
        cost: Rows::shared(&cost),
        run: &[],
        allowed: &[],
        max_cost: &[],
    };
    let (from, to) = (vec![0.0; N_QUERIES], vec![f64::INFINITY; N_QUERIES]);
    let mut singles: Vec<(usize, Piece)> = Vec::new();
    for query in 0..N_QUERIES {
        let mut pieces = Vec::new();
        let problem = batch.problem(query).unwrap();
        rule.profile(&problem, from[query], to[query], &mut Workspace::default(), &mut pieces).unwrap();
        singles.extend(pieces.into_iter().map(|piece| (query, piece)));
    }
    assert!(singles.len() >= N_QUERIES, "every query has a piece at least");
    let going = Stop::default();
    let profiles = || profile_batch(rule, &batch, &from, &to, going).unwrap();
    assert_eq!(format!("{:?}", profiles()), format!("{singles:?}"));
    for n_threads in [1, 2, 3] {
        assert_eq!(format!("{:?}", Pool::of(n_threads).unwrap().run(profiles)), format!("{singles:?}"));
    }
    assert!(profile_batch(rule, &batch, &from, &to, Stop::new(&|| true)).unwrap().is_empty());
    let mut faulty = quality.clone();
    faulty[20 * N_MODELS + 1] = f64::NAN;
    let batch = Batch { quality: Rows::each(&faulty, N_MODELS), ..batch };
    assert_eq!(profile_batch(rule, &batch, &from, &to, going).unwrap_err().query, 20);
}

#[test]
fn profiles_of_a_batch_are_those_of_its_queries() {
    check_profiles(&CascadeRouting::new(0.0, limits(), 1.0).unwrap());
    check_profiles(&Cascade::new(0.0, None, N_MODELS, 1.0).unwrap());
    check_profiles(&IndexRule::new(0.0, 1.0).unwrap());
}

/// A model far below the others changes nothing at prices at which the others' qualities matter.
/// What a profile says at once is what the searches say that it leaves out.
#[test]
fn where_nothing_may_be_added_a_profile_says_stop() {
    fn check<R: Rule + ProfiledRule>(rule: impl Fn(f64) -> R, problem: &Problem<'_>) {
        let (mut pieces, mut workspace) = (Vec::new(), Workspace::default());
        rule(0.0).profile(problem, 0.0, f64::INFINITY, &mut workspace, &mut pieces).unwrap();
        let stops = pieces == [Piece { from: 0.0, to: f64::INFINITY, next: None }];
        let nexts = [0.0, 1e-3, 0.1, 10.0, f64::INFINITY]
            .map(|weight| rule(weight).select(problem, &mut workspace).unwrap().next);
        assert_eq!(stops, nexts == [None; 5], "{pieces:?} {nexts:?}");
    }
    let (quality, variance, cost) = ([0.5, 0.6, 0.7, 0.4], [0.04; 4], [0.1, 0.2, 0.3, 0.0]);
    let belief = Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap();
    for run in 0..16 {
        for max_depth in 1..=4 {
            let limits = Limits { max_depth, node_limit: u64::MAX };
            for allowed in [ModelSet::EMPTY, ModelSet::of(2), ModelSet::first(4)] {
                let run = ModelSet::from_bits(run);
                let problem = Problem { run, allowed, ..Problem::new(belief, &cost).unwrap() };
                if problem.open().is_ok() {
                    check(|weight| CascadeRouting::new(weight, limits, 1.0).unwrap(), &problem);
                    check(|weight| Cascade::new(weight, None, max_depth, 1.0).unwrap(), &problem);
                }
            }
        }
    }
    // A setting that fits no query of these is refused there, too.
    let problem = Problem { run: ModelSet::of(0), ..Problem::new(belief, &cost).unwrap() };
    let rule = Cascade::new(0.1, Some(vec![0, 7]), 1, 1.0).unwrap();
    assert!(rule.select(&problem, &mut Workspace::default()).is_err());
    assert!(rule.profile(&problem, 0.0, 1.0, &mut Workspace::default(), &mut Vec::new()).is_err());
}

#[test]
fn profiles_with_a_model_far_off_say_what_select_does() {
    let (quality, variance, cost) = ([0.5, 0.7, -1e20], [0.04, 0.01, 0.02], [0.01, 0.1, 0.02]);
    let belief = Belief::new(&quality, Uncertainty::Independent(&variance)).unwrap();
    let problem = Problem::new(belief, &cost).unwrap();
    let rule = |weight| CascadeRouting::new(weight, limits(), 1.0).unwrap();
    let mut pieces = Vec::new();
    rule(0.0).profile(&problem, 0.0, f64::INFINITY, &mut Workspace::default(), &mut pieces).unwrap();
    assert_eq!((pieces[0].from, pieces[pieces.len() - 1].to), (0.0, f64::INFINITY));
    for pair in pieces.windows(2) {
        assert_eq!(pair[0].to.to_bits(), pair[1].from.to_bits());
    }
    for weight in [0.1, 0.5, 1.0, 2.0, 5.0, 20.0] {
        let said = pieces.iter().find(|piece| piece.from <= weight && weight < piece.to).unwrap();
        let decision = rule(weight).select(&problem, &mut Workspace::default()).unwrap();
        assert_eq!(said.next, decision.next, "at {weight}");
    }
}

#[test]
fn linear_estimates_are_those_of_the_formula() {
    let (n_features, n_estimates) = (4, 3);
    let weights: Vec<f64> = spread(n_features * n_estimates, 0.618_034).iter().map(|w| w - 0.5).collect();
    let missing = spread(n_features * n_estimates, 0.414_214);
    let (average, intercept) = (spread(n_features, 0.732_051), spread(n_estimates, 0.236_068));
    let (low, high) = (vec![0.1; n_estimates], vec![0.9; n_estimates]);
    let given = [intercept.clone(), low, high];
    let linear = Linear::new(average.clone(), [weights.clone(), missing.clone()], given);
    assert_eq!((linear.n_features(), linear.n_estimates()), (n_features, n_estimates));
    for lacking in 0..1_u32 << n_features {
        let known = spread(n_features, 0.302_776);
        let lacks = |at: usize| lacking >> at & 1 == 1;
        let features: Vec<f64> =
            (0..n_features).map(|at| if lacks(at) { f64::NAN } else { known[at] }).collect();
        for (column, estimate) in linear.estimates(&features).into_iter().enumerate() {
            let part = |at: usize| {
                let cell = at * n_estimates + column;
                if lacks(at) { missing[cell] } else { (known[at] - average[at]) * weights[cell] }
            };
            let wanted = (intercept[column] + (0..n_features).map(part).sum::<f64>()).clamp(0.1, 0.9);
            // Sums of five numbers below 1, in another order.
            assert!((estimate - wanted).abs() < 1e-14, "{estimate} {wanted}");
        }
    }
}

#[test]
fn rules_refuse_settings_out_of_range() {
    let told = [
        ThresholdCascade::new(vec![], None).unwrap_err(),
        ThresholdCascade::new(vec![f64::NAN], None).unwrap_err(),
        ThresholdCascade::new(vec![0.5], Some(vec![1, 1])).unwrap_err(),
        CascadeRouting::new(0.0, Limits { node_limit: 0, ..limits() }, 1.0).unwrap_err(),
        CascadeRouting::new(0.0, Limits { max_depth: 0, ..limits() }, 1.0).unwrap_err(),
        CascadeRouting::new(-1.0, limits(), 1.0).unwrap_err(),
        IndexRule::new(f64::NAN, 1.0).unwrap_err(),
        IndexRule::new(1.0, -1.0).unwrap_err(),
    ];
    let names = ["thresholds", "thresholds", "order", "node_limit", "max_depth", "cost_weight"];
    for (error, name) in told.iter().zip(names.iter().chain(&["cost_weight", "uncertainty_scale"])) {
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let rule = ThresholdCascade::new(vec![0.25, -0.0], Some(vec![1, 0])).unwrap();
    assert_eq!(rule.thresholds()[1].to_bits(), 0.0_f64.to_bits());
    assert_eq!(rule.with_threshold(0.75).thresholds(), [0.75]);
    let rule = IndexRule::new(-0.0, 0.5).unwrap();
    assert_eq!((rule.cost_weight().to_bits(), rule.uncertainty_scale()), (0, 0.5));
}
