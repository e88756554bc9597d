//! What came out of a comparison: a table for people and programs, and one HTML file that holds everything it shows.

use std::path::{Path, PathBuf};

use difusi_store::plot::{Axis, Chart, Figure as Plot, Series, smoothed};
use difusi_store::{Metrics, RunPaths, atomic};
use serde::Serialize;

use super::measure::REAL;
use super::plan::milestones;
use super::record::cached;
use super::train::milestone;
use super::{Comparison, Family, Figure, Measured, Member, Quality, Real, html};
use crate::Error;

/// The report's file.
const FILE: &str = "report.html";
/// Rows over which a loss curve is averaged.
const SMOOTH: f64 = 25.0;

/// What is known of a comparison: all of it, or what was measured before it was stopped.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The data, as typed.
    pub data: PathBuf,
    /// The budget, as typed.
    pub budget: String,
    /// Which random numbers.
    pub seed: u64,
    /// The command line.
    pub command: String,
    /// CPU threads.
    pub threads: usize,
    /// The processor, where the kernel tells.
    pub processor: Option<String>,
    /// The test images.
    pub real: Option<Real>,
    /// Each run with what was measured of it, in order.
    pub members: Vec<(String, Measured)>,
    /// Where the HTML lies.
    pub html: PathBuf,
}

/// A member with what the report shows of it.
pub(super) struct Shown<'a> {
    pub(super) member: Member,
    pub(super) measured: &'a Measured,
    /// Steps and grids on the way.
    pub(super) grids: Vec<(u64, PathBuf)>,
    pub(super) nearest: PathBuf,
    /// An SVG.
    pub(super) curves: String,
}

impl Comparison {
    /// Writes `report.html` of what has been measured so far.
    ///
    /// # Errors
    /// Nothing was; pictures that are not there any more; a folder that cannot be written.
    pub fn report(&self) -> Result<Report, Error> {
        let real: Option<Real> = cached(&self.result_path(REAL), |_| true);
        let of = |m: &Member| Some((*m, cached::<Measured>(&self.result_path(&m.name()), |_| true)?));
        let measured: Vec<(Member, Measured)> = self.members.iter().filter_map(|(m, _)| of(m)).collect();
        if measured.is_empty() {
            return Err(Error::model(&self.options.out, "nothing in it has been judged yet; run the comparison again"));
        }
        let shown = measured.iter().map(|(member, measured)| self.shown(*member, measured));
        let shown = shown.collect::<Result<Vec<_>, Error>>()?;
        let report = Report {
            data: self.options.data.clone(),
            budget: self.options.budget.to_string(),
            seed: self.options.seed,
            command: self.options.command.clone(),
            threads: rayon::current_num_threads(),
            processor: crate::memory::processor(),
            real,
            members: measured.iter().map(|(member, m)| (member.name(), m.clone())).collect(),
            html: self.path(FILE),
        };
        let page = html::page(&report, &shown, &self.picture_path(REAL))?;
        atomic::write_bytes(&report.html, page.as_bytes())?;
        Ok(report)
    }

    fn shown<'a>(&self, member: Member, measured: &'a Measured) -> Result<Shown<'a>, Error> {
        let grids = milestones(measured.steps).into_iter().map(|at| (at, self.picture_path(&milestone(member, at))));
        Ok(Shown {
            member,
            measured,
            grids: grids.filter(|(_, path)| path.exists()).collect(),
            nearest: self.picture_path(&format!("{}-nearest", member.name())),
            curves: loss_curves(&self.run_folder(member), member)?,
        })
    }
}

/// The loss, and what it is made of, over the steps.
fn loss_curves(folder: &Path, member: Member) -> Result<String, Error> {
    let metrics = Metrics::read(&RunPaths::open(folder)?.metrics())?;
    let columns: &[&str] = match member.family {
        Family::Diffusion | Family::Flow => &["loss"],
        Family::Vae => &["reconstruction", "kl"],
        Family::Gan => &["discriminator", "generator"],
    };
    let lines = columns.iter().map(|c| (c, metrics.points(c)));
    let chart = lines.fold(Chart::new("", Axis::linear("step"), Axis::linear("loss")), |chart, (name, points)| {
        let window = SMOOTH.min(points.len() as f64 / 4.0).max(1.0);
        chart.with(Series::line(*name, smoothed(&points, window)))
    });
    Ok(Plot { panel_size: [460, 280], ..Plot::new(vec![chart]) }.to_svg())
}

