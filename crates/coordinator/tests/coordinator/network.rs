//! The network: answered by everybody's rules and the profile's, and on record either way.

use model::id::Caller;
use network::Access;
use serde_json::{Value, json};

use crate::support::{call, caller, coordinator, coordinator_with, trail};

/// Whoever may change rules.
fn boss() -> Caller {
    Caller { agent_type: "human".into(), ..caller("boss", None) }
}

async fn check(coordinator: &coordinator::Coordinator, agent: &str, url: &str) -> Value {
    call(coordinator, &caller(agent, None), "check_network", json!({"url": url})).await.unwrap()
}

async fn change(coordinator: &coordinator::Coordinator, request: Value) -> Value {
    call(coordinator, &boss(), "change_network_rules", request).await.unwrap()
}

#[tokio::test]
async fn a_blocked_host_is_told_in_the_form_that_clients_know() {
    let coordinator = coordinator();
    let answer = check(&coordinator, "anna", "https://Example.com./x").await;
    let expected = json!({"success": false, "error": "domain_blocked", "domain": "example.com", "allowed": false, "policy": "default"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&answer[field], value, "{answer}");
    }
    change(&coordinator, json!({"allow": ["EXAMPLE.com"]})).await;
    let answer = check(&coordinator, "anna", "https://Example.com./x").await;
    assert_eq!((&answer["success"], &answer["policy"]), (&json!(true), &json!("allow_rule: example.com")));
    let rows = trail(&coordinator).await;
    let seen: Vec<_> = rows.iter().map(|row| (row.operation.as_str(), row.success)).collect();
    assert_eq!(seen, [("check_network", false), ("change_network_rules", true), ("check_network", true)]);
    assert_eq!((&rows[2].result["domain"], &rows[2].result["port"]), (&json!("example.com"), &json!(443)));
}

#[tokio::test]
async fn a_profiles_rules_come_on_top_of_everybodys() {
    let coordinator = coordinator_with(|settings| settings.network_default = Access::Allow);
    change(&coordinator, json!({"default": "deny", "allow": ["everybody.example"]})).await;
    let own = json!({"profile": "anna_type", "allow": ["own.example"], "deny": ["everybody.example"]});
    change(&coordinator, own).await;
    change(&coordinator, json!({"profile": "bert_type", "default": "allow"})).await;
    for (agent, host, allowed) in [
        ("anna", "own.example", true),
        ("anna", "everybody.example", false),
        ("anna", "other.example", false),
        ("bert", "own.example", true),
        ("bert", "everybody.example", true),
        ("carl", "own.example", false),
        ("carl", "everybody.example", true),
    ] {
        assert_eq!(check(&coordinator, agent, host).await["allowed"], allowed, "{agent} {host}");
    }
}

#[tokio::test]
async fn a_rule_holds_one_way_and_once() {
    let coordinator = coordinator();
    change(&coordinator, json!({"allow": ["a.example", "A.example", "b.example"]})).await;
    let answer = change(&coordinator, json!({"deny": ["a.example"]})).await;
    assert_eq!((&answer["allow"], &answer["deny"]), (&json!(["b.example"]), &json!(["a.example"])));
    let answer = change(&coordinator, json!({"allow": ["a.example"], "remove": ["b.example"]})).await;
    assert_eq!((&answer["allow"], &answer["deny"]), (&json!(["a.example"]), &json!([])));
    let wrong = json!({"allow": ["c.example", "*c.example"]});
    let failure = call(&coordinator, &boss(), "change_network_rules", wrong).await.unwrap_err();
    assert!(failure.message().contains("\"*c.example\""), "{failure:?}");
    let shown = call(&coordinator, &caller("anna", None), "list_network_rules", json!({})).await.unwrap();
    assert_eq!(shown["rules"][0]["allow"], json!(["a.example"]));
}

/// What stands before an @ is refused, and is not kept.
#[tokio::test]
async fn a_password_in_a_url_is_in_no_record() {
    let coordinator = coordinator();
    change(&coordinator, json!({"allow": ["*"]})).await;
    let answer = check(&coordinator, "anna", "https://me:hunter2@example.com/").await;
    assert_eq!((&answer["allowed"], &answer["policy"]), (&json!(false), &json!("malformed")));
    let rows = trail(&coordinator).await;
    assert!(!format!("{answer} {rows:?}").contains("hunter2"), "{rows:?}");
}

/// An agent cannot let itself out.
#[tokio::test]
async fn only_an_admin_changes_rules() {
    let coordinator = coordinator();
    let anna = caller("anna", None);
    let failure = call(&coordinator, &anna, "change_network_rules", json!({"allow": ["*"]})).await.unwrap_err();
    assert_eq!(failure.code(), "insufficient_trust_level");
    assert_eq!(check(&coordinator, "anna", "example.com").await["allowed"], false);
}
