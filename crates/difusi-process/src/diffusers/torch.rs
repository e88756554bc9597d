//! The numbers as torch and numpy make them on a CPU: tables in f32, sums as wide as theirs, the same roundings.
//!
//! Measured against torch 2.15 and numpy 2: `linspace` fills from both ends with fused multiply-adds; `cumprod` of f32 keeps its
//! product in f64 and rounds each output; logarithms and exponentials may differ in the last bit, since theirs are not rounded
//! correctly.

/// `torch.linspace(start, end, count)` in f32.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f32;
    let at = |i: usize| match i < count / 2 {
        true => step.mul_add(i as f32, start),
        false => (-step).mul_add((count - 1 - i) as f32, end),
    };
    (0..count).map(at).collect()
}

/// `np.linspace(start, end, count)` in f64: the last number is `end` itself.
pub(super) fn linspace64(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = (end - start) / (count.max(2) - 1) as f64;
    (0..count).map(|i| if i > 0 && i + 1 == count { end } else { i as f64 * step + start }).collect()
}

/// `np.arange(start, 0, -step)`: the stride is the rounded difference of the first two numbers.
pub(super) fn falling(start: f64, step: f64) -> Vec<f64> {
    let stride = start - (start - step);
    (0..(start / step).ceil() as usize).map(|i| start - i as f64 * stride).collect()
}

/// `torch.cumprod` of f32.
pub(super) fn cumprod(values: &[f32]) -> Vec<f32> {
    let product = |so_far: &mut f64, v: &f32| {
        *so_far *= f64::from(*v);
        Some(*so_far as f32)
    };
    values.iter().scan(1.0f64, product).collect()
}

/// `np.interp(x, 0..values.len(), values)` in f64, `x` within the range or beyond it.
pub(super) fn interpolate(x: f64, values: &[f32]) -> f64 {
    let last = values.len() - 1;
    if x >= last as f64 {
        return f64::from(values[last]);
    }
    let low = x.max(0.0).floor();
    let [a, b] = [low as usize, low as usize + 1].map(|i| f64::from(values[i]));
    (b - a) * (x.max(0.0) - low) + a
}
