//! How far each solver ends from the exact path, and how fast that falls with the number of steps.

use difusi_process::Solver;
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

use super::plane::{Plane, choice};
use super::{Drawn, drawn, power};
use crate::Error;

/// Points that errors are averaged over.
const POINTS: usize = 64;

/// Largest and smallest `sigma / alpha`: runs end before the data, where every method takes one step of first order.
const ENDS: [f64; 2] = [10.0, 0.05];

/// Steps of the runs; the first four are told in the table, the last two give the order.
const STEPS: [usize; 6] = [5, 10, 20, 40, 80, 160];

/// A deterministic solver.
struct Row {
    name: &'static str,
    /// As configs write it.
    json: &'static str,
    /// The order of its formula.
    order: &'static str,
    /// Whether it has a curve of its own; the others lie on one that has.
    shown: bool,
}

const fn row(name: &'static str, json: &'static str, order: &'static str, shown: bool) -> Row {
    Row { name, json, order, shown }
}

const SOLVERS: [Row; 14] = [
    row("DDIM", r#"{"kind": "ddim"}"#, "1", true),
    row("Euler", r#"{"kind": "euler"}"#, "1", false),
    row("Heun", r#"{"kind": "heun"}"#, "2", true),
    row("DPM2", r#"{"kind": "dpm2"}"#, "2", true),
    row("DPM-Solver++ 2S", r#"{"kind": "dpm_singlestep"}"#, "2", true),
    row("DPM-Solver++ 2M", r#"{"kind": "dpm_multistep", "lower_order_final": false}"#, "2", true),
    row("DPM-Solver++ 3M", r#"{"kind": "dpm_multistep", "order": 3, "lower_order_final": false}"#, "3", true),
    row(
        "DPM-Solver++ 3M, published",
        r#"{"kind": "dpm_multistep", "order": 3, "curvature": "published", "lower_order_final": false}"#,
        "2",
        true,
    ),
    row("UniPC 2", r#"{"kind": "unipc", "lower_order_final": false}"#, "3", true),
    row("UniPC 3", r#"{"kind": "unipc", "order": 3, "lower_order_final": false}"#, "4", true),
    row("DEIS 3", r#"{"kind": "deis", "order": 3, "lower_order_final": false}"#, "3", true),
    row("LMS 4", r#"{"kind": "lms"}"#, "4", true),
    row("PNDM (PLMS)", r#"{"kind": "pndm"}"#, "2", true),
    row("iPNDM 4", r#"{"kind": "ipndm"}"#, "2", false),
];

/// Error against network evaluations, both axes logarithmic, and the table of section 18.
pub(super) fn figure() -> Result<Drawn, Error> {
    let plane = Plane::new(POINTS, ENDS)?;
    let exact = plane.exact(&plane.even(1), 1500)?;
    let exact = exact.last().map_or(&[][..], Vec::as_slice);
    let (x, y) = (Axis::log("network evaluations"), Axis::log("root mean square error"));
    let mut chart = Chart::new("Distance from where the ODE ends", x, y);
    let mut table = String::from(
        "| solver | calls a step | 5 steps | 10 | 20 | 40 | order measured | of the formula |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for Row { name, json, order, shown } in &SOLVERS {
        let solver: Solver = choice(json)?;
        let mut curve = Vec::new();
        for steps in STEPS {
            let (paths, calls) = plane.solve(solver, &plane.even(steps))?;
            curve.push([calls as f64, distance(paths.last().map_or(&[], Vec::as_slice), exact)]);
        }
        let [before, last] = [curve[STEPS.len() - 2], curve[STEPS.len() - 1]];
        let (measured, each) = ((before[1] / last[1]).log2(), (last[0] / STEPS[STEPS.len() - 1] as f64).round());
        let told = |point: &[f64; 2]| if point[1] < 0.01 { power(point[1]) } else { format!("{:.3}", point[1]) };
        let told = curve[..4].iter().map(told).collect::<Vec<_>>().join(" | ");
        table += &format!("| {name} | {each} | {told} | {measured:.2} | {order} |\n");
        if *shown {
            chart = chart.with(Series::line(*name, curve).marked(Mark::Beads));
        }
    }
    let drawn = drawn(&Figure { panel_size: [940, 560], ..Figure::new(vec![chart]) })?;
    Ok(Drawn { table: Some(table), ..drawn })
}

/// Root mean square distance, per coordinate.
fn distance(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let square = |(a, b): (&[f64; 2], &[f64; 2])| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
    (a.iter().zip(b).map(square).sum::<f64>() / (2 * a.len().max(1)) as f64).sqrt()
}
