//! How a command ends: what a person typed wrong exits with 2, what went wrong with 1, what was interrupted with 130.

use difusi::Error;
use difusi::data::DataError;

/// A person stopped the job; everything was saved and said.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A mistake in what was typed.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error about what was typed.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// Whether `e` or one of its causes is about what was typed, a config included.
pub(crate) fn is_usage(e: &anyhow::Error) -> bool {
    e.chain().any(|c| {
        c.is::<Usage>()
            || c.is::<difusi::ConfigErrors>()
            || matches!(c.downcast_ref::<DataError>(), Some(DataError::Keys(_)))
            || matches!(
                c.downcast_ref::<Error>(),
                Some(Error::Config(_) | Error::DeviceNotBuilt { .. } | Error::Data(DataError::Keys(_)))
            )
    })
}
