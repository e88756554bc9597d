//! A model's own `[diffusion]` and `[sample]` as a scheduler of diffusers: the way back from [`SchedulerConfig::diffusion_config`].
//!
//! What diffusers has no key for is told in the notes; a process or a prediction that it has no class for is an error.

use serde::Serialize;
use serde_json::Value;

use super::{Algorithm, BetaSchedule, Loaded, SchedulerClass as C, SchedulerConfig, SolverType, Spacing};
use crate::{
    Choice, DiffusionConfig, DpmAlgorithm, DpmKind, End, EpsSource, Grid, PndmWarmup, Prediction, Process,
    ProcessError, SampleConfig, Schedule, Solver, Threshold, UnipcKind, ValueError, Variance,
};

/// What is being put together.
struct Writing {
    config: SchedulerConfig,
    notes: Vec<String>,
}

impl SchedulerConfig {
    /// The scheduler that samples a model of this process as `sample` says, as near as diffusers' keys come to it.
    ///
    /// # Errors
    /// Processes and predictions that no class of diffusers has (sub-VP, posterior means, learned schedules that are not trained yet).
    pub fn describing(diffusion: &DiffusionConfig, sample: &SampleConfig) -> Result<Loaded, ProcessError> {
        let process = diffusion.build()?.process;
        let (class, exact) = class_of(&process, sample.solver);
        let mut writing = Writing { config: Self::new(class), notes: Vec::new() };
        if !exact {
            let solver = sample.solver.kind();
            writing.notes.push(format!(
                "diffusers has no scheduler for the solver {solver} of this process; {class} takes its place"
            ));
        }
        writing.set("num_train_timesteps", diffusion.timesteps)?;
        writing.schedule(diffusion, &process)?;
        writing.prediction(diffusion.prediction)?;
        writing.variance(diffusion.variance)?;
        writing.solver(sample.solver)?;
        writing.grid(&sample.grid, sample.end)?;
        writing.threshold(sample.threshold)?;
        Ok(Loaded { config: writing.config, notes: writing.notes })
    }
}

/// The class, and whether it is the solver's own.
fn class_of(process: &Process, solver: Solver) -> (C, bool) {
    match (process, solver) {
        (Process::Edm { .. }, Solver::DpmMultistep { .. }) => (C::EdmDpmSolverMultistep, true),
        (Process::Edm { .. }, solver) => (C::EdmEuler, matches!(solver, Solver::Euler { .. })),
        (Process::Flow { .. }, Solver::Heun { .. } | Solver::FlowMatchHeun { .. }) => (C::FlowMatchHeunDiscrete, true),
        (Process::Flow { .. }, solver) => (C::FlowMatchEulerDiscrete, matches!(solver, Solver::Euler { .. })),
        (Process::Ve { .. }, solver) => (C::ScoreSdeVe, matches!(solver, Solver::PredictorCorrector { .. })),
        (_, Solver::Ancestral {}) => (C::Ddpm, true),
        (_, Solver::Ddim { .. }) => (C::Ddim, true),
        (_, Solver::Euler { .. }) => (C::EulerDiscrete, true),
        (_, Solver::EulerAncestral { .. }) => (C::EulerAncestralDiscrete, true),
        (_, Solver::Heun { .. }) => (C::HeunDiscrete, true),
        (_, Solver::Dpm2 { .. }) => (C::Kdpm2Discrete, true),
        (_, Solver::Dpm2Ancestral { .. }) => (C::Kdpm2AncestralDiscrete, true),
        (_, Solver::DpmMultistep { .. }) => (C::DpmSolverMultistep, true),
        (_, Solver::DpmSinglestep { .. }) => (C::DpmSolverSinglestep, true),
        (_, Solver::Unipc { .. }) => (C::UniPcMultistep, true),
        (_, Solver::Deis { .. }) => (C::DeisMultistep, true),
        (_, Solver::Pndm { .. }) => (C::Pndm, true),
        (_, Solver::Lms { .. }) => (C::LmsDiscrete, true),
        (_, Solver::Lcm { .. }) => (C::Lcm, true),
        _ => (C::Ddim, false),
    }
}

impl Writing {
    /// Sets a key that the class must have.
    fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<(), ProcessError> {
        self.config = self.config.with(key, value)?;
        Ok(())
    }

    /// Sets a key where the class has it; says so where it has not.
    fn ask(&mut self, key: &str, value: impl Into<Value>, lost: &str) -> Result<(), ProcessError> {
        if self.has(key) {
            return self.set(key, value);
        }
        self.notes.push(format!("{} has no `{key}`; {lost}", self.config.class()));
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.config.class().keys().contains(&key)
    }

