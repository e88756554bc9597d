//! Losses, their gradients, and what is drawn for a training batch.

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Batch, Cond, Dropout, Inputs, Network, Noise};
use difusi_process::{Diffusion, DiffusionConfig, Loss, Position, Prediction, TrainingInputs, Weighting, q_sample};

use crate::common::{check_all_close, check_close, filled, tensor, values, wavy};

fn diffusion(prediction: Prediction, loss: Loss, weighting: Weighting) -> Diffusion {
    DiffusionConfig { timesteps: 100, prediction, loss, weighting, ..DiffusionConfig::default() }.build().unwrap()
}

/// `w x + 0.25 w (self-conditioning)`.
struct Scale {
    w: Tensor<4>,
    self_condition: bool,
}

impl Scale {
    fn new(w: f32, device: &Device, self_condition: bool) -> Self {
        let w = Tensor::from_data(TensorData::new(vec![w], [1, 1, 1, 1]), device);
        let w = if device.is_autodiff() { w.require_grad() } else { w };
        Self { w, self_condition }
    }
}

impl Network for Scale {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let x = inputs.x_self_cond.map_or(inputs.x.clone(), |c| inputs.x + c * 0.25);
        x * self.w.clone()
    }

    fn self_condition(&self) -> bool {
        self.self_condition
    }
}

fn inputs(device: &Device, self_condition: bool) -> TrainingInputs {
    let shape = [3, 4, 5, 2];
    let (x0, eps) = (wavy(shape, 0.0).to_device(device), wavy(shape, 1.0).to_device(device));
    let levels = DiffusionConfig { timesteps: 100, ..DiffusionConfig::default() }.build().unwrap();
    let levels = [0, 50, 99].map(|t| levels.level(t).unwrap()).to_vec();
    TrainingInputs { x0, levels, importance: vec![1.0; 3], eps, cond: Cond::None, self_condition, dropout: None }
}

/// Known values: |d|, d^2, and Huber's two branches, which meet at delta.
#[test]
fn losses_of_known_errors() {
    let shape = [1, 1, 2, 1];
    let loss = |loss: Loss, d: [f32; 2]| {
        f64::from(values(loss.per_example(tensor(d.to_vec(), shape), filled(0.0, shape)).unwrap())[0])
    };
    check_close(loss(Loss::L1 {}, [-3.0, 1.0]), 2.0, 1e-6);
    check_close(loss(Loss::L2 {}, [-3.0, 1.0]), 5.0, 1e-6);
    check_close(loss(Loss::Huber { delta: 2.0 }, [-3.0, 1.0]), (2.0 * (3.0 - 1.0) + 0.5) / 2.0, 1e-6);
    check_close(loss(Loss::Huber { delta: 100.0 }, [-3.0, 1.0]), 2.5, 1e-6);
    check_close(loss(Loss::Huber { delta: 2.0 }, [2.0, 2.0]), 2.0, 1e-6);
    assert!(Loss::L2 {}.per_example(filled(0.0, [1, 1, 2, 1]), filled(0.0, [1, 1, 1, 2])).is_err());
    assert_eq!(Loss::Huber { delta: -1.0 }.check()[0].key, "loss.delta");
}

/// Gradients reach the network and equal dL/dw computed by hand, for every loss and prediction.
#[test]
fn gradients_flow() {
    let device = Device::flex().autodiff();
    for loss in [Loss::L1 {}, Loss::L2 {}, Loss::Huber { delta: 0.4 }] {
        for prediction in Prediction::ALL {
            let d = diffusion(prediction, loss, Weighting::MinSnr { gamma: 5.0 });
            let net = Scale::new(0.6, &device, false);
            let grads = d.training_loss(&net, inputs(&device, false)).unwrap().mean().backward();
            let found = values(net.w.grad(&grads).unwrap())[0];
            check_close(f64::from(found), by_hand(&d, 0.6, None), 2e-4);
        }
    }
}

/// dL/dw of [`Scale`], in f64; `guess` is what the first pass put out.
fn by_hand(d: &Diffusion, w: f64, guess: Option<&[f32]>) -> f64 {
    let TrainingInputs { x0, levels, eps, .. } = inputs(&Device::flex(), false);
    let x_t = values(q_sample(&levels, x0.clone(), eps.clone()).unwrap());
    let target = values(d.prediction.target(&levels, x0, eps).unwrap());
    let mut sum = 0.0;
    for i in 0..target.len() {
        let x = d.prediction.input_scale(levels[i / 40]) * f64::from(x_t[i])
            + guess.map_or(0.0, |g| 0.25 * f64::from(g[i]));
        let e = w * x - f64::from(target[i]);
        let slope = match d.loss {
            Loss::L1 {} => e.signum(),
            Loss::L2 {} | Loss::Hybrid { .. } | Loss::Vlb {} => 2.0 * e,
            Loss::Huber { delta } => e.clamp(-delta, delta),
        };
        sum += slope * x * d.weight(levels[i / 40]);
    }
    sum / target.len() as f64
}

