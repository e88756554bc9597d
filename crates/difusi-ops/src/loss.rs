//! The reduction under every loss.

use burn::{backend::Dispatch, tensor::Tensor};

use crate::{composed, extension::CpuOps, route::has_kernel, rules::Unary};

/// The sum of each row, in an order that does not depend on the number of threads. `[B, N]` → `[B]`.
pub fn row_sums(x: Tensor<2>) -> Tensor<1> {
    if !has_kernel(&x) {
        return composed::row_sums(x);
    }
    Tensor::from_dispatch(Dispatch::unary(x.into_dispatch(), Unary::RowSums))
}
