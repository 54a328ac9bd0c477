//! The network: may this host be reached? Answered, and on record either way; and the rules by which it is answered.
//!
//! The rules are documents of the rulebook: one for everybody, `global`, and one for each profile that needs its own,
//! `profile:NAME`. An agent is under both. What the proxy enforces is this, too: it asks [`Coordinator::judge_network`] and
//! [`Coordinator::admit_network`].

use std::net::IpAddr;

use jiff::Timestamp;
use model::command::{Action, Outcome, Refusal};
use model::id::{Caller, Project};
use model::network::NetworkCheck;
use model::rulebook::{PutRule, Rule, RuleKind};
use network::{Access as Answer, Rules, Target, Verdict};
use policy::Trust;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Coordinator;
use crate::failure::Failure;
use crate::operation::{Access, BodyIdentity, Context, Operation, Route};
use crate::redact::without_secrets;

/// The document that everybody is under.
const GLOBAL: &str = "global";
/// What the names of profiles' documents begin with.
const OF_PROFILE: &str = "profile:";
/// How often a change is tried again when others change the same document.
const ATTEMPTS: usize = 5;
/// The most rules of a kind in a document.
const RULES_LIMIT: usize = 1000;

/// The rules of one document, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<Answer>,
}

impl Document {
    /// Reads a document, and makes sure that its rules can be used.
    fn read(body: &str) -> Result<Self, String> {
        let document: Self = toml::from_str(body).map_err(|error| error.message().to_owned())?;
        document.rules(Answer::Deny)?;
        Ok(document)
    }

    fn rules(&self, default: Answer) -> Result<Rules, String> {
        Rules::parse(&self.allow, &self.deny, default).map_err(|bad| bad.to_string())
    }
}

/// What is wrong with a document of network rules.
pub(crate) fn mistakes(name: &str, body: &str) -> Vec<String> {
    if name != GLOBAL && name.strip_prefix(OF_PROFILE).is_none_or(str::is_empty) {
        return vec![format!("network rules are called {GLOBAL}, or {OF_PROFILE} and a profile's name")];
    }
    Document::read(body).err().into_iter().collect()
}

fn document_of(profile: Option<&str>) -> String {
    profile.map_or_else(|| GLOBAL.to_owned(), |profile| format!("{OF_PROFILE}{profile}"))
}

impl Coordinator {
    /// Would the caller be allowed to reach it, as far as its name tells? Leaves no trace.
    ///
    /// # Errors
    /// [`Failure`] when the rules cannot be read.
    pub async fn judge_network(&self, project: &Project, caller: &Caller, target: &Target) -> Result<Verdict, Failure> {
        Ok(self.network_rules(project, profile_of(caller)).await?.check(target, &[]))
    }

    /// May the caller reach it at these addresses? The attempt is on record when this returns.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be decided or not be recorded.
    pub async fn admit_network(
        &self,
        project: &Project,
        caller: &Caller,
        target: &Target,
        addresses: &[IpAddr],
    ) -> Result<Verdict, Failure> {
        let verdict = self.network_rules(project, profile_of(caller)).await?.check(target, addresses);
        let context = self.admin(project, caller, CheckNetwork::NAME, &json!({"domain": target.to_string()}));
        record(&context, target.host.to_string(), target.port, addresses, &verdict).await?;
        Ok(verdict)
    }

    /// The rules that this caller's programs may reach something by, in one list.
    ///
    /// # Errors
    /// [`Failure`] when the rules cannot be read.
    pub async fn network_rules_of(&self, project: &Project, caller: &Caller) -> Result<Rules, Failure> {
        self.network_rules(project, profile_of(caller)).await
    }

    /// Everybody's rules and the profile's. The profile's default goes before everybody's, that before the setting.
    async fn network_rules(&self, project: &Project, profile: &str) -> Result<Rules, Failure> {
        let rules = self.network_documents(project).await?;
        let own = document_of(Some(profile));
        let mut joined = Document::default();
        for name in [GLOBAL, &own] {
            let Some(body) = rules.iter().find(|rule| rule.name == name).and_then(|rule| rule.body.as_ref()) else {
                continue;
            };
            // What cannot be read never opens the door.
            let Ok(document) = Document::read(body) else {
                return Ok(Rules { allow: vec![], deny: vec![], default: Answer::Deny });
            };
            joined.allow.extend(document.allow);
            joined.deny.extend(document.deny);
            joined.default = document.default.or(joined.default);
        }
        let default = joined.default.unwrap_or(self.settings().network_default);
        joined.rules(default).map_err(Failure::Internal)
    }

    /// The documents in force.
    async fn network_documents(&self, project: &Project) -> Result<Vec<Rule>, Failure> {
        let mut rules = self.store().rules(project).await?;
        rules.retain(|rule| rule.kind == RuleKind::Network);
        Ok(rules)
    }
}

