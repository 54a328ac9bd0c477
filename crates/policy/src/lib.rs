//! May this agent do this? Profiles say how far an agent is trusted, an engine decides by it.
//!
//! No IO, no clock: what has to be known is passed in. The other engine, Cedar, is a crate of its own because it takes
//! long to build; it decides the same things and, by its default policies, in the same way.
//!
//! - [`trust`]: the levels
//! - [`profile`]: what an agent of some kind may do, and the eight that are there from the start
//! - [`profiles`]: which profile an agent has
//! - [`request`]: who asks to do what with what, and the answer
//! - [`native`]: the built-in engine

pub mod native;
pub mod profile;
pub mod profiles;
pub mod request;
pub mod trust;

pub use profile::{Permission, Profile, place};
pub use profiles::{Assignee, Chosen, Profiles, Source};
pub use request::{Action, Code, Decision, Door, Principal, Resource, ResourceKind, Vouched};
pub use trust::Trust;
