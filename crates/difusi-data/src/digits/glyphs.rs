//! The ways of writing each digit: key points of strokes in a box about 0.7 wide and 1 high, y down, in the order the pen
//! goes. A stroke is smooth through its key points except at corners.

use std::f64::consts::PI;

use super::{Point, Random};

/// A key point; the curve may turn sharply at a corner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Knot {
    pub(super) at: Point,
    pub(super) corner: bool,
}

/// One movement of the pen.
pub(super) type Stroke = Vec<Knot>;

fn smooth(points: &[(f64, f64)]) -> Stroke {
    points.iter().map(|&(x, y)| Knot { at: Point { x, y }, corner: false }).collect()
}

/// Strokes joined at corners: each part begins where the one before ends.
fn cornered(parts: &[&[(f64, f64)]]) -> Stroke {
    let mut stroke: Stroke = Vec::new();
    for part in parts {
        if let Some(last) = stroke.last_mut() {
            last.corner = true;
        }
        stroke.extend(smooth(part));
    }
    stroke
}

/// An arc of an ellipse: centre, radii, first angle and turn in radians (0 is right, a quarter turn is down).
struct Arc {
    centre: (f64, f64),
    radii: (f64, f64),
    from: f64,
    turn: f64,
}

impl Arc {
    /// Key points about every 50 degrees; the radius shrinks by `spiral` over a whole turn.
    fn points(&self, spiral: f64) -> Vec<(f64, f64)> {
        let n = (self.turn.abs() / 0.85).ceil().max(2.0) as usize;
        let point = |i: usize| {
            let angle = self.turn * i as f64 / n as f64;
            let r = 1.0 - spiral * angle.abs() / (2.0 * PI);
            let (c, s) = (libm::cos(self.from + angle), libm::sin(self.from + angle));
            (self.centre.0 + self.radii.0 * r * c, self.centre.1 + self.radii.1 * r * s)
        };
        (0..=n).map(point).collect()
    }
}

/// The strokes of a digit, 0..9.
pub(super) fn strokes(digit: u32, r: &mut Random) -> Vec<Stroke> {
    match digit {
        0 => zero(r),
        1 => one(r),
        2 => two(r),
        3 => three(r),
        4 => four(r),
        5 => five(r),
        6 => six(r),
        7 => seven(r),
        8 => eight(r),
        _ => nine(r),
    }
}

/// An oval, begun near the top, closed, overlapping or a little open.
fn zero(r: &mut Random) -> Vec<Stroke> {
    let width = r.range(0.22, 0.42);
    let direction = if r.chance(0.85) { -1.0 } else { 1.0 };
    let turn = direction * (2.0 * PI + r.range(-0.25, 0.7));
    let arc = Arc { centre: (0.35, 0.5), radii: (width, 0.5), from: -PI / 2.0 + r.range(-0.7, 0.7), turn };
    let (egg, spiral) = (r.range(-0.25, 0.25), r.normal(0.03, 0.06));
    let mut points: Vec<(f64, f64)> = arc.points(spiral);
    points.iter_mut().for_each(|p| p.0 = 0.35 + (p.0 - 0.35) * (1.0 + egg * (p.1 - 0.5)));
    if r.chance(0.12) {
        // the pen runs on into a small hook
        let (x, y) = points[points.len() - 1];
        points.push((x + r.range(0.1, 0.25), y - r.range(-0.05, 0.1)));
    }
    vec![smooth(&points)]
}

/// A stick; with a flag; with a flag and a base.
fn one(r: &mut Random) -> Vec<Stroke> {
    let (bow, foot) = (r.normal(0.0, 0.025), r.normal(0.35, 0.03));
    let stem = [(0.35, 0.0), (0.35 + bow, 0.5), (foot, 1.0)];
    match r.pick(&[0.6, 0.27, 0.13]) {
        0 => vec![smooth(&stem)],
        kind => {
            let flag = (0.35 - r.range(0.12, 0.26), r.range(0.12, 0.3));
            let middle = ((flag.0 + 0.35) / 2.0 + 0.02, flag.1 * 0.5 + r.range(-0.02, 0.04));
            let mut all = vec![cornered(&[&[flag, middle, stem[0]], &stem[1..]])];
            if kind == 2 {
                let (l, w) = (r.range(0.14, 0.26), r.range(0.14, 0.26));
                all.push(smooth(&[
                    (foot - l, 1.0 + r.normal(0.0, 0.02)),
                    (foot, 1.0),
                    (foot + w, 1.0 + r.normal(0.0, 0.02)),
                ]));
            }
            all
        }
    }
}

