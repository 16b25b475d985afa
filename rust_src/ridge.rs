//! Ridge regressions of many targets on the same features, each at the penalty that generalised cross-validation chooses.
//!
//! With G = X'X of the features, c = X'y and a penalty p, the weights are w = (G + p)^-1 c. What is left of y has the squares
//!
//! - `|y - Xw|^2 = y'y - w'c - p |w|^2`, as w'Gw = w'c - p |w|^2,
//! - and the freedom `1 - (1 + tr G (G + p)^-1) / n`, of which the 1 is the intercept's.
//!
//! The error of generalised cross-validation is the one over the square of the other (Golub, Heath and Wahba, Technometrics 21,
//! 1979). All penalties are had from one tridiagonal matrix: G = Q T Q' by Householder reflections, O(d^3) once, after which a
//! penalty takes O(d) for the trace and O(d) for each target. No eigenvalues are needed.
//!
//! **Determinism.** Targets go through in blocks of fixed width, each by itself: same bits, whatever the other targets are.

// What is not inlined is not compiled a second time.
#![allow(clippy::inline_always)]

use crate::expected_max::in_lanes;

/// Targets that go through at a time: their columns stay in the nearest cache.
const WIDTH: usize = 32;

/// Columns whose sums stay in registers.
const STRIP: usize = 16;

/// A mean of 1 - leverage below this is rounding.
pub const LEAST_FREEDOM: f64 = 1e-10;

/// What the best penalties give; one entry per target but for `weights`.
#[derive(Debug, Clone, PartialEq)]
pub struct Regressed {
    /// One row per feature, one column per target.
    pub weights: Vec<f64>,
    /// Sum of the squares that are left.
    pub left: Vec<f64>,
    /// Mean of 1 - leverage.
    pub freedom: Vec<f64>,
}

/// Regresses targets on features.
///
/// `gram` has a row per feature, `pull` one row X'y per feature and one column per target, and `squares` has y'y, of `n` rows
/// without their means. Only the lower triangle of `gram` is read.
///
/// # Panics
///
/// If the lengths don't fit, or without a penalty.
///
/// # Examples
///
/// ```
/// use headrace::ridge::regress;
/// // One feature (1, -1, 1, -1), of which the target is twice.
/// let found = regress(vec![4.0], &[8.0], &[16.0], 4, &[0.0, 4.0]);
/// assert_eq!((found.weights, found.left, found.freedom), (vec![2.0], vec![0.0], vec![0.5]));
/// ```
#[must_use]
pub fn regress(gram: Vec<f64>, pull: &[f64], squares: &[f64], n: usize, penalties: &[f64]) -> Regressed {
    let n_targets = squares.len();
    let n_features = gram.len().isqrt();
    assert!(gram.len() == n_features * n_features, "a row and a column per feature");
    assert!(pull.len() == n_features * n_targets, "one entry per feature and target");
    assert!(!penalties.is_empty(), "at least one penalty");
    let similar = Tridiagonal::of(gram, n_features);
    let tries: Vec<Try> = penalties.iter().map(|&penalty| similar.with(penalty, n)).collect();
    let mut found = Regressed {
        weights: vec![0.0; pull.len()],
        left: vec![0.0; n_targets],
        freedom: vec![0.0; n_targets],
    };
    for begin in (0..n_targets).step_by(WIDTH) {
        let here = begin..n_targets.min(begin + WIDTH);
        let mut along = Vec::with_capacity(n_features * here.len());
        for row in pull.chunks_exact(n_targets) {
            along.extend_from_slice(&row[here.clone()]);
        }
        let mut block = Block::new(along, &squares[here.clone()]);
        block.regress(&similar, &tries);
        for (row, values) in
            block.best.chunks_exact(here.len()).zip(found.weights.chunks_exact_mut(n_targets))
        {
            values[here.clone()].copy_from_slice(row);
        }
        found.left[here.clone()].copy_from_slice(&block.left);
        found.freedom[here].copy_from_slice(&block.freedom);
    }
    found
}

/// T, and the reflections that make Q.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// Beside the diagonal; one entry fewer.
    beside: Vec<f64>,
    /// The vector v of reflection k, 1 - `factor[k]` v v', is row k, from column k + 1 on.
    reflections: Vec<f64>,
    factor: Vec<f64>,
}

