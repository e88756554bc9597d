//! Editing: identities that hold whatever the model, and the distribution with the exact one.

use burn::tensor::{DType, Device, Tensor};
use difusi_core::{Cond, Noise};
use difusi_process::{
    Choice, Churn, Denoise, Denoised, Grid, Level, NoiseSource, Norms, Plan, Predictor, Process, ProcessError, Sampler,
    Solver, StepSize, Variance,
    edit::{Keep, Known, Resampling, last_steps},
    mixture::{Component, Mixture},
    q_sample, sample,
};

use crate::common::{Golden, check_all_close, check_close, filled, linear, tensor, tensor64, values, values64, wavy};

const SMALL: Variance = Variance::FixedSmall {};

fn process() -> Process {
    Process::Discrete(linear(100))
}

fn levels(steps: usize) -> Vec<Level> {
    Grid::Trailing {}.levels(&process(), steps).unwrap()
}

/// Every kind that goes from noise to data; corrections by the norms of the batch, since images here are small.
fn solvers() -> Vec<Solver> {
    let langevin = Solver::Langevin { steps: 2, step_size: StepSize::default() };
    let (predictor, norms) = (Predictor::default(), Norms::Batch);
    let corrected = Solver::PredictorCorrector { predictor, snr: 0.16, correct: 1, norms };
    let churn = Churn { s_churn: 10.0, ..Churn::default() };
    let by_name = |kind: &&str| serde_json::from_value::<Solver>(serde_json::json!({ "kind": kind })).unwrap();
    let rest = Solver::KINDS.iter().filter(|kind| !["langevin", "predictor_corrector"].contains(kind)).map(by_name);
    let chosen = [Solver::ddim(0.7), Solver::Euler { churn }, langevin, corrected];
    rest.filter(|solver| !solver.rises()).chain(chosen).collect()
}

/// A denoiser whose answer at every pixel depends on its neighbours.
struct Blur;

impl Denoise for Blur {
    fn denoise(&self, x_t: Tensor<4>, level: Level, _: &Cond) -> Result<Denoised, ProcessError> {
        let beside = x_t.clone().roll_dim(1, 1) + x_t.clone().roll_dim(-1, 2) + x_t.clone().roll_dim(1, 3);
        let x0 = (x_t.clone() * 0.5 + beside * 0.4).tanh() * 0.9;
        Ok(Denoised::from_x0(x0, x_t, level))
    }
}

const SHAPE: [usize; 4] = [2, 4, 8, 3];

/// `count` images numbered from `first`, with part of a picture kept.
fn edited(plan: &Plan, known: Option<Known>, (first, count): (usize, usize)) -> Tensor<4> {
    let [_, h, w, c] = SHAPE;
    let source = NoiseSource::counter(3, first as u64);
    let start = source.clone().initial([count, h, w, c], &Device::flex()).unwrap();
    let sampler = Sampler::new(&Blur, plan, start, source.clone(), Cond::None);
    match known {
        Some(known) => sampler.constrained(&mut Keep::new(known, picture(), source)).finish().unwrap(),
        None => sampler.finish().unwrap(),
    }
}

/// One for all images.
fn picture() -> Tensor<4> {
    wavy([1, 4, 8, 3], 0.3) * 0.9
}

fn half_mask() -> Known {
    let left = (0..32).map(|i| if i % 8 < 4 { 1.0 } else { 0.0 }).collect();
    Known::mask(tensor(left, [1, 4, 8, 1]))
}

