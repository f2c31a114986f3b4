//! Powers and logarithms for tables and sums, to about six digits, in plain arithmetic that
//! compilers turn into vector code.

/// `2^x` for `x ≤ 120`; very negative arguments give about 0.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    let x = if x < -120.0 { -120.0 } else { x };
    // Adding and subtracting 1.5 × 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x + ROUND;
    let part = (x - (shifted - ROUND)) * std::f32::consts::LN_2;
    // Taylor's series within half an octave of 0: relative error below 3e-6.
    let fraction = 1.0
        + part
            * (1.0
                + part * (0.5 + part * (1.0 / 6.0 + part * (1.0 / 24.0 + part * (1.0 / 120.0)))));
    let exponent = shifted.to_bits().wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent)
}

/// The logarithm to the base 2 of a positive normal number.
#[inline(always)]
pub(super) fn log2(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let bits = x.to_bits().wrapping_sub(SQRT_HALF);
    // The cast keeps the sign of the exponent, which lies between -127 and 128.
    let exponent = (bits as i32) >> 23;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) + SQRT_HALF);
    // ln m = 2 artanh((m - 1) / (m + 1)), m between √½ and √2.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = 2.0 * ratio * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0))));
    exponent as f32 + series * std::f32::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    #[test]
    fn agree_with_the_standard_library() {
        for step in -11_000..11_000 {
            let x = step as f32 / 100.0;
            let want = x.exp2();
            assert!((super::exp2(x) - want).abs() <= 1e-5 * want, "2^{x}");
            assert!(
                (super::log2(want) - x).abs() <= 1e-5 * x.abs().max(1.0),
                "logarithm of 2^{x}"
            );
        }
        assert!(super::exp2(-1e30) < 1e-30);
    }
}
