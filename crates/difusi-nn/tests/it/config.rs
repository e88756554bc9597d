//! Configurations: strict, checked all at once, and the peer's arguments to and fro.

use difusi_core::Noise;
use difusi_nn::layers::TimeFrequencies;
use difusi_nn::unet::ddp::PerStage;
use difusi_nn::unet::ddp::peer::UnetArgs;
use difusi_nn::{NnError, UnetConfig};
use serde_json::{Value, from_value, json};

fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(value: Value, part: &str) {
    let text = from_value::<T>(value).unwrap_err().to_string();
    assert!(text.contains(part), "{text}");
}

#[test]
fn defaults_are_the_peers() {
    let config: UnetConfig = from_value(json!({ "dim": 64 })).unwrap();
    assert_eq!(config, UnetConfig::new(64));
    assert_eq!(config, from_value::<UnetArgs>(json!({ "dim": 64 })).unwrap().into());
}

#[test]
fn typos_are_errors() {
    refused::<UnetConfig>(json!({ "dim": 8, "dim_mult": [1] }), "unknown field `dim_mult`");
    refused::<UnetArgs>(json!({ "dim": 8, "time": {} }), "unknown field `time`");
    refused::<UnetConfig>(json!({ "dim": 8, "flash_attn": true }), "unknown field `flash_attn`");
    for kind in ["sinusoidal", "learned", "random_fourier"] {
        refused::<UnetConfig>(json!({ "dim": 8, "time": { "kind": kind, "dims": 4 } }), "unknown field `dims`");
        assert!(from_value::<UnetConfig>(json!({ "dim": 8, "time": { "kind": kind } })).is_ok());
    }
    refused::<UnetConfig>(json!({ "dim": 8, "attn_heads": "4" }), "a list of one value for each stage");
    refused::<UnetConfig>(json!({}), "missing field `dim`");
}

/// Every argument survives the way there and back (`flash_attn` alone is dropped).
#[test]
fn arguments_round_trip() {
    let time = [
        json!({ "sinusoidal_pos_emb_theta": 100.0 }),
        json!({ "learned_sinusoidal_cond": true, "learned_sinusoidal_dim": 8 }),
        json!({ "random_fourier_features": true, "learned_sinusoidal_dim": 8 }),
    ];
    for extra in time {
        let mut args = json!({
            "dim": 8, "init_dim": 6, "out_dim": 5, "dim_mults": [1, 3], "channels": 2, "self_condition": true,
            "learned_variance": true, "dropout": 0.1, "attn_dim_head": [4, 8], "attn_heads": 2, "full_attn": [true, false],
        });
        args.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let args: UnetArgs = from_value(args).unwrap();
        let config = UnetConfig::from(args.clone());
        assert_eq!(UnetArgs::from(config.clone()), args);
        let again: UnetConfig = from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!(config.check(), []);
    }
    let both = json!({ "dim": 8, "learned_sinusoidal_cond": true, "random_fourier_features": true, "full_attn": null });
    let config: UnetConfig = from_value::<UnetArgs>(both).unwrap().into();
    assert_eq!(config.time, TimeFrequencies::RandomFourier { dim: 16 });
}

#[test]
fn all_issues_at_once() {
    let config = UnetConfig {
        channels: 0,
        init_dim: Some(0),
        dim_mults: vec![1, 0],
        dropout: 1.0,
        attn_heads: PerStage::Each(vec![1, 2, 3]),
        attn_dim_head: PerStage::All(0),
        full_attn: Some(PerStage::Each(vec![true])),
        ..UnetConfig::new(7)
    };
    let issues = config.check();
    let keys: Vec<_> = issues.iter().map(|issue| issue.key.as_str()).collect();
    let expected = ["init_dim", "channels", "dim_mults", "attn_dim_head", "attn_heads", "full_attn", "dim", "dropout"];
    assert_eq!(keys, expected);
    let error = config.init(Noise::new(0), &burn::tensor::Device::flex()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`attn_heads` is [1, 2, 3]; expected a whole number, 1 or more, or a list of 2"), "{text}");
    assert!(text.contains("`dim` is 7; expected an even number, 4 or more"), "{text}");
    assert!(matches!(error, NnError::Config(list) if list == issues));
    let time = TimeFrequencies::Sinusoidal { theta: f64::NAN };
    assert_eq!(UnetConfig { time, ..UnetConfig::new(8) }.check()[0].key, "time.theta");
    let time = TimeFrequencies::Learned { dim: 3 };
    assert_eq!(UnetConfig { time, ..UnetConfig::new(7) }.check().len(), 1);
}
