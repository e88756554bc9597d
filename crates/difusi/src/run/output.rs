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
        let card = ModelCard::new(self.shape, config.task.clone());
        let (step, precision) = (self.trainer.steps_done(), config.train.precision);
        let card = ModelCard { step, weights: label, precision, ..card };
        let (card, network) = with_tables(card, self.trainer.network(weights)?)?;
        Model::new(card, network)
    }

    /// A small grid while training; `None` where the model draws nothing.
    pub(super) fn draw_progress(&self, step: u64) -> Result<Option<PathBuf>, Error> {
        let Some(drawing) = self.config.task.drawing() else { return Ok(None) };
        let path = self.dir.samples_at(step);
        self.draw(&path, PROGRESS_PICTURES.min(drawing.count()), &mut |_, _| {})?;
        Ok(Some(path))
    }

    /// The grid at the end.
    pub(super) fn draw_final(&self, on_step: &mut dyn FnMut(u64, u64)) -> Result<Option<PathBuf>, Error> {
        let Some(drawing) = self.config.task.drawing() else { return Ok(None) };
        let path = self.dir.samples();
        self.draw(&path, drawing.count(), on_step)?;
        Ok(Some(path))
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

    /// loss.svg from metrics.csv: every row, a smoothed line, the validation loss, and what the loss is made of.
    pub(super) fn plot_loss(&self) -> Result<(), Error> {
        let metrics = Metrics::read(&self.dir.metrics())?;
        if metrics.points("loss").is_empty() {
            return Ok(());
        }
        let mut charts = vec![curve(&metrics, "Loss", "loss")];
        charts.extend(self.trainer.part_names().iter().map(|name| curve(&metrics, &name.replace('_', " "), name)));
        let features = &self.config.train.eval_features;
        charts.extend(["fid", "kid"].iter().filter_map(|column| scores(&metrics, column, features)));
        Ok(Figure::new(charts).write(&self.dir.loss_plot())?)
    }
}

/// A column over the steps, and what validation says of it.
fn curve(metrics: &Metrics, title: &str, column: &str) -> Chart {
    let [rows, seen] = [column.to_owned(), format!("validation_{column}")].map(|c| metrics.points(&c));
    let positive = rows.iter().chain(&seen).all(|p| p[1] > 0.0);
    let axis = if positive { Axis::log(title.to_lowercase()) } else { Axis::linear(title.to_lowercase()) };
    let smooth = smoothed(&rows, (rows.len() as f64 / 10.0).clamp(1.0, SMOOTH));
    let chart = Chart::new(title, Axis::linear("step"), axis)
        .with(Series::line("each row", rows).marked(Mark::Faint))
        .with(Series::line("mean", smooth));
    if seen.is_empty() { chart } else { chart.with(Series::line("validation", seen)) }
}

/// Scores of pictures over the steps, and the lowest of them; `None` where there are none.
fn scores(metrics: &Metrics, column: &str, features: &str) -> Option<Chart> {
    let points = metrics.points(column);
    let lowest = points.iter().copied().reduce(|low, p| if p[1] < low[1] { p } else { low })?;
    let name = column.to_uppercase();
    let axis = if lowest[1] > 0.0 { Axis::log(name.clone()) } else { Axis::linear(name.clone()) };
    let chart = Chart::new(format!("{name} ({features})"), Axis::linear("step"), axis)
        .with(Series::line(format!("{name} of EMA samples"), points).marked(Mark::Beads))
        .with(Series::line("lowest", vec![lowest]).marked(Mark::Dots));
    Some(chart)
}

/// Writes pictures as a nearly square grid with text metadata.
///
/// # Errors
/// Pictures of different sizes; a path that cannot be written.
pub fn save_grid(path: &Path, pictures: &[Picture], text: &[(&str, &str)]) -> Result<(), Error> {
    let columns = (pictures.len() as f64).sqrt().ceil().max(1.0) as usize;
    Ok(write_png(path, &grid(pictures, columns, 2)?, text)?)
}
