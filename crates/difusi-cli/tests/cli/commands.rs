//! sample, predict, convert, inspect, schedule, noise.

use difusi::store::{HostTensor, TensorMap, read_png, read_safetensors, write_safetensors};

use crate::harness::{Place, bytes};

fn pixels(path: &std::path::Path) -> Vec<u8> {
    read_png(path).unwrap().pixels().to_vec()
}

/// Equal bits at any thread count; equal within 1/255 at any batch size; other seeds, other pictures.
#[test]
fn samples_depend_on_the_seed_alone() {
    let place = Place::new();
    place.train("r", 3, &[]);
    for (file, args) in [
        ("a.png", ["--seed", "7", "--threads", "1"]),
        ("b.png", ["--seed", "7", "--threads", "4"]),
        ("c.png", ["--seed", "7", "--batch", "3"]),
        ("d.png", ["--seed", "8", "--batch", "64"]),
    ] {
        place.ok(&[&["sample", "r", "-n", "7", "--steps", "5", "-o", file], &args[..]].concat());
    }
    let [a, b, c, d] = ["a.png", "b.png", "c.png", "d.png"].map(|f| pixels(&place.path(f)));
    assert_eq!(a, b);
    assert!(a.iter().zip(&c).all(|(x, y)| x.abs_diff(*y) <= 1));
    assert_ne!(a, d);
}

#[test]
fn every_kind_of_output() {
    let place = Place::new();
    place.train("r", 3, &[]);
    place.ok(&["sample", "r", "-n", "5", "-o", "s.npz"]);
    let npz = difusi::store::read_npz(&place.path("s.npz")).unwrap();
    assert_eq!(npz.get("arr_0").unwrap().shape, [5, 8, 8, 1]);
    place.ok(&["sample", "r/model.safetensors", "-n", "3", "-o", "singles/", "--strip", "strip.png", "--gif", "g.gif"]);
    assert_eq!(std::fs::read_dir(place.path("singles")).unwrap().count(), 3);
    let strip = read_png(&place.path("strip.png")).unwrap();
    assert_eq!((strip.height(), strip.width()), (3 * 10 + 2, 3 * 10 + 2));
    assert!(bytes(&place.path("g.gif")).starts_with(b"GIF89a"));
    place.ok(&["sample", "r", "--interpolate", "1", "2", "-o", "i.png"]);
    place.ok(&["sample", "r", "--solver", "ancestral", "--steps", "10", "-n", "1", "-o", "anc.png"]);
    let set = ["--set", "solver.order=3", "--set", "grid.kind=exponential"];
    for solver in ["unipc", "dpmpp_2m", "lms"] {
        place.ok(&[&["sample", "r", "--solver", solver, "--steps", "5", "-n", "1", "-o", "s.png"], &set[..]].concat());
    }
    place.ok(&["sample", "r", "--rng", "torch", "-n", "2", "-o", "torch.png"]);
    place.ok(&["sample", "r", "--size", "16", "12", "-n", "1", "-o", "big.png", "--scale", "2"]);
    let big = read_png(&place.path("big.png")).unwrap();
    assert_eq!((big.height(), big.width()), (36, 28));
    place.ok(&["sample", "r", "--weights", "raw", "-n", "1", "-o", "raw.png"]);
}

/// A model's own scheduler_config.json draws its pictures, an edited one other pictures, and one of another schedule none.
#[test]
fn schedulers_of_diffusers() {
    let place = Place::new();
    place.train("r", 3, &[]);
    place.ok(&["convert", "r", "s.json"]);
    place.ok(&["sample", "r", "--steps", "10", "--set", "solver.eps=network", "-n", "4", "-o", "own.png"]);
    place.ok(&["sample", "r", "--scheduler", "s.json", "--steps", "10", "-n", "4", "-o", "theirs.png"]);
    let [own, theirs] = ["own.png", "theirs.png"].map(|f| pixels(&place.path(f)));
    assert!(own.iter().zip(&theirs).all(|(x, y)| x.abs_diff(*y) <= 1), "{own:?} {theirs:?}");
    let text = std::fs::read_to_string(place.path("s.json")).unwrap();
    let write = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        std::fs::write(place.path(name), text.replace(from, to)).unwrap();
    };
    write("euler.json", "DDIMScheduler", "EulerAncestralDiscreteScheduler");
    place.ok(&["sample", "r", "--scheduler", "euler.json", "--steps", "10", "-n", "4", "-o", "euler.png"]);
    assert_ne!(own, pixels(&place.path("euler.png")));
    write("other.json", "squaredcos_cap_v2", "linear");
    let e = place.fails(1, &["sample", "r", "--scheduler", "other.json", "-n", "1", "-o", "x.png"]);
    assert!(e.contains("alpha-bar at step 0") && e.contains("trained with"), "{e}");
    write("odd.json", "DDIMScheduler", "OddScheduler");
    let e = place.fails(1, &["sample", "r", "--scheduler", "odd.json", "-n", "1", "-o", "x.png"]);
    assert!(e.contains("OddScheduler; expected one of DDPMScheduler"), "{e}");
    assert!(!place.path("x.png").exists());
}

