//! Throwaway PostgreSQL: servers in a temporary directory, and databases in them.

mod binaries;
mod cluster;
mod database;
mod pooler;
mod watcher;

pub use binaries::directory as binaries;
pub use cluster::Cluster;
pub use database::{Database, SERVER_VARIABLE};
pub use pooler::{Pooler, program as pgbouncer};
