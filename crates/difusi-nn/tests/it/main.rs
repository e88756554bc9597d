//! Tests of the networks through the crate's public face.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests: they panic and print as tests do")]

mod adm;
mod baselines;
mod checkpoint;
mod classes;
mod classifier;
mod config;
mod curve;
mod features;
mod flow;
mod gan;
mod golden;
mod network;
mod params;
mod support;
mod tokens;
mod vae;
