//! The normals of `torch.Generator("cpu").manual_seed(seed)`: Mersenne Twister (Matsumoto & Nishimura 1998, mt19937) and the two
//! ways in which PyTorch's CPU `randn` turns its bits into f32 normals.
//!
//! Equal to PyTorch up to the last bits of its vectorised logarithm and cosine (about 1e-6). Deliberately absent: CUDA's Philox,
//! other distributions, other types.

/// State length of mt19937.
const N: usize = 624;
/// Distance of the twist.
const M: usize = 397;
/// PyTorch fills and transforms this many numbers together.
const BLOCK: usize = 16;

/// PyTorch's CPU generator.
#[derive(Clone, Debug)]
pub struct TorchRng {
    state: [u32; N],
    position: usize,
    /// Second normal of the last scalar pair, kept for the next scalar draw.
    spare: Option<f64>,
}

impl TorchRng {
    /// As `torch.Generator("cpu").manual_seed(seed)`; like PyTorch's it uses the seed's low 32 bits.
    pub fn manual_seed(seed: u64) -> Self {
        let mut state = [seed as u32; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
        Self { state, position: N, spare: None }
    }

    /// As `torch.randn(count, generator=self)`, or of any shape with `count` elements.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.scalar_normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        values.chunks_exact_mut(BLOCK).for_each(box_muller);
        if !count.is_multiple_of(BLOCK) {
            let tail = &mut values[count - BLOCK..]; // drawn anew, overlapping the block before
            tail.fill_with(|| self.uniform_f32());
            box_muller(tail);
        }
        values
    }

    /// As `torch.randn(b, c, h, w)`, rearranged to `[B, H, W, C]`; `shape` is `[B, H, W, C]`.
    pub fn randn_channels_last(&mut self, shape: [usize; 4]) -> Vec<f32> {
        let [b, h, w, c] = shape;
        let planes = self.randn(b * c * h * w); // [B, C, H W]
        let (images, pixels) = (0..b, h * w);
        let planes = &planes;
        images
            .flat_map(|b| (0..pixels).flat_map(move |p| (0..c).map(move |c_| planes[(b * c + c_) * pixels + p])))
            .collect()
    }

    fn next_u32(&mut self) -> u32 {
        if self.position == N {
            self.twist();
        }
        let mut y = self.state[self.position];
        self.position += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.position = 0;
    }

    /// 24 bits in [0, 1).
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// 53 bits in [0, 1).
    fn uniform_f64(&mut self) -> f64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        (bits & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }

    fn scalar_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let (radius, angle) = ((-2.0 * (-u2).ln_1p()).sqrt(), std::f64::consts::TAU * u1);
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// 16 uniforms to 16 normals: number j and number j + 8 make a pair.
fn box_muller(block: &mut [f32]) {
    let (low, high) = block.split_at_mut(BLOCK / 2);
    for (a, b) in low.iter_mut().zip(high) {
        let (radius, angle) = ((-2.0 * (1.0 - *a).ln()).sqrt(), std::f32::consts::TAU * *b);
        (*a, *b) = (radius * angle.cos(), radius * angle.sin());
    }
}
