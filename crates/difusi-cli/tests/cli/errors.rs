//! Wrong usage: exit code 2, and a message that names what was typed and what is accepted.

use crate::harness::{Place, train_args};

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
    assert!(said.contains("`model.dim` is 0") && said.contains("`train.steps` is 0"), "{said}");
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
        (["--solver", "magic"], "dpm_multistep"),
        (["--set", "solver.kind=ddim_inverse"], "sample.solver"),
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

/// A reader that goes away (`| head`) is no failure, and never a panic; training outlives its terminal.
#[test]
#[cfg(unix)]
fn closed_pipes_are_no_panic() {
    let place = Place::new();
    let end = |args: &[&str], stdout: bool| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = place.command(args);
        if stdout {
            command.stdout(writer)
        } else {
            command.stderr(writer)
        };
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && !said.contains("panicked"), "{args:?}: {} {said}", out.status);
    };
    let args = train_args("r", 2, &[]);
    end(&args.iter().map(String::as_str).collect::<Vec<_>>(), false);
    assert!(place.path("r/samples.png").exists());
    end(&["inspect", "r", "--tensors"], true);
    end(&["train", "digits", "--dry-run"], true);
    end(&["data", "info", "digits"], true);
}

/// What was typed wrong ends with 2, before anything is written.
#[test]
fn wrong_usage_is_told_from_failure() {
    let place = Place::new();
    place.train("r", 2, &[]);
    for (args, part) in [
        (&["sample", "r", "--size", "7", "8"][..], "--size` is 7x8"),
        (&["sample", "r", "--weights", "beste"], "ema:RATE"),
        (&["sample", "r", "--interpolate", "a.png", "b.png", "--at", "5000"], "0 to 999"),
        (&["predict", "r", "--input", "i.safetensors", "-o", "o.npy"], ".safetensors"),
        (&["schedule", "-o", "x.pdf"], ".svg"),
        (&["noise", "x.png", "--size", "0", "0"], "--size is 0 0"),
        (&["data", "preview", "digits", "--size", "0", "5"], "[0, 5]"),
        (&["train", "digits", "--data", "x"], "--data"),
    ] {
        let said = place.fails(2, args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

/// A device that nobody knows lists those there are, one that this build leaves out says how to get it.
#[test]
fn devices_are_checked_first() {
    let place = Place::new();
    let said = place.fails(2, &["train", "digits", "--device", "gpu"]);
    assert!(said.contains("gpu") && said.contains("cpu, wgpu, vulkan, cuda or cuda:INDEX"), "{said}");
    for (device, feature) in [("wgpu", "wgpu"), ("vulkan", "vulkan"), ("cuda:1", "cuda")] {
        if difusi::DeviceChoice::is_built(device.parse().unwrap()) {
            continue;
        }
        for command in [&["train", "digits"][..], &["sample", "m.pt"]] {
            let said = place.fails(2, &[command, &["--device", device]].concat());
            assert!(said.contains(&format!("cargo build --release --features {feature}")), "{said}");
        }
    }
    assert!(!place.path("runs").exists());
}
