//! Agents coordinated by GitHub, for those that can reach nothing else.
//!
//! Whichever way it comes, by webhook ([`webhook`]) or by polling ([`sync`]), what was seen of an issue, a pull request or a
//! branch goes into its record ([`records`]), and what the record wants is then brought about ([`settle`]): locks
//! ([`locks`]), a task ([`tasks`]), a place in the merge queue ([`merging`]). It is a comparison of what is wanted with what
//! is, so that it may be done at any time and by anybody, and repeating it changes nothing. [`pass`] does so for
//! all there is, which renews the locks; and says on GitHub what we refuse ([`telling`]). What is pushed is
//! verified ([`pushes`]), by workflows that know it again if they are asked to ([`workflows`]).

mod locks;
mod merging;
pub mod pass;
mod pushes;
mod records;
mod settle;
pub mod sync;
mod tasks;
mod telling;
pub mod webhook;
pub mod workflows;

pub use records::{Refused, Subject, SubjectView};

/// How long a lock lasts for which a label or a branch stands, unless it is renewed, in minutes.
pub const LEASE_MINUTES: u32 = 120;

/// The type of an agent that is known from GitHub only.
pub const AGENT_TYPE: &str = "github";
