//! Identities of the papers first, then the peers' numbers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bound;
mod bound_whole;
mod common;
mod config;
mod diffusers_alone;
mod diffusers_config;
mod diffusers_export;
mod diffusers_solvers;
mod diffusers_steps;
mod edit;
mod forward;
mod golden_diffusers;
mod golden_peer;
mod golden_repaint;
mod grid;
mod guidance;
mod learned;
mod likelihood;
mod mixture;
mod objectives;
mod prediction;
mod sampling;
mod schedule;
mod score;
mod solver;
mod solver_identities;
mod solver_moments;
mod solver_order;
mod threshold;
mod times;
mod training;
