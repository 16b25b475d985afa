//! Heap allocations of decisions, counted by an allocator of this test's own.

// An allocator can't be written without; it hands everything to the system's.
#![allow(unsafe_code)]

#[path = "../../benches/inputs/mod.rs"]
mod inputs;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use headrace::batch::{Batch, BatchUncertainty, Beliefs, Rows, select_batch};
use headrace::belief::{Belief, Uncertainty};
use headrace::expected_max::expected_max;
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Routing, Rule, ThresholdCascade, Workspace};
use headrace::search::{Limits, Problem, Stop};
use inputs::{CORRELATED, INDEPENDENT, Input, N_PROBLEMS, ONE_FACTOR, Spread, inputs};

thread_local! {
    /// Requests for memory on this thread, and the bytes asked for.
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(bytes: usize) {
    // A thread that ends has no counter any more.
    let _ = ASKED.try_with(|asked| {
        let (n, total) = asked.get();
        asked.set((n + 1, total + bytes));
    });
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Requests for memory, and bytes, while `work` runs on this thread.
fn asked(work: impl FnOnce()) -> (usize, usize) {
    let before = ASKED.get();
    work();
    let after = ASKED.get();
    (after.0 - before.0, after.1 - before.1)
}

fn decide_all<R: Rule>(rules: &[R], inputs: &[Input], spread: Spread, workspace: &mut Workspace) {
    for (rule, input) in rules.iter().zip(inputs) {
        rule.select(&input.problem(spread), workspace).unwrap();
    }
}

/// Requests for memory of the second of two passes over the same problems, for both kinds of them.
fn warm<R: Rule>(k: usize, spread: Spread, rule: impl Fn(&Input) -> R) -> usize {
    [false, true]
        .map(|hard| {
            let inputs = inputs(k, hard);
            let rules: Vec<R> = inputs.iter().map(&rule).collect();
            let mut workspace = Workspace::default();
            decide_all(&rules, &inputs, spread, &mut workspace);
            asked(|| decide_all(&rules, &inputs, spread, &mut workspace)).0
        })
        .iter()
        .sum()
}

fn routing(input: &Input) -> CascadeRouting {
    let limits = Limits { max_depth: 5, node_limit: 100_000 };
    CascadeRouting::new(input.cost_weight, limits, 1.0).unwrap()
}

#[test]
fn the_allocator_counts() {
    assert_eq!(asked(|| drop(std::hint::black_box(vec![0_u8; 1000]))), (1, 1000));
}

/// Allocations of one decision on a covariance: its Cholesky factor is made anew for every query.
const OF_A_FACTOR: usize = 3;

#[test]
fn a_warm_decision_allocates_nothing() {
    for k in [1, 2, 3, 5, 11, 16] {
        let beliefs = [
            ("independent", INDEPENDENT, 0),
            ("one factor", ONE_FACTOR, 0),
            ("covariance", CORRELATED, OF_A_FACTOR),
        ];
        for (name, spread, each) in beliefs {
            let most = each * 2 * N_PROBLEMS;
            let cascade = |input: &Input| Cascade::new(input.cost_weight, None, k, 1.0).unwrap();
            assert!(warm(k, spread, routing) <= most, "cascade routing, {k} models, {name}");
            assert!(warm(k, spread, cascade) <= most, "cascade, {k} models, {name}");
            let route = |input: &Input| Routing::new(input.cost_weight).unwrap();
            assert_eq!(warm(k, spread, route), 0, "routing, {k} models, {name}");
            let threshold = |input: &Input| ThresholdCascade::new(vec![input.cost_weight], None).unwrap();
            assert_eq!(warm(k, spread, threshold), 0, "threshold cascade, {k} models, {name}");
        }
        let index = |input: &Input| IndexRule::new(input.cost_weight, 1.0).unwrap();
        assert_eq!(warm(k, INDEPENDENT, index), 0, "index rule, {k} models");
    }
}

#[test]
fn a_workspace_stays_small() {
    // Bytes ever asked for are more than those kept: buffers grow by doubling.
    for (k, most) in [(5, 200_000), (16, 600_000)] {
        let inputs = inputs(k, true);
        let rules: Vec<CascadeRouting> = inputs.iter().map(routing).collect();
        let (_, bytes) = asked(|| decide_all(&rules, &inputs, INDEPENDENT, &mut Workspace::default()));
        println!("{k} models: {bytes} bytes");
        assert!(bytes < most, "{k} models: {bytes} bytes");
    }
}

/// Many models of many scales that share a factor, and the bytes that they ask for: the scales take thousands of nodes at each
/// node of the factor.
fn of_many_scales(largest_loading: f64, work: impl Fn(&Belief<'_>)) -> usize {
    let quality: Vec<f64> = (0..128).map(|j| f64::from(j % 7)).collect();
    let variance: Vec<f64> = (0..128).map(|j| [0.0, 1.0, 1e17, 1e9, 1e-9][j % 5]).collect();
    let loading: Vec<f64> = (0..128).map(|j| 0.1 * largest_loading * f64::from(j % 11)).collect();
    let uncertainty = Uncertainty::OneFactor { variance: &variance, loading: &loading };
    let belief = Belief::new(&quality, uncertainty).unwrap();
    let (_, bytes) = asked(|| work(&belief));
    println!("{bytes} bytes");
    bytes
}

#[test]
fn an_expected_maximum_of_many_scales_stays_small() {
    // Kinks that matter beside the largest deviation ask for the most nodes of the factor.
    let bytes = of_many_scales(1e8, |belief| assert!(expected_max(belief, 1.0).unwrap().value > 6.0));
    assert!(bytes < 300_000_000, "{bytes} bytes");
}

#[test]
fn a_search_of_many_scales_takes_few_nodes_of_a_factor_that_matters_little() {
    let rule = CascadeRouting::new(0.5, Limits { max_depth: 5, node_limit: 500 }, 1.0).unwrap();
    let cost: Vec<f64> = (0..128).map(|j| 0.01 * f64::from(j % 3)).collect();
    let bytes = of_many_scales(0.1, |belief| {
        let problem = Problem::new(*belief, &cost).unwrap();
        assert!(rule.select(&problem, &mut Workspace::default()).unwrap().value > 6.0);
    });
    assert!(bytes < 100_000_000, "{bytes} bytes");
}

/// Requests for memory of a batch of `n` queries, by all threads of a pool.
fn of_a_batch(n: usize, n_threads: usize) -> usize {
    let inputs = inputs(5, true);
    let column = |values: fn(&Input) -> &Vec<f64>| -> Vec<f64> {
        (0..n).flat_map(|query| values(&inputs[query % N_PROBLEMS]).iter().copied()).collect()
    };
    let (quality, cost, variance) = (column(|i| &i.quality), column(|i| &i.cost), column(|i| &i.variance));
    let batch = Batch {
        n_queries: n,
        n_models: 5,
        beliefs: Beliefs {
            quality: Rows::each(&quality, 5),
            uncertainty: BatchUncertainty::Independent(Rows::each(&variance, 5)),
        },
        cost: Rows::each(&cost, 5),
        run: &[],
        allowed: &[],
        max_cost: &[],
    };
    let rule = routing(&inputs[0]);
    let mut out = vec![None; n];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    let by_all = || pool.broadcast(|_| ASKED.get().0).iter().sum::<usize>();
    let before = by_all();
    pool.install(|| select_batch(&rule, &batch, &mut out, |d| d.next, Stop::default())).unwrap();
    by_all() - before
}

#[test]
fn a_batch_allocates_nothing_per_query() {
    assert_eq!(of_a_batch(640, 1), of_a_batch(64_000, 1));
    // How two threads share the work is theirs to settle; it is settled in tasks, not in queries.
    let shared = of_a_batch(64_000, 2);
    assert!(shared < 6_400, "{shared}");
}
