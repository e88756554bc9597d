//! The one conversion between bytes outside and `[-1, 1]` inside.

/// Byte to `[-1, 1]`: `v / 127.5 - 1`.
pub fn from_byte(v: u8) -> f32 {
    f32::from(v) / 127.5 - 1.0
}

/// `[-1, 1]` to the nearest byte; values outside saturate, NaN becomes 0.
pub fn to_byte(v: f32) -> u8 {
    ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte survives the round trip, and the ends are exact.
    #[test]
    fn bytes_survive() {
        for v in 0..=255u8 {
            assert_eq!(to_byte(from_byte(v)), v);
        }
        assert_eq!((from_byte(0), from_byte(255)), (-1.0, 1.0));
        assert_eq!((to_byte(-7.0), to_byte(3.0), to_byte(f32::NAN)), (0, 255, 0));
    }
}
