//! Single calls of a team's server, by a process that lives no longer than they take.

use model::id::Caller;
use serde_json::{Value, json};

use super::Target;
use super::post::{Post, Trouble};

/// A way to call the server's operations.
pub struct Remote {
    post: Post,
}

/// Why a call has no answer.
#[derive(Debug, Clone)]
pub enum CallFailure {
    /// The server is not there, or does not accept the key.
    Away(String),
    /// It refused: a stable code, and a sentence.
    Refused {
        /// The code.
        code: String,
        /// The sentence.
        message: String,
    },
}

impl Remote {
    /// To this server.
    ///
    /// # Errors
    /// A sentence, when the address or the key can be none.
    pub fn new(target: &Target) -> Result<Self, String> {
        Ok(Self { post: Post::new(target)? })
    }

    /// Calls an operation in the caller's name.
    ///
    /// # Errors
    /// [`CallFailure`]
    pub async fn call(&self, caller: &Caller, operation: &str, arguments: &Value) -> Result<Value, CallFailure> {
        let message = json!({
            "jsonrpc": "2.0", "id": operation, "method": "tools/call",
            "params": {"name": operation, "arguments": arguments},
        });
        let session = caller.session_id.as_ref().map(|session| ("x-session-id", session.to_string()));
        let names = [("x-agent-id", caller.agent_id.to_string()), ("x-agent-type", caller.agent_type.clone())];
        // A key may be bound to another name than the one that was derived here: then the key's name is the agent's.
        let mut refused = None;
        for names in [&names[..], &names[..1], &[]] {
            let headers: Vec<_> = names.iter().cloned().chain(session.clone()).collect();
            let answer = self.post.send(&message, None, &headers).await.map_err(away)?;
            match outcome(answer) {
                Err(CallFailure::Refused { code, message }) if code == "identity_mismatch" => {
                    refused.get_or_insert(CallFailure::Refused { code, message });
                }
                outcome => return outcome,
            }
        }
        Err(refused.unwrap_or_else(|| CallFailure::Away("the agent has no name".into())))
    }
}

fn away(trouble: Trouble) -> CallFailure {
    CallFailure::Away(trouble.to_string())
}

fn outcome(mut answer: Value) -> Result<Value, CallFailure> {
    if answer.get("result").is_none() || answer["result"]["isError"] == true {
        let trouble = Trouble::refused(&answer);
        let (code, message) = (trouble.code().to_owned(), trouble.to_string());
        let is_away = matches!(code.as_str(), "database_unavailable" | "internal_error");
        return Err(if is_away { CallFailure::Away(message) } else { CallFailure::Refused { code, message } });
    }
    let mut content = answer["result"]["structuredContent"].take();
    // What is no object is wrapped into one.
    let is_wrapped = content.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("result"));
    Ok(if is_wrapped { content["result"].take() } else { content })
}
