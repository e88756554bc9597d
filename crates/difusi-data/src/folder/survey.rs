//! What a folder's images are like before they are resized: sizes, modes, statistics.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use super::{Entry, Scan, check_broken, scan};
use crate::decode::{self, Form};
use crate::info::Moments;
use crate::{Channels, DataError, LabelSource, OpenOptions, Skipped};

/// What one image is like.
struct One {
    height: u64,
    width: u64,
    mode: &'static str,
    moments: Moments,
}

/// What all images are like; [`Survey::entries`] and [`Survey::sizes`] are parallel.
pub(crate) struct Survey {
    pub(crate) entries: Vec<Entry>,
    /// `[H, W]` of each entry.
    pub(crate) sizes: Vec<[u64; 2]>,
    pub(crate) modes: BTreeMap<String, u64>,
    pub(crate) moments: Moments,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) ignored: u64,
    pub(crate) class_names: Vec<String>,
    pub(crate) classes: Option<u32>,
}

/// Decodes every image of a folder at its own size, transparent pixels over white.
///
/// # Errors
/// As [`super::Folder::open`]; broken images are listed, however many there are, unless nothing is left.
pub(crate) fn survey(root: &Path, options: &OpenOptions<'_>) -> Result<Survey, DataError> {
    let Scan { entries, missing, ignored, class_names, classes } = scan(root, LabelSource::Auto)?;
    let total = entries.len() as u64;
    let done = std::sync::atomic::AtomicU64::new(0);
    let looked: Vec<Result<One, Skipped>> = entries
        .par_iter()
        .map(|e| {
            let one = look(&e.path);
            if let Some(progress) = options.progress {
                progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            }
            one
        })
        .collect();
    let mut s = Survey {
        entries: Vec::new(),
        sizes: Vec::new(),
        modes: BTreeMap::new(),
        moments: Moments::default(),
        skipped: missing,
        ignored,
        class_names,
        classes,
    };
    for (entry, one) in entries.into_iter().zip(looked) {
        match one {
            Err(broken) => s.skipped.push(broken),
            Ok(one) => {
                s.entries.push(entry);
                s.sizes.push([one.height, one.width]);
                *s.modes.entry(one.mode.to_string()).or_default() += 1;
                s.moments.merge(&one.moments);
            }
        }
    }
    if s.entries.is_empty() {
        check_broken(root, &s.skipped, s.skipped.len() as u64)?;
    }
    Ok(s)
}

fn look(path: &Path) -> Result<One, Skipped> {
    let decoded = decode::decode(path)?;
    let form = Form { channels: Channels::Rgb, background: [255; 3] };
    let (values, [h, w, c]) = decode::fitted(&decoded.image, None, form);
    let bytes = crate::resize::to_bytes(&values);
    Ok(One { height: h as u64, width: w as u64, mode: decoded.mode, moments: Moments::of(&bytes, c) })
}
