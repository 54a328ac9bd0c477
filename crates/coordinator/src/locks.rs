//! Locks: who may edit what.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use model::command::{Acquire, Action, BlockReason, Blocked, Grant, Outcome, Refusal, Release, Wait};
use model::key::LockKey;
use model::locks::{Lock, LockMode, Waiter};
use policy::{ResourceKind, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::{Failure, in_words};
use crate::operation::{Access, BodyIdentity, Context, Door, Operation, Route};
use crate::redact::without_secrets;

/// The life of a lock over HTTP when the request names none, in minutes.
const HTTP_TTL_MINUTES: u32 = 30;
/// How soon someone who waits for a lock looks again: first, and at the most; each pause is twice the one before. A
/// release in the same process is noticed at once.
const LOOK_AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// The most keys of one request.
const KEYS_LIMIT: usize = 100;

/// Takes or refreshes locks.
pub struct AcquireLock;

/// What to lock.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AcquireRequest {
    /// Repo-relative path, dir/, glob, or api: db: event: flag: env: contract: feature: key
    file_path: Option<String>,
    /// Several, all or none
    #[schemars(length(min = 1, max = 100))]
    file_paths: Option<Vec<String>>,
    /// Shown to whoever is blocked
    #[schemars(length(max = 1000))]
    reason: Option<String>,
    #[schemars(range(min = 1, max = 480))]
    ttl_minutes: Option<u32>,
    /// exclusive (default) or shared
    mode: Option<ModeName>,
    /// If taken, queue up to this long
    #[schemars(range(min = 0, max = 300))]
    wait_seconds: Option<u32>,
    /// Refresh exactly this grant
    fencing_token: Option<i64>,
    #[schemars(length(min = 1, max = 256))]
    feature_id: Option<String>,
}

/// A lock's mode in a request.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ModeName {
    Exclusive,
    Shared,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AcquireAnswer {
    success: bool,
    /// `acquired`, `refreshed` or `blocked`.
    action: &'static str,
    /// The (first) key in its canonical spelling.
    file_path: String,
    /// When the lock ends; for a blocked request, when the last lock in the way does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
    /// Larger than that of every earlier grant; show it again with writes that depend on the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    fencing_token: Option<i64>,
    /// Features of others that claim what you locked: coordinate with them before you change it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    claimed_by_features: Vec<ClaimedBy>,
    /// Each key, when several were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locks: Vec<Granted>,
    /// `locked_by_other`, `feature_paused` or `deadlock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Who is in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_by: Option<String>,
    /// Why, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock_reason: Option<String>,
    /// Everything in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts_with: Vec<Conflict>,
    /// What happened and what to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A feature's claim that a granted key overlaps.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ClaimedBy {
    feature_id: String,
    /// Who registered it.
    registered_by: String,
    claim: String,
    /// The key that you locked.
    file_path: String,
}

impl ClaimedBy {
    fn of(grant: &Grant) -> impl Iterator<Item = Self> {
        grant.claimed_by.iter().map(|met| Self {
            feature_id: met.feature_id.to_string(),
            registered_by: met.agent_id.to_string(),
            claim: met.claim.to_string(),
            file_path: grant.key.to_string(),
        })
    }

    fn in_words(&self) -> String {
        format!(
            "{} is yours, and feature {} of {} claims {}: your changes will meet when they are merged; agree with {} first \
             (send_message), or pass feature_id if you work for that feature",
            self.file_path, self.feature_id, self.registered_by, self.claim, self.registered_by
        )
    }
}

/// One key of several.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Granted {
    file_path: String,
    action: &'static str,
    #[schemars(with = "String")]
    expires_at: Timestamp,
    fencing_token: i64,
}

/// One lock, or one earlier waiter, in the way.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Conflict {
    file_path: String,
    locked_by: String,
    agent_type: String,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// It does not hold the lock but came earlier.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waiting: bool,
    #[schemars(with = "String")]
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
}

