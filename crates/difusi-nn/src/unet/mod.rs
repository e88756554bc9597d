//! U-Nets, one family per folder.

pub mod adm;
pub mod ddp;
mod describe;
mod inputs;

pub use describe::{Cost, LayerShape};
use inputs::{Knows, check_cond, check_images, check_size};
