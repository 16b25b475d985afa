//! Which model to run next, or whether to stop: routing and cascading as one rule.
//!
//! **The problem.** k models can answer a query. Each has an estimated quality and cost; running one reveals an answer,
//! changes the estimates, and costs. Find the policy with the highest expected quality of the final answer for a given
//! expected cost. Dekoninck, Baader and Vechev, "A unified approach to routing and cascading for LLMs" (ICML 2025), show
//! that the optimum picks, at every step, the *supermodel* (set of models to have run) with the best tradeoff.
//!
//! | symbol | in code | meaning |
//! |---|---|---|
//! | mu (k) | `quality` | estimated quality of each model's answer, given all outputs seen so far |
//! | Sigma (k x k) or its diagonal | `covariance`, `variance` | variance of (estimate once the plan has run) - (estimate now) |
//! | b (k) | `loading` | loadings on a factor that all share: Sigma = b b' + diag(`variance`) |
//! | c (k) | `cost` | estimated cost of running model j now; what has run is sunk |
//! | lambda >= 0 | `cost_weight` | quality that one unit of cost is worth |
//! | R | `run` | models that have run |
//! | S | `plan` | a set of models with R inside it |
//! | v(S) | `value` | E[max over i in S of `Q_i`], Q ~ Normal(mu, Sigma) |
//! | tau(S) | `tradeoff` | v(S) - lambda (cost of S minus R) |
//!
//! **The map.** [`belief`] checks the numbers; [`expected_max`] values sets; [`search`] finds the best set; [`rule`] turns
//! it into the next model; [`calibrate`] finds what every cost weight would do; [`batch`] does both for many queries over
//! threads. [`gaussian`] conditions on what is known after a run set; [`ridge`] regresses, and
//! [`linear`] estimates; [`text`] makes numbers of a query; [`normal`],
//! [`model_set`] and [`error`] are what they say; `far_off` keeps hopeless models from blurring the others. With the feature `python`, `py` shows all that to Python.

pub mod batch;
pub mod belief;
pub mod calibrate;
pub mod error;
pub mod expected_max;
mod far_off;
pub mod gaussian;
pub mod linear;
pub mod model_set;
pub mod normal;
pub mod ridge;
pub mod rule;
pub mod search;
pub mod text;

#[cfg(feature = "python")]
mod py;
