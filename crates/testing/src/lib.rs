//! What tests stand on and the product never sees: a dev-dependency of the other crates.
//!
//! - [`postgres::Database`]: one fresh database for one test.
//! - [`postgres::Cluster`]: a whole throwaway server, for tests that stop it, kill it or set it up in their own way.

pub mod postgres;
