//! The normal distribution: density, tails, quantile, and the expected excess over a level.
//!
//! Accuracy: tails to 4 + z^2 units in the last place (they are `erfc` of the libm crate); the quantile to 1e-15 absolute, and
//! relative beyond 1, after one Halley step. Both are checked against mpmath in `tests/rust/golden.rs`. Tails by table to
//! 1e-10 absolute, checked against the others.

use std::sync::LazyLock;

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// 1 / sqrt(2 pi).
const DENSITY_AT_ZERO: f64 = 0.398_942_280_401_432_7;

/// Density of the standard normal distribution.
pub fn density(z: f64) -> f64 {
    DENSITY_AT_ZERO * (-0.5 * z * z).exp()
}

/// Natural logarithm of a positive normal number, to 2e-11: plain arithmetic, which the compiler spreads over vector lanes.
#[inline]
pub fn logarithm(x: f64) -> f64 {
    /// Bits of the mantissa.
    const MANTISSA: u32 = 52;
    /// Bits of the square root of one half: from it on up to the square root of two, the exponent is zero.
    const LOWEST: u64 = 0x3fe6_a09e_667f_3bcd;
    /// 2^52, to which small whole numbers are added to become floats.
    const WHOLE: u64 = 0x4330_0000_0000_0000;
    let above = x.to_bits().wrapping_sub(LOWEST);
    // The exponent, which may be negative, moved up by 2^11.
    let exponent = f64::from_bits((above >> MANTISSA ^ 0x800) | WHOLE) - f64::from_bits(WHOLE | 0x800);
    let mantissa = f64::from_bits((above & ((1 << MANTISSA) - 1)) + LOWEST);
    // ln m = 2 artanh((m - 1) / (m + 1)), by its series.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let t = s * s;
    let series = 1.0 + t * (1.0 / 3.0 + t * (0.2 + t * (1.0 / 7.0 + t * (1.0 / 9.0 + t * (1.0 / 11.0)))));
    exponent * std::f64::consts::LN_2 + 2.0 * s * series
}

/// P(Z > z) for standard normal Z.
pub fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// Where the table of tails ends: beyond, a tail is 0 or 1 to the last digit.
const TABLE_END: f64 = 8.5;

/// Entries of the table per unit of z.
const PER_UNIT: f64 = 64.0;

/// Number of entries of the table.
const N_ENTRIES: usize = 2 * 8 * 64 + 64 + 1;

/// P(Z > z) at evenly spaced z, for many arguments in a row.
#[derive(Debug)]
pub struct TailTable {
    /// Tail and density.
    entries: [(f64, f64); N_ENTRIES],
}

impl TailTable {
    /// The table, made when first asked for.
    pub fn get() -> &'static Self {
        static TABLE: LazyLock<TailTable> = LazyLock::new(|| TailTable {
            entries: std::array::from_fn(|at| {
                let z = at as f64 / PER_UNIT - TABLE_END;
                (upper_tail(z), density(z))
            }),
        });
        &TABLE
    }

    /// P(Z > z), by Taylor's series of third order around the nearest entry.
    ///
    /// Accuracy: 1e-10, as the fourth derivative is below 0.55 and the distance at most 1/128.
    // Twelve bits fit any index.
    #[allow(clippy::cast_possible_truncation)]
    #[inline]
    pub fn upper_tail(&self, z: f64) -> f64 {
        /// Added to a small positive number, 2^52 rounds it to a whole one, and leaves that in the lowest bits.
        const ROUND: f64 = 4_503_599_627_370_496.0;
        let z = z.clamp(-TABLE_END, TABLE_END);
        let rounded = (z + TABLE_END) * PER_UNIT + ROUND;
        let at = (rounded.to_bits() as usize & 0xfff).min(N_ENTRIES - 1);
        let nearest = (rounded - ROUND) / PER_UNIT - TABLE_END;
        let (tail, density) = self.entries[at];
        let d = z - nearest;
        tail - density * d * (1.0 - d * (0.5 * nearest - d * (nearest * nearest - 1.0) / 6.0))
    }
}

