//! The loss of a classifier, of clean or of noisy images: cross-entropy in nats, and how often it is right.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Cond};
use difusi_nn::{Classifier, NoisyClassifier};
use difusi_process::{Diffusion, Position, q_sample};
use difusi_train::{Objective, PartSums, Phase, StepContext, TrainError};

/// Trains a classifier.
#[derive(Clone, Debug, Default)]
pub struct ClassifierObjective {
    parts: PartSums,
}

impl Objective for ClassifierObjective {
    type Model = Classifier;

    fn loss(&mut self, model: &Classifier, batch: Batch, _: &StepContext) -> Result<Tensor<1>, TrainError> {
        cross_entropy(batch.cond, model.forward(batch.x), &mut self.parts)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["accuracy"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.parts.take()
    }
}

/// Trains a classifier of noisy images: `-log p(y | x_t)` at times and with noise that a diffusion model is trained with
/// (arXiv:2105.05233, section 4).
#[derive(Clone, Debug)]
pub struct NoisyClassifierObjective {
    diffusion: Diffusion,
    parts: PartSums,
}

impl NoisyClassifierObjective {
    /// With the noise of this process.
    pub fn new(diffusion: Diffusion) -> Self {
        Self { diffusion, parts: PartSums::default() }
    }
}

impl Objective for NoisyClassifierObjective {
    type Model = NoisyClassifier;

    fn loss(&mut self, model: &NoisyClassifier, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let StepContext { noise, first_image, step, images_per_step, phase } = *context;
        let cond = batch.cond.clone();
        let drawn = match phase {
            Phase::Training => {
                self.diffusion.draw(batch, noise, Position { step, images_seen: first_image, images_per_step })
            }
            Phase::Validation => self.diffusion.draw_validation(batch, noise, first_image),
        };
        let times: Vec<f32> = drawn.levels.iter().map(|level| level.t as f32).collect();
        let times = Tensor::from_data(TensorData::new(times, [drawn.levels.len()]), &drawn.x0.device());
        let x_t = q_sample(&drawn.levels, drawn.x0, drawn.eps).map_err(TrainError::objective)?;
        cross_entropy(cond, model.forward(x_t, times), &mut self.parts)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["accuracy"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.parts.take()
    }
}

/// `-log p(label)` of each image, of `log` `[B, classes]`; notes whether the likeliest class is right.
fn cross_entropy(cond: Cond, log: Tensor<2>, parts: &mut PartSums) -> Result<Tensor<1>, TrainError> {
    let Some(labels) = cond.label() else {
        return Err(TrainError::objective("the data have no labels; expected a class for every image"));
    };
    let [count, classes] = log.dims();
    let labels: Vec<u32> = labels.iter().flatten().copied().collect();
    if labels.len() != count || labels.iter().any(|l| *l as usize >= classes) {
        let problem = format!("labels are not {count} numbers below {classes}, the model's classes");
        return Err(TrainError::objective(problem));
    }
    let device = log.device();
    let mut chosen = vec![0.0f32; count * classes];
    labels.iter().enumerate().for_each(|(i, label)| chosen[i * classes + *label as usize] = 1.0);
    let chosen = Tensor::<2>::from_data(TensorData::new(chosen, [count, classes]), &device);
    let loss = -difusi_ops::row_sums(log.clone() * chosen);
    let values: Vec<f32> = log.into_data().iter::<f32>().collect();
    let right = values.chunks(classes).zip(&labels).map(|(row, label)| {
        let best = row[*label as usize];
        f32::from(u8::from(row.iter().enumerate().all(|(k, v)| k == *label as usize || *v < best)))
    });
    let right: Vec<f32> = right.collect();
    parts.add([Tensor::<1>::from_data(TensorData::new(right, [count]), &device)])?;
    Ok(loss)
}
