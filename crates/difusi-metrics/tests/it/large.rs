//! How long FID takes, and how much memory: `cargo test -p difusi-metrics --release --test it -- --ignored --nocapture large`.

use std::time::Instant;

use difusi_core::{Draw, Noise};
use difusi_metrics::{Features, KidOptions, Moments, frechet_distance, kid, precision_recall};

const COUNT: u64 = 10_000;
const DIM: usize = 2048;

/// Features like a network's: at least 0, of unlike scales.
fn features(seed: u64) -> Vec<f32> {
    let noise = Noise::new(seed);
    let row = |i: u64| {
        let mut s = noise.stream(Draw::Synthetic, i, 0);
        (0..DIM).map(move |j| (s.uniform() as f32 + (i % 7) as f32 * 0.02) * (1.0 + j as f32 / 500.0))
    };
    (0..COUNT).flat_map(row).collect()
}

/// Seconds that all threads together have computed, which other programs do not change as they do time.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let ticks: Vec<f64> = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    Some(ticks.iter().sum::<f64>() / 100.0)
}

#[expect(clippy::print_stdout, reason = "what the run is for")]
fn told(what: &str, start: Instant) {
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = peak.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned();
    let computed = processor_seconds().map_or("unknown".into(), |s| format!("{s:.1}"));
    let spent = start.elapsed().as_secs_f64();
    println!("{what}: {spent:.2} s; the process so far: {computed} processor seconds, peak memory {peak}");
}

#[test]
#[ignore = "takes minutes in the dev profile; prints times"]
fn large() {
    let (a, b) = (features(1), features(2));
    println!("2 x {COUNT} x {DIM} features, {} threads", rayon::current_num_threads());
    let start = Instant::now();
    told("features made", start);
    let of = |x: &[f32]| {
        let mut m = Moments::new(DIM);
        m.push(x);
        m.finish().unwrap()
    };
    let (p, q) = (of(&a), of(&b));
    told("moments of both", start);
    let fid = frechet_distance(&p, &q).unwrap();
    told("FID, with the moments", start);
    assert!(fid > 0.0);
    if std::env::var_os("DIFUSI_FID_ONLY").is_some() {
        return;
    }
    let (a, b) = (Features::new(&a, DIM).unwrap(), Features::new(&b, DIM).unwrap());
    let start = Instant::now();
    kid(a, b, &KidOptions::default()).unwrap();
    told("KID, 100 subsets of 1000", start);
    let start = Instant::now();
    precision_recall(a, b, 3).unwrap();
    told("precision and recall", start);
}
