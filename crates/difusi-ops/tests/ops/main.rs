//! The ops against burn's composed ones, against central differences in f64, and against themselves at other thread counts.

mod bf16;
mod composed;
mod differences;
mod support;
mod threads;
