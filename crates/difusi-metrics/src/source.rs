//! Which network's features, as a user names them, and its weights from a file.
//!
//! `inception:FILE`, `mnist-cnn:FILE`, `resnet20:FILE`, or a FILE that is recognised by the names of its tensors; `inception` alone is
//! the file that `difusi data fetch inception` brought. `@64`, `@192`, `@768` or `@2048` behind it takes Inception's features there.
//! Files are safetensors or PyTorch's; names may have a prefix (`module.`, `state_dict.`).
//!
//! Deliberately absent: classifiers of our own, whose configs this room does not know: [`FeatureSource::open_with`] is where they come in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::Device;
use difusi_data::{NamedWeights, Search};
use difusi_nn::Weight;
use difusi_nn::features::{FeatureKind, InceptionTap};
use difusi_store::{Container, TensorMap, detect, pt, read_safetensors};

use crate::{FeatureExtractor, MetricsError, NetworkFeatures, Resize};

/// Whose features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureSource {
    /// Which network; `None`: whichever the file holds.
    pub kind: Option<FeatureKind>,
    /// Its weights; `None`: where `difusi data fetch` put them.
    pub file: Option<PathBuf>,
    /// Where features are taken; Inception only.
    pub tap: Option<InceptionTap>,
}

/// How a source is opened.
#[derive(Clone, Debug)]
pub struct FeatureOptions {
    /// Where it computes.
    pub device: Device,
    /// How pictures get the size that it sees.
    pub resize: Resize,
    /// Where fetched weights lie.
    pub search: Search,
}

impl FeatureOptions {
    /// PyTorch's resize; fetched weights where the environment says.
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), resize: Resize::default(), search: Search::from_env() }
    }
}

/// Opens what is no file of a known network's weights.
pub type OpenOther<'a> = &'a dyn Fn(&Path, &FeatureOptions) -> Result<Box<dyn FeatureExtractor>, MetricsError>;

impl FeatureSource {
    /// The extractor.
    ///
    /// # Errors
    /// Weights that are not there (with the command that fetches them), that cannot be read, or that are another network's: every tensor
    /// that is missing, unknown or of another shape is named.
    pub fn open(&self, options: &FeatureOptions) -> Result<Box<dyn FeatureExtractor>, MetricsError> {
        self.open_with(options, &|path, _| {
            Err(MetricsError::features(path.display(), format!("no feature network is in it; {ACCEPTED}")))
        })
    }

    /// The same; `other` opens a folder, or a file in which no known network is found.
    ///
    /// # Errors
    /// As [`FeatureSource::open`], and `other`'s.
    pub fn open_with(
        &self,
        options: &FeatureOptions,
        other: OpenOther<'_>,
    ) -> Result<Box<dyn FeatureExtractor>, MetricsError> {
        let file = match (&self.file, self.kind) {
            (Some(file), _) => file.clone(),
            (None, Some(FeatureKind::Inception)) => options.search.weights(NamedWeights::Inception)?,
            (None, kind) => {
                let name = kind.map_or("", FeatureKind::name);
                return Err(MetricsError::features(name, format!("no file of weights is given; {ACCEPTED}")));
            }
        };
        if file.is_dir() && self.kind.is_none() {
            return other(&file, options);
        }
        let tensors = read_tensors(&file)?;
        let found = match self.kind {
            Some(kind) => kind.prefix_among(tensors.names()).map(|prefix| (kind, prefix)),
            None => FeatureKind::recognise(tensors.names()),
        };
        match (found, self.kind) {
            (Some((kind, prefix)), _) => self.build(kind, &file, tensors.under(&prefix), options),
            (None, None) => other(&file, options),
            (None, Some(kind)) => Err(MetricsError::features(
                kind.name(),
                format!(
                    "{} holds {} tensors, but not those of this network; {ACCEPTED}",
                    file.display(),
                    tensors.len()
                ),
            )),
        }
    }

