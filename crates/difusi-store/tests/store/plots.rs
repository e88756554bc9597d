//! Charts are looked at by eye: with DIFUSI_LOOK=FOLDER these tests also leave their pictures there.

use difusi_store::plot::{Axis, Chart, Field, Figure, Legend, Mark, Series, smoothed, write_chart};
use difusi_store::read_png;

fn look(name: &str, figure: &Figure) {
    let dir = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("DIFUSI_LOOK").map_or(dir.path().to_path_buf(), Into::into);
    for ending in ["svg", "png"] {
        figure.write(&folder.join(format!("{name}.{ending}"))).unwrap();
    }
    let picture = read_png(&folder.join(format!("{name}.png"))).unwrap();
    let dark = picture.pixels().iter().filter(|v| **v < 128).count();
    assert!(dark > 500, "{name} has no ink");
    let svg = figure.to_svg();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
}

fn noise(i: usize) -> f64 {
    ((i as f64 * 12.9898).sin() * 43_758.547).fract() - 0.5
}

fn loss() -> Chart {
    let raw: Vec<[f64; 2]> =
        (0..5000).map(|i| [i as f64 * 4.0, 0.02 + 0.9 * (-(i as f64) / 300.0).exp() + 0.02 * noise(i).abs()]).collect();
    let smooth = smoothed(&raw, 50.0);
    Chart::new("Training loss", Axis::linear("step"), Axis::log("loss"))
        .with(Series::line("", raw).marked(Mark::Faint))
        .with(Series::line("training, smoothed", smooth.clone()))
        .with(
            Series::line("validation", smooth.iter().step_by(500).map(|[x, y]| [*x, y * 1.1]).collect())
                .marked(Mark::Dots),
        )
}

#[test]
fn loss_curve() {
    let mut figure = Figure::new(vec![loss()]);
    figure.panel_size = [720, 420];
    look("loss", &figure);
    let dir = tempfile::tempdir().unwrap();
    write_chart(&dir.path().join("loss.svg"), &[loss()]).unwrap();
    assert!(write_chart(&dir.path().join("loss.pdf"), &[loss()]).unwrap_err().to_string().contains(".svg"));
    // Thinning keeps a long run's picture small.
    assert!(figure.to_svg().len() < 120_000);
}

#[test]
fn schedules() {
    let names = [
        "constant",
        "linear",
        "scaled_linear",
        "quadratic",
        "geometric",
        "beta_sigmoid",
        "beta_tanh",
        "cosine",
        "sigmoid",
        "flow",
        "edm",
    ];
    let curve = |k: usize, f: &dyn Fn(f64, f64) -> f64| -> Vec<[f64; 2]> {
        (0..1000).map(|t| [t as f64, f(t as f64 / 999.0, 0.4 + k as f64 * 0.25)]).collect()
    };
    let panel = |title: &str, y: Axis, f: &dyn Fn(f64, f64) -> f64| {
        let mut chart = Chart::new(title, Axis::linear("step t"), y);
        for (k, name) in names.iter().enumerate() {
            let mark = if k % 2 == 0 { Mark::Line } else { Mark::Dashed };
            chart = chart.with(Series::line(*name, curve(k, f)).marked(mark));
        }
        chart
    };
    let bar = |t: f64, p: f64| (1.0 - t.powf(p) * 0.9999).max(1e-9);
    let mut figure = Figure::new(vec![
        panel("β", Axis::linear("β"), &|t, p| 1e-4 + 0.02 * t.powf(p)),
        panel("ᾱ", Axis::linear("α\u{304}"), &bar),
        panel("Signal-to-noise ratio", Axis::log("α\u{304} / (1 − α\u{304})"), &|t, p| {
            bar(t, p) / (1.0 - bar(t, p))
        }),
    ]);
    figure.panels[1].title = "α\u{304}: what is left of the image".into();
    figure.title = "Noise schedules, T = 1000".into();
    figure.legend = Legend::Shared;
    look("schedules", &figure);
    let mut beside = Figure::new(vec![figure.panels[1].clone()]);
    beside.panel_size = [760, 420];
    look("beside", &beside);
}

#[test]
fn points_and_trajectories() {
    let cloud: Vec<[f64; 2]> = (0..1500)
        .map(|i| {
            let a = i as f64 * 0.0042;
            [a.cos() * (1.0 + 0.2 * noise(i)), a.sin() * (1.0 + 0.2 * noise(i + 7))]
        })
        .collect();
    let mut chart = Chart::new("Samples & paths <2-D>", Axis::linear("x"), Axis::linear("y")).equal_aspect();
    chart = chart.with(Series::line("samples", cloud).marked(Mark::Dots));
    for k in 0..12 {
        let path = (0..40).map(|i| {
            let (a, r) = (f64::from(k) * 0.52 + f64::from(i) * 0.01, 2.2 - f64::from(i) * 0.03);
            [a.cos() * r, a.sin() * r]
        });
        let name = if k == 0 { "paths" } else { "" };
        chart = chart.with(Series::line(name, path.collect()).coloured([200, 80, 40]));
    }
    look("points", &Figure::new(vec![chart.clone(), chart]));
}

