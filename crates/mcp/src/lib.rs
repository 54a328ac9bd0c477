//! The MCP door: the registry's operations as tools, the list of resources, and prompts; for one agent over standard input
//! and output, for any agent over HTTP, and as a bridge between the two.
//!
//! It translates and decides nothing. What an operation answers becomes a tool's result as it is; a refusal becomes a
//! result marked as an error, which the agent reads; a request that is not as the schema says is a protocol error.

mod bridge;
mod http;
mod prompts;
mod server;
mod tools;

use std::sync::Arc;

use coordinator::Coordinator;
use rmcp::service::ServiceExt;

pub use bridge::{Bridge, CallFailure, Remote, Target};
pub use http::{HttpService, RemoteAgent};
pub use tools::listed as tools;

/// Serves one client until it closes standard input.
///
/// # Errors
/// What went wrong with the connection, in a sentence.
pub async fn serve_stdio(coordinator: Arc<Coordinator>) -> Result<(), String> {
    let running =
        server::Server::local(coordinator).serve(rmcp::transport::stdio_pipes()).await.map_err(|e| e.to_string())?;
    running.waiting().await.map(drop).map_err(|e| e.to_string())
}
