//! Which image comes when: a pure function of the seed and of how many images were seen.
//!
//! A finite data set is walked in epochs, each in a random order of its own; the stream of images does not stop at an epoch's
//! end, so every batch is full. An unlimited one is walked by index. Deliberately absent: files, decoding, batches.

use difusi_core::{Draw, Noise};

use crate::TrainConfig;

/// The images an unlimited data set holds out start at this index; training never gets that far.
pub(crate) const HELD_OUT: u64 = 1 << 40;

/// The split of a data set.
#[derive(Debug)]
pub(crate) struct Order {
    noise: Noise,
    source: Source,
    held_out: Vec<u64>,
}

#[derive(Debug)]
enum Source {
    Unlimited,
    /// Indices `0..n`.
    All(u64),
    /// These indices.
    Some(Vec<u64>),
}

impl Order {
    /// The split of `count` images (`u64::MAX`: unlimited). At least one image is left to train on.
    pub(crate) fn new(config: &TrainConfig, count: u64) -> Self {
        let noise = Noise::new(config.seed);
        let none = config.validation <= 0.0;
        let most = config.validation_images;
        if count == u64::MAX {
            let held_out = if none { Vec::new() } else { (HELD_OUT..HELD_OUT + most).collect() };
            return Self { noise, source: Source::Unlimited, held_out };
        }
        let held = if none { 0 } else { ((count as f64 * config.validation).round() as u64).max(1).min(count - 1) };
        if held == 0 {
            return Self { noise, source: Source::All(count), held_out: Vec::new() };
        }
        let mut all: Vec<u64> =
            noise.permutation(Draw::Split, count as usize, 0).into_iter().map(|i| i as u64).collect();
        let mut train = all.split_off(held as usize);
        train.sort_unstable();
        all.truncate(most as usize); // a random part of the held-out images where there are more than one validation reads
        all.sort_unstable();
        Self { noise, source: Source::Some(train), held_out: all }
    }

    /// The images of a validation.
    pub(crate) fn held_out(&self) -> &[u64] {
        &self.held_out
    }

    /// Images per epoch; `None` for an unlimited data set.
    pub(crate) fn epoch_len(&self) -> Option<u64> {
        match &self.source {
            Source::Unlimited => None,
            Source::All(n) => Some(*n),
            Source::Some(v) => Some(v.len() as u64),
        }
    }

    /// A reader of the order.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { order: self, epoch: None, permutation: Vec::new() }
    }
}

/// Reads an [`Order`]; remembers the current epoch's permutation.
pub(crate) struct Cursor<'a> {
    order: &'a Order,
    epoch: Option<u64>,
    permutation: Vec<usize>,
}

impl Cursor<'_> {
    /// The data set's index of the `k`-th image that training sees, from 0.
    pub(crate) fn index(&mut self, k: u64) -> u64 {
        let Some(n) = self.order.epoch_len() else { return k };
        let epoch = k / n;
        if self.epoch != Some(epoch) {
            let step = u32::try_from(epoch).unwrap_or(u32::MAX);
            self.permutation = self.order.noise.permutation(Draw::Shuffle, n as usize, step);
            self.epoch = Some(epoch);
        }
        let at = self.permutation[(k % n) as usize];
        match &self.order.source {
            Source::Some(train) => train[at],
            _ => at as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(count: u64, validation: f64) -> Order {
        Order::new(&TrainConfig { validation, validation_images: 20, seed: 5, ..TrainConfig::default() }, count)
    }

    /// Every epoch shows every training image once, in an order of its own.
    #[test]
    fn epochs_are_permutations() {
        let order = order(50, 0.0);
        let mut cursor = order.cursor();
        let epoch: Vec<Vec<u64>> = (0..3).map(|e| (0..50).map(|k| cursor.index(e * 50 + k)).collect()).collect();
        assert_ne!(epoch[0], epoch[1]);
        assert_ne!(epoch[1], epoch[2]);
        for mut e in epoch {
            e.sort_unstable();
            assert_eq!(e, (0..50).collect::<Vec<_>>());
        }
    }

    /// Where one starts to read changes nothing.
    #[test]
    fn order_has_no_memory() {
        let order = order(17, 0.2);
        let whole: Vec<u64> = (0..100).scan(order.cursor(), |c, k| Some(c.index(k))).collect();
        for k in [99, 3, 41] {
            assert_eq!(order.cursor().index(k), whole[k as usize]);
        }
    }

    /// Held-out images are never trained on, and nothing is lost.
    #[test]
    fn split_is_a_partition() {
        let order = order(50, 0.3);
        assert_eq!((order.held_out().len(), order.epoch_len()), (15, Some(35)));
        let mut all: Vec<u64> = (0..35).scan(order.cursor(), |c, k| Some(c.index(k))).collect();
        all.extend(order.held_out());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn extremes() {
        assert_eq!(order(1000, 0.5).held_out().len(), 20); // validation_images bounds what is read
        assert_eq!(order(1000, 0.5).epoch_len(), Some(500)); // but all of the fraction is held out
        assert_eq!((order(2, 0.01).held_out().len(), order(2, 0.01).epoch_len()), (1, Some(1)));
        assert_eq!((order(1, 0.5).held_out().len(), order(1, 0.5).epoch_len()), (0, Some(1)));
        let unlimited = order(u64::MAX, 0.1);
        assert_eq!((unlimited.held_out()[0], unlimited.held_out().len()), (HELD_OUT, 20));
        assert_eq!(unlimited.cursor().index(123), 123);
    }
}
