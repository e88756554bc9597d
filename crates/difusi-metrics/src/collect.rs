//! From pictures to what metrics need of them: one pass, whatever is measured, in memory that does not grow with their number.
//!
//! Means, covariances, class probabilities and spectra are sums. KID, precision and recall, and the mean distance need features
//! themselves: those of the first [`CollectOptions::keep`] pictures are kept.

use std::str::FromStr;

use crate::{
    Agreement, FeatureExtractor, Features, Gaussian, ImageBatch, InceptionScore, MetricsError, Moments, Score,
    Spectrum, SpectrumSums, Statistics, score,
};

/// Pictures whose features are kept where nothing is said.
pub const KEEP: usize = 50_000;

/// What can be measured of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Frechet distance of features.
    Fid,
    /// Kernel distance of features.
    Kid,
    /// Inception Score of class probabilities.
    InceptionScore,
    /// Improved precision and recall of features.
    PrecisionRecall,
    /// Frechet distance of spatial features.
    Sfid,
    /// High-frequency share of the power spectrum.
    Spectrum,
    /// Mean distance of the features of two pictures.
    Diversity,
    /// Share of the pictures that a classifier takes for what they were asked to be.
    Labels,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Fid,
        Self::Kid,
        Self::InceptionScore,
        Self::PrecisionRecall,
        Self::Sfid,
        Self::Spectrum,
        Self::Diversity,
        Self::Labels,
    ];

    /// The name in commands and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fid => "fid",
            Self::Kid => "kid",
            Self::InceptionScore => "is",
            Self::PrecisionRecall => "pr",
            Self::Sfid => "sfid",
            Self::Spectrum => "spectrum",
            Self::Diversity => "diversity",
            Self::Labels => "labels",
        }
    }

    /// Whether it is a distance from other pictures, which must then be given.
    pub const fn needs_reference(self) -> bool {
        matches!(self, Self::Fid | Self::Kid | Self::PrecisionRecall | Self::Sfid)
    }

    /// Whether features of single pictures are kept for it.
    pub const fn keeps_features(self) -> bool {
        matches!(self, Self::Kid | Self::PrecisionRecall | Self::Diversity)
    }
}

impl FromStr for Metric {
    type Err = MetricsError;

    fn from_str(name: &str) -> Result<Self, MetricsError> {
        Self::ALL
            .into_iter()
            .find(|m| m.name() == name)
            .ok_or_else(|| MetricsError::value("the metric", name, Self::ALL.map(Self::name).join(", ")))
    }
}

/// What to collect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectOptions {
    /// What will be measured.
    pub metrics: Vec<Metric>,
    /// Whether statistics will be saved: means and covariances of everything that the extractor has.
    pub statistics: bool,
    /// Pictures whose features are kept, the first ones.
    pub keep: usize,
}

impl CollectOptions {
    /// Enough for these metrics.
    pub fn of(metrics: &[Metric]) -> Self {
        Self { metrics: metrics.to_vec(), statistics: false, keep: KEEP }
    }

    fn any(&self, wanted: &[Metric]) -> bool {
        self.metrics.iter().any(|m| wanted.contains(m))
    }
}

/// What is known of one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The extractor's name; `None` where statistics do not say.
    pub name: Option<String>,
    /// How many pictures; `None` where statistics do not say.
    pub count: Option<u64>,
    /// Mean and covariance of the features.
    pub features: Option<Gaussian>,
    /// Of the spatial features.
    pub spatial: Option<Gaussian>,
    /// D of what is kept.
    pub dim: usize,
    /// `[K * D]`: features of the first pictures.
    pub kept: Vec<f32>,
    /// The Inception Score.
    pub score: Option<Score>,
    /// The power spectrum.
    pub spectrum: Option<Spectrum>,
    /// Labels asked for and labels found.
    pub agreement: Option<Agreement>,
}

impl Summary {
    /// What is kept, as rows.
    ///
    /// # Errors
    /// Nothing is.
    pub fn kept(&self) -> Result<Features<'_>, MetricsError> {
        Features::new(&self.kept, self.dim)
    }

    /// What a statistics file holds.
    ///
    /// # Errors
    /// No mean and covariance were collected.
    pub fn statistics(&self) -> Result<Statistics, MetricsError> {
        let features = self.features.clone().ok_or_else(|| {
            MetricsError::value("the collected statistics", "nothing", "features: collect with `statistics`")
        })?;
        Ok(Statistics { features, spatial: self.spatial.clone(), name: self.name.clone(), count: self.count })
    }
}

impl From<Statistics> for Summary {
    fn from(s: Statistics) -> Self {
        Self { name: s.name, count: s.count, features: Some(s.features), spatial: s.spatial, ..Self::default() }
    }
}

/// Collects; see [`Collector::push`].
pub struct Collector<'a> {
    extractor: &'a dyn FeatureExtractor,
    extracts: bool,
    keep: usize,
    kept: Vec<f32>,
    count: u64,
    features: Option<Moments>,
    spatial: Option<Moments>,
    score: Option<InceptionScore>,
    spectrum: Option<SpectrumSums>,
    agreement: Option<Agreement>,
}

