//! What is trained: one config for each member of a comparison, the data's in place of the preset's.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use difusi_data::{DataConfig, OpenOptions, guess};
use difusi_process::Choice;
use difusi_train::TrainerOptions;

use super::{Budget, Family};
use crate::run::{TrainingStart, network, training};
use crate::{ConfigError, ConfigErrors, Error, RunConfig, Task, presets};

/// Steps before the first that is timed, and the fewest and most that are, unless they took [`ENOUGH`] seconds together.
const WARM_UP: usize = 3;
const FEWEST: usize = 7;
const MOST: usize = 200;
const ENOUGH: f64 = 10.0;
/// Rows of metrics that a loss curve has.
const ROWS: u64 = 500;
/// Checkpoints on the way.
const CHECKPOINTS: u64 = 10;

/// The preset of the network that judges.
const JUDGE: &str = "mnist-classifier";
/// The name of its run folder, and of its overrides.
pub(super) const JUDGE_NAME: &str = "judge";
/// Whose overrides are everybody's.
const ALL: &str = "all";
/// How overrides of the data begin.
const DATA: &str = "data.";

/// One training run of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// What is trained.
    pub family: Family,
    /// Which of the runs of its family it is; the first stands for the family.
    pub repeat: u64,
}

impl Member {
    /// The name of its run folder and its results.
    pub fn name(self) -> String {
        match self.repeat {
            0 => self.family.name().to_owned(),
            n => format!("{}-{}", self.family, n + 1),
        }
    }
}

/// The data as typed, and as config and set.
pub(super) struct Data {
    pub(super) path: PathBuf,
    pub(super) config: DataConfig,
    pub(super) shape: [usize; 3],
    pub(super) classes: Option<u32>,
}

impl Data {
    /// Looks at the training images, as `all.data.KEY=VALUE` says.
    pub(super) fn open(path: &Path, overrides: &[String]) -> Result<Self, Error> {
        let options = OpenOptions::default();
        let guessed = guess(path, &options.search)?;
        let own = overrides_of(ALL, overrides).into_iter().filter(|o| o.starts_with(DATA));
        let own: Vec<String> = own.collect();
        let config = RunConfig::parse_with_data(preset_text(Family::Gan.preset())?, &guessed, &own)?.data;
        let dataset = config.open(&options)?;
        let (shape, classes) = (dataset.shape(), dataset.classes());
        Ok(Self { path: path.to_path_buf(), config, shape, classes })
    }
}

/// The config of a member, before its number of steps is known.
pub(super) fn config_of(member: Member, data: &Data, seed: u64, overrides: &[String]) -> Result<RunConfig, Error> {
    let mut own = overrides_of(member.family.name(), overrides);
    own.push(format!("train.seed={}", seed.wrapping_add(member.repeat)));
    preset(member.family.preset(), data, &own)
}

/// The overrides of one config: those that begin with its name or with `all`, without that.
fn overrides_of(name: &str, overrides: &[String]) -> Vec<String> {
    let whose =
        |o: &String| o.split_once('.').filter(|(who, _)| *who == name || *who == ALL).map(|(_, rest)| rest.to_owned());
    overrides.iter().filter_map(whose).collect()
}

/// Every override is somebody's.
pub(super) fn check_overrides(overrides: &[String]) -> Result<(), Error> {
    let known = || Family::ALL.map(Family::name).into_iter().chain([JUDGE_NAME, ALL]);
    let own_data = |o: &&String| o.split_once('.').is_some_and(|(who, rest)| who != ALL && rest.starts_with(DATA));
    if let Some(bad) = overrides.iter().find(own_data) {
        return Err(Error::value("--set", bad, "all.data.KEY=VALUE: the data are the same for everyone"));
    }
    match overrides.iter().find(|o| !known().any(|name| o.split_once('.').is_some_and(|(who, _)| who == name))) {
        None => Ok(()),
        Some(bad) => {
            let names = known().collect::<Vec<_>>().join(", ");
            let accepted = format!("WHOSE.SECTION.KEY=VALUE, as in vae.train.learning_rate=1e-3; whose: {names}");
            Err(Error::value("--set", bad, accepted))
        }
    }
}

/// The config of the classifier that judges.
pub(super) fn judge_config(data: &Data, seed: u64, overrides: &[String]) -> Result<RunConfig, Error> {
    let Some(classes) = data.classes else {
        let accepted =
            "data with labels, to train a classifier that judges; or another judge: --judge inception, or pixels";
        return Err(Error::value("the labels of the data", "absent", accepted));
    };
    let mut own = overrides_of(JUDGE_NAME, overrides);
    own.push(format!("train.seed={seed}"));
    own.push(format!("model.classes={classes}"));
    preset(JUDGE, data, &own)
}

fn preset_text(name: &str) -> Result<&'static str, Error> {
    presets::get(name).ok_or_else(|| Error::value("the preset", name, "one that is built in"))
}