/// Self-conditioning conditions on the first guess of x_0 and takes no gradient through it.
#[test]
fn self_conditioning_has_no_gradient() {
    let device = Device::flex().autodiff();
    let d = diffusion(Prediction::X0 {}, Loss::L2 {}, Weighting::Simple {});
    let gradient = |self_condition, asked| {
        let net = Scale::new(0.6, &device, self_condition);
        let grads = d.training_loss(&net, inputs(&device, asked)).unwrap().mean().backward();
        f64::from(values(net.w.grad(&grads).unwrap())[0])
    };
    let TrainingInputs { x0, levels, eps, .. } = inputs(&Device::flex(), false);
    let guess = values(q_sample(&levels, x0, eps).unwrap() * 0.6);
    check_close(gradient(true, true), by_hand(&d, 0.6, Some(&guess)), 1e-5);
    check_close(gradient(true, false), by_hand(&d, 0.6, None), 1e-5);
    check_close(gradient(false, true), by_hand(&d, 0.6, None), 1e-5);
}

/// A perfect network has no loss.
#[test]
fn the_target_has_no_loss() {
    struct Fixed(Tensor<4>);
    impl Network for Fixed {
        fn forward(&self, _: Inputs) -> Tensor<4> {
            self.0.clone()
        }
    }
    for prediction in Prediction::ALL {
        let d = diffusion(prediction, Loss::L2 {}, Weighting::Simple {});
        let given = inputs(&Device::flex(), false);
        let net = Fixed(prediction.target(&given.levels, given.x0.clone(), given.eps.clone()).unwrap());
        assert_eq!(values(d.training_loss(&net, given).unwrap()), [0.0; 3]);
    }
}

fn batch(first: usize, count: usize) -> Batch {
    let all = wavy([6, 4, 4, 1], 0.0);
    Batch { x: all.narrow(0, first, count), cond: Cond::None }
}

/// Splitting a batch into micro-batches changes no time, no noise, no loss and no decision, to the bit.
#[test]
fn draws_do_not_depend_on_the_batch() {
    let d = diffusion(Prediction::Velocity {}, Loss::L2 {}, Weighting::Simple {});
    let net = Scale::new(0.6, &Device::flex(), true);
    let part = |first: usize, count: usize| {
        let at = Position { step: 3, images_seen: 60 + first as u64, images_per_step: 6 };
        let drawn = d.draw(batch(first, count), Noise::new(9), at);
        assert_eq!(drawn.dropout, Some(Dropout { noise: Noise::new(9), first_image: at.images_seen }));
        let (t, eps, decision) = (drawn.levels.clone(), values(drawn.eps.clone()), drawn.self_condition);
        (t, eps, decision, values(d.training_loss(&net, drawn).unwrap()))
    };
    let (whole, a, b) = (part(0, 6), part(0, 2), part(2, 4));
    assert_eq!(whole.0, [a.0, b.0].concat());
    assert_eq!(whole.1, [a.1, b.1].concat());
    assert_eq!(whole.3, [a.3, b.3].concat());
    assert!(whole.2 == a.2 && whole.2 == b.2);
}

/// t is uniform on 0..T; half the steps self-condition; validation draws the same each time.
#[test]
fn draws_have_the_right_distribution() {
    let d = diffusion(Prediction::Velocity {}, Loss::L2 {}, Weighting::Simple {});
    let (mut counts, mut decisions) = ([0usize; 100], 0);
    for step in 0..2000 {
        let drawn = d.draw(batch(0, 6), Noise::new(1), Position { step, images_seen: 6 * step, images_per_step: 6 });
        drawn.levels.iter().for_each(|l| counts[l.t as usize] += 1);
        decisions += usize::from(drawn.self_condition);
    }
    assert!(counts.iter().all(|n| (70..180).contains(n)), "{counts:?}"); // 120 on average
    assert!((900..1100).contains(&decisions), "{decisions}");
    let validation = || d.draw_validation(batch(0, 6), Noise::new(1), 40);
    assert_eq!(validation().levels, validation().levels);
    assert_eq!(values(validation().eps), values(validation().eps));
    assert!(validation().dropout.is_none() && !validation().self_condition);
    let training = d.draw(batch(0, 6), Noise::new(1), Position { step: 0, images_seen: 40, images_per_step: 6 });
    assert_ne!(training.levels, validation().levels);
    check_all_close("x", &values(training.x0), &values(validation().x0), 0.0);
}
