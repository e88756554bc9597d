//! The rising curve of a learned schedule.

use burn::tensor::{Device, Tensor};
use difusi_core::{Network, Noise, NoiseCurve};
use difusi_nn::layers::{Init, RisingCurve};
use difusi_nn::params;

use crate::support::tiny;

fn curve(ends: [f64; 2]) -> RisingCurve {
    RisingCurve::new(&Init::new(Noise::new(0), &Device::flex()), ends)
}

/// From one end to the other, in a straight line within a thousandth of the way, and rising.
#[test]
fn it_starts_straight() {
    let table = curve([-13.3, 5.0]).table(1000);
    for (i, gamma) in table.iter().enumerate() {
        let line = -13.3 + 18.3 * i as f64 / 999.0;
        assert!((gamma - line).abs() < 2e-3 * 18.3, "{gamma} is not {line} at {i}");
    }
    assert!((table[0] + 13.3).abs() < 1e-5 && (table[999] - 5.0).abs() < 1e-5);
    assert!(table.windows(2).all(|w| w[1] > w[0]));
}

/// It rises whatever its weights are: they are positive by softplus.
#[test]
fn it_always_rises() {
    let weights = params::export(&curve([-10.0, 8.0])).into_iter().enumerate().map(|(k, mut w)| {
        if w.name != "ends" {
            let noise = Noise::new(k as u64).normal(difusi_core::Draw::Weights, 0..1, 0, w.values.len());
            w.values.iter_mut().zip(noise).for_each(|(v, n)| *v += 3.0 * n);
        }
        if w.name == "heights" {
            w.values[..200].iter_mut().for_each(|v| *v += 8.0);
        }
        w
    });
    let bent = params::import(curve([0.0, 1.0]), weights).unwrap();
    let table = bent.table(200);
    assert!(table.windows(2).all(|w| w[1] >= w[0]));
    assert!((table[0] + 10.0).abs() < 1e-5 && (table[199] - 8.0).abs() < 1e-5);
    let line = |i: usize| -10.0 + 18.0 * i as f64 / 199.0;
    assert!((0..200).any(|i| (table[i] - line(i)).abs() > 0.5));
}

/// Gradients reach every parameter, and the ends of `place` do not move.
#[test]
fn gradients_reach_the_curve() {
    let device = Device::flex().autodiff();
    let curve = RisingCurve::new(&Init::new(Noise::new(0), &device), [-5.0, 5.0]);
    let place = curve.place(Tensor::from_data([0.0, 0.3, 1.0], &device));
    let values: Vec<f32> = place.clone().into_data().iter::<f32>().collect();
    assert_eq!((values[0], values[2]), (0.0, 1.0));
    let _ = (place.sum() * curve.ends().sum()).backward();
}

/// A network has it only where it is asked to, under names of its own; without it the parameters are the peer's.
#[test]
fn networks_take_it_on() {
    let device = Device::flex();
    let plain = tiny().init(Noise::new(1), &device).unwrap();
    assert!(plain.noise_curve().is_none());
    let names = |net: &difusi_nn::Unet| params::named_parameters(net).into_iter().map(|p| p.name).collect::<Vec<_>>();
    let own = names(&plain);
    let with = plain.with_curve([-3.0, 3.0], &device);
    assert!(with.noise_curve().is_some());
    let more: Vec<String> = names(&with).split_off(own.len());
    assert_eq!(more, ["curve.ends", "curve.slope", "curve.heights", "curve.steepness", "curve.offsets"]);
    let (bare, curve) = with.without_curve();
    assert_eq!((names(&bare), curve.is_some()), (own, true));
}