/// Areas, beads, notes and a field, in both formats.
#[test]
fn areas_and_fields() {
    let wave: Vec<[f64; 2]> = (0..200).map(|i| [f64::from(i) * 0.05, (f64::from(i) * 0.05).sin()]).collect();
    let plain = Chart::new("Areas", Axis::linear("x"), Axis::linear("sin x"))
        .with(Series::line("area", wave.clone()).marked(Mark::Area))
        .with(Series::line("line", wave.clone()))
        .with(Series::line("beads", wave.iter().step_by(20).copied().collect()).marked(Mark::Beads))
        .noted([5.0, 0.5], "a note");
    let bump = |x: f64, y: f64| (-(x * x + 4.0 * y * y)).exp();
    let field = Field::sampled([-2.0, 2.0], [-1.0, 1.0], [80, 40], bump);
    let (x, y) = (Axis::linear("x").within(-2.0, 2.0), Axis::linear("y").within(-1.0, 1.0));
    let over = Chart::new("A field", x, y).over(field.clone());
    let figure = Figure::new(vec![plain.clone(), over]);
    look("areas", &figure);
    assert!(figure.to_svg().contains("data:image/png;base64,iVBOR") && figure.to_svg().contains("<polygon"));
    // The field's middle is dark, its corner white.
    let alone = Figure::new(vec![Chart::new("", Axis::linear(""), Axis::linear("")).over(field)]).draw().unwrap();
    let at = |x: usize, y: usize| alone.pixels()[(y * alone.width() + x) * 3];
    assert!(at(alone.width() / 2, alone.height() / 2) < 120 && at(alone.width() - 60, 60) > 240);
    // Half of an area's box is inked where a triangle fills half of it.
    let triangle = Series::line("", vec![[0.0, 0.0], [1.0, 1.0]]).marked(Mark::Area).coloured([0, 0, 0]);
    let (x, y) = (Axis::linear("").within(0.0, 1.0), Axis::linear("").within(0.0, 1.0));
    let picture = Figure::new(vec![Chart::new("", x, y).with(triangle)]).draw().unwrap();
    let shade = |v: &u8| (190..206).contains(v);
    let filled = picture.pixels().iter().step_by(3).filter(|v| shade(v)).count() as f64;
    let share = filled / (picture.width() * picture.height()) as f64;
    assert!((0.3..0.5).contains(&share), "{share}");
}

/// Columns of a field made equally dark; values that are no numbers are white.
#[test]
fn fields_by_column() {
    let field = Field::sampled([0.0, 2.0], [0.0, 1.0], [2, 3], |x, y| x * (1.0 + y)).by_column();
    for column in 0..2 {
        let most = field.values.iter().skip(column).step_by(2).fold(0.0, |a: f64, v| a.max(*v));
        assert!((most - 1.0).abs() < 1e-12);
    }
    let odd = Field { values: vec![f64::NAN, -1.0, f64::INFINITY, 2.0, 0.0, 1.0], ..field.clone() };
    let ragged = Field { values: vec![1.0; 5], ..field.clone() };
    for field in [odd, ragged, Field { values: Vec::new(), ..field.clone() }, Field { columns: 0, ..field }] {
        let chart = Chart::new("", Axis::linear("x"), Axis::log("y")).over(field);
        assert!(!Figure::new(vec![chart.clone()]).to_svg().contains("NaN"));
        Figure::new(vec![chart]).draw().unwrap();
    }
}

/// Nothing, one point, gaps and infinities draw without a panic.
#[test]
fn odd_series() {
    for points in [
        vec![],
        vec![[1.0, 1.0]],
        vec![[0.0, f64::NAN], [1.0, 2.0], [2.0, f64::INFINITY], [3.0, -1.0], [4.0, 5.0]],
        vec![[f64::NAN, 1.0]; 3],
        vec![[1e300, 1e-300], [-1e300, 1e300]],
    ] {
        for y in
            [Axis::linear("y"), Axis::log("y"), Axis::log("y").within(1.0, 0.0), Axis::linear("y").within(0.0, 1.0)]
        {
            for mark in [Mark::Line, Mark::Dashed, Mark::Faint, Mark::Dots, Mark::Beads, Mark::Area] {
                let chart = Chart::new("", Axis::linear("x"), y.clone())
                    .with(Series::line("a", points.clone()).marked(mark))
                    .equal_aspect();
                let mut figure = Figure::new(vec![chart]);
                figure.panel_size = [160, 120];
                assert!(!figure.to_svg().contains("NaN"));
                figure.write(&tempfile::tempdir().unwrap().path().join("f.png")).unwrap();
            }
        }
    }
    look("empty", &Figure::new(vec![Chart::new("Nothing to draw", Axis::linear("x"), Axis::linear("y"))]));
}

/// The smoothed line of a constant is that constant from the first point on.
#[test]
fn smoothing_keeps_constants() {
    let flat: Vec<[f64; 2]> = (0..9).map(|i| [f64::from(i), 3.0]).collect();
    for ([_, a], [_, b]) in smoothed(&flat, 5.0).iter().zip(&flat) {
        assert!((a - b).abs() < 1e-12);
    }
}
