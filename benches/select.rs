//! Time of one decision, per rule and number of models: `cargo bench`.
//!
//! Inputs as in the runtime study of Dekoninck et al. 2025 ("typical": quality, cost and cost weight uniform on [0, 1],
//! variance 0.01), and a harder set ("hard": qualities within 0.1, costs 50 times smaller, standard deviations 0.1 to 0.3).

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headrace::belief::{Belief, Uncertainty};
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Routing, Rule, Workspace};
use headrace::search::{Limits, Problem};

/// Problems of one kind that a benchmark goes through in turn.
const N_PROBLEMS: usize = 64;

struct Input {
    quality: Vec<f64>,
    cost: Vec<f64>,
    variance: Vec<f64>,
    /// With `own`, the same standard deviations, half of the variance or so from one factor.
    loading: Vec<f64>,
    own: Vec<f64>,
    covariance: Vec<f64>,
    cost_weight: f64,
}

/// Which of an input's uncertainties is taken.
type Spread = for<'a> fn(&'a Input) -> Uncertainty<'a>;

const INDEPENDENT: Spread = |input| Uncertainty::Independent(&input.variance);
const ONE_FACTOR: Spread = |input| Uncertainty::OneFactor { variance: &input.own, loading: &input.loading };
const CORRELATED: Spread = |input| Uncertainty::Correlated(&input.covariance);

fn inputs(k: usize, hard: bool) -> Vec<Input> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (spread, price) = if hard { (0.1, 0.02) } else { (1.0, 1.0) };
    (0..N_PROBLEMS)
        .map(|_| {
            let quality = (0..k).map(|_| spread * uniform()).collect();
            let cost = (0..k).map(|_| price * uniform()).collect();
            let variance: Vec<f64> =
                (0..k).map(|_| if hard { (0.1 + 0.2 * uniform()).powi(2) } else { 0.01 }).collect();
            let cost_weight = uniform();
            let loading: Vec<f64> = variance.iter().map(|v| v.sqrt() * (0.5 + 0.4 * uniform())).collect();
            let own: Vec<f64> = variance.iter().zip(&loading).map(|(v, b)| v - b * b).collect();
            let entry = |i: usize, j: usize| loading[i] * loading[j] + if i == j { own[i] } else { 0.0 };
            let covariance = (0..k * k).map(|at| entry(at / k, at % k)).collect();
            Input { quality, cost, variance, loading, own, covariance, cost_weight }
        })
        .collect()
}

fn time<R: Rule>(
    criterion: &mut Criterion,
    group: &str,
    sizes: &[usize],
    hard: bool,
    spread: Spread,
    rule: impl Fn(f64, usize) -> R,
) {
    let mut group = criterion.benchmark_group(group);
    for &k in sizes {
        let inputs = inputs(k, hard);
        let rules: Vec<R> = inputs.iter().map(|input| rule(input.cost_weight, k)).collect();
        let mut workspace = Workspace::default();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(k), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % N_PROBLEMS;
                let input = &inputs[at];
                let belief = Belief::new(&input.quality, spread(input));
                let problem = belief.and_then(|belief| Problem::new(belief, &input.cost)).unwrap();
                black_box(rules[at].select(&problem, &mut workspace).unwrap())
            });
        });
    }
    group.finish();
}

fn decisions(criterion: &mut Criterion) {
    let sizes = [2, 5, 11, 20, 50, 100];
    let routing = |weight, k, max_depth: usize| {
        let limits = Limits { max_depth: max_depth.min(k), node_limit: 100_000 };
        CascadeRouting::new(weight, limits, 1.0).unwrap()
    };
    for (name, spread) in [("", INDEPENDENT), ("/one factor", ONE_FACTOR), ("/covariance", CORRELATED)] {
        let sizes = if name.is_empty() { &sizes[..] } else { &[5, 11, 20] };
        let hard_sizes = if name.is_empty() { &[5, 11, 20, 40] } else { sizes };
        let (typical, hard) =
            (format!("cascade_routing/typical{name}"), format!("cascade_routing/hard{name}"));
        time(criterion, &typical, sizes, false, spread, |weight, k| routing(weight, k, k));
        time(criterion, &hard, hard_sizes, true, spread, |weight, k| routing(weight, k, 5));
    }
    let cascade = |weight, k| Cascade::new(weight, None, k, 1.0).unwrap();
    time(criterion, "cascade", &sizes, false, INDEPENDENT, cascade);
    time(criterion, "index", &sizes, false, INDEPENDENT, |weight, _| IndexRule::new(weight, 1.0).unwrap());
    time(criterion, "routing", &sizes, false, INDEPENDENT, |weight, _| Routing::new(weight).unwrap());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(500));
    targets = decisions
}
criterion_main!(benches);
