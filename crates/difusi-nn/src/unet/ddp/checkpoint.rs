//! Where in a file of tensors the U-Net's are: a bare state dict, a GaussianDiffusion's, the Trainer's file with its EMA.

use std::collections::BTreeSet;

use super::infer::{Inferred, infer};
use crate::error::NnError;

/// Name and shape of a tensor in a file; nested dictionaries' names are joined by dots.
pub type TensorInfo = (String, Vec<usize>);

/// Which copy of the weights to take from a file that holds several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// The averaged ones if there are any, else the others.
    #[default]
    EmaIfPresent,
    /// The averaged ones.
    Ema,
    /// Those that training steps.
    Raw,
}

/// A U-Net found among tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What stands before its parameters' names, for example `ema.ema_model.model.`; may be empty.
    pub prefix: String,
    /// Its parameters: the name in the file, the network's own name.
    pub names: Vec<(String, String)>,
    /// Names and shapes of its parameters, without prefix.
    pub tensors: Vec<TensorInfo>,
    /// Other tensors that belong to a checkpoint of the peer: the process's buffers, the optimiser, another copy.
    pub skipped: Vec<String>,
    /// Other tensors that do not.
    pub foreign: Vec<String>,
    /// The configuration that has these parameters.
    pub inferred: Inferred,
}

/// A parameter every U-Net of this family has; what stands before it is the prefix.
const MARK: &str = "init_conv.weight";
const SECOND_MARK: &str = "final_conv.weight";

/// Whether `name`'s last part is that of a tensor the peer's GaussianDiffusion or EMA keeps beside the weights.
pub fn is_process_buffer(name: &str) -> bool {
    const BUFFERS: [&str; 15] = [
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "loss_weight",
        "initted",
        "step",
    ];
    BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name))
}

/// The prefixes among `tensors` under which a U-Net of this family stands, averaged weights first.
pub fn find_unets(tensors: &[TensorInfo]) -> Vec<String> {
    let names: BTreeSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let prefix = |name: &&str| {
        let prefix = name.strip_suffix(MARK).filter(|p| p.is_empty() || p.ends_with('.'))?;
        names.contains(format!("{prefix}{SECOND_MARK}").as_str()).then(|| prefix.to_owned())
    };
    let mut prefixes: Vec<_> = names.iter().filter_map(prefix).collect();
    prefixes.sort_by_key(|prefix| (!is_ema(prefix), prefix.matches('.').count()));
    prefixes
}

fn is_ema(prefix: &str) -> bool {
    prefix.split('.').any(|part| part == "ema_model")
}

/// The U-Net that `pick` asks for among `tensors`. Fails where there is none, where the copy asked for is absent, or where its
/// tensors are no configuration's; the error names what was found.
pub fn unet_weights(tensors: &[TensorInfo], pick: Pick) -> Result<Found, NnError> {
    let prefixes = find_unets(tensors);
    let wanted = match pick {
        Pick::EmaIfPresent => prefixes.first(),
        Pick::Ema => prefixes.iter().find(|p| is_ema(p)),
        Pick::Raw => prefixes.iter().find(|p| !is_ema(p)),
    };
    let prefix = wanted.ok_or_else(|| not_found(tensors, &prefixes, pick))?.clone();
    let (mut names, mut own, mut skipped, mut foreign) = (vec![], vec![], vec![], vec![]);
    for (name, shape) in tensors {
        match name.strip_prefix(&prefix) {
            Some(rest) if !is_other(rest, &prefix, &prefixes) => {
                let rest = own_name(rest);
                names.push((name.clone(), rest.clone()));
                own.push((rest, shape.clone()));
            }
            _ if is_process_buffer(name) || is_optimiser(name) || prefixes.iter().any(|p| starts(name, p)) => {
                skipped.push(name.clone());
            }
            _ => foreign.push(name.clone()),
        }
    }
    let inferred = infer(&own)?;
    Ok(Found { prefix, names, tensors: own, skipped, foreign, inferred })
}

/// The network's own name of a parameter of the peer: in its class-conditional U-Net attention stands inside two wrappers.
fn own_name(name: &str) -> String {
    name.replace(".fn.fn.", ".").replace(".fn.norm.", ".norm.")
}

fn starts(name: &str, prefix: &str) -> bool {
    !prefix.is_empty() && name.starts_with(prefix)
}

fn is_optimiser(name: &str) -> bool {
    ["opt.", "optimizer.", "scaler."].iter().any(|part| name.starts_with(part))
}

/// Whether a name under the prefix belongs to something else: a buffer, the optimiser, or a copy under a longer prefix.
fn is_other(rest: &str, prefix: &str, prefixes: &[String]) -> bool {
    let longer = |p: &String| p.strip_prefix(prefix).is_some_and(|more| starts(rest, more));
    is_process_buffer(rest) || is_optimiser(rest) || prefixes.iter().any(longer)
}

fn not_found(tensors: &[TensorInfo], prefixes: &[String], pick: Pick) -> NnError {
    if prefixes.is_empty() {
        let first: Vec<_> = tensors.iter().take(5).map(|(name, _)| name.as_str()).collect();
        return NnError::NotFound(format!(
            "no U-Net of denoising-diffusion-pytorch among {} tensors: no `{MARK}` with a `{SECOND_MARK}`, with or without a \
             prefix (the first names are {})",
            tensors.len(),
            first.join(", ")
        ));
    }
    let what = if pick == Pick::Ema { "averaged (`ema_model.`)" } else { "raw (not `ema_model.`)" };
    NnError::NotFound(format!("no {what} weights; U-Nets stand under {}", prefixes.join(", ")))
}
