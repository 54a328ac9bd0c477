//! Who is calling over HTTP: keys from the environment and from the key store, and what they are bound to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::id::{AgentId, Caller, Project, SessionId};
use policy::Vouched;
use sha2::{Digest, Sha256};
use store::StoreError;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::Coordinator;
use crate::authorise::Vouching;
use crate::failure::{Failure, FieldError};
use crate::limiter::Limiter;
use crate::redact;
use crate::settings::Settings;

/// How long a server may go on honouring a stored key that another process revoked.
const STORED_KEYS_FRESH_FOR: Duration = Duration::from_millis(250);
/// How often the use of a key is written down.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// How far apart it looks again for keys it does not know: who shows one waits that long at most, so that a new key
/// works from the first request on while guessers, however many, cost little.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What a key stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    /// The project it opens; any when absent.
    pub project: Option<Project>,
    /// The agent it is bound to; an unbound key may name its own.
    pub agent_id: Option<AgentId>,
    /// The agent type it is bound to.
    pub agent_type: Option<String>,
    /// What it may be used for: see [`scopes`](crate::scopes). Everything when there is none.
    pub scopes: Vec<String>,
    /// How many requests a minute are taken from it; any number when absent.
    pub per_minute: Option<u32>,
}

/// Who a request says it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The agent.
    pub agent_id: Option<AgentId>,
    /// Its type.
    pub agent_type: Option<String>,
    /// Its session.
    pub session_id: Option<SessionId>,
}

impl Named {
    /// The fields by which a request names its caller.
    pub const FIELDS: [&str; 3] = ["agent_id", "agent_type", "session_id"];

    /// Reads the fields through `text`.
    ///
    /// # Errors
    /// Each field that is no name.
    pub fn read(text: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<FieldError>> {
        // What holds of an agent's name holds of the others.
        let wrong = |field: &str| {
            let name = text(field)?;
            let message = if redact::holds_secret(&name) {
                redact::SECRET_AS_NAME
            } else if AgentId::new(name).is_err() {
                "must be 1 to 256 bytes without control characters, and not blank"
            } else {
                return None;
            };
            Some(FieldError { field: field.into(), message: message.into() })
        };
        let errors: Vec<FieldError> = Self::FIELDS.into_iter().filter_map(wrong).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            agent_id: text("agent_id").and_then(|name| AgentId::new(name).ok()),
            agent_type: text("agent_type"),
            session_id: text("session_id").and_then(|name| SessionId::new(name).ok()),
        })
    }

    /// These names, and the others where there is none.
    pub fn or(self, others: &Self) -> Self {
        Self {
            agent_id: self.agent_id.or_else(|| others.agent_id.clone()),
            agent_type: self.agent_type.or_else(|| others.agent_type.clone()),
            session_id: self.session_id.or_else(|| others.session_id.clone()),
        }
    }
}

impl Principal {
    /// The caller that a request names; an error says which name is not the key's.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn caller(&self, named: Named) -> Result<Caller, String> {
        let itself = self.itself();
        if let (Some(bound), Some(named)) = (&self.agent_id, &named.agent_id)
            && bound != named
        {
            return Err(format!("this key belongs to agent {bound}, not to {named}"));
        }
        if let (Some(bound), Some(named)) = (&self.agent_type, &named.agent_type)
            && bound != named
        {
            return Err(format!("this key belongs to an agent of type {bound}, not {named}"));
        }
        Ok(Caller {
            agent_id: named.agent_id.unwrap_or(itself.agent_id),
            agent_type: named.agent_type.unwrap_or(itself.agent_type),
            session_id: named.session_id,
        })
    }

    /// What of a caller's names the key vouches for.
    pub fn vouching(&self) -> Vouching {
        let bound = |is_bound| if is_bound { Vouched::For } else { Vouched::ByNobody };
        Vouching { agent_id: bound(self.agent_id.is_some()), agent_type: bound(self.agent_type.is_some()) }
    }

    /// The caller when a request names none.
    pub fn itself(&self) -> Caller {
        let anonymous = || AgentId::new("cloud-agent");
        Caller {
            agent_id: match self.agent_id.clone().map_or_else(anonymous, Ok) {
                Ok(agent_id) => agent_id,
                Err(_) => unreachable!("\"cloud-agent\" is a name"),
            },
            agent_type: self.agent_type.clone().unwrap_or_else(|| "cloud_agent".into()),
            session_id: None,
        }
    }
}

/// SHA-256 of a key. Keys are random, so a plain hash is enough to make a stolen database useless.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The hash in lower-case hex, as it is stored.
pub fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The keys that open this server.
pub struct KeyRing {
    /// From the environment, compared one by one in constant time.
    configured: Vec<([u8; 32], Principal)>,
    stored: Mutex<Stored>,
    /// Held by whoever reads the stored keys, for all who wait for it.
    reading: tokio::sync::Mutex<()>,
    limiter: Limiter,
    /// When each stored key was used: what is not written down yet, and when it last was.
    uses: Mutex<HashMap<KeyName, Use>>,
}

/// A stored key: its project and id.
type KeyName = (Project, Uuid);

#[derive(Default)]
struct Use {
    is_new: bool,
    noted_at: Option<Instant>,
}

