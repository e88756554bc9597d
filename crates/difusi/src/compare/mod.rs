//! The four families side by side: diffusion, VAE, GAN and flow, trained at one budget, drawn from and judged by one evaluator.
//!
//! A comparison is a folder and a list of [`Part`]s; [`Comparison::run`] does one of them, or finds that it is done. So it can be stopped
//! anywhere and goes on where it stopped: training runs are ordinary run folders, measurements are files that say what they are of.
//!
//! Fair means: the same training images, the same budget, the same judge, which never saw a drawn picture and was trained on training
//! images alone; presets that were not chosen by it; every number with its error bar and beside that of the test images.
//! Deliberately absent: printing, progress bars (the caller's).

mod budget;
mod html;
mod likelihood;
mod measure;
mod nearest;
mod plan;
mod record;
mod report;
mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use difusi_core::Dataset;
use difusi_metrics::{FeatureExtractor, Resize, Summary};
use difusi_store::RunPaths;

pub use budget::{Budget, Family};
pub use plan::Member;
use plan::{Data, JUDGE_NAME};
pub use record::{Bits, Figure, Measured, Quality, Real};
use record::{Decided, Training};
pub use report::Report;

use crate::eval::features;
use crate::{Error, RunConfig};

/// What decides a comparison's training, as it is kept in its folder.
const DECIDED: &str = "compare.toml";

/// What to compare, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct CompareOptions {
    /// A folder, an idx or CIFAR file, or the name of a data set.
    pub data: PathBuf,
    /// The comparison's folder.
    pub out: PathBuf,
    /// How long each family is trained.
    pub budget: Budget,
    /// Which families, each once.
    pub families: Vec<Family>,
    /// Runs of the GAN with seeds of their own, each at the whole budget: how much is luck. 1 or more.
    pub gan_runs: u64,
    /// Pictures that each model draws.
    pub pictures: u64,
    /// Test images whose bits are counted; 0 counts none.
    pub likelihood_images: u64,
    /// What sees features, as [`crate::eval::features`] names it; `None` trains a classifier on the training images.
    pub judge: Option<String>,
    /// Of everything random.
    pub seed: u64,
    /// `WHOSE.SECTION.KEY=VALUE`, whose being a family, `judge` or `all`.
    pub overrides: Vec<String>,
    /// The command line, for the report.
    pub command: String,
}

impl CompareOptions {
    /// All families on `data`, 20 minutes each, three GANs, 5,000 pictures of each.
    pub fn new(data: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            out: out.into(),
            budget: Budget::Seconds(1200.0),
            families: Family::ALL.to_vec(),
            gan_runs: 3,
            pictures: 5000,
            likelihood_images: 1000,
            judge: None,
            seed: 0,
            overrides: Vec::new(),
            command: "difusi compare".into(),
        }
    }
}

/// One thing to do, or to find done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Train the classifier that judges.
    Judge,
    /// Time the steps of a family, so that its budget becomes a number of steps.
    Time(Member),
    /// Look at training and test images.
    Data,
    /// Train.
    Train(Member),
    /// Draw pictures and judge them; count bits.
    Measure(Member),
}

impl Part {
    /// What it does, for people.
    pub fn title(self) -> String {
        match self {
            Self::Judge => "training the judge".to_owned(),
            Self::Time(member) => format!("timing {}", member.family),
            Self::Data => "looking at the data".to_owned(),
            Self::Train(member) => format!("training {}", member.name()),
            Self::Measure(member) => format!("judging {}", member.name()),
        }
    }
}

/// How a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done now.
    Done,
    /// It had been done before.
    Cached,
    /// The caller asked to stop; what is done is kept.
    Stopped,
}

/// How far a part is.
#[derive(Clone, Copy, Debug)]
pub struct CompareProgress<'a> {
    /// What is counted.
    pub unit: &'static str,
    /// How many are behind us.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// How it goes.
    pub detail: &'a str,
}

