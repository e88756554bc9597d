//! The seam between networks and solvers: given x_t, what was x_0?
//!
//! Wrappers nest in a fixed order: network -> guidance -> prediction -> threshold -> solver. A classifier's gradient moves the
//! prediction, before the threshold.

use std::cell::RefCell;

use burn::tensor::Tensor;
use difusi_core::{Cond, Inputs, Network};

use crate::{
    Classify, Diffusion, Guidance, Level, ProcessError, Threshold, ValueError,
    forward::{per_image, require_same},
    guidance::class_gradient,
};

/// What is known about x_t's origin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Denoised {
    /// Estimate of x_0 after thresholding, `[B, H, W, C]`.
    pub x0: Tensor<4>,
    /// Estimate of eps before thresholding, `[B, H, W, C]`: what a network that predicts eps puts out. Solvers that need an eps in
    /// keeping with the thresholded x_0 take [`Denoised::consistent_eps`].
    pub eps: Tensor<4>,
    /// Where a learned variance lies between the logarithms of beta-tilde (0) and beta (1), `[B, H, W, C]`; not clipped.
    pub variance: Option<Tensor<4>>,
    /// The eps that DDIM puts back in the place of its own, `[B, H, W, C]` (CFG++).
    pub renoise: Option<Tensor<4>>,
}

impl Denoised {
    /// From both estimates, each `[B, H, W, C]`.
    pub fn new(x0: Tensor<4>, eps: Tensor<4>) -> Self {
        Self { x0, eps, variance: None, renoise: None }
    }

    /// From an estimate of x_0 alone: eps is what is left of `x_t`.
    pub fn from_x0(x0: Tensor<4>, x_t: Tensor<4>, level: Level) -> Self {
        let eps = consistent(&x0, x_t, level);
        Self::new(x0, eps)
    }

    /// The eps for which `alpha x_0 + sigma eps` is `x_t`: that of the thresholded x_0.
    pub fn consistent_eps(&self, x_t: Tensor<4>, level: Level) -> Tensor<4> {
        consistent(&self.x0, x_t, level)
    }
}

fn consistent(x0: &Tensor<4>, x_t: Tensor<4>, level: Level) -> Tensor<4> {
    (x_t - x0.clone() * level.alpha) / level.sigma
}

/// Anything that can say what x_0 was.
pub trait Denoise {
    /// Called once before each sampling run: forget what an earlier run left behind.
    fn begin(&self) {}

    /// `x_t` `[B, H, W, C]` at `level` (the same for all images) -> estimates of the same shape.
    ///
    /// # Errors
    /// Whatever stops the network from answering; [`ProcessError::Denoiser`] wraps errors of other crates.
    fn denoise(&self, x_t: Tensor<4>, level: Level, cond: &Cond) -> Result<Denoised, ProcessError>;
}

/// A network, what it predicts, and a threshold.
///
/// With [`NetworkDenoiser::guided`] the network is asked about every image with and without its condition, in one batch of twice the
/// size, where that makes a difference. A self-conditioning network receives the thresholded x_0 of the evaluation before; the first gets none. Of a network with
/// `2 C` output channels the second C are its variance where the process learns one, and unused otherwise.
pub struct NetworkDenoiser<'a> {
    network: &'a dyn Network,
    diffusion: &'a Diffusion,
    threshold: Threshold,
    guidance: Guidance,
    /// The condition to lead away from; `None` is the null condition.
    negative: Option<Cond>,
    classifier: Option<(&'a dyn Classify, f64)>,
    previous: RefCell<Option<Tensor<4>>>,
}

impl<'a> NetworkDenoiser<'a> {
    /// `network` answers in the terms of `diffusion`'s prediction.
    pub fn new(network: &'a dyn Network, diffusion: &'a Diffusion, threshold: Threshold) -> Self {
        let (guidance, previous) = (Guidance::default(), RefCell::new(None));
        Self { network, diffusion, threshold, guidance, negative: None, classifier: None, previous }
    }

    /// Led by the difference that the condition makes; away from `negative` where that is given, of as many images as the condition.
    #[must_use]
    pub fn guided(self, guidance: Guidance, negative: Option<Cond>) -> Self {
        Self { guidance, negative, ..self }
    }

    /// Led by `scale` times the gradient of a classifier's `log p(y | x_t)` as well: `eps - scale sigma grad` (arXiv:2105.05233,
    /// algorithm 2), which moves an ancestral step's mean by `scale beta grad / sqrt(1 - beta)`, algorithm 1's shift but for the root.
    /// The condition then goes to the classifier; the network gets it too where it takes one.
    #[must_use]
    pub fn classified(self, classifier: &'a dyn Classify, scale: f64) -> Self {
        Self { classifier: Some((classifier, scale)), ..self }
    }

    /// Images at levels of their own, one for each image of `x_t` `[B, H, W, C]`.
    ///
    /// # Errors
    /// Another number of levels than images; a network whose output is not an image.
    pub fn denoise_each(&self, x_t: Tensor<4>, levels: &[Level], cond: &Cond) -> Result<Denoised, ProcessError> {
        let x_self_cond = self.previous.take();
        if let Some(previous) = &x_self_cond {
            require_same(&x_t, "x_0 of the previous step", previous)?;
        }
        let Answer { output, variance, uncond } = self.ask(&x_t, levels, x_self_cond, cond)?;
        let prediction = self.diffusion.prediction;
        let mut x0 = prediction.to_x0(levels, output.clone(), x_t.clone())?;
        let mut eps = prediction.to_eps(levels, output, x_t.clone())?;
        if let Some((classifier, scale)) = self.classifier.filter(|(_, scale)| *scale != 0.0) {
            let gradient = class_gradient(classifier, &x_t, levels, cond)?;
            (x0, eps) = shifted((x0, eps), gradient, levels, scale);
        }
        let x0 = self.threshold.apply(x0);
        let renoise = uncond.map(|output| prediction.to_eps(levels, output, x_t)).transpose()?;
        if self.network.self_condition() {
            self.previous.replace(Some(x0.clone()));
        }
        let variance = variance.filter(|_| self.diffusion.variance.is_learned()).map(|v| (v + 1.0) * 0.5);
        Ok(Denoised { x0, eps, variance, renoise })
    }

