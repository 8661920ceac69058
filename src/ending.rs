//! How a process of this program ends.

use std::io::Write as _;

/// Ends the process with `code`, now, whatever its other threads do.
///
/// `std::process::exit`, and the end of `main`, have C++ destroy its static objects. If another
/// thread is in RocksDB at that moment, as one that warms a version may be, and holds one of its
/// locks, RocksDB aborts. Nothing is left to do for either: what was acknowledged is on the disk.
pub(crate) fn end(code: u8) -> ! {
    signal_hook::low_level::exit(code.into())
}

/// The same at the end of `main`, when nobody else writes to standard output any more.
pub(crate) fn end_of_main(code: u8) -> ! {
    // A pipe that nobody reads any more was told where it was written to.
    let _ = std::io::stdout().flush();
    end(code)
}