impl Tridiagonal {
    /// Golub and Van Loan, Matrix Computations, section 8.3.1.
    fn of(mut matrix: Vec<f64>, d: usize) -> Self {
        let mut made = Self {
            diagonal: vec![0.0; d],
            beside: vec![0.0; d.saturating_sub(1)],
            reflections: vec![0.0; d * d],
            factor: vec![0.0; d.saturating_sub(2)],
        };
        let mut product = vec![0.0; d];
        for k in 0..d.saturating_sub(2) {
            let vector = &mut made.reflections[k * d + k + 1..(k + 1) * d];
            for (i, value) in vector.iter_mut().enumerate() {
                *value = matrix[(k + 1 + i) * d + k];
            }
            let first = vector[0];
            let rest: f64 = vector[1..].iter().map(|x| x * x).sum();
            let norm = (first * first + rest).sqrt();
            // Nothing to reflect: the vector stays, and its factor is zero.
            made.beside[k] = first;
            if rest > 0.0 {
                let turned = if first > 0.0 { -norm } else { norm };
                made.beside[k] = turned;
                vector[0] = first - turned;
                made.factor[k] = 2.0 / (vector[0] * vector[0] + rest);
                reflect(&mut matrix, d, k + 1, vector, made.factor[k], &mut product);
            }
        }
        for k in 0..d {
            made.diagonal[k] = matrix[k * d + k];
        }
        if d > 1 {
            made.beside[d - 2] = matrix[(d - 1) * d + d - 2];
        }
        made
    }

    /// Factors T + penalty.
    fn with(&self, penalty: f64, n: usize) -> Try {
        let d = self.diagonal.len();
        let mut tried = Try { penalty, per_pivot: vec![0.0; d], multiplier: vec![0.0; d], freedom: 0.0 };
        for k in 0..d {
            let shifted = self.diagonal[k] + penalty;
            let pivot = if k == 0 { shifted } else { shifted - self.beside[k - 1] * tried.multiplier[k - 1] };
            // Semi-definite but for rounding: without a penalty, a feature that follows from others gets no weight.
            tried.per_pivot[k] = if pivot > f64::EPSILON * shifted { pivot.recip() } else { 0.0 };
            tried.multiplier[k] = self.beside.get(k).map_or(0.0, |beside| beside * tried.per_pivot[k]);
        }
        // The diagonal of the inverse, from its end: u_k = 1 / pivot_k + (beside_k / pivot_k)^2 u_k+1.
        let (mut trace, mut entry) = (0.0, 0.0);
        for k in (0..d).rev() {
            entry = tried.per_pivot[k] + tried.multiplier[k] * tried.multiplier[k] * entry;
            trace += entry;
        }
        tried.freedom = (1.0 - (1.0 + d as f64 - penalty * trace) / n as f64).max(LEAST_FREEDOM);
        tried
    }
}

/// L D L' of T + penalty.
struct Try {
    penalty: f64,
    /// 1 / D.
    per_pivot: Vec<f64>,
    /// Below the diagonal of L.
    multiplier: Vec<f64>,
    freedom: f64,
}

/// Some targets on their way: rows of features, one column per target.
struct Block {
    width: usize,
    squares: Vec<f64>,
    /// X'y, then Q'X'y.
    along: Vec<f64>,
    weights: Vec<f64>,
    best: Vec<f64>,
    error: Vec<f64>,
    left: Vec<f64>,
    freedom: Vec<f64>,
}

impl Block {
    fn new(along: Vec<f64>, squares: &[f64]) -> Self {
        let (width, rows) = (squares.len(), vec![0.0; along.len()]);
        Self {
            width,
            squares: squares.to_vec(),
            along,
            weights: rows.clone(),
            best: rows,
            error: vec![f64::INFINITY; width],
            left: vec![0.0; width],
            freedom: vec![0.0; width],
        }
    }

    /// Finds the best weights.
    fn regress(&mut self, similar: &Tridiagonal, tries: &[Try]) {
        let (d, width) = (similar.diagonal.len(), self.width);
        let (mut told, mut size) = (vec![0.0; width], vec![0.0; width]);
        let vector = |k: usize| &similar.reflections[k * d + k + 1..(k + 1) * d];
        for (k, &factor) in similar.factor.iter().enumerate() {
            turn(&mut self.along[(k + 1) * width..], vector(k), factor, &mut told);
        }
        for tried in tries {
            solve(&mut self.weights, &self.along, &tried.multiplier, &tried.per_pivot, width);
            told.fill(0.0);
            size.fill(0.0);
            add_products(&mut told, &self.weights, &self.along);
            add_products(&mut size, &self.weights, &self.weights);
            for at in 0..width {
                let left = (self.squares[at] - told[at] - tried.penalty * size[at]).max(0.0);
                let error = left / (tried.freedom * tried.freedom);
                // As a number, where it says which weights to take.
                told[at] = f64::from(error < self.error[at]);
                if error < self.error[at] {
                    (self.error[at], self.left[at], self.freedom[at]) = (error, left, tried.freedom);
                }
            }
            if told.iter().any(|&mark| mark > 0.0) {
                take(&mut self.best, &self.weights, &told);
            }
        }
        for (k, &factor) in similar.factor.iter().enumerate().rev() {
            turn(&mut self.best[(k + 1) * width..], vector(k), factor, &mut told);
        }
    }
}

