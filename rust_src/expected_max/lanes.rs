//! The innermost loops, compiled a second time for processors with AVX2 and chosen when the program runs.
//!
//! Both versions are the same source, sum in the same order, and contract no product and sum into one rounding, so they give
//! the same bits. Built with `RUSTFLAGS="--cfg headrace_plain"`, the plain version alone is there.

use crate::normal::{TailTable, logarithm};

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
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $result)? $body

            #[cfg(all(target_arch = "x86_64", not(headrace_plain)))]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($arg: $type),*) $(-> $result)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // The processor has what the version needs: asked on the line above.
                    #[allow(unsafe_code)]
                    return unsafe { with_avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

/// The larger of two numbers, neither of which is NaN: one instruction, which the library's is not.
#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

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
    /// Inner product with -ln(1 - tail).
    fn dot_with_hazard(weight: &[f64], tail: &[f64]) -> f64 {
        -sum_of(weight, tail, |w, tail| w * logarithm((1.0 - tail).max(LEAST_CDF)))
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
