//! Single calls of a team's server, by a process that lives no longer than they take.

use std::sync::atomic::{AtomicUsize, Ordering};

use model::id::Caller;
use serde_json::{Value, json};

use super::Target;
use super::post::{Post, Trouble};

/// A way to call the server's operations.
pub struct Remote {
    post: Post,
    /// How many of its names the agent leaves out: the key's count instead.
    left_out: AtomicUsize,
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
        Ok(Self { post: Post::new(target)?, left_out: AtomicUsize::new(0) })
    }

    /// Is a server there at all?
    ///
    /// # Errors
    /// A sentence, when it takes no connection.
    pub async fn reach(&self) -> Result<(), String> {
        self.post.reach().await.map_err(|trouble| trouble.to_string())
    }

    /// How many of its names the agent had to leave out for the key to be its own.
    pub fn left_out(&self) -> usize {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Begins with so many left out: each try with one too many is a refusal in the server's trail.
    pub fn leave_out(&self, names: usize) {
        self.left_out.store(names.min(2), Ordering::Relaxed);
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
        for left_out in self.left_out()..=names.len() {
            self.leave_out(left_out);
            let headers: Vec<_> = names[..names.len() - left_out].iter().cloned().chain(session.clone()).collect();
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
