//! Logs: to standard error, as `RUST_LOG` says.

use std::io;

use tracing_subscriber::EnvFilter;

/// Begins to log: warnings and worse unless `RUST_LOG` says otherwise.
///
/// The MCP library warns of every request that it answers with an error, which the agent has just been told.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,rmcp=error"));
    // Already begun is as good.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).try_init();
}
