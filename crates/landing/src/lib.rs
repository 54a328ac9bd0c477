//! Lands what the merge queue holds, on a real repository: builds each car of the [train](merging) without touching any
//! checkout, verifies it in a work tree of its own, and moves the target from where it is expected to be to the very commit
//! that was verified.
//!
//! - [`Runner`]: carries out the train's orders
//! - [`Queue`]: where entries come from, and where it is told what became of them
//! - [`Target`]: what is moved: a branch here, or one of a remote
//! - [`Verify`]: what says whether a commit may be landed
//!
//! Whoever runs this may be killed at any moment. Before the target is moved, a ref of ours notes which commit holds which
//! head of which entry. Whoever comes next finds it, sees whether the target got there, and tells the queue.

mod build;
mod notes;
mod queue;
mod runner;
mod target;
mod verify;

pub use queue::{Entry, Queue, QueueError};
pub use runner::{Error, Event, Runner, Step, Style};
pub use target::Target;
pub use verify::{Candidate, Verifier, Verify};
