//! Thresholds of a predicted x_0.

use difusi_process::{Threshold, ValueError};

use crate::common::{check_all_close, tensor, values};

fn applied(threshold: Threshold, x0: &[f32], images: usize) -> Vec<f32> {
    values(threshold.apply(tensor(x0.to_vec(), [images, x0.len() / images, 1, 1])))
}

#[test]
fn clipping() {
    let x = [-3.0, -0.5, 0.2, 1.4];
    assert_eq!(applied(Threshold::None {}, &x, 1), x);
    assert_eq!(applied(Threshold::Static {}, &x, 1), [-1.0, -0.5, 0.2, 1.0]);
    assert_eq!(applied(Threshold::Clip { range: 1.2 }, &x, 2), [-1.2, -0.5, 0.2, 1.2]);
}

/// Each image has its own s: a quantile of |x_0|, never below 1, at most the limit; what lies within is scaled, not clipped.
#[test]
fn dynamic_thresholds_follow_each_image() {
    let x = [0.1, -0.2, 0.3, -0.4, 0.5, -3.0, 1.0, 2.0, -1.0, 0.0];
    let dynamic = |quantile, max| Threshold::Dynamic { quantile, max };
    // |x| sorted: 0.1 .. 0.5 | 0 1 1 2 3; the median of the second is 1, its 0.75 quantile 2, its 0.875 quantile 2.5.
    check_all_close("small", &applied(dynamic(0.875, None), &x[..5], 1), &x[..5], 0.0);
    let half = [-1.0, 0.5, 1.0, -0.5, 0.0];
    check_all_close("0.75", &applied(dynamic(0.75, None), &x, 2)[5..], &half, 1e-7);
    check_all_close("between", &applied(dynamic(0.875, None), &x, 2)[5..], &[-1.0, 0.4, 0.8, -0.4, 0.0], 1e-7);
    check_all_close("limit", &applied(dynamic(0.875, Some(2.0)), &x, 2)[5..], &half, 1e-7);
    // diffusers' default limit makes it static.
    let all = applied(dynamic(0.995, Some(1.0)), &x, 2);
    assert_eq!(all, applied(Threshold::Static {}, &x, 2));
}

#[test]
fn bad_parameters_are_named() {
    let found = Threshold::Dynamic { quantile: 1.5, max: Some(0.0) }.check();
    let told: Vec<String> = found.iter().map(ValueError::to_string).collect();
    assert_eq!(
        told,
        [
            "`threshold.quantile` is 1.5; expected a number in (0, 1]",
            "`threshold.max` is 0.0; expected a number above 0"
        ]
    );
    assert_eq!(Threshold::Clip { range: -1.0 }.check().len(), 1);
}
