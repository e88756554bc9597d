//! Nothing but a dependency list; see Cargo.toml.
