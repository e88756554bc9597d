//! How many images fit: the micro-batch from an estimate of the activations and the memory of this machine.
//!
//! Deliberately absent: measuring. The caller, who knows the network, brings the bytes per image.

use std::path::Path;

/// Bytes that a process may still take here: the kernel's `MemAvailable`, or what is left under the control group's limit
/// (v2 or v1) where that is less; `None` where neither can be read (not Linux).
pub fn available_memory() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| mem_available(&text));
    let group = |limit: &str, used: &str| -> Option<u64> {
        let limit: u64 = read(limit)?.trim().parse().ok()?; // "max" is no limit
        Some(limit.saturating_sub(read(used)?.trim().parse().ok()?))
    };
    let v2 = group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    let v1 = || group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    [machine, v2.or_else(v1)].into_iter().flatten().min()
}

fn read(path: &str) -> Option<String> {
    difusi_store::read_text(Path::new(path)).ok()
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The largest micro-batch whose activations fit into `limit` bytes, evened out so that all parts of a batch are nearly equal.
///
/// `bytes_per_image`: activations that training one image keeps. At least 1, at most `batch_size`: one image is tried
/// even where it does not fit by this estimate.
pub fn auto_micro_batch(batch_size: usize, bytes_per_image: u64, limit: u64) -> usize {
    let fit = usize::try_from(limit / bytes_per_image.max(1)).unwrap_or(usize::MAX).clamp(1, batch_size.max(1));
    let parts = batch_size.div_ceil(fit).max(1);
    batch_size.div_ceil(parts).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24000 kB\nMemFree:  1 kB\nMemAvailable:   16384 kB\nBuffers: 3 kB\n";
        assert_eq!(mem_available(text), Some(16384 * 1024));
        assert_eq!(mem_available("MemTotal: 1 kB\n"), None);
    }

    /// Parts fit, cover the batch, and are as even as whole numbers allow.
    #[test]
    fn micro_batches_fit_and_are_even() {
        for batch in [1, 2, 7, 32, 60, 64, 100] {
            for limit in [0, 9, 10, 35, 320, 10_000] {
                let m = auto_micro_batch(batch, 10, limit);
                assert!(m >= 1 && m <= batch);
                assert!(m == 1 || m as u64 * 10 <= limit, "{batch} {limit}: {m}");
                let last = batch - (batch.div_ceil(m) - 1) * m;
                assert!(m - last < batch.div_ceil(m), "{batch} {limit}: {m}, last {last}");
            }
        }
        assert_eq!(auto_micro_batch(64, 10, 630), 32);
        assert_eq!(auto_micro_batch(64, 10, 640), 64);
        assert_eq!(auto_micro_batch(60, 10, 250), 20);
    }
}
