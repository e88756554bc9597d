//! Which terms of a long sum are evaluated: all of them, or one from each of K strata.
//!
//! With a time drawn uniformly from every stratum and its term counted once for each member, the sum is unbiased for any cut. The
//! cut here is where the terms differ: L_0, the largest, is a stratum of its own, and the rest is divided evenly by the mean of
//! (uniform in t) and (uniform in log-SNR), since at little noise every step of log-SNR costs as much as hundreds of steps of t
//! elsewhere. Deliberately absent: cuts that look at the model (importance sampling of Nichol & Dhariwal is for training).

use std::ops::Range;

use difusi_core::{Draw, Noise};

use super::Chain;
use crate::{ProcessError, ValueError};

/// A division of a chain's positions into neighbouring groups, none of them empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strata {
    /// First position of each, and the number of positions.
    edges: Vec<usize>,
}

impl Strata {
    /// Every position by itself: the whole sum.
    pub fn exact(chain: &Chain) -> Self {
        Self { edges: (0..=chain.len()).collect() }
    }

    /// `count` strata, or as many as there are positions.
    ///
    /// # Errors
    /// Fewer than two, of a chain that is longer than one: the first is L_0 alone.
    pub fn spread(chain: &Chain, count: usize) -> Result<Self, ProcessError> {
        let terms = chain.len();
        if count >= terms {
            return Ok(Self::exact(chain));
        }
        if count < 2 {
            let accepted = "2 or more times per image: one for L_0, the others for the rest of the sum";
            return Err(ValueError::new("times_per_image", count, accepted).into());
        }
        let mass = masses(chain);
        let mut edges = vec![0];
        let mut below = 0.0; // mass of positions 1 .. p
        for (p, mass) in mass.iter().enumerate().skip(1) {
            let (made, left) = (edges.len() as f64, terms - p);
            let due = below >= (made - 1.0) / (count - 1) as f64 - 1e-12;
            let must = left == count - edges.len(); // each of the remaining positions is needed
            if edges.len() < count && (due || must) {
                edges.push(p);
            }
            below += mass;
        }
        edges.push(terms);
        Ok(Self { edges })
    }

    /// How many.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.edges.len() - 1
    }

    /// Positions of stratum `k`.
    pub fn range(&self, k: usize) -> Range<usize> {
        self.edges[k]..self.edges[k + 1]
    }

    /// Number of positions in stratum `k`: what its term counts.
    pub fn weight(&self, k: usize) -> f64 {
        self.range(k).len() as f64
    }

    /// One position from each stratum, for this image of this seed.
    pub fn draw(&self, noise: Noise, image: u64) -> Vec<usize> {
        let mut stream = noise.stream(Draw::BoundTime, image, 0);
        (0..self.len())
            .map(|k| {
                let range = self.range(k);
                range.start + stream.below(range.len() as u64) as usize
            })
            .collect()
    }
}

/// Shares of positions 1 and above, which add up to 1; half of each is even in t, half in log-SNR. Position 0 has none.
fn masses(chain: &Chain) -> Vec<f64> {
    let lambda = |level: crate::Level| level.lambda().clamp(-20.0, 20.0); // -infinity where nothing is left of the data
    let jumps = chain.jumps();
    let mut steps: Vec<f64> =
        jumps.iter().map(|j| if j.to.is_data() { 0.0 } else { lambda(j.to) - lambda(j.from) }).collect();
    let (total, others) = (steps.iter().sum::<f64>().max(f64::MIN_POSITIVE), (jumps.len() - 1) as f64);
    steps.iter_mut().skip(1).for_each(|s| *s = 0.5 * *s / total + 0.5 / others);
    steps
}
