//! Results on stdout. A reader who has seen enough (`| head`) ends the program without a word.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    process,
};

/// Writes, or ends the program: with 0 where nobody reads any more, with 1 where writing fails otherwise.
pub fn write(text: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        if error.kind() == ErrorKind::BrokenPipe {
            process::exit(0);
        }
        eprintln!("nat: stdout: {error}");
        process::exit(1);
    }
}

/// Formatted text on stdout.
macro_rules! out {
    ($($argument:tt)*) => { $crate::stdout::write(format_args!($($argument)*)) };
}

/// A formatted line on stdout.
macro_rules! outln {
    ($($argument:tt)*) => {
        $crate::stdout::write(format_args!("{}\n", format_args!($($argument)*)))
    };
}