/// The power spectra of all sides.
pub(super) fn spectra(real: Option<&Real>, shown: &[Shown<'_>]) -> String {
    let line = |name: String, q: &Quality| {
        let points = q.frequencies.iter().zip(&q.density).filter(|(_, d)| **d > 0.0);
        Series::line(name, points.map(|(f, d)| [*f, *d]).collect())
    };
    let mut chart = Chart::new("", Axis::linear("cycles per pixel"), Axis::log("power"));
    if let Some(real) = real {
        chart = chart.with(line(real.split.clone(), &real.quality).coloured([30, 30, 30]));
    }
    for s in shown.iter().filter(|s| s.member.repeat == 0) {
        chart = chart.with(line(s.member.family.title().to_owned(), &s.measured.quality));
    }
    Plot { panel_size: [760, 380], ..Plot::new(vec![chart]) }.to_svg()
}

/// A number to the digits that its error leaves, and the error.
pub(super) fn told(f: Figure) -> String {
    match f.error {
        Some(error) if error > 0.0 => {
            let digits = (1.0 - error.max(1e-9).log10().floor()).clamp(0.0, 6.0) as usize;
            format!("{:.digits$} ± {:.digits$}", f.value, error)
        }
        _ => rough(f.value),
    }
}

/// A number to four digits.
pub(super) fn rough(value: f64) -> String {
    let digits = if value == 0.0 { 0.0 } else { 3.0 - value.abs().log10().floor() };
    format!("{value:.digits$}", digits = digits.clamp(0.0, 8.0) as usize)
}

/// Heads of the table.
pub(super) const HEADS: [&str; 11] = [
    "",
    "FID",
    "KID x 1000",
    "Inception Score",
    "precision",
    "recall",
    "bits/dim",
    "fine detail",
    "diversity",
    "nearest",
    "s per picture",
];

/// A row of the table: of a member, or of the test images.
pub(super) fn row(name: &str, q: &Quality, measured: Option<&Measured>) -> [String; 11] {
    let none = || "-".to_owned();
    let bits = measured.and_then(|m| m.bits.as_ref());
    let thousand = Figure { value: 1e3 * q.kid.value, error: q.kid.error.map(|e| 1e3 * e) };
    [
        name.to_owned(),
        told(q.fid),
        told(thousand),
        q.score.map_or_else(none, told),
        told(q.precision),
        told(q.recall),
        bits.map_or_else(none, |b| told(b.bits)),
        q.detail.map_or_else(none, told),
        rough(q.diversity),
        rough(q.nearest),
        measured.map_or_else(none, |m| rough(m.seconds_per_picture)),
    ]
}

impl Report {
    /// The test images, then each run.
    pub(super) fn rows(&self) -> Vec<[String; 11]> {
        let real = self.real.iter().map(|r| row(&r.split, &r.quality, None));
        real.chain(self.members.iter().map(|(name, m)| row(name, &m.quality, Some(m)))).collect()
    }

    /// What training took: steps, milliseconds of a step, those of the reference experiment, minutes, weights, memory.
    pub(super) fn costs(&self) -> Vec<[String; 8]> {
        let one = |(name, m): &(String, Measured)| {
            let family = Family::ALL.into_iter().find(|f| name.starts_with(f.name()));
            [
                name.clone(),
                m.steps.to_string(),
                m.batch.to_string(),
                rough(1e3 * m.seconds_per_step),
                family.and_then(Family::reference_milliseconds).unwrap_or("-").to_owned(),
                rough(m.training_seconds / 60.0),
                format!("{:.2} M", m.parameters as f64 / 1e6),
                m.peak_mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.0} MiB")),
            ]
        };
        self.members.iter().map(one).collect()
    }

    /// Both tables in Markdown.
    pub fn markdown(&self) -> String {
        let table = |heads: &[&str], rows: Vec<Vec<String>>| {
            let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
            let head = line(heads.iter().map(ToString::to_string).collect());
            let rule = format!("|{}\n", "---|".repeat(heads.len()));
            rows.into_iter().fold(head + &rule, |text, row| text + &line(row))
        };
        let quality = table(&HEADS, self.rows().iter().map(|r| r.to_vec()).collect());
        let costs = table(&COSTS, self.costs().iter().map(|r| r.to_vec()).collect());
        format!("{quality}\n{costs}")
    }

    /// Mean and spread of a figure over the runs of the GAN, where there are several.
    pub(super) fn spread(&self, figure: impl Fn(&Measured) -> f64) -> Option<[f64; 4]> {
        let of: Vec<f64> = self
            .members
            .iter()
            .filter(|(name, _)| name.starts_with(Family::Gan.name()))
            .map(|(_, m)| figure(m))
            .collect();
        if of.len() < 2 {
            return None;
        }
        let n = of.len() as f64;
        let mean = of.iter().sum::<f64>() / n;
        let deviation = (of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let ends = of.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(*v), high.max(*v)]);
        Some([mean, deviation, ends[0], ends[1]])
    }
}

/// Heads of the table of costs.
pub(super) const COSTS: [&str; 8] =
    ["", "steps", "batch", "ms per step", "reference's ms", "minutes of training", "weights", "peak memory"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_they_are_worth() {
        assert_eq!(told(Figure::new(12.3456, Some(0.234))), "12.35 ± 0.23");
        assert_eq!(told(Figure::new(0.97181, Some(0.0027))), "0.9718 ± 0.0027");
        assert_eq!(told(Figure::new(1234.6, Some(45.0))), "1235 ± 45");
        assert_eq!(told(Figure::new(0.5, None)), "0.5000");
        assert_eq!((rough(0.0), rough(1234.56), rough(0.001234)), ("0".into(), "1235".into(), "0.001234".into()));
    }
}
