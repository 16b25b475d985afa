//! The threshold cascade: the classic baseline.

use super::{Decision, Rule, Workspace, check_order, order_for, setting};
use crate::error::Result;
use crate::search::Problem;

/// Runs the models of a fixed order and goes on while the quality of the last one run is below its threshold.
///
/// Optimal only under the conditions of Corollary 1 of Dekoninck et al. 2025.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdCascade {
    thresholds: Vec<f64>,
    order: Option<Vec<usize>>,
}

impl ThresholdCascade {
    /// A rule with one threshold per step of the order; one alone serves every step, and steps beyond the last stop.
    ///
    /// # Errors
    /// No threshold, or one that is NaN; an order with a repeated model.
    pub fn new(thresholds: Vec<f64>, order: Option<Vec<usize>>) -> Result<Self> {
        if thresholds.is_empty() || thresholds.iter().any(|t| t.is_nan()) {
            return Err(setting(
                "thresholds",
                "one number per step, or one for all",
                format!("{thresholds:?}"),
            ));
        }
        check_order(order.as_deref())?;
        // Without the sign of a zero.
        Ok(Self { thresholds: thresholds.into_iter().map(|t| t + 0.0).collect(), order })
    }

    /// The same order with one threshold for every step.
    #[must_use]
    pub fn with_threshold(&self, threshold: f64) -> Self {
        Self { thresholds: vec![threshold], order: self.order.clone() }
    }

    /// The model of the order that ran last, if one has run.
    pub(crate) fn last_run(&self, problem: &Problem<'_>) -> Result<Option<usize>> {
        let order = order_for(self.order(), problem)?;
        Ok(order.iter().copied().rfind(|&j| problem.run.contains(j)))
    }

    /// The thresholds.
    pub fn thresholds(&self) -> &[f64] {
        &self.thresholds
    }

    /// The order, if it is not that of the indices.
    pub fn order(&self) -> Option<&[usize]> {
        self.order.as_deref()
    }
}

impl Rule for ThresholdCascade {
    fn select(&self, problem: &Problem<'_>, _workspace: &mut Workspace) -> Result<Decision> {
        let open = problem.open()?;
        let order = order_for(self.order(), problem)?;
        let quality = problem.belief.quality();
        let last = order.iter().rposition(|&j| problem.run.contains(j));
        if let Some(last) = last {
            let threshold = match self.thresholds[..] {
                [shared] => shared,
                ref each => each.get(last).copied().unwrap_or(f64::NEG_INFINITY),
            };
            if quality[order[last]] >= threshold {
                return Ok(Decision::stop(problem));
            }
        }
        let ahead = &order[last.map_or(0, |last| last + 1)..];
        Ok(match ahead.iter().copied().find(|&j| open.contains(j)) {
            None if problem.run.is_empty() => return Err(crate::error::Error::NothingAllowed),
            None => Decision::stop(problem),
            Some(model) => {
                Decision::plain(Some(model), problem.run.with(model), quality[model], quality[model])
            }
        })
    }
}
