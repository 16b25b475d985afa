//! A text as a few numbers: its hashed runs of bytes, weighted by tf-idf, in given directions.
//!
//! Every run of 4 bytes is hashed to one of 2^b buckets (Weinberger et al., ICML 2009). With c the counts of the buckets, r
//! their rarities and D their directions, the vector is (sum of log(1 + c) D) / |log(1 + c) r|.
//!
//! **Cost.** O(bytes + 2^b + buckets met x directions). **Determinism.** Buckets are added in increasing order.

/// Bytes of a run.
const RUN: usize = 4;

/// Knuth's multiplier for 32 bits (the prime next to 2^32 / golden ratio).
const MULTIPLIER: u32 = 2_654_435_761;

/// A text of a smaller length is as good as empty.
const LEAST_LENGTH: f64 = 1e-7;

/// Adds the vector of a text to `vector`, which is zero. There are as many `rarity` as buckets, a power of two, and a row of
/// `directions` for each, in single precision, which halves what a text has to fetch; `counts` is a buffer.
pub fn project(text: &[u8], rarity: &[f64], directions: &[f32], counts: &mut Vec<u32>, vector: &mut [f64]) {
    let n_buckets = rarity.len();
    let shift = u32::BITS - n_buckets.trailing_zeros();
    counts.clear();
    counts.resize(n_buckets, 0);
    for run in text.windows(RUN) {
        let number = run.iter().rev().fold(0, |number: u32, &byte| number << 8 | u32::from(byte));
        counts[(number.wrapping_mul(MULTIPLIER) >> shift) as usize] += 1;
    }
    let mut square = 0.0;
    for (bucket, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let frequency = f64::from(count).ln_1p();
        let weight = frequency * rarity[bucket];
        square += weight * weight;
        let row = &directions[bucket * vector.len()..][..vector.len()];
        for (sum, direction) in vector.iter_mut().zip(row) {
            *sum += frequency * f64::from(*direction);
        }
    }
    let length = square.sqrt().max(LEAST_LENGTH);
    for number in vector {
        *number /= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_weighted_and_lengths_are_one() {
        // "abcdabcd" has the runs abcd (twice), bcda, cdab, dabc.
        let hash = |run: &[u8; 4]| (u32::from_le_bytes(*run).wrapping_mul(MULTIPLIER) >> 22) as usize;
        let (rarity, mut directions) = (vec![1.0; 1024], vec![0.0; 1024]);
        directions[hash(b"abcd")] = 1.0;
        let mut vector = [0.0];
        project(b"abcdabcd", &rarity, &directions, &mut vec![9; 3], &mut vector);
        let (once, twice) = (2_f64.ln(), 3_f64.ln());
        assert!((vector[0] - twice / (twice * twice + 3.0 * once * once).sqrt()).abs() < 1e-15);
        vector = [0.0];
        project(b"abc", &rarity, &directions, &mut Vec::new(), &mut vector);
        assert_eq!(vector, [0.0]);
    }
}
