//! `difusi edit`: each mode on a tiny model, and what it must keep.

use std::path::Path;

use difusi::core::ImageSize;
use difusi::store::{Picture, read_png, write_png};

use crate::harness::{Place, TINY};

/// A smooth picture of 8x8; `wave` moves it.
fn draw(place: &Place, name: &str, channels: usize, wave: f32) {
    let value = |i: usize| (0.05 * i as f32 + 1.3 * (i % channels) as f32 + wave).sin() * 0.8;
    let values: Vec<f32> = (0..64 * channels).map(value).collect();
    save(place, name, ImageSize::square(8), channels, &values);
}

fn save(place: &Place, name: &str, size: ImageSize, channels: usize, values: &[f32]) {
    let picture = Picture::from_batch(size, channels, values).unwrap().remove(0);
    write_png(&place.path(name), &picture, &[]).unwrap();
}

/// White on the right half.
fn draw_mask(place: &Place, name: &str, size: ImageSize) {
    let value = |i: usize| if i % size.width < size.width / 2 { -1.0 } else { 1.0 };
    let values: Vec<f32> = (0..size.height * size.width).map(value).collect();
    save(place, name, size, 1, &values);
}

fn pixels(path: &Path) -> Vec<u8> {
    read_png(path).unwrap().pixels().to_vec()
}

