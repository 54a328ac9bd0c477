//! Logs: to standard error, as `RUST_LOG` says.

use std::io::{self, Write};

use coordinator::redact::kept;
use tracing_subscriber::EnvFilter;

/// Begins to log: warnings and worse unless `RUST_LOG` says otherwise.
///
/// The MCP library warns of every request that it answers with an error, which the agent has just been told.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,rmcp=error"));
    // Already begun is as good.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| WithoutSecrets).with_ansi(false).try_init();
}

/// Standard error, but for secrets: an error may quote what a client sent, or what is in the database.
struct WithoutSecrets;

impl Write for WithoutSecrets {
    /// Whole lines are written at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(kept(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
