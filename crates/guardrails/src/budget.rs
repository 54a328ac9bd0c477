//! How much work one check may do.
//!
//! Reading is linear, but what a command line can make of itself is not: braces multiply, variables are spliced into each
//! other, code holds code. Every such step is paid for here, and the purse is filled in proportion to the input.

use std::cell::Cell;

/// Steps that every check has, however short its input.
const BASE: u64 = 300_000;
/// Steps for each byte of input.
const PER_BYTE: u64 = 24;
/// Code in code in code: deeper than anybody writes by hand.
pub const MAX_DEPTH: usize = 40;

/// What it takes to judge one effect by all rules.
pub const JUDGED: usize = 128;

/// What is left to spend. Once it is overdrawn it stays so, and all work stops.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    overdrawn: Cell<bool>,
}

impl Budget {
    /// For an input of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { left: Cell::new(BASE + PER_BYTE * bytes as u64), overdrawn: Cell::new(false) }
    }

    /// Pays for so many steps; false when there is nothing left.
    pub fn spend(&self, steps: usize) -> bool {
        match self.left.get().checked_sub(steps as u64) {
            Some(left) if !self.overdrawn.get() => {
                self.left.set(left);
                true
            }
            _ => {
                self.overdrawn.set(true);
                false
            }
        }
    }

    /// Gives up: something is nested too deeply to follow.
    pub fn give_up(&self) {
        self.overdrawn.set(true);
    }

    /// Was more asked for than there was?
    pub fn is_overdrawn(&self) -> bool {
        self.overdrawn.get()
    }
}
