//! Random images where a benchmark has no data.

use std::error::Error;

use difusi_core::{Dataset, Draw, Example, Noise, Stream, pixels};

/// How many there are at most: enough that a batch is not one picture.
const COUNT: usize = 64;
/// Bytes they may take: few enough to weigh nothing.
const BYTES: usize = 8 << 20;

/// Uniform bytes, as a data set of bytes in memory.
pub(super) struct RandomImages {
    bytes: Vec<u8>,
    shape: [usize; 3],
    count: usize,
}

impl RandomImages {
    /// Images of `shape` `[H, W, C]`.
    pub(super) fn new(shape: [usize; 3], seed: u64) -> Self {
        let mut stream = Noise::new(seed).stream(Draw::Augment, 0, 0);
        let size = shape.iter().product::<usize>();
        let count = (BYTES / size.max(1)).clamp(1, COUNT);
        let bytes = std::iter::repeat_with(|| stream.next_u32().to_le_bytes()).flatten().take(count * size).collect();
        Self { bytes, shape, count }
    }
}

impl Dataset for RandomImages {
    fn count(&self) -> u64 {
        self.count as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> Option<u32> {
        None
    }

    fn get(&self, index: u64, _: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        let size = self.shape.iter().product::<usize>();
        let bytes = &self.bytes[(index % self.count()) as usize * size..][..size];
        Ok(Example { pixels: bytes.iter().map(|&b| pixels::from_byte(b)).collect(), label: None })
    }
}
