//! Grids of sigmas and times.

use difusi_process::{AlignedModel, Choice, DiffusionConfig, End, Grid, Level, Process, SampleConfig, Schedule};

use crate::{common::check_close, solver_order::process};

fn flow() -> Process {
    Process::Flow { shift: 1.0, timesteps: 1000 }
}

fn ratios(levels: &[Level]) -> Vec<f64> {
    levels.iter().map(|level| level.ratio()).collect()
}

fn by_name(text: &str) -> Grid {
    toml::from_str(text).unwrap()
}

/// Every kind that has defaults, on every process that it is for.
fn all() -> Vec<(Grid, Process)> {
    let edm = Process::Edm { sigma_min: 0.002, sigma_max: 80.0, timesteps: 1000 };
    let cosine = Schedule::default().process(1000).unwrap();
    let named = Grid::KINDS.iter().filter(|kind| !["custom", "times", "sigmas"].contains(*kind));
    let mut found = Vec::new();
    for kind in named {
        for process in [process(), cosine.clone(), edm.clone(), flow()] {
            if *kind != "flow_shift" || matches!(process, Process::Flow { .. }) {
                found.push((by_name(&format!("kind = {kind:?}")), process));
            }
        }
    }
    found
}

/// Any number of steps: so many levels, noise that falls, an end.
#[test]
fn noise_falls() {
    for (grid, process) in all() {
        for steps in [1, 2, 3, 7, 10, 11, 50] {
            for end in [End::Data, End::SigmaMin] {
                let levels = grid.levels_to(&process, steps, end).unwrap();
                let what = format!("{grid:?} {steps} {end:?}");
                assert!(levels.len() == steps + 1 || (end == End::SigmaMin && levels.len() == steps), "{what}");
                for pair in levels.windows(2) {
                    let falls = pair[1].sigma * pair[0].alpha < pair[0].sigma * pair[1].alpha;
                    assert!(falls, "{what} {pair:?}");
                    assert!(pair[0].t > pair[1].t || pair[1].is_data() || pair[0].t == 999.0, "{what} {pair:?}");
                }
                assert_eq!(levels[levels.len() - 1].is_data(), end == End::Data, "{what}");
            }
        }
    }
}

/// EDM's table: sigma 0.002 to 80 in 18 steps with rho = 7, eq. 5.
#[test]
fn karras() {
    let edm = Process::Edm { sigma_min: 0.002, sigma_max: 80.0, timesteps: 1000 };
    let levels = by_name("kind = \"karras\"").levels(&edm, 18).unwrap();
    for (i, level) in levels[..18].iter().enumerate() {
        let root = 80f64.powf(1.0 / 7.0) + i as f64 / 17.0 * (0.002f64.powf(1.0 / 7.0) - 80f64.powf(1.0 / 7.0));
        check_close(level.sigma / root.powi(7), 1.0, 1e-12);
        check_close(level.t, level.sigma.ln() / 4.0, 1e-12);
    }
    let even = by_name("kind = \"log_snr\"\nsigma_min = 0.5\nsigma_max = 8.0").levels(&edm, 5).unwrap();
    ratios(&even).iter().zip([8.0, 4.0, 2.0, 1.0, 0.5]).for_each(|(a, b)| check_close(*a, b, 1e-12));
}

/// Ten steps are the published list; more steps read off between its entries, and keep them where they fall together.
#[test]
fn align_your_steps() {
    for model in [AlignedModel::Sd15, AlignedModel::Sdxl, AlignedModel::Svd] {
        let grid = Grid::AlignYourSteps { model };
        let ten = ratios(&grid.levels_to(&process(), 10, End::SigmaMin).unwrap());
        ten.iter().zip(model.sigmas()).for_each(|(a, b)| check_close(a / b, 1.0, 1e-12));
        let twenty = ratios(&grid.levels_to(&process(), 20, End::SigmaMin).unwrap());
        for (i, sigma) in ten.iter().enumerate() {
            check_close(twenty[2 * i] / sigma, 1.0, 1e-12);
        }
        check_close(twenty[1], (ten[0] * ten[1]).sqrt(), 1e-9);
        assert_eq!(ratios(&grid.levels(&process(), 10).unwrap())[..10], ten[..10]);
    }
    let own = Grid::Sigmas { sigmas: vec![4.0, 1.0] };
    let read = ratios(&own.levels_to(&process(), 2, End::SigmaMin).unwrap());
    read.iter().zip([4.0, 2.0, 1.0]).for_each(|(a, b)| check_close(*a, b, 1e-12));
}

