//! Ranges, ticks and their labels.

use super::{Axis, Scale};

/// Values to places: 0 is the axis's beginning, 1 its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mapping {
    scale: Scale,
    /// Ends, as logarithms where the scale is.
    low: f64,
    high: f64,
}

impl Mapping {
    /// For an axis and the values on it.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let warp = |v: f64| if axis.scale == Scale::Log { v.log10() } else { v };
        let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        let data = values.map(warp).filter(|v| v.is_finite()).fold((f64::MAX, f64::MIN), fold);
        let (mut low, mut high) = match axis.range.map(|r| r.map(warp)) {
            Some([low, high]) if low.is_finite() && high.is_finite() && low < high => (low, high),
            _ => data,
        };
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let pad = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - pad, high + pad);
        } else if axis.range.is_none() {
            let pad = (high - low) * 0.03;
            // An axis of counts that begins at 0 stays there.
            low -= if low == 0.0 { 0.0 } else { pad };
            high += pad;
        }
        Self { scale: axis.scale, low, high }
    }

    /// The place of a value; `None` for gaps.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let v = if self.scale == Scale::Log { value.log10() } else { value };
        // Far outside is as good as a little outside, and keeps coordinates printable.
        v.is_finite().then(|| ((v - self.low) / (self.high - self.low)).clamp(-10.0, 10.0))
    }

    pub(super) fn span(&self) -> f64 {
        self.high - self.low
    }

    /// The same centre with another span.
    pub(super) fn with_span(self, span: f64) -> Self {
        let middle = (self.low + self.high) / 2.0;
        Self { low: middle - span / 2.0, high: middle + span / 2.0, ..self }
    }

    /// About `count` ticks: place and label.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Log if self.span() >= 3.5 => self.decades(count),
            Scale::Log if self.span() >= 1.0 => self.thirds(),
            _ => self.even(count),
        }
    }

    /// 1, 2 and 5 of every decade.
    fn thirds(&self) -> Vec<(f64, String)> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let value = |e: i32, lead: f64| lead * 10f64.powi(e);
        decades
            .flat_map(|e| [1.0, 2.0, 5.0].map(|lead| value(e, lead)))
            .filter(|v| (self.low - 1e-9..=self.high + 1e-9).contains(&v.log10()))
            .filter_map(|v| Some((self.place(v)?, label(v, v, v))))
            .collect()
    }

    fn decades(&self, count: usize) -> Vec<(f64, String)> {
        let every = (self.span() / count.max(1) as f64).ceil().max(1.0);
        let first = (self.low / every - 1e-9).ceil() as i64;
        let last = (self.high / every + 1e-9).floor() as i64;
        (first..=last)
            .map(|i| {
                let exponent = i as f64 * every;
                ((exponent - self.low) / self.span(), power_of_ten(exponent as i64))
            })
            .collect()
    }

    fn even(&self, count: usize) -> Vec<(f64, String)> {
        let unwarp = |v: f64| if self.scale == Scale::Log { 10f64.powf(v) } else { v };
        let (low, high) = (unwarp(self.low), unwarp(self.high));
        let step = nice((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let values: Vec<f64> = (first..=last).map(|i| i as f64 * step).collect();
        let largest = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        values.iter().filter_map(|v| Some((self.place(*v)?, label(*v, step, largest)))).collect()
    }
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `raw`.
fn nice(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let lead = raw / power;
    let choice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|c| *c >= lead - 1e-9).unwrap_or(10.0);
    choice * power
}

fn label(value: f64, step: f64, largest: f64) -> String {
    if value == 0.0 || value.abs() < step * 1e-6 {
        return "0".into();
    }
    if largest < 1e-3 {
        let exponent = value.abs().log10().floor() as i64;
        let lead = trimmed(value / 10f64.powi(exponent as i32), 2);
        return if lead == "1" { power_of_ten(exponent) } else { format!("{lead}·{}", power_of_ten(exponent)) };
    }
    let (unit, suffix) = match largest {
        v if v >= 2e6 => (1e6, "M"),
        v if v >= 2e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let decimals = (2.0 - (step / unit).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{}{suffix}", trimmed(value / unit, decimals))
}

/// With at most that many decimals, no trailing zeros, and a real minus.
fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    text.replace('-', "−")
}

fn power_of_ten(exponent: i64) -> String {
    if exponent == 0 {
        return "1".into();
    }
    if exponent == 1 {
        return "10".into();
    }
    let raised = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' => '⁰',
        other => char::from_u32(0x2070 + other.to_digit(10).unwrap_or(0)).unwrap_or(other),
    };
    format!("10{}", exponent.to_string().chars().map(raised).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, low: f64, high: f64) -> Vec<String> {
        Mapping::new(axis, [low, high].into_iter()).ticks(5).into_iter().map(|t| t.1).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let linear = Axis::linear("");
        assert_eq!(labels(&linear, 0.0, 1.0), ["0", "0.25", "0.5", "0.75", "1"]);
        assert_eq!(labels(&linear, 0.0, 700_000.0), ["0", "200k", "400k", "600k"]);
        assert_eq!(labels(&linear, -1.0, 1.0), ["−1", "−0.5", "0", "0.5", "1"]);
        assert_eq!(labels(&linear, 0.0, 4e-4), ["0", "10⁻⁴", "2·10⁻⁴", "3·10⁻⁴", "4·10⁻⁴"]);
        assert_eq!(labels(&Axis::log(""), 1e-4, 1e4), ["10⁻⁴", "10⁻²", "1", "10²", "10⁴"]);
        assert_eq!(labels(&Axis::log(""), 0.1, 0.3).first().unwrap(), "0.1");
        assert_eq!(labels(&Axis::log(""), 0.02, 1.0), ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!(labels(&Axis::log(""), 1e-5, 2e-4), ["10⁻⁵", "2·10⁻⁵", "5·10⁻⁵", "10⁻⁴", "2·10⁻⁴"]);
    }

    /// Empty, constant and non-finite data still give an axis.
    #[test]
    fn odd_data_have_axes() {
        for values in [vec![], vec![3.0], vec![0.0, 0.0], vec![f64::NAN, f64::INFINITY], vec![-1.0, -2.0]] {
            for axis in [Axis::linear(""), Axis::log(""), Axis::linear("").within(2.0, 2.0)] {
                let mapping = Mapping::new(&axis, values.iter().copied());
                assert!(mapping.span() > 0.0 && mapping.ticks(5).len() < 30, "{values:?}");
                assert!(mapping.ticks(5).iter().all(|t| t.0.is_finite()));
            }
        }
    }
}
