//! The most memory this process has had, as the kernel counts it.

use std::path::Path;

/// Peak resident memory in MiB: `VmHWM`; `None` where the kernel does not tell (not Linux).
pub(super) fn peak_mib() -> Option<f64> {
    parse(&difusi_store::read_text(Path::new("/proc/self/status")).ok()?)
}

fn parse(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read() {
        assert_eq!(parse("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(parse("VmPeak:\t 9 kB\n"), None);
        #[cfg(target_os = "linux")]
        assert!(peak_mib().is_some_and(|mib| mib > 1.0));
    }
}
