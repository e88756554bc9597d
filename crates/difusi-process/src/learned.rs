//! The loss of a schedule that is trained with the network: variational diffusion models (Kingma et al., arXiv:2107.00630).
//!
//! Minus log-SNR is `gamma(t) = gamma_0 + (gamma_1 - gamma_0) place(t)`, `place` a rising network (appendix H). In nats per dimension an
//! image's loss is `T / 2 (exp(gamma(t) - gamma(s)) - 1) |eps - eps-hat|^2 + L_T + L_0` (eq. 14 for T steps), t uniform on the T
//! steps and s the one before.
//!
//! The denoiser and both ends descend on this bound. In between the bound hardly depends on gamma, but the variance of its estimate
//! does, so `place` descends on the square of the diffusion term (appendix I.2): its gradient is `2 L dL`. Both come from one
//! backward pass. The factor `2 L` must be known before it, so an evaluation without gradient says it first.
//!
//! L_0 is that of the decoder `x_0 / alpha_0` discretised: it needs no network, as in the paper, where it is a softmax over the 256
//! levels instead. Deliberately absent: continuous time; the paper's Fourier features, which are the network's (`model.fourier`).

use burn::tensor::{Tensor, TensorData, activation::sigmoid};
use difusi_core::{Inputs, Network, NoiseCurve};

use crate::{
    Diffusion, Loss, ProcessError, TrainingInputs,
    bound::{Decoder, image_sums},
    denoise::split_channels,
};

/// What the network is asked about one batch.
struct Question<'a> {
    network: &'a dyn Network,
    inputs: TrainingInputs,
    timesteps: f64,
}

impl Diffusion {
    /// Loss of each image, `[B]`, in nats per dimension; gradients flow to the network and to its curve.
    pub(crate) fn learned_loss(
        &self,
        network: &dyn Network,
        curve: &dyn NoiseCurve,
        inputs: TrainingInputs,
    ) -> Result<Tensor<1>, ProcessError> {
        let timesteps = self.process.timesteps() as f64;
        let steps = || inputs.levels.iter().map(|level| level.t);
        let times: Vec<f64> = steps().chain(steps().map(|t| (t - 1.0).max(0.0))).collect();
        let times: Vec<f64> = times.into_iter().map(|t| t / (timesteps - 1.0)).collect();
        let (x0, eps, batch) = (inputs.x0.clone(), inputs.eps.clone(), inputs.levels.len());
        let like = (&x0.device(), x0.dtype());
        let place = curve.place(Tensor::from_data(TensorData::new(times, [2 * batch]), like)); // [2 B]: t, s
        let ends = curve.ends(); // [2]
        let gamma = |place: Tensor<1>| {
            let [first, last] = [0, 1].map(|i| ends.clone().narrow(0, i, 1));
            (last - first.clone()) * place + first
        };
        let question = Question { network, inputs, timesteps };
        let place = if place.is_tracked() {
            let size = question.loss(gamma(place.clone()).detach())?.detach() * 2.0;
            scaled_gradient(place, Tensor::cat(vec![size.clone(), size], 0))
        } else {
            place
        };
        Ok(question.loss(gamma(place))? + ends_loss(x0, eps, ends))
    }
}

impl Question<'_> {
    /// The diffusion term of each image at `gamma` `[2 B]`: of its t, then of its s.
    fn loss(&self, gamma: Tensor<1>) -> Result<Tensor<1>, ProcessError> {
        let TrainingInputs { x0, levels, eps, cond, self_condition, dropout, .. } = self.inputs.clone();
        let batch = levels.len();
        let [at, before] = [0, batch].map(|from| gamma.clone().narrow(0, from, batch));
        let each = |x: Tensor<1>| x.reshape([batch, 1, 1, 1]);
        let (alpha, sigma) = (each(sigmoid(at.clone().neg()).sqrt()), each(sigmoid(at.clone()).sqrt()));
        let x_t = x0 * alpha.clone() + eps.clone() * sigma.clone();
        let times: Vec<f64> = levels.iter().map(|level| level.t).collect();
        let times = Tensor::from_data(TensorData::new(times, [batch]), (&x_t.device(), x_t.dtype()));
        let mut to_network = Inputs { cond, dropout, ..Inputs::new(x_t.clone(), times) };
        if self_condition && self.network.self_condition() {
            let guess = split_channels(self.network.forward(to_network.clone()), &x_t)?.0;
            to_network.x_self_cond = Some(((x_t.clone() - guess * sigma) / alpha).detach());
        }
        let (output, _) = split_channels(self.network.forward(to_network), &x_t)?;
        let squares = Loss::L2 {}.per_example(output, eps)?;
        Ok(squares * ((at - before).exp() - 1.0) * (0.5 * self.timesteps))
    }
}

/// L_T + L_0 of each image, per dimension, which the ends of the curve alone decide.
fn ends_loss(x0: Tensor<4>, eps: Tensor<4>, ends: Tensor<1>) -> Tensor<1> {
    let [_, h, w, c] = x0.dims();
    let numbers = (h * w * c) as f64;
    let [first, last] = [0, 1].map(|i| ends.clone().narrow(0, i, 1)); // [1]
    let noise = sigmoid(last.clone());
    let prior = sigmoid(last.neg()) * (image_sums(x0.clone().square()) / numbers) + noise.clone() - noise.log() - 1.0;
    let log_variance = first.reshape([1, 1, 1, 1]).expand(x0.dims());
    let mean = x0.clone() + eps * (log_variance.clone() * 0.5).exp();
    let decoded = image_sums(Decoder::Discretised.log_prob_each(x0, mean, log_variance)) / numbers;
    prior * 0.5 - decoded
}

/// `x` itself, whose gradient is multiplied by `factors`; both `[N]`.
fn scaled_gradient(x: Tensor<1>, factors: Tensor<1>) -> Tensor<1> {
    let value = x.clone().detach();
    (x - value.clone()) * factors + value
}
