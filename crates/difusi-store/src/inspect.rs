//! What a file is and holds, by its content: for `difusi inspect FILE`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::error::Fault;
use crate::map::TensorInfo;
use crate::{Dtype, PtValue, StoreError, npy, npz, picture, pt, safetensors};

/// The kinds of files that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// safetensors.
    Safetensors,
    /// `torch.save` since PyTorch 1.6.
    PytorchZip,
    /// `torch.save` before.
    PytorchLegacy,
    /// One NumPy array.
    Npy,
    /// Several NumPy arrays.
    Npz,
    /// A picture.
    Png,
    /// A picture whose insides are not listed.
    Jpeg,
    /// As [`Container::Jpeg`].
    Gif,
    /// As [`Container::Jpeg`].
    Webp,
    /// The format of MNIST's files.
    Idx,
    /// The same, compressed with gzip.
    IdxGz,
    /// Anything else.
    Unknown,
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PytorchZip => "PyTorch (zip)",
            Self::PytorchLegacy => "PyTorch (legacy pickle stream)",
            Self::Npy => "NumPy array",
            Self::Npz => "NumPy archive",
            Self::Png => "PNG picture",
            Self::Jpeg => "JPEG picture",
            Self::Gif => "GIF picture",
            Self::Webp => "WebP picture",
            Self::Idx => "idx",
            Self::IdxGz => "idx, gzip",
            Self::Unknown => "unknown",
        })
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What it is.
    pub container: Container,
    /// Its tensors, in order; a picture is one of shape `[H, W, C]`.
    pub tensors: Vec<TensorInfo>,
    /// Text beside them: safetensors metadata, PNG text, the plain values of a PyTorch file under dotted names.
    pub metadata: Vec<(String, String)>,
}

/// Tells what a file is from its first bytes (for zip archives, from the names in it).
pub fn detect(path: &Path) -> Result<Container, StoreError> {
    sniff(path).map_err(Fault::at(path, "any"))
}

fn sniff(path: &Path) -> Result<Container, Fault> {
    let mut start = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut start)?;
    Ok(if start.starts_with(b"PK") {
        zip_kind(path)
    } else if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        Container::Png
    } else if start.starts_with(b"\xff\xd8\xff") {
        Container::Jpeg
    } else if start.starts_with(b"GIF87a") || start.starts_with(b"GIF89a") {
        Container::Gif
    } else if start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP") {
        Container::Webp
    } else if npy::looks_like(&start) {
        Container::Npy
    } else if pt::looks_like_legacy(&start) {
        Container::PytorchLegacy
    } else if start.starts_with(&[0x1f, 0x8b]) {
        let mut inner = Vec::new();
        // Damage shows as too few bytes, which are not idx.
        let _ = GzDecoder::new(start.as_slice()).take(16).read_to_end(&mut inner);
        if idx_shape(&inner).is_some() { Container::IdxGz } else { Container::Unknown }
    } else if idx_shape(&start).is_some() {
        Container::Idx
    } else if safetensors::looks_like(&start) {
        Container::Safetensors
    } else {
        Container::Unknown
    })
}

fn zip_kind(path: &Path) -> Container {
    let names = || -> Option<Vec<String>> {
        let archive = zip::ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok()?;
        Some(archive.file_names().filter_map(|n| Some(n.ok()?.into_owned())).collect())
    };
    match names() {
        Some(names) if names.iter().any(|n| n == "data.pkl" || n.ends_with("/data.pkl")) => Container::PytorchZip,
        Some(names) if !names.is_empty() && names.iter().all(|n| n.ends_with(".npy")) => Container::Npz,
        _ => Container::Unknown,
    }
}

/// Lists a file's tensors and text; reads no more than it must.
pub fn inspect(path: &Path) -> Result<Listing, StoreError> {
    let container = detect(path)?;
    let (tensors, metadata) = match container {
        Container::Safetensors => {
            let header = safetensors::read_header(path)?;
            (header.tensors, header.metadata.into_iter().collect())
        }
        Container::PytorchZip | Container::PytorchLegacy => pytorch(&pt::read_structure(path)?),
        Container::Npy => (vec![npy::npy_info(path)?], Vec::new()),
        Container::Npz => (npz::npz_infos(path)?, Vec::new()),
        Container::Png => {
            let (shape, text) = picture::png_text(path).map_err(Fault::at(path, "PNG"))?;
            (vec![TensorInfo { name: "picture".into(), shape: shape.to_vec(), dtype: Dtype::U8 }], text)
        }
        Container::Idx | Container::IdxGz => (vec![idx_info(path, container)?], Vec::new()),
        Container::Jpeg | Container::Gif | Container::Webp | Container::Unknown => (Vec::new(), Vec::new()),
    };
    Ok(Listing { container, tensors, metadata })
}

fn pytorch(root: &PtValue<TensorInfo>) -> (Vec<TensorInfo>, Vec<(String, String)>) {
    let (mut tensors, mut plain) = (Vec::new(), Vec::new());
    root.visit(&mut |name, value| {
        let text = match value {
            PtValue::Tensor(info) => return tensors.push(TensorInfo { name, ..info.clone() }),
            PtValue::Str(text) => text.clone(),
            PtValue::Int(v) => v.to_string(),
            PtValue::Float(v) => v.to_string(),
            PtValue::Bool(v) => v.to_string(),
            other => other.type_name().to_string(),
        };
        plain.push((name, text));
    });
    (tensors, plain)
}

/// Two zero bytes, a type, a number of dimensions, then each as a big-endian u32.
fn idx_shape(start: &[u8]) -> Option<(Dtype, Vec<usize>)> {
    let [0, 0, kind, rank @ 1..=4, rest @ ..] = start else {
        return None;
    };
    let dtype = match kind {
        0x08 => Dtype::U8,
        0x09 => Dtype::I8,
        0x0b => Dtype::I16,
        0x0c => Dtype::I32,
        0x0d => Dtype::F32,
        0x0e => Dtype::F64,
        _ => return None,
    };
    let words = rest.get(..usize::from(*rank) * 4)?.as_chunks::<4>().0;
    Some((dtype, words.iter().map(|w| u32::from_be_bytes(*w) as usize).collect()))
}

fn idx_info(path: &Path, container: Container) -> Result<TensorInfo, StoreError> {
    let read = || {
        let file = File::open(path)?;
        let mut start = Vec::new();
        match container {
            Container::IdxGz => GzDecoder::new(file).take(20).read_to_end(&mut start)?,
            _ => file.take(20).read_to_end(&mut start)?,
        };
        let (dtype, shape) = idx_shape(&start).ok_or_else(|| Fault::Bad("its header is damaged".into()))?;
        Ok(TensorInfo { name: "idx".into(), shape, dtype })
    };
    read().map_err(Fault::at(path, "idx"))
}
