//! From a figure to shapes: margins, grids, axes, series, legends.

use super::axis::Mapping;
use super::legend::{self, ENTRY, Entry, INSIDE};
use super::scene::{Anchor, Colour, Pen, Rect, Scene, Shape, Text};
use super::{Aspect, Chart, Figure, Legend, Mark};
use crate::picture::text_width;

const INK: Colour = [34, 34, 34];
const SOFT: Colour = [90, 90, 90];
pub(super) const GRID: Colour = [228, 228, 228];
pub(super) const FRAME: Colour = [150, 150, 150];
const TITLE: f64 = 15.0;
const LABEL: f64 = 12.5;
const TICK: f64 = 11.0;
/// Opacity of a filled area.
pub(super) const PALE: f64 = 0.22;

pub(super) fn scene(figure: &Figure) -> Scene {
    let [w, h] = figure.panel_size.map(|v| v.max(120) as f64);
    let columns = figure.columns.max(1).min(figure.panels.len().max(1));
    let rows = figure.panels.len().div_ceil(columns);
    let top = if figure.title.is_empty() { 8.0 } else { 40.0 };
    let width = columns as f64 * w + 8.0;
    let shared: Vec<Entry> = match figure.legend {
        Legend::Shared => legend::shared_entries(figure),
        Legend::EachPanel => Vec::new(),
    };
    let flow = legend::flow(&shared, width - 40.0);
    let bottom = top + rows as f64 * h;
    let mut scene = Scene { width, height: bottom + flow.len() as f64 * (ENTRY + 2.0) + 10.0, shapes: Vec::new() };
    if !figure.title.is_empty() {
        text(&mut scene, &figure.title, [width / 2.0, 26.0], (TITLE + 2.0, Anchor::Middle));
    }
    for (i, chart) in figure.panels.iter().enumerate() {
        let cell = Rect { x: 4.0 + (i % columns) as f64 * w, y: top + (i / columns) as f64 * h, w, h };
        panel(&mut scene, chart, cell, figure.legend);
    }
    for (i, line) in flow.iter().enumerate() {
        let total: f64 = line.iter().map(|e| e.width()).sum();
        let mut x = (width - total) / 2.0;
        for entry in line {
            entry.draw(&mut scene, [x, bottom + 14.0 + i as f64 * (ENTRY + 2.0)]);
            x += entry.width();
        }
    }
    scene
}

fn panel(scene: &mut Scene, chart: &Chart, cell: Rect, legend: Legend) {
    let entries = legend::entries(chart);
    let beside = legend == Legend::EachPanel && entries.len() > INSIDE;
    let corners = |axis: usize| chart.field.iter().flat_map(move |f| if axis == 0 { f.x } else { f.y });
    let points = |axis: usize| chart.series.iter().flat_map(move |s| s.points.iter().map(move |p| p[axis]));
    let values = |axis: usize| points(axis).chain(corners(axis));
    let (mut x, mut y) = (Mapping::new(&chart.x, values(0)), Mapping::new(&chart.y, values(1)));
    let ticks = y.ticks(5);
    let widest = ticks.iter().map(|t| measure(&t.1, TICK)).fold(0.0, f64::max);
    let left = 16.0 + widest + if chart.y.label.is_empty() { 0.0 } else { 20.0 };
    let right = if beside { 14.0 + entries.iter().map(Entry::width).fold(0.0, f64::max) } else { 16.0 };
    let top = if chart.title.is_empty() { 12.0 } else { 32.0 };
    let bottom = 28.0 + if chart.x.label.is_empty() { 0.0 } else { 18.0 };
    let mut area = Rect { x: cell.x + left, y: cell.y + top, w: cell.w - left - right, h: cell.h - top - bottom };
    if chart.aspect == Aspect::Equal {
        // The smaller scale wins on both axes.
        let unit = (area.w / x.span()).min(area.h / y.span());
        let side = [area.w, area.h].map(|v| v / unit);
        (x, y) = (x.with_span(side[0]), y.with_span(side[1]));
    }
    area.w = area.w.max(20.0);
    area.h = area.h.max(20.0);
    field(scene, chart, area, [&x, &y]);
    axes(scene, chart, area, [&x, &y]);
    series(scene, chart, area, [&x, &y]);
    notes(scene, chart, area, [&x, &y]);
    if !chart.title.is_empty() {
        text(scene, &chart.title, [area.x + area.w / 2.0, cell.y + 21.0], (TITLE, Anchor::Middle));
    }
    if legend == Legend::EachPanel && (entries.len() > 1 || beside) {
        legend::draw(scene, &entries, area, beside);
    }
}

