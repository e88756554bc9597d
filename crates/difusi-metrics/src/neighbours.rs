//! Nearest neighbours among features or pixels, by Euclidean distance, and how far pictures are from one another.
//!
//! Distances come from products of blocks, $|a|^2 + |b|^2 - 2 a^T b$; what is kept, and what is close, is computed again from the
//! differences, so that a picture is at distance 0 from its copy. Memory is a block and the neighbours kept.

use rayon::prelude::*;

use crate::linalg::times_transposed;
use crate::{Features, MetricsError};

/// Rows asked for at a time, and rows they are held against.
const QUERIES: usize = 128;
const BASE: usize = 512;
/// Below this part of the squared lengths a distance is taken from the differences.
const CLOSE: f64 = 1e-6;

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its number in the order in which neighbours were pushed.
    pub index: u64,
    /// Euclidean distance.
    pub distance: f64,
}

/// Looks for the nearest of a stream of rows.
#[derive(Clone, Debug)]
pub struct Nearest {
    dim: usize,
    keep: usize,
    queries: Vec<f32>,
    wide: Vec<f64>,
    lengths: Vec<f64>,
    /// Of each query, (squared distance, index), nearest first.
    found: Vec<Vec<(f64, u64)>>,
    seen: u64,
    /// Query i is row `own + i` of the stream, and no neighbour of itself.
    own: Option<u64>,
}

impl Nearest {
    /// For each row of `queries`, the `keep` nearest.
    pub fn new(queries: Features<'_>, keep: usize) -> Self {
        let (dim, wide) = (queries.dim(), widened(queries.values()));
        Self {
            dim,
            keep,
            lengths: lengths(&wide, dim),
            queries: queries.values().to_vec(),
            wide,
            found: vec![Vec::new(); queries.count()],
            seen: 0,
            own: None,
        }
    }

    /// Looks through further rows `[N * D]`, whole ones; several at a time are faster.
    pub fn push(&mut self, rows: &[f32]) {
        for block in rows.chunks(BASE * self.dim) {
            self.block(block);
        }
    }

    fn block(&mut self, rows: &[f32]) {
        let dim = self.dim;
        let (wide, count) = (widened(rows), rows.len() / dim);
        let (base, mut products) = (lengths(&wide, dim), Vec::new());
        times_transposed(&self.wide, &wide, dim, &mut products);
        for (q, row) in products.chunks_exact(count).enumerate() {
            let (length, query) = (self.lengths[q], &self.queries[q * dim..(q + 1) * dim]);
            let found = &mut self.found[q];
            for (i, product) in row.iter().enumerate() {
                let index = self.seen + i as u64;
                let (scale, mut d) = (length + base[i], length + base[i] - 2.0 * product);
                let bound = if found.len() < self.keep { f64::INFINITY } else { found[self.keep - 1].0 };
                // Rounding of the products is far below this margin.
                if d > bound + CLOSE * CLOSE * scale || self.own.is_some_and(|own| own + q as u64 == index) {
                    continue;
                }
                d = squared(query, &rows[i * dim..(i + 1) * dim]);
                let at = found.partition_point(|(other, _)| *other <= d);
                found.insert(at, (d, index));
                found.truncate(self.keep);
            }
        }
        self.seen += count as u64;
    }

    /// Neighbours of each query, nearest first; of equal distances the earlier.
    pub fn finish(&self) -> Vec<Vec<Neighbour>> {
        let told = |(d, index): &(f64, u64)| Neighbour { index: *index, distance: d.sqrt() };
        self.found.iter().map(|found| found.iter().map(told).collect()).collect()
    }
}

/// The squared distance of each row to its `k`-th nearest other row.
pub(crate) fn radii(rows: Features<'_>, k: usize) -> Vec<f64> {
    let of = |(i, queries): (usize, &[f32])| {
        let mut search = Nearest::new(Features::new(queries, rows.dim()).unwrap_or(rows), k);
        search.own = Some((i * QUERIES) as u64);
        search.push(rows.values());
        search.found.iter().map(|f| f.last().map_or(f64::INFINITY, |last| last.0)).collect::<Vec<_>>()
    };
    rows.values().par_chunks(QUERIES * rows.dim()).enumerate().flat_map_iter(of).collect()
}

/// How many of `queries` are within the ball around any row of `centres`, whose squared radii are given.
pub(crate) fn covered(queries: Features<'_>, centres: Features<'_>, radii: &[f64]) -> usize {
    let dim = queries.dim();
    let of = |part: &[f32]| {
        let wide = widened(part);
        let (own, mut inside, mut products) = (lengths(&wide, dim), vec![false; part.len() / dim], Vec::new());
        for (block, radii) in centres.values().chunks(BASE * dim).zip(radii.chunks(BASE)) {
            let base = widened(block);
            let lengths = lengths(&base, dim);
            times_transposed(&wide, &base, dim, &mut products);
            for (q, row) in
                products.chunks_exact(radii.len()).enumerate().filter(|(q, _)| !inside[*q]).collect::<Vec<_>>()
            {
                let query = &part[q * dim..(q + 1) * dim];
                inside[q] = row.iter().enumerate().any(|(i, product)| {
                    let (scale, d) = (own[q] + lengths[i], own[q] + lengths[i] - 2.0 * product);
                    if (d - radii[i]).abs() > CLOSE * scale {
                        return d < radii[i];
                    }
                    squared(query, &block[i * dim..(i + 1) * dim]) <= radii[i]
                });
            }
        }
        inside.into_iter().filter(|inside| *inside).count()
    };
    queries.values().par_chunks(QUERIES * dim).map(of).sum()
}

