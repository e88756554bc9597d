//! Everything random in a step at once: times, noise, dropout masks, self-conditioning, augmentation, validation.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use difusi_core::{Draw, Dropout, Inputs, Network};
use difusi_process::DiffusionConfig;
use difusi_train::{DiffusionObjective, MicroBatch, TrainConfig, Trainer, Weights};

use crate::common::{Bits, Mlp, bits, device, images, largest_difference, quick};

/// [`Mlp`] with dropout on its input and a look at its own guess.
#[derive(Module, Debug)]
struct Chancy {
    mlp: Mlp,
}

impl Network for Chancy {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let [b, h, w, c] = inputs.x.dims();
        let guess = inputs.x_self_cond.unwrap_or_else(|| inputs.x.zeros_like());
        let mut x = inputs.x + guess * 0.5;
        if let Some(Dropout { noise, first_image }) = inputs.dropout {
            let keep = |image| {
                let mut s = noise.stream(Draw::Dropout, image, 0);
                (0..h * w * c).map(move |_| if s.uniform() < 0.3 { 0.0 } else { 1.0f32 / 0.7 }).collect::<Vec<_>>()
            };
            let mask: Vec<f32> = (first_image..first_image + b as u64).flat_map(keep).collect();
            x = x * Tensor::<4>::from_data(TensorData::new(mask, [b, h, w, c]), &device());
        }
        self.mlp.forward(Inputs::new(x, inputs.t))
    }

    fn self_condition(&self) -> bool {
        true
    }
}

type Chances = Trainer<DiffusionObjective<Chancy>>;

fn trainer(micro: usize, weights: u64) -> Chances {
    let micro_batch = MicroBatch::Images(micro);
    let config = TrainConfig { batch_size: 6, accumulation: 2, micro_batch, validation: 0.3, clip: 0.0, ..quick() };
    let objective = DiffusionObjective::new(DiffusionConfig::default().build().unwrap());
    Trainer::new(config, objective, Chancy { mlp: Mlp::new(weights) }, images(23), &device()).unwrap()
}

/// Losses of some steps, with a validation after every third.
fn run(t: &mut Chances, steps: usize) -> Vec<f64> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        losses.push(t.step().unwrap().loss);
        if t.steps_done().is_multiple_of(3) {
            losses.extend(t.validation_loss(Weights::Ema(0)).unwrap());
        }
    }
    losses
}

fn all_bits(t: &Chances) -> Vec<Bits> {
    vec![bits(&t.raw().mlp), bits(&t.ema(0).unwrap().mlp)]
}

/// How a batch is cut changes no draw, so losses and weights differ by rounding only.
#[test]
fn cutting_changes_no_draw() {
    let mut whole = trainer(6, 1);
    let losses = run(&mut whole, 6);
    for micro in [1, 4] {
        let mut cut = trainer(micro, 1);
        let other = run(&mut cut, 6);
        assert!(losses.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{micro}: {losses:?} {other:?}");
        let difference = largest_difference(&all_bits(&whole), &all_bits(&cut));
        assert!(difference < 2e-4, "{micro}: weights differ by {difference}");
    }
}

#[test]
fn resume_changes_no_draw() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = trainer(4, 1);
    let losses = run(&mut whole, 20);
    let mut first = trainer(4, 1);
    let mut resumed = run(&mut first, 10);
    first.save_state(&dir.path().join("s")).unwrap();
    let mut second = trainer(4, 555);
    second.resume(&dir.path().join("s")).unwrap();
    resumed.extend(run(&mut second, 10));
    assert_eq!(losses, resumed);
    assert!(all_bits(&whole) == all_bits(&second));
}
