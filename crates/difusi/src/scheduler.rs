//! `scheduler_config.json` of diffusers as a file: what [`difusi_process::diffusers`] reads and writes as text.

use std::path::{Path, PathBuf};

use difusi_process::diffusers::{Loaded, Recipe, Request, SchedulerConfig};
use difusi_process::{Choice, Diffusion};
use difusi_store::{atomic::write_bytes, read_text};

use crate::{Error, ModelCard};

/// Where a pipeline's folder keeps it.
const PLACES: [&str; 2] = ["scheduler/scheduler_config.json", "scheduler_config.json"];

/// Reads a `scheduler_config.json`: the file itself, the folder it lies in, or the folder of a whole pipeline. The notes name what
/// nobody knows of its keys.
///
/// # Errors
/// A file that is not there, an unknown class (the error lists the known ones), bad values with their keys.
pub fn read_scheduler(path: &Path) -> Result<Loaded, Error> {
    let path = file_of(path);
    SchedulerConfig::from_json(&read_text(&path)?).map_err(|source| Error::Scheduler { path, source })
}

/// Writes one, whole or not at all, as diffusers' `save_config` does; a folder gets a file of the usual name.
///
/// # Errors
/// A place that cannot be written to.
pub fn write_scheduler(path: &Path, config: &SchedulerConfig) -> Result<(), Error> {
    let path = if path.is_dir() { path.join(PLACES[1]) } else { path.to_path_buf() };
    Ok(write_bytes(&path, config.to_json().as_bytes())?)
}

/// The scheduler that samples a model as its card says, and what of that diffusers has no keys for.
///
/// # Errors
/// Processes and predictions that no class of diffusers has.
pub fn scheduler_of(card: &ModelCard) -> Result<Loaded, Error> {
    let task = card.task.diffusion()?;
    Ok(SchedulerConfig::describing(&task.diffusion, &task.sample)?)
}

/// Sampling a model of difusi with a scheduler of diffusers, step for step as diffusers does.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerRun {
    /// The scheduler.
    pub config: SchedulerConfig,
    /// DDIM's noise, in [0, 1]: an argument there, not part of the config. Default 0.
    pub eta: f64,
}

/// alpha and sigma of the model and of its scheduler are the same to this; diffusers' betas are f32.
const SAME: f64 = 1e-4;

impl SchedulerRun {
    /// What to run in `steps` steps with a model of this process.
    ///
    /// # Errors
    /// A scheduler of another schedule, length or prediction than the model was trained with; requests that its class does not take.
    pub(crate) fn recipe(&self, model: &Diffusion, steps: usize) -> Result<Recipe, Error> {
        let recipe = self.config.recipe(&Request { eta: self.eta, ..Request::steps(steps) })?;
        let (own, other) = (&model.process, &recipe.diffusion.process);
        let trained = |value: String| format!("{value}, as the model was trained with");
        if own.timesteps() != other.timesteps() {
            let accepted = trained(own.timesteps().to_string());
            return Err(Error::value("the scheduler's num_train_timesteps", other.timesteps(), accepted));
        }
        if model.prediction != recipe.diffusion.prediction {
            let found = recipe.diffusion.prediction.kind();
            return Err(Error::value("the scheduler's prediction", found, trained(model.prediction.kind().into())));
        }
        if recipe.plan.variance().is_learned() && !model.variance.is_learned() {
            return Err(Error::value("the scheduler's variance_type", "learned_range", trained("a fixed one".into())));
        }
        for t in 0..own.timesteps() {
            let [a, b] = [own, other].map(|process| process.level(t as f64));
            let scale = 1.0 + a.sigma;
            if (a.alpha - b.alpha).abs() > SAME || (a.sigma - b.sigma).abs() > SAME * scale {
                let accepted = trained(format!("{:.6}", a.alpha * a.alpha));
                let key = format!("alpha-bar at step {t} of the scheduler's schedule");
                return Err(Error::value(key, format!("{:.6}", b.alpha * b.alpha), accepted));
            }
        }
        Ok(recipe)
    }
}

fn file_of(path: &Path) -> PathBuf {
    let inside = PLACES.iter().map(|place| path.join(place)).find(|file| file.is_file());
    match inside {
        Some(file) => file,
        None if path.is_dir() => path.join(PLACES[1]),
        None => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use difusi_process::diffusers::SchedulerClass;

    use super::*;

    #[test]
    fn files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let config = SchedulerConfig::new(SchedulerClass::DpmSolverMultistep).with("use_karras_sigmas", true).unwrap();
        write_scheduler(folder.path(), &config).unwrap();
        let file = folder.path().join("scheduler_config.json");
        for path in [folder.path(), &file] {
            let loaded = read_scheduler(path).unwrap();
            assert_eq!((loaded.config.settings(), loaded.notes.len()), (config.settings(), 0));
        }
        // A pipeline's own comes first.
        let inner = folder.path().join("scheduler");
        std::fs::create_dir(&inner).unwrap();
        write_scheduler(&inner, &SchedulerConfig::new(SchedulerClass::Ddim)).unwrap();
        assert_eq!(read_scheduler(folder.path()).unwrap().config.class(), SchedulerClass::Ddim);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read_scheduler(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("scheduler_config.json"), "{missing}");
        let file = folder.path().join("odd.json");
        std::fs::write(&file, "{\"_class_name\": \"OddScheduler\"}").unwrap();
        let found = read_scheduler(&file).unwrap_err().to_string();
        assert!(found.contains("odd.json") && found.contains("OddScheduler; expected one of DDPMScheduler"), "{found}");
    }
}
