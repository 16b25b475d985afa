//! Public entries of the core that Python calls: against their formulas and against loops, and what they refuse.

use headrace::batch::{
    Batch, BatchError, BatchUncertainty, Beliefs, Pool, Rows, expected_max_batch, profile_batch,
};
use headrace::belief::{Belief, Uncertainty};
use headrace::calibrate::{Piece, ProfiledRule};
use headrace::error::Error;
use headrace::expected_max::expected_max;
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
        beliefs: Beliefs {
            quality: Rows::each(&quality, N_MODELS),
            uncertainty: BatchUncertainty::Independent(Rows::each(&variance, N_MODELS)),
        },
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
    let batch =
        Batch { beliefs: Beliefs { quality: Rows::each(&faulty, N_MODELS), ..batch.beliefs }, ..batch };
    assert_eq!(profile_batch(rule, &batch, &from, &to, going).unwrap_err().query, 20);
}

#[test]
fn profiles_of_a_batch_are_those_of_its_queries() {
    check_profiles(&CascadeRouting::new(0.0, limits(), 1.0).unwrap());
    check_profiles(&Cascade::new(0.0, None, N_MODELS, 1.0).unwrap());
    check_profiles(&IndexRule::new(0.0, 1.0).unwrap());
}

/// Expected maxima of plans, with and without threads, are those of each plan's models alone, whatever came before it.
#[test]
fn expected_maxima_of_a_batch_are_those_of_each_plan_alone() {
    const N_PLANS: usize = 150;
    let k = 5;
    let mut quality = spread(N_QUERIES * k, 0.618_034);
    quality[k] = -1e10;
    let variance: Vec<f64> = spread(N_QUERIES * k, 0.414_214).iter().map(|v| 0.1 * v).collect();
    let loading: Vec<f64> = spread(N_QUERIES * k, 0.732_051).iter().map(|b| b - 0.5).collect();
    let covariance: Vec<f64> = (0..k * k).map(|at| if at % (k + 1) == 0 { 0.1 } else { 0.03 }).collect();
    let each = |values| Rows::each(values, k);
    let kinds = [
        BatchUncertainty::Certain,
        BatchUncertainty::Independent(each(&variance)),
        BatchUncertainty::Independent(Rows::shared(&variance[..k])),
        BatchUncertainty::Correlated(Rows::shared(&covariance)),
        BatchUncertainty::OneFactor { variance: each(&variance), loading: each(&loading) },
    ];
    let plans: Vec<(usize, ModelSet)> =
        (0..N_PLANS).map(|at| (at * 7 % N_QUERIES, ModelSet::from_bits(1 + at as u128 * 11 % 31))).collect();
    let going = Stop::default();
    for uncertainty in kinds {
        let beliefs = Beliefs { quality: each(&quality), uncertainty };
        let alone = |&(query, models): &(usize, ModelSet)| {
            let belief = beliefs.of(query).unwrap();
            let of = |values: &[f64]| models.iter().map(|j| values[j]).collect::<Vec<f64>>();
            let mean = of(belief.quality());
            let (own, common);
            let uncertainty = match belief.uncertainty() {
                Uncertainty::Certain => Uncertainty::Certain,
                Uncertainty::Independent(variance) => {
                    own = of(variance);
                    Uncertainty::Independent(&own)
                }
                Uncertainty::Correlated(joint) => {
                    own = models.iter().flat_map(|i| of(&joint[i * k..][..k])).collect();
                    Uncertainty::Correlated(&own)
                }
                Uncertainty::OneFactor { variance, loading } => {
                    (own, common) = (of(variance), of(loading));
                    Uncertainty::OneFactor { variance: &own, loading: &common }
                }
            };
            expected_max(&Belief::new(&mean, uncertainty).unwrap(), 0.7).unwrap().value.to_bits()
        };
        let singles: Vec<u64> = plans.iter().map(alone).collect();
        let batch = || {
            let mut out = vec![f64::NAN; N_PLANS];
            expected_max_batch(&beliefs, &plans, 0.7, &mut out, going).unwrap();
            out.into_iter().map(f64::to_bits).collect::<Vec<u64>>()
        };
        assert_eq!(batch(), singles);
        for n_threads in [1, 2, 3] {
            assert_eq!(Pool::of(n_threads).unwrap().run(batch), singles);
        }
    }
}

#[test]
fn a_mistake_in_a_batch_of_plans_is_told_with_its_query_and_model() {
    let quality = [0.5, 0.6, 0.7, 0.5, 0.6, f64::NAN];
    let covariance = [1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 2.0, 1.0];
    let uncertainty = BatchUncertainty::Correlated(Rows::shared(&covariance));
    let beliefs = Beliefs { quality: Rows::each(&quality, 3), uncertainty };
    let failure = |query, models| {
        let mut out = [0.0];
        expected_max_batch(&beliefs, &[(query, models)], 1.0, &mut out, Stop::default()).unwrap_err()
    };
    let of = ModelSet::from_bits;
    let found = failure(0, of(0b110));
    assert!(matches!(found.error, Error::NotPositiveSemidefinite { model: 2, .. }), "{found:?}");
    // A number is looked at where the plan is of other models, too.
    let found = failure(1, of(0b001));
    assert!(matches!(found, BatchError { query: 1, error: Error::NotFinite { model: 2, .. } }), "{found:?}");
    for (query, models) in [(0, ModelSet::EMPTY), (0, of(0b1000)), (9, of(1))] {
        assert_eq!(failure(query, models), BatchError { query, error: Error::NoModels });
    }
    let mut out = [0.0];
    let stopped = Stop::new(&|| true);
    assert_eq!(expected_max_batch(&beliefs, &[(0, of(0b110))], 1.0, &mut out, stopped), Ok(()));
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
