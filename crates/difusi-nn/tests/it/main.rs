//! Tests of the networks through the crate's public face.

mod checkpoint;
mod config;
mod golden;
mod network;
mod params;
mod support;