#[derive(Default)]
struct Stored {
    /// When the read that found these began: a key made later may be missing.
    read_at: Option<Instant>,
    /// By hash. To look a hash up tells an attacker nothing: a key cannot be built towards a hash.
    keys: Arc<HashMap<String, (KeyName, Principal)>>,
}

impl KeyRing {
    /// The configured keys; the stored ones are read when they are needed.
    pub fn new(settings: &Settings) -> Self {
        let configured = settings.api_keys.iter().map(|(key, principal)| (hash(key), principal.clone())).collect();
        Self {
            configured,
            stored: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            limiter: Limiter::default(),
            uses: Mutex::default(),
        }
    }

    /// Is there any key in the configuration?
    pub fn is_configured(&self) -> bool {
        !self.configured.is_empty()
    }

    fn configured(&self, presented: &[u8; 32]) -> Option<Principal> {
        let mut found = None;
        for (hash, principal) in &self.configured {
            // No early exit: the time taken does not tell which key came close.
            if bool::from(hash.ct_eq(presented)) {
                found = Some(principal.clone());
            }
        }
        found
    }

    /// What a stored key stands for, and when the stored keys were read.
    fn stored(&self, hash: &str) -> (Option<Principal>, Option<Instant>) {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stored.keys.get(hash).cloned();
        let read_at = stored.read_at;
        drop(stored);
        let found = found.map(|(name, principal)| {
            self.uses.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().is_new = true;
            principal
        });
        (found, read_at)
    }

    /// The keys whose use is to be written down now.
    pub(crate) fn take_uses(&self) -> Vec<KeyName> {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |of_key: &Use| of_key.is_new && of_key.noted_at.is_none_or(|at| at.elapsed() >= USE_NOTED_EVERY);
        let mut names = vec![];
        for (name, of_key) in uses.iter_mut().filter(|(_, of_key)| is_due(of_key)) {
            *of_key = Use { is_new: false, noted_at: Some(Instant::now()) };
            names.push(name.clone());
        }
        names
    }

    /// Reads the stored keys again when one is next shown: a change of ours works at once.
    pub(crate) fn forget_stored(&self) {
        self.replace_with(Stored::default());
    }

    fn replace(&self, keys: HashMap<String, (KeyName, Principal)>, read_at: Instant) {
        self.replace_with(Stored { read_at: Some(read_at), keys: Arc::new(keys) });
    }

    fn replace_with(&self, stored: Stored) {
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = stored;
    }
}

impl Coordinator {
    /// What the key stands for; `None` for a key that is unknown, revoked or expired.
    ///
    /// # Errors
    /// [`StoreError`] when the key store cannot be read and the key is not in the configuration.
    pub async fn authenticate(&self, key: &str) -> Result<Option<Principal>, StoreError> {
        let presented = hash(key);
        if let Some(principal) = self.keys.configured(&presented) {
            return Ok(Some(principal));
        }
        let presented = hex(&presented);
        let shown_at = Instant::now();
        let (found, read_at) = self.keys.stored(&presented);
        let age = read_at.map(|at| at.elapsed());
        if found.is_some() {
            if age.is_some_and(|age| age < STORED_KEYS_FRESH_FOR) {
                return Ok(found);
            }
        } else if let Some(early) = age.and_then(|age| LOOK_AGAIN_AFTER.checked_sub(age)) {
            tokio::time::sleep(early).await;
        }
        let _turn = self.keys.reading.lock().await;
        let (found, read_at) = self.keys.stored(&presented);
        if read_at.is_some_and(|at| at >= shown_at) {
            return Ok(found);
        }
        let read_at = Instant::now();
        let (keys, now) = self.store().api_keys().await?;
        let live = keys.into_iter().filter(|key| key.is_live(now)).map(|key| {
            let principal = Principal {
                project: Some(key.project.clone()),
                agent_id: key.agent_id,
                agent_type: key.agent_type,
                scopes: key.scopes,
                per_minute: key.per_minute,
            };
            (key.hash, ((key.project, key.id), principal))
        });
        self.keys.replace(live.collect(), read_at);
        Ok(self.keys.stored(&presented).0)
    }

    /// Counts a request of this key, which is the principal's.
    ///
    /// # Errors
    /// [`Failure::TooMany`] when it is one too many.
    pub fn count_request(&self, key: &str, principal: &Principal) -> Result<(), Failure> {
        let Some(per_minute) = principal.per_minute else { return Ok(()) };
        self.keys.limiter.take(hash(key), per_minute, Instant::now()).map_err(|wait| {
            // Whole seconds, so that it is not too soon then.
            let seconds = wait.as_secs() + 1;
            Failure::TooMany { per_minute, seconds }
        })
    }

    /// Can anybody get in: is there a configured key, or a stored one that is live?
    ///
    /// # Errors
    /// [`StoreError`] when the key store cannot be read.
    pub async fn has_keys(&self) -> Result<bool, StoreError> {
        if self.keys.is_configured() {
            return Ok(true);
        }
        let (keys, now) = self.store().api_keys().await?;
        Ok(keys.iter().any(|key| key.is_live(now)))
    }
}
