//! Tensor ops for channels-last images `[B, H, W, C]`: the seam through which networks and the trainer reach arithmetic.
//!
//! Every public op is a safe function on burn's `Tensor` that looks at the device: on the CPU (flex, plain or autodiff)
//! it runs our kernel with our gradient, anywhere else the same thing composed of burn's ops ([`composed`]).
//! On the CPU every result, gradients included, has the same bits at any number of threads.
//!
//! Images lie in memory as f32 or as bf16 ([`to_bf16`]): what an op makes of an image, and the image's gradient, have its number.
//! Parameters and their gradients are f32, and so is all arithmetic: values are widened when read and rounded when written.
//!
//! Like burn's own ops these panic on shapes that do not fit: whatever comes from a user is checked before it gets here.
//! Deliberately absent: networks, parameters, files, schedules. This is the only room with `unsafe`.

mod adam;
mod attention;
mod buffer;
mod ceiling;
pub mod composed;
mod conv;
mod convert;
mod extension;
mod fork;
mod inference;
mod kernel;
mod layout;
mod loss;
mod memory;
mod norm;
pub mod ordered;
mod pointwise;
pub mod profile;
mod route;
mod rules;
mod simd;

pub use adam::{AdamState, AdamStep, Average, Gradient, WeightDecay};
pub use attention::{
    AttentionKind, LinearAttentionWeights, attention, attention_where, linear_attention_layer, self_attention,
};
#[doc(hidden)]
pub use buffer::scratch_apart;
pub use ceiling::{ceiling_gflops, vector_unit};
pub use conv::{ConvSpec, conv2d, linear, upsample_conv2d};
pub use convert::{has_kernels, to_bf16, to_f32};
pub use fork::{add, add_to_pixels, fork};
pub use inference::{Activation, FixedConv, Pooling, max_pool, mean_pixels, mean_pool};
pub use layout::{cat_channels, downsample_mean2, pixel_unshuffle2, upsample_nearest2};
pub use loss::row_sums;
pub use memory::{CacheLines, give_back_freed_memory, keep_freed_memory};
pub use norm::{Groups, group_norm, group_norm_silu, rms_norm, rms_norm_add, rms_norm_silu};
pub use pointwise::leaky_relu;
