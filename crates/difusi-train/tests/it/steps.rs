//! What a step does.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use difusi_core::Batch;
use difusi_process::DiffusionConfig;
use difusi_train::{
    DiffusionObjective, MicroBatch, Objective, PartSums, StepContext, TrainConfig, TrainError, Trainer, Weights,
};

use crate::common::{Denoising, Mlp, all_bits, bits, device, images, largest_difference, quick, run, trainer};

/// Cutting a batch into parts changes its gradient by rounding only, equal parts or not.
#[test]
fn parts_equal_the_whole_batch() {
    let whole = |batch_size, accumulation, micro| {
        let micro_batch = MicroBatch::Images(micro);
        let mut t = trainer(TrainConfig { batch_size, accumulation, micro_batch, ..quick() });
        let losses = run(&mut t, 5);
        (losses, all_bits(&t))
    };
    let (losses, weights) = whole(12, 1, 12);
    for (batch, accumulation, micro) in [(12, 1, 5), (12, 1, 1), (6, 2, 6), (6, 2, 4), (3, 4, 3)] {
        let (l, w) = whole(batch, accumulation, micro);
        assert!(l.iter().zip(&losses).all(|(a, b)| (a - b).abs() < 1e-5), "{batch} x {accumulation} by {micro}: {l:?}");
        let difference = largest_difference(&w, &weights);
        assert!(difference < 2e-4, "{batch} x {accumulation} by {micro}: weights differ by {difference}");
    }
}

#[test]
fn a_few_images_are_learned() {
    for validation in [0.0, 0.25] {
        let mut t = Trainer::new(
            TrainConfig { steps: 300, batch_size: 8, learning_rate: 1e-2, validation, ..TrainConfig::default() },
            Denoising,
            Mlp::new(1),
            images(16),
            &device(),
        )
        .unwrap();
        let before = t.validation_loss(Weights::Raw).unwrap();
        let losses: Vec<f64> = t.by_ref().map(|r| r.unwrap().loss).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert_eq!(losses.len(), 300);
        assert!(mean(&losses[250..]) < 0.3 * mean(&losses[..5]), "{losses:?}");
        let after = [Weights::Raw, Weights::Ema(0)].map(|w| t.validation_loss(w).unwrap());
        assert_eq!(before.is_some(), validation > 0.0);
        if let (Some(before), [Some(raw), Some(ema)]) = (before, after) {
            assert!(raw < 0.5 * before && ema < 0.5 * before, "{before} -> {raw}, {ema}");
            assert_eq!(t.validation_loss(Weights::Raw).unwrap(), Some(raw), "validation must repeat itself");
        }
        assert!(t.ema(1).unwrap_err().to_string().contains("an index below 1"));
    }
}

/// Validation, models taken out and checkpoints do not move the run.
#[test]
fn looking_changes_nothing() {
    let config = TrainConfig { validation: 0.3, ..quick() };
    let (mut seen, mut unseen) = (trainer(config.clone()), trainer(config));
    let dir = tempfile::tempdir().unwrap();
    for step in 0..6 {
        seen.validation_loss(Weights::Ema(0)).unwrap();
        seen.raw();
        seen.save_state(&dir.path().join(format!("{step}"))).unwrap();
        assert_eq!(seen.step().unwrap().loss, unseen.step().unwrap().loss);
    }
    assert!(all_bits(&seen) == all_bits(&unseen));
}

/// Frozen tensors stay, weights that no loss reaches stay (even under weight decay), averages begin at the weights.
#[test]
fn only_what_is_reached_moves() {
    let optimizer = difusi_train::OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1 };
    let mut t = trainer(TrainConfig { optimizer, ..quick() });
    let start = bits(&Mlp::new(1));
    assert!(all_bits(&t).iter().all(|w| *w == start));
    run(&mut t, 5);
    let now = all_bits(&t);
    for weights in &now {
        let moved: Vec<bool> = weights.iter().zip(&start).map(|(a, b)| a != b).collect();
        assert_eq!(moved, [true, true, true, false, false]); // first, second, bias; scale, unused
    }
    assert_ne!(now[0], now[1]);
}

/// The average after each step, from the raw weights and the formula in f64.
#[test]
fn averages_follow_the_weights() {
    for (warmup, every) in [(true, 1), (false, 1), (true, 2)] {
        let mut t = trainer(TrainConfig { ema: vec![0.8], ema_warmup: warmup, ema_every: every, ..quick() });
        let value = |m: &Mlp| f64::from(m.bias.val().into_data().as_slice::<f32>().unwrap()[3]);
        let mut exact = value(&t.raw());
        let mut n = 0;
        for step in 1..=12u64 {
            t.step().unwrap();
            if step % every == 0 {
                let decay = difusi_train::ema_decay(0.8, n, warmup);
                exact = decay * exact + (1.0 - decay) * value(&t.raw());
                n += 1;
            }
            assert!((value(&t.ema(0).unwrap()) - exact).abs() < 1e-6, "warm-up {warmup}, every {every}, step {step}");
        }
    }
}

