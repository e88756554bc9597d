//! Which levels each grid visits, and what that does to whole runs on the exact mixture.

use difusi_process::trial::Trial;
use difusi_process::{Grid, Solver};
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

use super::forward::linear;
use super::plane::choice;
use super::{Drawn, drawn, process};
use crate::Error;

/// Visited levels of each run.
const STEPS: usize = 10;

/// Name, as configs write it, and how it is drawn.
const GRIDS: [(&str, &str, Mark); 7] = [
    ("leading", r#"{"kind": "leading"}"#, Mark::Beads),
    ("linspace", r#"{"kind": "linspace"}"#, Mark::Beads),
    ("trailing", r#"{"kind": "trailing"}"#, Mark::Beads),
    ("karras", r#"{"kind": "karras"}"#, Mark::Beads),
    ("exponential", r#"{"kind": "exponential"}"#, Mark::Beads),
    ("beta", r#"{"kind": "beta"}"#, Mark::Beads),
    ("align_your_steps", r#"{"kind": "align_your_steps"}"#, Mark::Dashed),
];

/// Solvers of the table, and how often they ask in a step.
const SOLVERS: [(&str, &str, usize); 4] = [
    ("DDIM", r#"{"kind": "ddim"}"#, 1),
    ("Heun", r#"{"kind": "heun"}"#, 2),
    ("DPM-Solver++ 2M", r#"{"kind": "dpm_multistep"}"#, 1),
    ("UniPC 2", r#"{"kind": "unipc"}"#, 1),
];

/// `sigma / alpha` of ten visited levels, and the errors of runs to the data with twenty calls of the network.
pub(super) fn figure() -> Result<Drawn, Error> {
    let process = process(&linear(), 1000)?;
    let (x, y) = (Axis::linear("visit"), Axis::log("ρ = σ / α"));
    let mut chart = Chart::new("Ten visits of DDPM's schedule", x, y);
    for (name, json, mark) in GRIDS {
        let levels = choice::<Grid>(json)?.levels(&process, STEPS)?;
        let visited = levels.iter().filter(|level| !level.is_data()).enumerate();
        let points = visited.map(|(i, level)| [(i + 1) as f64, level.ratio()]).collect();
        chart = chart.with(Series::line(name, points).marked(mark));
    }
    let drawn = drawn(&Figure { panel_size: [760, 420], ..Figure::new(vec![chart]) })?;
    Ok(Drawn { table: Some(table()?), ..drawn })
}

/// Errors of whole runs, from pure noise to the data, all with as many calls.
fn table() -> Result<String, Error> {
    let trial = Trial::planar()?;
    let names = SOLVERS.map(|(name, ..)| name).join(" | ");
    let mut table = format!("| grid, 20 calls | {names} |\n|---|--:|--:|--:|--:|\n");
    for (name, json, _) in GRIDS.iter().filter(|(name, ..)| !["leading", "align_your_steps"].contains(name)) {
        let grid: Grid = choice(json)?;
        let error = |(_, json, calls): &(&str, &str, usize)| {
            let solver: Solver = choice(json)?;
            Ok(format!("{:.4}", trial.run(solver, &grid, 2 * STEPS / calls)?.error))
        };
        let errors: Vec<String> = SOLVERS.iter().map(error).collect::<Result<_, Error>>()?;
        table += &format!("| `{name}` | {} |\n", errors.join(" | "));
    }
    Ok(table)
}
