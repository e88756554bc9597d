//! What a run leaves behind: the model file, sample grids, the loss curve.

use std::path::{Path, PathBuf};

use difusi_store::plot::{Axis, Chart, Figure, Mark, Series, smoothed};
use difusi_store::{Metrics, Picture, grid, write_png};
use difusi_train::Weights;

use super::Run;
use crate::Error;
use crate::model::{Model, ModelCard, with_tables};
use crate::sample::{Sampler, SamplerOptions};

/// Pictures in the grids drawn while training.
const PROGRESS_PICTURES: usize = 16;
/// The smoothed loss curve averages over a tenth of the run, at most so many rows.
const SMOOTH: f64 = 100.0;

impl Run {
    /// The model as it stands, with the first EMA's weights.
    pub fn model(&self) -> Result<Model, Error> {
        let weights = self.trainer.best_weights();
        let config = &self.config;
        let label = match (weights, config.train.ema.first()) {
            (Weights::Ema(_), Some(rate)) => format!("ema:{rate}"),
            _ => "raw".to_owned(),
        };
        let card = ModelCard::new(self.shape, config.model.clone(), config.diffusion.clone(), config.sample.clone());
        let (step, precision) = (self.trainer.steps_done(), config.train.precision);
        let card = ModelCard { step, weights: label, precision, ..card };
        let (card, network) = with_tables(card, self.trainer.model(weights)?)?;
        Model::new(card, network)
    }

    /// A small grid while training.
    pub(super) fn draw_progress(&self, step: u64) -> Result<PathBuf, Error> {
        let count = PROGRESS_PICTURES.min(self.config.sample.count);
        let path = self.dir.samples_at(step);
        self.draw(&path, count, &mut |_, _| {})?;
        Ok(path)
    }

    /// The grid at the end.
    pub(super) fn draw_final(&self, on_step: &mut dyn FnMut(u64, u64)) -> Result<PathBuf, Error> {
        let path = self.dir.samples();
        self.draw(&path, self.config.sample.count, on_step)?;
        Ok(path)
    }

    fn draw(&self, path: &Path, count: usize, on_step: &mut dyn FnMut(u64, u64)) -> Result<(), Error> {
        let model = self.model()?;
        let seed = self.config.train.seed;
        // Sampling keeps far less than training, so what fits in training fits here.
        let batch = Some(self.trainer.micro_batch());
        let options = SamplerOptions { count, batch, seed, ..SamplerOptions::of(&model) };
        let sampler = Sampler::new(&model, options, &self.device)?;
        let total = (sampler.batches() * sampler.steps()) as u64;
        let (mut done, mut pictures) = (0, Vec::new());
        for index in 0..sampler.batches() {
            pictures.extend(sampler.batch(index, &mut |_| {
                done += 1;
                on_step(done, total);
            })?);
        }
        save_grid(path, &pictures, &[("command", &self.command), ("seed", &seed.to_string()), ("model", &model.hash)])
    }

    /// loss.svg from metrics.csv: every row, a smoothed line, and the validation loss.
    pub(super) fn plot_loss(&self) -> Result<(), Error> {
        let metrics = Metrics::read(&self.dir.metrics())?;
        let loss = metrics.points("loss");
        if loss.is_empty() {
            return Ok(());
        }
        let chart = Chart::new("Loss", Axis::linear("step"), Axis::log("loss"));
        let smooth = smoothed(&loss, (loss.len() as f64 / 10.0).clamp(1.0, SMOOTH));
        let mut chart =
            chart.with(Series::line("each row", loss).marked(Mark::Faint)).with(Series::line("mean", smooth));
        let validation = metrics.points("validation_loss");
        if !validation.is_empty() {
            chart = chart.with(Series::line("validation", validation));
        }
        Ok(Figure::new(vec![chart]).write(&self.dir.loss_plot())?)
    }
}

/// Writes pictures as a nearly square grid with text metadata.
///
/// # Errors
/// Pictures of different sizes; a path that cannot be written.
pub fn save_grid(path: &Path, pictures: &[Picture], text: &[(&str, &str)]) -> Result<(), Error> {
    let columns = (pictures.len() as f64).sqrt().ceil().max(1.0) as usize;
    Ok(write_png(path, &grid(pictures, columns, 2)?, text)?)
}