/// Grid, frame, ticks and labels.
fn axes(scene: &mut Scene, chart: &Chart, area: Rect, [x, y]: [&Mapping; 2]) {
    let mut ruler = |points: Vec<[f64; 2]>, colour: Colour| {
        let pen = Pen { colour, width: 1.0, opacity: 1.0, dash: None };
        let clip = Rect { x: area.x - 6.0, y: area.y - 1.0, w: area.w + 7.0, h: area.h + 7.0 };
        scene.shapes.push(Shape::Line { points, pen, clip });
    };
    let inside = |t: &(f64, String)| (-1e-9..=1.0 + 1e-9).contains(&t.0);
    let across = (area.w / 75.0).clamp(2.0, 8.0) as usize;
    let along = (area.h / 50.0).clamp(2.0, 8.0) as usize;
    let xs: Vec<_> = x.ticks(across).into_iter().filter(inside).collect();
    let ys: Vec<_> = y.ticks(along).into_iter().filter(inside).collect();
    // Half a pixel in, so that hairlines are sharp.
    let at_x = |t: f64| (area.x + t * area.w).floor() + 0.5;
    let at_y = |t: f64| (area.bottom() - t * area.h).floor() + 0.5;
    for (t, _) in &xs {
        ruler(vec![[at_x(*t), area.y], [at_x(*t), area.bottom()]], GRID);
    }
    for (t, _) in &ys {
        ruler(vec![[area.x, at_y(*t)], [area.right(), at_y(*t)]], GRID);
    }
    ruler(vec![[at_x(0.0), area.y], [at_x(0.0), at_y(0.0)], [area.right(), at_y(0.0)]], FRAME);
    for (t, label) in &xs {
        text(scene, label, [area.x + t * area.w, area.bottom() + 16.0], (TICK, Anchor::Middle));
    }
    for (t, label) in &ys {
        text(scene, label, [area.x - 7.0, at_y(*t) + TICK * 0.36], (TICK, Anchor::End));
    }
    if !chart.x.label.is_empty() {
        text(scene, &chart.x.label, [area.x + area.w / 2.0, area.bottom() + 35.0], (LABEL, Anchor::Middle));
    }
    if !chart.y.label.is_empty() {
        let widest = ys.iter().map(|t| measure(&t.1, TICK)).fold(0.0, f64::max);
        let at = [area.x - 14.0 - widest, area.y + area.h / 2.0];
        let label = Text { upwards: true, ..plain(&chart.y.label, at, (LABEL, Anchor::Middle)) };
        scene.shapes.push(Shape::Text(label));
    }
}

/// The picture behind everything, stretched between the places of its corners.
fn field(scene: &mut Scene, chart: &Chart, area: Rect, [x, y]: [&Mapping; 2]) {
    let Some(field) = &chart.field else {
        return;
    };
    let (Some(picture), [Some(left), Some(right)], [Some(low), Some(high)]) =
        (field.picture(), field.x.map(|v| x.place(v)), field.y.map(|v| y.place(v)))
    else {
        return;
    };
    let (w, h) = ((right - left) * area.w, (high - low) * area.h);
    let rect = Rect { x: area.x + left * area.w, y: area.bottom() - high * area.h, w, h };
    scene.shapes.push(Shape::Image { rect, picture, clip: area });
}