fn farthest(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn redrawing_keeps_what_its_strength_leaves() {
    let place = Place::new();
    place.train("r", 3, &[]);
    draw(&place, "in.png", 1, 0.0);
    let given = pixels(&place.path("in.png"));
    let edit = |strength: &str, more: &[&str]| {
        let args = ["edit", "r", "--image", "in.png", "--strength", strength, "-o", "out/", "--steps", "50"];
        place.ok(&[&args[..], more].concat());
        pixels(&place.path("out/000000.png"))
    };
    let [little, much] = ["0.02", "1"].map(|strength| edit(strength, &["-n", "2"]));
    assert!(farthest(&little, &given) < 40, "{}", farthest(&little, &given));
    assert!(farthest(&much, &given) > 60, "{}", farthest(&much, &given));
    assert_eq!(edit("0.5", &["--threads", "1"]), edit("0.5", &["--threads", "3"]));
    assert_ne!(edit("0.5", &[]), edit("0.5", &["--seed", "1"]));
    edit("0.3", &["--solver", "ancestral"]);
    edit("0.3", &["--solver", "heun"]);
    let said = place.json(&["edit", "r", "--image", "in.png", "--strength", "0.4", "-n", "3", "--steps", "5"]);
    assert_eq!((said["count"].as_u64(), said["written"][0].as_str()), (Some(3), Some("edit.png")));
}

/// Black is kept bit for bit, white is drawn anew, whatever its fit.
#[test]
fn inpainting_keeps_the_black() {
    let place = Place::new();
    place.train("r", 3, &[]);
    draw(&place, "in.png", 1, 0.0);
    draw_mask(&place, "mask.png", ImageSize::square(8));
    let given = pixels(&place.path("in.png"));
    for (more, steps) in [(&["--plain"][..], 6), (&["--resample", "2", "--jump", "2"], 10), (&["--jump", "3"], 33)] {
        let args = [
            "edit", "r", "-i", "in.png", "--mask", "mask.png", "--steps", "6", "-n", "3", "--batch", "2", "-o", "out/",
        ];
        let out = place.run(&[&args[..], more].concat());
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(
            out.status.success() && told.contains(&format!("{}/{} drawing steps", 2 * steps, 2 * steps)),
            "{more:?}: {told}"
        );
        for i in 0..3 {
            let found = pixels(&place.path(&format!("out/{i:06}.png")));
            let same = |from: usize| (0..64).filter(|p| p % 8 / 4 == from).filter(|p| found[*p] == given[*p]).count();
            assert_eq!(same(0), 32, "{more:?}");
            assert!(same(1) < 10, "{more:?}");
        }
    }
}

/// The grey of each pixel, and the mean of each block, are those of the picture.
#[test]
fn colours_and_details_fit_what_is_known() {
    let place = Place::new();
    std::fs::create_dir(place.path("pictures")).unwrap();
    for i in 0..8 {
        draw(&place, &format!("pictures/{i}.png"), 3, i as f32);
    }
    let mut args = vec!["train", "folder", "--data", "pictures", "--out", "r", "--set", "train.steps=3"];
    TINY.iter().for_each(|set| args.extend(["--set", set]));
    place.ok(&args);
    draw(&place, "in.png", 3, 0.4);
    let given = pixels(&place.path("in.png"));
    place.ok(&["edit", "r", "-i", "in.png", "--colorize", "-o", "colour/"]);
    let found = pixels(&place.path("colour/000000.png"));
    let grey = |p: &[u8]| p.iter().map(|v| f64::from(*v)).sum::<f64>() / 3.0;
    assert!(found.chunks(3).zip(given.chunks(3)).all(|(a, b)| (grey(a) - grey(b)).abs() <= 0.75));
    assert_ne!(found, given);
    let values: Vec<f32> = (0..12).map(|i| (1.7 * i as f32).sin() * 0.7).collect();
    save(&place, "small.png", ImageSize::square(2), 3, &values);
    let small = pixels(&place.path("small.png"));
    place.ok(&["edit", "r", "-i", "small.png", "--upscale", "4", "--resample", "2", "--jump", "1", "-o", "large/"]);
    let found = pixels(&place.path("large/000000.png"));
    assert_eq!(found.len(), 192);
    for (i, wanted) in small.iter().enumerate() {
        let (block, c) = (i / 3, i % 3);
        let inside = |p: &usize| p / 24 / 4 == block / 2 && p / 3 % 8 / 4 == block % 2 && p % 3 == c;
        let mean = (0..192).filter(inside).map(|p| f64::from(found[p])).sum::<f64>() / 16.0;
        assert!((mean - f64::from(*wanted)).abs() <= 0.5, "block {block}, channel {c}: {mean} for {wanted}");
    }
}

/// The ends of a blend are the pictures, nearly: their noise becomes them again.
#[test]
fn blending_ends_at_its_pictures() {
    let place = Place::new();
    place.train("r", 3, &[]);
    draw(&place, "a.png", 1, 0.0);
    draw(&place, "b.png", 1, 1.5);
    place.ok(&[
        "edit",
        "r",
        "--between",
        "a.png",
        "b.png",
        "-n",
        "3",
        "--steps",
        "100",
        "--solver",
        "heun",
        "-o",
        "out/",
    ]);
    let [first, middle, last] = [0, 1, 2].map(|i| pixels(&place.path(&format!("out/{i:06}.png"))));
    let [a, b] = ["a.png", "b.png"].map(|name| pixels(&place.path(name)));
    assert!(farthest(&first, &a) < 50 && farthest(&last, &b) < 50, "{} {}", farthest(&first, &a), farthest(&last, &b));
    assert_ne!(middle, first);
    let said = place.fails(1, &["edit", "r", "--between", "a.png", "b.png", "--solver", "ancestral", "--steps", "5"]);
    assert!(said.contains("`solver` is ancestral") && said.contains("ddim with eta = 0"), "{said}");
}

/// Processes whose noise grows beyond 1, or that go straight, edit like any other.
#[test]
fn every_process_edits() {
    let place = Place::new();
    draw(&place, "a.png", 1, 0.0);
    draw(&place, "b.png", 1, 1.5);
    draw_mask(&place, "mask.png", ImageSize::square(8));
    let given = pixels(&place.path("a.png"));
    for (schedule, prediction) in [("edm", "edm"), ("flow", "flow"), ("ve", "score"), ("sub_vp", "velocity")] {
        let sets = [format!("diffusion.schedule={schedule}"), format!("diffusion.prediction={prediction}")];
        place.train(schedule, 2, &["--set", &sets[0], "--set", &sets[1]]);
        let edit = |more: &[&str]| {
            place.ok(&[&["edit", schedule, "-o", "out/", "--steps", "8"], more].concat());
            pixels(&place.path("out/000000.png"))
        };
        let masked = edit(&["-i", "a.png", "--mask", "mask.png", "--jump", "2", "--resample", "2"]);
        assert!((0..64).filter(|p| p % 8 < 4).all(|p| masked[p] == given[p]), "{schedule}");
        edit(&["-i", "a.png", "--strength", "0.5", "--solver", "dpm_multistep"]);
        edit(&["-i", "a.png", "--upscale", "2", "--solver", "heun"]);
        edit(&["--between", "a.png", "b.png", "-n", "2"]);
        let corrected = ["sample", schedule, "--solver", "predictor_corrector", "--steps", "6", "-n", "2"];
        place.ok(&[&corrected[..], &["-o", "pc.png"]].concat());
    }
}

#[test]
fn what_cannot_be_edited_is_named() {
    let place = Place::new();
    place.train("r", 2, &[]);
    draw(&place, "in.png", 1, 0.0);
    draw_mask(&place, "wide.png", ImageSize { height: 8, width: 10 });
    for (code, more, parts) in [
        (2, &["--strength", "1.5"][..], &["--strength is 1.5", "(0, 1]"][..]),
        (2, &["--strength", "0"], &["--strength is 0", "(0, 1]"]),
        (1, &["--strength", "0.01", "--steps", "5"], &["`strength` is 0.01", "at least 0.2"]),
        (1, &["--mask", "wide.png"], &["wide.png", "8x10", "8x8", "in.png"]),
        (1, &["--mask", "absent.png"], &["absent.png"]),
        (2, &["--upscale", "3"], &["--upscale is 3", "divides", "8x8"]),
        (2, &["--colorize"], &["--colorize", "1 channel", "3"]),
        (2, &["--strength", "0.5", "--mask", "wide.png"], &["--strength", "--mask", "cannot be used"]),
        (2, &["--colorize", "--upscale", "2"], &["--colorize", "--upscale", "cannot be used"]),
        (2, &["--between", "in.png", "in.png"], &["--image", "--between"]),
        (2, &["--mask", "wide.png", "--plain", "--resample", "3"], &["--plain", "--resample"]),
        (2, &["--strength", "0.5", "-o", "x.bmp"], &["-o is x.bmp"]),
        (2, &[], &["--strength", "--mask", "--colorize", "--upscale", "--between"]),
    ] {
        let said = place.fails(code, &[&["edit", "r", "--image", "in.png"], more].concat());
        for part in parts {
            assert!(said.contains(part), "{more:?}: {part} is not in {said}");
        }
    }
    assert!(place.fails(2, &["edit", "r", "--strength", "0.5"]).contains("--image"));
    assert!(!place.path("edit.png").exists());
}
