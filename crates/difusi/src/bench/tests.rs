//! A whole measurement on a tiny network, and the arithmetic on it.

use super::*;

fn tiny(more: &[&str]) -> RunConfig {
    let tiny = [
        "data.size=[8, 8]",
        "model.dim=8",
        "model.dim_mults=[1, 2]",
        "model.attn_heads=1",
        "model.attn_dim_head=8",
        "train.batch_size=4",
        "sample.count=6",
    ];
    let overrides: Vec<String> = tiny.iter().chain(more).map(ToString::to_string).collect();
    RunConfig::parse_with(crate::presets::get("mnist").unwrap(), &overrides).unwrap()
}

#[test]
fn medians() {
    let timing = Timing::of(vec![5.0, 1.0, 3.0]);
    assert_eq!((timing.median_ms, timing.min_ms, timing.max_ms), (3.0, 1.0, 5.0));
    assert_eq!(timing.all_ms, [5.0, 1.0, 3.0]);
    assert_eq!(Timing::of(vec![4.0, 2.0]).median_ms, 3.0);
    assert!(Timing::of(vec![]).median_ms.is_nan());
}

/// Every figure is there and fits the others, though no MNIST is; progress ends one short of its total.
#[test]
fn a_tiny_network_is_measured() {
    let mut seen = Vec::new();
    let options = BenchOptions { runs: 7, ..BenchOptions::new(tiny(&["train.accumulation=2"])) };
    let report = bench(options, &Device::flex(), &mut |p| seen.push((p.done, p.total))).unwrap();
    assert_eq!((report.shape, report.images_per_step, report.forward_batch), ([8, 8, 1], 8, 6));
    assert_eq!((report.step.all_ms.len(), report.forward.all_ms.len()), (7, 7));
    assert!(report.step.min_ms > 0.0 && report.step.min_ms <= report.step.median_ms);
    assert_eq!(report.train_flops / 24.0, report.forward_flops / 6.0);
    assert!((report.gflops() * 1e6 * report.step.median_ms / report.train_flops - 1.0).abs() < 1e-9);
    assert!(report.share().unwrap() > 0.0);
    assert!(report.ops.iter().any(|op| op.op.contains("conv2d")));
    assert!((report.prediction.training_s - 7.0 * report.prediction.step_ms).abs() < 1e-9);
    assert!(report.prediction.sampling_s > 0.0 && report.guided.is_none());
    let total = seen[0].1;
    assert_eq!(seen, (0..total).map(|i| (i, total)).collect::<Vec<_>>());
}

/// Of a network that is told classes, guidance is measured too.
#[test]
fn guidance_is_measured() {
    let classes = tiny(&["model.classes=3", "diffusion.cond=label", "train.ema=[]"]);
    let (mut ticks, options) = (0, BenchOptions { runs: 7, ..BenchOptions::new(classes) });
    let report = bench(options, &Device::flex(), &mut |p| ticks = p.total - p.done).unwrap();
    let guided = report.guided.unwrap();
    assert_eq!((guided.batch, guided.guided.all_ms.len(), ticks), (3, 7, 1));
    assert!(guided.over_plain() > 0.0 && guided.over_double() > 0.0);
}

/// A size that only files tell is asked for, by its key; so are too few runs and a size that cannot be halved.
#[test]
fn what_is_missing_is_named() {
    let said = |options| bench(options, &Device::flex(), &mut |_| {}).unwrap_err().to_string();
    let text = crate::presets::get("mnist").unwrap();
    let config = RunConfig::parse_with(text, &["data.path=elsewhere".into()]).unwrap();
    let error = said(BenchOptions::new(config));
    assert!(error.contains("data.size") && error.contains("--set"), "{error}");
    let error = said(BenchOptions { runs: 6, ..BenchOptions::new(tiny(&[])) });
    assert!(error.contains("6; expected 7 or more"), "{error}");
    let error = said(BenchOptions::new(tiny(&["data.size=[9, 8]"])));
    assert!(error.contains("data.size") && error.contains("9x8"), "{error}");
}
