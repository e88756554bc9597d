//! The parts of a comparison that judge: the data, and what each model draws.

use std::time::Instant;

use difusi_data::{DataConfig, Split};
use difusi_metrics::{
    CollectOptions, Collector, FeatureExtractor, ImageBatch, JudgeOptions, KidOptions, Metric, Resize, SPLITS, Summary,
    TooFew, frechet_deviation, judge,
};
use difusi_store::{Metrics, Picture, RunPaths};

use super::plan::{drawn_by, median};
use super::record::{cached, keep};
use super::train::GRID;
use super::{
    CompareProgress, Comparison, Figure, JUDGE_NAME, Measured, Member, Outcome, Quality, Real, Watch, nearest,
};
use crate::eval::{PictureOptions, PictureSource, PicturesAt, Take, classifier_features, collect, features};
use crate::{Error, Model, OpenModel, Sampler, SamplerOptions, save_grid};

/// Pictures whose nearest training images are looked for, and those of them that are shown.
const NEIGHBOURS: usize = 256;
pub(super) const SHOWN: usize = 12;
/// Pictures drawn anew for the error of a Frechet distance, and the most features for which that is quick.
const RESAMPLES: usize = 20;
const QUICK: usize = 512;
/// Version of what is measured: results of another are measured again.
const FORMAT: u32 = 2;

/// The name of the file on the data.
pub(super) const REAL: &str = "data";

/// What a collection of pictures leaves beside the sums.
#[derive(Default)]
struct Looked {
    /// The first ones.
    first: Vec<Picture>,
}

impl Comparison {
    /// What sees features; opened once.
    fn open_extractor(&mut self) -> Result<(), Error> {
        if self.extractor.is_none() {
            self.extractor = Some(match &self.options.judge {
                Some(name) => features(name, Resize::default(), &self.device)?,
                None => {
                    let model = OpenModel::new(self.path(JUDGE_NAME)).open(&self.device)?;
                    Box::new(classifier_features(&model, &self.device)?)
                }
            });
        }
        Ok(())
    }

    fn extractor(&self) -> Result<&dyn FeatureExtractor, Error> {
        self.extractor.as_deref().ok_or_else(|| Error::value("the judge", "not open", "one that is"))
    }

    /// What a result is of, beside its model.
    fn key(&self, of: &str) -> Result<String, Error> {
        let o = &self.options;
        let judge = self.extractor()?.name();
        Ok(format!("{FORMAT} {of} {judge} {} {} {}", o.pictures, o.likelihood_images, o.seed))
    }

    /// What is measured of every side.
    fn metrics(extractor: &dyn FeatureExtractor) -> CollectOptions {
        let score = extractor.classes().map(|_| Metric::InceptionScore);
        let rest = [Metric::Fid, Metric::Kid, Metric::PrecisionRecall, Metric::Spectrum, Metric::Diversity];
        CollectOptions::of(&rest.into_iter().chain(score).collect::<Vec<_>>())
    }

    /// A split of the data, and which of its images are taken.
    fn split(&self, split: Option<Split>) -> Result<(PictureSource, u64), Error> {
        let at = PicturesAt::open(&self.data.path, &PictureOptions { split, shape: Some(self.data.shape) })?;
        let accepted = "a data set that can be opened";
        let source = at.pictures.ok_or_else(|| Error::value("the data", self.data.path.display(), accepted))?;
        let count = source.count().unwrap_or(self.options.pictures);
        Ok((source, count))
    }

    /// Features of the training images, looked at once.
    fn look_at_training(&mut self, watch: Watch<'_>) -> Result<bool, Error> {
        self.open_extractor()?;
        if self.reference.is_some() {
            return Ok(true);
        }
        let (source, count) = self.split(Some(Split::Train))?;
        let extractor = self.extractor()?;
        let Some((summary, _)) = self.collect(&source, count, extractor, ("training images", watch))? else {
            return Ok(false);
        };
        self.reference = Some(summary);
        if let PictureSource::Dataset(dataset) = source {
            self.training = Some((dataset, count));
        }
        Ok(true)
    }

    /// Sums over pictures; `None` where the caller stops.
    fn collect(
        &self,
        source: &PictureSource,
        count: u64,
        extractor: &dyn FeatureExtractor,
        (unit, watch): (&'static str, Watch<'_>),
    ) -> Result<Option<(Summary, Looked)>, Error> {
        let mut collector = Collector::new(extractor, &Self::metrics(extractor))?;
        let (mut looked, mut go_on) = (Looked::default(), true);
        source.for_each(Take { limit: count, seed: self.options.seed }, &mut |images| {
            collector.push(&images)?;
            looked.see(&images)?;
            go_on = watch(CompareProgress { unit, done: collector.count(), total: count, detail: "" });
            Ok(go_on)
        })?;
        Ok(if go_on { Some((collector.finish()?, looked)) } else { None })
    }

