//! difusi-train
