//! What must pass before a change is landed, and how it is run.
//!
//! - [`policy`]: policies of `coordinator.toml`, and which of them a change needs. Pure
//! - [`inline`]: runs a command within limits, and leaves no process behind
//! - [`check`]: one policy's turn: what its result is bound to, and what came of it
//! - [`keeper`]: the process that every such command runs below; it ends all of it, whatever becomes of us
//! - [`results`]: what passed already, by tree, command and versions of tools

pub mod check;
pub mod inline;
pub mod keeper;
mod output;
pub mod policy;
pub mod results;
mod tree;

pub use check::{Checker, Question, Ready, Said};
pub use inline::{Ended, Inline, Report};
pub use policy::{Executor, Policies, Policy, Tier, Workflow};
pub use results::{Key, Results};
