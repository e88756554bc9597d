//! difusi-data
