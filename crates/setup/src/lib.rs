//! What coding agents need in their own configuration to work with the coordinator: planned, written, and taken back.
//!
//! A vendor is data: a list of [`Piece`]s, each a part of a file ([`vendor`]). The [`plan`] joins pieces with what the
//! files say now and changes nothing; [`apply`] writes it, and keeps a [`record`] from which [`undo`] plans the way back.
//! Files are edited and never rewritten: what others wrote keeps its bytes, order, comments and line ends.

pub mod apply;
pub mod block;
pub mod diff;
pub mod git_hooks;
pub mod json;
pub mod part;
pub mod place;
pub mod plan;
pub mod record;
pub mod settings_file;
pub mod text;
pub mod toml;
pub mod undo;
pub mod vendor;
pub mod view;

pub use part::{Part, Piece};
pub use place::{Homes, Place, Scope};
pub use plan::{Edit, Plan, Problem};
pub use record::Record;
pub use vendor::Agent;
pub use view::{Disk, Found, View};
