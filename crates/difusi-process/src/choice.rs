//! Config keys that offer a choice: `"cosine"` and `{ kind = "cosine", s = 0.008 }` mean the same.
//!
//! Fields use this module as `#[serde(with = "difusi_process::choice")]`. A plain string selects a kind with its documented
//! defaults; a table may set its parameters. Unknown kinds and keys are errors either way.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error, MapAccess, Visitor,
        value::{MapAccessDeserializer, MapDeserializer},
    },
};

/// An enum whose variants a config names by `kind`.
pub trait Choice: Serialize + for<'de> Deserialize<'de> {
    /// Every kind, as configs spell it.
    const KINDS: &'static [&'static str];

    /// The kind of this value.
    fn kind(&self) -> &'static str;

    /// Whether this kind has no parameters, so that its name says all.
    fn is_plain(&self) -> bool;
}

/// Writes the name where it says all, a table otherwise.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Choice, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_plain() { serializer.serialize_str(value.kind()) } else { value.serialize(serializer) }
}

/// Reads a name or a table with `kind`.
///
/// # Errors
/// Unknown kinds, unknown keys and wrong types, with what is accepted.
pub fn deserialize<'de, T: Choice, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(ChoiceVisitor(PhantomData))
}

struct ChoiceVisitor<T>(PhantomData<T>);

impl<'de, T: Choice> Visitor<'de> for ChoiceVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}, or a table with `kind`", list(T::KINDS))
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<T, E> {
        T::deserialize(MapDeserializer::new(std::iter::once(("kind", kind))))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

fn list(kinds: &[&str]) -> String {
    kinds.iter().map(|k| format!("\"{k}\"")).collect::<Vec<_>>().join(", ")
}

/// Implements [`Choice`]: which kinds there are, and which of them have no parameters.
macro_rules! choice {
    ($type:ident: $($variant:ident = $kind:literal $plain:literal),+ $(,)?) => {
        impl $crate::choice::Choice for $type {
            const KINDS: &'static [&'static str] = &[$($kind),+];

            fn kind(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $kind),+ }
            }

            fn is_plain(&self) -> bool {
                match self { $(Self::$variant { .. } => $plain),+ }
            }
        }
    };
}
pub(crate) use choice;
