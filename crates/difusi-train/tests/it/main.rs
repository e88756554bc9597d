//! The trainer from outside: what a step does, what a checkpoint holds, what goes wrong and how.

mod common;
mod golden;
mod resume;
mod steps;
mod trouble;
