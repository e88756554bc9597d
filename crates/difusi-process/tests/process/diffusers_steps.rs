//! Step for step with diffusers 0.42.1: xtask/golden/diffusers_golden.py made the numbers, from a formula in the place of the network and
//! formulas in the place of noise.

use burn::tensor::{DType, Tensor, TensorData};
use difusi_core::{Cond, Inputs, Network};
use difusi_process::{
    NetworkDenoiser, NoiseSource, Sampler,
    diffusers::{Recipe, Request, SchedulerClass, SchedulerConfig, Visits},
    edit::Resampling,
};
use serde_json::Value;

use crate::common::{Golden, channels_first, golden_noise, values};

/// x after a step may differ by this much of its largest value.
const TOLERANCE: f64 = 1e-5;

/// `[B, C, H, W]` of the golden file.
pub(crate) const SHAPE: [usize; 4] = [2, 3, 2, 1];

/// Numbers of one x.
pub(crate) const SIZE: usize = 12;

/// The golden script's `model`, in f64.
pub(crate) struct Formula {
    pub(crate) learned: bool,
}

impl Network for Formula {
    fn forward(&self, inputs: Inputs) -> Tensor<4> {
        let ([b, h, w, c], device) = (inputs.x.dims(), inputs.x.device());
        let (x, t) = (values(inputs.x), f64::from(values(inputs.t)[0]));
        let per_pixel = |pixel: &[f32]| {
            let each = |f: &dyn Fn(f64, f64) -> f64| {
                pixel.iter().enumerate().map(|(c, x)| f(f64::from(*x), c as f64) as f32).collect::<Vec<_>>()
            };
            let output = each(&|x, c| 0.9 * (0.8 * x + 0.25 * c + 0.1).sin() * (0.75 + 0.25 * (0.003 * t).cos()));
            let variance = each(&|x, c| 0.8 * (1.1 * x + 0.3 * c).cos());
            if self.learned { [output, variance].concat() } else { output }
        };
        let out: Vec<f32> = x.chunks(c).flat_map(per_pixel).collect();
        let c = out.len() / (b * h * w);
        Tensor::from_data(TensorData::new(out, [b, h, w, c]), &device)
    }
}

/// The golden script's `noise`: draw 0 of a step, -1 being the start.
pub(crate) fn noise(step: i32) -> Tensor<4> {
    golden_noise(step, 0).cast(DType::F32)
}

struct Case {
    name: String,
    config: SchedulerConfig,
    request: Request,
    start: f64,
    every: usize,
}

impl Case {
    fn read(name: &str, case: &Value) -> Self {
        let config = SchedulerConfig::from_json(case["config"].as_str().unwrap()).unwrap().config;
        let run = &case["run"];
        let list = |key: &str| Some(run.get(key)?.as_array()?.iter().map(|v| v.as_f64().unwrap()).collect());
        let visits = match (list("timesteps"), list("sigmas")) {
            (Some(times), _) => Visits::Times(times),
            (_, Some(sigmas)) => Visits::Sigmas(sigmas),
            _ => Visits::Count(run["steps"].as_u64().unwrap() as usize),
        };
        let mut request = Request::of(visits);
        request.mu = run.get("mu").and_then(Value::as_f64);
        request.strength = run.get("strength").and_then(Value::as_f64).unwrap_or(1.0);
        request.eta = run.get("eta").and_then(Value::as_f64).unwrap_or(0.0);
        request.use_clipped_model_output = run.get("use_clipped_model_output").is_some();
        let start = case["init_noise_sigma"].as_f64().unwrap();
        let every = run.get("every").and_then(Value::as_u64).unwrap_or(1) as usize;
        Self { name: name.into(), config, request, start, every }
    }

    /// x here is alpha times x there.
    fn is_scaled(&self) -> bool {
        use SchedulerClass as C;
        matches!(
            self.config.class(),
            C::LmsDiscrete
                | C::EulerDiscrete
                | C::EulerAncestralDiscrete
                | C::HeunDiscrete
                | C::Kdpm2Discrete
                | C::Kdpm2AncestralDiscrete
        )
    }

