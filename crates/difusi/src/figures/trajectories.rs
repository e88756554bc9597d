//! Where few steps go, beside the exact path of the probability-flow ODE.

use difusi_process::Level;
use difusi_store::plot::{Axis, Chart, Field, Figure, Legend, Mark, Series};

use super::plane::{Paths, Plane, choice, tensor};
use super::{Drawn, drawn};
use crate::Error;

/// Paths in each panel.
const PATHS: usize = 8;

/// Largest and smallest `sigma / alpha` of every run.
const ENDS: [f64; 2] = [20.0, 0.03];

/// Half the side of a panel.
const REACH: f64 = 2.0;

/// Eight network evaluations by four solvers.
pub(super) fn figure() -> Result<Drawn, Error> {
    let plane = Plane::new(PATHS, ENDS)?;
    let exact = plane.exact(&plane.even(120), 8)?;
    let field = density(&plane)?;
    let mut panels = Vec::new();
    for (title, json, steps) in [
        ("DDIM, 8 steps", r#"{"kind": "ddim"}"#, 8),
        ("Heun, 4 steps of 2 calls", r#"{"kind": "heun"}"#, 4),
        ("DPM-Solver++ 2M, 8 steps", r#"{"kind": "dpm_multistep"}"#, 8),
        ("UniPC of order 2, 8 steps", r#"{"kind": "unipc"}"#, 8),
    ] {
        let (paths, _) = plane.solve(choice(json)?, &plane.even(steps))?;
        panels.push(panel(title, &field, &exact, &paths));
    }
    drawn(&Figure { columns: 2, panel_size: [480, 460], legend: Legend::Shared, ..Figure::new(panels) })
}

fn panel(title: &str, field: &Field, exact: &Paths, paths: &Paths) -> Chart {
    let axis = |label: &str| Axis::linear(label).within(-REACH, REACH);
    let mut chart = Chart::new(title, axis("x₁"), axis("x₂")).equal_aspect().over(field.clone());
    let of = |paths: &Paths, i: usize| paths.iter().map(|step| step[i]).collect::<Vec<_>>();
    for i in 0..PATHS {
        let (ours, name) = if i == 0 { ("the solver", "the exact path") } else { ("", "") };
        chart = chart
            .with(Series::line(name, of(exact, i)).coloured([40, 40, 40]))
            .with(Series::line(ours, of(paths, i)).marked(Mark::Beads).coloured([230, 97, 1]));
    }
    chart
}

/// The density of the data behind the paths.
fn density(plane: &Plane) -> Result<Field, Error> {
    let (ends, cells) = ([-1.3 * REACH, 1.3 * REACH], 160);
    let blank = Field::sampled(ends, ends, [cells, cells], |_, _| 0.0);
    let at = |i: usize| ends[0] + (ends[1] - ends[0]) * (i as f64 + 0.5) / cells as f64;
    let grid = tensor((0..cells * cells).flat_map(|i| [at(i % cells), at(i / cells)]).collect());
    let density = plane.mixture.log_density(&grid, Level::new(0.0, 1.0, ENDS[1]))?.exp();
    Ok(Field { values: density.into_data().iter::<f64>().collect(), colour: [110, 165, 215], ..blank })
}
