//! Linear estimates of one query: what several regressions on the same features give, in one pass.

/// Regressions whose features lie side by side: `estimate = clip((features - average) * weights + intercept)`.
#[derive(Debug, Clone)]
pub struct Linear {
    average: Vec<f64>,
    /// A row per feature, an estimate per column; likewise `missing`.
    weights: Vec<f64>,
    missing: Vec<f64>,
    intercept: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Linear {
    /// Takes the regressions together.
    ///
    /// `missing` is what a missing feature (NaN) adds to each estimate, where a known one adds its distance from the
    /// average times its weight.
    ///
    /// # Panics
    ///
    /// If the lengths don't fit.
    #[must_use]
    pub fn new(
        average: Vec<f64>,
        [weights, missing]: [Vec<f64>; 2],
        [intercept, low, high]: [Vec<f64>; 3],
    ) -> Self {
        let n_estimates = intercept.len();
        assert!(low.len() == n_estimates && high.len() == n_estimates, "one range per estimate");
        assert!(weights.len() == average.len() * n_estimates, "a weight per feature and estimate");
        assert!(missing.len() == weights.len(), "as many as weights");
        Self { average, weights, missing, intercept, low, high }
    }

    /// Number of features.
    #[must_use]
    pub fn n_features(&self) -> usize {
        self.average.len()
    }

    /// Number of estimates.
    #[must_use]
    pub fn n_estimates(&self) -> usize {
        self.intercept.len()
    }

    /// Estimates from the features of one query.
    ///
    /// # Panics
    ///
    /// If there are fewer features than there should be.
    ///
    /// # Examples
    ///
    /// ```
    /// use headrace::linear::Linear;
    /// let weights = vec![1.0, -1.0, 0.5, 0.0];
    /// let ranges = [vec![0.5, 0.5], vec![0.0, 0.0], vec![1.0, 1.0]];
    /// let linear = Linear::new(vec![2.0, 10.0], [weights, vec![0.0; 4]], ranges);
    /// assert_eq!(linear.estimates(&[2.25, f64::NAN]), [0.75, 0.25]);
    /// assert_eq!(linear.estimates(&[2.25, 20.0]), [1.0, 0.25]);
    /// ```
    #[must_use]
    pub fn estimates(&self, features: &[f64]) -> Vec<f64> {
        let mut found = self.intercept.clone();
        let n = found.len();
        for (i, (&average, &feature)) in self.average.iter().zip(&features[..self.average.len()]).enumerate()
        {
            let row = i * n..(i + 1) * n;
            if feature.is_nan() {
                for (estimate, more) in found.iter_mut().zip(&self.missing[row]) {
                    *estimate += more;
                }
            } else {
                let centred = feature - average;
                for (estimate, weight) in found.iter_mut().zip(&self.weights[row]) {
                    *estimate += centred * weight;
                }
            }
        }
        for (estimate, (&low, &high)) in found.iter_mut().zip(self.low.iter().zip(&self.high)) {
            *estimate = estimate.max(low).min(high);
        }
        found
    }
}
