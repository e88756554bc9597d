//! PNG, GIF, grids and panels.

use difusi_core::ImageSize;
use difusi_store::{Panel, PanelRow, Picture, Repeat, grid, read_png, read_png_text, write_gif, write_png};

use crate::file;

/// A picture whose every byte differs from its neighbours.
fn picture(height: usize, width: usize, channels: usize, seed: usize) -> Picture {
    let pixels = (0..height * width * channels).map(|i| (i * 37 + seed * 11) as u8).collect();
    Picture::new(ImageSize { height, width }, channels, pixels).unwrap()
}

#[test]
fn png_round_trip_with_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.png");
    let text = [("command", "difusi sample runs/digits --seed 0"), ("seed", "0"), ("prompt", "ein Männchen → 😀")];
    for channels in [1, 3] {
        let p = picture(5, 7, channels, 1);
        write_png(&path, &p, &text).unwrap();
        assert_eq!(read_png(&path).unwrap(), p);
        let back = read_png_text(&path).unwrap();
        assert_eq!(back, text.map(|(k, v)| (k.to_string(), v.to_string())));
    }
    let error = write_png(&dir.path().join("no/f.png"), &picture(1, 1, 1, 0), &[("", "x")]).unwrap_err();
    assert!(error.to_string().contains("key") && !dir.path().join("no").exists());
}

#[test]
fn damaged_pngs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.png");
    write_png(&path, &picture(5, 7, 3, 1), &[("k", "v")]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for end in 0..bytes.len() - 12 {
        let (_dir, path) = file(&bytes[..end]);
        assert!(read_png(&path).unwrap_err().to_string().contains("file"));
    }
}

/// Every picture is found again at its place; the last row may be short.
#[test]
fn grids_hold_their_pictures() {
    let all: Vec<Picture> = (0..5).map(|i| picture(4, 3, 1, i)).collect();
    let g = grid(&all, 2, 2).unwrap();
    assert_eq!((g.height(), g.width()), (3 * 6 + 2, 2 * 5 + 2));
    for (i, p) in all.iter().enumerate() {
        let (y, x) = (2 + i / 2 * 6, 2 + i % 2 * 5);
        for row in 0..4 {
            assert_eq!(g.pixels()[(y + row) * 12 + x..][..3], p.pixels()[row * 3..][..3]);
        }
    }
    assert!(grid(&[], 2, 2).is_err());
    assert!(grid(&[all[0].clone(), picture(3, 4, 1, 0)], 2, 2).is_err());
    assert_eq!(grid(&all[..1], 99, 0).unwrap(), all[0]);
}

#[test]
fn pictures_are_checked_and_scaled() {
    let size = ImageSize { height: 1, width: 2 };
    assert!(Picture::new(size, 2, vec![0; 4]).is_err() && Picture::new(size, 1, vec![0; 3]).is_err());
    assert!(Picture::new(ImageSize::square(0), 1, vec![]).is_err());
    let p = Picture::from_unit(size, 1, &[-1.0, 3.0]).unwrap();
    assert_eq!(p.pixels(), [0, 255]);
    let up = p.upscaled(2);
    assert_eq!((up.size(), up.pixels()), (ImageSize { height: 2, width: 4 }, &[0, 0, 255, 255, 0, 0, 255, 255][..]));
    assert_eq!(p.to_rgb().pixels(), [0, 0, 0, 255, 255, 255]);
    assert_eq!(Picture::from_batch(size, 1, &[0.0; 6]).unwrap().len(), 3);
    assert!(Picture::from_batch(size, 1, &[0.0; 5]).is_err());
}

/// Greys come back exactly; frames of many colours are quantised, not refused.
#[test]
fn gifs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.gif");
    let grey: Vec<Picture> = (0..3).map(|i| picture(16, 16, 1, i)).collect();
    write_gif(&path, &grey, 40, Repeat::Forever).unwrap();
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(std::fs::File::open(&path).unwrap()).unwrap();
    for p in &grey {
        let frame = decoder.read_next_frame().unwrap().unwrap();
        assert_eq!(frame.delay, 4);
        let red: Vec<u8> = frame.buffer.iter().step_by(4).copied().collect();
        assert_eq!(red, p.pixels());
    }
    assert!(decoder.read_next_frame().unwrap().is_none());
    write_gif(&path, &[picture(40, 40, 3, 1)], 1, Repeat::Once).unwrap();
    assert!(write_gif(&path, &[], 1, Repeat::Once).is_err());
    assert!(write_gif(&path, &[picture(2, 2, 1, 0), picture(2, 3, 1, 0)], 1, Repeat::Once).is_err());
}

#[test]
fn panels_have_labels_and_pictures() {
    let row = |label: &str, n| PanelRow {
        label: label.into(),
        pictures: (0..n).map(|i| picture(28, 28, 1 + 2 * (i % 2), i)).collect(),
    };
    let mut panel = Panel::new(vec![row("closed form", 4), row("step by step", 3)]);
    panel.columns = ["t = 0", "250", "500", "999"].map(String::from).to_vec();
    panel.title = "q(x_t | x_0), cosine schedule".into();
    let out = panel.draw().unwrap();
    assert!(out.width() > 4 * 32 && out.height() > 2 * 32);
    assert!(Panel::new(vec![]).draw().is_err());
    if let Some(folder) = std::env::var_os("DIFUSI_LOOK") {
        write_png(&std::path::Path::new(&folder).join("panel.png"), &out, &[]).unwrap();
    }
}
