//! An op with its gradients while every buffer lies against a guard page.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};

use crate::pages::{Against, explain_crashes, lie, trying};

/// One test at a time says where blocks lie.
static ONE: Mutex<()> = Mutex::new(());

/// `n` numbers in [-1, 1) in a buffer of just that size.
pub(crate) fn numbers(n: usize, seed: usize) -> Vec<f32> {
    let values: Box<[f32]> = (0..n).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect();
    values.into_vec()
}

/// Runs `work` with blocks against the page behind them and against the one in front: the same bits, all of them finite.
pub(crate) fn check_work(what: &str, work: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    explain_crashes();
    trying(what);
    difusi_ops::scratch_apart(true);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    let [behind, front] = [Against::Behind, Against::Front].map(|against| {
        lie(against);
        pool.install(&work)
    });
    for (i, (a, b)) in behind.iter().zip(&front).enumerate() {
        assert!(a.iter().all(|x| x.is_finite()), "{what}: result {i} has values of memory that nobody wrote");
        assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}: result {i} depends on its place");
    }
}

/// [`check_work`] of an op of flat tensors of these sizes and its gradients.
pub(crate) fn check<const D: usize>(what: &str, sizes: &[usize], op: impl Fn(&[Tensor<1>]) -> Tensor<D> + Sync) {
    check_work(what, || {
        let device = Device::flex().autodiff();
        let tensor = |(i, &n): (usize, &usize)| {
            Tensor::<1>::from_data(TensorData::new(numbers(n, i + 1), [n]), &device).require_grad()
        };
        let inputs: Vec<Tensor<1>> = sizes.iter().enumerate().map(tensor).collect();
        let y = op(&inputs);
        let n = y.dims().iter().product();
        let weights = Tensor::<1>::from_data(TensorData::new(numbers(n, 99), [n]), &device).reshape(y.dims());
        let gradients = (y.clone() * weights).sum().backward();
        let floats = |data: TensorData| data.try_to_vec::<f32>().expect("f32");
        let mut results = vec![floats(y.into_data())];
        results.extend(inputs.iter().map(|x| floats(x.grad(&gradients).expect("every input takes part").into_data())));
        results
    });
}
