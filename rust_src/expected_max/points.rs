//! Points of the standard normal distribution in up to 128 dimensions, spread more evenly than random ones.
//!
//! Eight replicates of one Sobol sequence, each shifted by its own random bits (fixed seed), mapped through the normal
//! quantile, and centred per replicate and dimension, which makes the linear part of any function exact. Within a replicate
//! the points are a digital net; the replicates are independent, so that the spread of their means estimates the error.

use super::sobol_directions::SOBOL_DIRECTIONS;
use crate::normal::quantile;

/// Independently shifted copies of the sequence.
pub const N_REPLICATES: usize = 8;

/// Bits of a coordinate.
const BITS: usize = 32;

/// Seed of the random shifts.
const SEED: u64 = 0x6865_6164_7261_6365;

/// Columns of points, one per dimension, computed when first asked for.
#[derive(Debug, Clone)]
pub struct NormalPoints {
    per_replicate: usize,
    columns: Vec<Vec<f64>>,
}

impl NormalPoints {
    /// Points in replicates of `per_replicate` each, a power of two.
    pub fn new(per_replicate: usize) -> Self {
        debug_assert!(per_replicate.is_power_of_two());
        Self { per_replicate, columns: Vec::new() }
    }

    /// Number of points, all replicates together.
    pub fn len(&self) -> usize {
        self.per_replicate * N_REPLICATES
    }

    /// Are there no points?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Points per replicate; a replicate's points are neighbours in a column.
    pub fn per_replicate(&self) -> usize {
        self.per_replicate
    }

    /// Makes sure that the first `n` dimensions are there.
    pub fn grow(&mut self, n: usize) {
        while self.columns.len() < n.min(SOBOL_DIRECTIONS.len()) {
            self.columns.push(column(self.columns.len(), self.per_replicate));
        }
    }

    /// The coordinates of all points in one dimension that [`grow`](Self::grow) has made.
    pub fn column(&self, dimension: usize) -> &[f64] {
        &self.columns[dimension]
    }
}

fn column(dimension: usize, per_replicate: usize) -> Vec<f64> {
    let directions = direction_numbers(dimension);
    let mut column = Vec::with_capacity(per_replicate * N_REPLICATES);
    for replicate in 0..N_REPLICATES {
        let shift = random_bits((dimension * N_REPLICATES + replicate) as u64);
        let mut coordinate = 0_u32;
        for index in 0..per_replicate {
            // The centre of the cell of width 2^-32 keeps clear of 0 and 1.
            let uniform = (f64::from(coordinate ^ shift) + 0.5) * 0.5_f64.powi(32);
            column.push(quantile(uniform));
            // Gray code order: one bit of the index changes, one direction number enters or leaves.
            coordinate ^= directions[(index + 1).trailing_zeros() as usize % BITS];
        }
    }
    for replicate in column.chunks_exact_mut(per_replicate) {
        let mean = replicate.iter().sum::<f64>() / replicate.len() as f64;
        for z in replicate {
            *z -= mean;
        }
    }
    column
}

/// The 32 direction numbers of one dimension, by the recurrence of its primitive polynomial.
fn direction_numbers(dimension: usize) -> [u32; BITS] {
    let (polynomial, initial) = SOBOL_DIRECTIONS[dimension];
    let mut directions = [0_u32; BITS];
    if dimension == 0 {
        // The first dimension is van der Corput's sequence.
        for (bit, direction) in directions.iter_mut().enumerate() {
            *direction = 1 << (BITS - 1 - bit);
        }
        return directions;
    }
    let degree = initial.len();
    for (bit, &m) in initial.iter().enumerate() {
        directions[bit] = u32::from(m) << (BITS - 1 - bit);
    }
    for bit in degree..BITS {
        let mut direction = directions[bit - degree] ^ (directions[bit - degree] >> degree);
        for term in 1..degree {
            if polynomial >> (degree - term) & 1 == 1 {
                direction ^= directions[bit - term];
            }
        }
        directions[bit] = direction;
    }
    directions
}

/// The `index`-th output of the `SplitMix64` generator, its upper 32 bits.
fn random_bits(index: u64) -> u32 {
    let mut z = SEED.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dimension_fills_every_cell_once() {
        // The net property in one dimension: 2^m points fall one into each of 2^m equal cells.
        for dimension in 0..SOBOL_DIRECTIONS.len() {
            let directions = direction_numbers(dimension);
            let mut coordinate = 0_u32;
            let mut seen = [false; 256];
            for index in 0_usize..256 {
                seen[(coordinate >> 24) as usize] = true;
                coordinate ^= directions[(index + 1).trailing_zeros() as usize];
            }
            assert!(seen.iter().all(|&s| s), "dimension {dimension}");
        }
    }

    #[test]
    fn pairs_of_dimensions_fill_the_square() {
        // 2^8 points, 16 x 16 cells: the first two dimensions form a (0, 8, 2)-net; others leave few cells empty.
        let (x, y) = (direction_numbers(0), direction_numbers(1));
        let (mut a, mut b) = (0_u32, 0_u32);
        let mut seen = [false; 256];
        for index in 0_usize..256 {
            seen[((a >> 28) * 16 + (b >> 28)) as usize] = true;
            let bit = (index + 1).trailing_zeros() as usize;
            a ^= x[bit];
            b ^= y[bit];
        }
        assert!(seen.iter().all(|&s| s));
    }

    #[test]
    fn columns_look_normal() {
        let mut points = NormalPoints::new(128);
        points.grow(128);
        for dimension in [0, 1, 17, 127] {
            let column = points.column(dimension);
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            let variance = column.iter().map(|z| z * z).sum::<f64>() / column.len() as f64;
            assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 0.02, "{dimension}: {mean} {variance}");
        }
    }
}
