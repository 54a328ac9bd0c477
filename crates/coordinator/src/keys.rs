//! The key store: made, listed and revoked by whoever can reach the database.

use jiff::{SignedDuration, Timestamp};
use model::api_keys::ApiKey;
use model::command::{Action, Outcome};
use model::id::{AgentId, Caller, Project};
use serde_json::json;
use uuid::Uuid;

use crate::Coordinator;
use crate::failure::Failure;
use crate::identity::{hash, hex};
use crate::scopes;

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// The agent it is bound to.
    pub agent_id: Option<AgentId>,
    /// The agent type it is bound to.
    pub agent_type: Option<String>,
    /// What it may be used for: see [`scopes`](crate::scopes); everything when there is none.
    pub scopes: Vec<String>,
    /// How many requests a minute each server takes from it.
    pub per_minute: Option<u32>,
    /// Days until it ends.
    pub expires_in_days: Option<u32>,
}

impl Coordinator {
    /// Makes a key for the project. The key is returned once; only its hash is kept.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer, or the machine has no randomness.
    pub async fn create_key(
        &self,
        project: &Project,
        caller: &Caller,
        new: NewKey,
    ) -> Result<(String, ApiKey), Failure> {
        for scope in &new.scopes {
            scopes::check(scope).map_err(|why| Failure::field("scopes", why))?;
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|e| Failure::Internal(format!("no randomness for a key: {e}")))?;
        let secret = format!("ack_{}", hex(&random));
        let now = Timestamp::now();
        let ends = |days: u32| {
            let too_far = |_| Failure::field("expires_in_days", "is further away than any date");
            now.checked_add(SignedDuration::from_hours(i64::from(days) * 24)).map_err(too_far)
        };
        let key = ApiKey {
            id: Uuid::now_v7(),
            name: new.name,
            hash: hex(&hash(&secret)),
            project: project.clone(),
            agent_id: new.agent_id,
            agent_type: new.agent_type,
            scopes: new.scopes,
            per_minute: new.per_minute,
            created_at: now,
            expires_at: new.expires_in_days.map(ends).transpose()?,
            revoked_at: None,
            last_used_at: None,
        };
        let parameters = json!({
            "id": key.id, "name": key.name, "agent_id": key.agent_id, "agent_type": key.agent_type, "scopes": key.scopes,
            "per_minute": key.per_minute, "expires_at": key.expires_at,
        });
        let context = self.admin(project, caller, "create_key", &parameters);
        let outcome = context.apply(Action::CreateKey(key.clone())).await?;
        self.keys.forget_stored();
        match outcome {
            Outcome::KeyCreated { .. } => Ok((secret, key)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }

    /// Revokes a key of the project. Servers notice within a quarter of a second.
    ///
    /// # Errors
    /// [`Failure`] when there is no such key, or the database does not answer.
    pub async fn revoke_key(&self, project: &Project, caller: &Caller, id: Uuid) -> Result<(), Failure> {
        let context = self.admin(project, caller, "revoke_key", &json!({"id": id}));
        let outcome = context.apply(Action::RevokeKey { id }).await?;
        self.keys.forget_stored();
        match outcome {
            Outcome::KeyRevoked { .. } => Ok(()),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }

    /// The project's keys, revoked ones included, oldest first.
    ///
    /// # Errors
    /// [`Failure`] when the database does not answer.
    pub async fn keys(&self, project: &Project) -> Result<Vec<ApiKey>, Failure> {
        let (keys, _) = self.store().api_keys().await?;
        Ok(keys.into_iter().filter(|key| key.project == *project).collect())
    }

    /// Writes down which keys were used since it was last done.
    pub(crate) async fn note_key_uses(&self) -> Result<(), Failure> {
        let caller = self.itself();
        for (project, id) in self.keys.take_uses() {
            let context = self.admin(&project, &caller, "note_key_use", &json!({"id": id}));
            context.apply(Action::NoteKeyUse { id }).await?;
        }
        Ok(())
    }
}
