//! difusi-process
