//! What an agent may do: by its profile, by the engine, and by limits that are counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coordinator::Coordinator;
use coordinator::failure::Failure;
use coordinator::identity::{Named, Principal};
use coordinator::operation::Door;
use coordinator::registry::{self, actions, find};
use coordinator::settings::{PolicyEngine, Settings};
use model::JsonText;
use model::command::{Action, Command};
use model::id::{AgentId, Caller};
use model::limits::Limits;
use model::rulebook::{PutRule, RuleKind};
use policy::{Profile, Resource, ResourceKind, Trust, Vouched, native};
use serde_json::{Value, json};
use store::memory::MemoryStore;
use store::{Clock, Store};
use uuid::Uuid;

use crate::support::*;

/// An agent of this type.
fn of_type(agent: &str, agent_type: &str) -> Caller {
    Caller { agent_type: agent_type.into(), ..caller(agent, None) }
}

fn person() -> Caller {
    of_type("pat", "human")
}

fn cedar() -> Arc<Coordinator> {
    coordinator_with(|settings| settings.policy.engine = PolicyEngine::Cedar)
}

/// Servers that share a database.
fn servers(count: usize, engine: PolicyEngine) -> (Arc<dyn Store>, Vec<Coordinator>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Clock::system()));
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings::load(|_| None, directory.path()).unwrap();
    settings.policy.engine = engine;
    let server = || Coordinator::new(store.clone(), settings.clone());
    (store.clone(), (0..count).map(|_| server()).collect())
}

async fn lock(coordinator: &Coordinator, who: &Caller, path: &str) -> Result<Value, Failure> {
    call(coordinator, who, "acquire_lock", json!({"file_path": path})).await
}

async fn put_policy(coordinator: &Coordinator, name: &str, text: &str) -> i64 {
    let answer = call(coordinator, &person(), "put_policy", json!({"name": name, "policy_text": text})).await;
    answer.unwrap()["version"].as_i64().unwrap()
}

fn refused(result: Result<Value, Failure>, code: &str) -> Value {
    let failure = result.unwrap_err();
    assert!(matches!(failure, Failure::Forbidden(_)), "{failure:?}");
    assert_eq!(failure.code(), code, "{}", failure.message());
    failure.body()
}

#[tokio::test]
async fn a_reviewer_reads_and_its_refusals_are_recorded() {
    let coordinator = coordinator();
    let reviewer = of_type("rita", "claude_code_web_reviewer");
    call(&coordinator, &reviewer, "check_locks", json!({})).await.unwrap();
    call(&coordinator, &reviewer, "heartbeat", json!({})).await.unwrap();
    let body = refused(lock(&coordinator, &reviewer, "a.rs").await, "operation_not_permitted");
    assert!(body["message"].as_str().unwrap().contains("claude_code_web_reviewer"), "{body}");
    assert_eq!(call(&coordinator, &reviewer, "check_locks", json!({})).await.unwrap(), json!([]));
    let row = trail(&coordinator).await.pop().unwrap();
    assert_eq!((row.operation.as_str(), row.success), ("acquire_lock", false));
    assert_eq!(row.error_message.as_deref(), Some("operation_not_permitted"));
    assert_eq!(row.parameters["file_path"], "a.rs");
}

#[tokio::test]
async fn what_an_agent_may_do_depends_on_its_trust() {
    let coordinator = coordinator();
    for trust in Trust::ALL {
        let who = of_type(&format!("t{}", trust.level()), &format!("type{}", trust.level()));
        let (name, body) = (format!("p{}", trust.level()), format!("trust_level = {}", trust.level()));
        call(&coordinator, &person(), "put_profile", json!({"name": name, "body": body})).await.unwrap();
        let assign = json!({"to": format!("type:type{}", trust.level()), "profile": name});
        call(&coordinator, &person(), "assign_profile", assign).await.unwrap();
        call(&coordinator, &who, "list_tasks", json!({})).await.unwrap();
        let said = call(&coordinator, &who, "remember", json!({"event_type": "error", "summary": "x"})).await;
        assert_eq!(said.is_ok(), trust >= Trust::Limited, "{trust}");
        let taken = lock(&coordinator, &who, &format!("{}.rs", trust.level())).await;
        assert_eq!(taken.is_ok(), trust >= Trust::Standard, "{trust}");
        let changed = call(&coordinator, &who, "put_profile", json!({"name": "mine", "body": "trust_level = 4"})).await;
        assert_eq!(changed.is_ok(), trust == Trust::Admin, "{trust}");
        if trust < Trust::Admin {
            let body = refused(changed, "insufficient_trust_level");
            assert_eq!((&body["required"], &body["actual"]), (&json!(4), &json!(trust.level())));
        }
        let mine = call(&coordinator, &who, "get_my_profile", json!({})).await.unwrap();
        assert_eq!((&mine["source"], &mine["profile"]["trust_level"]), (&json!("assignment"), &json!(trust.level())));
    }
}