/// A neck and a base: with a corner, a loop, or a swan's curve between them.
fn two(r: &mut Random) -> Vec<Stroke> {
    let (start, top, belly) = (r.range(0.14, 0.34), r.range(0.25, 0.42), r.range(0.24, 0.34));
    let right = r.range(0.58, 0.72);
    let foot = r.range(0.9, 1.0);
    let mut neck = vec![(r.range(0.02, 0.12), start)];
    if r.chance(0.5) {
        neck.push((0.12, start * 0.45));
    }
    neck.extend([(top, 0.0), (right, belly), (r.range(0.42, 0.54), r.range(0.52, 0.62))]);
    let end = (r.range(0.62, 0.8), r.range(0.86, 1.02));
    match r.pick(&[0.45, 0.35, 0.2]) {
        0 => {
            neck.push((r.range(0.2, 0.28), r.range(0.76, 0.82)));
            neck.push((r.range(0.0, 0.08), foot));
            let middle = (0.35, foot - r.range(-0.02, 0.06));
            vec![cornered(&[&neck, &[middle, end]])]
        }
        1 => {
            let (w, h) = (r.range(0.09, 0.16), r.range(0.08, 0.16));
            neck.push((r.range(0.24, 0.3), r.range(0.8, 0.86)));
            neck.extend([(0.14, 0.99), (0.14 - w, 0.95 - h * 0.4), (0.12, 0.93 - h), (0.3, 0.9), (0.45, 0.98), end]);
            vec![smooth(&neck)]
        }
        _ => {
            neck.extend([(0.2, 0.84), (0.08, foot), (0.2, foot + 0.01), (0.42, 0.95), end]);
            vec![smooth(&neck)]
        }
    }
}

/// Two bows: meeting in a point, in a small loop, or under a flat top.
fn three(r: &mut Random) -> Vec<Stroke> {
    let (waist, top) = (r.range(0.42, 0.5), r.range(0.55, 0.66));
    let notch = r.range(0.18, 0.36);
    let low = r.range(0.6, 0.72);
    let end = (r.range(-0.02, 0.1), r.range(0.82, 0.95));
    let lower = [(low - 0.06, waist + 0.1), (low, 0.72), (low - 0.14, 0.93), (r.range(0.26, 0.36), 1.0), end];
    if r.chance(0.15) {
        let bar = r.normal(0.03, 0.03);
        let middle = (r.range(0.22, 0.32), waist - 0.04);
        let upper = [(r.range(0.02, 0.12), 0.04), (0.35, 0.02 + bar), (top, 0.02)];
        return vec![cornered(&[
            &upper,
            &[middle],
            &[(middle.0 + 0.18, waist + 0.01), lower[0], lower[1], lower[2], lower[3], lower[4]],
        ])];
    }
    let begin = (r.range(0.0, 0.14), r.range(0.08, 0.24));
    let upper =
        [begin, (0.18, 0.03), (r.range(0.3, 0.4), 0.0), (top - 0.02, 0.12), (top - 0.02, 0.26), (0.45, waist - 0.06)];
    if r.chance(0.25) {
        let back = r.range(0.06, 0.12);
        let turn = [
            (notch + 0.04, waist + 0.03),
            (notch - back, waist - 0.01),
            (notch + 0.04, waist - 0.05),
            (0.44, waist + 0.02),
        ];
        return vec![smooth(&[&upper[..5], &turn, &lower].concat())];
    }
    vec![cornered(&[&[&upper[..], &[(notch, waist)]].concat(), &lower])]
}

/// Open, closed in one line, or open with a round cup.
fn four(r: &mut Random) -> Vec<Stroke> {
    let bar = r.range(0.5, 0.66);
    let tail = (r.range(0.6, 0.78), bar + r.normal(-0.02, 0.03));
    let stem = r.range(0.42, 0.56);
    let foot = (stem + r.normal(-0.04, 0.04), 1.0);
    match r.pick(&[0.45, 0.3, 0.25]) {
        0 => {
            let (x, y) = (r.range(0.1, 0.26), r.range(0.0, 0.12));
            let corner = (r.range(0.0, 0.1), bar);
            let left =
                cornered(&[&[(x, y), ((x + corner.0) / 2.0 - 0.01, bar * 0.55), corner], &[(0.3, bar + 0.01), tail]]);
            let top = (stem + r.range(0.0, 0.08), r.range(0.0, 0.3));
            vec![left, smooth(&[top, ((top.0 + stem) / 2.0, 0.55), foot])]
        }
        1 => {
            let (top, meet) = ((stem, 0.0), (r.range(-0.04, 0.04), bar));
            let left = cornered(&[
                &[(stem + r.range(-0.04, 0.05), r.range(-0.02, 0.06)), (0.24, bar * 0.52), meet],
                &[(0.35, bar), tail],
            ]);
            vec![left, smooth(&[top, (stem - 0.01, 0.5), foot])]
        }
        _ => {
            let x = r.range(0.04, 0.16);
            let cup = [(x, r.range(0.0, 0.12)), (x - 0.04, bar * 0.6), (x + 0.06, bar - 0.04), (0.32, bar - 0.02)];
            let top = (r.range(0.52, 0.66), r.range(0.0, 0.16));
            if r.chance(0.5) {
                let climb = [cup[0], cup[1], cup[2], cup[3], (top.0 - 0.06, bar - 0.16), top];
                vec![cornered(&[&climb, &[(top.0 - 0.05, 0.55), foot]])]
            } else {
                let out = [cup[0], cup[1], cup[2], cup[3], (top.0 + 0.06, bar - 0.06)];
                vec![smooth(&out), smooth(&[top, (top.0 - 0.04, 0.5), foot])]
            }
        }
    }
}

