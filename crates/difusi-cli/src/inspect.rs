//! `difusi inspect`.

use difusi::store::TensorInfo;
use difusi::{Described, describe};

use crate::args::InspectArgs;

/// Tensors listed without `--tensors`.
const SHOWN: usize = 12;

pub(crate) fn inspect(args: &InspectArgs, json: bool) -> anyhow::Result<()> {
    let found = describe(&args.path)?;
    if json {
        outln!("{}", as_json(&found));
        return Ok(());
    }
    outln!("{}", args.path.display());
    outln!("kind        {}", found.kind);
    for (key, value) in &found.facts {
        outln!("{key:11} {value}");
    }
    if let Some(config) = &found.config {
        outln!("\n{}", config.trim_end());
    }
    let tensors = &found.tensors;
    if tensors.is_empty() {
        return Ok(());
    }
    let numbers: usize = tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum();
    outln!("\n{} tensors, {numbers} numbers", tensors.len());
    let shown = if args.tensors { tensors.len() } else { SHOWN };
    for t in tensors.iter().take(shown) {
        outln!("  {:60} {:6} {:?}", t.name, t.dtype.to_string(), t.shape);
    }
    if tensors.len() > shown {
        outln!("  and {} more (--tensors lists all)", tensors.len() - shown);
    }
    Ok(())
}

fn as_json(found: &Described) -> serde_json::Value {
    let tensor = |t: &TensorInfo| serde_json::json!({ "name": t.name, "dtype": t.dtype.to_string(), "shape": t.shape });
    serde_json::json!({
        "kind": found.kind,
        "facts": found.facts.iter().cloned().collect::<std::collections::BTreeMap<String, String>>(),
        "config": found.config,
        "tensors": found.tensors.iter().map(tensor).collect::<Vec<_>>(),
    })
}
