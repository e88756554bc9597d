//! Batches, prepared ahead by one background thread.
//!
//! Images of a batch are made in parallel; the order of a batch and every number in it are those of a serial reader.
//! Deliberately absent: what the images are and where they come from ([`Dataset`]) and their order ([`Order`]).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Batch, Cond, Dataset, Draw, Example, Noise};
use rayon::prelude::*;

use crate::TrainError;
use crate::order::Order;

/// Batches that wait at most.
const AHEAD: usize = 2;

/// A batch in host memory.
#[derive(Debug)]
pub(crate) struct HostBatch {
    pixels: Vec<f32>,
    labels: Option<Vec<u32>>,
    shape: [usize; 3],
    pub(crate) first_image: u64,
    pub(crate) count: usize,
}

impl HostBatch {
    /// The images at `indices`, the `i`-th augmented with the stream of image `first_image + i`.
    pub(crate) fn read(
        data: &dyn Dataset,
        indices: &[u64],
        first_image: u64,
        noise: Noise,
    ) -> Result<Self, TrainError> {
        let shape = data.shape();
        let one = |(i, &index): (usize, &u64)| -> Result<Example, TrainError> {
            let mut stream = noise.stream(Draw::Augment, first_image + i as u64, 0);
            let example = data.get(index, &mut stream).map_err(|source| TrainError::Data { index, source })?;
            let expected = shape.iter().product::<usize>();
            if example.pixels.len() != expected {
                let got = format!("{} values", example.pixels.len());
                return Err(TrainError::Example { index, got, expected: format!("{expected} ({shape:?})") });
            }
            Ok(example)
        };
        // Collected one by one, so that of several errors the first image's is reported.
        let examples: Vec<Result<Example, TrainError>> = indices.par_iter().enumerate().map(one).collect();
        let mut pixels = Vec::with_capacity(indices.len() * shape.iter().product::<usize>());
        let mut labels = Vec::new();
        for (example, &index) in examples.into_iter().zip(indices) {
            let example = example?;
            pixels.extend_from_slice(&example.pixels);
            match (example.label, data.classes()) {
                (Some(label), Some(classes)) if label < classes => labels.push(label),
                (_, None) => {}
                (label, Some(classes)) => {
                    let got = label.map_or("no label".to_owned(), |l| format!("label {l}"));
                    return Err(TrainError::Example { index, got, expected: format!("a label below {classes}") });
                }
            }
        }
        let labels = data.classes().map(|_| labels);
        Ok(Self { pixels, labels, shape, first_image, count: indices.len() })
    }

    /// The batch as tensors on `device`.
    pub(crate) fn into_batch(self, device: &Device) -> Batch {
        let [h, w, c] = self.shape;
        let x = Tensor::from_data(TensorData::new(self.pixels, [self.count, h, w, c]), device); // [B, H, W, C]
        Batch { x, cond: self.labels.map_or(Cond::None, Cond::labels) }
    }
}

/// What a loader reads.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) data: Arc<dyn Dataset>,
    pub(crate) order: Arc<Order>,
    pub(crate) noise: Noise,
    /// Sizes of the batches, over and over.
    pub(crate) sizes: Vec<usize>,
}

/// The background thread and its queue. Dropping it stops the thread.
pub(crate) struct Loader {
    queue: Option<Receiver<Result<HostBatch, TrainError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Starts reading at image `first_image`, where a new round of `sizes` begins.
    pub(crate) fn start(reading: Reading, first_image: u64) -> Result<Self, TrainError> {
        let (to, queue) = sync_channel(AHEAD);
        let thread =
            std::thread::Builder::new().name("difusi-data".into()).spawn(move || run(&reading, first_image, &to));
        Ok(Self { queue: Some(queue), thread: Some(thread.map_err(|_| TrainError::Reader)?) })
    }

    /// The next batch.
    pub(crate) fn next(&self) -> Result<HostBatch, TrainError> {
        self.queue.as_ref().and_then(|q| q.recv().ok()).unwrap_or(Err(TrainError::Reader))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.queue = None; // the thread's next send fails, and it returns
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of the data set has been reported as an error already
        }
    }
}

fn run(reading: &Reading, first_image: u64, to: &SyncSender<Result<HostBatch, TrainError>>) {
    let mut cursor = reading.order.cursor();
    let mut image = first_image;
    for &size in reading.sizes.iter().cycle() {
        let indices: Vec<u64> = (image..image + size as u64).map(|k| cursor.index(k)).collect();
        let batch = HostBatch::read(reading.data.as_ref(), &indices, image, reading.noise);
        let failed = batch.is_err();
        if to.send(batch).is_err() || failed {
            return;
        }
        image += size as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use difusi_core::Stream;

    use super::*;
    use crate::TrainConfig;

    /// Every pixel tells the image's index, its augmentation and how often the set was asked.
    struct Numbers {
        bad: u64,
        asked: AtomicU64,
    }

    impl Dataset for Numbers {
        fn count(&self) -> u64 {
            10
        }

        fn shape(&self) -> [usize; 3] {
            [1, 1, 2]
        }

        fn classes(&self) -> Option<u32> {
            Some(10)
        }

        fn get(&self, index: u64, augment: &mut Stream) -> Result<Example, Box<dyn std::error::Error + Send + Sync>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if index == self.bad {
                return Err("img/7.png: truncated".into());
            }
            Ok(Example { pixels: vec![index as f32, augment.uniform() as f32], label: Some(index as u32) })
        }
    }

    fn reading(bad: u64, sizes: &[usize]) -> Reading {
        let order = Arc::new(Order::new(&TrainConfig::default(), 10));
        Reading {
            data: Arc::new(Numbers { bad, asked: AtomicU64::new(0) }),
            order,
            noise: Noise::new(3),
            sizes: sizes.to_vec(),
        }
    }

    fn pixels(sizes: &[usize], from: u64, images: usize) -> Vec<f32> {
        let loader = Loader::start(reading(99, sizes), from).unwrap();
        let mut all = Vec::new();
        while all.len() < 2 * images {
            let batch = loader.next().unwrap();
            assert_eq!(batch.labels.as_ref().unwrap().len(), batch.count);
            all.extend(batch.pixels);
        }
        all.truncate(2 * images);
        all
    }

    /// How batches are cut, and where reading begins, changes no image.
    #[test]
    fn cutting_changes_nothing() {
        let whole = pixels(&[8], 0, 24);
        assert_eq!(whole, pixels(&[3, 3, 2], 0, 24));
        assert_eq!(whole[16..], pixels(&[3, 3, 2], 8, 16));
    }

    #[test]
    fn errors_keep_the_data_sets_words() {
        let loader = Loader::start(reading(7, &[10]), 0).unwrap();
        let e = loader.next().unwrap_err();
        assert_eq!(e.to_string(), "image 7 of the data set: img/7.png: truncated");
        assert!(matches!(loader.next(), Err(TrainError::Reader)));
    }

    /// The thread stops when the loader goes, and it had not run away.
    #[test]
    fn the_queue_is_bounded() {
        let r = reading(99, &[5]);
        let data = Arc::new(Numbers { bad: 99, asked: AtomicU64::new(0) });
        let loader = Loader::start(Reading { data: data.clone(), ..r }, 0).unwrap();
        loader.next().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(loader);
        assert!(data.asked.load(Ordering::Relaxed) <= 5 * (1 + AHEAD as u64 + 2));
        assert_eq!(Arc::strong_count(&data), 1);
    }
}