/// A body and a top bar, in one or two movements, or nearly an S.
fn five(r: &mut Random) -> Vec<Stroke> {
    let (left, shoulder) = (r.range(0.08, 0.2), r.range(0.36, 0.48));
    let right = r.range(0.56, 0.7);
    let end = (r.range(-0.06, 0.08), r.range(0.84, 0.97));
    let belly = [
        (0.34, shoulder - r.range(0.02, 0.08)),
        (right - 0.03, shoulder + 0.14),
        (right - 0.02, 0.76),
        (0.36, 0.98),
        end,
    ];
    let knee = (left - r.range(0.0, 0.06), shoulder);
    let tip = (r.range(0.52, 0.76), r.range(-0.06, 0.08));
    match r.pick(&[0.4, 0.4, 0.2]) {
        0 => {
            let (gap, lift) = (r.normal(0.0, 0.03), r.normal(0.0, 0.025));
            let body = cornered(&[&[(left, 0.03), ((left + knee.0) / 2.0, shoulder * 0.5), knee], &belly]);
            vec![body, smooth(&[(left + gap, 0.03 + lift), ((left + tip.0) / 2.0, 0.015 + lift), tip])]
        }
        1 => vec![cornered(&[&[tip, ((left + tip.0) / 2.0, 0.03), (left, 0.03)], &[knee], &belly])],
        _ => {
            let s = [tip, (0.36, 0.0), (left + 0.02, 0.12), (left + 0.03, shoulder - 0.06), (0.32, shoulder + 0.04)];
            vec![smooth(&[&s[..], &[(right - 0.08, 0.58), (right - 0.04, 0.78), (0.36, 0.98), end]].concat())]
        }
    }
}

/// A sweep down into a bowl.
fn six(r: &mut Random) -> Vec<Stroke> {
    let (top, bowl) = (r.range(0.3, 0.6), r.range(0.44, 0.6));
    let left = r.range(0.04, 0.12);
    let right = r.range(0.54, 0.72);
    let bend = r.range(0.0, 0.1);
    let middle = bowl + (1.0 - bowl) / 2.0;
    let sweep = [(top, 0.0), ((top + left) / 2.0 - bend, 0.24), (left + 0.01, 0.52), (left + 0.02, middle + 0.08)];
    let round = [
        ((left + right) / 2.0 - 0.08, 1.0),
        (right - 0.06, middle + 0.14),
        (right - 0.02, middle - 0.06),
        ((left + right) / 2.0 + 0.04, bowl),
    ];
    let close = match r.pick(&[0.5, 0.3, 0.2]) {
        0 => vec![(left + 0.1, middle - 0.04), (left + r.range(0.0, 0.06), middle + 0.1)],
        1 => vec![(left + 0.12, bowl + 0.1), (left + r.range(-0.06, 0.02), middle + 0.02)],
        _ => vec![(left + r.range(0.14, 0.22), bowl + r.range(0.06, 0.14))],
    };
    vec![smooth(&[&sweep[..], &round, &close].concat())]
}

