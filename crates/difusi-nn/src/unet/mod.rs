//! U-Nets, one family per folder.

pub mod ddp;