/// The native engine, and Cedar by the policies that are there from the start.
#[test]
fn cedar_decides_as_the_native_engine_does() {
    let schema = Arc::new(cedar::Schema::of(&actions()).unwrap());
    let engine = cedar::Engine::new(schema, &[]).unwrap();
    let mut cases = 0;
    for action in actions() {
        for profile in
            Trust::ALL.map(|trust| Profile::new("p", trust, "")).into_iter().chain(policy::profile::preconfigured())
        {
            for vouched in [Vouched::For, Vouched::ByNobody] {
                for kind in ResourceKind::ALL {
                    for (session_id, door) in [(None, Door::Mcp), (Some("s"), Door::Http), (None, Door::Cli)] {
                        let principal = policy::Principal {
                            agent_id: "it's \"ann\"",
                            agent_type: &profile.name,
                            session_id,
                            profile: &profile,
                            vouched,
                        };
                        let by_cedar = engine.decide(&principal, &action, Resource { kind, id: "src/a.rs" }, door);
                        let by_native = native::decide(&principal, &action);
                        assert_eq!(by_cedar.code, by_native.code, "{} {} {kind:?}", action.name, profile.name);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert!(cases > 10_000, "{cases}");
}

#[test]
fn every_operation_is_in_the_schema() {
    let schema = cedar::Schema::of(&actions()).unwrap();
    for entry in registry::operations() {
        assert!(schema.text().contains(&format!("action \"{}\" in ", entry.name)), "{}", entry.name);
    }
    let without = schema.text().lines().filter(|line| !line.starts_with("action \"acquire_lock\"")).collect::<Vec<_>>();
    let error = cedar::Schema::read(without.join("\n"), &actions()).err().unwrap();
    assert!(error.to_string().contains("acquire_lock"), "{error}");
}

#[tokio::test]
async fn own_policies_narrow_and_widen() {
    let coordinator = cedar();
    let agent = of_type("ann", "claude_code_cli");
    lock(&coordinator, &agent, "infra/main.tf").await.unwrap();
    call(&coordinator, &agent, "release_lock", json!({"file_path": "infra/main.tf"})).await.unwrap();
    let text = "forbid (principal, action == Action::\"acquire_lock\", resource is Key)\n\
                when { resource.id like \"infra/*\" };";
    put_policy(&coordinator, "infra", text).await;
    for path in ["infra/main.tf", "./infra//main.tf", "src/../infra/main.tf"] {
        let body = refused(lock(&coordinator, &agent, path).await, "operation_not_permitted");
        assert_eq!(body["policies"], json!(["infra"]), "{path}");
    }
    let both = call(&coordinator, &agent, "acquire_lock", json!({"file_paths": ["src/a.rs", "infra/x"]})).await;
    refused(both, "operation_not_permitted");
    lock(&coordinator, &agent, "src/a.rs").await.unwrap();

    let lead = of_type("lead", "cloud_agent");
    let draft = json!({"name": "mine", "body": "trust_level = 1"});
    refused(call(&coordinator, &lead, "put_profile", draft.clone()).await, "insufficient_trust_level");
    put_policy(
        &coordinator,
        "lead",
        "permit (principal == Agent::\"lead\", action == Action::\"put_profile\", resource);",
    )
    .await;
    call(&coordinator, &lead, "put_profile", draft).await.unwrap();
    // Not what the profile's lists leave out.
    let reviewer = of_type("rita", "claude_code_web_reviewer");
    put_policy(&coordinator, "rita", "permit (principal == Agent::\"rita\", action, resource);").await;
    refused(lock(&coordinator, &reviewer, "b.rs").await, "operation_not_permitted");
}

#[tokio::test]
async fn a_decision_is_explained() {
    let coordinator = cedar();
    put_policy(&coordinator, "calm", "@id(\"night\") forbid (principal, action == Action::\"submit_work\", resource);")
        .await;
    let ask =
        async |arguments| call(&coordinator, &of_type("ann", "codex_cli"), "check_policy", arguments).await.unwrap();
    let answer = ask(json!({"operation": "submit_work"})).await;
    assert_eq!((&answer["allowed"], &answer["engine"]), (&json!(false), &json!("cedar")));
    assert_eq!(answer["diagnostics"]["policies"][0]["id"], "calm/night");
    assert!(answer["diagnostics"]["policies"][0]["text"].as_str().unwrap().contains("forbid"));
    assert_eq!(answer["diagnostics"]["error"], "operation_not_permitted");
    let answer = ask(json!({"operation": "get_work"})).await;
    assert_eq!(
        (&answer["allowed"], &answer["diagnostics"]["policies"][0]["id"]),
        (&json!(true), &json!("default/standard"))
    );
    let another = ask(json!({"operation": "get_work", "context": {"agent_type": "claude_code_web_reviewer"}})).await;
    assert_eq!(another["allowed"], false);
    let unknown = ask(json!({"operation": "fly"})).await;
    assert_eq!((&unknown["allowed"], &unknown["diagnostics"]["error"]), (&json!(false), &json!("unknown_operation")));
    assert_eq!(ask(json!({"operation": "help"})).await["allowed"], true);
    let rows = trail(&coordinator).await;
    assert!(rows.iter().all(|row| row.operation == "put_policy"), "to ask leaves no trace: {rows:?}");
}

#[tokio::test]
async fn mistakes_are_told_by_line_and_column() {
    let coordinator = coordinator();
    let validate = async |text: &str| {
        call(&coordinator, &person(), "validate_cedar_policy", json!({"policy_text": text})).await.unwrap()
    };
    assert_eq!(validate("permit (principal, action, resource);").await, json!({"valid": true, "errors": []}));
    for (text, line, column, expected) in [
        ("permit (principal, action, resource)\n  when { oops", 2, 14, "unexpected"),
        (
            "permit (principal, action, resource);\npermit (principal, action == Action::\"fly\", resource);",
            2,
            30,
            "fly",
        ),
        ("permit (principal, action, resource) when { principal.trust == \"2\" };", 1, 45, "types"),
        ("permit (principal, action, resource) when { principal.height > 2 };", 1, 45, "height"),
        ("permit (principal == ?principal, action, resource);", 1, 1, "template"),
        ("permit (principal, action, resource) when { 1 };", 1, 45, "type"),
    ] {
        let answer = validate(text).await;
        assert_eq!(answer["valid"], false, "{text}");
        let error = &answer["errors"][0];
        assert_eq!((&error["line"], &error["column"]), (&json!(line), &json!(column)), "{text}: {error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{text}: {error}");
        let put = call(&coordinator, &person(), "put_policy", json!({"name": "p", "policy_text": text})).await;
        assert_eq!(put.unwrap_err().code(), "invalid_rule");
    }
    let version = coordinator.store().rules_version(coordinator.default_project()).await.unwrap();
    assert_eq!(version, 0, "nothing was put");
    let bad = json!({"name": "p", "body": "trust_level = 2\nmax_fil = 1"});
    let failure = call(&coordinator, &person(), "put_profile", bad).await.unwrap_err();
    assert!(failure.message().contains("line 2, column 1"), "{}", failure.message());
    let unknown = json!({"name": "p", "body": "trust_level = 2\nblocked_operations = [\"fly\"]"});
    let failure = call(&coordinator, &person(), "put_profile", unknown).await.unwrap_err();
    assert!(failure.message().contains("fly"), "{}", failure.message());
}

#[tokio::test]
async fn a_change_is_live_in_every_server_within_two_seconds() {
    for engine in [PolicyEngine::Native, PolicyEngine::Cedar] {
        let (_, servers) = servers(2, engine);
        let [a, b] = &servers[..] else { unreachable!() };
        let agent = of_type("ann", "codex_cli");
        lock(a, &agent, "a.rs").await.unwrap();
        lock(b, &agent, "a.rs").await.unwrap();
        match engine {
            PolicyEngine::Cedar => {
                put_policy(a, "no", "forbid (principal, action == Action::\"acquire_lock\", resource);").await;
            }
            PolicyEngine::Native => {
                let assign = json!({"to": "agent:ann", "profile": "claude_code_web_reviewer"});
                call(a, &person(), "assign_profile", assign).await.unwrap();
            }
        }
        let put = Instant::now();
        refused(lock(a, &agent, "a.rs").await, "operation_not_permitted");
        while lock(b, &agent, "a.rs").await.is_ok() {
            assert!(put.elapsed() < Duration::from_secs(2), "{engine:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        refused(lock(b, &agent, "a.rs").await, "operation_not_permitted");
    }
}

/// As if by a program that does not know what makes a good rule.
async fn put_unread(store: &dyn Store, coordinator: &Coordinator, kind: RuleKind, name: &str, body: &str) {
    let put = PutRule { kind, name: name.into(), body: Some(body.into()), expected_version: None };
    let command = Command {
        id: Uuid::now_v7(),
        caller: person(),
        operation: "put_policy".into(),
        parameters: JsonText::new(&json!({})),
        duration_ms: 0,
        limits: Limits::NONE,
        approval: None,
        action: Action::PutRule(put),
    };
    store.apply(coordinator.default_project(), &[command]).await.unwrap();
}

#[tokio::test]
async fn of_a_broken_rule_the_last_good_version_stays() {
    let (store, servers) = servers(2, PolicyEngine::Cedar);
    let agent = of_type("ann", "codex_cli");
    put_policy(&servers[0], "no", "forbid (principal, action == Action::\"acquire_lock\", resource);").await;
    put_unread(&*store, &servers[0], RuleKind::Policy, "no", "permit (").await;
    // Also in a server that has never seen the good one.
    refused(lock(&servers[1], &agent, "a.rs").await, "operation_not_permitted");
    assert!(servers[1].has_broken_rules());
    let rules = servers[1].rules(servers[1].default_project()).await.unwrap();
    assert_eq!(rules.problems.len(), 1);
    assert!(rules.problems[0].in_words().contains("version 1 stays in force"), "{}", rules.problems[0].in_words());
    call(&servers[1], &agent, "submit_work", json!({"task_type": "t", "description": "d"})).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_never_could_be_read_closes_all_but_the_way_back() {
    let (store, servers) = servers(1, PolicyEngine::Cedar);
    put_unread(&*store, &servers[0], RuleKind::Policy, "oops", "permit (").await;
    let agent = of_type("ann", "codex_cli");
    refused(lock(&servers[0], &agent, "a.rs").await, "operation_not_permitted");
    refused(call(&servers[0], &agent, "check_locks", json!({})).await, "operation_not_permitted");
    put_policy(&servers[0], "oops", "permit (principal, action in Action::\"reads\", resource);").await;
    lock(&servers[0], &agent, "a.rs").await.unwrap();
    assert!(!servers[0].has_broken_rules());
}

#[tokio::test]
async fn a_profile_that_cannot_be_read_trusts_nobody() {
    let (store, servers) = servers(1, PolicyEngine::Native);
    put_unread(&*store, &servers[0], RuleKind::Profile, "codex_cli", "trust_level = lots").await;
    let agent = of_type("ann", "codex_cli");
    refused(lock(&servers[0], &agent, "a.rs").await, "insufficient_trust_level");
    call(&servers[0], &agent, "check_locks", json!({})).await.unwrap();
}

#[tokio::test]
async fn limits_count_and_say_what_is_left() {
    let small = "trust_level = 2\nmax_file_modifications = 2";
    for enforce in [true, false] {
        let coordinator = coordinator_with(|settings| settings.policy.enforce_limits = enforce);
        call(&coordinator, &person(), "put_profile", json!({"name": "small", "body": small})).await.unwrap();
        call(&coordinator, &person(), "assign_profile", json!({"to": "agent:ann", "profile": "small"})).await.unwrap();
        let ann = caller("ann", Some("s"));
        lock(&coordinator, &ann, "a.rs").await.unwrap();
        let asked = call(&coordinator, &ann, "acquire_lock", json!({"file_paths": ["b.rs", "c.rs"]})).await;
        if enforce {
            let body = refused(asked, "resource_limit_exceeded");
            let told = (&body["limit"], &body["allowed"], &body["used"], &body["left"]);
            assert_eq!(told, (&json!("max_file_modifications"), &json!(2), &json!(1), &json!(1)));
        } else {
            asked.unwrap();
        }
    }
}

#[tokio::test]
async fn nobody_becomes_an_admin_by_saying_so() {
    let coordinator = coordinator();
    let put = find("put_profile").unwrap();
    let ask = async |principal: Principal, agent: &str, agent_type: &str| {
        let body = json!({"agent_id": agent, "agent_type": agent_type, "name": "p", "body": "trust_level = 4"});
        coordinator.call_as(put, coordinator.default_project(), &principal, body).await
    };
    let body = refused(ask(Principal::default(), "pat", "human").await, "insufficient_trust_level");
    assert_eq!(body["actual"], 3);
    call(&coordinator, &person(), "assign_profile", json!({"to": "agent:boss", "profile": "human"})).await.unwrap();
    let of_type = Principal { agent_type: Some("codex_cli".into()), ..Principal::default() };
    refused(ask(of_type, "boss", "codex_cli").await, "insufficient_trust_level");
    let boss = Principal { agent_id: AgentId::new("boss").ok(), ..Principal::default() };
    ask(boss.clone(), "boss", "whatever").await.unwrap();
    let human = Principal { agent_type: Some("human".into()), ..Principal::default() };
    ask(human, "anybody", "human").await.unwrap();
    // The same by a tool call.
    let named = Named { agent_id: AgentId::new("pat").ok(), agent_type: Some("human".into()), session_id: None };
    let tool = json!({"name": "p", "body": "trust_level = 4"});
    let project = coordinator.default_project();
    let answer = coordinator.call_tool_as(put, project, &Principal::default(), &named, tool).await;
    refused(answer, "insufficient_trust_level");
}

#[tokio::test]
async fn people_are_not_locked_out() {
    let coordinator = coordinator();
    let lower = json!({"name": "human", "body": "trust_level = 3"});
    assert_eq!(call(&coordinator, &person(), "put_profile", lower).await.unwrap_err().code(), "would_lock_people_out");
    let assign = json!({"to": "type:human", "profile": "codex_cli"});
    assert_eq!(
        call(&coordinator, &person(), "assign_profile", assign).await.unwrap_err().code(),
        "would_lock_people_out"
    );
}

#[tokio::test]
async fn an_older_version_is_put_in_force_again() {
    let coordinator = cedar();
    let agent = of_type("ann", "codex_cli");
    let first = put_policy(&coordinator, "p", "forbid (principal, action == Action::\"get_work\", resource);").await;
    let second =
        put_policy(&coordinator, "p", "forbid (principal, action == Action::\"acquire_lock\", resource);").await;
    let stale = json!({"name": "p", "policy_text": "permit (principal, action, resource);", "expected_version": first});
    assert_eq!(call(&coordinator, &person(), "put_policy", stale).await.unwrap_err().code(), "rule_changed");
    refused(lock(&coordinator, &agent, "a.rs").await, "operation_not_permitted");
    let back = json!({"kind": "policy", "name": "p", "version": first});
    call(&coordinator, &person(), "roll_back_rule", back).await.unwrap();
    lock(&coordinator, &agent, "a.rs").await.unwrap();
    let history = call(&coordinator, &agent, "rule_history", json!({"kind": "policy", "name": "p"})).await.unwrap();
    let versions: Vec<i64> =
        history["versions"].as_array().unwrap().iter().map(|v| v["version"].as_i64().unwrap()).collect();
    assert_eq!(versions.len(), 3);
    assert_eq!(versions[1..], [second, first]);
    assert_eq!(history["versions"][0]["author"], "pat");
    let none = json!({"kind": "policy", "name": "p", "version": 99});
    assert_eq!(call(&coordinator, &person(), "roll_back_rule", none).await.unwrap_err().code(), "rule_not_found");
    call(&coordinator, &person(), "put_policy", json!({"name": "p"})).await.unwrap();
    call(&coordinator, &agent, "get_work", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_draft_is_tried_out_on_what_was_done() {
    let coordinator = coordinator();
    let agent = of_type("ann", "codex_cli");
    for path in ["infra/a", "src/b", "infra/c"] {
        lock(&coordinator, &agent, path).await.unwrap();
    }
    refused(lock(&coordinator, &of_type("rita", "claude_code_web_reviewer"), "x").await, "operation_not_permitted");
    let text = "forbid (principal, action == Action::\"acquire_lock\", resource is Key) when { resource.id like \"infra/*\" };";
    let answer = call(&coordinator, &agent, "replay_policy", json!({"policy_text": text})).await.unwrap();
    assert_eq!(answer["examined"], 4, "{answer}");
    let changed: Vec<_> =
        answer["changed"].as_array().unwrap().iter().map(|c| c["resource"].as_str().unwrap()).collect();
    assert_eq!(changed, ["infra/c", "infra/a"]);
    assert_eq!(answer["changed"][0]["would_be_allowed"], false);
    assert_eq!(trail(&coordinator).await.len(), 4, "nothing was done");
}

#[tokio::test]
async fn a_draft_that_is_no_policy_is_refused() {
    let coordinator = coordinator();
    let answer = call(&coordinator, &person(), "replay_policy", json!({"policy_text": "permit"})).await.unwrap();
    assert_eq!((&answer["success"], &answer["errors"][0]["line"]), (&json!(false), &json!(1)), "{answer}");
}
