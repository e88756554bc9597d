//! An allocator whose blocks lie between two pages that nobody may touch, and what is said when somebody does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};

/// Smaller blocks are the system's.
const LEAST: usize = 64;
/// What lies beside a block within its pages.
const CANARY: u8 = 0xa5;
/// What fresh memory is full of: NaN as f32, f64 and bf16.
const FRESH: u8 = 0xff;

/// Whether blocks lie against the page in front of them instead of the one behind.
static IN_FRONT: AtomicBool = AtomicBool::new(false);

/// What is being tried, for the message of a crash.
static CASE: (AtomicPtr<u8>, AtomicUsize) = (AtomicPtr::new(std::ptr::null_mut()), AtomicUsize::new(0));

/// The allocator.
pub(crate) struct Pages;

/// Which of a block's ends lies against a guard page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// The page behind: a read or write past the end crashes.
    Behind,
    /// The page in front: one before the beginning crashes.
    Front,
}

/// Where blocks lie from now on.
pub(crate) fn lie(against: Against) {
    IN_FRONT.store(against == Against::Front, SeqCst);
}

/// Says what is tried from now on.
pub(crate) fn trying(what: &str) {
    let what: &'static str = String::from(what).leak();
    CASE.1.store(0, SeqCst);
    CASE.0.store(what.as_ptr().cast_mut(), SeqCst);
    CASE.1.store(what.len(), SeqCst);
}

fn is_guarded(layout: Layout) -> bool {
    layout.size() >= LEAST && layout.align() <= page()
}

fn page() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A block's pages without the guards: their length, and where in them the block begins.
fn room(layout: Layout) -> (usize, usize) {
    let room = layout.size().next_multiple_of(page());
    let last = (room - layout.size()) / layout.align() * layout.align();
    (room, if IN_FRONT.load(SeqCst) { 0 } else { last })
}

/// Zeroed memory between guards, canaries beside it; null if there is none.
///
/// # Safety
/// As [`GlobalAlloc::alloc`].
unsafe fn map(layout: Layout) -> *mut u8 {
    let ((room, at), page) = (room(layout), page());
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new pages are mapped, and only those inside the guards are written.
    unsafe {
        let guard = libc::mmap(std::ptr::null_mut(), room + 2 * page, libc::PROT_NONE, flags, -1, 0);
        if guard == libc::MAP_FAILED {
            return std::ptr::null_mut();
        }
        let first = guard.cast::<u8>().add(page);
        if libc::mprotect(first.cast(), room, libc::PROT_READ | libc::PROT_WRITE) != 0 {
            libc::munmap(guard, room + 2 * page);
            return std::ptr::null_mut();
        }
        first.write_bytes(CANARY, at);
        first.add(at + layout.size()).write_bytes(CANARY, room - at - layout.size());
        first.add(at)
    }
}

/// Looks at the canaries and gives the pages back.
///
/// # Safety
/// As [`GlobalAlloc::dealloc`], for what [`map`] gave.
unsafe fn unmap(block: *mut u8, layout: Layout) {
    // A block begins in the first of its pages, whichever way it lies.
    let ((room, _), page) = (room(layout), page());
    let at = block.addr() % page;
    // SAFETY: these are the block's pages.
    unsafe {
        let first = block.sub(at);
        let before = std::slice::from_raw_parts(first, at);
        let behind = std::slice::from_raw_parts(block.add(layout.size()), room - at - layout.size());
        if before.iter().chain(behind).any(|&byte| byte != CANARY) {
            say(b"a write beside a block of bytes: ");
            say_number(layout.size());
            say_case();
            libc::abort();
        }
        libc::munmap(first.sub(page).cast(), room + 2 * page);
    }
}

// SAFETY: blocks are fresh pages or the system's, decided by the layout alone.
unsafe impl GlobalAlloc for Pages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on; a block is `layout.size()` bytes long.
        unsafe {
            if !is_guarded(layout) {
                return System.alloc(layout);
            }
            let block = map(layout);
            if !block.is_null() {
                block.write_bytes(FRESH, layout.size());
            }
            block
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; fresh pages are zero.
        unsafe { if is_guarded(layout) { map(layout) } else { System.alloc_zeroed(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { if is_guarded(layout) { unmap(block, layout) } else { System.dealloc(block, layout) } }
    }
}

/// Lets a crash say what was tried and where it reached.
pub(crate) fn explain_crashes() {
    // SAFETY: the handler only writes to the standard error and puts the default handler back.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = crashed as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
    }
}

extern "C" fn crashed(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    say(b"memory that is nobody's was touched: ");
    // SAFETY: the kernel hands over what it knows; the default handler ends the process when the access is made again.
    unsafe {
        say_number((*info).si_addr().addr());
        say_case();
        libc::signal(signal, libc::SIG_DFL);
    }
}

fn say_case() {
    let (text, len) = (CASE.0.load(SeqCst), CASE.1.load(SeqCst));
    say(if IN_FRONT.load(SeqCst) { b", blocks against the page in front, at: " } else { b", at: " });
    if len > 0 {
        // SAFETY: a string that lives for ever.
        say(unsafe { std::slice::from_raw_parts(text, len) });
    }
    say(b"\n");
}

fn say(text: &[u8]) {
    // SAFETY: the bytes are there. What cannot be written is lost.
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// In hexadecimal, without memory.
fn say_number(number: usize) {
    let mut digits = [b'0'; 16];
    for (i, digit) in digits.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[number >> (60 - 4 * i) & 15];
    }
    say(b"0x");
    say(&digits);
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    /// What the process below is asked to do.
    const PROBE: &str = "DIFUSI_GUARD_PROBE";

    /// Does what it must not, in a process of its own; nothing otherwise.
    #[test]
    fn probe() {
        let Ok(what) = std::env::var(PROBE) else { return };
        explain_crashes();
        lie(if what.ends_with("front") { Against::Front } else { Against::Behind });
        // SAFETY: none: the point is to end here.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
            let mut block = vec![0u8; 333];
            let at = std::hint::black_box(block.as_mut_ptr());
            match what.as_str() {
                "read behind" => drop(std::hint::black_box(at.add(333).read_volatile())),
                "read in front" => drop(std::hint::black_box(at.sub(1).read_volatile())),
                "write behind, front" => at.add(333).write_volatile(1),
                _ => at.sub(1).write_volatile(1),
            }
        }
    }

    #[test]
    fn what_reaches_too_far_crashes() {
        for (what, signal) in [
            ("read behind", libc::SIGSEGV),
            ("read in front", libc::SIGSEGV),
            ("write behind, front", libc::SIGABRT),
            ("write before", libc::SIGABRT),
        ] {
            let this = std::env::current_exe().expect("this test");
            let mut probe = std::process::Command::new(this);
            let end = probe.args(["--exact", "pages::tests::probe"]).env(PROBE, what).output().expect("this test");
            assert_eq!(end.status.signal(), Some(signal), "{what}: {}", String::from_utf8_lossy(&end.stderr));
        }
    }
}
