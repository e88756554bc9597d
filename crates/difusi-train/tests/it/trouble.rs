//! What goes wrong, and how.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use difusi_core::{Batch, Dataset, Example, Stream};
use difusi_store::{ExistingRun, RunDir};
use difusi_train::{MicroBatch, Objective, StepContext, TrainConfig, TrainError, Trainer};

use crate::common::{Denoising, Images, Mlp, all_bits, device, images, quick, run, trainer};

/// What is broken in the steps of a range.
#[derive(Clone, Copy, PartialEq)]
enum Break {
    Loss,
    /// The loss is finite, the gradient of `second` is not.
    Gradient,
    Shape,
    Constant,
    Fail,
}

struct Broken(Break, Range<u64>);

impl Objective for Broken {
    type Model = Mlp;

    fn loss(&mut self, model: &Mlp, batch: Batch, context: &StepContext) -> Result<Tensor<1>, TrainError> {
        let loss = Denoising.loss(model, batch, context)?;
        if !self.1.contains(&context.step) {
            return Ok(loss);
        }
        match self.0 {
            Break::Loss => Ok(loss / 0.0),
            // sqrt(0) is 0, its derivative is not finite
            Break::Gradient => Ok(loss + (model.second.val().sum() * 0.0).sqrt()),
            Break::Shape => Ok(loss.mean()),
            Break::Constant => Ok(loss.detach()),
            Break::Fail => Err(TrainError::objective("no teacher")),
        }
    }
}

fn broken(what: Break, when: Range<u64>) -> Trainer<Broken> {
    let config = TrainConfig { steps: 100, micro_batch: MicroBatch::Images(4), keep: 1, ..quick() };
    Trainer::new(config, Broken(what, when), Mlp::new(1), images(23), &device()).unwrap()
}

/// A skipped step changes no weight, is counted, and the run goes on.
#[test]
fn bad_steps_are_skipped_and_counted() {
    for (what, name) in [(Break::Loss, "loss"), (Break::Gradient, "second")] {
        let mut t = broken(what, 2..11);
        run(&mut t, 2);
        let before = all_bits(&t);
        for skipped in 1..=9 {
            let r = t.step().unwrap();
            assert_eq!((r.skipped.as_deref(), r.skipped_total, r.step), (Some(name), skipped, 2 + skipped));
            assert!(before == all_bits(&t));
        }
        let r = t.step().unwrap();
        assert_eq!((r.skipped, r.skipped_total, r.images_seen), (None, 9, 72));
        assert!(before != all_bits(&t));
    }
}

/// Ten in a row end the run; the error names the tensor, the step and the checkpoint, which is still there.
#[test]
fn ten_bad_steps_end_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = RunDir::create(dir.path().join("run"), ExistingRun::Refuse).unwrap();
    let mut t = broken(Break::Gradient, 3..99);
    let mut end = None;
    while let Some(step) = t.next() {
        match step {
            Ok(_) => drop(t.save_checkpoint(&run_dir).unwrap()),
            Err(e) => end = Some(e),
        }
    }
    let Some(TrainError::Diverged { tensor, step: 13, in_a_row: 10, checkpoint }) = &end else { panic!("{end:?}") };
    assert_eq!((tensor.as_str(), checkpoint.as_deref()), ("second", Some(&*run_dir.state_at(3))));
    let text = end.map(|e| e.to_string()).unwrap();
    assert!(text.contains("`second`") && text.contains("step 13") && text.contains("step-000003"), "{text}");
    let mut again = broken(Break::Gradient, 0..0);
    again.resume(&run_dir.state_at(3)).unwrap();
    again.step().unwrap();
    assert!(t.next().is_none(), "an iterator that failed has ended");
}

/// Where a weight is the reason, it is named and not the loss that came of it.
#[test]
fn a_bad_weight_is_named() {
    let mut model = Mlp::new(1);
    model.second = model.second.map(|w| w * f32::INFINITY);
    let mut t = Trainer::new(quick(), Denoising, model, images(23), &device()).unwrap();
    assert_eq!(t.step().unwrap().skipped.as_deref(), Some("second"));
}

#[test]
fn objectives_that_break_their_promise_are_told() {
    let said = |what| broken(what, 0..1).step().unwrap_err().to_string();
    assert_eq!(said(Break::Shape), "the objective returned 1 losses for 4 images; expected one loss per image");
    assert!(said(Break::Constant).contains("depends on no trainable weight of the model (4 are trainable)"));
    assert_eq!(said(Break::Fail), "the objective failed: no teacher");
}

/// Fails once.
struct Flaky(AtomicBool);

impl Dataset for Flaky {
    fn count(&self) -> u64 {
        23
    }

    fn shape(&self) -> [usize; 3] {
        [2, 2, 1]
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        if index == 11 && !self.0.swap(true, Ordering::SeqCst) {
            return Err("disk/11.png: Input/output error".into());
        }
        Images { count: 23 }.get(index, augment)
    }
}

/// A data error keeps its words; the same step can be tried again and gives the same bits as if nothing had been.
#[test]
fn data_errors_are_reported_and_survived() {
    let data = Arc::new(Flaky(AtomicBool::new(false)));
    let mut t = Trainer::new(quick(), Denoising, Mlp::new(1), data, &device()).unwrap();
    let mut errors = Vec::new();
    while t.steps_done() < 8 {
        if let Err(e) = t.step() {
            errors.push(e.to_string());
        }
    }
    assert_eq!(errors, ["image 11 of the data set: disk/11.png: Input/output error"]);
    let mut calm = trainer(quick());
    run(&mut calm, 8);
    assert!(all_bits(&t) == all_bits(&calm));
}

#[test]
fn bad_configs_never_start() {
    let config = TrainConfig { batch_size: 0, learning_rate: -1.0, ..quick() };
    let made = Trainer::new(config, Denoising, Mlp::new(1), images(23), &device());
    let text = made.err().unwrap().to_string();
    assert_eq!(text.lines().count(), 2, "{text}");
    let frozen = burn::module::Module::no_grad(Mlp::new(1));
    let made = Trainer::new(quick(), Denoising, frozen, images(23), &device());
    assert!(matches!(made.err(), Some(TrainError::NothingToTrain { trainable: 0 })));
}
