//! The flow: inverses, determinants, densities.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use difusi_core::{ImageSize, Noise};
use difusi_nn::{Flow, FlowConfig};

use crate::baselines::{Shake, check_close, normal, numbers};

fn config() -> FlowConfig {
    FlowConfig { levels: 2, steps: 2, checkerboard: 3, dim: 6, checkerboard_dim: 5, channels: 1 }
}

fn flow(config: &FlowConfig, size: ImageSize, double: bool) -> Flow {
    // In f32 a flow is undone as exactly as its matrices are far from singular, so they are left nearer to rotations.
    let by = if double { 0.3 } else { 0.05 };
    config.init(size, Noise::new(1), &Device::flex()).unwrap().map(&mut Shake::new(by, double))
}

#[test]
fn decoding_undoes_encoding() {
    for (config, size) in [
        (config(), ImageSize { height: 8, width: 4 }),
        (FlowConfig { channels: 3, ..config() }, ImageSize::square(8)),
        (FlowConfig { levels: 0, steps: 0, ..config() }, ImageSize { height: 3, width: 5 }),
        (FlowConfig { levels: 1, checkerboard: 0, ..config() }, ImageSize::square(6)),
    ] {
        let x = normal(2, [3, size.height, size.width, config.channels]);
        let double = flow(&config, size, true);
        let (z, _) = double.encode(x.clone().cast(DType::F64));
        assert_eq!(z.dims(), [3, double.latent()]);
        check_close(&numbers(double.decode(z)), &numbers(x.clone()), 1e-5);
        let single = flow(&config, size, false);
        check_close(&numbers(single.decode(single.encode(x.clone()).0)), &numbers(x), 1e-3);
    }
}

/// A fresh network changes no volume: couplings are the identity and the 1x1 convolutions rotations.
#[test]
fn a_fresh_flow_keeps_lengths_and_volumes() {
    let fresh = config().init(ImageSize::square(8), Noise::new(1), &Device::flex()).unwrap();
    let x = normal(2, [2, 8, 8, 1]);
    let (z, log_det) = fresh.encode(x.clone());
    check_close(&numbers(log_det), &[0.0, 0.0], 1e-4);
    let squares = |v: Vec<f64>| v.chunks(64).map(|c| c.iter().map(|v| v * v).sum()).collect::<Vec<f64>>();
    check_close(&squares(numbers(z)), &squares(numbers(x)), 1e-4);
}

/// The logarithm of |det| by elimination.
fn log_det(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut sum = 0.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs())).unwrap();
        a.swap(k, pivot);
        sum += a[k][k].abs().ln();
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            let row = a[k].clone();
            a[i].iter_mut().zip(row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    sum
}

/// The determinant is that of the Jacobian by central differences, in f64.
#[test]
fn log_determinants_are_those_of_the_jacobian() {
    for (config, size) in [
        (config(), ImageSize::square(4)),
        (FlowConfig { checkerboard: 1, levels: 1, channels: 2, ..config() }, ImageSize { height: 2, width: 4 }),
        (FlowConfig { levels: 0, steps: 0, ..config() }, ImageSize { height: 1, width: 3 }),
    ] {
        let flow = flow(&config, size, true);
        let n = flow.latent();
        let x = numbers(normal(5, [1, size.height, size.width, config.channels]));
        let h = 1e-5;
        // One batch: x with each number moved forth and back, and x itself.
        let mut batch = Vec::new();
        for i in 0..n {
            for sign in [1.0, -1.0] {
                let mut moved = x.clone();
                moved[i] += sign * h;
                batch.extend(moved);
            }
        }
        batch.extend(&x);
        let shape = [2 * n + 1, size.height, size.width, config.channels];
        let data = TensorData::new(batch, shape);
        let (z, dets) = flow.encode(Tensor::from_data(data, (&Device::flex(), DType::F64)));
        let z = numbers(z);
        let row = |i: usize| {
            let [a, b] = [&z[2 * i * n..][..n], &z[(2 * i + 1) * n..][..n]];
            a.iter().zip(b).map(|(a, b)| (a - b) / (2.0 * h)).collect()
        };
        let said = numbers(dets)[2 * n];
        let found = log_det((0..n).map(row).collect());
        assert!((said - found).abs() < 1e-6, "{said} and {found}");
        assert!(said.abs() > 0.05, "the test sees no determinant");
    }
}

/// The density of pictures of two pixels integrates to one.
#[test]
fn the_density_is_one() {
    let config = FlowConfig { levels: 0, steps: 0, checkerboard: 4, ..config() };
    let flow = flow(&config, ImageSize { height: 1, width: 2 }, true);
    let (side, width) = (300, 20.0);
    let place = |i: usize| (i as f64 + 0.5) / side as f64 * width - width / 2.0;
    let grid: Vec<f64> = (0..side * side).flat_map(|i| [place(i / side), place(i % side)]).collect();
    let x = Tensor::from_data(TensorData::new(grid, [side * side, 1, 2, 1]), (&Device::flex(), DType::F64));
    let mass: f64 = numbers(flow.log_prob(x)).iter().map(|l| l.exp()).sum();
    let mass = mass * (width / side as f64).powi(2);
    assert!((mass - 1.0).abs() < 1e-3, "{mass}");
}

#[test]
fn what_cannot_be_is_named() {
    let none = FlowConfig { levels: 9, steps: 300, dim: 0, ..config() };
    let text: Vec<String> = none.check().iter().map(ToString::to_string).collect();
    assert!(text.len() == 3 && text[0].contains("`dim`") && text[1].contains("`levels`"), "{text:?}");
    let idle = FlowConfig { levels: 0, checkerboard: 0, ..config() };
    assert!(idle.check()[0].to_string().contains("no weights"));
    let odd = config().init(ImageSize { height: 8, width: 6 }, Noise::new(0), &Device::flex()).unwrap_err().to_string();
    assert!(odd.contains("8x6") && odd.contains("divisible by 4"), "{odd}");
}