/// Quantiles: the ends are T-1 and 0, the middle is the middle; shapes of 1 are even steps.
#[test]
fn beta() {
    let times = |text: &str, steps| -> Vec<f64> {
        let levels = by_name(text).levels(&process(), steps).unwrap();
        levels[..steps].iter().map(|level| level.t).collect()
    };
    let crowded = times("kind = \"beta\"", 11);
    assert_eq!((crowded[0], crowded[10]), (999.0, 0.0));
    check_close(crowded[5], 499.5, 1e-9);
    // scipy.stats.beta.ppf(0.9, 0.6, 0.6)
    check_close(crowded[1] / 999.0, 1.0 - 0.039_584_405_588_780_79, 1e-12);
    let even = times("kind = \"beta\"\nalpha = 1.0\nbeta = 1.0", 4);
    even.iter().zip([999.0, 666.0, 333.0, 0.0]).for_each(|(a, b)| check_close(*a, b, 1e-9));
}

/// Stable Diffusion 3's times: shift 3.
#[test]
fn flow_shift() {
    let levels = by_name("kind = \"flow_shift\"").levels(&flow(), 4).unwrap();
    let sigmas: Vec<f64> = levels.iter().map(|level| level.sigma).collect();
    sigmas.iter().zip([1.0, 0.9, 0.75, 0.5, 0.0]).for_each(|(a, b)| check_close(*a, b, 1e-12));
    check_close(levels[1].t, 900.0, 1e-9);
    let error = by_name("kind = \"flow_shift\"").levels(&process(), 4).unwrap_err().to_string();
    assert!(error.contains("flow processes"), "{error}");
}

/// Between two steps the log of sigma / alpha is even.
#[test]
fn fractional_times() {
    let grid = Grid::Times { times: vec![999.0, 500.5, 10.25] };
    let levels = grid.levels(&process(), 50).unwrap();
    assert_eq!(levels.len(), 4);
    let [a, b] = [500.0, 501.0].map(|t| process().level(t).ratio());
    check_close(levels[1].ratio(), (a * b).sqrt(), 1e-12);
    assert!(grid.steps(1000, 50).is_err());
}

#[test]
fn parameters_are_checked() {
    let wrong = |text: &str, key: &str| {
        let found: Vec<String> = by_name(text).check(1000, 10).into_iter().map(|e| e.key).collect();
        assert_eq!(found, [key], "{text}");
    };
    wrong("kind = \"karras\"\nrho = 0.0", "grid.rho");
    wrong("kind = \"karras\"\nsigma_min = 2.0\nsigma_max = 1.0", "grid.sigma_max");
    wrong("kind = \"exponential\"\nsigma_min = -1.0", "grid.sigma_min");
    wrong("kind = \"beta\"\nalpha = nan", "grid.alpha");
    wrong("kind = \"flow_shift\"\nshift = 0.0", "grid.shift");
    wrong("kind = \"sigmas\"\nsigmas = [1.0]", "grid.sigmas");
    wrong("kind = \"sigmas\"\nsigmas = [1.0, 1.0]", "grid.sigmas[1]");
    wrong("kind = \"times\"\ntimes = [3.0, 3.5]", "grid.times[1]");
    wrong("kind = \"times\"\ntimes = [999.5]", "grid.times[0]");
    assert!(toml::from_str::<Grid>("kind = \"align_your_steps\"\nmodel = \"sd9\"").is_err());
}

/// The end is a choice of the config; a whole-step grid that visits step 0 has one step less when it ends there.
#[test]
fn ends() {
    let d = DiffusionConfig { timesteps: 100, ..DiffusionConfig::default() }.build().unwrap();
    let sample: SampleConfig = toml::from_str("end = \"sigma_min\"\nsteps = 10\ngrid = \"leading\"").unwrap();
    let plan = d.plan(&sample).unwrap();
    assert_eq!((plan.len(), plan.stages()[8].to.t), (9, 0.0));
    let trailing = SampleConfig { grid: Grid::Trailing {}, ..sample };
    assert_eq!(d.plan(&trailing).unwrap().len(), 10);
    assert!(!toml::to_string(&SampleConfig::default()).unwrap().contains("end"));
}
