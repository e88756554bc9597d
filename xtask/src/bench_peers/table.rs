//! What both sides printed, and the page made of it.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use difusi::Timing;
use serde_json::Value;

use super::Work;

/// Who ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// PyTorch.
    Peer,
    /// This workspace.
    Ours,
}

/// All runs of one variant of one side.
#[derive(Clone, Debug)]
struct Variant {
    side: Side,
    name: String,
    train_ms: Vec<f64>,
    forward_ms: Vec<f64>,
    peak_mib: Vec<f64>,
}

/// All runs of one network.
#[derive(Clone, Debug)]
pub struct Measured {
    network: String,
    batches: [usize; 2],
    variants: Vec<Variant>,
    /// Versions and the machine's ceiling, as the runs told them.
    facts: Vec<String>,
}

impl Measured {
    /// Nothing yet of this network.
    ///
    /// # Errors
    /// A config that does not say the size of its pictures.
    pub fn new(work: &Work) -> anyhow::Result<Self> {
        let batches = [work.config.train.batch_size, work.config.task.diffusion()?.sample.count];
        Ok(Self { network: work.network()?, batches, variants: Vec::new(), facts: Vec::new() })
    }

    /// Takes in what one run printed: one JSON object.
    ///
    /// # Errors
    /// Text that is something else.
    pub fn add(&mut self, side: Side, name: &str, text: &str) -> anyhow::Result<()> {
        let said: Value = serde_json::from_str(text.trim()).with_context(|| format!("not JSON: {text}"))?;
        let (train, forward) = match side {
            Side::Peer => ("train_ms", "forward_ms"),
            Side::Ours => ("train_step_all_ms", "forward_all_ms"),
        };
        let fact = match (side, &said["torch"], said["ceiling_gflops"].as_f64()) {
            (Side::Peer, Value::String(version), _) => Some(format!("PyTorch {version}")),
            (Side::Ours, _, Some(ceiling)) if !self.facts.iter().any(|f| f.contains("ceiling")) => {
                Some(format!("f32 ceiling {ceiling:.0} GFLOP/s ({})", said["unit"].as_str().unwrap_or("?")))
            }
            _ => None,
        };
        self.facts.extend(fact.filter(|f| !self.facts.contains(f)));
        let (train_ms, forward_ms) = (times(&said, train)?, times(&said, forward)?);
        let peak = said["train_peak_mib"].as_f64();
        let index = self.variants.iter().position(|v| v.side == side && v.name == name).unwrap_or_else(|| {
            let (train_ms, forward_ms, peak_mib) = (Vec::new(), Vec::new(), Vec::new());
            self.variants.push(Variant { side, name: name.to_owned(), train_ms, forward_ms, peak_mib });
            self.variants.len() - 1
        });
        let variant = &mut self.variants[index];
        variant.train_ms.extend(train_ms);
        variant.forward_ms.extend(forward_ms);
        variant.peak_mib.extend(peak);
        Ok(())
    }

