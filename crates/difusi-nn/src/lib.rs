//! difusi-nn
