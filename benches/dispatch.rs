//! A fingerprint of a million decisions, bit for bit: `make dispatch` compares that of the kernels for newer processors with
//! that of the plain ones.
//!
//! Typical and hard problems of 2 to 11 models, independent and with a factor, with one model run or none.

use std::hash::{DefaultHasher, Hash, Hasher};

use headrace::belief::{Belief, Uncertainty};
use headrace::model_set::ModelSet;
use headrace::rule::{CascadeRouting, Rule, Workspace};
use headrace::search::{Limits, Problem};

const N_DECISIONS: u32 = 1_000_000;

// `index` is between 0 and 9.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn main() {
    let mut state = 7_u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut workspace, mut fingerprint) = (Workspace::default(), DefaultHasher::new());
    for case in 0..N_DECISIONS {
        let k = 2 + (uniform() * 10.0) as usize;
        let hard = uniform() < 0.5;
        let (spread, price, least, most) = if hard { (0.1, 0.02, 0.1, 0.3) } else { (1.0, 1.0, 0.1, 0.1) };
        let mut row =
            |low: f64, high: f64| (0..k).map(|_| low + (high - low) * uniform()).collect::<Vec<f64>>();
        let (quality, cost, loading) = (row(0.0, spread), row(0.0, price), row(-0.1, 0.1));
        let variance: Vec<f64> = row(least, most).iter().map(|sd| sd * sd).collect();
        let uncertainty = match case % 8 {
            0 => Uncertainty::OneFactor { variance: &variance, loading: &loading },
            _ => Uncertainty::Independent(&variance),
        };
        let limits = Limits { max_depth: 5, node_limit: u64::MAX };
        let rule = CascadeRouting::new(uniform(), limits, 1.0).expect("a rule");
        let mut problem =
            Problem::new(Belief::new(&quality, uncertainty).expect("a belief"), &cost).expect("costs");
        if uniform() < 0.3 {
            problem.run = ModelSet::of(0);
        }
        let decision = rule.select(&problem, &mut workspace).expect("a decision");
        (decision.next, decision.plan, decision.n_nodes).hash(&mut fingerprint);
        (decision.value.to_bits(), decision.tradeoff.to_bits()).hash(&mut fingerprint);
    }
    println!("{:016x}", fingerprint.finish());
}
