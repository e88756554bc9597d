//! difusi-store
