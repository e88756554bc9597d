//! Improved precision and recall (Kynkaanniemi et al. 2019, arXiv:1904.06991, section 2): the share of drawn pictures among the data, and
//! the share of the data among the drawn pictures. "Among" is within the ball of any picture that reaches to its k-th nearest other.
//!
//! Numbers of pictures should be equal on both sides: more pictures have smaller balls.

use crate::neighbours::{covered, radii};
use crate::{Features, MetricsError};

/// What came out, each between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// Share of drawn pictures among the data: fidelity.
    pub precision: f64,
    /// Share of the data among the drawn pictures: diversity.
    pub recall: f64,
    /// The k of k-th nearest.
    pub neighbours: usize,
}

/// Precision and recall of `drawn` against `data`; the paper's k is 3.
///
/// # Errors
/// Other numbers of features; no more pictures than `neighbours` on either side.
pub fn precision_recall(
    drawn: Features<'_>,
    data: Features<'_>,
    neighbours: usize,
) -> Result<PrecisionRecall, MetricsError> {
    drawn.same_dim(&data)?;
    let fewest = drawn.count().min(data.count());
    if neighbours == 0 || fewest <= neighbours {
        let accepted = format!("more than k = {neighbours} on both sides, and k at least 1, for precision and recall");
        return Err(MetricsError::value("the number of pictures", fewest, accepted));
    }
    let share = |queries: Features<'_>, centres: Features<'_>| {
        covered(queries, centres, &radii(centres, neighbours)) as f64 / queries.count() as f64
    };
    Ok(PrecisionRecall { precision: share(drawn, data), recall: share(data, drawn), neighbours })
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise};

    use super::*;

    fn rows(seed: u64, count: u64) -> Vec<f32> {
        Noise::new(seed).normal(Draw::Synthetic, 0..count, 0, 6)
    }

    fn of(drawn: &[f32], data: &[f32]) -> [f64; 2] {
        let found = precision_recall(Features::new(drawn, 6).unwrap(), Features::new(data, 6).unwrap(), 3).unwrap();
        [found.precision, found.recall]
    }

    #[test]
    fn ends_of_the_scale() {
        let data = rows(1, 700);
        assert_eq!(of(&data, &data), [1.0, 1.0]);
        let far: Vec<f32> = data.iter().map(|v| v + 100.0).collect();
        assert_eq!(of(&far, &data), [0.0, 0.0]);
        // A few pictures copied from the data over and over: precise, and blind to the rest.
        let few: Vec<f32> = data[..5 * 6].repeat(20);
        let [precision, recall] = of(&few, &data);
        assert_eq!((precision, recall), (1.0, 5.0 / 700.0));
    }

    /// The definition, with every distance of its own; the numbers are unlike.
    #[test]
    fn by_definition() {
        let (a, b) = (rows(1, 150), rows(2, 260).iter().map(|v| 0.8 * v).collect::<Vec<f32>>());
        let d = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        let share = |q: &[f32], c: &[f32]| {
            let centres: Vec<&[f32]> = c.chunks_exact(6).collect();
            let radius = |x: &&[f32]| {
                let mut all: Vec<f64> = centres.iter().map(|y| d(x, y)).collect();
                all.sort_by(f64::total_cmp);
                all[3]
            };
            let radii: Vec<f64> = centres.iter().map(radius).collect();
            let inside = |x: &&[f32]| centres.iter().zip(&radii).any(|(c, r)| d(x, c) <= *r);
            q.chunks_exact(6).filter(inside).count() as f64 / (q.len() / 6) as f64
        };
        assert_eq!(of(&a, &b), [share(&a, &b), share(&b, &a)]);
    }

    #[test]
    fn too_few() {
        let x = rows(1, 3);
        let f = Features::new(&x, 6).unwrap();
        assert!(precision_recall(f, f, 3).unwrap_err().to_string().contains("more than k = 3"));
    }
}