    pub(super) fn look_at_data(&mut self, watch: Watch<'_>) -> Result<Outcome, Error> {
        self.open_extractor()?;
        let path = self.result_path(REAL);
        let key = self.key("data")?;
        if cached(&path, |r: &Real| r.key == key).is_some() {
            return Ok(Outcome::Cached);
        }
        if !self.look_at_training(watch)? {
            return Ok(Outcome::Stopped);
        }
        let (source, count) = self.split(None)?;
        let count = count.min(self.options.pictures);
        let extractor = self.extractor()?;
        let Some((summary, looked)) = self.collect(&source, count, extractor, ("test images", watch))? else {
            return Ok(Outcome::Stopped);
        };
        self.show("data", &looked.first)?;
        let (quality, notes) = self.quality(&summary, &looked.first)?;
        let real = Real {
            key,
            quality,
            judge: extractor.name().to_owned(),
            features: extractor.dim(),
            accuracy: self.accuracy(&source, extractor)?,
            reference: self.reference.as_ref().and_then(|r| r.count).unwrap_or_default(),
            split: match &self.data.config {
                DataConfig::Folder(_) => "training images (a folder has no others)".to_owned(),
                _ => "test images".to_owned(),
            },
            notes,
        };
        keep(&path, &real)?;
        Ok(Outcome::Done)
    }

    /// Share of the test images whose class the judge tells.
    fn accuracy(&self, source: &PictureSource, extractor: &dyn FeatureExtractor) -> Result<Option<Figure>, Error> {
        let (PictureSource::Dataset(data), Some(classes)) = (source, extractor.classes()) else { return Ok(None) };
        if data.classes().map(|c| c as usize) != Some(classes) {
            return Ok(None);
        }
        let (limit, options) = (self.options.pictures.max(10_000), CollectOptions::of(&[Metric::Labels]));
        let seen = collect(source, extractor, &options, Take { limit, seed: self.options.seed }, &mut |_| true)?;
        Ok(seen.agreement.map(|a| share(a.share(), a.count())))
    }

    /// Everything that is told of pictures, beside the training images.
    fn quality(&self, summary: &Summary, first: &[Picture]) -> Result<(Quality, Vec<String>), Error> {
        let reference = self.reference.as_ref();
        let options = JudgeOptions {
            kid: KidOptions { seed: self.options.seed, ..KidOptions::default() },
            too_few: TooFew::Force,
            ..JudgeOptions::default()
        };
        let v = judge(summary, reference, &Self::metrics(self.extractor()?).metrics, &options)?;
        let deviation = match reference.and_then(|r| r.features.as_ref()) {
            Some(data) if data.dim() <= QUICK => {
                Some(frechet_deviation(summary.kept()?, data, RESAMPLES, self.options.seed)?)
            }
            _ => None,
        };
        let count = summary.count.unwrap_or_default();
        let told =
            v.precision_recall.map_or([Figure::default(); 2], |p| [p.precision, p.recall].map(|s| share(s, count)));
        let kid = v.kid.map_or(Figure::default(), |k| Figure::new(k.mean, k.standard_error));
        let nearest = match &self.training {
            Some((training, count)) => {
                nearest::distances(&first[..first.len().min(NEIGHBOURS)], training.as_ref(), *count)?
            }
            None => Vec::new(),
        };
        let quality = Quality {
            pictures: count,
            fid: Figure::new(v.fid.unwrap_or(f64::NAN), deviation),
            kid,
            score: v.score.map(|s| Figure::new(s.mean, Some(s.deviation / (SPLITS as f64).sqrt()))),
            precision: told[0],
            recall: told[1],
            diversity: v.diversity.unwrap_or(f64::NAN),
            nearest: median(&nearest.iter().map(|n| n.distance).collect::<Vec<_>>()).unwrap_or(f64::NAN),
            ..Quality::default()
        };
        Ok((quality.spectrum(v.spectrum), v.notes))
    }

    fn show(&self, name: &str, pictures: &[Picture]) -> Result<(), Error> {
        let text = [("command", self.options.command.as_str())];
        save_grid(&self.picture_path(name), &pictures[..pictures.len().min(GRID)], &text)
    }