    fn build(
        &self,
        kind: FeatureKind,
        file: &Path,
        tensors: TensorMap,
        options: &FeatureOptions,
    ) -> Result<Box<dyn FeatureExtractor>, MetricsError> {
        let tap = match (self.tap, kind) {
            (Some(tap), FeatureKind::Inception) => tap,
            (Some(tap), _) => {
                let got = format!("@{}", tap.dim());
                return Err(MetricsError::value("the features", got, format!("no `@` after {}", kind.name())));
            }
            (None, _) => InceptionTap::Final,
        };
        let weights = tensors.into_iter().map(|(name, tensor)| {
            let shape = tensor.shape.clone();
            Weight { name, shape, values: tensor.into_f32() }
        });
        let network = kind.load(weights, tap, &options.device).map_err(|e| {
            let hint = match kind {
                FeatureKind::Inception => "\n  torchvision's Inception is another network; `difusi data fetch inception` brings the right file",
                _ => "",
            };
            MetricsError::features(kind.name(), format!("{}: {e}{hint}", file.display()))
        })?;
        let name = match self.tap {
            Some(tap) => format!("{}@{}", kind.name(), tap.dim()),
            None => kind.name().to_owned(),
        };
        Ok(Box::new(NetworkFeatures::new(name, network, &options.device).with_resize(options.resize)))
    }
}

/// What a user may write.
const ACCEPTED: &str = "expected inception (after `difusi data fetch inception`), inception:FILE, mnist-cnn:FILE, resnet20:FILE, or a \
                        FILE with the tensors of one of these, as safetensors or PyTorch's .pt";

/// All tensors of a file under their dotted names.
fn read_tensors(file: &Path) -> Result<TensorMap, MetricsError> {
    match detect(file)? {
        Container::Safetensors => Ok(read_safetensors(file)?.tensors),
        Container::PytorchZip | Container::PytorchLegacy => Ok(pt::read(file)?.tensors()?),
        other => {
            let problem = format!("it is {other}; expected safetensors or a PyTorch file");
            Err(MetricsError::features(file.display(), problem))
        }
    }
}

impl FromStr for FeatureSource {
    type Err = MetricsError;

    fn from_str(text: &str) -> Result<Self, MetricsError> {
        let (rest, tap) = match text.rsplit_once('@') {
            Some((rest, dim)) if !dim.is_empty() && dim.bytes().all(|b| b.is_ascii_digit()) => {
                let tap = dim.parse().ok().and_then(InceptionTap::of_dim);
                let accepted = "@64, @192, @768 or @2048 (Inception's taps)";
                (rest, Some(tap.ok_or_else(|| MetricsError::value("the features", text, accepted))?))
            }
            _ => (text, None),
        };
        let named = |kind: &FeatureKind| rest == kind.name() || rest.starts_with(&format!("{}:", kind.name()));
        let kind = FeatureKind::ALL.into_iter().find(named);
        let file = match kind {
            Some(kind) => rest.strip_prefix(kind.name()).and_then(|r| r.strip_prefix(':')).unwrap_or(""),
            None => rest,
        };
        let source = Self { kind, file: (!file.is_empty()).then(|| file.into()), tap };
        match (&source.kind, &source.file) {
            (None | Some(FeatureKind::MnistCnn | FeatureKind::Resnet20), None) => {
                Err(MetricsError::features(text, format!("names no file of weights; {ACCEPTED}")))
            }
            (Some(FeatureKind::MnistCnn | FeatureKind::Resnet20), _) if tap.is_some() => {
                Err(MetricsError::value("the features", text, "no `@` after mnist-cnn and resnet20"))
            }
            _ => Ok(source),
        }
    }
}

impl fmt::Display for FeatureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.file) {
            (Some(kind), Some(file)) => write!(f, "{}:{}", kind.name(), file.display())?,
            (Some(kind), None) => f.write_str(kind.name())?,
            (None, Some(file)) => write!(f, "{}", file.display())?,
            (None, None) => {}
        }
        match self.tap {
            Some(tap) => write!(f, "@{}", tap.dim()),
            None => Ok(()),
        }
    }
}
