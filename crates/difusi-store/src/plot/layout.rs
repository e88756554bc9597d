//! From a figure to shapes: margins, grids, axes, series, legends.

use super::axis::Mapping;
use super::scene::{Anchor, Colour, Pen, Rect, Scene, Shape, Text};
use super::{Aspect, Chart, Figure, Legend, Mark, Series};
use crate::picture::text_width;

const INK: Colour = [34, 34, 34];
const SOFT: Colour = [90, 90, 90];
const GRID: Colour = [228, 228, 228];
const FRAME: Colour = [150, 150, 150];
const TITLE: f64 = 15.0;
const LABEL: f64 = 12.5;
const TICK: f64 = 11.0;
const NAME: f64 = 11.5;
/// Height of a line of the legend.
const ENTRY: f64 = 18.0;
/// Length of a sample of a line.
const SAMPLE: f64 = 26.0;
/// More names than this stand beside a panel, not in it.
const INSIDE: usize = 8;

/// Colours that stay apart, also for most colour-blind readers.
const PALETTE: [Colour; 12] = [
    [31, 119, 180],
    [230, 97, 1],
    [44, 140, 60],
    [202, 32, 48],
    [117, 80, 175],
    [140, 86, 75],
    [219, 90, 170],
    [23, 162, 184],
    [170, 150, 20],
    [90, 90, 90],
    [10, 70, 120],
    [120, 180, 70],
];

