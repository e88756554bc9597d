//! Mean and covariance of a stream of features, in f64, by blocks.
//!
//! Rows are gathered to blocks of a fixed number, however they arrive, and each block is centred on its own mean and merged (Chan, Golub,
//! LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1): no cancellation, one matrix product per block, the same bits
//! at any number of threads and any size of batch. Memory is D x D numbers, whatever the number of rows.

use rayon::prelude::*;

use crate::linalg::add_inner;
use crate::{Gaussian, MetricsError};

/// Rows of a block.
const BLOCK: usize = 512;
/// Side of the tiles in which threads share the matrix.
const TILE: usize = 256;

/// Mean and covariance of what has been seen so far.
#[derive(Clone, Debug)]
pub struct Moments {
    dim: usize,
    /// Rows merged.
    count: u64,
    mean: Vec<f64>,
    /// Sums of products of centred features: the lower half, by tiles.
    tiles: Vec<Tile>,
    /// Rows that do not fill a block yet.
    waiting: Vec<f32>,
}

#[derive(Clone, Debug)]
struct Tile {
    /// First and number.
    rows: (usize, usize),
    columns: (usize, usize),
    sums: Vec<f64>,
}

impl Moments {
    /// Nothing yet, of `dim` features (at least 1).
    pub fn new(dim: usize) -> Self {
        let dim = dim.max(1);
        let cuts: Vec<(usize, usize)> = (0..dim).step_by(TILE).map(|i| (i, TILE.min(dim - i))).collect();
        let pairs =
            cuts.iter().enumerate().flat_map(|(i, &rows)| cuts[..=i].iter().map(move |&columns| (rows, columns)));
        let tile = |(rows, columns): ((usize, usize), (usize, usize))| Tile {
            rows,
            columns,
            sums: vec![0.0; rows.1 * columns.1],
        };
        Self { dim, count: 0, mean: vec![0.0; dim], tiles: pairs.map(tile).collect(), waiting: Vec::new() }
    }

    /// Features of each row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows seen.
    pub fn count(&self) -> u64 {
        self.count + (self.waiting.len() / self.dim) as u64
    }

    /// Sees rows `[N * D]`, whole ones.
    pub fn push(&mut self, mut rows: &[f32]) {
        let block = BLOCK * self.dim;
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(block - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            rows = later;
            if self.waiting.len() == block {
                self.merge();
            }
        }
    }

    /// What has been seen: mean, and covariance with N - 1.
    ///
    /// # Errors
    /// Fewer than two rows.
    pub fn finish(mut self) -> Result<Gaussian, MetricsError> {
        self.merge();
        if self.count < 2 {
            return Err(MetricsError::value("the number of pictures", self.count, "at least 2, to have a covariance"));
        }
        let (dim, scale) = (self.dim, 1.0 / (self.count - 1) as f64);
        let mut covariance = vec![0.0; dim * dim];
        for tile in &self.tiles {
            for (i, row) in tile.sums.chunks_exact(tile.columns.1).enumerate() {
                for (j, sum) in row.iter().enumerate() {
                    let (i, j) = (tile.rows.0 + i, tile.columns.0 + j);
                    covariance[i * dim + j] = sum * scale;
                    covariance[j * dim + i] = sum * scale;
                }
            }
        }
        Gaussian::new(self.mean, covariance)
    }

    /// Merges what waits. The distance of the means is one more row of the product.
    fn merge(&mut self) {
        let (dim, rows) = (self.dim, self.waiting.len() / self.dim);
        if rows == 0 {
            return;
        }
        let mut mean = vec![0.0; dim];
        for row in self.waiting.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
        mean.iter_mut().for_each(|sum| *sum /= rows as f64);
        let mut centred: Vec<f64> = Vec::with_capacity((rows + 1) * dim);
        for row in self.waiting.chunks_exact(dim) {
            centred.extend(row.iter().zip(&mean).map(|(v, m)| f64::from(*v) - m));
        }
        let (before, added) = (self.count as f64, rows as f64);
        let root = (before * added / (before + added)).sqrt();
        centred.extend(mean.iter().zip(&self.mean).map(|(new, old)| (new - old) * root));
        self.tiles.par_iter_mut().for_each(|t| add_inner(&centred, dim, t.rows, t.columns, &mut t.sums));
        let share = added / (before + added);
        self.mean.iter_mut().zip(&mean).for_each(|(old, new)| *old += (new - *old) * share);
        self.count += rows as u64;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;

    fn rows(count: u64, dim: usize) -> Vec<f32> {
        let noise = Noise::new(3).normal(Draw::Synthetic, 0..count, 0, dim);
        noise.iter().enumerate().map(|(i, v)| 100.0 + v * (i % dim) as f32).collect()
    }

    /// The two-pass formula, over two tiles and three blocks with a rest.
    #[test]
    fn as_by_definition() {
        let (n, d) = (1100, 300);
        let x = rows(n, d);
        let mut m = Moments::new(d);
        m.push(&x);
        assert_eq!(m.count(), n);
        let found = m.finish().unwrap();
        let at = |i: usize, j: usize| f64::from(x[i * d + j]);
        let mean = |j: usize| (0..n as usize).map(|i| at(i, j)).sum::<f64>() / n as f64;
        for (a, b) in [(0, 0), (3, 3), (299, 299), (299, 1), (1, 299), (255, 256), (17, 200)] {
            let (ma, mb) = (mean(a), mean(b));
            let c = (0..n as usize).map(|i| (at(i, a) - ma) * (at(i, b) - mb)).sum::<f64>() / (n - 1) as f64;
            assert!((found.covariance()[a * d + b] - c).abs() < 1e-9 * (1.0 + c.abs()), "{a} {b}");
            assert!((found.mean()[a] - ma).abs() < 1e-10);
        }
    }

    /// How the stream is cut, and how many threads there are, changes no bit.
    #[test]
    fn bits_do_not_depend_on_batches_or_threads() {
        let (n, d) = (1300, 270);
        let x = rows(n, d);
        let with = |threads: usize, batch: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut m = Moments::new(d);
                x.chunks(batch * d).for_each(|rows| m.push(rows));
                m.finish().unwrap()
            })
        };
        let one = with(1, 1300);
        assert_eq!(one, with(3, 7));
        assert_eq!(one, with(2, 600));
    }

    #[test]
    fn one_picture_has_no_covariance() {
        let mut m = Moments::new(4);
        m.push(&[1.0; 4]);
        assert!(m.finish().unwrap_err().to_string().contains("at least 2"));
    }
}
