//! The parts networks are built of. Images are `[B, H, W, C]` throughout; the arithmetic is difusi-ops'. An image of either
//! [`difusi_core::Precision`] goes in, and one of the same precision comes out.
//!
//! A layer is built from an [`Init`], which carries its name. Field names are those of the peer's modules, so that paths through
//! a network are the names on disk (see [`crate::params`]).

mod attention;
mod basic;
mod classes;
mod cross_attention;
mod curve;
mod dropout;
mod either;
mod group_norm;
mod init;
mod precision;
mod resnet;
mod time;

pub use attention::{Attention, AttentionSpec, LinearAttention};
pub use basic::{Conv2d, Gelu, Linear, Nearest, PixelUnshuffle, RmsNorm, Silu};
pub use classes::Embedding;
pub use cross_attention::{CrossAttention, CrossAttentionSpec};
pub use curve::RisingCurve;
pub use dropout::drop_values;
pub use either::Either;
pub use group_norm::GroupNorm;
pub use init::Init;
pub use precision::{in_precision, precision_of};
pub use resnet::{ResnetBlock, ResnetSpec};
pub use time::{TimeEmbedding, TimeFrequencies};