pub(super) fn scene(figure: &Figure) -> Scene {
    let [w, h] = figure.panel_size.map(|v| v.max(120) as f64);
    let columns = figure.columns.max(1).min(figure.panels.len().max(1));
    let rows = figure.panels.len().div_ceil(columns);
    let top = if figure.title.is_empty() { 8.0 } else { 40.0 };
    let width = columns as f64 * w + 8.0;
    let shared: Vec<Entry> = match figure.legend {
        Legend::Shared => shared_entries(figure),
        Legend::EachPanel => Vec::new(),
    };
    let flow = flow(&shared, width - 40.0);
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
    let entries = entries(chart);
    let beside = legend == Legend::EachPanel && entries.len() > INSIDE;
    let values = |axis: usize| chart.series.iter().flat_map(move |s| s.points.iter().map(move |p| p[axis]));
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
    axes(scene, chart, area, [&x, &y]);
    series(scene, chart, area, [&x, &y]);
    if !chart.title.is_empty() {
        text(scene, &chart.title, [area.x + area.w / 2.0, cell.y + 21.0], (TITLE, Anchor::Middle));
    }
    if legend == Legend::EachPanel && (entries.len() > 1 || beside) {
        panel_legend(scene, &entries, area, beside);
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

fn series(scene: &mut Scene, chart: &Chart, area: Rect, [x, y]: [&Mapping; 2]) {
    for (series, colour) in chart.series.iter().zip(colours(chart)) {
        let place = |p: &[f64; 2]| Some([area.x + x.place(p[0])? * area.w, area.bottom() - y.place(p[1])? * area.h]);
        if series.mark == Mark::Dots {
            let centres: Vec<[f64; 2]> = series.points.iter().filter_map(place).collect();
            let (radius, opacity) = dot_look(centres.len());
            let clip = Rect { x: area.x - 3.0, y: area.y - 3.0, w: area.w + 6.0, h: area.h + 6.0 };
            scene.shapes.push(Shape::Dots { centres, radius, colour, opacity, clip });
            continue;
        }
        let clip = Rect { y: area.y - 2.0, h: area.h + 4.0, ..area };
        // Gaps split a line.
        for part in series.points.split(|p| place(p).is_none()).filter(|part| !part.is_empty()) {
            let points = thinned(part.iter().filter_map(place).collect(), area.w);
            scene.shapes.push(Shape::Line { points, pen: pen(series.mark, colour), clip });
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

fn pen(mark: Mark, colour: Colour) -> Pen {
    match mark {
        Mark::Line | Mark::Dots => Pen { colour, width: 1.8, opacity: 1.0, dash: None },
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

/// Colours of a chart's series: given ones, else the palette in order; a smoothed line follows its faint one.
fn colours(chart: &Chart) -> Vec<Colour> {
    let mut next = 0;
    let mut all = Vec::with_capacity(chart.series.len());
    for series in &chart.series {
        all.push(series.colour.unwrap_or(PALETTE[next % PALETTE.len()]));
        if series.colour.is_none() && series.mark != Mark::Faint {
            next += 1;
        }
    }
    all
}

/// A name with a sample of its line.
#[derive(Clone, PartialEq)]
struct Entry {
    name: String,
    mark: Mark,
    colour: Colour,
}

impl Entry {
    fn width(&self) -> f64 {
        SAMPLE + 8.0 + measure(&self.name, NAME) + 18.0
    }

    fn draw(&self, scene: &mut Scene, [x, y]: [f64; 2]) {
        let middle = y - NAME * 0.36;
        let clip = Rect { x: x - 2.0, y: middle - 6.0, w: SAMPLE + 4.0, h: 12.0 };
        scene.shapes.push(if self.mark == Mark::Dots {
            let centres = vec![[x + SAMPLE / 2.0, middle]];
            Shape::Dots { centres, radius: 3.5, colour: self.colour, opacity: 0.9, clip }
        } else {
            let mut pen = pen(self.mark, self.colour);
            pen.width += 0.4;
            Shape::Line { points: vec![[x, middle], [x + SAMPLE, middle]], pen, clip }
        });
        text(scene, &self.name, [x + SAMPLE + 8.0, y], (NAME, Anchor::Start));
    }
}

fn entries(chart: &Chart) -> Vec<Entry> {
    let named = |(series, colour): (&Series, Colour)| {
        (!series.name.is_empty()).then(|| Entry { name: series.name.clone(), mark: series.mark, colour })
    };
    chart.series.iter().zip(colours(chart)).filter_map(named).collect()
}

fn shared_entries(figure: &Figure) -> Vec<Entry> {
    let mut all = Vec::new();
    for entry in figure.panels.iter().flat_map(entries) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all
}

/// Entries in lines of at most `width`.
fn flow(all: &[Entry], width: f64) -> Vec<Vec<Entry>> {
    let total: f64 = all.iter().map(Entry::width).sum();
    // Lines of about equal length look better than a full one and a rest.
    let aim = total / (total / width).ceil().max(1.0) + 40.0;
    let mut lines: Vec<Vec<Entry>> = Vec::new();
    let mut used = f64::MAX;
    for entry in all {
        if used + entry.width() > aim.min(width) {
            lines.push(Vec::new());
            used = 0.0;
        }
        used += entry.width();
        if let Some(line) = lines.last_mut() {
            line.push(entry.clone());
        }
    }
    lines
}

fn panel_legend(scene: &mut Scene, entries: &[Entry], area: Rect, beside: bool) {
    let width = entries.iter().map(Entry::width).fold(0.0, f64::max);
    let height = entries.len() as f64 * ENTRY + 6.0;
    let rect = if beside {
        Rect { x: area.right() + 4.0, y: area.y, w: width, h: height }
    } else {
        emptiest(scene, area, [width, height])
    };
    if !beside {
        scene.shapes.push(Shape::Fill { rect, colour: [255, 255, 255], opacity: 0.85 });
    }
    for (i, entry) in entries.iter().enumerate() {
        entry.draw(scene, [rect.x + 8.0, rect.y + 16.0 + i as f64 * ENTRY]);
    }
}

/// The corner of the area that the fewest points lie in.
fn emptiest(scene: &Scene, area: Rect, [w, h]: [f64; 2]) -> Rect {
    let (left, right) = (area.x + 6.0, area.right() - w - 2.0);
    let (top, bottom) = (area.y + 4.0, area.bottom() - h - 6.0);
    let corners = [[right, top], [left, top], [right, bottom], [left, bottom]].map(|[x, y]| Rect { x, y, w, h });
    let inside = |r: &Rect, p: &[f64; 2]| (r.x..r.right()).contains(&p[0]) && (r.y..r.bottom()).contains(&p[1]);
    let count = |r: &Rect| -> usize {
        let points = |shape: &Shape| match shape {
            Shape::Line { points, pen, .. } if pen.colour != GRID && pen.colour != FRAME => {
                between(points, |p| inside(r, p))
            }
            Shape::Dots { centres, .. } => centres.iter().filter(|p| inside(r, p)).count(),
            _ => 0,
        };
        scene.shapes.iter().map(points).sum()
    };
    corners.into_iter().min_by_key(count).unwrap_or(corners[0])
}

/// How many of a line's points, and of places between them, pass the test.
fn between(points: &[[f64; 2]], test: impl Fn(&[f64; 2]) -> bool) -> usize {
    let middle = |a: &[f64; 2], b: &[f64; 2], t: f64| [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];
    let steps = |a: &[f64; 2], b: &[f64; 2]| (((b[0] - a[0]).hypot(b[1] - a[1]) / 8.0) as usize).clamp(1, 64);
    points
        .windows(2)
        .map(|w| {
            let n = steps(&w[0], &w[1]);
            (0..n).filter(|i| test(&middle(&w[0], &w[1], *i as f64 / n as f64))).count()
        })
        .sum()
}

fn measure(text: &str, size: f64) -> f64 {
    f64::from(text_width(text, size as f32))
}

fn plain(text: &str, at: [f64; 2], (size, anchor): (f64, Anchor)) -> Text {
    let colour = if size <= TICK { SOFT } else { INK };
    Text { at, text: text.into(), size, anchor, colour, upwards: false }
}

fn text(scene: &mut Scene, string: &str, at: [f64; 2], look: (f64, Anchor)) {
    scene.shapes.push(Shape::Text(plain(string, at, look)));
}
