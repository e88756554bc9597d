//! No kernel reads or writes beyond a buffer: every op, forward and backward, with inputs, outputs and scratch between guard pages.
//!
//! [`pages`] is this binary's allocator: a block of 64 bytes or more ends where a page without access begins, or, in a second
//! pass, begins where one ends, and what alignment leaves beside it is checked when it is freed. Fresh memory is full of NaN, and so
//! is scratch, which `scratch_apart` makes a block per part; so what is read before it was written shows in the results.
//! The vector unit is the machine's widest; `cargo xtask memcheck` looks at the others. Linux only. Deliberately absent: whether the
//! results are right (tests/ops).

#[cfg(target_os = "linux")]
mod attention;
#[cfg(target_os = "linux")]
mod convolution;
#[cfg(target_os = "linux")]
mod pages;
#[cfg(target_os = "linux")]
mod rest;
#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
#[global_allocator]
static PAGES: pages::Pages = pages::Pages;

#[cfg(not(target_os = "linux"))]
#[test]
fn skipped() {
    println!("skipped: guard pages are set up with Linux's calls");
}
