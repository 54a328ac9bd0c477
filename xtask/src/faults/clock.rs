//! Two clocks that all processes of this machine share.
//!
//! What came before what is decided by `CLOCK_MONOTONIC`, which nobody can set. The wall clock is only for what must be
//! held against the store's own times.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some instant before this machine's processes began.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Microseconds since 1970.
pub fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
