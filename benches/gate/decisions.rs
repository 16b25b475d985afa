//! The decisions whose instructions the gate counts: `make gate` runs this under callgrind, one case per process.
//!
//! Without an argument: prints the names of the cases. With a name: decides the 64 problems of that case twice, once to
//! warm the workspace, once inside [`counted`], where the counting is switched on.

#[path = "../inputs/mod.rs"]
mod inputs;

use std::hint::black_box;

use headrace::calibrate::ProfiledRule;
use headrace::expected_max::expected_max;
use headrace::rule::{Cascade, CascadeRouting, IndexRule, Rule, Workspace};
use headrace::search::Limits;
use inputs::{CORRELATED, INDEPENDENT, Input, ONE_FACTOR, Spread, inputs};

type Decide = fn(&Case, &Input, &mut Workspace);

struct Case {
    name: &'static str,
    n_models: usize,
    hard: bool,
    spread: Spread,
    decide: Decide,
}

const fn case(name: &'static str, n_models: usize, hard: bool, spread: Spread, decide: Decide) -> Case {
    Case { name, n_models, hard, spread, decide }
}

const CASES: [Case; 13] = [
    case("typical-2", 2, false, INDEPENDENT, route),
    case("typical-5", 5, false, INDEPENDENT, route),
    case("typical-11", 11, false, INDEPENDENT, route),
    case("typical-100", 100, false, INDEPENDENT, route),
    case("hard-5", 5, true, INDEPENDENT, route),
    case("hard-11", 11, true, INDEPENDENT, route),
    case("hard-20", 20, true, INDEPENDENT, route),
    case("one-factor-11", 11, false, ONE_FACTOR, route),
    case("covariance-11", 11, false, CORRELATED, route),
    case("cascade-11", 11, true, INDEPENDENT, cascade),
    case("index-100", 100, false, INDEPENDENT, index),
    case("profile-5", 5, true, INDEPENDENT, profile),
    case("expected-max-11", 11, true, INDEPENDENT, value),
];

/// The paper's inputs without a limit on depth, the hard ones with at most five models.
fn limits(case: &Case) -> Limits {
    let max_depth = if case.hard { case.n_models.min(5) } else { case.n_models };
    Limits { max_depth, node_limit: u64::MAX }
}

fn route(case: &Case, input: &Input, workspace: &mut Workspace) {
    let rule = CascadeRouting::new(input.cost_weight, limits(case), 1.0).expect("a rule");
    black_box(rule.select(&input.problem(case.spread), workspace).expect("a decision"));
}

fn cascade(case: &Case, input: &Input, workspace: &mut Workspace) {
    let rule = Cascade::new(input.cost_weight, None, case.n_models, 1.0).expect("a rule");
    black_box(rule.select(&input.problem(case.spread), workspace).expect("a decision"));
}

fn index(case: &Case, input: &Input, workspace: &mut Workspace) {
    let rule = IndexRule::new(input.cost_weight, 1.0).expect("a rule");
    black_box(rule.select(&input.problem(case.spread), workspace).expect("a decision"));
}

fn profile(case: &Case, input: &Input, workspace: &mut Workspace) {
    let rule = CascadeRouting::new(0.0, limits(case), 1.0).expect("a rule");
    let mut pieces = Vec::with_capacity(64);
    rule.profile(&input.problem(case.spread), 0.0, f64::INFINITY, workspace, &mut pieces).expect("a profile");
    black_box(pieces);
}

fn value(case: &Case, input: &Input, _: &mut Workspace) {
    black_box(expected_max(&input.problem(case.spread).belief, 1.0).expect("a value"));
}

#[inline(never)]
fn counted(case: &Case, inputs: &[Input], workspace: &mut Workspace) {
    for input in inputs {
        (case.decide)(case, input, workspace);
    }
}

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        for case in &CASES {
            println!("{}", case.name);
        }
        return;
    };
    let case = CASES.iter().find(|case| case.name == name).expect("the name of a case");
    let inputs = inputs(case.n_models, case.hard);
    let mut workspace = Workspace::default();
    for input in &inputs {
        (case.decide)(case, input, &mut workspace);
    }
    counted(case, &inputs, &mut workspace);
}