/// The ends of an interpolation are the pictures of the two seeds, and given noise is used as it is.
#[test]
fn interpolation_ends_at_its_seeds() {
    let place = Place::new();
    place.train("r", 3, &[]);
    place.ok(&["sample", "r", "--interpolate", "1", "2", "-n", "3", "-o", "all/"]);
    place.ok(&["sample", "r", "--seed", "1", "-n", "1", "-o", "one/"]);
    let (first, one) = (pixels(&place.path("all/000000.png")), pixels(&place.path("one/000000.png")));
    assert!(first.iter().zip(&one).all(|(a, b)| a.abs_diff(*b) <= 1));
    // Noised to the first step only, the ends of a way between pictures are the pictures.
    let picture = "one/000000.png";
    place.ok(&["sample", "r", "--interpolate", picture, picture, "--at", "0", "-n", "2", "-o", "same/"]);
    let same = pixels(&place.path("same/000001.png"));
    assert!(same.iter().zip(&one).all(|(a, b)| a.abs_diff(*b) <= 8), "{same:?} {one:?}");
    let said = place.fails(1, &["sample", "r", "--interpolate", picture, "absent.png", "-o", "x.png"]);
    assert!(said.contains("absent.png"), "{said}");
    let noise = difusi::core::Noise::new(1).normal(difusi::core::Draw::Init, 0..1, 0, 64);
    let mut map = TensorMap::new();
    map.insert("x", HostTensor::f32(vec![1, 1, 8, 8], noise).unwrap());
    write_safetensors(&place.path("x.safetensors"), &map, &Default::default()).unwrap();
    place.ok(&["sample", "r", "--init-noise", "x.safetensors", "-o", "given/"]);
    assert_eq!(pixels(&place.path("given/000000.png")), one);
}

fn inputs(place: &Place, shape: [usize; 4], t: usize) {
    let noise = difusi::core::Noise::new(3);
    let x = noise.normal(difusi::core::Draw::Init, 0..shape[0] as u64, 0, shape[1..].iter().product());
    let mut map = TensorMap::new();
    map.insert("x", HostTensor::f32(shape.to_vec(), x).unwrap());
    map.insert("t", HostTensor::f32(vec![t], (0..t).map(|i| 10.0 * i as f32).collect()).unwrap());
    write_safetensors(&place.path("in.safetensors"), &map, &Default::default()).unwrap();
}

fn predicted(place: &Place, args: &[&str]) -> HostTensor {
    place.ok(&[&["predict"], args, &["--input", "in.safetensors", "-o", "out.safetensors"]].concat());
    read_safetensors(&place.path("out.safetensors")).unwrap().tensors.take("y").unwrap()
}

/// To the peer's layout and back: the same network, bit for bit.
#[test]
fn conversion_keeps_every_bit() {
    let place = Place::new();
    place.train("r", 3, &[]);
    inputs(&place, [2, 1, 8, 8], 2);
    let ours = predicted(&place, &["r"]);
    assert_eq!(ours.shape, [2, 1, 8, 8]);
    place.ok(&["convert", "r", "model-3.pt"]);
    assert_eq!(predicted(&place, &["model-3.pt", "--config", "model-3.json"]), ours);
    place.ok(&["convert", "model-3.pt", "back.safetensors", "--config", "model-3.json"]);
    assert_eq!(predicted(&place, &["back.safetensors"]), ours);
    let said = place.fails(2, &["convert", "r", "model-3.pt"]);
    assert!(said.contains("--overwrite"), "{said}");
    place.ok(&["convert", "r", "model-3.pt", "--overwrite"]);
    let said = place.fails(1, &["sample", "model-3.pt", "-n", "1", "-o", "x.png"]);
    assert!(said.contains("--config") && said.contains("dim_mults"), "{said}");
}

