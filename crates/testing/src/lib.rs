//! What tests stand on and the product never sees: a dev-dependency of the other crates.
//!
//! - [`postgres::Database`]: one fresh database for one test.
//! - [`postgres::Cluster`]: a whole throwaway server, for tests that stop it, kill it or set it up in their own way.
//! - [`postgres::Pooler`]: PgBouncer in front of one.
//! - [`ports::Range`]: ports that nothing else on the machine uses.
//! - [`postgrest::Gateway`]: what stands in for PostgREST, which no package registry has.

pub mod ports;
pub mod postgres;
pub mod postgrest;
