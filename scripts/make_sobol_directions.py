"""Write the table of Sobol direction numbers (Joe and Kuo 2008, set "new-joe-kuo-6") that the core uses.

The numbers are facts; SciPy ships them, and this script reads them from there:
``python scripts/make_sobol_directions.py`` rewrites ``rust_src/expected_max/sobol_directions.rs``.
"""

from pathlib import Path

import numpy as np
import scipy.stats

N_DIMENSIONS = 128
HEAD = """\
//! Direction numbers of the Sobol sequence in {n} dimensions.
//!
//! Joe and Kuo, "Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci. Comput. 30 (2008),
//! set new-joe-kuo-6. Written by `scripts/make_sobol_directions.py`.

/// Per dimension: the primitive polynomial as bits, and its initial direction numbers (as many as its degree).
pub const SOBOL_DIRECTIONS: [(u16, &[u16]); {n}] = [
"""


def main() -> None:
    table = np.load(Path(scipy.stats.__file__).with_name("_sobol_direction_numbers.npz"))
    rows = []
    for polynomial, initial in zip(
        table["poly"][:N_DIMENSIONS].tolist(), table["vinit"][:N_DIMENSIONS].tolist(), strict=True
    ):
        degree = polynomial.bit_length() - 1
        numbers = ", ".join(str(m) for m in initial[:degree])
        rows.append(f"    ({polynomial}, &[{numbers}]),\n")
    target = Path(__file__).parents[1] / "rust_src/expected_max/sobol_directions.rs"
    target.write_text(HEAD.format(n=N_DIMENSIONS) + "".join(rows) + "];\n")


if __name__ == "__main__":
    main()
