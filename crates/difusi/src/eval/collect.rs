//! One side of a comparison: its pictures through an extractor to what the metrics need; and the extractors by name.

use burn::tensor::Device;
use difusi_metrics::{
    CollectOptions, Collector, Extracted, FeatureExtractor, FeatureOptions, FeatureSource, ImageBatch, Metric,
    MetricsError, Pixels, Resize, Summary,
};

use super::classifier::open_classifier;
use super::{PictureSource, Take};
use crate::Error;

/// The extractor that `name` means: `pixels` (8x8 grey), `pixels:SIDE`, a network of a [`FeatureSource`], or the run or model file of a
/// classifier that was trained here; networks are shown pictures resized so. Another way of resizing than PyTorch's is part of its name, since numbers of the two cannot be compared.
///
/// # Errors
/// A name that is not known; weights that are not there, or another network's.
pub fn features(name: &str, resize: Resize, device: &Device) -> Result<Box<dyn FeatureExtractor>, Error> {
    if let Some(pixels) = Pixels::named(name) {
        return Ok(Box::new(pixels?));
    }
    let source: FeatureSource = name.parse()?;
    if let Some(file) = source.file.as_ref().filter(|file| !file.exists()) {
        let accepted = "pixels, pixels:SIDE, inception, inception:FILE, mnist-cnn:FILE, resnet20:FILE, a FILE of such weights, or the RUN \
                        of a classifier";
        return Err(Error::value("--features", format!("{name}, but there is no file {}", file.display()), accepted));
    }
    let network = source.open_with(&FeatureOptions { resize, ..FeatureOptions::new(device) }, &open_classifier)?;
    if resize == Resize::default() {
        return Ok(network);
    }
    let name = format!("{}, {resize} resize", network.name());
    Ok(Box::new(Renamed { name, network }))
}

/// An extractor by another name.
struct Renamed {
    name: String,
    network: Box<dyn FeatureExtractor>,
}

impl FeatureExtractor for Renamed {
    fn name(&self) -> &str {
        &self.name
    }

    fn dim(&self) -> usize {
        self.network.dim()
    }

    fn classes(&self) -> Option<usize> {
        self.network.classes()
    }

    fn spatial_dim(&self) -> Option<usize> {
        self.network.spatial_dim()
    }

    fn extract(&self, images: &ImageBatch) -> Result<Extracted, MetricsError> {
        self.network.extract(images)
    }
}

/// Looks at pictures of `source`. `on_progress` hears how many are behind us, and answers whether to go on; where it
/// does not, what has been seen counts.
///
/// # Errors
/// A metric that the extractor has nothing for; labels of other classes than its own; pictures that cannot be read or drawn; too few for a covariance.
pub fn collect(
    source: &PictureSource,
    extractor: &dyn FeatureExtractor,
    options: &CollectOptions,
    take: Take,
    on_progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Summary, Error> {
    let mut collector = Collector::new(extractor, options)?;
    if options.metrics.contains(&Metric::Labels) {
        check_classes(source, extractor)?;
    }
    source.for_each(take, &mut |images| {
        collector.push(&images)?;
        Ok(on_progress(collector.count()))
    })?;
    Ok(collector.finish()?)
}

/// Labels are compared with the classes of a classifier of as many: label 3 of another's is something else.
fn check_classes(source: &PictureSource, extractor: &dyn FeatureExtractor) -> Result<(), Error> {
    match (source.classes(), extractor.classes()) {
        (Some(own), Some(found)) if own != found => {
            let what = format!("the number of classes of {}", extractor.name());
            Err(Error::value(what, found, format!("{own}, as the pictures' labels are of (--features)")))
        }
        _ => Ok(()),
    }
}
