//! A classifier that was trained here, as what sees features in pictures: its last hidden layer, and its class probabilities.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use difusi_core::ImageSize;
use difusi_metrics::{FeatureExtractor, FeatureOptions, MetricsError, NetworkFeatures};
use difusi_nn::Classifier;
use difusi_nn::features::{FeatureNetwork, Input, Scale, Seen};

use crate::network::ModelNetwork;
use crate::{Error, Model, OpenModel};

/// A trained classifier behind the face of feature networks.
#[derive(Debug)]
struct Trained {
    network: Classifier,
    size: ImageSize,
    channels: usize,
}

impl FeatureNetwork for Trained {
    fn input(&self) -> Input {
        Input { size: [self.size.height, self.size.width], channels: self.channels, scale: Scale::Symmetric }
    }

    fn dim(&self) -> usize {
        self.network.dim()
    }

    fn classes(&self) -> Option<usize> {
        Some(self.network.classes())
    }

    fn look(&self, x: Tensor<4>) -> Seen {
        let features = self.network.features(x);
        Seen { logits: Some(self.network.logits(features.clone())), features, spatial: None }
    }
}

/// The extractor of a classifier; its name holds the hash of its weights, since numbers of two classifiers cannot be compared.
///
/// # Errors
/// A model of another kind, or one of pictures that are neither grey nor RGB.
pub fn classifier_features(model: &Model, device: &Device) -> Result<NetworkFeatures, Error> {
    let ModelNetwork::Classifier(network) = &model.network else {
        let accepted = "a classifier (difusi train mnist-classifier), to see features with";
        return Err(Error::value("the model", model.card.task.title(), accepted));
    };
    let (size, channels) = (model.card.size(), model.card.task.channels());
    if !matches!(channels, 1 | 3) {
        return Err(Error::value("the classifier's number of channels", channels, "1 or 3, to see pictures"));
    }
    let trained = Trained { network: network.clone(), size, channels };
    Ok(NetworkFeatures::new(format!("classifier {}", model.hash), Box::new(trained), device))
}

/// What opens a run folder or a file that holds none of the known feature networks.
pub(super) fn open_classifier(
    path: &Path,
    options: &FeatureOptions,
) -> Result<Box<dyn FeatureExtractor>, MetricsError> {
    let open = || {
        let model = OpenModel::new(path).open(&options.device)?;
        Ok::<_, Error>(classifier_features(&model, &options.device)?.with_resize(options.resize))
    };
    match open() {
        Ok(features) => Ok(Box::new(features)),
        Err(e) => {
            let accepted = "expected the run or the model file of a classifier, or the weights of a feature network (inception:FILE, \
                            mnist-cnn:FILE, resnet20:FILE)";
            Err(MetricsError::features(path.display(), format!("{e}; {accepted}")))
        }
    }
}
