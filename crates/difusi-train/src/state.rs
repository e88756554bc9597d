//! Saving and resuming: everything that decides the rest of a run.
//!
//! ```text
//! step-000500/ state.json  weights.safetensors  ema-0.995.safetensors  optimizer.safetensors  [objective.safetensors]
//! ```
//! `weights` holds every float tensor of the model, buffers and frozen ones included; an average and the optimiser only the
//! trained ones. There is no state of a random generator: numbers depend on the seed and the position alone.
//! Deliberately absent: which folder (difusi-store's run folders), configs of models and data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use difusi_store::{HostTensor, RunDir, StoreError, TensorMap, atomic, read_safetensors, read_text, write_safetensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::FREE_KEYS;
use crate::ema::Ema;
use crate::optimizer::Moments;
use crate::params::{Entry, Layout, Values};
use crate::trainer::Progress;
use crate::{MicroBatch, Objective, TrainError, Trainer};

/// Version of this layout.
const FORMAT: u32 = 1;

/// Tensors that an error names before it counts the rest.
const NAMED: usize = 6;

/// `state.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    step: u64,
    images_seen: u64,
    updates: u64,
    ema_updates: u64,
    skipped_total: u64,
    skipped_in_a_row: u32,
    micro_batch: usize,
    data_count: u64,
    data_shape: [usize; 3],
    train: Value,
}

impl<O: Objective> Trainer<O> {
    /// Writes the folder `dir`: whole, or not at all. One that is there already is replaced.
    pub fn save_state(&mut self, dir: &Path) -> Result<(), TrainError> {
        atomic::write_dir(dir, |dir| self.write(dir))?;
        self.saved(dir.to_path_buf());
        Ok(())
    }

    /// Saves the state of this step into a run folder and deletes all but the newest `train.keep`. Nothing is deleted while
    /// steps are being skipped, so the last good state survives a divergence. Returns the state's folder.
    pub fn save_checkpoint(&mut self, run: &RunDir) -> Result<PathBuf, TrainError> {
        let dir = run.save_state(self.progress.step, |dir| self.write(dir))?;
        if self.progress.skipped_in_a_row == 0 {
            run.keep_last(self.config.keep)?;
        }
        self.saved(dir.clone());
        Ok(dir)
    }

    fn saved(&mut self, dir: PathBuf) {
        if self.progress.skipped_in_a_row == 0 || self.last_checkpoint.is_none() {
            self.last_checkpoint = Some(dir);
        }
    }

    fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let p = &self.progress;
        let json = serde_json::to_vec_pretty(&self.record()).map_err(|e| StoreError::Io {
            action: "write",
            path: dir.join("state.json"),
            source: e.into(),
        })?;
        atomic::write_bytes(&dir.join("state.json"), &json)?;
        let none = BTreeMap::new();
        write_safetensors(&dir.join("weights.safetensors"), &self.all_weights()?, &none)?;
        for ema in &p.emas {
            let tensors = trained(&self.layout, "", &ema.values)?;
            write_safetensors(&dir.join(ema_file(ema.rate)), &tensors.into_iter().collect(), &none)?;
        }
        let mut moments = trained(&self.layout, "first.", &p.moments.first)?;
        moments.extend(trained(&self.layout, "second.", &p.moments.second)?);
        write_safetensors(&dir.join("optimizer.safetensors"), &moments.into_iter().collect(), &none)?;
        let own = self.objective.state();
        if !own.is_empty() {
            let tensors: Result<TensorMap, StoreError> =
                own.into_iter().map(|(name, v)| Ok((name, HostTensor::f32([v.len()], v)?))).collect();
            write_safetensors(&dir.join("objective.safetensors"), &tensors?, &none)?;
        }
        Ok(())
    }

    fn record(&self) -> Record {
        let p = &self.progress;
        Record {
            format: FORMAT,
            step: p.step,
            images_seen: p.images_seen,
            updates: p.moments.updates,
            ema_updates: p.ema_updates,
            skipped_total: p.skipped_total,
            skipped_in_a_row: p.skipped_in_a_row,
            micro_batch: p.micro_batch,
            data_count: self.data.count(),
            data_shape: self.data.shape(),
            train: as_json(&self.config),
        }
    }

    /// Every float tensor of the model, trained ones with the optimiser's weights.
    fn all_weights(&self) -> Result<TensorMap, StoreError> {
        let problem = |e: TrainError| StoreError::Tensor { name: "weights".into(), problem: e.to_string() };
        let (layout, values, mut rest) = Layout::read(&self.model).map_err(problem)?;
        let tensor = |e: &Entry| {
            let v = match &e.trained {
                Some(range) => values[range.clone()].to_vec(),
                None => rest.remove(&e.name).unwrap_or_default(),
            };
            Ok((e.name.clone(), HostTensor::f32(e.shape.clone(), v)?))
        };
        layout.entries.iter().map(tensor).collect()
    }

    /// Continues where [`Trainer::save_state`] wrote `dir`: the next step gives the bits that it would have given then.
    ///
    /// # Errors
    /// A folder of a run with other settings (see [`crate::TrainConfig`]; `steps`, `save_every`, `sample_every`, `validation_every`,
    /// `log_every`, `keep` and `eval_...` may differ), with other tensors, or damaged. The trainer is unchanged then.
    pub fn resume(&mut self, dir: &Path) -> Result<(), TrainError> {
        let record = read_record(dir)?;
        self.compare(dir, &record)?;
        let (weights, rest) = self.read_model(&dir.join("weights.safetensors"))?;
        let mut emas = Vec::new();
        for &rate in &self.config.ema {
            let values = self.read_trained(&dir.join(ema_file(rate)), [""])?;
            emas.extend(values.into_iter().map(|values| Ema { rate, values }));
        }
        let [first, second] = self.read_trained(&dir.join("optimizer.safetensors"), ["first.", "second."])?;
        let own = dir.join("objective.safetensors");
        let state = if own.exists() {
            read_safetensors(&own)?.tensors.into_iter().map(|(n, t)| (n, t.into_f32())).collect()
        } else {
            BTreeMap::new()
        };
        self.objective.restore(state)?;
        let progress = Progress {
            step: record.step,
            images_seen: record.images_seen,
            skipped_total: record.skipped_total,
            skipped_in_a_row: record.skipped_in_a_row,
            ema_updates: record.ema_updates,
            micro_batch: record.micro_batch,
            weights,
            moments: Moments { first, second, updates: record.updates },
            emas,
        };
        self.jump(progress, &rest);
        self.last_checkpoint = Some(dir.to_path_buf());
        Ok(())
    }

    /// Continues from the newest state of a run folder; returns it, or `None` where there is none.
    pub fn resume_newest(&mut self, run: &RunDir) -> Result<Option<PathBuf>, TrainError> {
        let Some(newest) = run.states()?.into_iter().next() else { return Ok(None) };
        self.resume(&newest.path)?;
        Ok(Some(newest.path))
    }

    /// An error that names every setting that differs and matters.
    fn compare(&self, dir: &Path, record: &Record) -> Result<(), TrainError> {
        let mut differences = Vec::new();
        let mut compare = |key: &str, saved: &Value, now: &Value| {
            if saved != now {
                differences.push(format!("`{key}` was {saved}, now {now}"));
            }
        };
        let now = as_json(&self.config);
        for (key, value) in now.as_object().into_iter().flatten() {
            if !FREE_KEYS.contains(&key.as_str()) {
                compare(&format!("train.{key}"), record.train.get(key).unwrap_or(&Value::Null), value);
            }
        }
        if let MicroBatch::Images(n) = self.config.micro_batch {
            compare("train.micro_batch", &record.micro_batch.into(), &n.into());
        }
        compare("images in the data set", &record.data_count.into(), &self.data.count().into());
        compare("shape of the data set's images", &as_json(&record.data_shape), &as_json(&self.data.shape()));
        if differences.is_empty() {
            return Ok(());
        }
        Err(TrainError::Changed { dir: dir.to_path_buf(), differences: differences.join("; ") })
    }

    /// The trained weights and the rest of a file with all tensors of the model.
    fn read_model(&self, file: &Path) -> Result<(Vec<f32>, Values), TrainError> {
        let wanted = self.layout.entries.iter().map(|e| (e.name.clone(), e));
        let mut tensors = read_exactly(file, wanted.collect())?;
        let mut weights = Vec::with_capacity(self.layout.len);
        for (entry, _) in self.layout.trained() {
            weights.extend(tensors.remove(&entry.name).unwrap_or_default());
        }
        Ok((weights, tensors))
    }

    /// The flat vectors of a file with the trained tensors under each of `prefixes`.
    fn read_trained<const N: usize>(&self, file: &Path, prefixes: [&str; N]) -> Result<[Vec<f32>; N], TrainError> {
        let names = |prefix: &str| -> Vec<(String, &Entry)> {
            self.layout.trained().map(|(e, _)| (format!("{prefix}{}", e.name), e)).collect()
        };
        let mut tensors = read_exactly(file, prefixes.iter().flat_map(|p| names(p)).collect())?;
        Ok(prefixes.map(|p| names(p).iter().flat_map(|(n, _)| tensors.remove(n).unwrap_or_default()).collect()))
    }
}

