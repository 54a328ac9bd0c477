//! What to build, test and land next, so that the target only ever stands where it was tested. Pure: no IO, clock or git.
//!
//! - [`Train`]: the state machine. It is told what the queue holds and what came of its [`Order`]s, and gives the next ones
//! - [`lanes`]: which entries ride together, so that a failure holds up only those that claim the same
//! - [`Evidence`]: why an entry was ejected
//!
//! The train is a row of cars, each a few entries, built on top of each other. Every car is tested together with those
//! ahead of it, as many at once as there are slots. Whatever passes is landed as it was tested. Of a car that fails, the
//! first half is tested next, and so on until one entry is to blame. Nothing of this is kept: after a restart a new train
//! begins with the queue and the target as they are then.

pub mod lanes;
mod names;
mod train;

pub use names::{Candidate, Commit, EntryId, RunId, Tree};
pub use train::{Built, Conflict, ConflictsWith, Evidence, Fate, Order, Rules, Train, Verdict};
