//! How the agent introduces itself to the server: by as much of its own name as the key allows.

use coordinator::agent::local_caller;
use coordinator::settings::Settings;

use super::message;
use super::post::{Post, Trouble};

/// The headers that say who is calling.
#[derive(Debug, Clone)]
pub struct Introduction(Vec<(&'static str, String)>);

impl Introduction {
    /// Finds out by which of its names the server knows the agent.
    ///
    /// A key may be bound to another name than the one that was derived from the client and the work tree; then the key's
    /// name is the agent's. A name that the settings give is never dropped: if it is not the key's, someone must be told.
    ///
    /// # Errors
    /// [`Trouble`] when the server is away, does not accept the key, or the key is another agent's.
    pub async fn make(post: &Post, settings: &Settings, client_name: &str) -> Result<Self, Trouble> {
        let agent = local_caller(settings, client_name).map_err(|failure| Trouble::own(failure.message()))?;
        let keeps_id = [true, false].into_iter().filter(|keep| *keep || settings.agent_id.is_none());
        let keeps_type = |keep: &bool| *keep || settings.agent_type.is_none();
        let mut refused = None;
        for (with_id, with_type) in
            keeps_id.flat_map(|id| [true, false].into_iter().filter(keeps_type).map(move |kind| (id, kind)))
        {
            let id = with_id.then(|| ("x-agent-id", agent.agent_id.to_string()));
            let kind = with_type.then(|| ("x-agent-type", agent.agent_type.clone()));
            let session = agent.session_id.as_ref().map(|session| ("x-session-id", session.to_string()));
            let introduction = Self(id.into_iter().chain(kind).chain(session).collect());
            let answer = post.send(&message::handshake(), None, introduction.headers()).await?;
            if answer.get("result").is_some() {
                return Ok(introduction);
            }
            let trouble = Trouble::refused(&answer);
            if trouble.code() != "identity_mismatch" {
                return Err(trouble);
            }
            // The first refusal is about all of the name.
            refused.get_or_insert(trouble);
        }
        Err(refused.unwrap_or_else(|| Trouble::own("the agent has no name".into())))
    }

    /// The headers.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0
    }
}