    fn schedule(&mut self, diffusion: &DiffusionConfig, process: &Process) -> Result<(), ProcessError> {
        let named = match (&diffusion.schedule, process) {
            (_, Process::Edm { sigma_min, sigma_max, .. } | Process::Ve { sigma_min, sigma_max, .. }) => {
                self.set("sigma_min", *sigma_min)?;
                return self.set("sigma_max", *sigma_max);
            }
            (_, Process::Flow { shift, .. }) => return self.set("shift", *shift),
            (_, Process::SubVp { .. }) => {
                let accepted = "a schedule that diffusers has a class for: with betas, edm, flow or ve";
                return Err(refused("diffusion.schedule", diffusion.schedule.kind(), accepted));
            }
            (Schedule::Linear { beta_start, beta_end, rescale: false }, _) => {
                Some((BetaSchedule::Linear, [*beta_start, *beta_end]))
            }
            (Schedule::Linear { beta_start, beta_end, rescale: true }, _) => {
                let scale = 1000.0 / diffusion.timesteps as f64;
                Some((BetaSchedule::Linear, [scale * beta_start, scale * beta_end]))
            }
            (Schedule::ScaledLinear { beta_start, beta_end } | Schedule::Quadratic { beta_start, beta_end }, _) => {
                Some((BetaSchedule::ScaledLinear, [*beta_start, *beta_end]))
            }
            (Schedule::BetaSigmoid { beta_start, beta_end, range: 6.0 }, _) => {
                Some((BetaSchedule::Sigmoid, [*beta_start, *beta_end]))
            }
            (Schedule::Cosine { s: 0.008 }, _) => Some((BetaSchedule::SquaredCosine, [1e-4, 0.02])),
            (Schedule::Laplace {}, _) => Some((BetaSchedule::Laplace, [1e-4, 0.02])),
            (Schedule::Exponential { rate: 12.0 }, _) => Some((BetaSchedule::Exponential, [1e-4, 0.02])),
            _ => None,
        };
        match named {
            // Some names are known to some classes only.
            Some((schedule, [start, end])) if self.config.with("beta_schedule", word(schedule)).is_ok() => {
                self.set("beta_schedule", word(schedule))?;
                self.set("beta_end", end)?;
                self.set("beta_start", start)?;
                if diffusion.zero_terminal_snr {
                    self.ask("rescale_betas_zero_snr", true, "the schedule does not end in pure noise there")?;
                }
                Ok(())
            }
            // Bent to its end already.
            _ => self.set("trained_betas", process_betas(process)),
        }
    }

    fn prediction(&mut self, prediction: Prediction) -> Result<(), ProcessError> {
        let word = match prediction {
            Prediction::Epsilon {} => "epsilon",
            Prediction::X0 {} => "sample",
            Prediction::Velocity {} => "v_prediction",
            Prediction::Edm { sigma_data } => {
                self.set("sigma_data", sigma_data)?;
                "epsilon"
            }
            Prediction::EdmVelocity { sigma_data } => {
                self.set("sigma_data", sigma_data)?;
                "v_prediction"
            }
            Prediction::FlowToData {} if self.has("invert_sigmas") => return self.set("invert_sigmas", true),
            // The one thing that these classes know.
            Prediction::Flow {} | Prediction::Score {} if !self.has("prediction_type") => return Ok(()),
            other => {
                let accepted = "epsilon, x0 or velocity; edm or edm_velocity with an edm schedule, flow with a flow, score with ve";
                return Err(refused("diffusion.prediction", other.kind(), accepted));
            }
        };
        self.set("prediction_type", word)
    }

    fn variance(&mut self, variance: Variance) -> Result<(), ProcessError> {
        match variance {
            Variance::FixedSmall {} if !self.has("variance_type") => Ok(()),
            // Of the DPM-Solvers the key only says whether the network's second half is there.
            Variance::FixedSmall {} | Variance::FixedLarge {} if self.config.class() != C::Ddpm => Ok(()),
            variance => self.ask("variance_type", variance.kind(), "the network's variance is not used there"),
        }
    }

