//! Wrong usage: exit code 2, and a message that names what was typed and what is accepted.

use crate::harness::Place;

#[test]
fn unknown_presets_list_the_known_ones() {
    let said = Place::new().fails(2, &["train", "mnits"]);
    for name in ["mnits", "digits", "mnist", "fashion-mnist", "cifar10", "folder", "mnist-ddpm", "folder-128"] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[test]
fn all_mistakes_at_once() {
    let place = Place::new();
    let said = place
        .fails(2, &["train", "digits", "--set", "train.stepz=5", "--set", "model.dim=0", "--set", "train.seed=\"x\""]);
    for part in ["train.stepz", "did you mean `steps`", "train.seed"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = place.fails(2, &["train", "digits", "--set", "model.dim=0", "--set", "train.steps=0"]);
    assert!(said.contains("`dim` is 0") && said.contains("`train.steps` is 0"), "{said}");
    assert!(!place.path("runs").exists());
}

#[test]
fn missing_data_says_where_it_was_looked_for() {
    let said = Place::new().fails(1, &["train", "mnist"]);
    assert!(
        said.contains("difusi data fetch mnist") && said.contains("--data") && said.contains("DIFUSI_DATA"),
        "{said}"
    );
}

#[test]
fn sizes_that_cannot_be_halved_are_named() {
    let said = Place::new().fails(2, &["train", "digits", "--set", "data.size=[30, 28]"]);
    assert!(said.contains("30x28") && said.contains("divisible by 4"), "{said}");
}

#[test]
fn broken_models_are_named() {
    let place = Place::new();
    std::fs::write(place.path("m.safetensors"), b"not a model at all").unwrap();
    std::fs::write(place.path("m.pt"), b"PK\x03\x04 torn").unwrap();
    for file in ["m.safetensors", "m.pt", "absent.pt"] {
        assert!(place.fails(1, &["sample", file]).contains(file), "{file}");
    }
    std::fs::create_dir(place.path("empty")).unwrap();
    assert!(place.fails(1, &["sample", "empty"]).contains("empty"));
    assert!(place.fails(2, &["sample", "m.pt", "-o", "x.bmp"]).contains(".png"));
}

#[test]
fn sampling_values_are_checked() {
    let place = Place::new();
    place.train("r", 2, &[]);
    for (args, part) in [
        (["--steps", "2000"], "sample.steps"),
        (["--solver", "magic"], "magic"),
        (["--eta", "3"], "sample.solver.eta"),
        (["--set", "thresold.kind=none"], "thresold"),
        (["--weights", "ema:0.5"], "ema:0.5"),
        (["--weights", "best"], "best"),
    ] {
        let out = place.run(&[&["sample", "r", "-o", "x.png"], &args[..]].concat());
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(part), "{args:?}: {said}");
        assert!(!place.path("x.png").exists());
    }
}
