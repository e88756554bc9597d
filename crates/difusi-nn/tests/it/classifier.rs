//! The classifier: probabilities, features, images on their own.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use difusi_core::Noise;
use difusi_nn::ClassifierConfig;

use crate::baselines::{SIZE, Shake, bytes, check_close, normal, numbers};

#[test]
fn probabilities_sum_to_one_and_images_stand_alone() {
    let config = ClassifierConfig { dim: 4, channels: 3, ..ClassifierConfig::new(7) };
    let net = config.init(Noise::new(0), &Device::flex()).unwrap();
    let x = bytes(1, [3, 8, 12, 3]);
    let features = net.features(x.clone());
    assert_eq!((features.dims(), net.dim(), net.classes()), ([3, 16], 16, 7));
    let log = numbers(net.forward(x.clone()));
    for image in log.chunks(7) {
        assert!((image.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-5, "{image:?}");
    }
    let alone = numbers(net.forward(x.slice([1..2, 0..8, 0..12, 0..3])));
    check_close(&alone, &log[7..14], 1e-5);
}

#[test]
fn what_cannot_be_is_named() {
    let bad = ClassifierConfig { dim_mults: vec![1, 0], ..ClassifierConfig::new(1) };
    let text: Vec<String> = bad.check().iter().map(ToString::to_string).collect();
    assert!(text.len() == 2 && text[1].contains("`classes` is 1"), "{text:?}");
    let typo = serde_json::from_str::<ClassifierConfig>(r#"{"classes": 10, "width": 3}"#).unwrap_err().to_string();
    assert!(typo.contains("width"), "{typo}");
}

fn noisy() -> ClassifierConfig {
    ClassifierConfig {
        dim: 8,
        dim_mults: vec![1, 2],
        channels: 3,
        noisy: true,
        head_width: 8,
        ..ClassifierConfig::new(5)
    }
}

/// Probabilities of noisy images, each by itself; time and every pixel matter, and the gradient in the image is that of differences.
#[test]
fn noisy_images_are_told_apart() {
    let encoder = noisy().encoder().unwrap();
    let net = encoder.init(SIZE, Noise::new(2), &Device::flex()).unwrap().map(&mut Shake::new(0.05, false));
    let (x, t) = (normal(1, [3, 8, 8, 3]), Tensor::<1>::from_floats([3.0, 500.0, 999.0], &Device::flex()));
    let log = net.forward(x.clone(), t.clone());
    assert_eq!((log.dims(), net.classes()), ([3, 5], 5));
    let log = numbers(log);
    for image in log.chunks(5) {
        assert!((image.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-5, "{image:?}");
    }
    let alone = numbers(net.forward(x.clone().narrow(0, 1, 1), t.clone().narrow(0, 1, 1)));
    check_close(&alone, &log[5..10], 1e-5);
    let later = numbers(net.forward(x.clone(), t.clone() + 100.0));
    assert!(later.iter().zip(&log).any(|(a, b)| (a - b).abs() > 1e-4), "the time matters");

    let net = encoder.init(SIZE, Noise::new(2), &Device::flex().autodiff()).unwrap();
    let of =
        |x: Tensor<4>| net.forward(x, Tensor::from_floats([7.0], &Device::flex().autodiff())).narrow(1, 2, 1).sum();
    let x = normal(4, [1, 8, 8, 3]).autodiff().require_grad();
    let mut gradients = of(x.clone()).backward();
    let gradient = numbers(x.grad_remove(&mut gradients).unwrap());
    let direction = normal(5, [1, 8, 8, 3]);
    let along: f64 = numbers(direction.clone()).iter().zip(&gradient).map(|(a, b)| a * b).sum();
    let moved = |h: f64| numbers(of(x.clone().detach() + direction.clone().autodiff() * h))[0];
    let h = 1e-2;
    let difference = (moved(h) - moved(-h)) / (2.0 * h);
    assert!((along - difference).abs() < 2e-3 * along.abs().max(1.0), "{along} and {difference}");
}

#[test]
fn keys_of_noisy_classifiers_are_checked() {
    assert!(noisy().check().is_empty(), "{:?}", noisy().check());
    let text = |config: ClassifierConfig| config.check().iter().map(ToString::to_string).collect::<Vec<_>>();
    let bad = text(ClassifierConfig { head_width: 5, ..noisy() });
    assert!(bad.len() == 1 && bad[0].contains("head_width"), "{bad:?}");
    let clean = text(ClassifierConfig { noisy: false, ..noisy() });
    assert!(clean.len() == 1 && clean[0].contains("`head_width` is 8") && clean[0].contains("noisy"), "{clean:?}");
    let written = serde_json::to_string(&ClassifierConfig::new(3)).unwrap();
    assert!(!written.contains("noisy") && !written.contains("head"), "{written}");
}