fn preset(name: &str, data: &Data, overrides: &[String]) -> Result<RunConfig, Error> {
    let mut config = RunConfig::parse_with_data(preset_text(name)?, &data.config, overrides)?;
    config.train.sample_every = 0;
    let [height, width, _] = data.shape;
    match config.task.check_size("data.size", difusi_core::ImageSize { height, width }) {
        Some(issue) => Err(ConfigErrors(vec![ConfigError::message(issue)]).into()),
        None => {
            config.check()?;
            Ok(config)
        }
    }
}

/// The config with its steps, and what follows from their number.
pub(super) fn with_steps(mut config: RunConfig, steps: u64) -> RunConfig {
    let train = &mut config.train;
    train.steps = steps;
    train.log_every = (steps / ROWS).clamp(1, 100);
    train.save_every = (steps / CHECKPOINTS).max(1);
    train.validation_every = 0;
    config
}

/// Seconds of a training step, the median of some; nothing of it stays.
///
/// # Errors
/// Data that cannot be read, training that diverges.
pub(super) fn seconds_per_step(config: &RunConfig, device: &Device) -> Result<f64, Error> {
    let opened = config.data.open(&OpenOptions::default())?;
    let shape = opened.shape();
    let (network, cost) = network(config, shape, None, device)?;
    let options = TrainerOptions { activation_bytes_per_image: Some(cost), memory_limit: None };
    let mut longer = config.clone();
    longer.train.steps = u64::MAX;
    let start = TrainingStart { network, dataset: opened.into(), options };
    let mut trainer = training(&longer, start, device)?;
    let mut seconds: Vec<f64> = Vec::new();
    while seconds.len() < WARM_UP + MOST {
        let Some(report) = trainer.next_step().transpose()? else { break };
        seconds.push(report.seconds);
        let timed = seconds.get(WARM_UP..).unwrap_or_default();
        if timed.len() >= FEWEST && timed.iter().sum::<f64>() >= ENOUGH {
            break;
        }
    }
    Ok(median(seconds.get(WARM_UP..).unwrap_or_default()).unwrap_or_default())
}

/// The middle of some numbers; `None` of none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

/// Steps after which a grid is drawn: VAEs are often shown after 10, 30 and 70 epochs, so a seventh, three sevenths and all of it.
pub(super) fn milestones(steps: u64) -> Vec<u64> {
    let mut at: Vec<u64> = [1, 3, 7].iter().map(|k| ((u128::from(steps) * k / 7) as u64).max(1)).collect();
    at.dedup();
    at
}

/// Whether the family's number of steps has to be timed.
pub(super) fn is_timed(budget: Budget) -> bool {
    matches!(budget, Budget::Seconds(_))
}

/// What a model draws its pictures by, in words.
pub(super) fn drawn_by(task: &Task) -> String {
    match task {
        Task::Diffusion(task) => format!("{} steps of {}", task.sample.steps, task.sample.solver.kind()),
        Task::Classifier(_) => "nothing".to_owned(),
        Task::Vae(t) if t.sample.temperature != 1.0 => format!("one pass, temperature {}", t.sample.temperature),
        Task::Gan(t) if t.sample.temperature != 1.0 => format!("one pass, temperature {}", t.sample.temperature),
        Task::Flow(t) if t.sample.temperature != 1.0 => format!("one pass, temperature {}", t.sample.temperature),
        Task::Vae(_) | Task::Gan(_) | Task::Flow(_) => "one pass".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits() -> Data {
        Data::open(Path::new("digits"), &["all.data.size=[8, 8]".to_owned()]).unwrap()
    }

    #[test]
    fn members_have_their_own_settings() {
        let data = digits();
        assert_eq!(data.shape, [8, 8, 1]);
        let overrides =
            ["all.train.batch_size=8", "vae.train.learning_rate=0.5", "vae.vae.kl_weight=0.25", "judge.train.steps=7"]
                .map(str::to_owned);
        check_overrides(&overrides).unwrap();
        for (bad, part) in [
            ("train.steps=3", "WHOSE"),
            ("wae.train.steps=3", "WHOSE"),
            ("vae", "WHOSE"),
            ("vae.data.seed=1", "all.data"),
        ] {
            assert!(check_overrides(&[bad.to_owned()]).unwrap_err().to_string().contains(part), "{bad}");
        }
        let config = |family, repeat| config_of(Member { family, repeat }, &data, 3, &overrides).unwrap();
        let (vae, gan) = (config(Family::Vae, 0), config(Family::Gan, 1));
        assert_eq!((vae.train.learning_rate, vae.train.batch_size, vae.train.seed), (0.5, 8, 3));
        assert_eq!((gan.train.seed, gan.train.batch_size, gan.data.clone()), (4, 8, data.config.clone()));
        assert_ne!(gan.train.learning_rate, 0.5);
        let judge = judge_config(&data, 0, &overrides).unwrap();
        assert_eq!((judge.train.steps, judge.train.batch_size), (7, 8));
        assert_eq!(Member { family: Family::Gan, repeat: 2 }.name(), "gan-3");
    }

    #[test]
    fn steps_are_cut() {
        assert_eq!(milestones(700), [100, 300, 700]);
        assert_eq!((milestones(1), milestones(3)), (vec![1], vec![1, 3]));
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0]), median(&[])), (Some(2.0), Some(2.5), None));
    }
}