    /// The variant of a side with the shortest median, among those whose name starts so.
    fn best(&self, side: Side, prefix: &str, times: fn(&Variant) -> &[f64]) -> Option<(f64, &str)> {
        let fitting = self.variants.iter().filter(|v| v.side == side && v.name.starts_with(prefix));
        fitting.map(|v| (median(times(v)), v.name.as_str())).min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The least peak memory of a side's variants.
    fn least_peak(&self, side: Side) -> Option<f64> {
        let peaks = self.variants.iter().filter(|v| v.side == side && !v.peak_mib.is_empty());
        peaks.map(|v| median(&v.peak_mib)).min_by(f64::total_cmp)
    }

    fn row(&self, work: &str, times: fn(&Variant) -> &[f64], with_peak: bool) -> String {
        let [peer_f32, peer, our_f32, ours] =
            [(Side::Peer, "f32"), (Side::Peer, ""), (Side::Ours, "f32"), (Side::Ours, "")]
                .map(|(side, prefix)| self.best(side, prefix, times));
        let peaks = [Side::Peer, Side::Ours].map(|side| self.least_peak(side).filter(|_| with_peak));
        let ratio = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => format!("{:.2}x", a / b),
            _ => "-".to_owned(),
        };
        let cells = [
            format!("{}, {work}", self.network),
            shown(peer_f32),
            shown(peer),
            shown(our_f32),
            shown(ours),
            ratio(peer_f32.map(|p| p.0), our_f32.map(|o| o.0)),
            ratio(peer.map(|p| p.0), ours.map(|o| o.0)),
            whole(peaks[0]),
            whole(peaks[1]),
            ratio(peaks[1], peaks[0]),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

fn times(said: &Value, key: &str) -> anyhow::Result<Vec<f64>> {
    let list = said[key].as_array().with_context(|| format!("no list `{key}` in {said}"))?;
    let times: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
    match times {
        Some(times) if !times.is_empty() => Ok(times),
        _ => bail!("`{key}` is {}; expected a list of milliseconds", said[key]),
    }
}

fn median(values: &[f64]) -> f64 {
    Timing::of(values.to_vec()).median_ms
}

fn shown(found: Option<(f64, &str)>) -> String {
    found.map_or_else(|| "-".to_owned(), |(ms, name)| format!("{} ({name})", milliseconds(ms)))
}

fn milliseconds(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn whole(mib: Option<f64>) -> String {
    mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.0}"))
}

/// The page: the comparison, and below it every variant with its spread.
///
/// # Errors
/// None of its own; a sink that fails.
pub fn page(measured: &[Measured], threads: usize) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut facts: Vec<&str> = Vec::new();
    for fact in measured.iter().flat_map(|m| &m.facts) {
        if !facts.contains(&fact.as_str()) {
            facts.push(fact);
        }
    }
    writeln!(out, "{threads} threads, medians of all runs, both sides by turns. {}.\n", facts.join(", "))?;
    writeln!(
        out,
        "| work | PyTorch f32, best | PyTorch, best | ours f32 | ours, best | faster, f32 | faster, best | least peak MiB, \
         PyTorch | least peak MiB, ours | share |\n|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for m in measured {
        let [train, forward] = m.batches;
        out += &m.row(&format!("training step, batch {train}"), |v| &v.train_ms, true);
        out += &m.row(&format!("forward, batch {forward}"), |v| &v.forward_ms, false);
    }
    writeln!(out, "\n| network | variant | training step | forward | peak MiB | runs |\n|---|---|---|---|---|---|")?;
    for m in measured {
        for v in &m.variants {
            let side = if v.side == Side::Peer { "PyTorch" } else { "ours" };
            let peak = whole((!v.peak_mib.is_empty()).then(|| median(&v.peak_mib)));
            let (train, forward, runs) = (spread(&v.train_ms), spread(&v.forward_ms), v.train_ms.len());
            writeln!(out, "| {} | {side} {} | {train} | {forward} | {peak} | {runs} |", m.network, v.name)?;
        }
    }
    Ok(out)
}

fn spread(all: &[f64]) -> String {
    let t = Timing::of(all.to_vec());
    format!("{} ({:.1} to {:.1})", milliseconds(t.median_ms), t.min_ms, t.max_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let work = Work::all(&crate::root()).unwrap().remove(0);
        let mut m = Measured::new(&work).unwrap();
        let peer = |train: [u32; 2], peak: u32| {
            format!(
                r#"{{"torch": "9.9", "train_ms": {train:?}, "forward_ms": [50, 60, 70], "train_peak_mib": {peak}}}"#
            )
        };
        m.add(Side::Peer, "f32", &peer([500, 520], 1700)).unwrap();
        m.add(Side::Peer, "f32_channels_last", &peer([400, 420], 1800)).unwrap();
        m.add(Side::Peer, "bf16_channels_last", &peer([300, 310], 1500)).unwrap();
        let ours = |train: &str, peak: &str| {
            format!(
                r#"{{"ceiling_gflops": 500.4, "unit": "avx512", "train_step_all_ms": {train}, "forward_all_ms": [30],
                    "train_peak_mib": {peak}}}"#
            )
        };
        m.add(Side::Ours, "f32", &ours("[210, 190]", "600.0")).unwrap();
        m.add(Side::Ours, "f32", &ours("[200]", "640.0")).unwrap();
        m
    }

    /// Medians over the runs of all processes; the best of each side, and the ratios.
    #[test]
    fn the_best_are_compared() {
        let text = page(&[measured()], 2).unwrap();
        let row = text.lines().find(|l| l.contains("training step, batch 32")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let expected = [
            "Unet(32, (1, 2, 4), channels=1), 32x32, training step, batch 32",
            "410 ms (f32_channels_last)",
            "305 ms (bf16_channels_last)",
            "200 ms (f32)",
            "200 ms (f32)",
            "2.05x",
            "1.52x",
            "1500",
            "620",
            "0.41x",
        ];
        assert_eq!(cells, expected);
        assert!(text.contains("PyTorch 9.9, f32 ceiling 500 GFLOP/s (avx512)."), "{text}");
        let forward = text.lines().find(|l| l.contains("forward, batch 16")).unwrap();
        assert!(
            forward.contains("| 60.0 ms (f32) |")
                && forward.contains("| 2.00x |")
                && forward.ends_with("| - | - | - |")
        );
        assert!(text.contains("| ours f32 | 200 ms (190.0 to 210.0) | 30.0 ms (30.0 to 30.0) | 620 | 3 |"), "{text}");
    }

    #[test]
    fn other_text_is_refused() {
        let mut m = measured();
        for text in ["", "Traceback", "{}", r#"{"train_ms": [], "forward_ms": [1]}"#, r#"{"train_ms": ["x"]}"#] {
            assert!(m.add(Side::Peer, "f32", text).is_err(), "{text}");
        }
        assert!(m.add(Side::Ours, "f32", r#"{"train_ms": [1], "forward_ms": [1]}"#).is_err());
    }
}
