//! `difusi bench`: what was measured, for a person or as JSON.

use anyhow::Context;
use difusi::ops::profile::OpTime;
use difusi::{BenchOptions, BenchReport, Device, RunConfig, Timing};

use crate::args::BenchArgs;
use crate::progress::{Progress, span};
use crate::train::config_text;

/// Ops in the table.
const TOP: usize = 15;

pub(crate) fn bench(args: &BenchArgs, device: &Device, json: bool) -> anyhow::Result<()> {
    let (text, name) = config_text(&args.config)?;
    let config = RunConfig::parse_with(&text, &args.overrides).with_context(|| format!("config {}", args.config))?;
    let options = BenchOptions { runs: args.steps as usize, ..BenchOptions::new(config.clone()) };
    let mut progress = None;
    let report = difusi::bench(options, device, &mut |at| {
        progress.get_or_insert_with(|| Progress::new("runs", at.total, 0)).set(at.done, at.stage);
    })?;
    if let Some(bar) = progress {
        bar.finish();
    }
    if json {
        outln!("{}", value(&name, &report));
    } else {
        summary(&name, &config, &report);
        tables(&report);
    }
    Ok(())
}

/// The one object of `--json`.
fn value(name: &str, r: &BenchReport) -> serde_json::Value {
    let [height, width, channels] = r.shape;
    let ops: Vec<_> = r.ops.iter().map(|op| op_value(op, r)).collect();
    serde_json::json!({
        "config": name, "size": [height, width], "channels": channels, "parameters": r.parameters,
        "batch_size": r.images_per_step, "forward_batch": r.forward_batch,
        "precision": r.precision, "forward_precision": r.forward_precision, "threads": r.threads, "unit": r.unit,
        "train_step_ms": r.step.median_ms, "train_step_min_ms": r.step.min_ms, "train_step_max_ms": r.step.max_ms,
        "train_step_all_ms": r.step.all_ms,
        "forward_ms": r.forward.median_ms, "forward_min_ms": r.forward.min_ms, "forward_max_ms": r.forward.max_ms,
        "forward_all_ms": r.forward.all_ms,
        "steps_per_s": r.steps_per_s(), "images_per_s": r.images_per_s(),
        "train_gflop": 1e-9 * r.train_flops, "forward_gflop": 1e-9 * r.forward_flops,
        "gflops": r.gflops(), "forward_gflops": r.forward_gflops(),
        "ceiling_gflops": r.ceiling_gflops, "share": r.share(),
        "train_peak_mib": r.train_peak_mib, "peak_mib": r.peak_mib,
        "run_step_ms": r.prediction.step_ms, "predicted_training_s": r.prediction.training_s,
        "predicted_sampling_s": r.prediction.sampling_s,
        "guidance": r.guided.as_ref().map(|g| serde_json::json!({
            "batch": g.batch, "plain_ms": g.plain.median_ms, "guided_ms": g.guided.median_ms, "double_ms": g.double.median_ms,
            "over_plain": g.over_plain(), "over_double": g.over_double() })),
        "profiled_step_ms": r.profiled_ms, "everything_else_ms": r.everything_else_ms(), "ops": ops,
    })
}

fn op_value(op: &OpTime, r: &BenchReport) -> serde_json::Value {
    let ms = 1e3 * op.seconds;
    serde_json::json!({
        "op": op.op, "shape": op.shape, "calls": op.calls, "ms": ms, "share": ms / r.profiled_ms,
        "gflop": (op.flops > 0.0).then_some(1e-9 * op.flops), "gflops": gflops(op.flops, op.seconds),
    })
}

/// `None` where no operations were counted.
fn gflops(flops: f64, seconds: f64) -> Option<f64> {
    (flops > 0.0 && seconds > 0.0).then_some(1e-9 * flops / seconds)
}

