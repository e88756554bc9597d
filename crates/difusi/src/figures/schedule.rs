//! Every noise schedule's curves.

use difusi_process::{Choice, Schedule};
use difusi_store::plot::{Axis, Chart, Figure, Legend, Series};

use crate::Error;

/// Points of one curve.
const POINTS: usize = 400;

/// Beta, alpha-bar and SNR of every schedule with its defaults at `timesteps` steps, as three panels.
///
/// # Errors
/// A number of steps out of range.
pub fn schedule_figure(timesteps: usize) -> Result<Figure, Error> {
    let (mut beta, mut alpha_bar, mut snr) = (Vec::new(), Vec::new(), Vec::new());
    for schedule in Schedule::examples() {
        let tables = schedule.tables(timesteps)?;
        let curve = |values: &[f64]| {
            let stride = timesteps.div_ceil(POINTS);
            let last = timesteps - 1;
            let kept = (0..timesteps).filter(|t| t % stride == 0 || *t == last);
            Series::line(schedule.kind(), kept.map(|t| [t as f64, values[t]]).collect())
        };
        beta.push(curve(&tables.betas));
        alpha_bar.push(curve(&tables.alpha_bars));
        snr.push(curve(&tables.snr));
    }
    let chart = |title: &str, y: Axis, series| Chart { series, ..Chart::new(title, Axis::linear("t"), y) };
    let panels = vec![
        chart("Noise added by each step", Axis::log("beta"), beta),
        chart("Signal that is left", Axis::linear("alpha-bar"), alpha_bar),
        chart("Signal to noise", Axis::log("SNR"), snr),
    ];
    Ok(Figure { title: format!("Noise schedules, T = {timesteps}"), legend: Legend::Shared, ..Figure::new(panels) })
}
