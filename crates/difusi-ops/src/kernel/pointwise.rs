//! What is done to every number by itself.

use rayon::prelude::*;

use crate::{
    buffer::{Shared, filled},
    simd::{Float, Stored},
};

/// Values per job.
const JOB: usize = 1 << 15;

/// `x` where it is above 0, else `slope x`.
pub(crate) fn leaky_relu<E: Stored>(x: &[E], slope: E::F) -> Vec<E> {
    let one = |v: E::F| if v > E::F::ZERO { v } else { slope * v };
    // SAFETY: the jobs write every value once.
    unsafe {
        filled(x.len(), |to: Shared<E>| {
            x.par_chunks(JOB).enumerate().for_each(|(job, x)| {
                let to = to.at(job * JOB);
                x.iter().enumerate().for_each(|(i, v)| to.add(i).write(E::put(one(v.get()))));
            });
        })
    }
}

/// `dy` where `x` is above 0, else `slope dy`.
///
/// # Panics
/// If they differ in length.
pub(crate) fn leaky_relu_backward<E: Stored>(x: &[E], dy: &[E], slope: E::F) -> Vec<E> {
    assert_eq!(x.len(), dy.len());
    // SAFETY: the jobs write every value once.
    unsafe {
        filled(x.len(), |to: Shared<E>| {
            x.par_chunks(JOB).zip(dy.par_chunks(JOB)).enumerate().for_each(|(job, (x, dy))| {
                let to = to.at(job * JOB);
                for (i, (x, dy)) in x.iter().zip(dy).enumerate() {
                    let g = if x.get() > E::F::ZERO { dy.get() } else { slope * dy.get() };
                    to.add(i).write(E::put(g));
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::bf16;

    use super::*;
    use crate::kernel::check::{check, stored, wide};

    fn case<E: Stored>(inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let [x, dy] = [0, 1].map(|i| stored::<E>(&inputs[i]));
        let slope = E::F::of(0.25);
        vec![wide(&leaky_relu(&x, slope)), wide(&leaky_relu_backward(&x, &dy, slope))]
    }

    #[test]
    fn leaky_relu_has_its_gradient() {
        for n in [1, 16, 1000] {
            check([&case::<f64>, &case::<f32>, &case::<bf16>], &[n, n], "leaky relu");
        }
    }
}
