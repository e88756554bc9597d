//! Against PyTorch: `xtask/golden/train_adam.py` made `golden/adam.json`.

use std::error::Error;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use difusi_core::{Batch, Dataset, Example, Stream};
use difusi_train::{Objective, StepContext, TrainConfig, TrainError, Trainer};
use serde_json::{Value, json};

use crate::common::device;

/// Two tensors, as in the script.
#[derive(Module, Debug)]
struct Two {
    a: Param<Tensor<1>>,
    b: Param<Tensor<2>>,
}

/// A loss whose gradient is the image: the inner product of pixels and weights.
struct Inner;

impl Objective for Inner {
    type Model = Two;

    fn loss(&mut self, model: &Two, batch: Batch, _: &StepContext) -> Result<Tensor<1>, TrainError> {
        let [n, ..] = batch.x.dims();
        let x = batch.x.reshape([n, 7]);
        let a = x.clone().slice([0..n, 0..3]).matmul(model.a.val().reshape([3, 1]));
        let b = x.slice([0..n, 3..7]).matmul(model.b.val().reshape([4, 1]));
        Ok((a + b).reshape([n]))
    }
}

struct Gradients(Vec<Vec<f32>>);

impl Dataset for Gradients {
    fn count(&self) -> u64 {
        u64::MAX
    }

    fn shape(&self) -> [usize; 3] {
        [1, 1, 7]
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, _: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        Ok(Example { pixels: self.0[index as usize % self.0.len()].clone(), label: None })
    }
}

fn floats(v: &Value) -> Vec<f32> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
}

#[test]
fn adam_is_pytorchs() {
    let golden: Value = serde_json::from_str(include_str!("../golden/adam.json")).unwrap();
    let gradients: Vec<Vec<f32>> = golden["gradients"].as_array().unwrap().iter().map(floats).collect();
    let start = floats(&golden["start"]);
    for case in golden["cases"].as_array().unwrap() {
        let mut train = case["train"].clone();
        for (key, value) in [("steps", json!(gradients.len())), ("batch_size", json!(1)), ("ema", json!([]))] {
            train[key] = value;
        }
        let config: TrainConfig = serde_json::from_value(train).unwrap();
        let model = Two {
            a: Param::from_data(TensorData::new(start[..3].to_vec(), [3]), &device()),
            b: Param::from_data(TensorData::new(start[3..].to_vec(), [2, 2]), &device()),
        };
        let data = Arc::new(Gradients(gradients.clone()));
        let mut trainer = Trainer::new(config, Inner, model, data, &device()).unwrap();
        for (k, expected) in case["weights"].as_array().unwrap().iter().map(floats).enumerate() {
            let report = trainer.next().unwrap().unwrap();
            let norm = case["norms"][k].as_f64().unwrap();
            assert!((report.grad_norm / norm - 1.0).abs() < 1e-6, "{} step {k}: norm", case["name"]);
            let model = trainer.raw();
            let now: TensorData = model.a.val().into_data();
            let rest = model.b.val().into_data();
            let now = [now.as_slice::<f32>().unwrap(), rest.as_slice::<f32>().unwrap()].concat();
            for (x, y) in now.iter().zip(&expected) {
                assert!((x - y).abs() < 1e-6, "{} step {k}: {now:?}, PyTorch {expected:?}", case["name"]);
            }
        }
        assert!(trainer.next().is_none());
    }
}
