//! The ops against burn's composed ones (on chosen and on random shapes), against central differences in f64, and against themselves at other thread counts.

mod bf16;
mod composed;
mod differences;
mod inference;
mod properties;
mod support;
mod threads;
