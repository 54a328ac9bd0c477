//! Why an operation gave no answer: for people and agents in a sentence, for programs by a stable code.

use model::approvals::ApprovalStatus;
use model::command::{Outcome, Refusal};
use model::key::BadKey;
use model::limits::Limit;
use model::merge_queue::MergeState;
use model::verification::RunState;
use model::working_memory::NOTES_LIMIT;
use serde_json::{Map, Value, json};
use store::StoreError;

use crate::redact::{kept, kept_value};

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, dotted where it is nested.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why an operation gave no answer.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The request itself is wrong.
    Invalid {
        /// `invalid_request`, or a finer code such as `invalid_file_path`.
        code: &'static str,
        /// Each wrong field.
        fields: Vec<FieldError>,
    },
    /// It may not be done by this caller.
    Forbidden(Details),
    /// It cannot be done as things are, and asking again will not help.
    Conflict(Details),
    /// The caller's key has made too many requests.
    TooMany {
        /// How many it may make in a minute.
        per_minute: u32,
        /// After how many seconds it may make the next one.
        seconds: u64,
    },
    /// The database does not answer.
    Unavailable(String),
    /// A defect of ours.
    Internal(String),
}

/// A code, a sentence, and what else a program may want to know.
#[derive(Debug, Clone)]
pub struct Details {
    /// The stable code.
    pub code: &'static str,
    /// What happened, why, and what to do next.
    pub message: String,
    /// More fields of the answer.
    pub more: Map<String, Value>,
}

impl Details {
    /// With nothing but a code and a sentence.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), more: Map::new() }
    }
}

impl Failure {
    /// One field is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid {
            code: "invalid_request",
            fields: vec![FieldError { field: field.into(), message: message.into() }],
        }
    }

    /// The key in this field is none.
    pub fn bad_key(field: &str, bad: &BadKey) -> Self {
        match bad {
            BadKey::Prefix(_) => Self::Forbidden(Details::new(bad.code(), bad.to_string())),
            _ => Self::Invalid {
                code: bad.code(),
                fields: vec![FieldError { field: field.into(), message: bad.to_string() }],
            },
        }
    }

    /// An outcome that the command cannot have.
    pub fn unexpected(outcome: &Outcome) -> Self {
        Self::Internal(format!("the store answered {outcome:?}, which is no outcome of this command"))
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { code, .. } => code,
            Self::Forbidden(details) | Self::Conflict(details) => details.code,
            Self::TooMany { .. } => "rate_limited",
            Self::Unavailable(_) => "database_unavailable",
            Self::Internal(_) => "internal_error",
        }
    }

    /// The sentence, without secrets: it may quote the request, or what the database says of it.
    pub fn message(&self) -> String {
        kept(&self.sentence())
    }

    fn sentence(&self) -> String {
        match self {
            Self::Invalid { fields, .. } => {
                let each: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.field, f.message)).collect();
                each.join("; ")
            }
            Self::Forbidden(details) | Self::Conflict(details) => details.message.clone(),
            Self::TooMany { per_minute, seconds } => {
                format!("this key may make {per_minute} requests a minute: try again in {seconds} s")
            }
            Self::Unavailable(why) => why.clone(),
            Self::Internal(why) => format!("this is a defect of the coordinator: {why}"),
        }
    }

    /// The answer's body: `success: false`, the code, the sentence, and what else there is.
    pub fn body(&self) -> Value {
        let mut body = json!({"success": false, "error": self.code(), "message": self.message()});
        match self {
            Self::Invalid { fields, .. } => {
                body["fields"] =
                    fields.iter().map(|f| json!({"field": kept(&f.field), "message": kept(&f.message)})).collect();
            }
            Self::Forbidden(details) | Self::Conflict(details) => {
                for (name, value) in &details.more {
                    body[name] = kept_value(value);
                }
            }
            Self::TooMany { per_minute, seconds } => {
                body["limit"] = json!(per_minute);
                body["retry_after_seconds"] = json!(seconds);
            }
            Self::Unavailable(_) | Self::Internal(_) => {}
        }
        body
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed(why) => Self::Internal(why),
            StoreError::Unreachable(_) => Self::Unavailable(format!("{error}; try again in a moment")),
            StoreError::TooNew { .. } | StoreError::NotReady(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = in_words(&refusal);
        let more = match serde_json::to_value(&refusal) {
            Ok(Value::Object(mut more)) => {
                more.remove("code");
                more.remove("message");
                more
            }
            _ => Map::new(),
        };
        match &refusal {
            Refusal::UnknownDependency { .. } => Self::field("depends_on", message).with_code(refusal.code()),
            Refusal::DeadlineExceeded => Self::field("deadline", message).with_code(refusal.code()),
            Refusal::ResourceLimitExceeded { allowed, used, .. } => {
                let mut more = more;
                more.insert("left".into(), allowed.saturating_sub(*used).into());
                Self::Forbidden(Details { code: refusal.code(), message, more })
            }
            Refusal::SessionNotYours { .. }
            | Refusal::IdentityMismatch { .. }
            | Refusal::InsufficientTrustLevel { .. }
            | Refusal::DestructiveOperationBlocked { .. }
            | Refusal::CredentialFileProtected { .. }
            | Refusal::OwnApproval { .. }
            | Refusal::ApprovalMismatch { .. }
            | Refusal::OperationNotPermitted { .. } => Self::Forbidden(Details { code: refusal.code(), message, more }),
            _ => Self::Conflict(Details { code: refusal.code(), message, more }),
        }
    }
}

