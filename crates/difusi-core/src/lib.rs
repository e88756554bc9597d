//! The few words every room of difusi speaks: a batch of images, what it is conditioned on, what a network receives,
//! the size of an image, the number format of activations, the conversion between bytes and `[-1, 1]`, and counter-based random numbers.
//!
//! Deliberately absent: tensor ops (but cutting and joining conditions), files, schedules, networks. Errors live beside the code that raises them.

mod batch;
mod cond;
mod dataset;
mod network;
pub mod noise;
pub mod pixels;
mod precision;
mod size;

pub use batch::Batch;
pub use cond::{Cond, Tokens};
pub use dataset::{Dataset, Example};
pub use network::{Dropout, Inputs, Network, NoiseCurve};
pub use noise::{Draw, Noise, Stream};
pub use precision::Precision;
pub use size::ImageSize;
