//! What the kernel tells of this machine: the most memory this process has had, the processor.

use std::path::Path;

/// Peak resident memory in MiB: `VmHWM`; `None` where the kernel does not tell (not Linux).
pub(crate) fn peak_mib() -> Option<f64> {
    parse(&difusi_store::read_text(Path::new("/proc/self/status")).ok()?)
}

/// Gives freed memory back to the system and lets the peak begin anew, so that it is the peak of what comes next. False where the
/// kernel does not do that: the peak is then that of everything so far.
pub(crate) fn restart_peak() -> bool {
    difusi_ops::give_back_freed_memory();
    difusi_store::tell_kernel(Path::new("/proc/self/clear_refs"), "5").is_ok()
}

/// What the processor is called; `None` where the kernel does not tell.
pub(crate) fn processor() -> Option<String> {
    let text = difusi_store::read_text(Path::new("/proc/cpuinfo")).ok()?;
    let name = text.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':'))?;
    Some(name.1.trim().to_owned())
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

    /// What was freed before counts no more. Other tests of this process take memory meanwhile, but not that much.
    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_begins_anew() {
        let much = vec![1_u8; 1 << 29];
        assert!(much.iter().step_by(4096).all(|b| *b == 1) && peak_mib().is_some_and(|mib| mib > 500.0));
        drop(much);
        if restart_peak() {
            assert!(peak_mib().is_some_and(|mib| mib < 500.0));
        }
    }
}