    /// The network's answer, guided.
    fn ask(
        &self,
        x_t: &Tensor<4>,
        levels: &[Level],
        x_self_cond: Option<Tensor<4>>,
        cond: &Cond,
    ) -> Result<Answer, ProcessError> {
        let answer = |x: Tensor<4>, levels: &[Level], x_self_cond: Option<Tensor<4>>, cond: Cond| {
            let mut inputs = self.diffusion.network_inputs(x.clone(), levels);
            (inputs.x_self_cond, inputs.cond) = (x_self_cond, cond);
            split_channels(self.network.forward(inputs), &x)
        };
        if !self.guidance.asks_twice(levels) {
            let (output, variance) = answer(x_t.clone(), levels, x_self_cond, cond.clone())?;
            return Ok(Answer { output, variance, uncond: None });
        }
        let both = self.both(cond)?;
        let twice = |x: Tensor<4>| Tensor::cat(vec![x.clone(), x], 0);
        let (output, variance) = answer(twice(x_t.clone()), &levels.repeat(2), x_self_cond.map(twice), both)?;
        let count = levels.len();
        let [cond, uncond] = [0, count].map(|first| output.clone().narrow(0, first, count));
        Ok(Answer {
            output: self.guidance.combine(cond, uncond.clone(), levels),
            variance: variance.map(|v| v.narrow(0, 0, count)),
            uncond: matches!(self.guidance, Guidance::CfgPp { .. }).then_some(uncond),
        })
    }

    /// The condition, then what guidance leads away from.
    fn both(&self, cond: &Cond) -> Result<Cond, ProcessError> {
        let bad = |got: String| {
            ValueError::new("guidance", got, "a condition for every image, and a negative one of its kind")
        };
        let Some(count) = cond.count() else {
            return Err(bad("on without a condition".into()).into());
        };
        let away = self.negative.clone().unwrap_or_else(|| cond.null());
        if away.count() != Some(count) {
            return Err(bad(format!("given {count} conditions and {:?} negative ones", away.count())).into());
        }
        cond.concat(&away).ok_or_else(|| bad("given conditions of two kinds".into()).into())
    }
}

/// What the network said, `[B, H, W, C]` each.
struct Answer {
    /// Guided.
    output: Tensor<4>,
    variance: Option<Tensor<4>>,
    /// Without the condition, where the solver needs that.
    uncond: Option<Tensor<4>>,
}

/// `eps - scale sigma grad`, and the x_0 that goes with it. At pure noise, where x_0 does not follow from eps, nothing moves.
fn shifted(
    (x0, eps): (Tensor<4>, Tensor<4>),
    gradient: Tensor<4>,
    levels: &[Level],
    scale: f64,
) -> (Tensor<4>, Tensor<4>) {
    let live = |level: &Level| if level.alpha > 0.0 { scale * level.sigma } else { 0.0 };
    let of_eps: Vec<f64> = levels.iter().map(live).collect();
    let of_x0: Vec<f64> =
        levels.iter().map(|l| if l.alpha > 0.0 { live(l) * l.sigma / l.alpha } else { 0.0 }).collect();
    let x0 = x0 + gradient.clone() * per_image(&of_x0, &gradient);
    (x0, eps - gradient.clone() * per_image(&of_eps, &gradient))
}

impl Denoise for NetworkDenoiser<'_> {
    fn begin(&self) {
        self.previous.take();
    }

    fn denoise(&self, x_t: Tensor<4>, level: Level, cond: &Cond) -> Result<Denoised, ProcessError> {
        let levels = vec![level; x_t.dims()[0]];
        self.denoise_each(x_t, &levels, cond)
    }
}

impl Diffusion {
    /// What the network receives for `x_t` `[B, H, W, C]`, one level per image: its input scaled as the prediction asks, its times.
    pub(crate) fn network_inputs(&self, x_t: Tensor<4>, levels: &[Level]) -> Inputs {
        let times: Vec<f64> = levels.iter().map(|level| level.t).collect();
        let times = per_image(&times, &x_t).reshape([levels.len()]);
        let scales: Vec<f64> = levels.iter().map(|&level| self.prediction.input_scale(level)).collect();
        let x = if scales.iter().all(|s| *s == 1.0) { x_t } else { x_t.clone() * per_image(&scales, &x_t) };
        Inputs::new(x, times)
    }
}

/// The first C channels of an output with C or 2 C channels, and the rest; `[B, H, W, C]` as `x`.
pub(crate) fn split_channels(output: Tensor<4>, x: &Tensor<4>) -> Result<(Tensor<4>, Option<Tensor<4>>), ProcessError> {
    let ([b, h, w, c], found) = (x.dims(), output.dims());
    match found {
        _ if found == [b, h, w, c] => Ok((output, None)),
        _ if found == [b, h, w, 2 * c] => Ok((output.clone().narrow(3, 0, c), Some(output.narrow(3, c, c)))),
        _ => Err(ProcessError::Shape {
            what: "the network's output",
            found: found.to_vec(),
            expected: format!("[{b}, {h}, {w}, {c}] or [{b}, {h}, {w}, {}]", 2 * c),
        }),
    }
}