impl Failure {
    fn with_code(self, code: &'static str) -> Self {
        match self {
            Self::Invalid { fields, .. } => Self::Invalid { code, fields },
            other => other,
        }
    }
}

/// What may follow on a state of the merge queue.
fn way_on(state: MergeState) -> &'static str {
    match state {
        MergeState::Queued => "run_pre_merge_checks comes next",
        MergeState::PreMergeCheck => "its checks are run; run_pre_merge_checks begins them again",
        MergeState::Ready => "it waits for its turn to be merged",
        MergeState::Merging => "it is being merged",
        MergeState::Merged => "it is done; register_feature and enqueue_merge begin anew",
        MergeState::Blocked => "its note says what is wrong; enqueue_merge puts it at the end of the queue again",
    }
}

/// What happened, why, and what to do next.
pub fn in_words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::SessionExpired { session_id, disconnected_at } => format!(
            "session {session_id} was disconnected at {disconnected_at} because no heartbeat came in time; its locks were \
             released and its tasks put back: call register_session, then take what you still need again"
        ),
        Refusal::SessionNotFound => "there is no session of yours to renew: call register_session first".into(),
        Refusal::SessionNotYours { session_id } => {
            format!("session {session_id} belongs to another agent: use a session id of your own")
        }
        Refusal::StaleFencingToken { target, given, current: Some(current) } => format!(
            "fencing token {given} is from before the current grant of {target} (token {current}): what was done under \
             the old grant may have been overtaken, read the current state first"
        ),
        Refusal::StaleFencingToken { target, given, current: None } => format!(
            "you no longer hold {target}, which token {given} was granted for: it ended, and others may have changed it \
             since; acquire it again without a token and read its current state"
        ),
        Refusal::Deadlock { cycle } => {
            let cycle: Vec<&str> = cycle.iter().map(|agent| agent.as_str()).collect();
            format!(
                "waiting would never end: {} wait for each other; release what you hold, or do other work first",
                cycle.join(" -> ")
            )
        }
        Refusal::UnknownDependency { task_ids } => {
            let ids: Vec<String> = task_ids.iter().map(ToString::to_string).collect();
            format!("there is no task {}: submit a dependency before what depends on it", ids.join(", "))
        }
        Refusal::DependencyFailed { task_id } => {
            format!("dependency {task_id} has failed already, so this task could never start")
        }
        Refusal::DeadlineExceeded => "the deadline is in the past".into(),
        Refusal::IdempotencyKeyReused { task_id } => format!(
            "task {task_id} was submitted under this idempotency key with other content: use a new key for a new task"
        ),
        Refusal::TaskNotFoundOrNotClaimedByAgent => {
            "there is no such task, or its claim is not yours (any more): get_task tells where it stands".into()
        }
        Refusal::TaskNotFound => "there is no such task in this project".into(),
        Refusal::TaskAlreadyEnded { status } => format!("the task has ended already: it is {}", status.as_str()),
        Refusal::MemoryNotFound { memory_id } => {
            format!("there is no memory {memory_id} in this project: recall shows the ids of those there are")
        }
        Refusal::MemorySuperseded { memory_id, superseded_by } => format!(
            "memory {memory_id} is out of date already: {superseded_by} took its place; recall that one, and supersede it \
             if it does not hold either"
        ),
        Refusal::NoRecipients => {
            "nobody else that this is for is connected: name an agent, for whom it will wait, or see discover_agents"
                .into()
        }
        Refusal::WorkingMemoryFull => format!(
            "all {NOTES_LIMIT} keys of this session are pinned: forget one (no value) or unpin one (pinned: false) first"
        ),
        Refusal::RuleChanged { rule_kind, name, version: 0 } => {
            format!("the {rule_kind} rule {name} is gone or was never there: look again, then decide")
        }
        Refusal::RuleChanged { rule_kind, name, version } => format!(
            "somebody has changed the {rule_kind} rule {name} meanwhile: it is at version {version}; look at that one, then \
             decide"
        ),
        Refusal::RuleNotFound { rule_kind, name } => {
            format!("there is no {rule_kind} rule {name} in this project that could be removed")
        }
        Refusal::KeyNotFound => "there is no such key in this project, or it is revoked already".into(),
        Refusal::DestructiveOperationBlocked { operation, rules } => {
            format!("{operation} is refused by the guardrails ({})", rules.join(", "))
        }
        Refusal::CredentialFileProtected { operation, rules } => {
            format!(
                "{operation} would show, change or send credentials, which only a person may allow ({})",
                rules.join(", ")
            )
        }
        Refusal::ApprovalNotFound { approval_id } => {
            format!("there is no request {approval_id} in this project: list_approvals shows those there are")
        }
        Refusal::OwnApproval { approval_id } => {
            format!("request {approval_id} is your own: somebody else decides about it; get_approval waits for that")
        }
        Refusal::ApprovalSettled { approval_id, status } => match status {
            ApprovalStatus::Pending => {
                format!("nobody has decided about request {approval_id} yet: get_approval waits")
            }
            status => format!(
                "request {approval_id} is {} already: if it is needed again, ask anew with request_approval",
                status.as_str()
            ),
        },
        Refusal::ApprovalMismatch { approval_id } => format!(
            "approval {approval_id} is for another agent, another session, or something else than this: an approval lets \
             exactly that through which it was asked for"
        ),
        Refusal::FeatureNotFound { feature_id } => {
            format!("there is no feature {feature_id} in this project: register_feature makes it known")
        }
        Refusal::FeatureNotActive { feature_id, status } => {
            format!("feature {feature_id} is {} already: register it again if there is more to do", status.as_str())
        }
        Refusal::TooManyFeatures { limit } => format!(
            "{limit} features are active, and no more may be at once: end with deregister_feature those that are done"
        ),
        Refusal::MergeEntryNotFound { feature_id } => {
            format!("feature {feature_id} is not in the merge queue: enqueue_merge puts it there")
        }
        Refusal::MergeStateRefused { feature_id, from, to } => format!(
            "the entry of {feature_id} is {} and cannot become {}: {}",
            from.as_str(),
            to.as_str(),
            way_on(*from)
        ),
        Refusal::MergeInProgress { feature_id } => format!(
            "{feature_id} is being merged: wait for that to end; if whoever did it is gone, set_merge_state queued first"
        ),
        Refusal::GithubRecordChanged { record_kind, name, .. } => format!(
            "somebody has written what is known of the {} {name} on GitHub meanwhile: read it again, then decide",
            record_kind.as_str()
        ),
        Refusal::ChangesetNotFound { changeset_id } => {
            format!("there is no changeset {changeset_id} in this project: list_changesets shows those that there are")
        }
        Refusal::RunNotFound { run_id } => {
            format!("there is no run {run_id} in this project: get_changeset shows the runs of a changeset")
        }
        Refusal::RunNotRunning { run_id, state } => format!(
            "run {run_id} is {}, and nobody has it: {}",
            state.as_str(),
            match state {
                RunState::Queued => "claim_verification takes it; a result from before its lease ended does not count",
                RunState::WaitingApproval => "a person decides about it, with decide_approval",
                RunState::Cancelled => "another policy of its changeset failed, so its result is not needed",
                _ => "a result counts once; submit_changeset has the commit verified again",
            }
        ),
        Refusal::SealMismatch { size } => format!(
            "the seal of {size} rows does not fit the trail, which changed meanwhile: nothing was removed; try again, and \
             if it stays so, run coordinator audit verify"
        ),
        Refusal::OperationNotPermitted { message, .. } | Refusal::InsufficientTrustLevel { message, .. } => {
            message.clone()
        }
        Refusal::ResourceLimitExceeded { limit: Limit::MaxFileModifications, allowed, used, .. } => format!(
            "your profile lets you lock {allowed} different files in a session, and you have locked {used}: work on those, \
             or begin a new session for other work (max_file_modifications)"
        ),
        Refusal::ResourceLimitExceeded { limit: Limit::MaxCallsPerHour, allowed, until, .. } => format!(
            "your profile lets you make {allowed} calls in an hour that change something, and you have made them{} \
             (max_calls_per_hour)",
            until.map_or_else(String::new, |until| format!(": the next is free at {until}"))
        ),
        Refusal::IdentityMismatch { message } => message.clone(),
    }
}