fn ema_file(rate: f64) -> String {
    format!("ema-{rate}.safetensors")
}

/// The value as it comes back from a file: reading a number may change its last bit.
fn as_json(value: &impl Serialize) -> Value {
    serde_json::to_string(value).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The trained tensors with the values of a flat vector, named `prefix` + name.
fn trained(layout: &Layout, prefix: &str, flat: &[f32]) -> Result<Vec<(String, HostTensor)>, StoreError> {
    let tensor = |(e, range): (&Entry, std::ops::Range<usize>)| {
        Ok((format!("{prefix}{}", e.name), HostTensor::f32(e.shape.clone(), flat[range].to_vec())?))
    };
    layout.trained().map(tensor).collect()
}

fn read_record(dir: &Path) -> Result<Record, TrainError> {
    let path = dir.join("state.json");
    let text = read_text(&path)?;
    let bad = |problem| StoreError::Format { path: path.clone(), format: "training state", problem };
    let value: Value = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    if value.get("format") != Some(&FORMAT.into()) {
        let found = value.get("format").unwrap_or(&Value::Null);
        return Err(bad(format!("`format` is {found}; expected {FORMAT}")).into());
    }
    serde_json::from_value(value).map_err(|e| bad(e.to_string()).into())
}

/// Reads a file that must hold exactly the tensors `wanted`, by name and shape; the error lists those that are not so.
fn read_exactly(file: &Path, wanted: Vec<(String, &Entry)>) -> Result<Values, TrainError> {
    let tensors = read_safetensors(file)?.tensors;
    let mut problems = Vec::new();
    for (name, entry) in &wanted {
        match tensors.find(name) {
            None => problems.push(format!("`{name}` is missing")),
            Some(t) if t.shape != entry.shape => {
                problems.push(format!("`{name}` has shape {:?}, the model {:?}", t.shape, entry.shape));
            }
            Some(_) => {}
        }
    }
    let known: std::collections::HashSet<&str> = wanted.iter().map(|(n, _)| n.as_str()).collect();
    problems.extend(tensors.names().filter(|n| !known.contains(n)).map(|n| format!("`{n}` is not the model's")));
    if problems.is_empty() {
        return Ok(tensors.into_iter().map(|(n, t)| (n, t.into_f32())).collect());
    }
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    let rest = if more > 0 { format!("; and {more} more (is [model] that of the run?)") } else { String::new() };
    Err(TrainError::Tensors { file: file.to_path_buf(), problem: problems.join("; ") + &rest })
}
