//! The reverse chain that a bound is taken of: its jumps and their variances, over all steps or a sub-sequence of them.
//!
//! Positions count from the data: 0 is the jump onto it (the paper's t = 1), `len() - 1` starts at pure noise. Deliberately absent:
//! solvers. The bound is that of ancestral sampling; deterministic samplers have a likelihood of their own ([`crate::likelihood`]).

use burn::tensor::Tensor;

use super::LogVariance;
use crate::{Jump, Level, ProcessError, ValueError, Variance, error::all_good, forward::per_image};

/// Jumps towards the data, with the ends between which the logarithm of their variance lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    jumps: Vec<Jump>,
    /// (ln beta-tilde, ln beta); twice the same where the variance is fixed.
    ranges: Vec<[f64; 2]>,
    learned: bool,
}

impl Chain {
    /// Over `levels`, whose noise falls; the data is added where it is not the last of them.
    ///
    /// beta-tilde of the jump onto the data is 0, which is no variance for a decoder. Fixed variances take beta there, as the decoder of
    /// variational diffusion models does (DDPM's own code takes beta-tilde of the jump before, the lower end of the learned range: about
    /// half of beta with its schedule, but far too little where log-SNR moves slowly).
    ///
    /// # Errors
    /// No level but the data; noise that does not fall.
    pub fn new(levels: &[Level], variance: Variance) -> Result<Self, ProcessError> {
        let noisy: Vec<Level> = levels.iter().copied().filter(|level| !level.is_data()).collect();
        check(&noisy)?;
        let ends: Vec<Level> = std::iter::once(Level::DATA).chain(noisy.into_iter().rev()).collect();
        let jumps: Vec<Jump> = ends.windows(2).map(|pair| Jump { from: pair[1], to: pair[0] }).collect();
        let smallest = jumps.get(1).map_or_else(|| jumps[0].beta(), |before| before.posterior_variance());
        let ranges = jumps.iter().map(|jump| {
            let onto_data = jump.to.is_data();
            let low = if onto_data { smallest } else { jump.posterior_variance() };
            let (low, high) = (low.ln(), jump.beta().ln());
            match variance {
                Variance::LearnedRange {} => [low, high],
                Variance::FixedSmall {} if !onto_data => [low, low],
                Variance::FixedSmall {} | Variance::FixedLarge {} => [high, high],
            }
        });
        Ok(Self { ranges: ranges.collect(), jumps, learned: variance.is_learned() })
    }

    /// The same jumps with these logarithms of their variances, position by position.
    ///
    /// # Errors
    /// Another number of them than jumps.
    pub fn with_log_variances(self, values: &[f64]) -> Result<Self, ProcessError> {
        if values.len() != self.len() {
            let expected = format!("one for each of {} jumps", self.len());
            let (what, found) = ("the list of log-variances", vec![values.len()]);
            return Err(ProcessError::Shape { what, found, expected });
        }
        Ok(Self { ranges: values.iter().map(|v| [*v, *v]).collect(), learned: false, ..self })
    }

    /// The jumps, from the data outwards.
    pub fn jumps(&self) -> &[Jump] {
        &self.jumps
    }

    /// Number of terms L_0 .. L_{T-1}.
    #[expect(clippy::len_without_is_empty, reason = "a chain is never empty")]
    pub fn len(&self) -> usize {
        self.jumps.len()
    }

    /// Where sampling starts: x_T.
    pub fn start(&self) -> Level {
        self.jumps[self.len() - 1].from
    }

    /// ln beta-tilde and ln beta of a position: what a learned variance lies between, or twice the fixed one.
    pub fn range(&self, position: usize) -> [f64; 2] {
        self.ranges[position]
    }

    /// ln of the variances at these positions, one per image. `fraction` `[B, H, W, C]` says where a learned one lies between its
    /// ends (0 is beta-tilde); it is not used where the variance is fixed.
    ///
    /// # Errors
    /// No `fraction` where the variance is learned; another number of positions than images.
    pub fn log_variance(&self, positions: &[usize], fraction: Option<Tensor<4>>) -> Result<LogVariance, ProcessError> {
        let (low, spread): (Vec<f64>, Vec<f64>) =
            positions.iter().map(|&p| (self.ranges[p][0], self.ranges[p][1] - self.ranges[p][0])).unzip();
        if !self.learned {
            return Ok(LogVariance::PerImage(low));
        }
        let Some(fraction) = fraction.filter(|f| f.dims()[0] == positions.len()) else {
            let expected = format!("[{}, H, W, C]: the variance is learned", positions.len());
            return Err(ProcessError::Shape { what: "the denoiser's variance", found: vec![], expected });
        };
        let (low, spread) = (per_image(&low, &fraction), per_image(&spread, &fraction));
        Ok(LogVariance::PerNumber(fraction * spread + low))
    }
}

/// At least one level, and noise that falls.
fn check(noisy: &[Level]) -> Result<(), ProcessError> {
    let mut errors = Vec::new();
    if noisy.is_empty() {
        errors.push(ValueError::new("levels", "a list without noise", "at least one level with noise"));
    }
    for (i, pair) in noisy.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        if to.sigma * from.alpha >= from.sigma * to.alpha {
            let got = format!("sigma / alpha = {} after {}", to.ratio(), from.ratio());
            errors.push(ValueError::new(format!("levels[{}]", i + 1), got, "noise that falls"));
        }
    }
    all_good(errors)
}