/// A standard deviation up to this one counts as zero: a distance of qualities, divided by it, might overflow.
pub const SMALLEST_SD: f64 = 1e-150;

/// E[(Q - level)+] for Q ~ Normal(mean, sd^2): what Q is expected to add on top of a certain `level`.
///
/// The same formula with the mean and the standard deviation of a difference gives the gain of one normal variable on
/// top of another (Clark 1961, "The greatest of a finite set of random variables", eq. 2).
pub fn excess(mean: f64, sd: f64, level: f64) -> f64 {
    let difference = mean - level;
    if sd <= SMALLEST_SD {
        return difference.max(0.0);
    }
    sd * unit_excess(-difference / sd)
}

/// Is E[(X)+] known to be below `price`, for an X of the given mean and variance? Neither a root nor a division is taken.
///
/// E[(X)+] = (mean + E|X|) / 2 <= (mean + sqrt(mean^2 + variance)) / 2, whatever the distribution.
#[inline]
pub(crate) fn is_excess_below(price: f64, mean: f64, variance: f64) -> bool {
    price > 0.0 && 4.0 * price * (price - mean) > variance
}

/// E[(Z - z)+] for standard normal Z; positive, decreasing, and convex in z.
pub fn unit_excess(z: f64) -> f64 {
    // Above about 40 both terms underflow; below, their difference is phi(z)/z^2 and loses a factor z^2 of precision.
    (density(z) - z * upper_tail(z)).max(0.0)
}

/// Upper bounds of [`excess`], without a transcendental function or a branch.
///
/// `unit_excess` is convex, so that its chords lie above it: by at most 5e-5, an eighth of the density times the square of
/// the spacing.
#[derive(Debug)]
pub struct ExcessChords {
    /// `unit_excess` at evenly spaced z; as many as an index of ten bits can name.
    entries: [f64; 1 << CHORD_BITS],
}

/// Where the chords end: beyond, the excess is that at the end, or -z, to 1e-16.
const CHORDS_END: f64 = 8.0;

/// Chords per unit of z.
const CHORDS_PER_UNIT: f64 = 32.0;

/// Number of chords.
const N_CHORDS: f64 = 2.0 * CHORDS_END * CHORDS_PER_UNIT;

/// Bits of an index of a chord.
const CHORD_BITS: u32 = 10;

impl ExcessChords {
    /// The table, made when first asked for.
    pub fn get() -> &'static Self {
        static TABLE: LazyLock<ExcessChords> = LazyLock::new(|| ExcessChords {
            entries: std::array::from_fn(|at| unit_excess(at as f64 / CHORDS_PER_UNIT - CHORDS_END)),
        });
        &TABLE
    }

    /// At least `excess(mean, sd, level)`, to rounding.
    // The lowest bits are an index.
    #[allow(clippy::cast_possible_truncation)]
    #[inline]
    pub fn bound(&self, mean: f64, sd: f64, level: f64) -> f64 {
        /// Added to a small positive number, 2^52 rounds it to a whole one, and leaves that in the lowest bits.
        const ROUND: f64 = 4_503_599_627_370_496.0;
        let difference = mean - level;
        // A step is a very steep normal.
        let place = (CHORDS_END - difference / larger(sd, f64::MIN_POSITIVE)) * CHORDS_PER_UNIT;
        let place = larger(place, 0.0);
        let place = if place < N_CHORDS { place } else { N_CHORDS };
        // The chord's right end: rounded up, but where that is a matter of rounding.
        let right = ((place + 0.5 + ROUND).to_bits() as usize & ((1 << CHORD_BITS) - 1)).max(1);
        let (above, below) = (self.entries[right - 1], self.entries[right]);
        // Left of the chords, the excess is the difference.
        larger(sd * (below + (right as f64 - place) * (above - below)), difference)
    }
}