impl<'a> Collector<'a> {
    /// Makes ready for `options`.
    ///
    /// # Errors
    /// A metric that the extractor has no features for.
    pub fn new(extractor: &'a dyn FeatureExtractor, options: &CollectOptions) -> Result<Self, MetricsError> {
        let lacks = |what: &str| MetricsError::features(extractor.name(), what);
        let score = match (options.any(&[Metric::InceptionScore]), extractor.classes()) {
            (false, _) => None,
            (true, Some(classes)) => Some(InceptionScore::new(classes, score::SPLITS)),
            (true, None) => return Err(lacks("no classifier, so there is no Inception Score (`is`); take another")),
        };
        let agreement = match (options.any(&[Metric::Labels]), extractor.classes()) {
            (false, _) => None,
            (true, Some(classes)) => Some(Agreement::new(classes)),
            (true, None) => return Err(lacks("no classifier, which `labels` would ask; take another")),
        };
        let spatial = match (options.any(&[Metric::Sfid]), extractor.spatial_dim()) {
            (true, None) => return Err(lacks("no spatial features, so there is no `sfid`; take another")),
            (wanted, dim) => dim.filter(|_| wanted || options.statistics).map(Moments::new),
        };
        let mean = options.statistics || options.any(&[Metric::Fid]);
        let keeps = options.metrics.iter().any(|m| m.keeps_features());
        Ok(Self {
            extractor,
            extracts: mean || keeps || score.is_some() || agreement.is_some() || spatial.is_some(),
            keep: if keeps { options.keep } else { 0 },
            kept: Vec::new(),
            count: 0,
            features: mean.then(|| Moments::new(extractor.dim())),
            spatial,
            score,
            spectrum: options.any(&[Metric::Spectrum]).then(SpectrumSums::default),
            agreement,
        })
    }

    /// Pictures seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Looks at pictures.
    ///
    /// # Errors
    /// A failing extractor; features that are not finite, or not as many as it said.
    pub fn push(&mut self, images: &ImageBatch) -> Result<(), MetricsError> {
        if images.count == 0 {
            return Ok(());
        }
        if let Some(spectrum) = &mut self.spectrum {
            spectrum.push(images);
        }
        if self.extracts {
            self.extract(images)?;
        }
        self.count += images.count as u64;
        Ok(())
    }

    fn extract(&mut self, images: &ImageBatch) -> Result<(), MetricsError> {
        let (found, dim) = (self.extractor.extract(images)?, self.extractor.dim());
        self.check("features", &found.features, images.count * dim)?;
        if let Some(moments) = &mut self.features {
            moments.push(&found.features);
        }
        let room = self.keep.saturating_sub(self.count.min(usize::MAX as u64) as usize).min(images.count);
        self.kept.extend_from_slice(&found.features[..room * dim]);
        if self.spatial.is_some() {
            let values = found.spatial.as_deref().unwrap_or_default();
            self.check("spatial features", values, images.count * self.extractor.spatial_dim().unwrap_or_default())?;
            self.spatial.iter_mut().for_each(|moments| moments.push(values));
        }
        if self.score.is_some() || self.agreement.is_some() {
            let values = found.probabilities.as_deref().unwrap_or_default();
            self.check("probabilities", values, images.count * self.extractor.classes().unwrap_or_default())?;
            self.score.iter_mut().for_each(|score| score.push(values));
            if let Some(agreement) = &mut self.agreement {
                let accepted = "pictures that are drawn by a model for labels, or a data set with labels, as `labels` compares them";
                let absent = || MetricsError::value("the labels of the pictures", "absent", accepted);
                agreement.push(values, images.labels.as_deref().ok_or_else(absent)?)?;
            }
        }
        Ok(())
    }

    fn check(&self, what: &str, values: &[f32], expected: usize) -> Result<(), MetricsError> {
        let problem = if values.len() != expected {
            format!("{} numbers as {what}; expected {expected}", values.len())
        } else if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            format!("{bad} among the {what} of the pictures after the first {}; expected finite numbers", self.count)
        } else {
            return Ok(());
        };
        Err(MetricsError::features(self.extractor.name(), problem))
    }

    /// What was collected.
    ///
    /// # Errors
    /// Too few pictures for a covariance (2), or for the splits of the Inception Score (10).
    pub fn finish(self) -> Result<Summary, MetricsError> {
        Ok(Summary {
            name: Some(self.extractor.name().to_owned()),
            count: Some(self.count),
            features: self.features.map(Moments::finish).transpose()?,
            spatial: self.spatial.map(Moments::finish).transpose()?,
            dim: self.extractor.dim(),
            kept: self.kept,
            score: self.score.map(|s| s.finish()).transpose()?,
            spectrum: self.spectrum.map(|s| s.finish()).transpose()?,
            agreement: self.agreement,
        })
    }
}