/// A bar and a leg: sharp or round, with a serif, with a crossing bar.
fn seven(r: &mut Random) -> Vec<Stroke> {
    let top = r.normal(0.05, 0.03);
    let right = (r.range(0.6, 0.78), top + r.normal(0.0, 0.03));
    let foot = (r.range(0.14, 0.38), 1.0);
    let bow = r.normal(-0.02, 0.04);
    let middle = ((right.0 + foot.0) / 2.0 + bow, 0.52);
    let begin = (r.range(-0.06, 0.05), top + r.normal(0.01, 0.02));
    let mut bar = vec![begin, (0.3, top + r.normal(0.0, 0.02)), right];
    if r.chance(0.25) {
        bar.insert(0, (begin.0 + r.normal(-0.01, 0.02), begin.1 + r.range(0.1, 0.2)));
    }
    let stroke = if r.chance(0.3) {
        bar.insert(bar.len() - 1, (right.0 - 0.12, right.1 - 0.01));
        smooth(&[&bar[..], &[(right.0 - 0.04, 0.24), middle, foot]].concat())
    } else {
        cornered(&[&bar, &[middle, foot]])
    };
    if !r.chance(0.27) {
        return vec![stroke];
    }
    let y = r.range(0.44, 0.58);
    let (x, l, tilt) = (middle.0 + 0.02, r.range(0.16, 0.28), r.normal(-0.02, 0.04));
    vec![stroke, smooth(&[(x - l, y - tilt), (x, y), (x + l, y + tilt)])]
}

/// A figure of eight in one line, or two ovals.
fn eight(r: &mut Random) -> Vec<Stroke> {
    let waist = r.range(0.42, 0.52);
    let (upper, lower) = (r.range(0.2, 0.3), r.range(0.24, 0.36));
    let x = 0.34;
    if r.chance(0.15) {
        let (a, b) = (waist / 2.0, (1.0 - waist) / 2.0);
        let top = Arc {
            centre: (x, a),
            radii: (upper, a),
            from: PI / 2.0 + r.range(-0.4, 0.4),
            turn: -2.0 * PI - r.range(-0.1, 0.4),
        };
        let low = Arc {
            centre: (x, waist + b),
            radii: (lower, b),
            from: -PI / 2.0 + r.range(-0.4, 0.4),
            turn: 2.0 * PI + r.range(-0.1, 0.4),
        };
        return vec![smooth(&top.points(0.0)), smooth(&low.points(0.0))];
    }
    let begin = (x + upper - r.range(0.0, 0.12), r.range(0.06, 0.16));
    let down = [(x + 0.02, 0.0), (x - upper, waist * 0.42), (x, waist)];
    let round = [
        (x + lower, waist + (1.0 - waist) * 0.5),
        (x, 1.0),
        (x - lower, waist + (1.0 - waist) * 0.52),
        (x + 0.02, waist - 0.02),
    ];
    let end = match r.pick(&[0.5, 0.3, 0.2]) {
        0 => vec![(x + upper, waist * 0.5), (begin.0 + r.normal(0.0, 0.02), begin.1 + r.normal(-0.03, 0.03))],
        1 => vec![(x + upper * 0.9, waist * 0.6), (begin.0 - 0.02, begin.1 - 0.08), (x + 0.02, r.range(-0.02, 0.06))],
        _ => vec![(x + upper * 0.7, waist * 0.55), (begin.0 + r.range(0.02, 0.12), begin.1 - r.range(0.0, 0.1))],
    };
    vec![smooth(&[&[begin], &down[..], &round, &end].concat())]
}

/// A bowl and a stem: straight, bent, hooked to the left.
fn nine(r: &mut Random) -> Vec<Stroke> {
    let (bowl, left, right) = (r.range(0.4, 0.56), r.range(0.0, 0.1), r.range(0.5, 0.62));
    let middle = (left + right) / 2.0;
    let begin = (right - r.range(0.0, 0.08), r.range(0.06, 0.18));
    let round =
        [begin, (middle + 0.04, 0.0), (left + 0.02, bowl * 0.45), (middle - 0.06, bowl), (right - 0.06, bowl * 0.66)];
    let join = (right + r.normal(0.0, 0.02), r.range(0.02, 0.16));
    let foot = (right - r.range(-0.04, 0.22), 1.0);
    let stem = match r.pick(&[0.5, 0.3, 0.2]) {
        0 => vec![((right + foot.0) / 2.0 + 0.01, 0.55), foot],
        1 => vec![
            (right + 0.01, 0.5),
            (right - 0.06, 0.84),
            (middle - 0.02, 1.0),
            (left + r.range(-0.02, 0.08), r.range(0.86, 0.95)),
        ],
        _ => vec![(right - 0.02, 0.5), (right - 0.08, 0.8), (right - r.range(0.2, 0.34), 1.0)],
    };
    if r.chance(0.6) {
        return vec![cornered(&[&[&round[..], &[join]].concat(), &stem])];
    }
    vec![
        smooth(&[&round[..4], &[(right - 0.03, bowl * 0.6), (right, bowl * 0.3)], &[]].concat()),
        smooth(&[&[join], &stem[..]].concat()),
    ]
}