/// The larger of two numbers, neither of which is NaN: one instruction, which the library's is not.
#[inline]
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// The z at which `unit_excess(z)` equals `target` > 0, by Newton's method on its logarithm.
///
/// `ln unit_excess` is concave and decreasing, so that Newton's iterates, after the first, come down to the root from
/// the right without overshooting.
pub fn inverse_unit_excess(target: f64) -> f64 {
    /// Results end here: the excess is 1.5e-301, and not much later it underflows.
    const LARGEST: f64 = 37.0;
    if target > 40.0 {
        // unit_excess(z) - (-z) is below 1e-300 there.
        return -target;
    }
    let logarithm = target.ln();
    let mut z = if target > 0.4 { -target } else { (-2.0 * logarithm).sqrt().min(LARGEST) };
    for _ in 0..64 {
        let excess = unit_excess(z);
        let step = (excess.ln() - logarithm) * excess / upper_tail(z);
        let next = (z + step).min(LARGEST);
        if !next.is_finite() || (next - z).abs() <= 1e-15 * z.abs().max(1.0) {
            break;
        }
        z = next;
    }
    z
}

/// The z at which P(Z <= z) = `probability`, for a probability from 1e-300 to 1 - 1e-16.
///
/// Acklam's rational approximation (relative error 1.2e-9), then one step of Halley's method.
pub fn quantile(probability: f64) -> f64 {
    if probability > 0.5 {
        return -quantile(1.0 - probability);
    }
    let z = quantile_start(probability);
    let error = upper_tail(-z) - probability;
    let newton = error * (2.0 * PI).sqrt() * (0.5 * z * z).exp();
    z - newton / (1.0 + 0.5 * z * newton)
}

/// Acklam's approximation of the quantile for probabilities up to one half.
fn quantile_start(probability: f64) -> f64 {
    /// Below this probability the approximation for the tail holds.
    const TAIL: f64 = 0.024_25;
    if probability < TAIL {
        let q = (-2.0 * probability.ln()).sqrt();
        return polynomial(
            q,
            &[
                -7.784_894_002_430_293e-3,
                -3.223_964_580_411_365e-1,
                -2.400_758_277_161_838,
                -2.549_732_539_343_734,
                4.374_664_141_464_968,
                2.938_163_982_698_783,
            ],
        ) / polynomial(
            q,
            &[
                7.784_695_709_041_462e-3,
                3.224_671_290_700_398e-1,
                2.445_134_137_142_996,
                3.754_408_661_907_416,
                1.0,
            ],
        );
    }
    let q = probability - 0.5;
    let r = q * q;
    q * polynomial(
        r,
        &[
            -3.969_683_028_665_376e1,
            2.209_460_984_245_205e2,
            -2.759_285_104_469_687e2,
            1.383_577_518_672_69e2,
            -3.066_479_806_614_716e1,
            2.506_628_277_459_239,
        ],
    ) / polynomial(
        r,
        &[
            -5.447_609_879_822_406e1,
            1.615_858_368_580_409e2,
            -1.556_989_798_598_866e2,
            6.680_131_188_771_972e1,
            -1.328_068_155_288_572e1,
            1.0,
        ],
    )
}

