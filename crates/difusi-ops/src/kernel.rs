//! The CPU kernels, over plain slices: no tensors, no autodiff.
//!
//! Work is cut into jobs whose results do not depend on how many threads run them; where jobs add into one result,
//! the cut is fixed by the shapes and the partial sums are added in order.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod conv_grad;
pub(crate) mod layout;
pub(crate) mod linear_attention;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod pack;
pub(crate) mod plane;
pub(crate) mod softmax;
pub(crate) mod sums;
