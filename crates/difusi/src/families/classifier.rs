//! The loss of a classifier: cross-entropy in nats, and how often it is right.

use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Cond};
use difusi_nn::Classifier;
use difusi_train::{Objective, PartSums, StepContext, TrainError};

/// Trains a classifier.
#[derive(Clone, Debug, Default)]
pub struct ClassifierObjective {
    parts: PartSums,
}

impl Objective for ClassifierObjective {
    type Model = Classifier;

    fn loss(&mut self, model: &Classifier, batch: Batch, _: &StepContext) -> Result<Tensor<1>, TrainError> {
        let Cond::Label(labels) = batch.cond else {
            return Err(TrainError::objective("the data have no labels; expected a class for every image"));
        };
        let log = model.forward(batch.x); // [B, classes]
        let [count, classes] = log.dims();
        let labels: Vec<u32> = labels.into_iter().flatten().collect();
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
        self.parts.add([Tensor::<1>::from_data(TensorData::new(right, [count]), &device)])?;
        Ok(loss)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["accuracy"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.parts.take()
    }
}
