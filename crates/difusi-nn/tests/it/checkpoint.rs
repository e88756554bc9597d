//! Finding a U-Net in a file, and its configuration in its shapes.

use difusi_nn::layers::TimeFrequencies;
use difusi_nn::unet::ddp::{PerStage, Pick, TensorInfo, find_unets, infer, unet_weights};
use difusi_nn::{NnError, UnetConfig};
use serde_json::Value;

use crate::support::{config, golden, parse, tiny};

fn names() -> Value {
    serde_json::from_str(&std::fs::read_to_string(golden("unet_names.json")).unwrap()).unwrap()
}

fn tensors(value: &Value) -> Vec<TensorInfo> {
    value.as_object().unwrap().iter().map(|(name, shape)| (name.clone(), parse(shape))).collect()
}

/// The file that the peer's Trainer writes holds three copies of the network, buffers and an optimiser.
#[test]
fn trainer_file() {
    let file = &names()["trainer"];
    let tensors = tensors(&file["tensors"]);
    assert_eq!(find_unets(&tensors), ["ema.ema_model.model.", "model.model.", "ema.online_model.model."]);
    for (pick, prefix) in
        [(Pick::EmaIfPresent, "ema.ema_model.model."), (Pick::Ema, "ema.ema_model.model."), (Pick::Raw, "model.model.")]
    {
        let found = unet_weights(&tensors, pick).unwrap();
        assert_eq!(found.prefix, prefix);
        assert_eq!(found.inferred.config, config(&file["unet"]));
        assert_eq!(found.foreign, Vec::<String>::new());
        assert_eq!(found.names.len() + found.skipped.len(), tensors.len());
        assert!(found.skipped.contains(&"model.betas".to_owned()));
        assert!(found.names.iter().all(|(full, own)| *full == format!("{prefix}{own}")));
    }
}

/// The same network bare, in a GaussianDiffusion, and wrapped by data-parallel training.
#[test]
fn prefixes() {
    let bare = tensors(&names()["networks"]["grey_124"]["tensors"]);
    for prefix in ["", "model.", "module.", "module.model.", "online_model.model."] {
        let mut list: Vec<_> = bare.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.clone())).collect();
        list.push(("betas".into(), vec![1000]));
        list.push(("model.loss_weight".into(), vec![1000]));
        let found = unet_weights(&list, Pick::EmaIfPresent).unwrap();
        assert_eq!((found.prefix.as_str(), found.tensors.len(), found.skipped.len()), (prefix, bare.len(), 2));
        let error = unet_weights(&list, Pick::Ema).unwrap_err().to_string();
        assert!(error.contains("no averaged"), "{error}");
    }
    let error = unet_weights(&[("conv1.weight".into(), vec![1])], Pick::Raw).unwrap_err().to_string();
    assert!(error.contains("no U-Net") && error.contains("conv1.weight"), "{error}");
}

/// From shapes alone comes the configuration, but for what shapes cannot tell.
#[test]
fn configuration_from_shapes() {
    for (case, network) in names()["networks"].as_object().unwrap() {
        let found = infer(&tensors(&network["tensors"])).unwrap();
        let mut truth = config(&network["unet"]);
        truth.dropout = 0.0;
        truth.time = match truth.time {
            TimeFrequencies::RandomFourier { dim } => TimeFrequencies::Learned { dim },
            TimeFrequencies::Sinusoidal { .. } => TimeFrequencies::default(),
            learned => learned,
        };
        assert_eq!(found.config, truth, "{case}");
    }
}

/// When a configuration and a file disagree, the message says how, and what the file holds.
#[test]
fn disagreement() {
    let own: Vec<_> = tiny().parameters().unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
    assert_eq!(tiny().disagreement(&own).unwrap(), None);
    let other = UnetConfig { channels: 3, full_attn: Some(PerStage::All(true)), ..tiny() };
    let found = other.disagreement(&own).unwrap().unwrap();
    let keys: Vec<_> = found.keys.iter().map(|issue| issue.key.as_str()).collect();
    assert_eq!(keys, ["channels", "out_dim", "full_attn"]);
    assert!(found.to_string().contains("`channels` is 3; expected 1, as the tensors have it"), "{found}");
    assert!(found.issues.to_string().contains("`init_conv.weight` has shape [8, 1, 7, 7]; expected [8, 3, 7, 7]"));
    let found = other.disagreement(&own[1..]).unwrap().unwrap();
    assert!(found.keys.is_empty() && found.to_string().contains("missing: init_conv.weight"), "{found}");
}

/// Tensors that only look like a U-Net's are refused with what does not fit.
#[test]
fn not_quite_a_unet() {
    let mut own: Vec<_> = tiny().parameters().unwrap().into_iter().map(|p| (p.name, p.shape)).collect();
    own.push(("label_emb.weight".into(), vec![10, 32]));
    let NnError::Weights(issues) = infer(&own).unwrap_err() else { panic!() };
    assert_eq!(issues.unknown, ["label_emb.weight"]);
    own.retain(|(name, _)| name != "downs.1.2.mem_kv");
    assert!(infer(&own).is_err());
    own.retain(|(name, _)| !name.starts_with("downs."));
    assert!(matches!(infer(&own), Err(NnError::NotFound(_))));
}
