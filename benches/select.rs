//! Time of one decision, per rule, kind of problem and number of models: `cargo bench`.

#[path = "inputs/mod.rs"]
mod inputs;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Routing, Rule, Workspace};
use headrace::search::Limits;
use inputs::{CORRELATED, INDEPENDENT, N_PROBLEMS, ONE_FACTOR, Spread, inputs};

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
                black_box(rules[at].select(&input.problem(spread), &mut workspace).unwrap())
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
