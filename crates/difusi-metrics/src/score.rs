//! Inception Score (Salimans et al. 2016, arXiv:1606.03498, section 4): exp of the mean KL divergence of p(y|x) from p(y), in splits,
//! p(y) being the mean over the split itself.
//!
//! Every S pictures that follow each other go to the S splits, one to each, in a drawn order: nothing need be kept or known of how many
//! come, and neither sorted folders nor labels that come in turn do harm. Others cut the pictures in S pieces, which torch-fidelity
//! shuffles before; in distribution that is the same. One network's scores say nothing about
//! another's, and a score says nothing about whether the pictures look like the data.

use difusi_core::{Draw, Noise};

use crate::MetricsError;

/// Splits where nothing is said.
pub const SPLITS: usize = 10;

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean over the splits; between 1 and the number of classes.
    pub mean: f64,
    /// Standard deviation over the splits (of a population, as everyone has it).
    pub deviation: f64,
    /// Number of splits.
    pub splits: usize,
}

/// Sums of a stream of class probabilities.
#[derive(Clone, Debug)]
pub struct InceptionScore {
    classes: usize,
    splits: Vec<Split>,
    /// The splits of the pictures that follow each other now.
    order: Vec<usize>,
    count: u64,
}

#[derive(Clone, Debug)]
struct Split {
    count: u64,
    /// Sum of p(y|x), `[K]`.
    p: Vec<f64>,
    /// Sum of p log p.
    p_log_p: f64,
}

impl InceptionScore {
    /// Nothing yet; at least one class and one split.
    pub fn new(classes: usize, splits: usize) -> Self {
        let (classes, splits) = (classes.max(1), splits.max(1));
        Self {
            classes,
            splits: vec![Split { count: 0, p: vec![0.0; classes], p_log_p: 0.0 }; splits],
            order: order(splits, 0),
            count: 0,
        }
    }

    /// Sees probabilities `[N * K]`, whole rows; each is divided by its sum.
    pub fn push(&mut self, probabilities: &[f32]) {
        for row in probabilities.chunks_exact(self.classes) {
            let (splits, at) = (self.splits.len() as u64, self.count);
            if at.is_multiple_of(splits) {
                self.order = order(self.splits.len(), at / splits);
            }
            let split = self.order[(at % splits) as usize];
            let (split, sum) = (&mut self.splits[split], row.iter().map(|p| f64::from(*p)).sum::<f64>());
            for (total, p) in split.p.iter_mut().zip(row) {
                let p = f64::from(*p) / sum;
                *total += p;
                split.p_log_p += p_log_p(p);
            }
            split.count += 1;
            self.count += 1;
        }
    }

    /// The score of what has been seen.
    ///
    /// # Errors
    /// Fewer pictures than splits.
    pub fn finish(&self) -> Result<Score, MetricsError> {
        let splits = self.splits.len();
        if self.count < splits as u64 {
            let accepted = format!("at least {splits}, one for each split of the Inception Score");
            return Err(MetricsError::value("the number of pictures", self.count, accepted));
        }
        let score = |s: &Split| {
            let n = s.count as f64;
            (s.p_log_p / n - s.p.iter().map(|p| p_log_p(p / n)).sum::<f64>()).exp()
        };
        let scores: Vec<f64> = self.splits.iter().map(score).collect();
        let mean = scores.iter().sum::<f64>() / splits as f64;
        let variance = scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / splits as f64;
        Ok(Score { mean, deviation: variance.sqrt(), splits })
    }
}

/// The splits of the pictures `block S ..`, each once.
fn order(splits: usize, block: u64) -> Vec<usize> {
    Noise::new(0).permutation(Draw::Subset, splits, block as u32)
}

/// The split of picture `index` of a stream, where there are so many.
pub fn split_of(index: u64, splits: usize) -> usize {
    order(splits, index / splits as u64)[(index % splits as u64) as usize]
}

fn p_log_p(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sure and evenly spread over K classes scores K; always the same answer scores 1, sure or not.
    #[test]
    fn ends_of_the_scale() {
        let score = |row: &dyn Fn(usize) -> [f32; 4]| {
            let mut s = InceptionScore::new(4, 10);
            (0..400).for_each(|i| s.push(&row(i)));
            s.finish().unwrap()
        };
        let one_hot = |k: usize| std::array::from_fn(|j| f32::from(j == k));
        let sure = score(&|i| one_hot(i / 10 % 4));
        assert!((sure.mean - 4.0).abs() < 1e-12 && sure.deviation < 1e-12, "{sure:?}");
        assert!((score(&|_| one_hot(2)).mean - 1.0).abs() < 1e-12);
        assert!((score(&|_| [0.1, 0.2, 0.3, 0.4]).mean - 1.0).abs() < 1e-12);
        // Rows need not sum to 1 exactly.
        assert!((score(&|i| one_hot(i / 10 % 4).map(|p| 0.999 * p)).mean - 4.0).abs() < 1e-12);
    }

    /// Labels that come in turn reach every split: as many classes as splits score that many.
    #[test]
    fn labels_in_turn() {
        let mut s = InceptionScore::new(10, 10);
        (0..2000).for_each(|i| s.push(&std::array::from_fn::<f32, 10, _>(|j| f32::from(j == i % 10))));
        assert!(s.finish().unwrap().mean > 9.5);
        let mut all: Vec<usize> = (30..40).map(|i| split_of(i, 10)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn fewer_than_splits() {
        let mut s = InceptionScore::new(2, 10);
        s.push(&[0.5; 18]);
        assert!(s.finish().unwrap_err().to_string().contains("at least 10"));
    }
}