in_lanes! {
    /// Reflects the rows and columns of a symmetric matrix from `from` on: A - v w' - w v', w = p - factor / 2 (p'v) v, p = factor A v.
    fn reflect(matrix: &mut [f64], d: usize, from: usize, vector: &[f64], factor: f64, product: &mut [f64]) {
        let product = &mut product[..vector.len()];
        product.fill(0.0);
        for (i, &by) in vector.iter().enumerate() {
            let row = &matrix[(from + i) * d + from..][..vector.len()];
            for (sum, value) in product.iter_mut().zip(row) {
                *sum += by * value;
            }
        }
        let along: f64 = product.iter().zip(vector).map(|(p, v)| p * v).sum();
        let half = 0.5 * factor * factor * along;
        for (sum, v) in product.iter_mut().zip(vector) {
            *sum = factor * *sum - half * v;
        }
        for (i, (&v, &w)) in vector.iter().zip(product.iter()).enumerate() {
            let row = &mut matrix[(from + i) * d + from..][..vector.len()];
            for ((value, other_v), other_w) in row.iter_mut().zip(vector).zip(product.iter()) {
                *value -= v * other_w + w * other_v;
            }
        }
    }
}

in_lanes! {
    /// Reflects columns: x - factor (v'x) v.
    fn turn(rows: &mut [f64], vector: &[f64], factor: f64, along: &mut [f64]) {
        let width = along.len();
        along.fill(0.0);
        for (strip, sums) in along.chunks_mut(STRIP).enumerate() {
            if sums.len() == STRIP {
                let mut kept = [0.0; STRIP];
                for (row, v) in rows.chunks_exact(width).zip(vector) {
                    for (sum, value) in kept.iter_mut().zip(&row[strip * STRIP..][..STRIP]) {
                        *sum += v * value;
                    }
                }
                sums.copy_from_slice(&kept);
            } else {
                for (row, v) in rows.chunks_exact(width).zip(vector) {
                    for (sum, value) in sums.iter_mut().zip(&row[strip * STRIP..]) {
                        *sum += v * value;
                    }
                }
            }
        }
        for (row, v) in rows.chunks_exact_mut(width).zip(vector) {
            let by = factor * v;
            for (value, along) in row.iter_mut().zip(&*along) {
                *value -= by * along;
            }
        }
    }
}

in_lanes! {
    /// Solves L D L' x = b.
    fn solve(x: &mut [f64], b: &[f64], multiplier: &[f64], per_pivot: &[f64], width: usize) {
        x.copy_from_slice(b);
        for (k, by) in multiplier.iter().enumerate().take(per_pivot.len().saturating_sub(1)) {
            let (before, row) = x[k * width..(k + 2) * width].split_at_mut(width);
            for (value, before) in row.iter_mut().zip(before) {
                *value -= by * *before;
            }
        }
        for (k, (by, per_pivot)) in multiplier.iter().zip(per_pivot).enumerate().rev() {
            let (row, after) = x[k * width..].split_at_mut(width);
            for value in row.iter_mut() {
                *value *= per_pivot;
            }
            // The last row has none after it.
            for (value, after) in row.iter_mut().zip(after) {
                *value -= by * *after;
            }
        }
    }
}

in_lanes! {
    /// Adds the products of two tables, row by row.
    fn add_products(sums: &mut [f64], a: &[f64], b: &[f64]) {
        for (a, b) in a.chunks_exact(sums.len()).zip(b.chunks_exact(sums.len())) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += a * b;
            }
        }
    }
}

