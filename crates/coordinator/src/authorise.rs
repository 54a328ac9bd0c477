//! May the caller do this? Asked once for every call, after it is known who calls and before anything is done.
//!
//! A refusal has an audit row like any other, written in a transaction of its own: nothing else happens.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use model::command::{Action, Refusal};
use model::key::LockKey;
use model::limits::Limits;
use policy::profiles::Reason;
use policy::{Chosen, Code, Decision, Principal, Profile, Resource, ResourceKind, Trust, Vouched};
use serde_json::Value;

use crate::failure::Failure;
use crate::operation::{Context, Entry};
use crate::rules::Rules;

/// The profile of a call that needs no permission.
static NOBODY: LazyLock<Arc<Profile>> =
    LazyLock::new(|| Arc::new(Profile::new("nobody", Trust::Untrusted, "Has asked for nothing")));

/// What a context begins with.
pub(crate) fn nobody() -> Arc<Profile> {
    NOBODY.clone()
}

/// What of a caller's names somebody vouches for: nobody becomes an admin by calling itself one.
#[derive(Debug, Clone, Copy)]
pub struct Vouching {
    /// Its name.
    pub agent_id: Vouched,
    /// Its type.
    pub agent_type: Vouched,
}

impl Vouching {
    /// It runs on the machine that holds the database.
    pub const ALL: Self = Self { agent_id: Vouched::For, agent_type: Vouched::For };

    /// Somebody says so who has nothing to show for it.
    pub const NONE: Self = Self { agent_id: Vouched::ByNobody, agent_type: Vouched::ByNobody };

    /// Of the one by which it has its profile.
    fn of(self, chosen: &Chosen) -> Vouched {
        match chosen.reason {
            Reason::AssignedToAgent => self.agent_id,
            Reason::AssignedToType | Reason::OfType | Reason::NoneOfType => self.agent_type,
        }
    }
}

/// Gives the context the caller's profile, and refuses what the caller may not do.
///
/// # Errors
/// [`Failure::Forbidden`] with why; [`Failure`] when the rules cannot be read.
pub(crate) async fn authorise(
    context: &mut Context<'_>,
    entry: &Entry,
    vouching: Vouching,
    arguments: &Value,
) -> Result<(), Failure> {
    if !entry.needs_permission {
        return Ok(());
    }
    let rules = context.coordinator.rules(context.project).await?;
    let chosen = rules.profiles.of(context.caller.agent_id.as_str(), &context.caller.agent_type);
    context.vouched = vouching.of(&chosen);
    context.profile = chosen.profile;
    if context.coordinator.settings().policy.enforce_limits {
        context.limits = context.profile.limits;
    }
    let refusal = {
        let principal = principal(context);
        first_refusal(&rules, &principal, entry, arguments, context)
    };
    let Some(refusal) = refusal else { return Ok(()) };
    context.limits = Limits::NONE;
    context.apply(Action::Refuse(refusal.clone())).await?;
    Err(refusal.into())
}

/// Who asks, for the engines.
pub(crate) fn principal<'a>(context: &'a Context<'_>) -> Principal<'a> {
    Principal {
        agent_id: context.caller.agent_id.as_str(),
        agent_type: &context.caller.agent_type,
        session_id: context.caller.session_id.as_ref().map(|session| session.as_str()),
        profile: &context.profile,
        vouched: context.vouched,
    }
}

fn first_refusal(
    rules: &Rules,
    principal: &Principal<'_>,
    entry: &Entry,
    arguments: &Value,
    context: &Context<'_>,
) -> Option<Refusal> {
    let decide = |resource: Resource<'_>| {
        let decision = rules.decide(principal, &entry.action, resource, context.door);
        refusal(principal, &entry.action, decision)
    };
    let things = named(entry.action.resource, arguments);
    if things.is_empty() {
        return decide(Resource { kind: ResourceKind::Project, id: context.project.as_str() });
    }
    things.iter().find_map(|id| decide(Resource { kind: entry.action.resource, id }))
}

/// The decision as a refusal, if it is one.
pub(crate) fn refusal(principal: &Principal<'_>, action: &policy::Action, decision: Decision) -> Option<Refusal> {
    let message = decision.reason.into_owned();
    Some(match decision.code? {
        Code::OperationNotPermitted => Refusal::OperationNotPermitted { message, policies: decision.policies },
        Code::InsufficientTrustLevel => Refusal::InsufficientTrustLevel {
            message,
            required: action.level.level(),
            actual: principal.trust().level(),
        },
    })
}

/// The things of the kind that a request names, as policies know them: a key in its one spelling, so that no other passes
/// a policy by.
pub(crate) fn named(kind: ResourceKind, arguments: &Value) -> Vec<Cow<'_, str>> {
    let fields = kind.fields().iter().filter_map(|field| arguments.get(field));
    let texts = fields.flat_map(|value| match value {
        Value::Array(items) => items.iter().collect::<Vec<_>>(),
        other => vec![other],
    });
    texts.filter_map(Value::as_str).map(|text| canonical(kind, text)).collect()
}

/// The thing's name as policies know it.
pub(crate) fn canonical(kind: ResourceKind, text: &str) -> Cow<'_, str> {
    match kind {
        ResourceKind::Key => {
            LockKey::parse(text).map_or(Cow::Borrowed(text), |key| Cow::Owned(key.as_str().to_owned()))
        }
        _ => Cow::Borrowed(text),
    }
}
