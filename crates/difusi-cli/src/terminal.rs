//! Lines for a person or a program: results on stdout, all else on stderr.
//!
//! `println!` panics where the reader has gone. Here a closed stdout (`| head`) ends the program quietly, a full one is a failure,
//! and a closed stderr is no reason to lose a training run. Deliberately absent: colours, levels.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::process::exit;

/// Writes a line to stdout.
pub(crate) fn out(line: Arguments<'_>) {
    match writeln!(stdout().lock(), "{line}") {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(e) => {
            err(format_args!("error: cannot write to stdout: {e}"));
            exit(1)
        }
    }
}

/// Writes a line to stderr; nobody may be there to read it.
pub(crate) fn err(line: Arguments<'_>) {
    let _unread = writeln!(stderr().lock(), "{line}");
}

/// `println!` that does not panic.
macro_rules! outln {
    ($($part:tt)*) => { $crate::terminal::out(format_args!($($part)*)) };
}

/// `eprintln!` that does not panic.
macro_rules! errln {
    ($($part:tt)*) => { $crate::terminal::err(format_args!($($part)*)) };
}
