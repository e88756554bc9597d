//! The network once on given inputs: anyone can hold the result against their own framework.
//!
//! Deliberately absent: schedules, noise, thresholds. What goes in is what the network receives.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use difusi_core::{Cond, ImageSize, Inputs, Network};
use difusi_store::{HostTensor, TensorMap, read_safetensors, write_safetensors};

use super::{DiffusionModel, Model};
use crate::Error;
use crate::network::DiffusionNetworkConfig;

/// Images in one evaluation: bounds memory.
const CHUNK: usize = 32;

/// Inputs of one evaluation, in the layout of files.
#[derive(Clone, Debug)]
pub struct PredictIo {
    /// `[B, C, H, W]`.
    pub x: HostTensor,
    /// `[B]`, the number the network receives: the 0-based step for discrete processes.
    pub t: Vec<f32>,
    /// `[B, C, H, W]` for self-conditioning networks.
    pub x_self_cond: Option<HostTensor>,
    /// A class for each image, where the network is told classes; empty for none.
    pub labels: Vec<u32>,
}

impl PredictIo {
    /// Reads `x`, `t`, `x_self_cond` and `labels` from a safetensors file; other names are an error.
    ///
    /// # Errors
    /// A damaged file, missing or unknown names, shapes that are not those above.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let mut map = read_safetensors(path)?.tensors;
        let accepted =
            "`x` [B, C, H, W], `t` [B] and, where the network takes them, `x_self_cond` [B, C, H, W] and `labels` [B]";
        let known = ["x", "t", "x_self_cond", "labels"];
        if let Some(name) = map.names().find(|n| !known.contains(n)) {
            return Err(Error::model(path, format!("it holds `{name}`; expected {accepted}")));
        }
        if let Some(name) = ["x", "t"].into_iter().find(|n| map.find(n).is_none()) {
            return Err(Error::model(path, format!("it holds no `{name}`; expected {accepted}")));
        }
        let (x, t) = (map.take("x")?, map.take("t")?);
        let x_self_cond = map.find("x_self_cond").cloned();
        let batch = x.shape.first().copied().unwrap_or_default();
        if x.shape.len() != 4 || x.shape.contains(&0) {
            return Err(Error::model(
                path,
                format!("`x` has shape {:?}; expected [B, C, H, W], none of them 0", x.shape),
            ));
        }
        if t.shape != [batch] {
            return Err(Error::model(
                path,
                format!("`t` has shape {:?}; expected [{batch}], one per image of `x`", t.shape),
            ));
        }
        if let Some(c) = x_self_cond.as_ref().filter(|c| c.shape != x.shape) {
            return Err(Error::model(
                path,
                format!("`x_self_cond` has shape {:?}; expected {:?} as `x`", c.shape, x.shape),
            ));
        }
        let labels = map.find("labels").map(|labels| read_labels(path, labels, batch)).transpose()?;
        Ok(Self { x, t: t.to_f32(), x_self_cond, labels: labels.unwrap_or_default() })
    }
}

/// Classes, `[B]` whole numbers.
fn read_labels(path: &Path, labels: &HostTensor, batch: usize) -> Result<Vec<u32>, Error> {
    if labels.shape != [batch] {
        let problem = format!("`labels` has shape {:?}; expected [{batch}], one per image of `x`", labels.shape);
        return Err(Error::model(path, problem));
    }
    let label =
        |value: f64| (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32);
    let labels: Option<Vec<u32>> = labels.to_f64().into_iter().map(label).collect();
    labels.ok_or_else(|| Error::model(path, "`labels` holds something else than whole numbers, 0 or more"))
}

/// What the network is told of these classes; an error where it knows no such classes, or is told none and needs one.
fn cond_of(network: &DiffusionNetworkConfig, labels: &[u32]) -> Result<Cond, Error> {
    match (network.classes(), labels) {
        (None, []) => Ok(Cond::None),
        (None, _) => Err(Error::value("labels", "given", "no such tensor: this network is told no classes")),
        (Some(_), []) if network.null_class() => Ok(Cond::None),
        (Some(_), []) => {
            Err(Error::value("labels", "absent", "a class for each image: this network has none for none"))
        }
        (Some(classes), labels) => match labels.iter().find(|label| **label as usize >= classes) {
            Some(label) => Err(Error::value("a label", label, format!("0 to {}", classes - 1))),
            None => Ok(Cond::labels(labels.iter().copied())),
        },
    }
}

/// Runs the network: `y` `[B, C', H, W]`.
///
/// # Errors
/// Inputs the network does not take.
pub fn predict(model: &Model, io: &PredictIo, device: &Device) -> Result<HostTensor, Error> {
    let DiffusionModel { network, task } = model.diffusion()?;
    let [batch, channels, height, width] = io.x.shape[..] else {
        return Err(Error::value("x", format!("{:?}", io.x.shape), "shape [B, C, H, W]"));
    };
    if channels != task.network.channels() {
        return Err(Error::value("channels of `x`", channels, task.network.channels().to_string()));
    }
    if let Some(issue) = task.network.check_size("height and width of `x`", ImageSize { height, width }) {
        return Err(Error::value(issue.key, issue.value, issue.accepted));
    }
    if io.x_self_cond.is_some() && !network.self_condition() {
        return Err(Error::value("x_self_cond", "given", "no such tensor: this network does not self-condition"));
    }
    let cond = cond_of(&task.network, &io.labels)?;
    let x = io.x.to_f32();
    let condition = io.x_self_cond.as_ref().map(HostTensor::to_f32);
    let size = channels * height * width;
    let mut y = Vec::new();
    let mut out_channels = 0;
    for start in (0..batch).step_by(CHUNK) {
        let count = CHUNK.min(batch - start);
        let part = |all: &[f32]| {
            let shape = [count, channels, height, width];
            nhwc(all[start * size..][..count * size].to_vec(), shape, device)
        };
        let t = TensorData::new(io.t[start..start + count].to_vec(), [count]);
        let mut inputs = Inputs::new(part(&x), Tensor::from_data(t, device));
        inputs.x_self_cond = condition.as_deref().map(part);
        inputs.cond = cond.narrow(start..start + count);
        let out = nchw(network.forward(inputs));
        out_channels = out.1[1];
        y.extend(out.0);
    }
    Ok(HostTensor::f32(vec![batch, out_channels, height, width], y)?)
}

/// Writes `y`.
///
/// # Errors
/// A path that cannot be written.
pub fn write_prediction(path: &Path, y: HostTensor) -> Result<(), Error> {
    let mut map = TensorMap::new();
    map.insert("y", y);
    Ok(write_safetensors(path, &map, &Default::default())?)
}

/// Numbers in the order of files, `shape` `[B, C, H, W]`, to a channels-last tensor.
pub(crate) fn nhwc(values: Vec<f32>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::<4>::from_data(TensorData::new(values, shape), device).permute([0, 2, 3, 1])
}

/// A channels-last tensor to numbers in the order of files, with their shape `[B, C, H, W]`.
pub(crate) fn nchw(x: Tensor<4>) -> (Vec<f32>, [usize; 4]) {
    let x = x.permute([0, 3, 1, 2]);
    let shape = x.dims();
    (x.into_data().iter::<f32>().collect(), shape)
}