#[test]
fn reports_count() {
    let config = TrainConfig { warmup_steps: 2, accumulation: 2, steps: 3, ..quick() };
    let mut t = Trainer::new(config, Denoising, Mlp::new(1), images(24), &device()).unwrap();
    let reports: Vec<_> = t.by_ref().map(Result::unwrap).collect();
    assert_eq!(reports.iter().map(|r| r.step).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(reports.iter().map(|r| r.images_seen).collect::<Vec<_>>(), [12, 24, 36]);
    assert_eq!(reports.iter().map(|r| r.epoch.unwrap()).collect::<Vec<_>>(), [0.5, 1.0, 1.5]);
    assert_eq!(reports.iter().map(|r| r.learning_rate).collect::<Vec<_>>(), [0.5e-2, 1e-2, 1e-2]);
    assert!(reports.iter().all(|r| r.skipped.is_none() && r.grad_norm > 0.0 && r.seconds > 0.0));
    assert!(t.next().is_none());
    assert_eq!(t.trainable_weights(), 5 * 16 + 16 + 16 * 4 + 2);

    let mut unlimited = Trainer::new(quick(), Denoising, Mlp::new(1), images(u64::MAX), &device()).unwrap();
    assert_eq!(unlimited.step().unwrap().epoch, None);
}

/// A clipped gradient moves the weights as far as a shorter one: with plain Adam's first step that is invisible, so the
/// second moment of a large eps is used, where the step is nearly proportional to the gradient.
#[test]
fn clipping_shortens_the_step() {
    let moved = |clip| {
        let optimizer = difusi_train::OptimizerConfig::Adam { beta1: 0.0, beta2: 0.0, eps: 1e3 };
        let mut t = trainer(TrainConfig { clip, optimizer, learning_rate: 1.0, ..quick() });
        let before = all_bits(&t);
        let norm = t.step().unwrap().grad_norm;
        (f64::from(largest_difference(&all_bits(&t)[..1], &before[..1])), norm)
    };
    let ((free, norm), (clipped, same)) = (moved(0.0), moved(0.01));
    assert_eq!(norm, same, "the norm is reported before clipping");
    assert!(norm > 0.02);
    assert!((clipped / free * norm / 0.01 - 1.0).abs() < 0.05, "{free} -> {clipped}, norm {norm}");
}

/// Parts are means over a step's images however it is cut, and over the held-out ones; looking at them moves nothing.
#[test]
fn parts_are_means() {
    let trainer = |micro| {
        let config = TrainConfig { batch_size: 6, micro_batch: MicroBatch::Images(micro), validation: 0.3, ..quick() };
        Trainer::new(config, Named(PartSums::default()), Mlp::new(1), images(23), &device()).unwrap()
    };
    let (mut whole, mut cut) = (trainer(6), trainer(4));
    for _ in 0..3 {
        let [a, b] = [whole.step().unwrap(), cut.step().unwrap()];
        assert!((a.parts[0] - 2.0 * a.loss).abs() < 1e-6 && a.parts[1] == 3.0, "{a:?}");
        assert!((a.parts[0] - b.parts[0]).abs() < 1e-5, "{a:?} {b:?}");
        let seen = whole.validation(Weights::Raw).unwrap().unwrap();
        assert!((seen.parts[0] - 2.0 * seen.loss).abs() < 1e-6 && seen.parts.len() == 2, "{seen:?}");
    }
}

/// [`Denoising`] with parts.
struct Named(PartSums);

impl Objective for Named {
    type Model = Mlp;

    fn loss(&mut self, model: &Mlp, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let loss = Denoising.loss(model, batch, context)?;
        self.0.add([loss.clone() * 2.0, loss.clone() * 0.0 + 3.0])?;
        Ok(loss)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["twice", "three"]
    }

    fn take_parts(&mut self) -> Vec<f64> {
        self.0.take()
    }
}

/// Diffusion is an objective like any other: it learns, a batch may be cut, validation repeats itself.
#[test]
fn diffusion_trains() {
    let trainer = |micro| {
        let config = TrainConfig { batch_size: 16, micro_batch: MicroBatch::Images(micro), validation: 0.2, ..quick() };
        let objective = DiffusionObjective::new(DiffusionConfig::default().build().unwrap());
        Trainer::new(config, objective, Mlp::new(1), images(40), &device()).unwrap()
    };
    let (mut whole, mut parts) = (trainer(16), trainer(5));
    let before = whole.validation_loss(Weights::Raw).unwrap().unwrap();
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    let (a, b) = (run(&mut whole, 10), run(&mut parts, 10));
    assert!(close(&a, &b), "{a:?} {b:?}");
    run(&mut whole, 290);
    let after = whole.validation_loss(Weights::Raw).unwrap().unwrap();
    assert!(after < 0.8 * before, "{before} -> {after}");
    assert_eq!(whole.validation_loss(Weights::Raw).unwrap(), Some(after));
}

/// As many weights as a U-Net(32; 1, 2, 4) has, in as many tensors, and next to no work for the network.
#[derive(Module, Debug)]
struct Heavy {
    tensors: Vec<Param<Tensor<1>>>,
}

struct Cheap;

impl Objective for Cheap {
    type Model = Heavy;

    fn loss(&mut self, model: &Heavy, batch: Batch, _: &StepContext) -> Result<Tensor<1>, TrainError> {
        let [b, ..] = batch.x.dims();
        let x = batch.x.reshape([b, 4]).mean_dim(1).reshape([b]);
        let zero = Tensor::zeros([1], &x.device());
        Ok(model.tensors.iter().fold(zero, |sum, w| sum + w.val().slice(0..1)) * x)
    }
}

#[test]
#[ignore = "measures time"]
fn overhead_of_the_trainer() {
    let tensor =
        |_| Param::from_tensor(Tensor::<1>::from_data(TensorData::new(vec![0.1f32; 13_000], [13_000]), &device()));
    let model = Heavy { tensors: (0..200).map(tensor).collect() };
    let mut t = Trainer::new(quick(), Cheap, model, images(23), &device()).unwrap();
    let mut seconds: Vec<f64> = (0..20).map(|_| t.step().unwrap().seconds).collect();
    seconds.sort_by(f64::total_cmp);
    println!("{} weights: {:.1} ms per step around the network", t.trainable_weights(), seconds[10] * 1e3);
}
