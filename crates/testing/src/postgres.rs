//! Throwaway PostgreSQL: servers in a temporary directory, and databases in them.

mod binaries;
mod cluster;
mod database;
mod watcher;

pub use binaries::directory as binaries;
pub use cluster::Cluster;
pub use database::{Database, SERVER_VARIABLE};
