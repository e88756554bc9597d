//! Where large buffers lie, and what becomes of them when freed.
//!
//! glibc puts large buffers 16 bytes behind the start of a page, so that every vector of 64 bytes straddles two cache lines, and
//! gives those of 32 MiB and more back to the kernel when they are freed, so that the next step faults their pages in again, one
//! by one. Deliberately absent: an arena of our own; asking for huge pages gained nothing that could be measured.

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of this many bytes and more begin at a cache line.
const LARGE: usize = 4096;

/// The system's allocator, with large blocks at cache lines: a tenth of a percent of memory for 4 % of a training step.
/// For programs: `#[global_allocator] static MEMORY: difusi_ops::CacheLines = difusi_ops::CacheLines;`
pub struct CacheLines;

/// The layout that is really asked for: a function of size and alignment, so that a block is freed as it was allocated.
fn at_a_line(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(64).unwrap_or(layout) }
}

// SAFETY: everything is handed on to the system's allocator, with the same layout when a block is made and when it is freed. The
// default `realloc` goes through the two.
unsafe impl GlobalAlloc for CacheLines {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(at_a_line(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(at_a_line(layout)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, at_a_line(layout)) }
    }
}

/// Asks the allocator to keep freed memory for the next step instead of returning it to the system (glibc only; elsewhere
/// nothing happens). For programs that train or sample, once, at their start. Peak memory stays the same.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        const TRIM_THRESHOLD: i32 = -1;
        const MMAP_MAX: i32 = -4;
        // SAFETY: glibc's own function with its documented parameters; it locks what it changes.
        unsafe {
            mallopt(TRIM_THRESHOLD, i32::MAX);
            mallopt(MMAP_MAX, 0);
        }
    }
}

/// Returns freed memory to the system after all (glibc only; elsewhere nothing happens). For programs, between two jobs.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep: usize) -> i32;
        }
        // SAFETY: glibc's own function; it locks what it changes.
        unsafe {
            malloc_trim(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of every kind of size keep what they hold when they grow and shrink, and large ones begin at a line.
    #[test]
    fn blocks_hold_what_is_put_into_them() {
        for (size, align) in [(1, 1), (100, 8), (4095, 1), (4096, 4), (5000, 16), (1 << 20, 4), (70_000, 128)] {
            for new in [3 * size, size / 2 + 1] {
                // SAFETY: the layouts are valid, and the block is freed once, with the layout it has by then.
                unsafe {
                    let layout = Layout::from_size_align(size, align).expect("a layout");
                    let block = CacheLines.alloc_zeroed(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align));
                    assert!(size < LARGE || block.addr().is_multiple_of(64));
                    let bytes = std::slice::from_raw_parts_mut(block, size);
                    assert!(bytes.iter().all(|&b| b == 0));
                    bytes.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
                    let block = CacheLines.realloc(block, layout, new);
                    let kept = std::slice::from_raw_parts(block, new.min(size));
                    assert!(kept.iter().enumerate().all(|(i, &b)| b == i as u8), "{size} -> {new}");
                    CacheLines.dealloc(block, Layout::from_size_align(new, align).expect("a layout"));
                }
            }
        }
    }
}