/// Horner's rule, highest power first.
fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_symmetric_and_the_quantile_inverts_them() {
        for p in [1e-300, 1e-20, 1e-6, 0.01, 0.024, 0.025, 0.3, 0.5, 0.7, 0.999] {
            let z = quantile(p);
            // At 1e-300 the rounding of z alone moves the tail by z^2 = 1400 units in the last place.
            assert!((upper_tail(-z) / p - 1.0).abs() <= 1e-12, "{p}: {z} {}", upper_tail(-z));
            assert!((upper_tail(z) + upper_tail(-z) - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn the_table_gives_the_tails() {
        let table = TailTable::get();
        let error = |z: f64| (table.upper_tail(z) - upper_tail(z)).abs();
        let worst = (-900_000..=900_000).map(|i| error(f64::from(i) * 1e-5)).fold(0.0, f64::max);
        assert!(worst < 1e-10, "{worst:e}");
        for z in [f64::MAX, 40.0, TABLE_END, -TABLE_END, -40.0, f64::MIN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(error(z) < 1e-16, "{z}");
        }
    }

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let worst = (0..=200_000)
            .map(|i| 1e-12 * (f64::from(i) * 2e-4).exp())
            .map(|x| (logarithm(x) - x.ln()).abs())
            .fold(0.0, f64::max);
        assert!(worst < 2e-11, "{worst:e}");
        assert_eq!(logarithm(1.0), 0.0);
    }

    #[test]
    fn excess_has_its_limits() {
        assert_eq!(excess(0.7, 0.0, 0.5), 0.7 - 0.5);
        assert_eq!(excess(0.3, 0.0, 0.5), 0.0);
        for sd in [5e-324, 1e-310, SMALLEST_SD] {
            assert_eq!((excess(0.7, sd, 0.5), excess(0.3, sd, 0.5)), (0.7 - 0.5, 0.0));
        }
        assert_eq!(excess(1e150, 1e-149, -1e150), 2e150);
        assert!((excess(2.0, 1e-3, 1.0) - 1.0).abs() < 1e-15);
        assert!((excess(0.0, 1.0, 0.0) - DENSITY_AT_ZERO).abs() < 1e-16);
        // Excess minus shortfall is the mean's distance from the level.
        for z in [-6.0, -1.0, 0.3, 4.0] {
            assert!((unit_excess(z) - unit_excess(-z) + z).abs() < 1e-14);
        }
    }

    #[test]
    fn chords_lie_above_the_excess_and_near_it() {
        let chords = ExcessChords::get();
        for sd in [1e-9, 0.3, 1.0, 7.0] {
            for i in -120_000..=120_000 {
                let z = f64::from(i) * 1e-4;
                let above = (chords.bound(0.0, sd, sd * z) - excess(0.0, sd, sd * z)) / sd;
                assert!((-1e-14..5e-5).contains(&above), "{sd} {z} {above:e}");
            }
        }
        for (mean, level, bound) in [(0.7, 0.5, 0.7 - 0.5), (0.5, 0.7, 0.0), (0.5, 0.5, 0.0)] {
            assert_eq!(chords.bound(mean, 0.0, level), bound);
        }
        for sd in [f64::MIN_POSITIVE, 5e-324] {
            assert!(chords.bound(1e150, sd, -1e150) >= 2e150);
            assert!(chords.bound(-1e150, sd, 1e150) >= 0.0);
            assert!(!chords.bound(0.5, sd, 0.5).is_nan());
        }
        assert_eq!(chords.bound(0.5, f64::INFINITY, 0.7), f64::INFINITY);
    }

    #[test]
    fn an_excess_said_to_be_below_a_price_is() {
        let mut said = 0;
        for sd in [0.0, 1e-9, 0.3, 1.0] {
            for i in -400..=400 {
                for j in -100..=400 {
                    let (mean, price) = (f64::from(i) * 0.01, f64::from(j) * 0.01);
                    if is_excess_below(price, mean, sd * sd) {
                        said += 1;
                        assert!(excess(mean, sd, 0.0) < price, "{sd} {mean} {price}");
                    } else if sd == 0.0 {
                        assert!(mean.max(0.0) >= price);
                    }
                }
            }
        }
        assert!(said > 500_000, "{said}");
        assert!(!is_excess_below(1.0, 0.0, f64::INFINITY) && !is_excess_below(f64::NAN, 0.0, 1.0));
        assert!(!is_excess_below(-1.0, -2.0, 0.0), "nothing is below a negative price");
    }

    #[test]
    fn inverse_excess_inverts() {
        for target in [1e-290, 1e-30, 1e-8, 1e-3, 0.1, 0.398_942, 0.4, 0.41, 1.0, 5.0, 39.0, 41.0, 1e9] {
            let found = unit_excess(inverse_unit_excess(target));
            // Near the underflow the density loses z^2/2 = 670 units in the last place, and the difference z^2 times that.
            let tolerance = if target < 1e-100 { 1e-9 } else { 1e-12 };
            assert!((found / target - 1.0).abs() < tolerance, "{target}: {found}");
        }
    }
}
