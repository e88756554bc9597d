//! The variational bound on the negative log-likelihood: DDPM (arXiv:2006.11239) eq. 3, 5, 8 and 13; with learned variances and in
//! bits per dimension Nichol & Dhariwal (arXiv:2102.09672).
//!
//! `L_vlb = L_T + L_{T-1} + .. + L_1 + L_0`: [`prior_terms`] is the first, [`bound_terms`] any of the others, [`Chain`] the jumps they
//! belong to (all steps, or a strided sub-sequence), [`Strata`] which of them are evaluated, [`Bound`] evaluates images and
//! [`BoundSums`] adds them up. Everything is a sum of nats until [`bits_per_dim`]. Deliberately absent: networks, data sets, files.

mod chain;
mod decoder;
mod evaluate;
mod normal;
mod report;
mod strata;
mod terms;
#[cfg(test)]
mod tests;

pub use chain::Chain;
pub use decoder::Decoder;
pub use evaluate::{Bound, DenoiseEach, ImageBound};
pub use normal::{log_cdf, log_interval, normal_kl};
pub use report::{BoundReport, BoundSums, Estimate, Running, TermRow, bits_per_dim};
pub use strata::Strata;
pub(crate) use terms::image_sums;
pub use terms::{LogVariance, Reverse, bound_terms, prior_terms};
