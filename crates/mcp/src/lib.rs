//! The MCP door: the registry's operations as tools, for one agent over standard input and output.
//!
//! It translates and decides nothing. What an operation answers becomes a tool's result as it is; a refusal becomes a
//! result marked as an error, which the agent reads; a request that is not as the schema says is a protocol error.

use std::sync::Arc;

use coordinator::agent::LocalAgent;
use coordinator::failure::Failure;
use coordinator::operation::{Access, Entry};
use coordinator::{Coordinator, VERSION, registry};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// What an agent is told of the coordinator when it connects.
const INSTRUCTIONS: &str = "Several agents work on this repository. Begin with read_handoff, and write_handoff before you \
                            stop. acquire_lock before you edit a file and release_lock when done; when blocked, work on \
                            something else or queue with wait_seconds. get_work claims a task; complete_work ends it.";

/// Serves one client until it closes standard input.
///
/// # Errors
/// What went wrong with the connection, in a sentence.
pub async fn serve_stdio(coordinator: Arc<Coordinator>) -> Result<(), String> {
    let server = Server { coordinator, agent: OnceCell::new() };
    let running = server.serve(rmcp::transport::stdio_pipes()).await.map_err(|e| e.to_string())?;
    running.waiting().await.map(drop).map_err(|e| e.to_string())
}

/// All tools, as a client sees them.
pub fn tools() -> Vec<Tool> {
    registry::operations().iter().filter(|entry| entry.is_tool).map(tool).collect()
}

fn tool(entry: &'static Entry) -> Tool {
    let schema = entry.request_schema().as_object().cloned().unwrap_or_default();
    let is_read = entry.access != Access::Write;
    Tool::new(entry.name, entry.summary, schema).annotate(ToolAnnotations::new().read_only(is_read).open_world(false))
}

struct Server {
    coordinator: Arc<Coordinator>,
    /// Known once the client has said its name.
    agent: OnceCell<LocalAgent>,
}

impl Server {
    async fn agent(&self, context: &RequestContext<RoleServer>) -> Result<&LocalAgent, Failure> {
        let name = || context.client_info().map_or_else(|| "agent".to_owned(), |client| client.name);
        self.agent.get_or_try_init(|| async { LocalAgent::new(self.coordinator.clone(), &name()) }).await
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("agent-coordinator", VERSION))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(entry) = registry::find(&request.name).filter(|entry| entry.is_tool) else {
            let message = format!("there is no tool {:?}", request.name.chars().take(80).collect::<String>());
            return Err(ErrorData::invalid_params(message, None));
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        // In a box: what rmcp spawns for a request, and moves several times, is as large as the largest future in it.
        let call = Box::pin(async { self.agent(&context).await?.call(entry, arguments).await });
        let answer = tokio::select! {
            answer = call => answer,
            // Whoever waits for a lock and is called off loses its place in the queue.
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("the call was cancelled", None)),
        };
        match answer {
            Ok(answer) => Ok(result(answer).into()),
            Err(Failure::Invalid { code: "invalid_request", fields }) => {
                let failure = Failure::Invalid { code: "invalid_request", fields };
                Err(ErrorData::invalid_params(failure.message(), Some(failure.body())))
            }
            Err(failure) => Ok(CallToolResult::structured_error(failure.body()).into()),
        }
    }
}

/// The answer as text for the model and as data for programs, which must be an object.
fn result(answer: Value) -> CallToolResult {
    if answer.is_object() {
        return CallToolResult::structured(answer);
    }
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer.to_string())]);
    result.structured_content = Some(json!({"result": answer}));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What all tools together cost an agent's context.
    const SCHEMA_BUDGET: usize = 10_000;

    #[test]
    fn the_tools_cost_little_context() {
        let size = |tool: &Tool| {
            let shown = json!({
                "name": tool.name, "description": tool.description, "inputSchema": tool.input_schema.as_ref(),
            });
            shown.to_string().chars().count()
        };
        let total: usize = tools().iter().map(size).sum();
        println!("{total} characters for {} tools", tools().len());
        assert!(total <= SCHEMA_BUDGET, "{total} characters, more than {SCHEMA_BUDGET}");
    }
}
