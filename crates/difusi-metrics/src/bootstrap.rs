//! How sure a Frechet distance is: its spread over pictures drawn anew, with replacement, from those that are there (Efron 1979).
//!
//! The mean over such draws is higher than the distance itself (repeated pictures make a covariance poorer), so only the spread is
//! told. Deliberately absent: the reference's part, which is the same for everything that is compared with it.

use difusi_core::{Draw, Noise};

use crate::{Features, Gaussian, MetricsError, Moments, frechet_distance};

/// Standard deviation of the Frechet distance between `drawn` and `reference` over `resamples` draws (at least 2) of as many pictures.
///
/// # Errors
/// Fewer than two pictures or draws; another number of features.
pub fn frechet_deviation(
    drawn: Features<'_>,
    reference: &Gaussian,
    resamples: usize,
    seed: u64,
) -> Result<f64, MetricsError> {
    if resamples < 2 {
        return Err(MetricsError::value("the number of resamples", resamples, "at least 2, to have a spread"));
    }
    let distances: Vec<f64> = (0..resamples)
        .map(|k| {
            let mut stream = Noise::new(seed).stream(Draw::Subset, k as u64, 1);
            let mut moments = Moments::new(drawn.dim());
            for _ in 0..drawn.count() {
                moments.push(drawn.row((stream.uniform() * drawn.count() as f64) as usize));
            }
            frechet_distance(&moments.finish()?, reference)
        })
        .collect::<Result<_, _>>()?;
    let mean = distances.iter().sum::<f64>() / resamples as f64;
    Ok((distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (resamples - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(seed: u64, count: u64) -> Vec<f32> {
        Noise::new(seed).normal(Draw::Synthetic, 0..count, 0, 4).iter().map(|v| v + 0.5).collect()
    }

    /// Against the spread over sets that are really drawn anew.
    #[test]
    fn the_spread_is_that_of_other_draws() {
        let rows = normal(1, 20_000);
        let mut moments = Moments::new(4);
        rows.iter().map(|v| v - 0.5).collect::<Vec<_>>().chunks(4).for_each(|row| moments.push(row));
        let reference = moments.finish().unwrap();
        let distance = |seed: u64| {
            let mut moments = Moments::new(4);
            moments.push(&normal(seed, 500));
            frechet_distance(&moments.finish().unwrap(), &reference).unwrap()
        };
        let all: Vec<f64> = (10..110).map(distance).collect();
        let mean = all.iter().sum::<f64>() / 100.0;
        let real = (all.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 99.0).sqrt();
        let rows = normal(5, 500);
        let told = frechet_deviation(Features::new(&rows, 4).unwrap(), &reference, 50, 0).unwrap();
        assert!((told / real - 1.0).abs() < 0.4, "{told} for {real}");
        assert!(frechet_deviation(Features::new(&rows, 4).unwrap(), &reference, 1, 0).is_err());
    }
}
