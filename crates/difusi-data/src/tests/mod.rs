//! Tests of the room as a whole, and what they share: pictures made byte by byte, the data beside the repository.

mod cifar;
mod decode;
mod fetch;
mod folder;
mod hostile;
mod idx;
mod shared;

use std::io::Write;
use std::path::{Path, PathBuf};

use difusi_core::{Dataset, Draw, Noise, Stream, pixels};

use crate::{OpenOptions, Search};

/// A folder of `../shared/data`, or `None` after saying why: the data lies beside the repository and may be absent.
fn shared_data(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("DIFUSI_SHARED").map_or(beside, PathBuf::from);
    let path = root.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("DIFUSI_REQUIRE_SHARED").is_none_or(|v| v != "1"), "{} is absent", path.display());
    println!("skipped: {} is absent", path.display());
    None
}

/// Options that look nowhere but at `data`.
fn only(data: &Path) -> OpenOptions<'static> {
    OpenOptions { search: Search { data: Some(data.into()), ..Search::default() }, ..OpenOptions::default() }
}

fn stream(index: u64) -> Stream {
    Noise::new(0).stream(Draw::Augment, index, 0)
}

/// Image `index` as bytes, and its label.
fn image(set: &dyn Dataset, index: u64) -> (Vec<u8>, Option<u32>) {
    let e = set.get(index, &mut stream(index)).unwrap();
    (e.pixels.iter().map(|v| pixels::to_byte(*v)).collect(), e.label)
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A PNG made chunk by chunk, so that every colour type can be had.
struct Png<'a> {
    size: [u32; 2],
    depth: u8,
    /// 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
    colour: u8,
    palette: Option<&'a [u8]>,
    transparent: Option<&'a [u8]>,
    /// Rows without filter bytes.
    rows: &'a [u8],
}

impl Png<'_> {
    fn bytes(&self) -> Vec<u8> {
        let [h, w] = self.size;
        let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
        let header = [&w.to_be_bytes()[..], &h.to_be_bytes(), &[self.depth, self.colour, 0, 0, 0]].concat();
        chunk(&mut out, b"IHDR", &header);
        self.palette.iter().for_each(|p| chunk(&mut out, b"PLTE", p));
        self.transparent.iter().for_each(|t| chunk(&mut out, b"tRNS", t));
        let filtered: Vec<u8> =
            self.rows.chunks(self.rows.len() / h as usize).flat_map(|r| [&[0], r].concat()).collect();
        let mut e = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        e.write_all(&filtered).unwrap();
        chunk(&mut out, b"IDAT", &e.finish().unwrap());
        chunk(&mut out, b"IEND", &[]);
        out
    }
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    out.extend(kind);
    out.extend(data);
    out.extend(crc.sum().to_be_bytes());
}

/// A PNG of one RGB colour.
fn flat(size: [u32; 2], rgb: [u8; 3]) -> Vec<u8> {
    let rows = rgb.repeat((size[0] * size[1]) as usize);
    Png { size, depth: 8, colour: 2, palette: None, transparent: None, rows: &rows }.bytes()
}
