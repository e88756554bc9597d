//! Times every op on the CPU beside the same op composed of burn's, at the shapes of `Unet(32, (1, 2, 4))` on 28x28 images.
//!
//! `cargo run --release -p difusi-ops --example ops_bench [batch] [cpu]` (64). With `cpu` (Linux) it counts processor time of all
//! threads instead of time passed, for machines that do other work too: set RAYON_NUM_THREADS=1 with it. Medians; `fwd` on the plain device, `both` a forward
//! and backward pass with autodiff. Compare columns of one run only: times do not carry over to other machines.

#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::{sync::LazyLock, time::Instant};

use burn::tensor::{Device, Distribution, Tensor};
use difusi_ops::{self as ops, AttentionKind, ConvSpec, Groups, composed};

type Op<'a> = &'a dyn Fn(&[Tensor<4>]) -> Tensor<4>;

/// Seconds: time passed, or processor time of all threads.
fn now() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static CPU: LazyLock<bool> = LazyLock::new(|| std::env::args().nth(2).is_some_and(|a| a == "cpu"));
    if !*CPU {
        return START.elapsed().as_secs_f64();
    }
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("schedstat")).ok();
    let nanoseconds = |s: String| s.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    threads.filter_map(spent).filter_map(nanoseconds).sum::<f64>() * 1e-9
}

/// Median milliseconds of the forward pass, and of forward and backward.
fn time(op: Op<'_>, shapes: &[[usize; 4]]) -> (f64, f64) {
    let data: Vec<Tensor<4>> =
        shapes.iter().map(|&s| Tensor::random(s, Distribution::Normal(0.0, 0.5), &Device::flex())).collect();
    let forward = median(|| drop(op(&data)));
    let device = Device::flex().autodiff();
    let both = median(|| {
        let tensors: Vec<_> =
            data.iter().map(|x| Tensor::<4>::from_data(x.to_data(), &device).require_grad()).collect();
        let start = now();
        let grads = op(&tensors).backward();
        let elapsed = now() - start;
        drop(grads);
        ELAPSED.set(elapsed);
    });
    (forward, both)
}

thread_local! {
    /// Seconds that the last run itself found, 0 if it leaves timing to [`median`].
    static ELAPSED: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) };
}

fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            ELAPSED.set(0.0);
            let start = now();
            run();
            let whole = now() - start;
            if ELAPSED.get() > 0.0 { ELAPSED.get() } else { whole }
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2] * 1e3
}

fn row(name: &str, gflop: f64, ours: Op<'_>, burns: Op<'_>, shapes: &[[usize; 4]]) {
    let ((f, b), (sf, sb)) = (time(ours, shapes), time(burns, shapes));
    let rate = |work: f64, ms: f64| if gflop > 0.0 { format!("{:6.0}", work / ms * 1e3) } else { "     -".into() };
    println!(
        "{name:<34} {f:8.2} {} {b:8.2} {} | {sf:8.2} {sb:8.2} | {:5.1}x {:5.1}x",
        rate(gflop, f),
        rate(3.0 * gflop, b),
        sf / f,
        sb / b
    );
}

fn convolutions(batch: usize) {
    // size, in, out, kernel
    let cases = [
        [28, 1, 32, 7],
        [28, 32, 32, 3],
        [28, 64, 32, 3],
        [14, 64, 64, 3],
        [14, 128, 64, 3],
        [7, 128, 128, 3],
        [7, 256, 128, 3],
        [7, 256, 256, 3],
        [28, 64, 64, 3],
        [28, 32, 384, 1],
        [28, 128, 32, 1],
        [14, 128, 32, 1],
        [7, 128, 384, 1],
        [28, 32, 1, 1],
    ];
    for [n, i, o, k] in cases {
        let spec = ConvSpec::same(k);
        let gflop = 2.0 * (batch * n * n * i * o * k * k) as f64 / 1e9;
        let bias = |t: &[Tensor<4>]| Some(t[2].clone().reshape([o]));
        row(
            &format!("conv {k}x{k} {i}->{o} at {n}x{n}"),
            gflop,
            &|t| ops::conv2d(t[0].clone(), t[1].clone(), bias(t), spec),
            &|t| composed::conv2d(t[0].clone(), t[1].clone(), bias(t), spec),
            &[[batch, n, n, i], [o, i, k, k], [1, 1, 1, o]],
        );
    }
}

