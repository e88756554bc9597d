//! difusi-ops
