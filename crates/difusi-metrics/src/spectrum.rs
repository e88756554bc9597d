//! The power spectrum of pictures, averaged over directions: how much of what is in them is fine detail.
//!
//! Each channel goes through a discrete Fourier transform as it is, without a window, in `[-1, 1]`. Its power without the mean is its
//! variance (Parseval); the share above 1/4 cycle per pixel (half of what a row of pixels can hold) is the high-frequency share. Blur
//! lowers it, noise raises it: only beside the data's does it say anything.

use std::sync::Arc;

use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use crate::{ImageBatch, MetricsError};

/// Rings of the radial average, from 0 to the corner of the spectrum.
const RINGS: usize = 48;
/// Cycles per pixel in the corner: 1/2 along both sides.
const CORNER: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// Cycles per pixel above which detail is fine.
pub const HIGH: f64 = 0.25;

/// What came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Middle of each ring, in cycles per pixel. Rings without a frequency (of small pictures) are left out.
    pub frequencies: Vec<f64>,
    /// Mean squared coefficient in the ring, scaled so that white noise of variance 1 has 1 everywhere.
    pub density: Vec<f64>,
    /// Share of the variance above [`HIGH`], over all pictures together; `None` where no picture varies.
    pub high_share: Option<f64>,
    /// Its standard error; `None` for fewer than two pictures.
    pub standard_error: Option<f64>,
    /// How many pictures.
    pub images: u64,
}

/// Sums over a stream of pictures.
#[derive(Clone, Debug)]
pub struct SpectrumSums {
    power: Vec<f64>,
    coefficients: Vec<f64>,
    images: u64,
    /// Sums over pictures of h, t, h^2, h t, t^2 for high and total variance.
    sums: [f64; 5],
}

impl Default for SpectrumSums {
    fn default() -> Self {
        Self { power: vec![0.0; RINGS], coefficients: vec![0.0; RINGS], images: 0, sums: [0.0; 5] }
    }
}

/// Of one picture: power by ring, high and total variance.
struct One {
    power: Vec<f64>,
    high: f64,
    total: f64,
}

impl SpectrumSums {
    /// Sees pictures of one size.
    pub fn push(&mut self, images: &ImageBatch) {
        let plan = Plan::new(images.height, images.width);
        let each: Vec<One> =
            (0..images.count).into_par_iter().map(|i| plan.one(images.image(i), images.channels)).collect();
        for one in each {
            self.power.iter_mut().zip(&one.power).for_each(|(sum, p)| *sum += p);
            self.coefficients.iter_mut().zip(&plan.rings).for_each(|(sum, n)| *sum += n * images.channels as f64);
            let (h, t) = (one.high, one.total);
            self.sums.iter_mut().zip([h, t, h * h, h * t, t * t]).for_each(|(sum, v)| *sum += v);
            self.images += 1;
        }
    }

    /// What has been seen.
    ///
    /// # Errors
    /// Nothing has.
    pub fn finish(&self) -> Result<Spectrum, MetricsError> {
        if self.images == 0 {
            return Err(MetricsError::value("the number of pictures", 0, "at least 1"));
        }
        let rings = (0..RINGS).filter(|r| self.coefficients[*r] > 0.0);
        let (frequencies, density) =
            rings.map(|r| ((r as f64 + 0.5) / RINGS as f64 * CORNER, self.power[r] / self.coefficients[r])).unzip();
        let (n, [h, t, hh, ht, tt]) = (self.images as f64, self.sums);
        // What is below is rounding of the transform.
        let high_share = (t > 1e-20 * n).then(|| h / t);
        // Of a ratio of means, to first order.
        let standard_error = high_share.filter(|_| self.images > 1).map(|share| {
            let spread = (hh - 2.0 * share * ht + share * share * tt).max(0.0) / (n - 1.0);
            (spread / n).sqrt() / (t / n)
        });
        Ok(Spectrum { frequencies, density, high_share, standard_error, images: self.images })
    }
}

/// Transforms of one size.
struct Plan {
    height: usize,
    width: usize,
    along: Arc<dyn Fft<f64>>,
    down: Arc<dyn Fft<f64>>,
    /// Coefficients in each ring, and the ring of each (`None`: the mean), and whether it is fine detail.
    rings: Vec<f64>,
    place: Vec<Option<(usize, bool)>>,
}

