//! Asking a model for labels: samples, guidance, sweeps, and what cannot be asked.

use difusi::store::{read_npz, read_png};

use crate::harness::Place;

const CLASSES: &[&str] = &["--set", "model.classes=10", "--set", "diffusion.cond=label"];

/// Labels change pictures, classes come in turn where nothing is said, and a guidance of 1 changes nothing.
#[test]
fn labels_are_drawn() {
    let place = Place::new();
    place.train("c", 30, CLASSES);
    let draw = |more: &[&str]| {
        place.ok(&[&["sample", "c", "-n", "4", "-o", "s.npz"], more].concat());
        read_npz(&place.path("s.npz")).unwrap().get("arr_0").unwrap().to_f32()
    };
    let usual = draw(&[]);
    assert_eq!(usual, draw(&["--label", "0..9"]));
    assert_eq!(usual, draw(&["--label", "0..9", "--guidance", "1"]));
    let fives = draw(&["--label", "5"]);
    assert_ne!(usual, fives);
    assert_ne!(fives, draw(&["--label", "none"]));
    let guided = draw(&["--label", "5", "--guidance", "3"]);
    assert_ne!(fives, guided);
    assert_ne!(guided, draw(&["--label", "5", "--guidance", "3", "--negative", "1"]));
    assert_ne!(guided, draw(&["--label", "5", "--guidance", "3", "--set", "guidance.rescale=0.7"]));
    let plus = ["--label", "5", "--guidance", "0.5", "--set", "guidance.kind=cfg_pp"];
    assert_ne!(fives, draw(&plus));
    // At any batch size the same pictures.
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1.0);
    assert!(close(&guided, &draw(&["--label", "5", "--guidance", "3", "--batch", "3"])));
    // Guidance goes with the schedulers of diffusers too.
    place.ok(&["convert", "c", "scheduler_config.json"]);
    let scheduled = ["--label", "5", "--scheduler", "scheduler_config.json"];
    assert!(close(&fives, &draw(&scheduled)));
    assert!(close(&guided, &draw(&[&scheduled[..], &["--guidance", "3"]].concat())));
    place.ok(&["sample", "c", "--labels", "0,3,7", "--guidance", "1,2,4", "-o", "grid.png"]);
    let grid = read_png(&place.path("grid.png")).unwrap();
    let ladder =
        ["sample", "c", "--labels", "1,2", "--guidance", "1,8", "--thresholds", "none,static,dynamic", "-o", "t.png"];
    let found = place.json(&[&ladder[..], &["--set", "threshold.quantile=0.9"]].concat());
    let rows = found["rows"].as_array().unwrap();
    assert!(
        rows.len() == 6 && rows.iter().all(|r| (0.0..=1.0).contains(&r["saturation"].as_f64().unwrap())),
        "{found}"
    );
    assert_eq!((&rows[0]["threshold"], &rows[5]["threshold"]), (&"none".into(), &"dynamic".into()));
    assert!(place.path("t-saturation.png").exists());
    assert!(grid.width() > 3 * 8 && grid.height() > 3 * 8, "{grid:?}");
}

