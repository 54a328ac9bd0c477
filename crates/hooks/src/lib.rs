//! What happens at the moments that coding agents and git give us: an event in, a decision out.
//!
//! - [`event`]: what happened and what is said to it, whichever client it is; [`clients`]: how each one puts it
//! - [`hook`]: what is done at each moment, step by step: what can be told from this machine alone ([`log`],
//!   [`fingerprint`], the guard), and what the coordinator decides ([`desk`], [`errand`], [`leases`], [`reach`],
//!   [`deliver`])
//! - [`silence`]: a coordinator that did not answer is left alone for a while
//! - [`brief`], [`handoff`]: what a session is told when it begins, and what it leaves
//! - [`net`]: the second net, for what no hook saw
//! - [`git`]: git's own hooks, for whoever has none of these
//!
//! A hook is a process that lives for milliseconds, so nothing is loaded that the event at hand does not need.

pub mod brief;
pub mod clients;
mod deliver;
pub mod desk;
mod errand;
pub mod event;
pub mod fingerprint;
pub mod git;
pub mod handoff;
pub mod hook;
mod leases;
pub mod log;
mod net;
pub mod patch;
mod reach;
mod silence;
pub mod site;