/// A mask of ones gives back the picture, one of zeros plain sampling, bit for bit; between them each part is what it should be.
#[test]
fn masks_of_ones_and_zeros() {
    let steps = levels(6);
    for solver in solvers() {
        for resampling in
            [Resampling { jump_length: 2, jump_n_sample: 3 }, Resampling { jump_length: 2, jump_n_sample: 1 }]
        {
            let plan = resampling.plan_on(&process(), &steps, (solver, SMALL)).unwrap();
            let run = |known| edited(&plan, known, (0, 2));
            let plain = values(run(None));
            assert_eq!(values(run(Some(Known::mask(filled(0.0, [1, 4, 8, 1]))))), plain, "{solver:?}");
            let ones = values(run(Some(Known::mask(filled(1.0, [1, 4, 8, 1])))));
            let kept = values(picture().expand(SHAPE));
            assert_eq!(ones, kept, "{solver:?}");
            let half = values(run(Some(half_mask())));
            for (i, found) in half.iter().enumerate() {
                let left = i / 3 % 8 < 4;
                assert_eq!(*found == kept[i], left, "{solver:?} {i}");
            }
            assert!(half.iter().all(|v| v.is_finite()) && half != plain);
        }
    }
}

/// What is known of the result is what was known: its grey, its low resolution.
#[test]
fn the_known_part_is_kept() {
    for solver in solvers() {
        let plan = Plan::on(&process(), &levels(6), solver, SMALL).unwrap();
        for known in [Known::Grey, Known::LowResolution { factor: 2 }, Known::LowResolution { factor: 4 }, half_mask()]
        {
            let x = edited(&plan, Some(known.clone()), (0, 2));
            let expected = values(known.part(picture().expand(SHAPE)));
            check_all_close("known", &values(known.part(x.clone())), &expected, 2e-6);
            let loud = x * 3.0 + 0.4; // far outside of [-1, 1]
            let settled = known.settle(loud, picture().expand(SHAPE));
            check_all_close("settled", &values(known.part(settled.clone())), &expected, 2e-6);
            assert!(values(settled).iter().all(|v| v.abs() <= 1.0 + 1e-6));
        }
    }
}

/// The part is an orthogonal projection: twice is once, and it may stand on either side of an inner product.
#[test]
fn known_parts_are_projections() {
    let (x, y) = (wavy(SHAPE, 0.0), wavy(SHAPE, 1.0).tanh());
    for known in [Known::Grey, Known::LowResolution { factor: 2 }, half_mask()] {
        let part = known.part(x.clone());
        check_all_close("twice", &values(known.part(part.clone())), &values(part.clone()), 1e-6);
        let inner = |a: Tensor<4>, b: Tensor<4>| f64::from(values((a * b).sum())[0]);
        check_close(inner(part, y.clone()), inner(x.clone(), known.part(y.clone())), 1e-4);
    }
    let grey = values(Known::Grey.part(tensor(vec![0.1, 0.2, 0.6], [1, 1, 1, 3])));
    check_all_close("grey", &grey, &[0.3; 3], 1e-7);
    let low = Known::LowResolution { factor: 2 }.part(tensor((0..8).map(|i| i as f32).collect(), [1, 2, 4, 1]));
    assert_eq!(values(low), [2.5, 2.5, 4.5, 4.5, 2.5, 2.5, 4.5, 4.5]);
}

