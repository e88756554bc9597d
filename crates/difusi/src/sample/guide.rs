//! A classifier of noisy images that leads a diffusion model (Dhariwal & Nichol 2021, arXiv:2105.05233, section 4).

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::Cond;
use difusi_nn::NoisyClassifier;
use difusi_process::{Classify, Level, ProcessError};

use crate::config::ClassifierTask;
use crate::network::ModelNetwork;
use crate::{Error, Model, Task};

/// A classifier, and how strongly it leads.
#[derive(Clone, Debug)]
pub struct Guide {
    network: NoisyClassifier,
    scale: f64,
}

impl Guide {
    /// `classifier` for pictures of `model`; `scale` multiplies the gradient of `log p(y | x_t)`: 0 is off, 1 is Bayes' rule.
    ///
    /// # Errors
    /// A model that is no classifier of noisy images, or of other pictures or another noise than the model's; a scale that is no number
    /// of at most 1000.
    pub fn new(classifier: &Model, model: &Model, scale: f64, device: &Device) -> Result<Self, Error> {
        let (Task::Classifier(ClassifierTask { diffusion: Some(own), .. }), ModelNetwork::NoisyClassifier(network)) =
            (&classifier.card.task, &classifier.network)
        else {
            let accepted = "a classifier of noisy images (model.kind = \"classifier\" with noisy = true)";
            return Err(Error::value("the classifier", classifier.card.task.title(), accepted));
        };
        let task = model.diffusion()?.task;
        if classifier.card.shape != model.card.shape {
            let accepted = format!("{:?}, as the model's ([height, width, channels])", model.card.shape);
            return Err(Error::value(
                "the shape of the classifier's pictures",
                format!("{:?}", classifier.card.shape),
                accepted,
            ));
        }
        if let Some(classes) = task.network.classes().filter(|c| *c != network.classes()) {
            let accepted = format!("{classes}, as the model's");
            return Err(Error::value("the number of the classifier's classes", network.classes(), accepted));
        }
        let noise = |d: &difusi_process::DiffusionConfig| (d.timesteps, d.schedule.clone(), d.zero_terminal_snr);
        if noise(own) != noise(&task.diffusion) {
            let accepted =
                format!("{:?} with {} steps, as the model's", task.diffusion.schedule, task.diffusion.timesteps);
            let got = format!("{:?} with {} steps", own.schedule, own.timesteps);
            return Err(Error::value("the classifier's noise schedule", got, accepted));
        }
        if !(scale.is_finite() && scale.abs() <= 1000.0) {
            return Err(Error::value("the classifier's scale", scale, "a number of at most 1000"));
        }
        // Its weights take no gradient, what it sees does.
        let network = network.clone().fork(&device.clone().autodiff()).no_grad();
        Ok(Self { network, scale })
    }

    /// Classes that it tells apart.
    pub fn classes(&self) -> usize {
        self.network.classes()
    }

    pub(super) fn scale(&self) -> f64 {
        self.scale
    }
}

impl Classify for Guide {
    fn log_prob(&self, x_t: Tensor<4>, levels: &[Level], cond: &Cond) -> Result<Tensor<1>, ProcessError> {
        let Some(labels) = cond.label() else {
            return Err(ProcessError::Denoiser("a classifier leads to a label, and none is asked for".into()));
        };
        let times: Vec<f32> = levels.iter().map(|level| level.t as f32).collect();
        let times = Tensor::from_data(TensorData::new(times, [levels.len()]), &x_t.device());
        let log = self.network.forward(x_t, times);
        let [count, classes] = log.dims();
        let mut chosen = vec![0.0_f32; count * classes];
        for (i, label) in labels.iter().enumerate() {
            if let Some(label) = label {
                chosen[i * classes + *label as usize] = 1.0;
            }
        }
        let chosen = Tensor::from_data(TensorData::new(chosen, [count, classes]), &log.device());
        Ok(difusi_ops::row_sums(log * chosen))
    }
}
