//! What the C library does with large freed buffers.
//!
//! glibc gives every freed buffer of 32 MiB and more back to the kernel, so that each new activation of a large layer faults its
//! pages in again, one by one. Deliberately absent: an allocator of our own.

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