in_lanes! {
    /// Takes the columns that are marked by a number above zero.
    fn take(to: &mut [f64], from: &[f64], marks: &[f64]) {
        for (to, from) in to.chunks_exact_mut(marks.len()).zip(from.chunks_exact(marks.len())) {
            for ((to, from), mark) in to.iter_mut().zip(from).zip(marks) {
                *to = if *mark > 0.0 { *from } else { *to };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The inverse of a matrix, by Gauss-Jordan elimination.
    fn inverse(matrix: &[f64], d: usize) -> Vec<f64> {
        let mut left = matrix.to_vec();
        let mut right = vec![0.0; d * d];
        (0..d).for_each(|k| right[k * d + k] = 1.0);
        for k in 0..d {
            let pivot = left[k * d + k];
            for j in 0..d {
                left[k * d + j] /= pivot;
                right[k * d + j] /= pivot;
            }
            for i in (0..d).filter(|&i| i != k) {
                let by = left[i * d + k];
                for j in 0..d {
                    left[i * d + j] -= by * left[k * d + j];
                    right[i * d + j] -= by * right[k * d + j];
                }
            }
        }
        right
    }

    /// Row by row, and penalty by penalty: weights, squares left and freedom of one target.
    fn plain(rows: &[Vec<f64>], target: &[f64], penalties: &[f64]) -> (Vec<f64>, f64, f64) {
        let (n, d) = (rows.len(), rows[0].len());
        let tried = penalties.iter().map(|&penalty| {
            let mut gram = vec![0.0; d * d];
            for row in rows {
                (0..d * d).for_each(|at| gram[at] += row[at / d] * row[at % d]);
            }
            (0..d).for_each(|k| gram[k * d + k] += penalty);
            let inverse = inverse(&gram, d);
            let times = |x: &[f64]| -> Vec<f64> {
                inverse.chunks(d).map(|line| line.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
            };
            let pull: Vec<f64> =
                (0..d).map(|k| rows.iter().zip(target).map(|(row, y)| row[k] * y).sum()).collect();
            let weights = times(&pull);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let left = rows.iter().zip(target).map(|(row, y)| (y - dot(row, &weights)).powi(2)).sum::<f64>();
            let leverages = rows.iter().map(|row| dot(row, &times(row))).sum::<f64>();
            let freedom = 1.0 - (1.0 + leverages) / n as f64;
            (weights, left, freedom)
        });
        tried.min_by(|a, b| (a.1 / (a.2 * a.2)).total_cmp(&(b.1 / (b.2 * b.2)))).unwrap()
    }

    #[test]
    fn weights_are_those_of_plain_elimination() {
        let mut seed = 7_u64;
        let mut uniform = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        // More features than rows; blocks of targets that are full, and one that is not.
        for (n, d, n_targets) in [(9, 1, 1), (9, 2, 3), (12, 3, 33), (30, 11, 64), (8, 20, 5)] {
            let mut rows: Vec<Vec<f64>> = (0..n).map(|_| (0..d).map(|_| uniform()).collect()).collect();
            if d == 11 {
                // A feature that is another one, and one that is nothing.
                for row in &mut rows {
                    (row[4], row[7]) = (row[2], 0.0);
                }
            }
            let targets: Vec<Vec<f64>> = (0..n_targets)
                .map(|t| rows.iter().map(|row| row[0] * t as f64 + uniform()).collect())
                .collect();
            // Features and targets lose their means, whose freedom is the 1.
            for k in 0..d {
                let mean = rows.iter().map(|row| row[k]).sum::<f64>() / n as f64;
                for row in &mut rows {
                    row[k] -= mean;
                }
            }
            let penalties = [1e-3, 0.03, 1.0, 30.0];
            let mut gram = vec![0.0; d * d];
            let mut pull = vec![0.0; d * n_targets];
            for (at, row) in rows.iter().enumerate() {
                (0..d * d).for_each(|cell| gram[cell] += row[cell / d] * row[cell % d]);
                (0..d * n_targets).for_each(|c| pull[c] += row[c / n_targets] * targets[c % n_targets][at]);
            }
            let squares: Vec<f64> = targets.iter().map(|y| y.iter().map(|y| y * y).sum()).collect();
            let found = regress(gram, &pull, &squares, n, &penalties);
            for (t, target) in targets.iter().enumerate() {
                let (weights, left, freedom) = plain(&rows, target, &penalties);
                let got: Vec<f64> = (0..d).map(|k| found.weights[k * n_targets + t]).collect();
                assert!(
                    (found.left[t] - left).abs() < 1e-10 * squares[t],
                    "{n} {d}: {} {left}",
                    found.left[t]
                );
                assert!(
                    (found.freedom[t] - freedom).abs() < 1e-10,
                    "{n} {d}: {} {freedom}",
                    found.freedom[t]
                );
                let far = got.iter().zip(&weights).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(far < 1e-9 * (1.0 + t as f64), "{n} {d}: {got:?} {weights:?}");
            }
        }
        let nothing = regress(Vec::new(), &[], &[], 3, &[1.0]);
        assert!(nothing.weights.is_empty() && nothing.left.is_empty());
    }

    #[test]
    fn without_a_feature_all_is_left() {
        let found = regress(Vec::new(), &[], &[2.0, 3.0], 4, &[1.0]);
        assert_eq!((found.weights.len(), found.left, found.freedom), (0, vec![2.0, 3.0], vec![0.75; 2]));
    }
}
