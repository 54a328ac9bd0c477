//! The bridge: an agent that speaks over standard input and output uses a team's server over HTTP.
//!
//! It passes messages on as they are, each in a request of its own, so that client and server settle between them which
//! revision of the protocol they speak, and a server may be restarted under it. What it adds is what an agent's own process
//! does on the agent's machine: it says who the agent is, registers its session when the agent first does something, and
//! keeps the session and its claims alive.

mod identity;
mod message;
mod post;
mod remote;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coordinator::operation::Operation;
use coordinator::sessions::{Heartbeat, RegisterSession};
use coordinator::settings::Settings;
use model::id::Project;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{OnceCell, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use identity::Introduction;
use post::{Post, Trouble};
pub use remote::{CallFailure, Remote};

/// How long calls under way may take to end when the agent has closed standard input.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Which server, and what opens it.
pub struct Target {
    /// Its address; `/mcp` is added to one without a path.
    pub url: String,
    /// The key.
    pub key: String,
    /// The project, where it is not the key's or the server's own.
    pub project: Option<Project>,
}

/// One agent's way to a server.
pub struct Bridge {
    post: Post,
    settings: Settings,
    introduced: OnceCell<Introduction>,
    registered: OnceCell<()>,
    /// The revision that client and server agreed on, where they shook hands.
    revision: Mutex<Option<String>>,
}

impl Bridge {
    /// To this server, for the agent that the settings name, or one derived from its client and the work tree.
    ///
    /// # Errors
    /// A sentence, when the address or the key can be none.
    pub fn new(settings: Settings, target: &Target) -> Result<Self, String> {
        Ok(Self {
            post: Post::new(target)?,
            settings,
            introduced: OnceCell::new(),
            registered: OnceCell::new(),
            revision: Mutex::new(None),
        })
    }

    /// Serves the agent until it closes standard input.
    ///
    /// # Errors
    /// What went wrong with standard input or output, in a sentence.
    pub async fn serve_stdio(self) -> Result<(), String> {
        let (stdin, stdout) = rmcp::transport::stdio_pipes();
        self.serve(stdin, stdout).await.map_err(|error| error.to_string())
    }

    async fn serve(
        self,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin + Send + 'static,
    ) -> std::io::Result<()> {
        let bridge = Arc::new(self);
        let (answers, answered) = mpsc::unbounded_channel();
        let writing = tokio::spawn(write(output, answered));
        let mut calls = JoinSet::new();
        let mut under_way: HashMap<String, AbortHandle> = HashMap::new();
        let mut lines = BufReader::new(input).split(b'\n');
        while let Some(line) = lines.next_segment().await? {
            let message: Value = match serde_json::from_slice(&line) {
                Ok(message) => message,
                Err(_) if line.trim_ascii().is_empty() => continue,
                Err(error) => {
                    let _ = answers.send(message::error(&Value::Null, -32700, &error.to_string(), Value::Null));
                    continue;
                }
            };
            if let Some(id) = message::cancelled(&message) {
                // The server notices that nobody waits for the answer any more.
                if let Some(call) = under_way.remove(&id.to_string()) {
                    call.abort();
                }
            }
            // No server of ours asks anything of a client, or has a use for what a client notifies it of.
            let Some(id) = message::request_id(&message).cloned() else { continue };
            under_way.retain(|_, call| !call.is_finished());
            while calls.try_join_next().is_some() {}
            let (bridge, answers) = (bridge.clone(), answers.clone());
            let call = calls.spawn(async move {
                let _ = answers.send(bridge.answer(&message).await);
            });
            under_way.insert(id.to_string(), call);
        }
        // Whoever still waits for a lock has no use for it.
        let _ = tokio::time::timeout(LAST_WORDS, async { while calls.join_next().await.is_some() {} }).await;
        calls.abort_all();
        drop((answers, calls));
        writing.await.unwrap_or(Ok(()))
    }

    /// The server's answer, or in its place why there is none.
    async fn answer(self: &Arc<Self>, message: &Value) -> Value {
        match self.pass_on(message).await {
            Ok(answer) => answer,
            Err(trouble) => {
                tracing::warn!("{trouble}");
                let id = message::request_id(message).unwrap_or(&Value::Null);
                message::error(id, -32000, &trouble.to_string(), json!({"error": trouble.code()}))
            }
        }
    }

    async fn pass_on(self: &Arc<Self>, message: &Value) -> Result<Value, Trouble> {
        let introduce = || Introduction::make(&self.post, &self.settings, message::client_name(message));
        let introduction = self.introduced.get_or_try_init(introduce).await?;
        let tool = message::tool(message);
        if tool.is_some_and(|tool| tool != RegisterSession::NAME) {
            self.registered.get_or_try_init(|| self.register(introduction)).await?;
        }
        let revision = self.revision.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.post.send(message, revision.as_deref(), introduction.headers()).await?;
        if let Some(agreed) = message::agreed_revision(message, &answer) {
            *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed.to_owned());
        }
        if tool == Some(RegisterSession::NAME) && answer["result"]["structuredContent"]["success"] == true {
            self.registered.get_or_init(|| async { self.keep_alive(introduction, &answer) }).await;
        }
        Ok(answer)
    }

    async fn register(self: &Arc<Self>, introduction: &Introduction) -> Result<(), Trouble> {
        let answer = self.post.send(&message::call(RegisterSession::NAME), None, introduction.headers()).await?;
        if answer["result"]["structuredContent"]["success"] != true {
            return Err(Trouble::refused(&answer));
        }
        self.keep_alive(introduction, &answer);
        Ok(())
    }

    /// Heartbeats as often as the server wants them, until the process ends. A session that was reaped stays reaped: the
    /// agent must learn that it lost its locks.
    fn keep_alive(self: &Arc<Self>, introduction: &Introduction, registered: &Value) {
        let seconds = registered["result"]["structuredContent"]["heartbeat_seconds"].as_u64();
        let every = seconds.map_or_else(|| self.settings.heartbeat_every(), Duration::from_secs);
        let (bridge, introduction) = (Arc::downgrade(self), introduction.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(bridge) = bridge.upgrade() else { return };
                if let Err(trouble) =
                    bridge.post.send(&message::call(Heartbeat::NAME), None, introduction.headers()).await
                {
                    tracing::warn!("no heartbeat: {trouble}");
                }
            }
        });
    }
}

async fn write(
    mut output: impl AsyncWrite + Unpin,
    mut answers: mpsc::UnboundedReceiver<Value>,
) -> std::io::Result<()> {
    while let Some(answer) = answers.recv().await {
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}
