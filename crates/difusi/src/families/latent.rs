//! `[sample]` of models that draw from a latent: VAE, GAN, flow.

use difusi_core::{Draw, Noise};
use serde::{Deserialize, Serialize};

use crate::ConfigError;

/// Draws of one number before a truncated one is taken as it is cut off.
const TRIES: usize = 1000;

/// How latents are drawn. In TOML: the section `[sample]`; every key may be left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentSample {
    /// Pictures in the grid at the end of a run, 1 to 1000000; what `sample` draws unless told. Default 64.
    pub count: usize,
    /// What latents are multiplied by, 0 to 10: below 1 pictures are likelier and more alike. Default 1.
    pub temperature: f64,
    /// Numbers of a latent farther from 0 than this are drawn anew before the temperature (arXiv:1809.11096, section 3.1); above 0.
    /// Default absent: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation: Option<f64>,
}

impl Default for LatentSample {
    fn default() -> Self {
        Self { count: 64, temperature: 1.0, truncation: None }
    }
}

impl LatentSample {
    /// Everything in it that is not accepted.
    pub fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if !(1..=1_000_000).contains(&self.count) {
            errors.push(ConfigError::value("sample.count", self.count, "a whole number from 1 to 1000000"));
        }
        if !(0.0..=10.0).contains(&self.temperature) {
            errors.push(ConfigError::value("sample.temperature", self.temperature, "a number from 0 to 10"));
        }
        if let Some(bad) = self.truncation.filter(|t| !(t.is_finite() && *t > 0.0)) {
            errors.push(ConfigError::value("sample.truncation", bad, "a number above 0, or no such key"));
        }
        errors
    }

    /// The latent of picture `index` of a seed, `size` numbers.
    pub(crate) fn latent(&self, seed: u64, index: u64, size: usize) -> Vec<f32> {
        let mut stream = Noise::new(seed).stream(Draw::Init, index, 0);
        let most = self.truncation.map_or(f32::INFINITY, |t| t as f32);
        let mut number = || {
            let mut v = stream.normal();
            for _ in 0..TRIES {
                if v.abs() <= most {
                    break;
                }
                v = stream.normal();
            }
            (f64::from(v.clamp(-most, most)) * self.temperature) as f32
        };
        (0..size).map(|_| number()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_are_what_their_keys_say() {
        let plain = LatentSample::default();
        let z = plain.latent(3, 5, 1000);
        assert_eq!(z, Noise::new(3).normal(Draw::Init, 5..6, 0, 1000));
        assert_eq!(z[..10], plain.latent(3, 5, 10));
        assert_ne!(z, plain.latent(3, 6, 1000));
        let cold = LatentSample { temperature: 0.5, truncation: Some(1.0), ..plain };
        assert!(cold.latent(3, 5, 1000).iter().all(|v| v.abs() <= 0.5));
        let tiny = LatentSample { truncation: Some(1e-9), ..LatentSample::default() };
        assert!(tiny.latent(3, 5, 3).iter().all(|v| v.abs() <= 1e-9), "an end to the tries");
        let bad = LatentSample { count: 0, temperature: -1.0, truncation: Some(f64::NAN) };
        assert_eq!(bad.check().len(), 3);
    }
}
