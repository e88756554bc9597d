//! Means and error bars of the bound over images, in bits per dimension; memory does not grow with their number.

use std::f64::consts::LN_2;

use super::{Chain, ImageBound, Strata};

/// Nats of an image with `dims` numbers as bits per dimension.
pub fn bits_per_dim(nats: f64, dims: usize) -> f64 {
    nats / (dims as f64 * LN_2)
}

/// A mean over images and its standard error, which holds what images differ by and what times and noise add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error; NaN of a single image.
    pub standard_error: f64,
}

/// Running mean and squared deviations (Welford 1962).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Running {
    /// One more value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// How many.
    pub fn count(self) -> u64 {
        self.count
    }

    /// What they say; NaN of nothing.
    pub fn estimate(self) -> Estimate {
        let n = self.count as f64;
        let mean = if self.count == 0 { f64::NAN } else { self.mean };
        Estimate { mean, standard_error: (self.squares / (n - 1.0) / n).sqrt() }
    }
}

/// The bound so far.
#[derive(Clone, Debug)]
pub struct BoundSums {
    dims: usize,
    weights: Vec<f64>,
    total: Running,
    prior: Running,
    middle: Running,
    terms: Vec<Running>,
}

impl BoundSums {
    /// Of images of `dims` numbers.
    pub fn new(strata: &Strata, dims: usize) -> Self {
        let weights: Vec<f64> = (0..strata.len()).map(|k| strata.weight(k)).collect();
        let none = Running::default();
        Self { dims, total: none, prior: none, middle: none, terms: vec![none; weights.len()], weights }
    }

    /// One more image.
    pub fn add(&mut self, image: &ImageBound) {
        let bits: Vec<f64> = image.terms.iter().map(|nats| bits_per_dim(*nats, self.dims)).collect();
        let prior = bits_per_dim(image.prior, self.dims);
        let middle: f64 = bits.iter().zip(&self.weights).skip(1).map(|(bits, weight)| bits * weight).sum();
        self.terms.iter_mut().zip(&bits).for_each(|(sum, bits)| sum.add(*bits));
        self.prior.add(prior);
        self.middle.add(middle);
        self.total.add(prior + middle + bits.first().copied().unwrap_or_default());
    }

    /// Images added.
    pub fn images(&self) -> u64 {
        self.total.count()
    }

    /// Bits per dimension of all terms together.
    pub fn total(&self) -> Estimate {
        self.total.estimate()
    }

    /// Everything that is known.
    pub fn report(&self, chain: &Chain, strata: &Strata) -> BoundReport {
        let row = |(k, sum): (usize, &Running)| {
            let range = strata.range(k);
            let (first, last) = (chain.jumps()[range.start].from.t, chain.jumps()[range.end - 1].from.t);
            TermRow { first, last, terms: range.len(), bits: sum.estimate() }
        };
        BoundReport {
            images: self.images(),
            dims: self.dims,
            total: self.total(),
            prior: self.prior.estimate(),
            middle: self.middle.estimate(),
            decoder: self.terms.first().copied().unwrap_or_default().estimate(),
            rows: self.terms.iter().enumerate().map(row).collect(),
        }
    }
}

/// The bound of a data set, in bits per dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundReport {
    /// How many images.
    pub images: u64,
    /// Numbers in each.
    pub dims: usize,
    /// `L_T + sum of L_{t-1} + L_0`.
    pub total: Estimate,
    /// L_T.
    pub prior: Estimate,
    /// The sum of L_{t-1} over all terms but L_0.
    pub middle: Estimate,
    /// L_0.
    pub decoder: Estimate,
    /// Term by term, or stratum by stratum, from the data outwards; the first is L_0.
    pub rows: Vec<TermRow>,
}

/// Neighbouring terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermRow {
    /// The time the network receives in the first of them.
    pub first: f64,
    /// And in the last.
    pub last: f64,
    /// How many there are; together they cost so many times `bits`.
    pub terms: usize,
    /// The mean of one of them, in bits per dimension.
    pub bits: Estimate,
}
