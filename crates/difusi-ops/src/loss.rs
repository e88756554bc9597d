//! The reduction under every loss.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, convert::to_f32, extension::CpuOps, route::has_kernel, rules::Move};

/// The sum of each row in f32, in an order that does not depend on the number of threads. `[B, N]` → `[B]`.
pub fn row_sums(x: Tensor<2>) -> Tensor<1> {
    let x = to_f32(x);
    if !has_kernel(&x) {
        return composed::row_sums(x);
    }
    let [_, columns] = x.dims();
    Tensor::from_dispatch(Dispatch::moved(x.into_dispatch(), Move::RowSums(columns)))
}