/// Mean distance of two different rows: how different pictures are from one another. Takes N^2 / 2 distances.
///
/// # Errors
/// Fewer than two rows.
pub fn mean_pairwise_distance(rows: Features<'_>) -> Result<f64, MetricsError> {
    let (n, dim) = (rows.count(), rows.dim());
    if n < 2 {
        return Err(MetricsError::value("the number of pictures", n, "at least 2, to have distances"));
    }
    let of = |(i, part): (usize, &[f32])| {
        let wide = widened(part);
        let (own, first, mut products, mut sum) = (lengths(&wide, dim), i * QUERIES, Vec::new(), 0.0);
        for (b, block) in rows.values()[..first * dim + part.len()].chunks(BASE * dim).enumerate() {
            let base = widened(block);
            let lengths = lengths(&base, dim);
            times_transposed(&wide, &base, dim, &mut products);
            for (q, row) in products.chunks_exact(lengths.len()).enumerate() {
                let before = (first + q).saturating_sub(b * BASE).min(row.len());
                for (j, product) in row[..before].iter().enumerate() {
                    let (scale, d) = (own[q] + lengths[j], own[q] + lengths[j] - 2.0 * product);
                    let close = d < CLOSE * scale;
                    let d = if close { squared(&part[q * dim..][..dim], &block[j * dim..][..dim]) } else { d };
                    sum += d.sqrt();
                }
            }
        }
        sum
    };
    let sums: Vec<f64> = rows.values().par_chunks(QUERIES * dim).enumerate().map(of).collect();
    Ok(sums.iter().sum::<f64>() / (n as f64 * (n - 1) as f64 / 2.0))
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

fn lengths(rows: &[f64], dim: usize) -> Vec<f64> {
    rows.chunks_exact(dim).map(|row| row.iter().map(|v| v * v).sum()).collect()
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;

    fn normal(seed: u64, count: u64, dim: usize) -> Vec<f32> {
        Noise::new(seed).normal(Draw::Synthetic, 0..count, 0, dim)
    }

    fn by_hand(a: &[f32], b: &[f32], dim: usize) -> Vec<Vec<f64>> {
        let row = |x: &[f32]| b.chunks_exact(dim).map(|y| squared(x, y).sqrt()).collect();
        a.chunks_exact(dim).map(row).collect()
    }

    /// Over several blocks, however the stream is cut.
    #[test]
    fn nearest_are_the_nearest() {
        let (a, b, dim) = (normal(1, 9, 5), normal(2, 1300, 5), 5);
        for step in [1300, 7] {
            let mut search = Nearest::new(Features::new(&a, dim).unwrap(), 3);
            b.chunks(step * dim).for_each(|rows| search.push(rows));
            for (found, all) in search.finish().iter().zip(by_hand(&a, &b, dim)) {
                let mut order: Vec<usize> = (0..all.len()).collect();
                order.sort_by(|i, j| all[*i].total_cmp(&all[*j]));
                let expected: Vec<_> =
                    order[..3].iter().map(|i| Neighbour { index: *i as u64, distance: all[*i] }).collect();
                assert_eq!(*found, expected);
            }
        }
    }

    /// A copy is at distance 0, far from the origin too.
    #[test]
    fn copies_are_at_distance_zero() {
        let b: Vec<f32> = normal(2, 50, 30).iter().map(|v| v + 1000.0).collect();
        let mut search = Nearest::new(Features::new(&b[30 * 7..30 * 9], 30).unwrap(), 1);
        search.push(&b);
        let found: Vec<_> = search.finish().iter().map(|f| (f[0].index, f[0].distance)).collect();
        assert_eq!(found, [(7, 0.0), (8, 0.0)]);
    }

    #[test]
    fn pairwise_distances() {
        let (x, dim) = (normal(3, 700, 4), 4);
        let all = by_hand(&x, &x, dim);
        let expected = all.iter().flatten().sum::<f64>() / (700.0 * 699.0);
        let features = Features::new(&x, dim).unwrap();
        assert!((mean_pairwise_distance(features).unwrap() / expected - 1.0).abs() < 1e-12);
        assert!(mean_pairwise_distance(features.first(1)).is_err());
        let radii = radii(features, 3);
        for (row, radius) in all.iter().zip(radii) {
            let mut row = row.clone();
            row.sort_by(f64::total_cmp);
            assert_eq!(row[3], radius.sqrt());
        }
    }
}
