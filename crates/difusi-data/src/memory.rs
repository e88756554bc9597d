//! A data set that lies decoded in memory, one byte per value.

use std::error::Error;

use difusi_core::{Dataset, Example, ImageSize, Stream, pixels};
use rayon::prelude::*;

use crate::{DataError, resize};

/// Images of one shape as bytes, with labels where there are some.
#[derive(Clone, Debug)]
pub struct InMemory {
    bytes: Vec<u8>,
    shape: [usize; 3],
    labels: Option<Vec<u32>>,
    classes: u32,
    flip: bool,
}

impl InMemory {
    /// `bytes` is `[N, H, W, C]` for `shape` `[H, W, C]`; `labels` is `[N]`, below `classes`.
    pub(crate) fn new(bytes: Vec<u8>, shape: [usize; 3], labels: Option<Vec<u32>>, classes: u32) -> Self {
        Self { bytes, shape, labels, classes, flip: false }
    }

    pub(crate) fn with_flip(self, flip: bool) -> Self {
        Self { flip, ..self }
    }

    /// Centre-crops and resizes every image; nothing happens where the size is right already.
    pub(crate) fn with_size(mut self, size: Option<ImageSize>) -> Self {
        let [h, w, c] = self.shape;
        let Some(size) = size.filter(|s| [s.height, s.width] != [h, w]) else { return self };
        let resized: Vec<Vec<u8>> =
            self.bytes.par_chunks_exact(h * w * c).map(|b| resize::bytes(b, [h, w, c], size)).collect();
        self.bytes = resized.concat();
        self.shape = [size.height, size.width, c];
        self
    }

    /// `[N, H, W, C]`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `[N]`, where the set has labels.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }
}

impl Dataset for InMemory {
    fn count(&self) -> u64 {
        (self.bytes.len() / self.shape.iter().product::<usize>()) as u64
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> Option<u32> {
        self.labels.as_ref().map(|_| self.classes)
    }

    fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn Error + Send + Sync>> {
        let count = self.count();
        if index >= count {
            return Err(DataError::Index { index, count }.into());
        }
        let (i, size) = (index as usize, self.shape.iter().product::<usize>());
        let pixels = to_floats(&self.bytes[i * size..][..size], self.shape, self.flip, augment);
        Ok(Example { pixels, label: self.labels.as_ref().map(|l| l[i]) })
    }
}

/// Bytes `[H, W, C]` to `[-1, 1]`, mirrored left to right in half the cases when `flip` is set.
pub(crate) fn to_floats(bytes: &[u8], shape: [usize; 3], flip: bool, augment: &mut Stream) -> Vec<f32> {
    let [_, w, c] = shape;
    if flip && augment.next_u32() & 1 == 1 {
        let mirrored = |row: &[u8]| -> Vec<f32> {
            (0..w * c).map(|i| pixels::from_byte(row[(w - 1 - i / c) * c + i % c])).collect()
        };
        bytes.chunks_exact(w * c).flat_map(mirrored).collect()
    } else {
        bytes.iter().map(|&v| pixels::from_byte(v)).collect()
    }
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;

    /// A flip keeps pixels whole (channels in order), happens in about half the cases, and not at all when off.
    #[test]
    fn flips() {
        let set = InMemory::new(vec![1, 2, 3, 4, 5, 6], [1, 2, 3], None, 0);
        let back = |s: &InMemory, i| -> Vec<u8> {
            let e = s.get(0, &mut Noise::new(0).stream(Draw::Augment, i, 0)).unwrap();
            e.pixels.iter().map(|v| pixels::to_byte(*v)).collect()
        };
        assert!((0..50).all(|i| back(&set, i) == [1, 2, 3, 4, 5, 6]));
        let set = set.with_flip(true);
        let flipped = (0..1000).filter(|i| back(&set, *i) == [4, 5, 6, 1, 2, 3]).count();
        let straight = (0..1000).filter(|i| back(&set, *i) == [1, 2, 3, 4, 5, 6]).count();
        assert_eq!(flipped + straight, 1000);
        assert!((400..600).contains(&flipped), "{flipped}");
    }

    #[test]
    fn beyond_the_end_is_an_error() {
        let set = InMemory::new(vec![0; 4], [2, 2, 1], Some(vec![3]), 10);
        assert_eq!((set.count(), set.classes()), (1, Some(10)));
        let e = set.get(1, &mut Noise::new(0).stream(Draw::Augment, 0, 0)).unwrap_err();
        assert_eq!(e.to_string(), "image 1 does not exist; the data set has 1");
    }
}
