//! eval of pictures: drawn, in an npz, in a folder, as statistics; a tiny model, and pixels as features.

use serde_json::Value;

use crate::harness::Place;

const PIXELS: &[&str] = &["--features", "pixels:4", "--reference", "digits"];
const ALL: &[&str] = &["--metrics", "fid,kid,pr,spectrum,diversity"];

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

/// The same pictures have the same numbers however they come; threads and batches change nothing.
#[test]
fn pictures_from_anywhere() {
    let place = Place::new();
    place.train("r", 3, &[]);
    let judged = |subject: &str, more: &[&str]| place.json(&[&["eval", subject], PIXELS, ALL, more].concat());
    let drawn = judged("r", &["-n", "40"]);
    assert_eq!((drawn["pictures"].as_u64(), drawn["reference_pictures"].as_u64()), (Some(40), Some(40)));
    assert_eq!((drawn["features"].as_str(), drawn["dim"].as_u64()), (Some("pixels:4"), Some(16)));
    assert!(number(&drawn, "fid") > 0.0 && drawn["kid"]["standard_error"].as_f64().unwrap() > 0.0, "{drawn}");
    for key in ["precision", "recall"] {
        assert!((0.0..=1.0).contains(&number(&drawn, key)));
    }
    assert!(drawn["spectrum"]["high_share"].as_f64().unwrap() > 0.0 && number(&drawn, "reference_diversity") > 0.0);
    assert!(drawn["notes"].to_string().contains("40 pictures are few"), "{drawn}");
    place.ok(&["sample", "r", "-n", "40", "-o", "s.npz"]);
    place.ok(&["sample", "r", "-n", "40", "-o", "s/"]);
    for (subject, more) in [("s.npz", &[][..]), ("s", &[]), ("r", &["-n", "40", "--batch", "9", "--threads", "1"])] {
        let found = judged(subject, more);
        for key in ["fid", "precision", "recall", "diversity", "reference_diversity"] {
            // Of a network that has hardly learned, precision may be 0 on both sides.
            assert!((number(&found, key) - number(&drawn, key)).abs() <= 1e-2 * number(&drawn, key), "{subject} {key}");
        }
        if subject != "r" {
            assert_eq!((&found["fid"], &found["kid"]), (&drawn["fid"], &drawn["kid"]), "{subject}");
        }
    }
    assert_ne!(judged("r", &["-n", "40", "--seed", "1"])["fid"], drawn["fid"]);
    assert_ne!(judged("r", &["-n", "40", "--steps", "2", "--solver", "euler"])["fid"], drawn["fid"]);
    let said = place.ok(&[&["eval", "s.npz"], PIXELS, ALL].concat());
    for part in ["FID", "KID", "precision", "fine detail", "diversity", "40 pictures against 40"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Statistics are saved, and stand for the pictures they are of.
#[test]
fn statistics_stand_for_pictures() {
    let place = Place::new();
    let eval = |args: &[&str]| place.json(&[&["eval"], args, &["--features", "pixels:3"]].concat());
    eval(&["digits", "-n", "60", "--save-stats", "d.npz"]);
    eval(&["digits", "--split", "test", "-n", "60", "--save-stats", "t.npz"]);
    let itself = eval(&["d.npz", "--reference", "d.npz", "--metrics", "fid"]);
    assert!(number(&itself, "fid") < 1e-9, "{itself}");
    let direct = eval(&["digits", "-n", "60", "--reference", "digits", "--metrics", "fid"]);
    let saved = eval(&["t.npz", "--reference", "d.npz", "--metrics", "fid"]);
    assert!((number(&direct, "fid") / number(&saved, "fid") - 1.0).abs() < 1e-9, "{direct} {saved}");
    assert_eq!(saved["pictures"].as_u64(), Some(60));
    // Of a set with an end, -n takes some; without a reference there are metrics too.
    let alone = eval(&["digits", "-n", "25", "--metrics", "diversity,spectrum"]);
    assert_eq!((alone["pictures"].as_u64(), &alone["reference"]), (Some(25), &Value::Null));
}

#[test]
fn what_cannot_be_judged_is_named() {
    let place = Place::new();
    let fails = |code, args: &[&str], part: &str| {
        let said = place.fails(code, &[&["eval"], args].concat());
        assert!(said.contains(part), "{part}: {said}");
    };
    fails(1, &["digits", "-n", "10", "--reference", "digits", "--metrics", "fid"], "at least 65");
    let forced = ["eval", "digits", "-n", "10", "--reference", "digits", "--metrics", "fid", "--force"];
    let found = place.json(&forced);
    assert!(found["notes"].to_string().contains("far too high"), "{found}");
    fails(2, &["digits", "--metrics", "fdi"], "fid, kid");
    fails(2, &["digits", "--metrics", "fid"], "--reference");
    fails(2, &["digits"], "nothing to measure");
    fails(2, &["digits", "--save-stats", "s.txt"], ".npz");
    fails(2, &["digits", "--metrics", "spectrum", "--steps", "3"], "no model");
    fails(2, &["digits", "--metrics", "spectrum", "--exact"], "bpd");
    fails(1, &["digits", "-n", "20", "--metrics", "is"], "no classifier");
    fails(1, &["digits", "-n", "20", "--metrics", "spectrum", "--features", "vgg"], "pixels:SIDE");
    fails(
        1,
        &["digits", "-n", "20", "--metrics", "fid", "--reference", "digits", "--features", "inception"],
        "fetch inception",
    );
    fails(2, &["digits", "--metrics", "spectrum", "--feature-resize", "nearest"], "tensorflow");
    fails(1, &["absent", "--metrics", "spectrum"], "absent");
    place.ok(&["eval", "digits", "-n", "70", "--save-stats", "s.npz"]);
    fails(1, &["digits", "-n", "70", "--reference", "s.npz", "--metrics", "kid"], "`kid`");
    fails(1, &["digits", "-n", "70", "--reference", "s.npz", "--metrics", "fid", "--features", "pixels:7"], "pixels:7");
    std::fs::create_dir(place.path("folder")).unwrap();
    std::fs::write(place.path("folder/x.png"), "no picture").unwrap();
    fails(1, &["folder", "--metrics", "spectrum"], "x.png");
}
