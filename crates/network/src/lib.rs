//! A host or URL in, a verdict out: may it be reached? No IO: whoever resolves names says what they resolve to.
//!
//! - [`host`]: one host, however it was spelt, as a browser would read it
//! - [`target`]: the host and port that a URL or a bare host names
//! - [`address`]: is an address globally reachable?
//! - [`rule`]: `host`, `*.host`, `**.host`, `*`, each perhaps with a port
//! - [`rules`]: all of them together, and the order in which they decide
//! - [`line`]: a check and its answer as lines of JSON
//!
//! Where programs disagree about what a text means, it is refused: whoever checks and whoever connects must not mean two
//! hosts.

pub mod address;
pub mod host;
pub mod line;
pub mod rule;
pub mod rules;
pub mod target;

pub use address::Unreachable;
pub use host::{BadHost, Host};
pub use rule::{BadRule, Rule};
pub use rules::{Access, Ground, Rules, Verdict};
pub use target::{BadTarget, Target};
