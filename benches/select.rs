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
    cost_weight: f64,
}

fn inputs(k: usize, hard: bool) -> Vec<Input> {
    let mut state = 1_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (spread, price) = if hard { (0.1, 0.02) } else { (1.0, 1.0) };
    (0..N_PROBLEMS)
        .map(|_| Input {
            quality: (0..k).map(|_| spread * uniform()).collect(),
            cost: (0..k).map(|_| price * uniform()).collect(),
            variance: (0..k).map(|_| if hard { (0.1 + 0.2 * uniform()).powi(2) } else { 0.01 }).collect(),
            cost_weight: uniform(),
        })
        .collect()
}

fn time<R: Rule>(
    criterion: &mut Criterion,
    group: &str,
    sizes: &[usize],
    hard: bool,
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
                let belief = Belief::new(&input.quality, Uncertainty::Independent(&input.variance));
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
    time(criterion, "cascade_routing/typical", &sizes, false, |weight, k| routing(weight, k, k));
    time(criterion, "cascade_routing/hard", &[5, 11, 20, 40], true, |weight, k| routing(weight, k, 5));
    time(criterion, "cascade", &sizes, false, |weight, k| Cascade::new(weight, None, k, 1.0).unwrap());
    time(criterion, "index", &sizes, false, |weight, _| IndexRule::new(weight, 1.0).unwrap());
    time(criterion, "routing", &sizes, false, |weight, _| Routing::new(weight).unwrap());
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .measurement_time(std::time::Duration::from_secs(2))
        .warm_up_time(std::time::Duration::from_millis(500));
    targets = decisions
}
criterion_main!(benches);
