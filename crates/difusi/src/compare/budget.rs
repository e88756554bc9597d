//! How much each family is trained, and which families there are.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A way to make pictures from noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A diffusion model.
    Diffusion,
    /// A variational autoencoder.
    Vae,
    /// A generative adversarial network.
    Gan,
    /// A normalizing flow.
    Flow,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Diffusion, Self::Vae, Self::Gan, Self::Flow];

    /// The name in commands, files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Diffusion => "diffusion",
            Self::Vae => "vae",
            Self::Gan => "gan",
            Self::Flow => "flow",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Diffusion => "Diffusion",
            Self::Vae => "VAE",
            Self::Gan => "GAN",
            Self::Flow => "Flow",
        }
    }

    /// The preset that its networks and settings are from.
    pub const fn preset(self) -> &'static str {
        match self {
            Self::Diffusion => "mnist",
            Self::Vae => "mnist-vae",
            Self::Gan => "mnist-gan",
            Self::Flow => "mnist-flow",
        }
    }

    /// Steps in the reference experiment: diffusion 10 epochs of 1,000, GAN 30 of 550, VAE 70 of 547. It has no flow, which gets as
    /// many as the diffusion model.
    pub const fn reference_steps(self) -> u64 {
        match self {
            Self::Diffusion | Self::Flow => 10 * 1000,
            Self::Gan => 30 * 550,
            Self::Vae => 70 * 547,
        }
    }

    /// Milliseconds of a step in the reference experiment, on hardware and with networks that it does not tell.
    pub const fn reference_milliseconds(self) -> Option<&'static str> {
        match self {
            Self::Diffusion => Some("300"),
            Self::Gan => Some("60"),
            Self::Vae => Some("30-50"),
            Self::Flow => None,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| Error::value("the family", name, known()))
    }
}

/// How long each family is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many seconds of training steps, as they are timed before training begins.
    Seconds(f64),
    /// So many steps.
    Steps(u64),
    /// As the reference experiment; see [`Family::reference_steps`].
    Reference,
}

impl FromStr for Budget {
    type Err = Error;

    /// `90s`, `20m`, `2h`, `5000` (steps) or `reference`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::value("the budget", text, "a time (90s, 20m, 2h), a number of steps (5000), or reference");
        if text == "reference" {
            return Ok(Self::Reference);
        }
        if let Ok(steps) = text.parse::<u64>() {
            return if steps > 0 { Ok(Self::Steps(steps)) } else { Err(wrong()) };
        }
        let unit = [("h", 3600.0), ("min", 60.0), ("m", 60.0), ("s", 1.0)]
            .into_iter()
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?.trim(), seconds)));
        let (number, seconds) = unit.ok_or_else(wrong)?;
        match number.parse::<f64>() {
            Ok(n) if n > 0.0 && n * seconds <= 1e8 => Ok(Self::Seconds(n * seconds)),
            _ => Err(wrong()),
        }
    }
}

/// As it is written.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(s) if (s / 60.0).fract() == 0.0 => write!(f, "{}m", s / 60.0),
            Self::Seconds(s) => write!(f, "{s}s"),
            Self::Steps(n) => write!(f, "{n}"),
            Self::Reference => f.write_str("reference"),
        }
    }
}

impl Budget {
    /// Steps of a family whose step takes so long.
    pub fn steps(self, family: Family, seconds_per_step: f64) -> u64 {
        match self {
            Self::Seconds(seconds) => ((seconds / seconds_per_step.max(1e-9)) as u64).max(1),
            Self::Steps(n) => n,
            Self::Reference => family.reference_steps(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_as_written() {
        for (text, budget) in [
            ("90s", Budget::Seconds(90.0)),
            ("20m", Budget::Seconds(1200.0)),
            ("0.5min", Budget::Seconds(30.0)),
            ("2h", Budget::Seconds(7200.0)),
            ("5000", Budget::Steps(5000)),
            ("reference", Budget::Reference),
        ] {
            assert_eq!(text.parse::<Budget>().unwrap(), budget);
            assert_eq!(budget.to_string().parse::<Budget>().unwrap(), budget);
        }
        for text in ["", "0", "-3m", "m", "20 parsecs", "nan s", "infs", "1e99h"] {
            assert!(text.parse::<Budget>().unwrap_err().to_string().contains("20m"), "{text}");
        }
        assert_eq!(Budget::Seconds(10.0).steps(Family::Gan, 0.25), 40);
        assert_eq!(Budget::Seconds(1.0).steps(Family::Gan, 60.0), 1);
        assert_eq!(Budget::Reference.steps(Family::Vae, 1.0), 38_290);
    }
}