    fn recipe(&self) -> Recipe {
        self.config.recipe(&self.request).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Draws that a run takes: one for each stage that adds noise.
    fn noises(&self, recipe: &Recipe) -> NoiseSource {
        let second_of_two = self.config.class() == SchedulerClass::Kdpm2AncestralDiscrete;
        let drawn = (0..recipe.plan.len() as i32).filter(|i| !second_of_two || i % 2 == 1);
        NoiseSource::given(drawn.map(noise).collect())
    }

    /// Largest difference of x after any step from what the file calls `what`, in units of the largest |x| then; and the step.
    fn worst_step(&self, golden: &Golden, what: &str) -> (f64, usize) {
        let recipe = self.recipe();
        let learned = recipe.diffusion.variance.is_learned();
        let net = Formula { learned };
        let denoiser = NetworkDenoiser::new(&net, &recipe.diffusion, recipe.threshold);
        let start = noise(-1) * recipe.start;
        let run = Sampler::new(&denoiser, &recipe.plan, start, self.noises(&recipe), Cond::None);
        let (_, expected) = golden.get(&format!("{}/{what}", self.name));
        let mut worst = (0.0, 0);
        for (i, (step, stage)) in run.zip(recipe.plan.stages()).enumerate() {
            let step = step.unwrap_or_else(|e| panic!("{}: {e}", self.name));
            let alpha = if self.is_scaled() { stage.to.alpha } else { 1.0 };
            let found = channels_first(step.x);
            if (i + 1) % self.every != 0 {
                continue;
            }
            let expected = &expected[i / self.every * found.len()..][..found.len()];
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (a, b) in found.iter().zip(expected) {
                let off = (f64::from(*a) / alpha - f64::from(*b)).abs() / f64::from(largest);
                if off > worst.0 || off.is_nan() {
                    worst = (if off.is_nan() { f64::INFINITY } else { off }, i);
                }
            }
        }
        worst
    }
}

fn cases(golden: &Golden) -> Vec<Case> {
    let cases: Value = serde_json::from_str(&golden.metadata("cases")).unwrap();
    let all = cases.as_object().unwrap().iter().map(|(name, case)| Case::read(name, case));
    let alone = [SchedulerClass::RePaint, SchedulerClass::ScoreSdeVe];
    all.filter(|case| !alone.contains(&case.config.class())).collect()
}

/// `timesteps` and `init_noise_sigma`: whole numbers exactly, others within 1e-4.
#[test]
fn timesteps_are_diffusers() {
    let golden = Golden::open("schedulers.safetensors");
    for case in cases(&golden) {
        let recipe = case.recipe();
        let found: Vec<f64> = recipe.plan.stages().iter().map(|stage| stage.at.t).collect();
        let (_, expected) = golden.get(&format!("{}/timesteps", case.name));
        assert_eq!(found.len(), expected.len(), "{}", case.name);
        for (found, expected) in found.iter().zip(expected.iter().map(|t| f64::from(*t))) {
            let allowed = if expected.fract() == 0.0 && found.fract() == 0.0 { 0.0 } else { 1e-4 };
            assert!((found - expected).abs() <= allowed, "{}: {found} is not {expected}", case.name);
        }
        let first = recipe.plan.stages()[0].at;
        let start = recipe.start / if case.is_scaled() { first.alpha } else { 1.0 };
        assert!((start / case.start - 1.0).abs() < 1e-6, "{}: start {start}, not {}", case.name, case.start);
    }
}

/// Where diffusers' f32 loses more than that itself (the file says so by having `x64`, the same class computing in f64), it is that
/// which counts, and the f32 run may be off by four times as much.
#[test]
fn every_step_is_diffusers() {
    let (golden, mut told) = (Golden::open("schedulers.safetensors"), Vec::new());
    let names = golden.names();
    for case in cases(&golden) {
        let wide = names.contains(&format!("{}/x64", case.name));
        let judged: &[(&str, f64)] =
            if wide { &[("x64", TOLERANCE), ("x", 4.0 * TOLERANCE)] } else { &[("x", TOLERANCE)] };
        for (what, allowed) in judged {
            let (off, step) = case.worst_step(&golden, what);
            if off > *allowed {
                told.push(format!("{}/{what}: {off:.1e} after step {step}", case.name));
            }
        }
    }
    assert!(told.is_empty(), "{} cases:\n{}", told.len(), told.join("\n"));
}

/// What a class does not take is refused with what it takes.
#[test]
fn requests_are_checked() {
    let error = |class, request: &Request| SchedulerConfig::new(class).recipe(request).unwrap_err().to_string();
    let listed = |times: &[f64]| Request::of(Visits::Times(times.to_vec()));
    for (class, request, part) in [
        (SchedulerClass::Ddpm, Request::steps(0), "`visits` is 0 steps; expected 1 to 1000"),
        (SchedulerClass::Ddim, Request::steps(1001), "expected 1 to 1000, the `num_train_timesteps`"),
        (SchedulerClass::Ddim, listed(&[10.0]), "DDIMScheduler takes no list"),
        (
            SchedulerClass::Ddpm,
            listed(&[10.0, 10.0]),
            "`visits[1]` is 10.0; expected a whole number of at least 0 below 10",
        ),
        (SchedulerClass::Pndm, Request::steps(3), "at least 4 with Runge-Kutta steps"),
        (SchedulerClass::Lcm, Request::steps(51), "1 to 50, the steps of the distillation"),
        (SchedulerClass::EulerDiscrete, Request::of(Visits::Sigmas(vec![3.0, 4.0])), "`visits[1]` is 4.0"),
        (SchedulerClass::DpmSolverMultistep, Request::of(Visits::Sigmas(vec![3.0])), "takes no sigmas"),
        (
            SchedulerClass::FlowMatchEulerDiscrete,
            Request { mu: Some(1.0), ..Request::steps(4) },
            "`mu` is 1.0; expected none",
        ),
        (SchedulerClass::Ddim, Request { eta: 2.0, ..Request::steps(4) }, "`eta` is 2.0"),
        (
            SchedulerClass::RePaint,
            Request { resampling: Resampling { jump_length: 0, jump_n_sample: 1 }, ..Request::steps(4) },
            "`resampling.jump_length` is 0",
        ),
    ] {
        let found = error(class, &request);
        assert!(found.contains(part), "{class}: {found}");
    }
    let flux = SchedulerConfig::new(SchedulerClass::FlowMatchEulerDiscrete).with("use_dynamic_shifting", true).unwrap();
    assert!(flux.recipe(&Request::steps(4)).unwrap_err().to_string().contains("Request::mu_of"));
    // Flux at 1024 x 1024 has 4096 patches.
    let mu = Request::mu_of(flux.settings(), 4096);
    assert!((mu - 1.15).abs() < 1e-12 && (Request::mu_of(flux.settings(), 256) - 0.5).abs() < 1e-12);
}

/// The process by its name has the alpha-bars of diffusers' tables, which are f32; the last may be 2^-24 for 0.
#[test]
fn the_named_process_is_the_tables() {
    let golden = Golden::open("schedulers.safetensors");
    let mut named = 0;
    for case in cases(&golden) {
        let Some(config) = case.config.diffusion_config() else { continue };
        let (ours, theirs) = (config.build().unwrap(), case.recipe().diffusion);
        assert_eq!((ours.prediction, ours.variance), (theirs.prediction, theirs.variance), "{}", case.name);
        let (Ok(ours), Ok(theirs)) = (ours.process.tables(), theirs.process.tables()) else { continue };
        let off = ours.alpha_bars.iter().zip(&theirs.alpha_bars).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-5, "{}: {off}", case.name);
        named += 1;
    }
    assert!(named > 150, "{named}");
}
