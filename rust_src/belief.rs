//! What is believed of one query's models: a mean per model, and how far the estimates may still move.

use crate::error::{Error, Result};
use crate::model_set::{MAX_MODELS, ModelSet};

/// Asymmetry, and negative pivots, of a covariance up to this fraction of its largest variance count as rounding.
pub const COVARIANCE_TOLERANCE: f64 = 1e-9;

/// Largest magnitude of a quality, variance, covariance, loading or cost, and of the uncertainty scale: their sums, their
/// products and the squares of their differences stay finite.
pub const LARGEST_MAGNITUDE: f64 = 1e150;

/// How far the estimates may still move: the law of (estimate once the plan has run) - (estimate now).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Uncertainty<'a> {
    /// Not at all: the estimates are final.
    Certain,
    /// Independently, with these k variances.
    Independent(&'a [f64]),
    /// Jointly, with this k x k covariance, row by row.
    Correlated(&'a [f64]),
    /// Through one common factor and each on its own: the update of model j is `loading_j` Z + sqrt(`variance_j`) `e_j` with
    /// independent standard normals Z and `e_j`, so the covariance is loading loading' + diag(variance).
    OneFactor {
        /// The k variances of what is each model's own.
        variance: &'a [f64],
        /// The k loadings on the factor, of any sign.
        loading: &'a [f64],
    },
}

/// Means and uncertainty of k models' qualities for one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief<'a> {
    quality: &'a [f64],
    uncertainty: Uncertainty<'a>,
}

impl<'a> Belief<'a> {
    /// A belief about `quality.len()` models.
    ///
    /// # Errors
    /// No models or more than [`MAX_MODELS`]; a quality, variance, covariance or loading that is not finite or
    /// beyond [`LARGEST_MAGNITUDE`]; a negative variance; a length that doesn't fit. Whether a covariance is positive semi-definite shows when it is factored.
    pub fn new(quality: &'a [f64], uncertainty: Uncertainty<'a>) -> Result<Self> {
        let k = quality.len();
        if k == 0 {
            return Err(Error::NoModels);
        }
        if k > MAX_MODELS {
            return Err(Error::TooManyModels { got: k, limit: MAX_MODELS });
        }
        in_range("quality", quality, 1)?;
        match uncertainty {
            Uncertainty::Certain => {}
            Uncertainty::Independent(variance) => is_amount("variance", variance, k)?,
            Uncertainty::Correlated(covariance) => {
                has_length("covariance", covariance, k * k)?;
                in_range("covariance", covariance, k)?;
                is_symmetric(covariance, k)?;
            }
            Uncertainty::OneFactor { variance, loading } => {
                is_amount("variance", variance, k)?;
                has_length("loading", loading, k)?;
                in_range("loading", loading, 1)?;
            }
        }
        Ok(Self { quality, uncertainty })
    }

    /// A belief about as many models, of numbers made from those of this one.
    pub(crate) fn remade<'b>(&self, quality: &'b [f64], uncertainty: Uncertainty<'b>) -> Belief<'b> {
        debug_assert!(quality.len() == self.n_models());
        Belief { quality, uncertainty }
    }

    /// A belief of numbers that were checked as [`Self::new`] does it.
    #[cfg(all(feature = "python", not(feature = "abi3")))]
    pub(crate) fn of_checked(quality: &'a [f64], uncertainty: Uncertainty<'a>) -> Self {
        debug_assert!(Self::new(quality, uncertainty).is_ok());
        Self { quality, uncertainty }
    }

    /// Mean quality of each model.
    pub fn quality(&self) -> &'a [f64] {
        self.quality
    }

    /// How far the means may still move.
    pub fn uncertainty(&self) -> Uncertainty<'a> {
        self.uncertainty
    }

    /// Number of models.
    pub fn n_models(&self) -> usize {
        self.quality.len()
    }
}

/// Room for the numbers of some of a belief's models.
#[derive(Debug, Clone, Default)]
pub struct Part {
    quality: Vec<f64>,
    spread: Vec<f64>,
    loading: Vec<f64>,
}

