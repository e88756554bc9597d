//! Bits per dimension of test images, as each family has them.

use difusi_data::Split;
use difusi_process::bound::Estimate;

use super::{Bits, CompareProgress, Comparison, Figure, Watch};
use crate::eval::{
    BoundEval, BoundOptions, Calibration, LatentEval, LatentOptions, Reference, ReferenceOptions, Times,
};
use crate::network::ModelNetwork;
use crate::{Drawing, Error, Model, Task};

/// Latents drawn for each image of a VAE; times of each image of a diffusion model.
const LATENTS: u32 = 50;
const TIMES: usize = 32;
/// Training images that make a code length of a VAE's bound.
const CALIBRATION: u64 = 10_000;

impl Comparison {
    /// Bits of test images: `Some(None)` where there is no likelihood, `None` where the caller stops.
    pub(super) fn bits(&self, model: &Model, watch: Watch<'_>) -> Result<Option<Option<Bits>>, Error> {
        let count = self.options.likelihood_images;
        if count == 0 || matches!(model.card.task, Task::Gan(_) | Task::Classifier(_)) {
            return Ok(Some(None));
        }
        let reference =
            Reference::open(&self.data.path, model, &ReferenceOptions { resize: true, ..ReferenceOptions::default() })?;
        let mut go_on = |done, total| watch(CompareProgress { unit: "images' bits", done, total, detail: "" });
        let seed = self.options.seed;
        if let Some(Drawing::Diffusion(config)) = model.card.task.drawing() {
            let times = Times::PerImage(TIMES);
            let options = BoundOptions { count, times, steps: None, decode_at: 0, config, seed, batch: None };
            let mut run = BoundEval::new(model, &reference, &options, &self.device)?;
            while !run.is_done() {
                let done = run.advance()?;
                if !go_on(done, run.count()) {
                    return Ok(None);
                }
            }
            let method = "variational bound".to_owned();
            let bits =
                Bits { bits: figure(run.total()), method, importance: None, kl: Vec::new(), images: run.count() };
            return Ok(Some(Some(bits)));
        }
        let options = LatentOptions { count, samples: LATENTS, seed, batch: None };
        let mut run = LatentEval::new(model, &reference, options, &self.device)?;
        let calibration = self.calibration(model)?;
        let calibrated = calibration.is_some();
        if let Some(calibration) = calibration {
            run = run.calibrated(calibration);
        }
        while !run.is_done() {
            let done = run.advance()?;
            if !go_on(done, run.count()) {
                return Ok(None);
            }
        }
        let r = run.report();
        let method = match (r.importance.is_some(), calibrated) {
            (true, true) => {
                "evidence lower bound, bytes as likely as among training images where the decoder said the same,"
            }
            (true, false) => "evidence lower bound",
            (false, _) => "exact density",
        };
        let bits = Bits {
            bits: figure(r.total),
            method: method.to_owned(),
            importance: r.importance.map(figure),
            kl: r.kl,
            images: r.images,
        };
        Ok(Some(r.code_length.then_some(bits)))
    }

    /// What makes a code length of a VAE's bound, where its likelihood is none.
    fn calibration(&self, model: &Model) -> Result<Option<Calibration>, Error> {
        match &model.network {
            ModelNetwork::Vae(vae) if !vae.likelihood().is_discrete() => {}
            _ => return Ok(None),
        }
        let options = ReferenceOptions { split: Some(Split::Train), resize: true, seed: self.options.seed };
        let training = Reference::open(&self.data.path, model, &options)?;
        Calibration::fit(model, &training, CALIBRATION, self.options.seed, &self.device).map(Some)
    }
}

fn figure(e: Estimate) -> Figure {
    Figure::new(e.mean, Some(e.standard_error))
}
