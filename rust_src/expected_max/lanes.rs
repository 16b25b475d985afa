//! The innermost loops, compiled a second time for processors with AVX2 and chosen when the program runs.
//!
//! Both versions are the same source, sum in the same order, and contract no product and sum into one rounding, so they give
//! the same bits. Built with `RUSTFLAGS="--cfg headrace_plain"`, the plain version alone is there.

// What is not inlined is not compiled a second time.
#![allow(clippy::inline_always)]

use crate::normal::{TailTable, larger, logarithm};

/// Interleaved parts of a sum: the order is fixed, and enough parts are under way to keep the adders busy.
const N_PARTS: usize = 8;

/// Where a CDF counts as zero: above the error of its table.
pub(super) const LEAST_CDF: f64 = 1e-9;

/// Defines a function and, where the processor may have AVX2, its second version.
macro_rules! in_lanes {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        #[inline]
        pub(super) fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(all(target_arch = "x86_64", not(headrace_plain)))]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($arg: $type),*) $(-> $result)? {
                    $name::plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // The processor has what the version needs: asked on the line above.
                    #[allow(unsafe_code)]
                    return unsafe { with_avx2($($arg),*) };
                }
            }
            $name::plain($($arg),*)
        }

        mod $name {
            #[allow(clippy::wildcard_imports, unused_imports)]
            use super::*;

            #[inline(always)]
            pub(super) fn plain($($arg: $type),*) $(-> $result)? $body
        }
    };
}

pub(crate) use in_lanes;

/// Sum of some term of two rows of the same length.
#[inline(always)]
fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut parts = [0.0; N_PARTS];
    let (a_blocks, b_blocks) = (a.chunks_exact(N_PARTS), b.chunks_exact(N_PARTS));
    let rest: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(x, y)| term(*x, *y)).sum();
    for (x, y) in a_blocks.zip(b_blocks) {
        for lane in 0..N_PARTS {
            parts[lane] += term(x[lane], y[lane]);
        }
    }
    parts.iter().sum::<f64>() + rest
}

in_lanes! {
    /// Inner product.
    fn dot(a: &[f64], b: &[f64]) -> f64 {
        sum_of(a, b, |x, y| x * y)
    }
}

in_lanes! {
    /// -ln(1 - tail), per node.
    fn fill_hazards(hazards: &mut [f64], tail: &[f64]) {
        for (hazard, tail) in hazards.iter_mut().zip(tail) {
            *hazard = -logarithm((1.0 - tail).max(LEAST_CDF));
        }
    }
}

in_lanes! {
    /// P(Q > t) at each node t, for Q ~ Normal(mean, 1 / `per_sd`^2).
    fn fill_tails(tails: &mut [f64], node: &[f64], mean: f64, per_sd: f64) {
        let table = TailTable::get();
        for (tail, t) in tails.iter_mut().zip(node) {
            *tail = table.upper_tail((t - mean) * per_sd);
        }
    }
}

in_lanes! {
    /// product (1 - tail), per node.
    fn fill_products(next: &mut [f64], product: &[f64], tail: &[f64]) {
        for ((next, product), tail) in next.iter_mut().zip(product).zip(tail) {
            *next = product - product * tail;
        }
    }
}

in_lanes! {
    /// Sum.
    fn sum(values: &[f64]) -> f64 {
        sum_of(values, values, |x, _| x)
    }
}

in_lanes! {
    /// Moves each level as near to the middle as it may without passing the highest.
    fn raise(level: &mut [f64], middle: f64, highest: &[f64]) {
        for (level, highest) in level.iter_mut().zip(highest) {
            let aim = if *highest < middle { *highest } else { middle };
            *level = larger(*level, aim);
        }
    }
}

in_lanes! {
    /// Moves each level part of the way to the interval between two rows.
    fn approach(level: &mut [f64], part: f64, from: &[f64], to: &[f64]) {
        for (level, (from, to)) in level.iter_mut().zip(from.iter().zip(to)) {
            let above = larger(*level, *from);
            let inside = if *to < above { *to } else { above };
            *level += part * (inside - *level);
        }
    }
}

in_lanes! {
    /// Sum of (sample - level)+.
    fn sum_of_excesses(samples: &[f64], level: &[f64]) -> f64 {
        sum_of(samples, level, |x, y| larger(x - y, 0.0))
    }
}

