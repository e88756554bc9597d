//! Lists of sigma / alpha, noisiest first.

use serde::{Deserialize, Serialize};

use crate::{Level, Process, ProcessError, ValueError};

/// Whose optimised list [`super::Grid::AlignYourSteps`] takes: Sabour et al., arXiv:2404.14507, as published with the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlignedModel {
    /// Stable Diffusion 1.5.
    #[default]
    Sd15,
    /// Stable Diffusion XL.
    Sdxl,
    /// Stable Video Diffusion.
    Svd,
}

impl AlignedModel {
    /// Ten visited sigmas, and where the last step ends.
    pub fn sigmas(self) -> &'static [f64] {
        match self {
            Self::Sd15 => &[14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
            Self::Sdxl => &[14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
            Self::Svd => &[700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
        }
    }
}

/// `count` numbers, even in `sigma^(1 / rho)`; a single one is the larger end.
pub(super) fn karras((high, low): (f64, f64), rho: f64, count: usize) -> Vec<f64> {
    let [from, to] = [high, low].map(|sigma| sigma.powf(1.0 / rho));
    let inner = |u: f64| (from + u * (to - from)).powf(rho);
    spread(count, |u| {
        if u == 0.0 {
            high
        } else if u == 1.0 {
            low
        } else {
            inner(u)
        }
    })
}

/// `count` numbers, even in the logarithm.
pub(super) fn exponential((high, low): (f64, f64), count: usize) -> Vec<f64> {
    spread(count, |u| if u == 1.0 { low } else { high * (low / high).powf(u) })
}

fn spread(count: usize, at: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..count).map(|i| at(i as f64 / (count as f64 - 1.0).max(1.0))).collect()
}

/// The first `count` of `total` numbers, spread evenly over the places of `list` and read off in the logarithm.
pub(super) fn read_off(list: &[f64], total: usize, count: usize) -> Vec<f64> {
    let last = list.len() - 1;
    let at = |i: usize| {
        let place = (i * last) as f64 / (total as f64 - 1.0).max(1.0);
        let (low, part) = (place.floor() as usize, place.fract());
        if part == 0.0 { list[low] } else { list[low] * (list[low + 1] / list[low]).powf(part) }
    };
    (0..count).map(at).collect()
}

/// The first `count` of the shifted times `1 - i / steps`; the one at 0 would be the data, so the last of more is the process's
/// cleanest.
pub(super) fn flow(process: &Process, shift: f64, count: usize, steps: usize) -> Result<Vec<Level>, ProcessError> {
    let Process::Flow { timesteps, .. } = *process else {
        let accepted = "one over steps or sigmas; a flow shift is of flow processes";
        return Err(ValueError::new("grid", "flow_shift", accepted).into());
    };
    let at = |i: usize| {
        let u = 1.0 - i as f64 / steps as f64;
        let s = if i < steps { shift * u / (1.0 + (shift - 1.0) * u) } else { process.level(0.0).sigma };
        process.level_of_time(s * timesteps as f64)
    };
    Ok((0..count).map(at).collect())
}