impl Part {
    /// The belief about these models alone, in increasing order.
    pub fn of(&mut self, belief: &Belief<'_>, models: ModelSet) -> Belief<'_> {
        let per_model = |from: &[f64], to: &mut Vec<f64>| {
            to.clear();
            to.extend(models.iter().map(|j| from[j]));
        };
        per_model(belief.quality, &mut self.quality);
        let uncertainty = match belief.uncertainty {
            Uncertainty::Certain => Uncertainty::Certain,
            Uncertainty::Independent(variance) => {
                per_model(variance, &mut self.spread);
                Uncertainty::Independent(&self.spread)
            }
            Uncertainty::Correlated(covariance) => {
                let k = belief.n_models();
                self.spread.clear();
                self.spread
                    .extend(models.iter().flat_map(|i| models.iter().map(move |j| covariance[i * k + j])));
                Uncertainty::Correlated(&self.spread)
            }
            Uncertainty::OneFactor { variance, loading } => {
                per_model(variance, &mut self.spread);
                per_model(loading, &mut self.loading);
                Uncertainty::OneFactor { variance: &self.spread, loading: &self.loading }
            }
        };
        Belief { quality: &self.quality, uncertainty }
    }
}

/// Checks the length of an argument.
pub(crate) fn has_length(argument: &'static str, values: &[f64], expected: usize) -> Result<()> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(Error::Length { argument, expected, got: values.len() })
    }
}

/// Checks that no value is NaN, infinite or beyond [`LARGEST_MAGNITUDE`]; `width` values belong to each model.
pub(crate) fn in_range(argument: &'static str, values: &[f64], width: usize) -> Result<()> {
    let is_fine = |value: &f64| value.abs() <= LARGEST_MAGNITUDE;
    // Without a way out in the middle the loop is free of branches; nearly all numbers are fine.
    if values.iter().fold(true, |fine, value| fine & is_fine(value)) {
        return Ok(());
    }
    let Some(at) = values.iter().position(|value| !is_fine(value)) else { return Ok(()) };
    let (model, value) = (at / width, values[at]);
    Err(if value.is_finite() {
        Error::TooLarge { argument, model, value, limit: LARGEST_MAGNITUDE }
    } else {
        Error::NotFinite { argument, model, value }
    })
}

/// Checks that there is one value for each of k models, in range and not below zero.
pub(crate) fn is_amount(argument: &'static str, values: &[f64], k: usize) -> Result<()> {
    has_length(argument, values, k)?;
    if values.iter().fold(true, |fine, value| fine & (0.0..=LARGEST_MAGNITUDE).contains(value)) {
        return Ok(());
    }
    in_range(argument, values, 1)?;
    match values.iter().position(|&value| value < 0.0) {
        None => Ok(()),
        Some(model) => Err(Error::Negative { argument, model, value: values[model] }),
    }
}

fn is_symmetric(covariance: &[f64], k: usize) -> Result<()> {
    let largest = (0..k).map(|j| covariance[j * k + j].abs()).fold(0.0, f64::max);
    for row in 0..k {
        for column in 0..row {
            let (upper, lower) = (covariance[row * k + column], covariance[column * k + row]);
            if (upper - lower).abs() > COVARIANCE_TOLERANCE * largest {
                return Err(Error::NotSymmetric { row, column, upper, lower });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_numbers_are_named() {
        let quality = [0.5, 0.6];
        assert_eq!(Belief::new(&[], Uncertainty::Certain), Err(Error::NoModels));
        assert!(matches!(
            Belief::new(&[0.5, f64::NAN], Uncertainty::Certain),
            Err(Error::NotFinite { argument: "quality", model: 1, .. })
        ));
        assert_eq!(
            Belief::new(&[0.5, -1e151], Uncertainty::Certain),
            Err(Error::TooLarge { argument: "quality", model: 1, value: -1e151, limit: LARGEST_MAGNITUDE })
        );
        assert!(Belief::new(&[LARGEST_MAGNITUDE], Uncertainty::Independent(&[LARGEST_MAGNITUDE])).is_ok());
        assert_eq!(
            Belief::new(&quality, Uncertainty::Independent(&[0.1])),
            Err(Error::Length { argument: "variance", expected: 2, got: 1 })
        );
        assert_eq!(
            Belief::new(&quality, Uncertainty::Independent(&[0.1, -0.1])),
            Err(Error::Negative { argument: "variance", model: 1, value: -0.1 })
        );
        assert!(matches!(
            Belief::new(&quality, Uncertainty::Correlated(&[1.0, 0.2, 0.3, 1.0])),
            Err(Error::NotSymmetric { row: 1, column: 0, .. })
        ));
        assert!(matches!(
            Belief::new(
                &quality,
                Uncertainty::OneFactor { variance: &[0.1, 0.1], loading: &[0.1, f64::NAN] }
            ),
            Err(Error::NotFinite { argument: "loading", model: 1, .. })
        ));
        assert!(matches!(
            Belief::new(&[0.0; 129], Uncertainty::Certain),
            Err(Error::TooManyModels { got: 129, limit: 128 })
        ));
    }
}