in_lanes! {
    /// The larger of two rows, point by point.
    fn fill_larger(next: &mut [f64], a: &[f64], b: &[f64]) {
        for ((next, a), b) in next.iter_mut().zip(a).zip(b) {
            *next = larger(*a, *b);
        }
    }
}

in_lanes! {
    /// Enters another row into the highest and the second highest of some rows, point by point.
    fn rank(second: &mut [f64], first: &mut [f64], samples: &[f64]) {
        for ((second, first), sample) in second.iter_mut().zip(first).zip(samples) {
            let lower = if *first < *sample { *first } else { *sample };
            *second = larger(*second, lower);
            *first = larger(*first, *sample);
        }
    }
}

in_lanes! {
    /// Adds the multiples of four columns, point by point.
    fn add_multiples(samples: &mut [f64], by: [f64; 4], z: [&[f64]; 4]) {
        let columns = z[0].iter().zip(z[1]).zip(z[2].iter().zip(z[3]));
        for (sample, ((z0, z1), (z2, z3))) in samples.iter_mut().zip(columns) {
            *sample += (by[0] * z0 + by[1] * z1) + (by[2] * z2 + by[3] * z3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knuth's linear congruential generator, its upper 53 bits, between -1 and 1.
    fn uniforms() -> impl FnMut() -> f64 {
        let mut state = 1_u64;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        }
    }

    type Change<'a> = &'a dyn Fn(&mut [f64]);

    fn bits(row: &[f64]) -> Vec<u64> {
        row.iter().map(|x| x.to_bits()).collect()
    }

    /// The same bits, so the same decisions: nothing else depends on the processor.
    #[test]
    fn both_versions_give_the_same_bits() {
        let mut uniform = uniforms();
        for case in 0..20_000 {
            let n = case % 67;
            let mut row = || (0..n).map(|_| 4.0 * uniform()).collect::<Vec<f64>>();
            let (a, b, c, d) = (row(), row(), row(), row());
            let tails: Vec<f64> = b.iter().map(|x| 0.5 + 0.125 * x).collect();
            let by = [0.3, -0.7, 1.1, 0.0];
            let sums = [
                (dot(&a, &b), dot::plain(&a, &b)),
                (sum(&a), sum::plain(&a)),
                (sum_of_excesses(&a, &b), sum_of_excesses::plain(&a, &b)),
            ];
            assert!(sums.iter().all(|(fast, plain)| fast.to_bits() == plain.to_bits()), "{n}: {sums:?}");
            let pairs: [(Change<'_>, Change<'_>); 7] = [
                (&|row| fill_tails(row, &a, 0.1, 1.7), &|row| fill_tails::plain(row, &a, 0.1, 1.7)),
                (&|row| fill_hazards(row, &tails), &|row| fill_hazards::plain(row, &tails)),
                (&|row| fill_products(row, &a, &tails), &|row| fill_products::plain(row, &a, &tails)),
                (&|row| fill_larger(row, &a, &b), &|row| fill_larger::plain(row, &a, &b)),
                (&|row| raise(row, 0.3, &a), &|row| raise::plain(row, 0.3, &a)),
                (&|row| approach(row, 0.4, &a, &b), &|row| approach::plain(row, 0.4, &a, &b)),
                (&|row| add_multiples(row, by, [&a, &b, &d, &tails]), &|row| {
                    add_multiples::plain(row, by, [&a, &b, &d, &tails]);
                }),
            ];
            for (at, (fast, plain)) in pairs.iter().enumerate() {
                let (mut left, mut right) = (c.clone(), c.clone());
                fast(&mut left);
                plain(&mut right);
                assert_eq!(bits(&left), bits(&right), "row change {at} of length {n}");
            }
            let (mut second, mut first) = (c.clone(), c.clone());
            let (mut plain_second, mut plain_first) = (c.clone(), c.clone());
            for samples in [&a, &b, &d] {
                rank(&mut second, &mut first, samples);
                rank::plain(&mut plain_second, &mut plain_first, samples);
            }
            assert_eq!((bits(&second), bits(&first)), (bits(&plain_second), bits(&plain_first)));
        }
    }
}