/// The profile that the caller has: the one of its type.
fn profile_of(caller: &Caller) -> &str {
    &caller.agent_type
}

async fn record(
    context: &Context<'_>,
    domain: String,
    port: Option<u16>,
    addresses: &[IpAddr],
    verdict: &Verdict,
) -> Result<(), Failure> {
    let check = NetworkCheck {
        domain,
        port,
        addresses: addresses.iter().map(ToString::to_string).collect(),
        allowed: verdict.is_allowed(),
        policy: verdict.policy(),
        reason: verdict.reason.clone(),
    };
    match context.apply(Action::CheckNetwork(check)).await? {
        Outcome::NetworkChecked(_) => Ok(()),
        Outcome::Refused(refusal) => Err(refusal.into()),
        other => Err(Failure::unexpected(&other)),
    }
}

/// Tells whether something on the network may be reached.
pub struct CheckNetwork;

/// What.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckRequest {
    /// Host, perhaps with a port
    #[schemars(length(max = 8192))]
    domain: Option<String>,
    #[schemars(length(max = 8192))]
    url: Option<String>,
    /// The host's addresses, where known
    #[schemars(length(max = 100))]
    resolves_to: Option<Vec<String>>,
}

/// Whether it may.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckAnswer {
    success: bool,
    allowed: bool,
    /// As it is compared with the rules.
    domain: String,
    reason: String,
    /// The rule that decided, or default, non_public or malformed.
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

impl Operation for CheckNetwork {
    type Request = CheckRequest;
    type Answer = CheckAnswer;
    const NAME: &'static str = "check_network";
    const SUMMARY: &'static str = "Ask whether a host may be reached, before you reach it.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Limited;
    const ROUTES: &'static [Route] = &[Route::post("/network/check")];
    const ONE_OF: &'static [&'static [&'static str]] = &[&["domain", "url"]];
    const DETAIL: &'static str = "Deny rules win; then addresses that are not public are refused unless a rule lists them \
        literally; then allow rules; then the default. Every attempt is on record. A whole url says the port, too.";

    async fn run(context: &Context<'_>, request: CheckRequest) -> Result<CheckAnswer, Failure> {
        let asked = request.url.or(request.domain).unwrap_or_default();
        let addresses: Result<Vec<IpAddr>, _> = request.resolves_to.iter().flatten().map(|text| text.parse()).collect();
        let rules = context.coordinator.network_rules(context.project, profile_of(&context.caller)).await?;
        let (addresses, verdict) = match addresses {
            Ok(addresses) => {
                let verdict = rules.check_text(&asked, &addresses);
                (addresses, verdict)
            }
            Err(_) => (vec![], Verdict::malformed("resolves_to has something in it that is no IP address")),
        };
        let (domain, port) = match Target::parse(&asked) {
            Ok(target) => (target.host.to_string(), target.port),
            // What stands before an @ may be a password.
            Err(_) => (without_secrets(asked.rsplit('@').next().unwrap_or_default()), None),
        };
        record(context, domain.clone(), port, &addresses, &verdict).await?;
        Ok(CheckAnswer {
            success: verdict.is_allowed(),
            allowed: verdict.is_allowed(),
            domain,
            policy: verdict.policy(),
            error: (!verdict.is_allowed()).then_some("domain_blocked"),
            reason: verdict.reason,
        })
    }
}

/// Shows the rules.
pub struct ListNetworkRules;

/// All of them.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ListRequest {}

/// The rules of everybody and of profiles.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    rules: Vec<DocumentView>,
    /// What holds where no document says anything.
    #[schemars(with = "String")]
    default: Answer,
    /// Your profile.
    profile: String,
}

/// The rules of everybody, or of a profile.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DocumentView {
    /// Absent where they are everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    allow: Vec<String>,
    deny: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    default: Option<Answer>,
    version: i64,
    author: String,
    #[schemars(with = "String")]
    created_at: Timestamp,
}

impl Operation for ListNetworkRules {
    type Request = ListRequest;
    type Answer = ListAnswer;
    const NAME: &'static str = "list_network_rules";
    const SUMMARY: &'static str = "See which hosts may be reached, by whom.";
    const ACCESS: Access = Access::Read;
    const ROUTES: &'static [Route] = &[Route::get("/network/rules")];
    const BODY_IDENTITY: BodyIdentity = BodyIdentity::None;
    const IS_TOOL: bool = false;

