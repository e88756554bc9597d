//! Agreement with the schedulers of diffusers 0.42.1: its configs, its f32 tables, its steps one by one.
//!
//! [`SchedulerConfig`] is a `scheduler_config.json`; [`SchedulerConfig::recipe`] turns it and a [`Request`] into a
//! [`crate::Diffusion`], a [`crate::Threshold`] and a [`crate::Plan`] with one stage for each of diffusers' `timesteps`, which the one
//! sampling loop runs. x here is always `alpha x_0 + sigma eps`; diffusers' schedulers in sigma space hold `x / alpha`.
//!
//! | where | what |
//! |---|---|
//! | [`SchedulerClass`], [`Settings`] | which classes and keys there are, and their defaults |
//! | `tables`, `torch` | betas and sigmas in f32 as torch makes them |
//! | `spacing`, `sigmas`, `flow` | visited steps and lists of sigmas |
//! | `ladder`, `stages` | levels of a run, and one stage per network evaluation |
//! | `solver`, `recipe` | which solver, prediction and threshold |
//! | `export`, `sampling` | a model's own config as a scheduler's, and the way back |
//!
//! # Where diffusers and the papers disagree
//!
//! Under its config names, diffusers is followed; `t` is what the network is told, T the training steps, n the visited ones.
//!
//! Grids and ends
//! - DDIM, its inverse and PNDM step from t to `t - T / n` (whole numbers), whatever the next visited step is: with `linspace`,
//!   or where n does not divide T, the steps do not join. PNDM's second evaluation then counts from a level where x never was,
//!   and its Runge-Kutta steps put x and the network's time one step apart where `T / n` is odd.
//! - `set_alpha_to_one = false` (Stable Diffusion) ends at the first step's level, not at the data; so do DEIS and
//!   `final_sigmas_type = "sigma_min"`. DEIS with a list of sigmas repeats the last: its last step goes nowhere.
//! - In sigma space, `linspace` and `trailing` start from deviation sigma_max instead of that of x_T, `sqrt(sigma_max^2 + 1)`;
//!   EDM's schedulers start from the latter although x_T there has sigma_max and the data's own.
//! - Lists of sigmas keep their sigmas but round (KDPM2, DPM-Solver, UniPC, DEIS with Karras) or cut (exponential, beta, flow)
//!   the times that the network is told.
//! - Flow matching shifts twice: the ends of the training sigmas, then the even times between them. `shift = 1` is unharmed.
//! - Zero terminal SNR (arXiv:2305.08891) ends at alpha-bar 2^-24 in Euler, Euler-ancestral, DPM-Solver and UniPC, at 0
//!   elsewhere.
//! - `laplace` (arXiv:2407.03297) takes the root of alpha-bar for alpha-bar. iPNDM has a sine squared for sigma, not a sine.
//! - Where rounding gives the first time twice (Karras sigmas on a cosine schedule), diffusers' solvers begin at the second and
//!   run past the end of their list; the plan here begins at the first.
//!
//! Steps
//! - DDIM goes along the network's eps although x_0 was clipped ([`crate::EpsSource`]); RePaint too.
//! - DDPM adds noise on the step onto the data, unless it starts at t = 0: with `trailing`, an offset or custom times,
//!   `fixed_large` and `learned_range` leave noise in the picture. Its beta of a jump is a difference in f32
//!   ([`crate::Rounding`]).
//! - DDPM's `fixed_large_log` is the root of a logarithm, not a number: refused. `learned` takes the network's second half for
//!   the variance itself: refused when sampling.
//! - Dynamic thresholds are capped by `sample_max_value`, whose default 1 makes them static. Imagen (arXiv:2205.11487) has no
//!   cap.
//! - PNDM with `v_prediction` averages velocities of different levels, which leaves it of first order ([`crate::PndmMean`]); the
//!   paper averages eps.
//! - iPNDM at pure noise takes x_0 for 0 ([`crate::IpndmStart`]).
//! - DPM-Solver's third-order multi-step update halves the curvature, with noise also gets its sign wrong
//!   ([`crate::Curvature`]).
//! - DPM-Solver in single steps turns `lower_order_final` on where it must, and says so in its own config.
//! - UniPC's `bh1` is not finite onto the data; here it is.
//! - Euler, EDM's Euler and flow-matching Heun take `s_churn` as an argument of `step` and raise x after the network was asked,
//!   so its answer belongs to another x; EDM (arXiv:2206.00364, algorithm 2) asks afterwards. Not offered here:
//!   [`crate::Churn`] is the paper's.
//! - Flow-matching Heun averages `eps - x_0` over sigma, Heun in sigma space averages eps over sigma / alpha: two methods, one
//!   order.
//! - RePaint (arXiv:2201.09865) goes back up from t by the betas of `t .. t + T / n` instead of the steps it came down, and the
//!   known and the unknown part share their noise.

mod check;
mod check_request;
mod class;
mod config;
mod export;
mod flow;
mod ladder;
mod recipe;
mod request;
mod sampling;
mod settings;
mod sigmas;
mod solver;
mod spacing;
mod stages;
mod tables;
mod torch;

pub use class::SchedulerClass;
pub use config::{DIFFUSERS_VERSION, Loaded, SchedulerConfig};
pub use recipe::Recipe;
pub use request::{Request, Visits};
pub use settings::{
    Algorithm, BetaSchedule, FinalSigmas, Interpolation, PredictionType, Settings, SigmaSchedule, SolverType, Spacing,
    TimeShift, TimestepType, VarianceType,
};