fn norms(batch: usize) {
    for [n, c] in [[28, 32], [14, 64], [7, 128]] {
        let gain = |t: &[Tensor<4>]| t[1].clone().reshape([c]);
        let pair = |t: &[Tensor<4>]| Some((t[2].clone().reshape([batch, c]), t[3].clone().reshape([batch, c])));
        let shapes = [[batch, n, n, c], [1, 1, 1, c], [batch, 1, 1, c], [batch, 1, 1, c]];
        row(
            &format!("norm, scale, shift, silu {c} at {n}x{n}"),
            0.0,
            &|t| ops::rms_norm_silu(t[0].clone(), gain(t), pair(t), None),
            &|t| composed::rms_norm_silu(t[0].clone(), gain(t), pair(t), None),
            &shapes,
        );
        let affine = |t: &[Tensor<4>]| (gain(t), gain(t));
        row(
            &format!("8 groups, scale, shift, silu {c} at {n}x{n}"),
            0.0,
            &|t| ops::group_norm_silu(t[0].clone(), Groups::new(8), affine(t), pair(t)),
            &|t| composed::group_norm_silu(t[0].clone(), Groups::new(8), affine(t), pair(t)),
            &shapes,
        );
        row(
            &format!("norm {c} at {n}x{n}"),
            0.0,
            &|t| ops::rms_norm(t[0].clone(), gain(t)),
            &|t| composed::rms_norm(t[0].clone(), gain(t)),
            &shapes[..2],
        );
    }
}

fn attentions(batch: usize) {
    let (heads, d) = (4, 32);
    let shape = |t: &[Tensor<4>]| {
        let [b, n, c, _] = t[0].dims();
        (t[0].clone().reshape([b, n, c]), Some(t[1].clone()), heads)
    };
    for (kind, n) in [784, 196, 49]
        .map(|n| (AttentionKind::Linear, n))
        .into_iter()
        .chain([784, 196, 49].map(|n| (AttentionKind::Full, n)))
    {
        let full = if kind == AttentionKind::Full { 4.0 * (batch * heads * n * (n + 4) * d) as f64 / 1e9 } else { 0.0 };
        row(
            &format!("{kind:?} attention, {n} tokens"),
            full,
            &|t| {
                let (qkv, memory, heads) = shape(t);
                ops::self_attention(qkv, memory, heads, kind).unsqueeze_dim(3)
            },
            &|t| {
                let (qkv, memory, heads) = shape(t);
                composed::self_attention(qkv, memory, heads, kind).unsqueeze_dim(3)
            },
            &[[batch, n, 3 * heads * d, 1], [2, heads, 4, d]],
        );
    }
}

fn layouts(batch: usize) {
    let up = [[batch, 14, 14, 64]];
    row(
        "upsample 64 at 14x14",
        0.0,
        &|t| ops::upsample_nearest2(t[0].clone()),
        &|t| composed::upsample_nearest2(t[0].clone()),
        &up,
    );
    let down = [[batch, 28, 28, 32]];
    row(
        "unshuffle 32 at 28x28",
        0.0,
        &|t| ops::pixel_unshuffle2(t[0].clone()),
        &|t| composed::pixel_unshuffle2(t[0].clone()),
        &down,
    );
    let (cat, pair) = (|t: &[Tensor<4>]| ops::cat_channels(t[0].clone(), t[1].clone()), [[batch, 28, 28, 32]; 2]);
    row("join 32 and 32 at 28x28", 0.0, &cat, &cat, &pair);
}

fn main() {
    ops::keep_freed_memory();
    let batch = std::env::args().nth(1).and_then(|b| b.parse().ok()).unwrap_or(64);
    println!("batch {batch}; ms and GFLOP/s: ours forward, ours both | burn forward, burn both | faster by");
    convolutions(batch);
    norms(batch);
    attentions(batch);
    layouts(batch);
}
