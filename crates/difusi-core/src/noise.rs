//! Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! A number depends only on (seed, purpose, image index, step, position): not on the thread, the batch size or what was
//! drawn before. Normals go through `libm`, so they are the same bits on every platform. No global state.

use std::ops::Range;

/// What random numbers are for; two purposes never share a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Draw {
    /// Initial weights of a network.
    Weights = 0,
    /// Order of the training images.
    Shuffle = 1,
    /// Which images are held out for validation.
    Split = 2,
    /// Horizontal flips and other augmentation.
    Augment = 3,
    /// Training times t.
    Time = 4,
    /// Training noise epsilon.
    Target = 5,
    /// Dropout masks.
    Dropout = 6,
    /// Whether a training step self-conditions.
    SelfCondition = 7,
    /// x_T, where sampling starts.
    Init = 8,
    /// Noise a stochastic solver adds.
    Solver = 9,
    /// Synthetic data.
    Synthetic = 10,
    /// Dropout of the condition (classifier-free guidance).
    CondDropout = 11,
    /// Validation times and noise.
    Validation = 12,
    /// Forward-process demonstrations.
    Forward = 13,
    /// Noise of the forward process where a bound is evaluated; steps count its times.
    Bound = 14,
    /// Those times.
    BoundTime = 15,
    /// Probes of a Jacobian's trace.
    Probe = 16,
    /// What makes bytes continuous.
    Dequantise = 17,
    /// The known part of an edited picture.
    Known = 18,
    /// Subsets of pictures that are measured.
    Subset = 19,
}

/// A seeded source of random numbers. `Copy`: it has no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    seed: u64,
}

impl Noise {
    /// All numbers of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The stream of one purpose for one image (or epoch, or tensor) at one step. `index` is below 2^56.
    pub fn stream(self, draw: Draw, index: u64, step: u32) -> Stream {
        let (low, high) = (index as u32, ((index >> 32) as u32) << 8 | draw as u32);
        Stream {
            key: [self.seed as u32, (self.seed >> 32) as u32],
            counter: [0, step, low, high],
            buffer: [0; 4],
            used: 4,
        }
    }

    /// A further seed, independent of this one for each `(draw, index, step)`.
    pub fn derive(self, draw: Draw, index: u64, step: u32) -> Self {
        let mut s = self.stream(draw, index, step);
        Self { seed: u64::from(s.next_u32()) | u64::from(s.next_u32()) << 32 }
    }

    /// Standard normals for the images `indices`, `per_image` numbers each, in order: `[indices.len() * per_image]`.
    pub fn normal(self, draw: Draw, indices: Range<u64>, step: u32, per_image: usize) -> Vec<f32> {
        indices
            .flat_map(|i| {
                let mut s = self.stream(draw, i, step);
                (0..per_image).map(move |_| s.normal())
            })
            .collect()
    }

    /// A random order of `0..n` (Fisher-Yates).
    pub fn permutation(self, draw: Draw, n: usize, step: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        let mut s = self.stream(draw, 0, step);
        for i in (1..n).rev() {
            order.swap(i, s.below(i as u64 + 1) as usize);
        }
        order
    }
}

/// One stream of numbers; see [`Noise::stream`].
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    counter: [u32; 4],
    buffer: [u32; 4],
    used: usize,
}

impl Stream {
    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.buffer = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.buffer[self.used - 1]
    }

    /// Uniform in `[0, 1)` with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform integer in `0..n`; 0 where `n` is 0. The bias is below `n / 2^64`.
    pub fn below(&mut self, n: u64) -> u64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        ((u128::from(bits) * u128::from(n)) >> 64) as u64
    }

    /// A standard normal (Box-Muller: one number per pair of uniforms is kept, so that position i needs words 2i, 2i+1).
    pub fn normal(&mut self) -> f32 {
        let radius = (f64::from(self.next_u32()) + 1.0) / 4_294_967_296.0;
        let angle = f64::from(self.next_u32()) / 4_294_967_296.0 * std::f64::consts::TAU;
        (libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(angle)) as f32
    }
}

/// Philox4x32 with ten rounds.
fn philox(mut c: [u32; 4], mut k: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(c[0]) * 0xD251_1F53;
        let b = u64::from(c[2]) * 0xCD9E_8D57;
        c = [(b >> 32) as u32 ^ c[1] ^ k[0], b as u32, (a >> 32) as u32 ^ c[3] ^ k[1], a as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    /// Splitting a batch changes no number.
    #[test]
    fn batches_split() {
        let n = Noise::new(7);
        let whole = n.normal(Draw::Init, 0..4, 3, 10);
        let parts = [n.normal(Draw::Init, 0..1, 3, 10), n.normal(Draw::Init, 1..4, 3, 10)].concat();
        assert_eq!(whole, parts);
    }

    /// Mean 0, variance 1, kurtosis 3.
    #[test]
    fn normals_are_normal() {
        let v = Noise::new(1).normal(Draw::Target, 0..100, 0, 2000);
        let moment = |p: i32| v.iter().map(|x| f64::from(*x).powi(p)).sum::<f64>() / v.len() as f64;
        assert!(moment(1).abs() < 0.01 && (moment(2) - 1.0).abs() < 0.02 && (moment(4) - 3.0).abs() < 0.1);
    }

    /// Seeds, purposes, images and steps have streams of their own.
    #[test]
    fn streams_differ() {
        let first = |seed, draw, i, s| Noise::new(seed).stream(draw, i, s).next_u32();
        let all = [
            first(0, Draw::Init, 0, 0),
            first(1, Draw::Init, 0, 0),
            first(0, Draw::Solver, 0, 0),
            first(0, Draw::Init, 1, 0),
            first(0, Draw::Init, 1 << 40, 0),
            first(0, Draw::Init, 0, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b));
        }
    }

    #[test]
    fn permutations_permute() {
        let mut p = Noise::new(3).permutation(Draw::Shuffle, 100, 0);
        assert_ne!(p, (0..100).collect::<Vec<_>>());
        p.sort_unstable();
        assert_eq!(p, (0..100).collect::<Vec<_>>());
    }
}