impl Operation for AcquireLock {
    type Request = AcquireRequest;
    type Answer = AcquireAnswer;
    const NAME: &'static str = "acquire_lock";
    const SUMMARY: &'static str =
        "Lock files or keys before you change them; repeat to refresh. If blocked: by whom, why, until when.";
    const ACCESS: Access = Access::Write;
    const RESOURCE: ResourceKind = ResourceKind::Key;
    const ROUTES: &'static [Route] = &[Route::post("/locks/acquire")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::AgentAndType;
    const ONE_OF: &'static [&'static [&'static str]] = &[&["file_path", "file_paths"]];
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["feature_id", "fencing_token"];
    const IS_IDEMPOTENT: bool = true;
    const DETAIL: &'static str = "A path begins at the top of the repository. dir/ covers everything below it, and src/**/*.py every file \
        that it matches; keys that overlap exclude each other. Logical keys: api:GET /v1/users, db:users, \
        event:user.created, flag:billing/*, env:shared-fixtures, contract:openapi/v1.yaml, feature:ID:pause. Locks \
        are exclusive unless mode is shared. A lock ends after ttl_minutes or with your session: repeat the call to \
        keep it. If blocked, do other work, or wait_seconds to queue: first come, first served. A fencing_token \
        grows with each grant; pass yours to refresh that grant and no later one.";

    async fn run(context: &Context<'_>, request: AcquireRequest) -> Result<AcquireAnswer, Failure> {
        let keys = parse_keys(request.file_path.as_deref(), request.file_paths.as_deref())?;
        let default_ttl = match context.door {
            Door::Http => HTTP_TTL_MINUTES,
            Door::Mcp | Door::Cli | Door::Github => context.coordinator.settings().lock_ttl_minutes,
        };
        let acquire = Acquire {
            keys: sorted(&keys),
            mode: match request.mode {
                Some(ModeName::Shared) => LockMode::Shared,
                Some(ModeName::Exclusive) | None => LockMode::Exclusive,
            },
            // Others are shown it, and it stays in the trail.
            reason: request.reason.as_deref().map(without_secrets),
            ttl_seconds: request.ttl_minutes.unwrap_or(default_ttl) * 60,
            feature_id: request.feature_id,
            fencing_token: request.fencing_token,
            wait: None,
        };
        let wait = Duration::from_secs(request.wait_seconds.unwrap_or(0).into());
        match acquire_within(context, acquire, wait).await? {
            Outcome::Acquired { grants } => Ok(granted(&keys, &grants)),
            Outcome::Blocked(blocked) => Ok(AcquireAnswer::blocked(&keys, blocked)),
            Outcome::Refused(refusal @ Refusal::Deadlock { .. }) => Ok(AcquireAnswer {
                reason: Some(refusal.code().into()),
                message: Some(in_words(&refusal)),
                ..AcquireAnswer::nothing(&keys)
            }),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Tries until it is granted or refused, or the time is up. Only the last try is the operation's audit row.
async fn acquire_within(context: &Context<'_>, mut acquire: Acquire, wait: Duration) -> Result<Outcome, Failure> {
    if wait.is_zero() {
        return context.apply(Action::Acquire(acquire)).await;
    }
    let until = Instant::now() + wait;
    let ticket = Uuid::now_v7();
    let (mut pause, longest) = LOOK_AGAIN_AFTER;
    loop {
        // Before asking, so that a release in between is not missed.
        let released = context.coordinator.released.notified();
        let last = Instant::now() >= until;
        acquire.wait = Some(Wait { ticket, last });
        let outcome = context.apply(Action::Acquire(acquire.clone())).await?;
        if !matches!(outcome, Outcome::Waiting(_)) {
            return Ok(outcome);
        }
        let left = until.saturating_duration_since(Instant::now());
        // Either way we look again.
        let _ = tokio::time::timeout(pause.min(left), released).await;
        pause = (pause * 2).min(longest);
    }
}

/// The answer's grants in the order of the request; `grants` is in the order of the keys.
fn granted(keys: &[LockKey], grants: &[Grant]) -> AcquireAnswer {
    let action = |refreshed| if refreshed { "refreshed" } else { "acquired" };
    let mut answer = AcquireAnswer {
        success: true,
        action: action(grants.iter().all(|g| g.refreshed)),
        expires_at: grants.iter().map(|g| g.expires_at).min(),
        fencing_token: grants.iter().map(|g| g.fencing_token).max(),
        claimed_by_features: grants.iter().flat_map(ClaimedBy::of).collect(),
        ..AcquireAnswer::nothing(keys)
    };
    if let Some(met) = answer.claimed_by_features.first() {
        answer.message = Some(met.in_words());
    }
    if grants.len() > 1 {
        let find = |key: &LockKey| grants.iter().find(|grant| grant.key == *key);
        let mut seen = std::collections::BTreeSet::new();
        answer.locks = keys
            .iter()
            .filter(|key| seen.insert(*key))
            .filter_map(find)
            .map(|grant| Granted {
                file_path: grant.key.to_string(),
                action: action(grant.refreshed),
                expires_at: grant.expires_at,
                fencing_token: grant.fencing_token,
            })
            .collect();
    }
    answer
}

impl AcquireAnswer {
    fn nothing(keys: &[LockKey]) -> Self {
        Self {
            success: false,
            action: "blocked",
            file_path: keys.first().map(ToString::to_string).unwrap_or_default(),
            expires_at: None,
            fencing_token: None,
            claimed_by_features: vec![],
            locks: vec![],
            reason: None,
            locked_by: None,
            lock_reason: None,
            conflicts_with: vec![],
            message: None,
        }
    }

    fn blocked(keys: &[LockKey], blocked: Blocked) -> Self {
        let conflicts_with: Vec<Conflict> = blocked
            .locks
            .into_iter()
            .map(Conflict::from)
            .chain(blocked.waiters.into_iter().map(|waiter| Conflict::of_waiter(waiter, keys)))
            .collect();
        let first = conflicts_with.first();
        let message = first.map(|first| first.in_words(blocked.reason, keys));
        Self {
            expires_at: conflicts_with.iter().filter_map(|c| c.expires_at).max(),
            reason: Some(blocked.reason.code().into()),
            locked_by: first.map(|c| c.locked_by.clone()),
            lock_reason: first.and_then(|c| c.reason.clone()),
            message,
            conflicts_with,
            ..Self::nothing(keys)
        }
    }
}

impl From<Lock> for Conflict {
    fn from(lock: Lock) -> Self {
        Self {
            file_path: lock.key.to_string(),
            locked_by: lock.agent_id.into(),
            agent_type: lock.agent_type,
            mode: lock.mode.as_str(),
            reason: lock.reason,
            waiting: false,
            since: lock.locked_at,
            expires_at: Some(lock.expires_at),
        }
    }
}

impl Conflict {
    fn of_waiter(waiter: Waiter, keys: &[LockKey]) -> Self {
        let met = waiter.keys.iter().find(|theirs| keys.iter().any(|ours| ours.overlaps(theirs)));
        Self {
            file_path: met.or(waiter.keys.first()).map(ToString::to_string).unwrap_or_default(),
            locked_by: waiter.agent_id.into(),
            agent_type: waiter.agent_type,
            mode: waiter.mode.as_str(),
            reason: waiter.reason,
            waiting: true,
            since: waiter.since,
            expires_at: None,
        }
    }

    fn in_words(&self, reason: BlockReason, keys: &[LockKey]) -> String {
        let asked = keys.first().map(ToString::to_string).unwrap_or_default();
        let why = self.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let until = self.expires_at.map(|end| format!(" until {end:.0} unless refreshed")).unwrap_or_default();
        match reason {
            BlockReason::FeaturePaused => format!(
                "the feature is paused by {}{why}{until}: stop work on it and wait for the pause to be lifted",
                self.locked_by
            ),
            BlockReason::LockedByOther if self.waiting => format!(
                "{} came earlier and waits for {}{why}: pass wait_seconds to queue behind it, or work on something else",
                self.locked_by, self.file_path
            ),
            BlockReason::LockedByOther => {
                let covers = if self.file_path == asked { String::new() } else { format!(", which overlaps {asked}") };
                format!(
                    "{} holds {}{covers}{why}{until}: pass wait_seconds to queue for it, or work on something else",
                    self.locked_by, self.file_path
                )
            }
        }
    }
}

/// Gives locks back.
pub struct ReleaseLock;

/// What to give back.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ReleaseRequest {
    file_path: Option<String>,
    #[schemars(length(min = 1, max = 100))]
    file_paths: Option<Vec<String>>,
    /// From the grant: refuses to release a later one
    fencing_token: Option<i64>,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReleaseAnswer {
    /// Were all of them yours?
    success: bool,
    /// Was anything released?
    released: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    file_path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    released_paths: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Operation for ReleaseLock {
    type Request = ReleaseRequest;
    type Answer = ReleaseAnswer;
    const NAME: &'static str = "release_lock";
    const SUMMARY: &'static str = "Release your locks as soon as you are done.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const RESOURCE: ResourceKind = ResourceKind::Key;
    const ROUTES: &'static [Route] = &[Route::post("/locks/release")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::Agent;
    const ONE_OF: &'static [&'static [&'static str]] = &[&["file_path", "file_paths"]];
    const IS_CORE: bool = true;
    const SELDOM: &'static [&'static str] = &["fencing_token"];
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: ReleaseRequest) -> Result<ReleaseAnswer, Failure> {
        let keys = parse_keys(request.file_path.as_deref(), request.file_paths.as_deref())?;
        let release = Release { keys: sorted(&keys), fencing_token: request.fencing_token };
        let outcome = context.apply(Action::Release(release)).await?;
        context.coordinator.released.notify_waiters();
        let code = outcome.code().map(str::to_owned);
        match outcome {
            Outcome::Released { released, missing } => {
                let first = keys.first().map(ToString::to_string).unwrap_or_default();
                let missing_names: Vec<&str> = missing.iter().map(LockKey::as_str).collect();
                Ok(ReleaseAnswer {
                    success: missing.is_empty(),
                    released: !released.is_empty(),
                    action: (!released.is_empty()).then_some("released"),
                    file_path: first,
                    released_paths: if keys.len() > 1 {
                        released.iter().map(ToString::to_string).collect()
                    } else {
                        vec![]
                    },
                    reason: code,
                    message: (!missing.is_empty()).then(|| {
                        format!("you hold no lock on {}: it ended, or it is another's", missing_names.join(", "))
                    }),
                })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

/// Shows locks.
pub struct CheckLocks;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckRequest {
    /// Only locks that overlap these; default all
    #[schemars(length(max = 100))]
    file_paths: Option<Vec<String>>,
}

/// One lock, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LockView {
    file_path: String,
    locked_by: String,
    agent_type: String,
    #[schemars(with = "String")]
    locked_at: Timestamp,
    #[schemars(with = "String")]
    expires_at: Timestamp,
    reason: Option<String>,
    mode: &'static str,
    fencing_token: i64,
}

impl From<Lock> for LockView {
    fn from(lock: Lock) -> Self {
        Self {
            file_path: lock.key.to_string(),
            locked_by: lock.agent_id.into(),
            agent_type: lock.agent_type,
            locked_at: lock.locked_at,
            expires_at: lock.expires_at,
            reason: lock.reason,
            mode: lock.mode.as_str(),
            fencing_token: lock.fencing_token,
        }
    }
}

impl Operation for CheckLocks {
    type Request = CheckRequest;
    type Answer = Vec<LockView>;
    const NAME: &'static str = "check_locks";
    const SUMMARY: &'static str = "See what is locked, by whom and until when.";
    const ACCESS: Access = Access::Read;
    const RESOURCE: ResourceKind = ResourceKind::Key;
    const ROUTES: &'static [Route] = &[Route::get("/locks")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_CORE: bool = true;

    async fn run(context: &Context<'_>, request: CheckRequest) -> Result<Vec<LockView>, Failure> {
        let keys = match request.file_paths.as_deref() {
            None | Some([]) => None,
            paths => Some(parse_keys(None, paths)?),
        };
        let locks = context.coordinator.store().locks(context.project, keys.as_deref()).await?;
        Ok(locks.into_iter().map(LockView::from).collect())
    }
}

/// Tells whether one path is locked: the answer to a probe that needs no key.
pub struct LockStatus;

/// Which.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct StatusRequest {
    /// Path or logical key
    file_path: String,
}

/// Whether it is locked.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StatusAnswer {
    locked: bool,
    file_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<LockView>,
}

impl Operation for LockStatus {
    type Request = StatusRequest;
    type Answer = StatusAnswer;
    const NAME: &'static str = "lock_status";
    const SUMMARY: &'static str = "Tell whether a path is locked, and by whom.";
    const ACCESS: Access = Access::PublicRead;
    const RESOURCE: ResourceKind = ResourceKind::Key;
    const ROUTES: &'static [Route] = &[Route::get("/locks/status/{*file_path}")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_TOOL: bool = false;

    async fn run(context: &Context<'_>, request: StatusRequest) -> Result<StatusAnswer, Failure> {
        let keys = parse_keys(Some(&request.file_path), None)?;
        let locks = context.coordinator.store().locks(context.project, Some(&keys)).await?;
        let lock = locks.into_iter().next().map(LockView::from);
        let file_path = keys.into_iter().next().map(|key| key.to_string()).unwrap_or_default();
        Ok(StatusAnswer { locked: lock.is_some(), file_path, lock })
    }
}

/// The keys of a request in its order: at least one, at most [`KEYS_LIMIT`].
fn parse_keys(one: Option<&str>, several: Option<&[String]>) -> Result<Vec<LockKey>, Failure> {
    let one = one.into_iter().map(|text| ("file_path", text));
    let several = several.unwrap_or_default().iter().map(|text| ("file_paths", text.as_str()));
    let texts: Vec<(&str, &str)> = one.chain(several).collect();
    if texts.is_empty() || texts.len() > KEYS_LIMIT {
        return Err(Failure::field("file_paths", format!("must hold 1 to {KEYS_LIMIT} keys")));
    }
    texts.into_iter().map(|(field, text)| LockKey::parse(text).map_err(|bad| Failure::bad_key(field, &bad))).collect()
}

fn sorted(keys: &[LockKey]) -> Vec<LockKey> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    keys
}
