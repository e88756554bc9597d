//! The trainer from outside: what a step does, what a checkpoint holds, what goes wrong and how.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod chance;
mod common;
mod conv;
mod diffusion;
mod golden;
mod resume;
mod steps;
mod trouble;
