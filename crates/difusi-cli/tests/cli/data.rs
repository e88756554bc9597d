//! `difusi data`, and training on a folder of mixed pictures.

use difusi::core::ImageSize;
use difusi::store::{Picture, write_png};

use crate::harness::{Place, TINY};

#[test]
fn digits_need_no_files() {
    let place = Place::new();
    let info = place.json(&["data", "info", "digits"]);
    assert_eq!(info["kind"], "digits");
    assert_eq!(info["classes"].as_array().unwrap().len(), 10);
    place.ok(&["data", "preview", "digits", "-n", "9", "--size", "20", "24", "-o", "p.png"]);
    let picture = difusi::store::read_png(&place.path("p.png")).unwrap();
    assert_eq!((picture.height(), picture.width()), (3 * 22 + 2, 3 * 26 + 2));
}

/// Class folders of grey and RGB pictures with one broken file among many: named, counted, trained on.
#[test]
fn a_folder_trains() {
    let place = Place::new();
    for i in 0..40usize {
        let channels = if i % 2 == 0 { 1 } else { 3 };
        let size = ImageSize { height: 9 + i % 3, width: 12 };
        let picture = Picture::filled(size, channels, [(i * 6) as u8, 128, 7]);
        let folder = place.path("pictures").join(if i % 4 == 0 { "cats" } else { "dogs" });
        std::fs::create_dir_all(&folder).unwrap();
        write_png(&folder.join(format!("{i:02}.png")), &picture, &[]).unwrap();
    }
    std::fs::write(place.path("pictures/cats/torn.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let info = place.json(&["data", "info", "pictures"]);
    assert_eq!((info["count"].as_u64(), info["skipped"].as_array().unwrap().len()), (Some(40), 1));
    let mut args = vec!["train", "folder", "--data", "pictures", "--out", "r", "--set", "train.steps=3"];
    args.extend(TINY.iter().flat_map(|set| ["--set", set]));
    let out = place.run(&args);
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && said.contains("torn.png"), "{said}");
    place.ok(&["train", "r", "--out", "r", "--resume", "--set", "train.steps=5"]);
}

#[test]
fn empty_and_broken_folders_are_errors() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    assert!(place.fails(1, &["train", "folder", "--data", "empty"]).contains("empty"));
    assert!(place.fails(1, &["data", "info", "absent"]).contains("absent"));
    let said = place.fails(2, &["data", "fetch", "imagenet"]);
    assert!(said.contains("fashion-mnist") && said.contains("inception"), "{said}");
    let nobody = ["data", "fetch", "inception", "--mirror", "http://127.0.0.1:1", "--out", "weights"];
    let said = place.fails(1, &nobody);
    assert!(said.contains("cannot fetch pt_inception-2015-12-05-6726825d.pth"), "{said}");
    assert!(place.fails(1, &["train", "folder"]).contains("--data"));
    assert!(!place.path("runs").exists());
}
