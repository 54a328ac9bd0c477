//! The coordinator, wherever it is: in this process on the database, or behind a team's server.

use coordinator::Coordinator;
use coordinator::failure::Failure;
use coordinator::operation::Door;
use coordinator::registry;
use coordinator::settings::{Database, Settings};
use mcp::{CallFailure, Remote, Target};
use model::id::Caller;
use serde_json::{Value, json};

/// An open way to the coordinator, for one caller.
pub struct Desk {
    way: Way,
    caller: Caller,
}

enum Way {
    Local(Box<Coordinator>),
    Remote(Box<Remote>),
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The coordinator cannot be reached, and why.
    Away(String),
    /// It refused: a stable code, and a sentence.
    Refused {
        /// The code.
        code: String,
        /// The sentence.
        message: String,
    },
}

impl Trouble {
    /// Why, in words.
    pub fn message(&self) -> &str {
        match self {
            Self::Away(why) => why,
            Self::Refused { message, .. } => message,
        }
    }
}

/// Is the coordinator one that answers from this machine, within milliseconds?
pub fn is_near(settings: &Settings) -> bool {
    settings.api_url.is_none() && matches!(settings.database, Database::Sqlite { .. })
}

impl Desk {
    /// Opens it.
    ///
    /// # Errors
    /// [`Trouble`] when it cannot be reached.
    pub async fn open(settings: &Settings, caller: Caller) -> Result<Self, Trouble> {
        let way = match &settings.api_url {
            Some(url) => {
                let key = settings.api_key.clone().ok_or_else(|| {
                    Trouble::Away("COORDINATION_API_URL names a server, and COORDINATION_API_KEY is not set".into())
                })?;
                let target = Target { url: url.clone(), key, project: settings.named_project.clone() };
                let remote = Remote::new(&target).map_err(Trouble::Away)?;
                remote.reach().await.map_err(Trouble::Away)?;
                Way::Remote(Box::new(remote))
            }
            None => {
                let opened = Coordinator::open_briefly(settings.clone()).await;
                Way::Local(Box::new(opened.map_err(|error| Trouble::Away(error.to_string()))?))
            }
        };
        Ok(Self { way, caller })
    }

    /// How many of its names the agent leaves out, for its key to be its own.
    pub fn names_left_out(&self) -> usize {
        match &self.way {
            Way::Local(_) => 0,
            Way::Remote(remote) => remote.left_out(),
        }
    }

    /// Leaves so many out from the beginning.
    pub fn leave_out_names(&self, names: usize) {
        if let Way::Remote(remote) = &self.way {
            remote.leave_out(names);
        }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Calls an operation. A session that was given up for dead is registered anew first: whoever is heard of is not.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn ask(&self, operation: &str, request: Value) -> Result<Value, Trouble> {
        match self.call(operation, request.clone()).await {
            Err(Trouble::Refused { code, .. }) if code == "session_expired" && operation != "end_session" => {
                self.call("register_session", json!({})).await?;
                self.call(operation, request).await
            }
            answer => answer,
        }
    }

    async fn call(&self, operation: &str, request: Value) -> Result<Value, Trouble> {
        match &self.way {
            Way::Local(coordinator) => {
                let entry = registry::find(operation)
                    .ok_or_else(|| Trouble::Away(format!("there is no operation {operation}")))?;
                let project = coordinator.default_project();
                let answer = coordinator.call(entry, project, &self.caller, Door::Mcp, request).await;
                answer.map_err(|failure| match failure {
                    Failure::Unavailable(_) | Failure::Internal(_) => Trouble::Away(failure.message()),
                    failure => Trouble::Refused { code: failure.code().into(), message: failure.message() },
                })
            }
            Way::Remote(remote) => {
                remote.call(&self.caller, operation, &request).await.map_err(|failure| match failure {
                    CallFailure::Away(why) => Trouble::Away(why),
                    CallFailure::Refused { code, message } => Trouble::Refused { code, message },
                })
            }
        }
    }
}

/// The items of an answer that is a list, or of a field of it.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text of a field; empty where there is none.
pub(crate) fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap_or_default()
}