fn summary(name: &str, config: &RunConfig, r: &BenchReport) {
    let [height, width, channels] = r.shape;
    let weights = r.parameters as f64 / 1e6;
    outln!(
        "{name}: {weights:.2} million weights, pictures {height}x{width}x{channels}, {}, {} threads, {}",
        r.precision,
        r.threads,
        r.unit
    );
    let ceiling = r.ceiling_gflops.map_or_else(|| "unknown".to_owned(), |g| format!("{g:.0} GFLOP/s"));
    let share = |gflops: f64| {
        r.ceiling_gflops.map_or_else(String::new, |c| format!(", {:.1} % of the ceiling", 100.0 * gflops / c))
    };
    outln!("training step:  {}, batch {}", spread(&r.step), r.images_per_step);
    outln!("                {:.2} steps/s, {:.1} images/s", r.steps_per_s(), r.images_per_s());
    outln!("                {:.0} GFLOP/s{}", r.gflops(), share(r.gflops()));
    outln!("forward:        {}, batch {}, {}", spread(&r.forward), r.forward_batch, r.forward_precision);
    outln!("                {:.0} GFLOP/s{}", r.forward_gflops(), share(r.forward_gflops()));
    if let Some(g) = &r.guided {
        outln!("guided step:    {}, batch {}", spread(&g.guided), g.batch);
        outln!(
            "                {:.3} of an unguided step, {:.3} of one of {} pictures (medians of {} runs by turns)",
            g.over_plain(),
            g.over_double(),
            2 * g.batch,
            g.guided.all_ms.len()
        );
    }
    outln!("ceiling:        {ceiling}: f32 multiply-adds alone, measured now");
    the_run(config, r);
}

fn the_run(config: &RunConfig, r: &BenchReport) {
    outln!("peak memory:    {} in training, {} in all", mib(r.train_peak_mib), mib(r.peak_mib));
    let p = &r.prediction;
    outln!(
        "the run:        about {} for {} steps of {:.1} ms, {} for drawing",
        span(p.training_s),
        config.train.steps,
        p.step_ms,
        span(p.sampling_s)
    );
    let count = config.task.drawing().map_or(0, |drawing| drawing.count());
    if r.forward_batch < count {
        outln!("note: memory holds {} of sample.count = {count} images at once", r.forward_batch);
    }
    outln!(
        "A training step draws noise, goes forward and backward, clips and applies Adam; EMA is only in the run's steps."
    );
}

fn spread(t: &Timing) -> String {
    format!("{:.1} ms (median; {:.1} to {:.1})", t.median_ms, t.min_ms, t.max_ms)
}

fn mib(peak: Option<f64>) -> String {
    peak.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.0} MiB"))
}

/// The ops whatever their shape, the longest first.
fn by_op(ops: &[OpTime]) -> Vec<OpTime> {
    let mut all: Vec<OpTime> = Vec::new();
    for op in ops {
        match all.iter_mut().find(|sum| sum.op == op.op) {
            Some(sum) => {
                sum.calls += op.calls;
                sum.seconds += op.seconds;
                sum.flops += op.flops;
            }
            None => all.push(OpTime { shape: "all".to_owned(), ..op.clone() }),
        }
    }
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

/// Two tables of one step: the ops in sum, and the longest by shape; each with what is in none of its rows, so that it adds up.
fn tables(r: &BenchReport) {
    let (top, rest) = r.ops.split_at(TOP.min(r.ops.len()));
    let width = top.iter().map(|op| op.shape.len()).max().unwrap_or(0).max(10);
    let line = |op: &str, shape: &str, calls: &str, ms: f64, rate: Option<f64>| {
        let rate = rate.map_or_else(String::new, |g| format!("{g:.0}"));
        let share = 100.0 * ms / r.profiled_ms;
        outln!("{op:26} {shape:width$} {calls:>6} {ms:>9.2} {share:>5.1} % {rate:>8}");
    };
    let table = |ops: &[OpTime]| {
        outln!("{:26} {:width$} {:>6} {:>9} {:>7} {:>8}", "op", "shape", "calls", "ms", "share", "GFLOP/s");
        for op in ops {
            line(op.op, &op.shape, &op.calls.to_string(), 1e3 * op.seconds, gflops(op.flops, op.seconds));
        }
    };
    outln!("\none training step of {:.1} ms, by op:", r.profiled_ms);
    table(&by_op(&r.ops));
    line("everything else", "", "", r.everything_else_ms(), None);
    outln!("\nthe same, the longest by shape:");
    table(top);
    if !rest.is_empty() {
        let calls: u64 = rest.iter().map(|op| op.calls).sum();
        let seconds: f64 = rest.iter().map(|op| op.seconds).sum();
        line(&format!("{} more", rest.len()), "", &calls.to_string(), 1e3 * seconds, None);
    }
    line("everything else", "", "", r.everything_else_ms(), None);
    outln!("Everything else is burn's own ops, copies and work on the host.");
}