#[test]
fn predict_names_what_does_not_fit() {
    let place = Place::new();
    place.train("r", 2, &[]);
    for (shape, t, part) in [([1, 3, 8, 8], 1, "channels"), ([1, 1, 7, 8], 1, "7x8"), ([2, 1, 8, 8], 1, "`t`")] {
        inputs(&place, shape, t);
        let said = place.fails(1, &["predict", "r", "--input", "in.safetensors", "-o", "out.safetensors"]);
        assert!(said.contains(part), "{part}: {said}");
        assert!(!place.path("out.safetensors").exists());
    }
}

#[test]
fn inspect_tells_what_a_file_is() {
    let place = Place::new();
    place.train("r", 2, &[]);
    let model = place.json(&["inspect", "r/model.safetensors"]);
    assert!(model["kind"].as_str().unwrap().contains("difusi model"));
    assert_eq!(model["facts"]["weights"], "ema:0.99");
    assert!(model["config"].as_str().unwrap().contains("dim_mults"));
    assert!(model["tensors"].as_array().unwrap().iter().any(|t| t["name"] == "init_conv.weight"));
    place.ok(&["convert", "r", "m.pt"]);
    let peer = place.json(&["inspect", "m.pt"]);
    assert!(peer["kind"].as_str().unwrap().contains("denoising-diffusion-pytorch"), "{peer}");
    assert!(place.ok(&["inspect", "r"]).contains("run folder"));
    assert!(place.ok(&["inspect", "r/samples.png"]).contains("PNG"));
    place.ok(&["data", "preview", "digits", "-n", "1", "-o", "p.png"]);
    assert!(place.ok(&["inspect", "p.png"]).contains("data preview"));
    assert!(place.fails(1, &["inspect", "absent"]).contains("absent"));
}

#[test]
fn figures_are_drawn() {
    let place = Place::new();
    place.ok(&["schedule", "-T", "50", "-o", "s.svg"]);
    let svg = String::from_utf8(bytes(&place.path("s.svg"))).unwrap();
    for name in ["linear", "cosine", "sigmoid", "geometric", "alpha-bar"] {
        assert!(svg.contains(name), "{name}");
    }
    place.ok(&["schedule", "-o", "s.png"]);
    place.ok(&["data", "preview", "digits", "-n", "1", "--size", "32", "32", "-o", "digit.png"]);
    place.ok(&["noise", "digit.png", "--size", "32", "32", "-T", "20", "-n", "5", "-o", "n.png"]);
    assert!(read_png(&place.path("n.png")).unwrap().width() > 5 * 32);
    assert!(place.fails(2, &["noise", "digit.png", "--schedule", "wavy"]).contains("wavy"));
}

/// A run becomes a folder that diffusers opens, which is a model here too.
#[test]
fn folders_of_diffusers() {
    let place = Place::new();
    let adm = "[data]\nkind = \"digits\"\nsize = [8, 8]\n[model]\nkind = \"adm\"\ndim = 8\ndim_mults = [1, 2]\ngroups = 4\n\
               res_blocks = 1\n[train]\nbatch_size = 4\nsample_every = 0\n[sample]\nsteps = 3\ncount = 4\n";
    std::fs::write(place.path("adm.toml"), adm).unwrap();
    assert!(place.ok(&["train", "adm.toml", "--dry-run"]).contains("down_blocks.0.resnets.0"));
    place.ok(&["train", "adm.toml", "--out", "a", "--set", "train.steps=2"]);
    place.ok(&["convert", "a", "folder/"]);
    place.ok(&["sample", "a", "-o", "own.png"]);
    place.ok(&["sample", "folder", "-o", "theirs.png"]);
    assert_eq!(pixels(&place.path("own.png")), pixels(&place.path("theirs.png")));
    assert!(place.ok(&["inspect", "folder"]).contains("DDIMScheduler"));
    assert!(place.fails(2, &["convert", "a", "folder/"]).contains("--overwrite"));
    place.ok(&["convert", "a", "folder/", "--overwrite"]);
    std::fs::create_dir(place.path("photos")).unwrap();
    assert!(place.fails(2, &["convert", "a", "photos/", "--overwrite"]).contains("no folder of diffusers"));
    place.train("r", 2, &[]);
    assert!(place.fails(2, &["convert", "r", "other/"]).contains("model.kind"));
}
