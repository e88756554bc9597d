//! Statistics files: mean and covariance of features in an npz, in the names that others use, so that nobody extracts the features of a
//! data set twice.
//!
//! | layout | names |
//! |---|---|
//! | pytorch-fid, EDM | `mu` `[D]`, `sigma` `[D, D]` |
//! | guided-diffusion | those, and `mu_s` `[S]`, `sigma_s` `[S, S]` of spatial features; `arr_0` (pictures) may lie beside them |
//! | denoising-diffusion-pytorch | `m2` `[D]`, `s2` `[D, D]` |
//!
//! Numbers are f64 or f32. What is written here says also which features they are and of how many pictures (`difusi_features`,
//! `difusi_count`), which others skip. Deliberately absent: EDM2's pickles.

use std::path::Path;

use difusi_store::{HostData, HostTensor, StoreError, TensorMap, read_npz_named, write_npz};

use crate::{Gaussian, MetricsError};

/// The names in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `mu`, `sigma`, and `mu_s`, `sigma_s` where there are spatial features: pytorch-fid, EDM and guided-diffusion.
    #[default]
    Common,
    /// `m2`, `s2`: denoising-diffusion-pytorch. Without spatial features.
    DenoisingDiffusion,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Of the features.
    pub features: Gaussian,
    /// Of spatial features, where there are some.
    pub spatial: Option<Gaussian>,
    /// Which features, where the file says.
    pub name: Option<String>,
    /// Of how many pictures, where the file says.
    pub count: Option<u64>,
}

const NAMES: [&str; 8] = ["mu", "sigma", "mu_s", "sigma_s", "m2", "s2", "difusi_features", "difusi_count"];

impl Statistics {
    /// Reads any of the layouts.
    ///
    /// # Errors
    /// A file that is damaged or has none of the names; arrays of other shapes or types; what is no covariance. Each names the file.
    pub fn read(path: &Path) -> Result<Self, MetricsError> {
        let (map, all) = read_npz_named(path, &|name| NAMES.contains(&name))?;
        let wrong = |problem: String| StoreError::Format { path: path.to_path_buf(), format: "statistics", problem };
        let pair = |mean: &str, covariance: &str| -> Result<Option<Gaussian>, MetricsError> {
            match (map.find(mean), map.find(covariance)) {
                (None, None) => Ok(None),
                (Some(m), Some(c)) => gaussian((mean, m), (covariance, c)).map(Some).map_err(|e| wrong(e).into()),
                (m, _) => {
                    let (has, lacks) = if m.is_some() { (mean, covariance) } else { (covariance, mean) };
                    Err(wrong(format!("it has `{has}` but no `{lacks}`")).into())
                }
            }
        };
        let Some(features) = pair("mu", "sigma")?.map_or_else(|| pair("m2", "s2"), |g| Ok(Some(g)))? else {
            let found = if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
            let problem = format!("it holds {found}; expected `mu` and `sigma`, or `m2` and `s2`");
            return Err(wrong(problem).into());
        };
        let name = map.find("difusi_features").and_then(|t| match &t.data {
            HostData::U8(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        });
        let count = map.find("difusi_count").and_then(|t| t.to_i64("difusi_count").ok()?.first().copied());
        let count = count.and_then(|n| u64::try_from(n).ok());
        Ok(Self { features, spatial: pair("mu_s", "sigma_s")?, name, count })
    }

    /// Writes the file, in f64.
    ///
    /// # Errors
    /// A path that cannot be written.
    pub fn write(&self, path: &Path, layout: Layout) -> Result<(), MetricsError> {
        let mut map = TensorMap::new();
        let mut put = |names: [&str; 2], g: &Gaussian| -> Result<(), StoreError> {
            map.insert(names[0], HostTensor::new([g.dim()], HostData::F64(g.mean().to_vec()))?);
            map.insert(names[1], HostTensor::new([g.dim(), g.dim()], HostData::F64(g.covariance().to_vec()))?);
            Ok(())
        };
        match layout {
            Layout::DenoisingDiffusion => put(["m2", "s2"], &self.features)?,
            Layout::Common => {
                put(["mu", "sigma"], &self.features)?;
                if let Some(spatial) = &self.spatial {
                    put(["mu_s", "sigma_s"], spatial)?;
                }
            }
        }
        if let Some(name) = &self.name {
            map.insert("difusi_features", HostTensor::new([name.len()], HostData::U8(name.clone().into_bytes()))?);
        }
        if let Some(count) = self.count.and_then(|n| i64::try_from(n).ok()) {
            map.insert("difusi_count", HostTensor::new([1], HostData::I64(vec![count]))?);
        }
        Ok(write_npz(path, &map)?)
    }
}

/// A mean and a covariance with their names; what is wrong otherwise.
fn gaussian(mean: (&str, &HostTensor), covariance: (&str, &HostTensor)) -> Result<Gaussian, String> {
    let numbers = |(name, tensor): (&str, &HostTensor)| match &tensor.data {
        HostData::F64(v) => Ok(v.clone()),
        HostData::F32(v) => Ok(v.iter().map(|v| f64::from(*v)).collect()),
        other => Err(format!("`{name}` is {}; expected f64 or f32", other.dtype())),
    };
    let [dim] = mean.1.shape[..] else {
        return Err(format!("`{}` has shape {:?}; expected [D]", mean.0, mean.1.shape));
    };
    if covariance.1.shape != [dim, dim] {
        let (name, shape) = (covariance.0, &covariance.1.shape);
        return Err(format!("`{name}` has shape {shape:?}; expected [{dim}, {dim}], as `{}` has {dim}", mean.0));
    }
    Gaussian::new(numbers(mean)?, numbers(covariance)?).map_err(|e| format!("`{}`: {e}", covariance.0))
}