    pub(super) fn measure(&mut self, member: Member, watch: Watch<'_>) -> Result<Outcome, Error> {
        self.open_extractor()?;
        let name = member.name();
        let (path, folder) = (self.result_path(&name), self.run_folder(member));
        let model = OpenModel::new(&folder).open(&self.device)?;
        let key = self.key(&model.hash)?;
        if cached(&path, |m: &Measured| m.key == key).is_some() {
            return Ok(Outcome::Cached);
        }
        if !self.look_at_training(watch)? {
            return Ok(Outcome::Stopped);
        }
        let Some((summary, looked, seconds)) = self.draw(&model, watch)? else { return Ok(Outcome::Stopped) };
        self.show(&name, &looked.first)?;
        if let Some((training, count)) = &self.training {
            let shown = &looked.first[..looked.first.len().min(SHOWN)];
            nearest::panel(shown, training.as_ref(), *count, &self.picture_path(&format!("{name}-nearest")))?;
        }
        let (quality, notes) = self.quality(&summary, &looked.first)?;
        let Some(bits) = self.bits(&model, watch)? else { return Ok(Outcome::Stopped) };
        let rows = Metrics::read(&RunPaths::open(&folder)?.metrics())?;
        let each: Vec<f64> = rows.points("seconds").iter().map(|p| p[1]).collect();
        let decision = self.decision(member);
        let config = crate::model::read_run_config(&RunPaths::open(&folder)?)?;
        let measured = Measured {
            key,
            parameters: decision.parameters.unwrap_or_default(),
            steps: model.card.step,
            batch: config.train.images_per_step(),
            seconds_per_step: decision.seconds_per_step.or(median(&each)).unwrap_or(f64::NAN),
            training_seconds: total_seconds(&rows),
            peak_mib: decision.peak_mib,
            seconds_per_picture: seconds / self.options.pictures as f64,
            drawn_by: drawn_by(&model.card.task),
            model: model.hash,
            quality,
            bits,
            notes,
        };
        keep(&path, &measured)?;
        Ok(Outcome::Done)
    }

    /// Draws and looks; how long the drawing took. `None` where the caller stops.
    fn draw(&self, model: &Model, watch: Watch<'_>) -> Result<Option<(Summary, Looked, f64)>, Error> {
        let (extractor, o) = (self.extractor()?, &self.options);
        let options = SamplerOptions { count: o.pictures as usize, seed: o.seed, ..SamplerOptions::of(model) };
        let sampler = Sampler::new(model, options, &self.device)?;
        let mut collector = Collector::new(extractor, &Self::metrics(extractor))?;
        let (mut looked, mut seconds) = (Looked::default(), 0.0);
        for index in 0..sampler.batches() {
            let started = Instant::now();
            let pictures = sampler.batch(index, &mut |_| {})?;
            seconds += started.elapsed().as_secs_f64();
            let bytes = pictures.iter().flat_map(|p| p.pixels().iter().copied()).collect();
            collector.push(&ImageBatch::new(sampler.shape(), bytes)?)?;
            looked.keep(pictures);
            let done = collector.count();
            if !watch(CompareProgress { unit: "pictures drawn", done, total: o.pictures, detail: "" }) {
                return Ok(None);
            }
        }
        Ok(Some((collector.finish()?, looked, seconds)))
    }
}

impl Looked {
    fn see(&mut self, images: &ImageBatch) -> Result<(), Error> {
        let size = difusi_core::ImageSize { height: images.height, width: images.width };
        for i in 0..images.count.min(NEIGHBOURS.saturating_sub(self.first.len())) {
            self.first.push(Picture::new(size, images.channels, images.image(i).to_vec())?);
        }
        Ok(())
    }

    fn keep(&mut self, pictures: Vec<Picture>) {
        let room = NEIGHBOURS.saturating_sub(self.first.len());
        self.first.extend(pictures.into_iter().take(room));
    }
}

/// A share of so many, with the error of a coin.
fn share(value: f64, count: u64) -> Figure {
    Figure::new(value, Some((value * (1.0 - value) / count.max(1) as f64).sqrt()))
}

/// Seconds of all steps: each row has the mean of the steps since the row before.
fn total_seconds(rows: &Metrics) -> f64 {
    let mut before = 0.0;
    rows.points("seconds")
        .iter()
        .map(|[step, mean]| {
            let steps = step - before;
            before = *step;
            steps * mean
        })
        .sum()
}
