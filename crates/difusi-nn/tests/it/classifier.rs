//! The classifier: probabilities, features, images on their own.

use burn::tensor::Device;
use difusi_core::Noise;
use difusi_nn::ClassifierConfig;

use crate::baselines::{bytes, check_close, numbers};

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
