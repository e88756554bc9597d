//! VAE, GAN, flow and classifier through the same commands.

use difusi::store::{Metrics, read_npz, read_png};

use crate::harness::Place;

/// Kind and its smallest keys.
const KINDS: [(&str, &str); 4] = [
    ("vae", "dim = 8\nlatent = 4\ndim_mults = [1, 2]\nlikelihood = \"discretised_logistic\""),
    ("gan", "dim = 8\ndiscriminator_dim = 8\nlatent = 4\ndim_mults = [1, 2]"),
    ("flow", "dim = 8\ncheckerboard_dim = 8\nsteps = 2\nlevels = 2"),
    ("classifier", "classes = 10\ndim = 8\ndim_mults = [1, 2]"),
];

fn train(place: &Place, kind: &str, model: &str, steps: u32) -> String {
    let sample = if kind == "classifier" { "" } else { "[sample]\ncount = 4" };
    let text = format!(
        "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"{kind}\"\n{model}\n[train]\nsteps = {steps}\nbatch_size = 8\n\
         learning_rate = 3e-3\nlog_every = 5\nsave_every = 10\nvalidation = 0.01\nvalidation_images = 8\n{sample}\n"
    );
    std::fs::write(place.path(&format!("{kind}.toml")), text).unwrap();
    place.ok(&["train", &format!("{kind}.toml"), "--out", kind])
}

/// Thirty steps of each, and what follows: samples, blends, inspection, bits per dimension.
#[test]
fn every_kind_goes_all_the_way() {
    let place = Place::new();
    for (kind, model) in KINDS {
        let said = train(&place, kind, model, 30);
        assert!(said.contains(&format!("difusi inspect {kind}")), "{said}");
        assert_eq!(said.contains("samples.png"), kind != "classifier", "{said}");
        let loss = Metrics::read(&place.path(&format!("{kind}/metrics.csv"))).unwrap().points("loss");
        assert_eq!(loss.len(), 6);
        let found = place.json(&["inspect", kind]);
        assert!(found["config"].as_str().unwrap().contains(&format!("kind = \"{kind}\"")), "{found}");
        let file = place.json(&["inspect", &format!("{kind}/model.safetensors")]);
        assert_eq!(file["facts"]["weights"], "ema:0.995");
        let dry = place.json(&["train", &format!("{kind}.toml"), "--dry-run"]);
        assert!(dry["parameters"].as_u64().unwrap() > 100 && dry["layers"].as_array().unwrap().len() > 3, "{dry}");
        if kind == "classifier" {
            assert!(place.fails(1, &["sample", kind]).contains("a model that draws pictures"));
            continue;
        }
        place.ok(&["sample", kind, "-n", "5", "--seed", "2", "-o", "s.npz", "--batch", "2"]);
        assert_eq!(read_npz(&place.path("s.npz")).unwrap().get("arr_0").unwrap().shape, [5, 8, 8, 1]);
        place.ok(&["sample", kind, "--interpolate", "1", "2", "-n", "3", "-o", "blend/", "--set", "temperature=0.5"]);
        let picture = "blend/000000.png";
        assert_eq!(read_png(&place.path(picture)).unwrap().height(), 8);
        let between = ["sample", kind, "--interpolate", picture, "blend/000002.png", "-n", "3", "-o", "more.png"];
        match kind {
            "gan" => assert!(place.fails(1, &between).contains("no latents of pictures")),
            _ => drop(place.ok(&between)),
        }
    }
    for (kind, part) in [("vae", "latents per image"), ("flow", "exact density")] {
        let args = ["eval", kind, "--reference", "digits", "-n", "20"];
        let more = ["--importance-samples", "5"];
        assert!(place.ok(&[&args[..], &more].concat()).contains(part));
        let found = place.json(&[&args[..], &more].concat());
        let bits = found["bits_per_dim"]["mean"].as_f64().unwrap();
        assert!(bits > 0.0 && bits < 20.0 && found["code_length"] == true, "{found}");
        if let Some(tighter) = found["importance"]["mean"].as_f64() {
            assert!(tighter <= bits && found["kl"].as_array().unwrap().len() == 4, "{found}");
        }
    }
}

/// Flags of other kinds are named, and so is the kind that a command met.
#[test]
fn what_a_kind_lacks_is_named() {
    let place = Place::new();
    let (kind, model) = KINDS[0];
    train(&place, kind, model, 2);
    for flags in [
        &["--solver", "ddim"][..],
        &["--steps", "5"],
        &["--strip", "s.png"],
        &["--rng", "torch"],
        &["--size", "16", "16"],
    ] {
        let said = place.fails(2, &[&["sample", "vae"], flags].concat());
        assert!(said.contains(flags[0]) && said.contains("is for diffusion models"), "{said}");
    }
    let said = place.fails(2, &["sample", "vae", "--set", "steps=5"]);
    assert!(said.contains("sample.steps") && said.contains("temperature"), "{said}");
    let said = place.fails(2, &["eval", "vae", "--reference", "digits", "--ode"]);
    assert!(said.contains("--ode is for diffusion models"), "{said}");
    for command in [
        &["edit", "vae", "--image", "x.png", "--strength", "0.5"][..],
        &["convert", "vae", "m.pt"],
        &["convert", "vae", "m.json"],
        &["bench", "vae.toml"],
    ] {
        let said = place.fails(1, command);
        assert!(said.contains("variational autoencoder") && said.contains("a diffusion model"), "{command:?}: {said}");
    }
    let said = place.fails(2, &["train", "vae.toml", "--set", "diffusion.timesteps=10", "--dry-run"]);
    assert!(said.contains("`diffusion` is a section of model.kind = \"unet\""), "{said}");
}
