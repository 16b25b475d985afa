//! The numbers of one decision, from Python's arguments to the core's belief.

use pyo3::prelude::*;

use super::arrays::{read_matrix, read_numbers};
use super::errors::wrong_value;
use crate::belief::{Belief, Uncertainty};
use crate::error::Result;

/// The numbers of one decision, copied from Python.
#[derive(Default)]
pub struct BeliefArguments {
    pub quality: Vec<f64>,
    spread: Vec<f64>,
    loading: Vec<f64>,
    pub cost: Vec<f64>,
    kind: Spread,
}

#[derive(Default, Clone, Copy)]
enum Spread {
    #[default]
    None,
    Variance,
    Covariance,
    OneFactor,
}

impl BeliefArguments {
    /// Copies the arguments of a belief.
    pub fn read(
        &mut self,
        quality: &Bound<'_, PyAny>,
        variance: Option<&Bound<'_, PyAny>>,
        covariance: Option<&Bound<'_, PyAny>>,
        loading: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        goes_with_variance(variance.is_some(), loading.is_some())?;
        read_numbers("quality", quality, &mut self.quality)?;
        let k = self.quality.len();
        self.kind = match (variance, covariance) {
            (None, None) => Spread::None,
            (Some(variance), None) => {
                read_numbers("variance", variance, &mut self.spread)?;
                match loading {
                    None => Spread::Variance,
                    Some(loading) => {
                        read_numbers("loading", loading, &mut self.loading)?;
                        Spread::OneFactor
                    }
                }
            }
            (None, Some(covariance)) => {
                read_matrix("covariance", covariance, k, &mut self.spread)?;
                Spread::Covariance
            }
            (Some(_), Some(_)) => {
                return Err(wrong_value("covariance", "None where a variance is given", "both"));
            }
        };
        Ok(())
    }

    /// The belief that the core works on.
    pub fn belief(&self) -> Result<Belief<'_>> {
        let uncertainty = match self.kind {
            Spread::None => Uncertainty::Certain,
            Spread::Variance => Uncertainty::Independent(&self.spread),
            Spread::Covariance => Uncertainty::Correlated(&self.spread),
            Spread::OneFactor => Uncertainty::OneFactor { variance: &self.spread, loading: &self.loading },
        };
        Belief::new(&self.quality, uncertainty)
    }
}

/// Checks that a loading comes with a variance.
pub fn goes_with_variance(has_variance: bool, has_loading: bool) -> PyResult<()> {
    if has_loading && !has_variance {
        return Err(wrong_value("variance", "one where a loading is given", "None"));
    }
    Ok(())
}
