//! Checks of the network: written down as they were judged, and nothing else.

use model::audit::AuditFilter;
use model::command::{Action, Outcome};
use model::network::NetworkCheck;
use serde_json::json;

use crate::harness::*;

cases!(a_check_is_on_record_whatever_its_answer, the_dead_are_told_so);

fn check(allowed: bool) -> NetworkCheck {
    NetworkCheck {
        domain: "it's.example".into(),
        port: Some(443),
        addresses: vec!["192.0.2.1".into()],
        allowed,
        policy: "allow_rule: *.example".into(),
        reason: "– \"because\"".into(),
    }
}

async fn a_check_is_on_record_whatever_its_answer(world: &World) {
    let ann = agent("ann");
    for allowed in [true, false] {
        let outcome = world.run(&ann, Action::CheckNetwork(check(allowed))).await;
        assert_eq!(outcome, Outcome::NetworkChecked(check(allowed)));
    }
    let filter = AuditFilter { limit: 10, ..AuditFilter::default() };
    let entries = world.store.audit(&world.project, &filter).await.unwrap();
    let seen: Vec<_> = entries.iter().map(|e| (e.success, e.error_message.as_deref())).collect();
    assert_eq!(seen, [(false, Some("domain_blocked")), (true, None)]);
    let expected = json!({
        "kind": "network_checked", "domain": "it's.example", "port": 443, "addresses": ["192.0.2.1"], "allowed": false,
        "policy": "allow_rule: *.example", "reason": "– \"because\"",
    });
    assert_eq!(entries[0].result, expected);
}

async fn the_dead_are_told_so(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.pass(seconds(86_400)).await;
    let refusal = refused(world.run(&ann, Action::CheckNetwork(check(true))).await);
    assert_eq!(refusal.code(), "session_expired");
}