/// Picture i of a seed is the same in any batch, and another with another seed.
#[test]
fn edits_split_with_the_batch() {
    for known in [half_mask(), Known::Grey] {
        let plan =
            Resampling { jump_length: 2, jump_n_sample: 2 }.plan(&levels(6), Solver::Ancestral {}, SMALL).unwrap();
        let whole = values(edited(&plan, Some(known.clone()), (0, 5)));
        let parts = [(0, 2), (2, 1), (3, 2)].map(|range| values(edited(&plan, Some(known.clone()), range)));
        assert_eq!(whole, parts.concat());
        assert_eq!(whole, values(edited(&plan, Some(known.clone()), (0, 5))));
        assert_ne!(whole, values(edited(&plan, Some(known), (1, 5))));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let plan = Plan::new(&levels(3), Solver::default(), SMALL).unwrap();
    let error = |known: Known, picture: Tensor<4>| {
        let mut keep = Keep::new(known, picture, NoiseSource::counter(0, 0));
        let start = wavy(SHAPE, 0.0);
        let sampler = Sampler::new(&Blur, &plan, start, NoiseSource::counter(0, 0), Cond::None);
        sampler.constrained(&mut keep).finish().unwrap_err().to_string()
    };
    let mask = Known::mask(filled(1.0, [1, 8, 4, 1]));
    assert_eq!(
        error(mask, picture()),
        "the mask has shape [1, 8, 4, 1]; expected [1 or 2, 4, 8, 1 or 3], as the picture"
    );
    assert_eq!(
        error(Known::LowResolution { factor: 3 }, picture()),
        "`factor` is 3; expected a number that divides 4 and 8"
    );
    let other = error(Known::Grey, wavy([3, 4, 8, 3], 0.0));
    assert_eq!(other, "the known picture has shape [3, 4, 8, 3]; expected [1 or 2, 4, 8, 3]");
    let grey = Known::Grey.check([1, 4, 4, 1]).unwrap_err().to_string();
    assert_eq!(grey, "`channels` is 1; expected 3: a grey picture has no colours to find");
    let keys = Resampling { jump_length: 0, jump_n_sample: 0 }.check().len();
    assert_eq!(keys, 2);
}

/// Which steps a strength keeps: diffusers' get_timesteps, slips of floating point included.
#[test]
fn strength_counts_as_diffusers_does() {
    for (steps, strength, kept) in
        [(50, 0.6, 30), (50, 0.58, 28), (50, 1.0, 50), (10, 0.7, 7), (10, 0.1, 1), (3, 0.99, 2)]
    {
        let levels = levels(steps);
        let found = last_steps(&levels, strength).unwrap();
        assert_eq!(found.len(), kept + 1);
        assert_eq!(found, &levels[steps - kept..]);
    }
    for bad in [0.0, -0.5, 1.1, f64::NAN] {
        let error = last_steps(&levels(10), bad).unwrap_err().to_string();
        assert_eq!(error, format!("`strength` is {bad}; expected a number in (0, 1]"));
    }
    let error = last_steps(&levels(10), 0.09).unwrap_err().to_string();
    assert!(error.contains("at least 0.1000"), "{error}");
}

/// Little strength returns the picture nearly, all of it forgets the picture; any solver.
#[test]
fn strength_goes_from_the_picture_to_anything() {
    let mixture = Mixture::planar();
    let picture = tensor64(mixture.draw(Level::DATA, Noise::new(4), (0, 300)), 2);
    let change = |solver: Solver, strength: f64| {
        let all = levels(50);
        let kept = last_steps(&all, strength).unwrap();
        let plan = Plan::on(&process(), kept, solver, SMALL).unwrap();
        let source = NoiseSource::counter(2, 0);
        let noise = source.clone().initial([300, 1, 1, 2], &Device::flex()).unwrap().cast(DType::F64);
        let start = q_sample(&[kept[0]; 300], picture.clone(), noise).unwrap();
        let x = sample(&mixture, &plan, start, source, Cond::None).unwrap();
        let squares = values64((x - picture.clone()).powi_scalar(2));
        (squares.iter().sum::<f64>() / 300.0).sqrt()
    };
    for solver in solvers() {
        let [little, half, all] = [0.02, 0.5, 1.0].map(|strength| change(solver, strength));
        assert!(little < 0.15 && little < half && half < all && all > 1.0, "{solver:?}: {little} {half} {all}");
    }
}

/// The order of the paper's code and of diffusers: explicitly, by its size, and as the golden runs have it.
#[test]
fn resampling_goes_up_and_down() {
    let order = |jump_length, jump_n_sample, steps| Resampling { jump_length, jump_n_sample }.order(steps);
    assert_eq!(order(2, 2, 6), [5, 4, 3, 2, 3, 4, 3, 2, 1, 0, 1, 2, 1, 0]);
    assert_eq!(order(1, 3, 3), [2, 1, 2, 1, 2, 1, 0, 1, 0, 1, 0]);
    assert_eq!(order(10, 1, 12), (0..12).rev().collect::<Vec<_>>());
    // The paper's setting, T = 250 with j = r = 10: 24 stretches are come down nine more times.
    let paper = Resampling::default();
    let plan = paper.plan(&Grid::Linspace {}.levels(&process_of(250), 250).unwrap(), Solver::default(), SMALL).unwrap();
    assert_eq!((paper.order(250).len(), plan.len()), (4570, 2410));
    let golden = Golden::open("schedulers.safetensors");
    for (name, resampling, steps, stride) in
        [("repaint", (4, 2), 20, 1), ("repaint-eta", (5, 3), 20, 1), ("repaint-strided", (10, 1), 10, 100)]
    {
        let found = order(resampling.0, resampling.1, steps).into_iter().map(|t| (t * stride) as f32);
        assert_eq!(found.collect::<Vec<_>>(), golden.get(&format!("{name}/timesteps")).1, "{name}");
    }
}

fn process_of(timesteps: usize) -> Process {
    Process::Discrete(linear(timesteps))
}

/// Every stage begins where the one before ended, or is lifted from there; the jumps are those of the order.
#[test]
fn resampled_plans_join() {
    let (langevin, corrected) = (r#"{"kind": "langevin", "steps": 2}"#, r#"{"kind": "predictor_corrector"}"#);
    let [langevin, corrected] = [langevin, corrected].map(|text| serde_json::from_str(text).unwrap());
    for solver in [Solver::Ancestral {}, Solver::Heun { churn: Churn::default() }, langevin, corrected] {
        for (jump_length, jump_n_sample) in [(1, 2), (2, 3), (3, 2), (4, 1)] {
            let resampling = Resampling { jump_length, jump_n_sample };
            let levels = levels(9);
            let plan = resampling.plan_on(&process(), &levels, (solver, SMALL)).unwrap();
            let mut lifts = 0;
            for pair in plan.stages().windows(2) {
                match pair[1].lift {
                    Some(lift) => {
                        assert_eq!(lift.from, pair[0].to);
                        let index = |wanted: Level| levels.iter().position(|l| *l == wanted).unwrap();
                        assert_eq!(index(lift.from), index(pair[1].at) + jump_length);
                        lifts += 1;
                    }
                    None if pair[1].part == 0 => assert_eq!(pair[1].at, pair[0].to),
                    None => assert_eq!(pair[1].from, pair[0].from),
                }
            }
            let jumps = (0..9).filter(|t| t % jump_length == 0 && t + jump_length < 9).count();
            assert_eq!(lifts, jumps * (jump_n_sample - 1));
            assert!(plan.stages().last().unwrap().to.is_data());
        }
    }
}

/// Density of the second coordinate where the first is `v`, up to a factor.
fn conditional(mixture: &Mixture, v: f64, y: f64) -> f64 {
    values64(mixture.log_density(&tensor64(vec![v, y], 2), Level::DATA).unwrap())[0].exp()
}

/// Wasserstein distance of samples to the conditional distribution, on a grid of [-4, 4].
fn conditional_distance(mut samples: Vec<f64>, mixture: &Mixture, v: f64) -> f64 {
    let (parts, width) = (800, 0.01);
    let at = |i: usize| -4.0 + (i as f64 + 0.5) * width;
    let density: Vec<f64> = (0..parts).map(|i| conditional(mixture, v, at(i))).collect();
    let total: f64 = density.iter().sum();
    samples.sort_by(f64::total_cmp);
    let mut below = 0.0;
    let gap = |i: usize| {
        below += density[i] / total;
        (samples.partition_point(|s| *s < at(i) + 0.5 * width) as f64 / samples.len() as f64 - below).abs() * width
    };
    (0..parts).map(gap).sum()
}

/// With the exact denoiser the unknown half follows the conditional distribution: replacement misses what the halves have to do with
/// each other, resampling finds most of it. A choice between far modes that was made at high noise it does not undo.
#[test]
fn inpainting_follows_the_conditional_distribution() {
    let oblique = Component { weight: 1.0, mean: vec![0.2, -0.1], deviations: vec![0.7, 0.15], angle: 0.7 };
    let oblique = Mixture::new(vec![oblique]).unwrap();
    for (mixture, v, allowed) in [(&oblique, 0.9, 0.09), (&oblique, -0.5, 0.09), (&Mixture::planar(), 1.2, 0.4)] {
        let [plain, repaint] = [1, 10].map(|times| {
            let (known, jump) = (tensor64(vec![v, 9.0], 2), Resampling { jump_length: 5, jump_n_sample: times });
            conditional_distance(inpainted(mixture, known, jump), mixture, v)
        });
        assert!(repaint < 0.7 * plain && repaint < allowed, "{v}: {plain} {repaint}");
    }
}

/// The second coordinates of samples whose first is that of `known` `[1, 1, 1, 2]`.
fn inpainted(mixture: &Mixture, known: Tensor<4>, resampling: Resampling) -> Vec<f64> {
    let plan = resampling.plan(&levels(50), Solver::Ancestral {}, SMALL).unwrap();
    let source = NoiseSource::counter(8, 0);
    let start = source.clone().initial([1500, 1, 1, 2], &Device::flex()).unwrap().cast(DType::F64);
    let mut keep = Keep::new(Known::mask(tensor64(vec![1.0, 0.0], 2)), known.clone(), source.clone());
    let sampler = Sampler::new(mixture, &plan, start, source, Cond::None).constrained(&mut keep);
    let x = values64(sampler.finish().unwrap());
    assert!(x.iter().step_by(2).all(|x| *x == values64(known.clone())[0]));
    x.into_iter().skip(1).step_by(2).collect()
}

/// A picture's noise, found backwards, becomes the picture again: the error falls with the order of the solver.
#[test]
fn inversion_comes_back() {
    let mixture = Mixture::planar();
    let picture = tensor64(mixture.draw(Level::DATA, Noise::new(4), (0, 200)), 2);
    let error = |solver: Solver, steps: usize| {
        let process = Process::Discrete(linear(1000));
        let levels = Grid::Linspace {}.levels(&process, steps).unwrap();
        let none = || NoiseSource::given(Vec::new());
        let up = Plan::inversion(&levels, solver, SMALL).unwrap();
        let down = Plan::new(&levels, solver, SMALL).unwrap();
        let noise = sample(&mixture, &up, picture.clone(), none(), Cond::None).unwrap();
        let spread = values64(noise.clone()).iter().map(|v| v * v).sum::<f64>() / 400.0;
        assert!((0.8..1.25).contains(&spread), "{spread}");
        let back = sample(&mixture, &down, noise, none(), Cond::None).unwrap();
        (values64((back - picture.clone()).powi_scalar(2)).iter().sum::<f64>() / 200.0).sqrt()
    };
    let ddim = [50, 200].map(|steps| error(Solver::default(), steps));
    let heun = [50, 200].map(|steps| error(Solver::Heun { churn: Churn::default() }, steps));
    assert!(ddim[1] < 0.4 * ddim[0] && ddim[1] < 0.1, "{ddim:?}");
    assert!(heun[1] < 0.02 && heun[0] < ddim[0], "{heun:?}");
    let random = Plan::inversion(&levels(5), Solver::Ancestral {}, SMALL).unwrap_err().to_string();
    assert!(random.contains("`solver` is") && random.contains("ddim with eta = 0, euler or heun"), "{random}");
    assert!(Plan::inversion(&levels(1), Solver::default(), SMALL).is_err());
}
