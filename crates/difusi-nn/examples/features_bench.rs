//! Our half of xtask/bench/features_peer.py: times feature networks when told to.
//!
//! Reads lines `NETWORK BATCH` (inception, mnist-cnn or resnet20) and answers each with the milliseconds of one pass over that many
//! images, wall clock and processor time of all threads (0 off Linux); `profile NETWORK BATCH` answers with the time of each op, and
//! `conv TIMES B H W IN OUT KH KW STRIDE PH PW` with the milliseconds of one convolution with its ReLU, the mean of so many.
//! Weights come from a formula that keeps a signal at its size; what they are does not matter here.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use difusi_nn::Weight;
use difusi_nn::features::{FeatureKind, FeatureNetwork, InceptionTap};
use difusi_ops::{Activation, ConvSpec, FixedConv};

#[global_allocator]
static MEMORY: difusi_ops::CacheLines = difusi_ops::CacheLines;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn weights(kind: FeatureKind) -> Vec<Weight> {
    let weight = |p: difusi_nn::ParamInfo| {
        let inner = p.shape.iter().skip(1).product::<usize>() as f32;
        let value = |i: usize| match p.shape.len() {
            1 => 1.0 + ((i * 29 % 64) as f32 - 32.0) / 128.0,
            _ => ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * (6.0 / inner).sqrt(),
        };
        Weight { values: (0..p.count()).map(value).collect(), name: p.name, shape: p.shape }
    };
    kind.parameters().into_iter().map(weight).collect()
}

/// Processor time of all threads in milliseconds. The system counts a thread's up to where it last gave way, so this one does.
fn processor() -> f64 {
    std::thread::sleep(std::time::Duration::from_micros(50));
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let spent = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("schedstat")).ok();
    threads.filter_map(spent).filter_map(|s| s.split(' ').next()?.parse::<f64>().ok()).sum::<f64>() * 1e-6
}

/// What `work` gives, and the milliseconds of one of so many: wall clock, processor time.
fn timed<T>(times: u32, work: impl Fn() -> T) -> (Option<T>, String) {
    let (spent, start) = (processor(), Instant::now());
    let result = (0..times).map(|_| work()).last();
    let (wall, spent) = (start.elapsed().as_secs_f64() * 1e3, processor() - spent);
    (result, format!("{:.3} {:.3}", wall / f64::from(times), spent / f64::from(times)))
}

#[derive(Default)]
struct Bench {
    networks: BTreeMap<&'static str, Box<dyn FeatureNetwork>>,
    images: BTreeMap<(&'static str, usize), Tensor<4>>,
    convs: BTreeMap<[usize; 10], (FixedConv, Tensor<4>)>,
}

impl Bench {
    fn run(&mut self, line: &str) -> Result<String, Failure> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (profile, name, batch) = match words[..] {
            ["conv", times, ..] => return self.conv(times.parse()?, &words[2..]),
            ["profile", name, batch] => (true, name, batch.parse()?),
            [name, batch] => (false, name, batch.parse()?),
            _ => return Err(format!("`{line}` is not `NETWORK BATCH`").into()),
        };
        let kind = FeatureKind::ALL.into_iter().find(|k| k.name() == name).ok_or("no such network")?;
        let device = Device::flex();
        if !self.networks.contains_key(kind.name()) {
            self.networks.insert(kind.name(), kind.load(weights(kind), InceptionTap::Final, &device)?);
        }
        let network = &self.networks[kind.name()];
        let input = network.input();
        let x = self.images.entry((kind.name(), batch)).or_insert_with(|| {
            let [height, width] = input.size;
            Tensor::random([batch, height, width, input.channels], Distribution::Uniform(-1.0, 1.0), &device)
        });
        let look = || {
            let seen = network.look(x.clone());
            let sum: f32 = seen.features.sum().into_scalar();
            sum
        };
        if profile {
            let (_, ops) = difusi_ops::profile::measure(look);
            let row = |o: &difusi_ops::profile::OpTime| {
                let rate = o.flops / o.seconds * 1e-9;
                format!("{:9.2} ms {:5.0} GFLOP/s {:12} {} x{}\n", o.seconds * 1e3, rate, o.op, o.shape, o.calls)
            };
            return Ok(ops.iter().map(row).collect());
        }
        let (sum, told) = timed(1, look);
        if sum.is_some_and(f32::is_finite) { Ok(told) } else { Err("the features are not finite".into()) }
    }

    fn conv(&mut self, times: u32, words: &[&str]) -> Result<String, Failure> {
        let numbers: Vec<usize> = words.iter().map(|w| w.parse()).collect::<Result<_, _>>()?;
        let key: [usize; 10] = numbers.try_into().map_err(|_| "a convolution is ten numbers")?;
        let [batch, height, width, inside, out, kh, kw, stride, ph, pw] = key;
        let (conv, x) = self.convs.entry(key).or_insert_with(|| {
            let random = |shape: [usize; 4]| Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex());
            let spec = ConvSpec { stride, padding: [ph, pw] };
            let bias = Tensor::zeros([out], &Device::flex());
            let conv = FixedConv::new(random([out, inside, kh, kw]), bias, spec, Activation::Relu);
            (conv, random([batch, height, width, inside]))
        });
        Ok(timed(times, || conv.forward(x.clone())).1)
    }
}

fn main() -> Result<(), Failure> {
    difusi_ops::keep_freed_memory();
    // On a thread of the pool, as difusi's programs run.
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build()?.install(|| {
        let mut bench = Bench::default();
        for line in std::io::stdin().lock().lines() {
            let answer = bench.run(&line?)?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{answer}")?;
            out.flush()?;
        }
        Ok(())
    })
}
