//! The terms of a bound as a table and as a picture.

use difusi_process::bound::{BoundReport, Estimate, TermRow};
use difusi_store::plot::{Axis, Chart, Figure, Mark, Series};

/// One line per term or stratum, from the data outwards, then L_T. `first_t` and `last_t` are what the network receives; `bits` is the
/// mean of one term per dimension, `all_bits` of all terms of the line.
pub fn bound_table(report: &BoundReport) -> String {
    let mut text = String::from("term,first_t,last_t,terms,bits,standard_error,all_bits\n");
    for (k, row) in report.rows.iter().enumerate() {
        let name = if k == 0 { "L_0" } else { "KL" };
        let all = row.terms as f64 * row.bits.mean;
        text.push_str(&line(name, &format!("{},{}", row.first, row.last), row.terms, row.bits, all));
    }
    text.push_str(&line("L_T", ",", 1, report.prior, report.prior.mean));
    text
}

fn line(name: &str, times: &str, terms: usize, bits: Estimate, all: f64) -> String {
    // A single image has no standard error: an empty cell.
    let error = if bits.standard_error.is_finite() { format!("{:e}", bits.standard_error) } else { String::new() };
    format!("{name},{times},{terms},{:e},{error},{all:e}\n", bits.mean)
}

/// What each step costs against t, both logarithmic, and what all steps up to t cost together.
pub fn bound_figure(report: &BoundReport) -> Figure {
    let rows = &report.rows;
    // Papers count steps from 1; on a logarithmic axis a 0 would be lost.
    let middle = |row: &TermRow| ((row.first + 1.0) * (row.last + 1.0)).abs().sqrt();
    let each = |f: &dyn Fn(&TermRow) -> f64| -> Vec<[f64; 2]> {
        rows.iter().skip(1).map(|row| [middle(row), f(row)]).collect()
    };
    let mean = Series::line("L_{t-1}", each(&|row| row.bits.mean));
    let colour = [120, 120, 120];
    let bound = |sign: f64| {
        let ends = each(&|row| row.bits.mean + 2.0 * sign * row.bits.standard_error);
        Series::line("", ends).marked(Mark::Faint).coloured(colour)
    };
    let first = rows.iter().take(1).map(|row| [1.0, row.bits.mean]).collect();
    let decoder = Series::line("L_0", first).marked(Mark::Dots);
    let terms = Chart::new("Cost of each step", Axis::log("t"), Axis::log("bits per dimension"))
        .with(bound(-1.0))
        .with(bound(1.0))
        .with(mean)
        .with(decoder);
    let mut sum = 0.0;
    let together: Vec<[f64; 2]> = rows
        .iter()
        .map(|row| {
            sum += row.terms as f64 * row.bits.mean;
            [row.last + 1.0, sum]
        })
        .collect();
    let title = format!("Steps 1 to t together: {:.4} with L_T", report.total.mean);
    let all = Chart::new(title, Axis::log("t"), Axis::linear("bits per dimension"))
        .with(Series::line("L_0 + .. + L_{t-1}", together));
    let title = format!("Variational bound, {} images", report.images);
    Figure { title, ..Figure::new(vec![terms, all]) }
}