    fn solver(&mut self, solver: Solver) -> Result<(), ProcessError> {
        match solver {
            Solver::DpmMultistep { algorithm, order, solver_type, lower_order_final, euler_at_final, .. } => {
                self.dpm(algorithm, order, solver_type, lower_order_final)?;
                self.set("euler_at_final", euler_at_final)
            }
            Solver::DpmSinglestep { algorithm, order, solver_type, lower_order_final, .. } => {
                self.dpm(algorithm, order, solver_type, lower_order_final)
            }
            Solver::Unipc { order, solver_type, predict_x0, lower_order_final, .. } if self.has("predict_x0") => {
                let kind = if solver_type == UnipcKind::Bh1 { SolverType::Bh1 } else { SolverType::Bh2 };
                self.set("solver_order", order)?;
                self.set("solver_type", word(kind))?;
                self.set("predict_x0", predict_x0)?;
                self.set("lower_order_final", lower_order_final)
            }
            Solver::Deis { order, lower_order_final } if self.has("algorithm_type") => {
                self.set("solver_order", order)?;
                self.set("algorithm_type", word(Algorithm::Deis))?;
                self.set("solver_type", word(SolverType::LogRho))?;
                self.set("lower_order_final", lower_order_final)
            }
            Solver::Pndm { warmup, .. } if self.has("skip_prk_steps") => {
                self.set("skip_prk_steps", warmup == PndmWarmup::Plms)
            }
            Solver::Lcm { timestep_scaling, .. } if self.has("timestep_scaling") => {
                self.set("timestep_scaling", timestep_scaling)
            }
            Solver::Ddim { eta, eps } => {
                if eta != 0.0 {
                    self.notes.push(format!("eta = {eta} is an argument of diffusers' pipelines, not of their config"));
                }
                if eps == EpsSource::Thresholded {
                    let note = "eps of the clipped x_0 is `use_clipped_model_output = True`, an argument of diffusers' pipelines";
                    self.notes.push(note.to_owned());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn dpm(&mut self, algorithm: DpmAlgorithm, order: usize, kind: DpmKind, taper: bool) -> Result<(), ProcessError> {
        let algorithm = match algorithm {
            DpmAlgorithm::DpmSolver => Algorithm::DpmSolver,
            DpmAlgorithm::DpmSolverPp => Algorithm::DpmSolverPp,
            DpmAlgorithm::SdeDpmSolver => Algorithm::SdeDpmSolver,
            DpmAlgorithm::SdeDpmSolverPp => Algorithm::SdeDpmSolverPp,
        };
        let kind = if kind == DpmKind::Heun { SolverType::Heun } else { SolverType::Midpoint };
        self.set("algorithm_type", word(algorithm))?;
        self.set("solver_order", order)?;
        self.set("solver_type", word(kind))?;
        self.set("lower_order_final", taper)
    }

    fn grid(&mut self, grid: &Grid, end: End) -> Result<(), ProcessError> {
        let lost = "the class's own grid takes its place";
        match grid {
            Grid::Leading {} | Grid::Linspace {} | Grid::Trailing {} | Grid::Even {} => {
                let spacing = match grid {
                    Grid::Leading {} => Spacing::Leading,
                    Grid::Linspace {} => Spacing::Linspace,
                    _ => Spacing::Trailing,
                };
                let continuous = !self.has("beta_start");
                if !continuous {
                    self.ask("timestep_spacing", word(spacing), lost)?;
                }
            }
            Grid::Karras { .. } if self.has("rho") => {}
            Grid::Karras { .. } => self.ask("use_karras_sigmas", true, lost)?,
            Grid::Exponential { .. } if self.has("sigma_schedule") => self.set("sigma_schedule", "exponential")?,
            Grid::Exponential { .. } => self.ask("use_exponential_sigmas", true, lost)?,
            Grid::FlowShift { shift } => self.ask("shift", *shift, lost)?,
            other => self.notes.push(format!("diffusers' configs hold no {} grid; {lost}", other.kind())),
        }
        match end {
            End::SigmaMin if self.has("set_alpha_to_one") => self.set("set_alpha_to_one", false),
            End::SigmaMin => self.ask("final_sigmas_type", "sigma_min", "sampling goes on to the data there"),
            End::Data => Ok(()),
        }
    }

    fn threshold(&mut self, threshold: Threshold) -> Result<(), ProcessError> {
        let lost = "x_0 is not clipped there";
        match threshold {
            Threshold::None {} if self.has("clip_sample") => self.set("clip_sample", false),
            Threshold::None {} => Ok(()),
            Threshold::Static {} => self.ask("clip_sample", true, lost),
            Threshold::Clip { range } => {
                self.ask("clip_sample", true, lost)?;
                self.ask("clip_sample_range", range, lost)
            }
            Threshold::Dynamic { quantile, max } => {
                if !self.has("thresholding") {
                    return self.ask("thresholding", true, lost);
                }
                if self.has("clip_sample") {
                    self.set("clip_sample", false)?;
                }
                self.set("thresholding", true)?;
                self.set("dynamic_thresholding_ratio", quantile)?;
                // Without a cap in Imagen; with 1, diffusers' default, nothing would be dynamic.
                self.set("sample_max_value", max.unwrap_or(f64::from(f32::MAX)))
            }
        }
    }
}

/// The betas of a discrete process, bent to zero terminal SNR where it is.
fn process_betas(process: &Process) -> Value {
    let Process::Discrete(tables) = process else { return Value::Null };
    let bar = |t: usize| tables.alpha_bar(Some(t)).unwrap_or(1.0);
    let beta = |t: usize| 1.0 - bar(t) / if t == 0 { 1.0 } else { bar(t - 1) };
    (0..tables.timesteps()).map(|t| Value::from(beta(t))).collect()
}

/// A word of diffusers as JSON.
fn word(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn refused(key: &str, got: &str, accepted: &str) -> ProcessError {
    ProcessError::Values(vec![ValueError::new(key, got, accepted)])
}
