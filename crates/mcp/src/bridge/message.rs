//! The little that the bridge needs to know of a message.

use serde_json::{Value, json};

/// The revision that the bridge's own messages are in: one that every server of ours speaks, without headers of its own.
pub const OWN_REVISION: &str = "2025-11-25";
/// From this revision on a message carries all there is to know of it.
const SELF_CONTAINED: &str = "2026-07-28";

const REVISION_FIELD: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_FIELD: &str = "io.modelcontextprotocol/clientInfo";

/// The id of a request; what is no request has none.
pub fn request_id(message: &Value) -> Option<&Value> {
    message.get("method")?;
    message.get("id").filter(|id| !id.is_null())
}

/// The id of the request that this message calls off.
pub fn cancelled(message: &Value) -> Option<&Value> {
    if message["method"] == "notifications/cancelled" { message["params"].get("requestId") } else { None }
}

/// The tool that is called.
pub fn tool(message: &Value) -> Option<&str> {
    if message["method"] == "tools/call" { message["params"]["name"].as_str() } else { None }
}

/// What the client calls itself.
pub fn client_name(message: &Value) -> &str {
    let of_handshake = &message["params"]["clientInfo"]["name"];
    of_handshake.as_str().or(message["params"]["_meta"][CLIENT_FIELD]["name"].as_str()).unwrap_or("agent")
}

/// The revision that a handshake came to.
pub fn agreed_revision<'a>(message: &Value, answer: &'a Value) -> Option<&'a str> {
    if message["method"] == "initialize" { answer["result"]["protocolVersion"].as_str() } else { None }
}

/// The headers that the protocol wants beside a message: its revision, and from a certain one on what it is about.
pub fn headers<'a>(message: &'a Value, agreed: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let own = message["params"]["_meta"][REVISION_FIELD].as_str();
    let is_handshake = message["method"] == "initialize";
    let Some(revision) = own.or(agreed.filter(|_| !is_handshake)) else { return vec![] };
    let mut headers = vec![("mcp-protocol-version", revision)];
    if revision >= SELF_CONTAINED {
        let subject = match message["method"].as_str() {
            Some("tools/call" | "prompts/get") => message["params"]["name"].as_str(),
            Some("resources/read") => message["params"]["uri"].as_str(),
            _ => None,
        };
        headers.extend(message["method"].as_str().map(|method| ("mcp-method", method)));
        headers.extend(subject.map(|subject| ("mcp-name", subject)));
    }
    headers
}

/// The bridge's own call of a tool without arguments.
pub fn call(tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": tool, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

/// The bridge's own handshake, which finds out whether the server is there and knows the key.
pub fn handshake() -> Value {
    let client = json!({"name": "coordinator-bridge", "version": coordinator::VERSION});
    let params = json!({"protocolVersion": OWN_REVISION, "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": "handshake", "method": "initialize", "params": params})
}

/// An answer that says why there is none.
pub fn error(id: &Value, code: i32, message: &str, data: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_s_headers_follow_from_its_revision() {
        let call = |meta: Value| json!({"method": "tools/call", "params": {"name": "help", "_meta": meta}});
        let (old, new) = (call(json!({})), call(json!({REVISION_FIELD: "2026-07-28"})));
        assert_eq!(headers(&old, None), []);
        assert_eq!(headers(&old, Some("2025-06-18")), [("mcp-protocol-version", "2025-06-18")]);
        let self_contained =
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "help")];
        assert_eq!(headers(&new, None), self_contained);
        assert_eq!(headers(&new, Some("2025-06-18")), self_contained);
        assert_eq!(headers(&handshake(), Some("2025-06-18")), []);
    }

    #[test]
    fn only_a_request_is_answered() {
        let id = |message: Value| request_id(&message).cloned();
        assert_eq!(id(json!({"id": 0, "method": "ping"})), Some(json!(0)));
        for other in
            [json!({"method": "notifications/initialized"}), json!({"id": 1, "result": {}}), json!([]), json!(7)]
        {
            assert_eq!(id(other), None);
        }
        let off = json!({"method": "notifications/cancelled", "params": {"requestId": "a"}});
        assert_eq!(cancelled(&off), Some(&json!("a")));
    }

    #[test]
    fn the_client_s_name_is_found_in_either_lifecycle() {
        assert_eq!(client_name(&handshake()), "coordinator-bridge");
        assert_eq!(client_name(&json!({"params": {"_meta": {CLIENT_FIELD: {"name": "codex"}}}})), "codex");
        assert_eq!(client_name(&json!({})), "agent");
    }
}
