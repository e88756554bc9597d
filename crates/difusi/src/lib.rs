//! difusi
