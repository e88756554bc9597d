//! eval: bits per dimension of a tiny model.

use crate::harness::{Place, bytes};

const DIGITS: &[&str] = &["eval", "r", "--reference", "digits"];

fn eval(place: &Place, more: &[&str]) -> serde_json::Value {
    place.json(&[DIGITS, more].concat())
}

fn mean(value: &serde_json::Value) -> f64 {
    value["mean"].as_f64().unwrap()
}

/// The parts add up, in the numbers and in the table; the picture is drawn.
#[test]
fn bound_of_a_tiny_model() {
    let place = Place::new();
    place.train("r", 3, &["--set", "diffusion.timesteps=40"]);
    let found = eval(&place, &["-n", "6", "--times-per-image", "5", "-o", "e"]);
    let total = mean(&found["bits_per_dim"]);
    let parts = ["prior", "middle", "decoder"].map(|part| mean(&found[part]));
    assert!((parts.iter().sum::<f64>() - total).abs() < 1e-9 && total > 0.0, "{found}");
    assert_eq!(
        (found["images"].as_u64(), found["terms"].as_u64(), found["dims"].as_u64()),
        (Some(6), Some(40), Some(64))
    );
    let table = String::from_utf8(bytes(&place.path("e/bpd.csv"))).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows.len(), rows[0][0], rows[1][0], rows[6][0]), (7, "term", "L_0", "L_T"));
    let sum: f64 = rows[1..].iter().map(|row| row[6].parse::<f64>().unwrap()).sum();
    assert!((sum - total).abs() < 1e-6 * total, "{table}");
    let terms: usize = rows[1..6].iter().map(|row| row[3].parse::<usize>().unwrap()).sum();
    assert_eq!((terms, rows[1][1], rows[5][2]), (40, "0", "39"));
    assert!(difusi::store::read_png(&place.path("e/bpd.png")).unwrap().width() > 500);
    let said = place.ok(&[DIGITS, &["-n", "2", "--times-per-image", "3"]].concat());
    assert!(said.contains("bits/dim") && said.contains("3 of 40 terms") && said.contains("eval/bpd.csv"), "{said}");
}

/// All terms: a row for each; the same at any batch and thread count; strided and refined chains; thresholds matter.
#[test]
fn exact_bound() {
    let place = Place::new();
    place.train("r", 3, &["--set", "diffusion.timesteps=12"]);
    let exact = |more: &[&str]| eval(&place, &[&["--exact", "-n", "3"], more].concat());
    let found = exact(&[]);
    assert_eq!(String::from_utf8(bytes(&place.path("eval/bpd.csv"))).unwrap().lines().count(), 1 + 12 + 1);
    let total = mean(&found["bits_per_dim"]);
    assert_eq!(mean(&exact(&["--threads", "1"])["bits_per_dim"]), total);
    assert!((mean(&exact(&["--batch", "5"])["bits_per_dim"]) / total - 1.0).abs() < 1e-4);
    assert_ne!(mean(&exact(&["--seed", "1"])["bits_per_dim"]), total);
    assert_ne!(mean(&exact(&["--set", "threshold=none"])["bits_per_dim"]), total);
    for (steps, terms) in [("4", 4), ("12", 12), ("30", 30)] {
        assert_eq!(exact(&["--steps", steps])["terms"].as_u64(), Some(terms));
    }
    assert_eq!(mean(&exact(&["--steps", "12"])["bits_per_dim"]), total);
    // Cut short, the chain is one term for each step that is left, the decoder's among them.
    assert_eq!(exact(&["--decode-at", "4"])["terms"].as_u64(), Some(8));
    assert_eq!(exact(&["--decode-at", "4", "--steps", "30"])["terms"].as_u64(), Some(30));
}

/// The ODE's estimate, with either dequantisation; the batch does not matter.
#[test]
fn ode_of_a_tiny_model() {
    let place = Place::new();
    place.train("r", 3, &[]);
    let ode = |more: &[&str]| eval(&place, &[&["--ode", "-n", "3", "--tolerance", "1e-2"], more].concat());
    let found = ode(&[]);
    let total = mean(&found["bits_per_dim"]);
    assert!(total.is_finite() && found["evaluations"].as_f64().unwrap() > 10.0, "{found}");
    assert!((mean(&ode(&["--batch", "2"])["bits_per_dim"]) / total - 1.0).abs() < 1e-3);
    assert!(mean(&ode(&["--dequantise", "uniform"])["bits_per_dim"]).is_finite());
    let fixed = eval(&place, &["--ode", "-n", "2", "--ode-steps", "5"]);
    assert_eq!((fixed["evaluations"].as_f64(), fixed["ode_steps"].as_u64()), (Some(20.0), Some(5)));
    assert_eq!(ode(&["--dequantise", "uniform"])["dequantisation"], "uniform");
}

#[test]
fn what_does_not_fit_is_named() {
    let place = Place::new();
    place.train("r", 2, &[]);
    let fails = |code, more: &[&str], part: &str| {
        let said = place.fails(code, &[&["eval", "r"], more].concat());
        assert!(said.contains(part), "{part}: {said}");
    };
    fails(2, &["--reference", "digits", "--metrics", "bpd,fid"], "one after the other");
    fails(2, &["--reference", "digits", "--metrics", "bppd"], "bpd (bits per dimension)");
    fails(2, &[], "--reference");
    fails(2, &["--reference", "digits", "--times-per-image", "1"], "times-per-image");
    fails(2, &["--reference", "digits", "--ode", "--exact"], "--ode");
    fails(2, &["--reference", "digits", "--tolerance", "0", "--ode"], "--tolerance");
    fails(2, &["--reference", "digits", "--set", "threshhold=none"], "threshhold");
    fails(1, &["--reference", "digits", "--decode-at", "1000"], "0 to 999");
    fails(1, &["--reference", "digits", "--decode-at", "999", "--ode"], "0 to 998");
    fails(1, &["--reference", "absent"], "absent");
    place.ok(&["data", "preview", "digits", "-n", "1", "--size", "16", "16", "-o", "grey/digit.png"]);
    // A folder is cropped and resized as in training; an idx file is not, unless asked for.
    assert!(place.ok(&["eval", "r", "--reference", "grey", "--times-per-image", "2"]).contains("bits/dim"));
    std::fs::write(place.path("images-idx3-ubyte"), idx(3, 10, 10)).unwrap();
    fails(1, &["--reference", "images-idx3-ubyte"], "10x10");
    fails(1, &["--reference", "images-idx3-ubyte"], "--resize");
    place.ok(&["eval", "r", "--reference", "images-idx3-ubyte", "--resize", "--times-per-image", "2"]);
}

/// An idx file of grey images.
fn idx(count: u32, height: u32, width: u32) -> Vec<u8> {
    let head = [0x0803u32, count, height, width].map(u32::to_be_bytes).concat();
    head.into_iter().chain((0..count * height * width).map(|i| (i % 251) as u8)).collect()
}