#[test]
fn sweeps_write_a_curve() {
    let place = Place::new();
    place.train("c", 5, CLASSES);
    let args = ["eval", "c", "--reference", "digits", "--sweep", "guidance=1,2", "-n", "30", "--force", "-o", "out"];
    let found = place.json(&[&args[..], &["--metrics", "fid,pr", "--features", "pixels:2"]].concat());
    let rows = found["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &found["key"]), (2, &"guidance".into()));
    assert_ne!(rows[0]["metrics"]["fid"], rows[1]["metrics"]["fid"]);
    let table = std::fs::read_to_string(place.path("out/sweep.csv")).unwrap();
    assert!(table.starts_with("guidance,fid,kid,is,precision,recall") && table.lines().count() == 3, "{table}");
    assert!(place.path("out/sweep.png").exists());
    let said = place.fails(2, &["eval", "c", "--reference", "digits", "--sweep", "guidance"]);
    assert!(said.contains("guidance=1,2,4,8"), "{said}");
    let said = place.fails(2, &["eval", "c", "--reference", "digits", "--sweep", "stepz=1,2"]);
    assert!(said.contains("stepz"), "{said}");
}

/// A classifier among the features tells whether pictures are what was asked, of a model and of data; what has no labels is named.
#[test]
fn labels_are_judged() {
    let place = Place::new();
    let judge = "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"classifier\"\nclasses = 10\ndim = 8\ndim_mults = [1, 2]\n\
                 [train]\nsteps = 60\nbatch_size = 32\nlearning_rate = 3e-3\n";
    std::fs::write(place.path("judge.toml"), judge).unwrap();
    place.ok(&["train", "judge.toml", "--out", "judge"]);
    place.train("c", 5, CLASSES);
    let of = |args: &[&str]| place.json(&[&["eval"], args, &["--metrics", "labels", "--features", "judge"]].concat());
    let found = of(&["c", "-n", "12", "--labels", "2,7"]);
    let classes = found["labels"]["classes"].as_array().unwrap();
    assert_eq!((&classes[2][1], &classes[7][1], &classes[0][1]), (&6.into(), &6.into(), &0.into()));
    // Real digits are told much better than chance.
    let real = of(&["digits", "-n", "200"]);
    assert!(real["labels"]["share"].as_f64().unwrap() > 0.3, "{real}");
    let said = place.ok(&["eval", "c", "-n", "10", "--metrics", "labels", "--features", "judge"]);
    assert!(said.contains("are taken for what was asked") && said.contains("9: "), "{said}");
    let said =
        place.fails(1, &["eval", "c", "-n", "10", "--label", "none", "--metrics", "labels", "--features", "judge"]);
    assert!(said.contains("the labels of the pictures"), "{said}");
    // A judge of two classes knows none of the ten.
    for folder in ["two/x/", "two/y/"] {
        place.ok(&["sample", "c", "-n", "4", "-o", folder]);
    }
    let two = judge.replace("\"digits\"", "\"folder\"\npath = \"two\"\nchannels = 1");
    let two =
        two.replace("classes = 10", "classes = 2").replace("steps = 60\nbatch_size = 32", "steps = 2\nbatch_size = 4");
    std::fs::write(place.path("two.toml"), two).unwrap();
    place.ok(&["train", "two.toml", "--out", "pair"]);
    let said = place.fails(1, &["eval", "c", "-n", "10", "--metrics", "labels", "--features", "pair"]);
    assert!(said.contains("the number of classes") && said.contains("is 2; expected 10"), "{said}");
    let said = place.fails(1, &["eval", "c", "-n", "10", "--metrics", "labels"]);
    assert!(said.contains("no classifier"), "{said}");
    let sweep = [
        "eval",
        "c",
        "--reference",
        "digits",
        "--sweep",
        "guidance=1,3",
        "-n",
        "10",
        "-o",
        "out",
        "--features",
        "judge",
    ];
    place.ok(&[&sweep[..], &["--metrics", "labels,is", "--force"]].concat());
    let table = std::fs::read_to_string(place.path("out/sweep.csv")).unwrap();
    assert!(
        table.lines().next().unwrap().ends_with(",labels") && !table.lines().nth(1).unwrap().ends_with(','),
        "{table}"
    );
}

#[test]
fn what_cannot_be_asked_is_named() {
    let place = Place::new();
    place.train("plain", 2, &[]);
    place.train("c", 2, CLASSES);
    place.train("undropped", 2, &[CLASSES, &["--set", "diffusion.cond_dropout=0"]].concat());
    for (code, args, part) in [
        (1, &["c", "--label", "10"][..], "the label is 10; expected 0 to 9"),
        (1, &["c", "--label", "3", "--guidance", "2", "--negative", "11"], "the label is 11"),
        (1, &["plain", "--label", "3"], "trained without"),
        (1, &["plain", "--guidance", "2"], "trained without a condition"),
        (1, &["undropped", "--guidance", "2"], "cond_dropout = 0"),
        (1, &["c", "--label", "none", "--guidance", "2"], "a label to be led to"),
        (1, &["c", "--label", "3", "--negative", "1"], "--guidance 2"),
        (1, &["plain", "--negative", "1"], "trained without labels"),
        (2, &["c", "--label", "3", "--classifier-config", "x.json"], "--classifier"),
        (2, &["c", "--set", "threshold.kind=dynamic", "--set", "threshold.quantile=0"], "(0, 1]"),
        (2, &["c", "--label", "three"], "0..9"),
        (2, &["c", "--guidance", "1000"], "sample.guidance.scale"),
        (2, &["c", "--guidance", "2", "--set", "guidance.kind=cfg_pp"], "[0, 1]"),
        (2, &["c", "--guidance", "1,2", "-o", "x.npz"], "for one scale of guidance"),
        (2, &["c", "--set", "threshold.kind=dynamic", "--set", "threshold.quantile=1.5"], "threshold.quantile"),
    ] {
        let said = place.fails(code, &[&["sample"], args].concat());
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

const NOISY: &str = "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"classifier\"\nnoisy = true\nclasses = 10\ndim = 8\n\
                     dim_mults = [1, 2]\nhead_width = 8\n[diffusion]\nschedule = \"cosine\"\n[train]\nsteps = 6\nbatch_size = 8\n\
                     learning_rate = 3e-3\nlog_every = 3\nvalidation = 0.01\nvalidation_images = 8\n";

/// A classifier of noisy images leads a model that knows no labels; what does not fit the model is named.
#[test]
fn classifiers_lead() {
    let place = Place::new();
    std::fs::write(place.path("noisy.toml"), NOISY).unwrap();
    place.ok(&["train", "noisy.toml", "--out", "n"]);
    place.ok(&["train", "noisy.toml", "--out", "n", "--resume"]);
    place.train("plain", 5, &[]);
    let draw = |more: &[&str]| {
        place.ok(&[&["sample", "plain", "-n", "4", "-o", "s.npz"], more].concat());
        read_npz(&place.path("s.npz")).unwrap().get("arr_0").unwrap().to_f32()
    };
    let free = draw(&[]);
    assert_eq!(free, draw(&["--classifier", "n", "--classifier-scale", "0"]));
    let led = draw(&["--classifier", "n", "--classifier-scale", "30", "--label", "3"]);
    assert_ne!(free, led);
    assert_ne!(led, draw(&["--classifier", "n", "--classifier-scale", "30", "--label", "4"]));
    assert_ne!(led, draw(&["--classifier", "n", "--classifier-scale", "30", "--label", "3", "--solver", "ancestral"]));
    let found = place.json(&["inspect", "n/model.safetensors"]);
    assert!(found.to_string().contains("noisy"), "{found}");
    for (name, sets) in [
        ("classes", &["model.classes=7"][..]),
        ("size", &["data.size=[16, 16]"]),
        ("steps", &["diffusion.timesteps=500"]),
        ("schedule", &["diffusion.schedule=linear"]),
    ] {
        let sets = sets.iter().flat_map(|s| ["--set", s]);
        let args: Vec<&str> = ["train", "noisy.toml", "--out", name].into_iter().chain(sets).collect();
        if name == "classes" {
            assert!(place.fails(2, &args).contains("model.classes"));
            continue;
        }
        place.ok(&args);
        let said = place.fails(1, &["sample", "plain", "--classifier", name, "--label", "1"]);
        assert!(said.contains("the classifier's") || said.contains("classifier's pictures"), "{name}: {said}");
    }
    let said = place.fails(1, &["sample", "plain", "--classifier", "plain", "--label", "1"]);
    assert!(said.contains("noisy = true"), "{said}");
    let said = place.fails(1, &["sample", "plain", "--classifier", "n", "--label", "none"]);
    assert!(said.contains("to lead to"), "{said}");
    let said = place.fails(1, &["sample", "plain", "--classifier", "n", "--label", "12"]);
    assert!(said.contains("0 to 9"), "{said}");
    let clean = NOISY.replace("noisy = true\n", "").replace("head_width = 8\n", "");
    std::fs::write(place.path("clean.toml"), clean).unwrap();
    let said = place.fails(2, &["train", "clean.toml"]);
    assert!(said.contains("`diffusion` is there") && said.contains("model.noisy"), "{said}");
}