fn series(scene: &mut Scene, chart: &Chart, area: Rect, [x, y]: [&Mapping; 2]) {
    let ground = area.bottom() - y.place(0.0).unwrap_or(0.0).clamp(0.0, 1.0) * area.h;
    let place = |p: &[f64; 2]| Some([area.x + x.place(p[0])? * area.w, area.bottom() - y.place(p[1])? * area.h]);
    for (series, colour) in chart.series.iter().zip(legend::colours(chart)) {
        let clip = Rect { y: area.y - 2.0, h: area.h + 4.0, ..area };
        // Gaps split a line.
        let parts = series.points.split(|p| place(p).is_none()).filter(|part| !part.is_empty());
        for part in parts.filter(|_| series.mark != Mark::Dots) {
            let mut points = thinned(part.iter().filter_map(place).collect(), area.w);
            if series.mark == Mark::Area {
                let ends = [points.last(), points.first()].map(|p| p.map_or(area.x, |p| p[0]));
                points.extend(ends.map(|x| [x, ground]));
                scene.shapes.push(Shape::Polygon { points, colour, opacity: PALE, clip });
            } else {
                scene.shapes.push(Shape::Line { points, pen: pen(series.mark, colour), clip });
            }
        }
        if matches!(series.mark, Mark::Dots | Mark::Beads) {
            let centres: Vec<[f64; 2]> = series.points.iter().filter_map(place).collect();
            let (radius, opacity) = if series.mark == Mark::Beads { (3.0, 1.0) } else { dot_look(centres.len()) };
            let clip = Rect { x: area.x - 4.0, y: area.y - 4.0, w: area.w + 8.0, h: area.h + 8.0 };
            scene.shapes.push(Shape::Dots { centres, radius, colour, opacity, clip });
        }
    }
}

fn notes(scene: &mut Scene, chart: &Chart, area: Rect, [x, y]: [&Mapping; 2]) {
    for note in &chart.notes {
        if let (Some(px), Some(py)) = (x.place(note.at[0]), y.place(note.at[1])) {
            let at = [area.x + px * area.w, area.bottom() - py * area.h + TICK * 0.36];
            let look = Text { colour: note.colour.unwrap_or(INK), ..plain(&note.text, at, (TICK, Anchor::Middle)) };
            scene.shapes.push(Shape::Text(look));
        }
    }
}

/// Radius and opacity: many dots are small and pale.
fn dot_look(count: usize) -> (f64, f64) {
    match count {
        0..=60 => (3.5, 0.9),
        61..=600 => (2.2, 0.7),
        _ => (1.3, 0.5),
    }
}

pub(super) fn pen(mark: Mark, colour: Colour) -> Pen {
    match mark {
        Mark::Line | Mark::Dots | Mark::Area | Mark::Beads => Pen { colour, width: 1.8, opacity: 1.0, dash: None },
        Mark::Dashed => Pen { colour, width: 1.8, opacity: 1.0, dash: Some([6.0, 4.0]) },
        Mark::Faint => Pen { colour, width: 1.0, opacity: 0.35, dash: None },
    }
}

/// At most four points per pixel column: first, lowest, highest and last, which look the same as all.
fn thinned(points: Vec<[f64; 2]>, width: f64) -> Vec<[f64; 2]> {
    if points.len() as f64 <= 4.0 * width || !points.is_sorted_by(|a, b| a[0] <= b[0]) {
        return points;
    }
    let column = |p: &[f64; 2]| p[0].floor();
    let mut out = Vec::new();
    for part in points.chunk_by(|a, b| column(a) == column(b)) {
        let by_y = |a: &&[f64; 2], b: &&[f64; 2]| a[1].total_cmp(&b[1]);
        let ends = [part.first(), part.iter().min_by(by_y), part.iter().max_by(by_y), part.last()];
        out.extend(ends.into_iter().flatten().copied());
    }
    out
}

pub(super) fn measure(text: &str, size: f64) -> f64 {
    f64::from(text_width(text, size as f32))
}

fn plain(text: &str, at: [f64; 2], (size, anchor): (f64, Anchor)) -> Text {
    let colour = if size <= TICK { SOFT } else { INK };
    Text { at, text: text.into(), size, anchor, colour, upwards: false }
}

pub(super) fn text(scene: &mut Scene, string: &str, at: [f64; 2], look: (f64, Anchor)) {
    scene.shapes.push(Shape::Text(plain(string, at, look)));
}