    async fn run(context: &Context<'_>, _: ListRequest) -> Result<ListAnswer, Failure> {
        let rules = context.coordinator.network_documents(context.project).await?;
        let views = rules.iter().filter_map(|rule| {
            let document = Document::read(rule.body.as_deref()?).unwrap_or_default();
            Some(DocumentView {
                profile: rule.name.strip_prefix(OF_PROFILE).map(str::to_owned),
                allow: document.allow,
                deny: document.deny,
                default: document.default,
                version: rule.version,
                author: rule.author.to_string(),
                created_at: rule.created_at,
            })
        });
        Ok(ListAnswer {
            rules: views.collect(),
            default: context.coordinator.settings().network_default,
            profile: profile_of(&context.caller).to_owned(),
        })
    }
}

/// Changes the rules.
pub struct ChangeNetworkRules;

/// What to change of them.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ChangeRequest {
    /// Hosts: host, *.host (below it), **.host (with it), *; perhaps with a port
    #[schemars(length(max = 1000))]
    #[serde(default)]
    allow: Vec<String>,
    #[schemars(length(max = 1000))]
    #[serde(default)]
    deny: Vec<String>,
    /// Rules that go, whether they allow or deny
    #[schemars(length(max = 1000))]
    #[serde(default)]
    remove: Vec<String>,
    /// For what no rule names: allow or deny
    #[schemars(with = "Option<String>", extend("enum" = ["allow", "deny"]))]
    default: Option<Answer>,
    /// Only for agents with this profile; default everybody
    #[schemars(length(min = 1, max = 200))]
    profile: Option<String>,
}

/// What they are now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChangeAnswer {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    allow: Vec<String>,
    deny: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    default: Option<Answer>,
    version: i64,
}

impl Operation for ChangeNetworkRules {
    type Request = ChangeRequest;
    type Answer = ChangeAnswer;
    const NAME: &'static str = "change_network_rules";
    const SUMMARY: &'static str = "Allow or deny hosts, for everybody or for a profile.";
    const ACCESS: Access = Access::Write;
    const LEVEL: Trust = Trust::Admin;
    const ROUTES: &'static [Route] = &[Route::post("/network/rules")];
    const ONE_OF: &'static [&'static [&'static str]] = &[&["allow", "deny", "remove", "default"]];
    const IS_TOOL: bool = false;
    const IS_IDEMPOTENT: bool = true;

    async fn run(context: &Context<'_>, request: ChangeRequest) -> Result<ChangeAnswer, Failure> {
        let [allow, deny, remove] = [("allow", &request.allow), ("deny", &request.deny), ("remove", &request.remove)]
            .map(|(field, rules)| {
                let read = rules.iter().map(|rule| network::Rule::parse(rule).map(|rule| rule.to_string()));
                read.collect::<Result<Vec<_>, _>>()
                    .map_err(|bad| Failure::field(field, without_secrets(&bad.to_string())))
            });
        let (allow, deny, remove) = (allow?, deny?, remove?);
        let name = document_of(request.profile.as_deref());
        for _ in 0..ATTEMPTS {
            let documents = context.coordinator.network_documents(context.project).await?;
            let there = documents.into_iter().find(|rule| rule.name == name);
            let version = there.as_ref().map_or(0, |rule| rule.version);
            let body = there.and_then(|rule| rule.body).unwrap_or_default();
            let mut document = Document::read(&body).unwrap_or_default();
            change(&mut document.allow, &allow, &[&deny, &remove]);
            change(&mut document.deny, &deny, &[&allow, &remove]);
            document.default = request.default.or(document.default);
            if document.allow.len() > RULES_LIMIT || document.deny.len() > RULES_LIMIT {
                return Err(Failure::field("allow", format!("there may be {RULES_LIMIT} rules of a kind")));
            }
            let body = toml::to_string(&document).map_err(|error| Failure::Internal(error.to_string()))?;
            let put = PutRule {
                kind: RuleKind::Network,
                name: name.clone(),
                body: Some(body),
                // A document that was removed has a version, too.
                expected_version: (version > 0).then_some(version),
            };
            match context.apply(Action::PutRule(put)).await? {
                Outcome::RulePut { version } => {
                    context.coordinator.rule_watch.forget(context.project);
                    let Document { allow, deny, default } = document;
                    return Ok(ChangeAnswer { success: true, profile: request.profile, allow, deny, default, version });
                }
                Outcome::Refused(Refusal::RuleChanged { .. }) => {}
                Outcome::Refused(refusal) => return Err(refusal.into()),
                other => return Err(Failure::unexpected(&other)),
            }
        }
        Err(Failure::Unavailable("others change the same rules all the time: try again in a moment".into()))
    }
}

/// Adds what is not there yet, after taking out what is to go: a rule is asked for once, and one way.
fn change(rules: &mut Vec<String>, added: &[String], gone: &[&[String]]) {
    rules.retain(|rule| !gone.iter().any(|gone| gone.contains(rule)));
    for rule in added {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
}