/// Hears how far a part is, and says whether to go on.
pub type Watch<'a> = &'a mut dyn FnMut(CompareProgress<'_>) -> bool;

/// A comparison in its folder.
pub struct Comparison {
    options: CompareOptions,
    data: Data,
    decided: Decided,
    /// Each with its config.
    members: Vec<(Member, RunConfig)>,
    judge: Option<RunConfig>,
    device: Device,
    /// What has been opened or looked at.
    extractor: Option<Box<dyn FeatureExtractor>>,
    training: Option<(Arc<dyn Dataset>, u64)>,
    reference: Option<Summary>,
}

impl Comparison {
    /// Checks everything that can be checked before the first step, and takes up the comparison that is in the folder.
    ///
    /// # Errors
    /// Data that are nowhere; a config with mistakes; a comparison of other data, another budget, seed or settings in the folder.
    pub fn open(options: CompareOptions, device: &Device) -> Result<Self, Error> {
        check(&options)?;
        let data = Data::open(&options.data, &options.overrides)?;
        let members = members(&options).into_iter().map(|m| {
            let config = plan::config_of(m, &data, options.seed, &options.overrides)?;
            Ok((m, config))
        });
        let members = members.collect::<Result<Vec<_>, Error>>()?;
        let judge = match &options.judge {
            None => Some(plan::judge_config(&data, options.seed, &options.overrides)?),
            Some(name) => {
                // A judge that is not there is better known before than after hours of training.
                features(name, Resize::default(), device).map_err(of_judge)?;
                None
            }
        };
        let decided = decided(&options)?;
        let (extractor, training, reference, device) = (None, None, None, device.clone());
        Ok(Self { options, data, decided, members, judge, device, extractor, training, reference })
    }

    /// The parts in the order they are done. What judges comes into memory when all training is done, so that a peak is training's own.
    pub fn parts(&self) -> Vec<Part> {
        let members = || self.members.iter().map(|(member, _)| *member);
        let timed = members().filter(|m| m.repeat == 0 && plan::is_timed(self.options.budget)).map(Part::Time);
        let judge = self.judge.iter().map(|_| Part::Judge);
        timed
            .chain(judge)
            .chain(members().map(Part::Train))
            .chain([Part::Data])
            .chain(members().map(Part::Measure))
            .collect()
    }

    /// Does a part, unless it is done.
    ///
    /// # Errors
    /// Those of training, drawing and judging; what was done before stays.
    pub fn run(&mut self, part: Part, watch: Watch<'_>) -> Result<Outcome, Error> {
        if !self.path(DECIDED).exists() {
            self.decided.write(&self.path(DECIDED))?;
        }
        match part {
            Part::Time(member) => self.time(member, watch),
            Part::Judge => self.train_judge(watch),
            Part::Data => self.look_at_data(watch),
            Part::Train(member) => self.train(member, watch),
            Part::Measure(member) => self.measure(member, watch),
        }
    }

    /// The comparison's folder.
    pub fn folder(&self) -> &Path {
        &self.options.out
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.options.out.join(name)
    }

    fn run_folder(&self, member: Member) -> PathBuf {
        self.path(member.name())
    }

    fn result_path(&self, name: &str) -> PathBuf {
        self.path("results").join(format!("{name}.json"))
    }

    fn picture_path(&self, name: &str) -> PathBuf {
        self.path("pictures").join(format!("{name}.png"))
    }

    fn decide(&mut self, name: String, training: Training) -> Result<(), Error> {
        self.decided.members.insert(name, training);
        self.decided.write(&self.path(DECIDED))
    }
}

/// An error about the judge under the judge's name.
fn of_judge(e: Error) -> Error {
    match e {
        Error::Value { got, accepted, .. } => Error::value("the judge", got, accepted),
        other => other,
    }
}

/// First each family once, then what is repeated.
fn members(options: &CompareOptions) -> Vec<Member> {
    let first = options.families.iter().map(|&family| Member { family, repeat: 0 });
    let again = options.families.iter().filter(|f| **f == Family::Gan);
    let again = again.flat_map(|&family| (1..options.gan_runs).map(move |repeat| Member { family, repeat }));
    first.chain(again).collect()
}

fn check(options: &CompareOptions) -> Result<(), Error> {
    let accepted = Family::ALL.map(Family::name).join(", ");
    if options.families.is_empty() {
        return Err(Error::value("the list of families", "empty", accepted));
    }
    for (i, family) in options.families.iter().enumerate() {
        if options.families[..i].contains(family) {
            return Err(Error::value(
                "the list of families",
                format!("twice {family}"),
                format!("each of {accepted} once"),
            ));
        }
    }
    if !(1..=100).contains(&options.gan_runs) {
        return Err(Error::value("the number of GAN runs", options.gan_runs, "a whole number from 1 to 100"));
    }
    if options.pictures < 20 {
        return Err(Error::value("the number of pictures", options.pictures, "20 or more, to be judged"));
    }
    plan::check_overrides(&options.overrides)
}

/// What was decided in the folder before, or nothing yet.
fn decided(options: &CompareOptions) -> Result<Decided, Error> {
    let new = Decided {
        data: options.data.clone(),
        budget: options.budget.to_string(),
        seed: options.seed,
        overrides: options.overrides.clone(),
        members: Default::default(),
    };
    let path = options.out.join(DECIDED);
    if !path.exists() {
        if RunPaths::is_run(&options.out) {
            return Err(Error::model(
                &options.out,
                "it is the folder of a training run; choose another for the comparison",
            ));
        }
        return Ok(new);
    }
    let old = Decided::read(&path)?;
    let differs = [
        ("data", old.data.display().to_string(), new.data.display().to_string()),
        ("budget", old.budget.clone(), new.budget.clone()),
        ("seed", old.seed.to_string(), new.seed.to_string()),
        ("settings (--set)", old.overrides.join(" "), new.overrides.join(" ")),
    ];
    match differs.into_iter().find(|(_, old, new)| old != new) {
        Some((what, old, new)) => {
            let problem = format!(
                "the comparison in it has other {what}: `{old}`, asked for are `{new}`; choose another folder, or delete it"
            );
            Err(Error::model(&options.out, problem))
        }
        None => Ok(old),
    }
}
