//! What must pass: the policies of `coordinator.toml`, and those that admins have put into the project's rulebook.
//!
//! Each of them must pass, so that one in the rulebook only ever adds to what is asked for; and one in the file keeps its name
//! for itself. A policy names a command that runners run on their machines: only admins put one.

use model::id::Project;
use model::rulebook::RuleKind;
use policy::{ResourceKind, Trust};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use verification::policy::Approval;
use verification::{Policies, Policy};

use crate::Coordinator;
use crate::failure::{Details, Failure};
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::rulebook::{PutAnswer, put};

impl Coordinator {
    /// What must pass in this project, at most a second old.
    ///
    /// # Errors
    /// [`Failure`] when they cannot be read: then nobody knows what must pass.
    pub async fn verification_policies(&self, project: &Project) -> Result<Policies, Failure> {
        let rules = self.rules(project).await?;
        let mut own = vec![];
        for rule in rules.of(RuleKind::Verification) {
            let Some(body) = &rule.body else { continue };
            let read = Policy::parse(&rule.name, body).map_err(|bad| {
                let message = format!(
                    "the verification policy {} cannot be read, so nobody knows what must pass: put it right, or remove it, \
                     with put_verification_policy ({bad})",
                    rule.name
                );
                Failure::Conflict(Details::new("unreadable_policy", message))
            });
            own.push(read?);
        }
        Ok(self.settings().verification.clone().with(own))
    }
}

/// Shows what must pass.
pub struct ListVerificationPolicies;

/// Nothing to say.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {}

/// The policies, the cheapest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    success: bool,
    policies: Vec<PolicyView>,
}

/// A policy, as shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolicyView {
    name: String,
    /// file (coordinator.toml of this coordinator) or project (put by an admin).
    source: &'static str,
    /// Of a policy of the project: by whom, and which version.
    author: Option<String>,
    version: Option<i64>,
    /// One of the project that does not count, since the file has one of its name.
    is_hidden: bool,
    globs: Vec<String>,
    exclude: Vec<String>,
    tier: u8,
    executor: &'static str,
    command: Vec<String>,
    workflow: Option<String>,
    versions: Vec<Vec<String>>,
    timeout_seconds: u64,
    environment: Vec<String>,
    needs_approval: bool,
}

impl PolicyView {
    fn of(policy: &Policy, source: &'static str) -> Self {
        let names = |keys: &[model::key::LockKey]| keys.iter().map(ToString::to_string).collect();
        Self {
            name: policy.name.clone(),
            source,
            author: None,
            version: None,
            is_hidden: false,
            globs: names(&policy.globs),
            exclude: names(&policy.exclude),
            tier: policy.tier.get(),
            executor: policy.executor.as_str(),
            command: policy.command.clone(),
            workflow: policy.workflow.as_ref().map(|workflow| workflow.file.clone()),
            versions: policy.versions.clone(),
            timeout_seconds: policy.timeout.as_secs(),
            environment: policy.environment.clone(),
            needs_approval: policy.approval == Approval::Needed,
        }
    }
}

impl Operation for ListVerificationPolicies {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_verification_policies";
    const SUMMARY: &'static str = "List what must pass for which changes, and where each policy comes from.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/verification/policies")];
    const IS_LISTED: bool = false;
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;

    async fn run(context: &Context<'_>, _: ListRequest) -> Result<ListAnswer, Failure> {
        let file = &context.coordinator.settings().verification;
        // Where one cannot be read, it is said which.
        context.coordinator.verification_policies(context.project).await?;
        let mut policies: Vec<PolicyView> = file.all().iter().map(|policy| PolicyView::of(policy, "file")).collect();
        for rule in context.coordinator.rules(context.project).await?.of(RuleKind::Verification) {
            let read = rule.body.as_ref().map(|body| Policy::parse(&rule.name, body));
            let Some(Ok(policy)) = read else { continue };
            policies.push(PolicyView {
                author: Some(rule.author.to_string()),
                version: Some(rule.version),
                is_hidden: file.named(&rule.name).is_some(),
                ..PolicyView::of(&policy, "project")
            });
        }
        policies.sort_by_key(|policy| policy.tier);
        Ok(ListAnswer { success: true, policies })
    }
}

/// Makes, changes or removes a policy of the project.
pub struct PutVerificationPolicy;

/// The policy.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct PutRequest {
    #[schemars(length(min = 1, max = 64))]
    name: String,
    /// TOML: the fields of a [[verification]] but for the name; absent to remove it
    policy: Option<String>,
    /// The version you have seen, 0 for none
    expected_version: Option<i64>,
}

impl Operation for PutVerificationPolicy {
    type Request = PutRequest;
    type Answer = PutAnswer;
    const NAME: &'static str = "put_verification_policy";
    const SUMMARY: &'static str = "Make, change or remove a policy of what must pass for a change.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const RESOURCE: ResourceKind = ResourceKind::Rule;
    const ROUTES: &'static [Route] = &[Route::post("/verification/policies")];
    const IS_LISTED: bool = false;
    const DETAIL: &'static str = "Runners run its command on their machines. It adds to the policies of coordinator.toml, which keep \
        their names. rule_history and roll_back_rule with kind verification show and restore older versions.";

    async fn run(context: &Context<'_>, request: PutRequest) -> Result<PutAnswer, Failure> {
        let PutRequest { name, policy, expected_version } = request;
        let is_taken = context.coordinator.settings().verification.named(&name).is_some();
        if is_taken && policy.is_some() {
            let message =
                format!("coordinator.toml has a policy {name}, which counts: change it there, or choose another name");
            return Err(Failure::Conflict(Details::new("policy_in_file", message)));
        }
        put(context, RuleKind::Verification, name, policy, expected_version).await
    }
}
