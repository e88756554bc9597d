//! The two ways back through the same densities: the reverse SDE and the probability-flow ODE of the VP process (Song et al.,
//! arXiv:2011.13456, eq. 6, 11 and 13), with the exact score.

use difusi_core::{Draw, Noise};
use difusi_process::Level;
use difusi_store::plot::{Axis, Chart, Field, Figure, Series};

use super::toy::{Mixture, preserving};
use super::{Drawn, drawn};
use crate::Error;

/// beta(t) of the continuous VP process, eq. 33's constants.
fn beta(t: f64) -> f64 {
    0.1 + 19.9 * t
}

/// Signal and noise at t in [0, 1].
fn at(t: f64) -> Level {
    preserving((-0.1 * t - 9.95 * t * t).exp())
}

/// Steps of each path.
const STEPS: usize = 2000;

/// Of a rough path every so many steps are drawn.
const SHOWN: usize = 8;

pub(super) fn figure() -> Result<Drawn, Error> {
    let data = Mixture::new(&[(0.35, -1.0, 0.12), (0.65, 0.8, 0.2)]);
    let range = [-3.2, 3.2];
    let field = Field::sampled([0.0, 1.0], range, [240, 240], |t, x| data.noised(at(t)).density(x)).by_column();
    let panel = |title: &str| {
        let (t, x) = (Axis::linear("t (0 is data)").within(0.0, 1.0), Axis::linear("x").within(range[0], range[1]));
        Chart::new(title, t, x).over(Field { colour: [120, 170, 215], ..field.clone() })
    };
    let starts = (0..11).map(|i| -2.0 + 0.4 * f64::from(i));
    let mut ode = panel("Probability flow: paths never cross");
    let mut sde = panel("Reverse SDE: the same densities, rough paths");
    for start in starts {
        ode = ode.with(Series::line("", flow(&data, start)).coloured([20, 60, 110]));
    }
    let colours = [[200, 70, 0], [30, 110, 50], [117, 80, 175], [140, 86, 75], [160, 30, 60]];
    for (path, colour) in colours.into_iter().enumerate() {
        let start = 1.6 - 0.8 * path as f64;
        sde = sde.with(Series::line("", reverse(&data, start, path as u64)).coloured(colour));
    }
    drawn(&Figure { columns: 2, panel_size: [480, 360], ..Figure::new(vec![ode, sde]) })
}

/// dx/dt = -beta/2 (x + score), from t = 1 to 0 by Heun's method.
fn flow(data: &Mixture, start: f64) -> Vec<[f64; 2]> {
    let slope = |t: f64, x: f64| -0.5 * beta(t) * (x + data.noised(at(t)).score(x));
    let h = 1.0 / STEPS as f64;
    let mut x = start;
    let mut points = vec![[1.0, x]];
    for i in 0..STEPS {
        let t = 1.0 - i as f64 * h;
        let first = slope(t, x);
        x -= h * 0.5 * (first + slope(t - h, x - h * first));
        points.push([t - h, x]);
    }
    points.reverse();
    points
}

/// dx = (-beta/2 x - beta score) dt + sqrt(beta) dw, from t = 1 to 0 by Euler and Maruyama.
fn reverse(data: &Mixture, start: f64, path: u64) -> Vec<[f64; 2]> {
    let mut noise = Noise::new(3).stream(Draw::Solver, path, 0);
    let h = 1.0 / STEPS as f64;
    let mut x = start;
    let mut points = vec![[1.0, x]];
    for i in 0..STEPS {
        let t = 1.0 - i as f64 * h;
        x += h * beta(t) * (0.5 * x + data.noised(at(t)).score(x)) + (beta(t) * h).sqrt() * f64::from(noise.normal());
        if i % SHOWN == SHOWN - 1 {
            points.push([t - h, x]);
        }
    }
    points.reverse();
    points
}