impl Plan {
    fn new(height: usize, width: usize) -> Self {
        let mut planner = FftPlanner::new();
        let frequency = |i: usize, n: usize| i.min(n - i) as f64 / n as f64;
        let place: Vec<Option<(usize, bool)>> = (0..height * width)
            .map(|i| {
                let f = frequency(i / width, height).hypot(frequency(i % width, width));
                (f > 0.0).then(|| (((f / CORNER * RINGS as f64) as usize).min(RINGS - 1), f > HIGH))
            })
            .collect();
        let mut rings = vec![0.0; RINGS];
        place.iter().flatten().for_each(|(ring, _)| rings[*ring] += 1.0);
        let (along, down) = (planner.plan_fft_forward(width), planner.plan_fft_forward(height));
        Self { height, width, along, down, rings, place }
    }

    fn one(&self, image: &[u8], channels: usize) -> One {
        let (pixels, mut power) = (self.height * self.width, vec![[0.0; 2]; RINGS]);
        for c in 0..channels {
            let mut x: Vec<Complex<f64>> =
                image.iter().skip(c).step_by(channels).map(|v| Complex::from(f64::from(*v) / 127.5 - 1.0)).collect();
            self.along.process(&mut x);
            let mut columns = vec![Complex::default(); pixels];
            for (i, v) in x.iter().enumerate() {
                columns[i % self.width * self.height + i / self.width] = *v;
            }
            self.down.process(&mut columns);
            for (i, v) in columns.iter().enumerate() {
                let Some((ring, high)) = self.place[i % self.height * self.width + i / self.height] else { continue };
                power[ring][usize::from(high)] += v.norm_sqr() / pixels as f64;
            }
        }
        let high = power.iter().map(|ring| ring[1]).sum::<f64>() / pixels as f64;
        let power: Vec<f64> = power.iter().map(|[low, high]| low + high).collect();
        One { high, total: power.iter().sum::<f64>() / pixels as f64, power }
    }
}

#[cfg(test)]
mod tests {
    use difusi_core::{Draw, Noise, pixels};

    use super::*;

    fn of(shape: [usize; 3], value: impl Fn(usize, usize, usize) -> f64, count: usize) -> Spectrum {
        let [h, w, c] = shape;
        let bytes = (0..count * h * w * c).map(|i| {
            let (image, p) = (i / (h * w * c), i / c % (h * w));
            pixels::to_byte(value(p / w, p % w, image) as f32)
        });
        let mut sums = SpectrumSums::default();
        sums.push(&ImageBatch::new(shape, bytes.collect()).unwrap());
        sums.finish().unwrap()
    }

    /// A wave is all in its ring: low, high, along either side, in any number of channels; odd sizes.
    #[test]
    fn waves() {
        let wave = |cycles: f64, x: usize, n: usize| (std::f64::consts::TAU * cycles * x as f64 / n as f64).cos();
        let low = of([20, 15, 3], |_, x, _| wave(2.0, x, 15), 2);
        let high = of([20, 15, 1], |y, _, _| wave(9.0, y, 20), 1);
        assert!(low.high_share.unwrap() < 1e-4 && high.high_share.unwrap() > 1.0 - 1e-4, "{low:?} {high:?}");
        let loudest = |s: &Spectrum| {
            let i = (0..s.density.len()).max_by(|a, b| s.density[*a].total_cmp(&s.density[*b])).unwrap();
            s.frequencies[i]
        };
        assert!((loudest(&low) - 2.0 / 15.0).abs() < 0.01 && (loudest(&high) - 0.45).abs() < 0.01);
        assert_eq!((low.standard_error.map(|e| e < 1e-9), high.standard_error), (Some(true), None));
    }

    /// White noise has density of its variance everywhere, and the share of high frequencies that is theirs by number.
    #[test]
    fn white_noise() {
        let noise = Noise::new(1).normal(Draw::Synthetic, 0..40, 0, 32 * 32);
        let s = of([32, 32, 1], |y, x, i| 0.2 * f64::from(noise[i * 1024 + y * 32 + x]), 40);
        assert!(s.density.iter().all(|d| (d / 0.04 - 1.0).abs() < 0.3), "{:?}", s.density);
        let inside = (0..1024).filter(|i| {
            let f = |i: usize| i.min(32 - i) as f64 / 32.0;
            f(i / 32).hypot(f(i % 32)) > HIGH
        });
        let expected = inside.count() as f64 / 1023.0;
        let (share, error) = (s.high_share.unwrap(), s.standard_error.unwrap());
        assert!((share - expected).abs() < 4.0 * error && error < 0.01, "{share} {expected} {error}");
    }

    #[test]
    fn flat_pictures_have_no_share() {
        assert_eq!(of([4, 4, 1], |_, _, _| 0.3, 3).high_share.map(|h| h < 1e-20), None);
        assert!(SpectrumSums::default().finish().is_err());
    }
}
