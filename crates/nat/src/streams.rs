//! Results on stdout, messages on stderr. A reader who has seen enough (`| head`) does not end the work, only what is said of it.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether nobody reads any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes while somebody reads. Where writing fails otherwise (a full disk), the program ends with exit code 1.
pub fn write(text: fmt::Arguments<'_>) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        if error.kind() != ErrorKind::BrokenPipe {
            tell(format_args!("nat: stdout: {error}\n"));
            process::exit(1);
        }
        CLOSED.store(true, Ordering::Relaxed);
    }
}

/// Writes a message. There is nobody to tell where that fails, and no reason to stop.
pub fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// Formatted text on stdout.
macro_rules! out {
    ($($argument:tt)*) => { $crate::streams::write(format_args!($($argument)*)) };
}

/// A formatted line on stdout.
macro_rules! outln {
    ($($argument:tt)*) => {
        $crate::streams::write(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// Formatted text on stderr.
macro_rules! err {
    ($($argument:tt)*) => { $crate::streams::tell(format_args!($($argument)*)) };
}

/// A formatted line on stderr.
macro_rules! errln {
    ($($argument:tt)*) => {
        $crate::streams::tell(format_args!("{}\n", format_args!($($argument)*)))
    };
}
