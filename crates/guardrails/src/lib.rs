//! What would this command destroy, send or give away? A shell command, SQL or file paths in, a verdict out.
//!
//! A command is read as a shell reads it ([`shell`]), run in thought ([`walk`]): words are expanded as far as that is
//! static, wrappers and interpreters are looked through, pipes are followed. What would be started is judged by rules on
//! its shape ([`shape`]) and on its effects ([`effect`]): what it does to what. Text is code only where something runs
//! it: a commit message about a deletion deletes nothing.
//!
//! Rules are data ([`rules`]). No IO, no clock; the work is bounded in proportion to the input ([`budget`]).

mod budget;
mod builtins;
mod call;
mod code;
mod decode;
mod effect;
mod effects;
mod expand;
mod find;
mod flow;
mod git;
mod glob;
mod guard;
mod interpreters;
mod names;
mod options;
mod place;
mod powershell;
mod reach;
mod rules;
mod shape;
mod shell;
mod source;
mod sql;
mod throwaway;
mod tools;
mod touch;
mod verdict;
mod walk;
mod wrapper;

pub use guard::{Guard, Packs, Request, Study};
pub use rules::{BadPack, Examples, Rule, pack_name};
pub use touch::{Touch, Way};
pub use verdict::{Decision, PROFILES, Severity, Trust, Verdict, Violation};
