//! `difusi compare`: all families on tiny digits, stopped, gone on with, and asked wrongly.

use std::time::Duration;

use crate::harness::Place;

/// Seconds instead of hours.
const TINY: &[&str] = &[
    "all.data.size=[8, 8]",
    "all.train.batch_size=4",
    "all.model.dim=8",
    "diffusion.model.dim_mults=[1, 2]",
    "diffusion.model.attn_heads=1",
    "diffusion.model.attn_dim_head=8",
    "diffusion.sample.steps=2",
    "vae.model.dim_mults=[1, 2]",
    "vae.model.latent=4",
    "gan.model.dim_mults=[1, 2]",
    "gan.model.discriminator_dim=8",
    "flow.model.steps=1",
    "flow.model.checkerboard_dim=8",
    "judge.model.dim_mults=[1, 2]",
    "judge.train.steps=5",
];

fn args<'a>(budget: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let head = [
        "compare",
        "--data",
        "digits",
        "--budget",
        budget,
        "-n",
        "24",
        "--bpd-count",
        "4",
        "--gan-runs",
        "2",
        "-o",
        "c",
    ];
    let sets = TINY.iter().flat_map(|set| ["--set", set]);
    head.into_iter().chain(sets).chain(more.iter().copied()).collect()
}

/// Every family is trained, judged and shown; a second call finds all of it done.
#[test]
fn the_families_side_by_side() {
    let place = Place::new();
    let found = place.json(&args("7", &[]));
    let members = found["members"].as_array().unwrap();
    let names: Vec<&str> = members.iter().map(|m| m[0].as_str().unwrap()).collect();
    assert_eq!(names, ["diffusion", "vae", "gan", "flow", "gan-2"]);
    for member in members {
        let (name, m) = (member[0].as_str().unwrap(), &member[1]);
        assert_eq!(m["steps"], 7, "{name}");
        assert!(m["quality"]["fid"]["value"].as_f64().unwrap() > 0.0 && m["quality"]["pictures"] == 24, "{m}");
        assert!(m["seconds_per_step"].as_f64().unwrap() > 0.0 && m["parameters"].as_u64().unwrap() > 100, "{m}");
        assert_eq!(m["bits"].is_null(), name.starts_with("gan"), "{name}");
        for step in [1, 3, 7] {
            assert!(place.path(&format!("c/pictures/{name}-step-{step:06}.png")).exists(), "{name} {step}");
        }
        place.ok(&["sample", &format!("c/{name}"), "-n", "2", "-o", "s.png"]);
    }
    assert!(found["real"]["accuracy"]["value"].is_number(), "{found}");
    let page = std::fs::read_to_string(place.path("c/report.html")).unwrap();
    for part in [
        "How good the pictures are",
        "data:image/png;base64,",
        "<svg",
        "How much of the GAN is luck",
        "Is it remembering?",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("http://") || page.matches("http://").all(|_| page.contains("http://www.w3.org")),
        "it fetches nothing"
    );
    assert!(!page.contains("src=\"http") && !page.contains("<script"), "it fetches and runs nothing");
    let again = place.run(&args("7", &[]));
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!((again.status.code(), said.matches("done before").count()), (Some(0), 12), "{said}");
    let table = String::from_utf8(again.stdout).unwrap();
    assert!(table.contains("| FID |") && table.contains("| ms per step |") && table.contains("report.html"), "{table}");
    // Other numbers of pictures are measured anew, of the same runs.
    let mut other = args("7", &[]);
    let count = other.iter().position(|a| *a == "24").unwrap();
    other[count] = "30";
    let more = place.json(&other);
    assert_eq!(more["members"][1][1]["model"], members[1][1]["model"]);
    assert_eq!(more["members"][1][1]["quality"]["pictures"], 30);
    // Another budget is another comparison.
    let said = place.fails(1, &args("9", &[]));
    assert!(said.contains("other budget: `7`, asked for are `9`"), "{said}");
}

/// A comparison that is killed ends as one that was not.
#[test]
fn it_goes_on_where_it_stopped() {
    let place = Place::new();
    let whole = place.json(&args("12", &["--families", "vae,flow", "--judge", "pixels:4"]));
    std::fs::rename(place.path("c"), place.path("whole")).unwrap();
    let owned: Vec<String> =
        args("12", &["--families", "vae,flow", "--judge", "pixels:4"]).into_iter().map(str::to_owned).collect();
    for wait in [150, 300, 600] {
        let mut running = place.start(&owned);
        std::thread::sleep(Duration::from_millis(wait));
        running.0.kill().unwrap();
        running.0.wait().unwrap();
    }
    let found = place.json(&args("12", &["--families", "vae,flow", "--judge", "pixels:4"]));
    for i in 0..2 {
        let [a, b] = [&whole, &found].map(|r| &r["members"][i][1]);
        assert_eq!((&a["model"], &a["quality"], &a["bits"]), (&b["model"], &b["quality"], &b["bits"]));
    }
}

#[test]
fn what_is_typed_wrong_is_named() {
    let place = Place::new();
    for (more, part) in [
        (&["--budget", "soon"][..], "20m"),
        (&["--families", "vae,bert"], "diffusion, vae, gan, flow"),
        (&["--families", "vae,vae"], "twice vae"),
        (&["--set", "train.steps=3"], "WHOSE.SECTION.KEY"),
        (&["--set", "vae.train.stepz=3"], "stepz"),
        (&["--set", "vae.data.size=[4, 4]"], "all.data.KEY"),
        (&["--data", "nowhere"], "nowhere"),
        (&["--judge", "nothing.pt"], "the judge is nothing.pt"),
    ] {
        let data = if more[0] == "--data" { &[][..] } else { &["--data", "digits"] };
        let said = place.run(&[&["compare", "--out", "x"], data, more].concat());
        let text = String::from_utf8(said.stderr).unwrap();
        assert!(!said.status.success() && text.contains(part) && !text.contains("panicked"), "{more:?}: {text}");
        assert!(!place.path("x").exists(), "{more:?} leaves nothing");
    }
    let said = place.fails(1, &["compare", "--data", "digits", "--out", "x", "--report-only"]);
    assert!(said.contains("nothing in it has been judged yet"), "{said}");
}
