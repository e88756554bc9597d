//! From what was collected to numbers.

use crate::{
    Agreement, Features, Gaussian, Kid, KidOptions, Metric, MetricsError, PrecisionRecall, Score, Spectrum, Summary,
    frechet_distance, kid, mean_pairwise_distance, precision_recall,
};

/// Below this number of pictures, FID says more about the number than about the pictures.
pub const ENOUGH: u64 = 2048;
/// Pictures of the mean pairwise distance, at most: it takes half their square of distances.
pub const PAIRWISE: usize = 10_000;

/// What to do where a covariance has fewer pictures than it needs to have full rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooFew {
    /// An error.
    #[default]
    Refuse,
    /// A note.
    Force,
}

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeOptions {
    /// Subsets of KID.
    pub kid: KidOptions,
    /// k of precision and recall.
    pub neighbours: usize,
    /// Fewer pictures than FID needs.
    pub too_few: TooFew,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self { kid: KidOptions::default(), neighbours: 3, too_few: TooFew::Refuse }
    }
}

/// What came out; `None` is what was not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Frechet distance of features.
    pub fid: Option<f64>,
    /// Frechet distance of spatial features.
    pub sfid: Option<f64>,
    /// Kernel distance of features.
    pub kid: Option<Kid>,
    /// Inception Score of the pictures.
    pub score: Option<Score>,
    /// The same of the reference, where that was looked at.
    pub reference_score: Option<Score>,
    /// Fidelity and diversity.
    pub precision_recall: Option<PrecisionRecall>,
    /// Power spectrum of the pictures.
    pub spectrum: Option<Spectrum>,
    /// The same of the reference.
    pub reference_spectrum: Option<Spectrum>,
    /// Mean distance of the features of two pictures.
    pub diversity: Option<f64>,
    /// The same of the reference.
    pub reference_diversity: Option<f64>,
    /// How many of the pictures are what they were asked to be.
    pub agreement: Option<Agreement>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Measures `pictures`, against `reference` where a metric needs one.
///
/// # Errors
/// A metric whose part of a summary is absent; features of another network; too few pictures, unless forced.
pub fn judge(
    pictures: &Summary,
    reference: Option<&Summary>,
    metrics: &[Metric],
    options: &JudgeOptions,
) -> Result<Verdict, MetricsError> {
    if let Some((ours, theirs)) = pictures.name.as_ref().zip(reference.and_then(|r| r.name.as_ref()))
        && ours != theirs
    {
        let accepted = format!("{ours}, as of the pictures");
        return Err(MetricsError::value("the features of the reference", theirs, accepted));
    }
    let (mut verdict, sides) = (Verdict::default(), Sides { pictures, reference });
    for metric in metrics {
        sides.measure(*metric, options, &mut verdict)?;
    }
    Ok(verdict)
}

/// Both sides of a comparison.
struct Sides<'a> {
    pictures: &'a Summary,
    reference: Option<&'a Summary>,
}

impl Sides<'_> {
    fn measure(&self, metric: Metric, options: &JudgeOptions, v: &mut Verdict) -> Result<(), MetricsError> {
        let (pictures, reference) = (self.pictures, self.reference);
        match metric {
            Metric::Fid => v.fid = Some(self.distance(metric, |s| s.features.as_ref(), options, &mut v.notes)?),
            Metric::Sfid => v.sfid = Some(self.distance(metric, |s| s.spatial.as_ref(), options, &mut v.notes)?),
            Metric::Kid => {
                let [p, r] = self.kept(metric)?;
                let found = kid(p, r, &options.kid)?;
                let (size, asked) = (found.subset_size, options.kid.subset_size);
                if size < asked {
                    v.notes.push(format!("KID takes subsets of {size}, not {asked}: there are no more pictures"));
                }
                v.kid = Some(found);
            }
            Metric::PrecisionRecall => {
                let [p, r] = self.kept(metric)?;
                // Balls shrink where there are more pictures, so there are as many on both sides.
                let n = p.count().min(r.count());
                if p.count() != r.count() {
                    v.notes.push(format!("precision and recall take the first {n} pictures on both sides"));
                }
                v.precision_recall = Some(precision_recall(p.first(n), r.first(n), options.neighbours)?);
            }
            Metric::InceptionScore => {
                v.score = Some(pictures.score.ok_or_else(|| absent(metric))?);
                v.reference_score = reference.and_then(|r| r.score);
            }
            Metric::Spectrum => {
                v.spectrum = Some(pictures.spectrum.clone().ok_or_else(|| absent(metric))?);
                v.reference_spectrum = reference.and_then(|r| r.spectrum.clone());
            }
            Metric::Labels => v.agreement = Some(pictures.agreement.clone().ok_or_else(|| absent(metric))?),
            Metric::Diversity => {
                let of = |s: &Summary| mean_pairwise_distance(s.kept().map_err(|_| absent(metric))?.first(PAIRWISE));
                v.diversity = Some(of(pictures)?);
                v.reference_diversity = reference.filter(|r| !r.kept.is_empty()).map(of).transpose()?;
            }
        }
        Ok(())
    }

    /// Features that were kept of both.
    fn kept(&self, metric: Metric) -> Result<[Features<'_>; 2], MetricsError> {
        match (held(self.pictures), self.reference.and_then(held)) {
            (Some(p), Some(r)) => Ok([p, r]),
            _ => Err(absent(metric)),
        }
    }

    /// A Frechet distance, after a look at the number of pictures on both sides.
    fn distance(
        &self,
        metric: Metric,
        part: impl Fn(&Summary) -> Option<&Gaussian>,
        options: &JudgeOptions,
        notes: &mut Vec<String>,
    ) -> Result<f64, MetricsError> {
        let reference = self.reference.ok_or_else(|| absent(metric))?;
        let [p, r] = [part(self.pictures), part(reference)].map(|g| g.ok_or_else(|| absent(metric)));
        let (p, r) = (p?, r?);
        for (who, count) in [("pictures", self.pictures.count), ("reference pictures", reference.count)] {
            let Some(count) = count else { continue };
            let note = enough(who, count, p.dim(), options.too_few)?;
            notes.extend(note.filter(|note| !notes.contains(note)));
        }
        frechet_distance(p, r)
    }
}

/// Features that were kept, if any were.
fn held(summary: &Summary) -> Option<Features<'_>> {
    summary.kept().ok().filter(|f| f.count() > 0)
}

/// Statistics where pictures are needed, or nothing at all.
fn absent(metric: Metric) -> MetricsError {
    let accepted = "pictures on both sides, or statistics that hold what it needs";
    MetricsError::value(format!("what `{}` is measured of", metric.name()), "absent", accepted)
}

/// Whether `count` pictures are enough for a covariance of `dim` features: a note, or an error.
///
/// # Errors
/// Fewer than `dim + 1`, unless forced.
pub fn enough(who: &str, count: u64, dim: usize, too_few: TooFew) -> Result<Option<String>, MetricsError> {
    let full = dim as u64 + 1;
    match too_few {
        TooFew::Refuse if count < full => {
            let accepted = format!(
                "at least {full} for {dim} features, or their covariance has no full rank (--force takes them)"
            );
            Err(MetricsError::value(format!("the number of {who}"), count, accepted))
        }
        TooFew::Force if count < full => Ok(Some(format!(
            "{count} {who} for {dim} features: their covariance has no full rank, and FID is far too high"
        ))),
        _ if count < ENOUGH => Ok(Some(format!(
            "{count} {who} are few: FID is biased upwards, the more the fewer; 10,000 or more are usual, 50,000 are published"
        ))),
        _ => Ok(None),
    }
}
