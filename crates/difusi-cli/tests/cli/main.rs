//! End to end: the binary as a person runs it, on tiny settings. Every test works in a folder of its own.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod bench;
mod commands;
mod compare;
mod data;
mod edit;
mod errors;
mod eval;
mod evaluation;
mod families;
mod harness;
mod judge;
mod labels;
mod resume;
mod shared;
mod training;
