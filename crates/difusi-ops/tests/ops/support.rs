//! Flat random inputs, and outputs with all their gradients, for any op.

use burn::tensor::{Device, Tensor, TensorData};

/// An op over flat tensors, which it shapes itself; its output is flattened.
pub(crate) type Op<'a> = &'a (dyn Fn(&[Tensor<1>]) -> Tensor<1> + Sync);

/// `n` values in [-1, 1), the same for the same seed.
pub(crate) fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// Random inputs of these sizes.
pub(crate) fn inputs(sizes: &[usize]) -> Vec<Vec<f32>> {
    sizes.iter().enumerate().map(|(i, &n)| random(n, 1 + i as u64)).collect()
}

/// The output, and the gradient of `Σ w y` (`w` random) for every input.
pub(crate) fn run(op: Op<'_>, inputs: &[Vec<f32>], device: &Device) -> (Vec<f32>, Vec<Vec<f32>>) {
    let tensors: Vec<Tensor<1>> = inputs
        .iter()
        .map(|x| Tensor::from_data(TensorData::new(x.clone(), [x.len()]), device).require_grad())
        .collect();
    let y = op(&tensors);
    let w = Tensor::<1>::from_data(TensorData::new(random(y.dims()[0], 99), y.dims()), device);
    let grads = (y.clone() * w).sum().backward();
    let gradients = tensors.iter().map(|x| floats(x.grad(&grads).expect("every input takes part"))).collect();
    (floats(y), gradients)
}

/// A tensor's values.
pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("f32")
}

/// Flattens.
pub(crate) fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let n = x.dims().iter().product::<usize>();
    x.reshape([n])
}

/// Equal within `tolerance` of the larger of 1 and the largest value.
#[track_caller]
pub(crate) fn check_close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let size = b.iter().fold(1.0f32, |m, x| m.max(x.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * size, "{what}, value {i}: {x} and {y}");
    }
}

/// Our op and burn's give the same output and gradients.
#[track_caller]
pub(crate) fn check_equal_ops(ours: Op<'_>, burns: Op<'_>, sizes: &[usize], what: &str) {
    check_equal_within([2e-6, 5e-6], (ours, burns), sizes, what);
}

/// The same within these tolerances of outputs and gradients.
#[track_caller]
pub(crate) fn check_equal_within(near: [f32; 2], (ours, burns): (Op<'_>, Op<'_>), sizes: &[usize], what: &str) {
    for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
        let inputs = inputs(sizes);
        let ((y, dy), (z, dz)) = (run(ours, &inputs, &device), run(burns, &inputs, &device));
        check_close(&y, &z, near[0], &format!("{what}: output"));
        for (i, (a, b)) in dy.iter().zip(&dz).enumerate() {
            check_close(a, b, near[1], &format!("{what}: gradient of input {i}"));
        }
    }
}
