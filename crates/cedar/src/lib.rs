//! May this agent do this, by policies in Cedar?
//!
//! The same question and the same answer as the built-in engine's: `policy::native`. A schema names every operation, so
//! that a policy on one that does not exist, or that compares what cannot be compared, is refused on its way in. A
//! profile's lists are bounds here too: no policy widens them.
//!
//! Evaluation is linear in the number of policies, so there are few: by attributes and groups of actions, none for an
//! agent or an operation of its own.

mod engine;
mod mistakes;
mod schema;

pub use engine::{Document, Engine};
pub use mistakes::Mistake;
pub use schema::{BadSchema, Schema};

/// The policies that are there from the start.
pub const DEFAULT: &str = include_str!("default.cedar");

/// The name under which they can be replaced.
pub const DEFAULT_NAME: &str = "default";
