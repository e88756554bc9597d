//! The names of the series: colours, entries, and where they stand.

use super::layout::{FRAME, GRID, PALE, measure, pen, text};
use super::scene::{Anchor, Colour, Rect, Scene, Shape};
use super::{Chart, Figure, Mark, Series};

const NAME: f64 = 11.5;
/// Height of a line of the legend.
pub(super) const ENTRY: f64 = 18.0;
/// Length of a sample of a line.
const SAMPLE: f64 = 26.0;
/// More names than this stand beside a panel, not in it.
pub(super) const INSIDE: usize = 8;
/// As how many points of a line a note counts that a legend would cover.
const NOTE: usize = 40;

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

/// Colours of a chart's series: given ones, else the palette in order; a smoothed line follows its faint one.
pub(super) fn colours(chart: &Chart) -> Vec<Colour> {
    let mut next = 0;
    let mut all = Vec::with_capacity(chart.series.len());
    for series in &chart.series {
        all.push(series.colour.unwrap_or(PALETTE[next % PALETTE.len()]));
        if series.colour.is_none() && !matches!(series.mark, Mark::Faint | Mark::Area) {
            next += 1;
        }
    }
    all
}

/// A name with a sample of its line.
#[derive(Clone, PartialEq)]
pub(super) struct Entry {
    name: String,
    mark: Mark,
    colour: Colour,
}

impl Entry {
    pub(super) fn width(&self) -> f64 {
        SAMPLE + 8.0 + measure(&self.name, NAME) + 18.0
    }

    pub(super) fn draw(&self, scene: &mut Scene, [x, y]: [f64; 2]) {
        let middle = y - NAME * 0.36;
        let clip = Rect { x: x - 2.0, y: middle - 6.0, w: SAMPLE + 4.0, h: 12.0 };
        if matches!(self.mark, Mark::Line | Mark::Dashed | Mark::Faint | Mark::Beads) {
            let mut pen = pen(self.mark, self.colour);
            pen.width += 0.4;
            scene.shapes.push(Shape::Line { points: vec![[x, middle], [x + SAMPLE, middle]], pen, clip });
        }
        if matches!(self.mark, Mark::Dots | Mark::Beads) {
            let centres = vec![[x + SAMPLE / 2.0, middle]];
            scene.shapes.push(Shape::Dots { centres, radius: 3.5, colour: self.colour, opacity: 0.9, clip });
        }
        if self.mark == Mark::Area {
            let rect = Rect { x, y: middle - 5.0, w: SAMPLE, h: 10.0 };
            scene.shapes.push(Shape::Fill { rect, colour: self.colour, opacity: 1.6 * PALE });
        }
        text(scene, &self.name, [x + SAMPLE + 8.0, y], (NAME, Anchor::Start));
    }
}

pub(super) fn entries(chart: &Chart) -> Vec<Entry> {
    let named = |(series, colour): (&Series, Colour)| {
        (!series.name.is_empty()).then(|| Entry { name: series.name.clone(), mark: series.mark, colour })
    };
    chart.series.iter().zip(colours(chart)).filter_map(named).collect()
}

pub(super) fn shared_entries(figure: &Figure) -> Vec<Entry> {
    let mut all = Vec::new();
    for entry in figure.panels.iter().flat_map(entries) {
        if !all.contains(&entry) {
            all.push(entry);
        }
    }
    all
}

/// Entries in as few lines of at most `width` as there can be, and these as even as can be.
pub(super) fn flow(all: &[Entry], width: f64) -> Vec<Vec<Entry>> {
    let fewest = lines(all, width);
    let narrower = (1..40).map(|i| lines(all, width * (1.0 - f64::from(i) / 40.0)));
    narrower.take_while(|l| l.len() <= fewest.len()).last().unwrap_or(fewest)
}

/// Entries in lines of at most `width`, each as full as it gets.
fn lines(all: &[Entry], width: f64) -> Vec<Vec<Entry>> {
    let mut lines: Vec<Vec<Entry>> = Vec::new();
    let mut used = f64::MAX;
    for entry in all {
        if used + entry.width() > width {
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

/// A legend inside its panel, in the emptiest corner, or beside it.
pub(super) fn draw(scene: &mut Scene, entries: &[Entry], area: Rect, beside: bool) {
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
            Shape::Text(text) if inside(r, &text.at) => NOTE,
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
