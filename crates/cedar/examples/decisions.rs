//! How long 100,000 decisions with the default policies take: `cargo run --release -p cedar --example decisions`.

#![allow(clippy::unwrap_used, reason = "a measurement that fails has failed")]

use std::sync::Arc;
use std::time::Instant;

use cedar::{Engine, Schema};
use policy::{Action, Door, Principal, Profile, Resource, ResourceKind, Trust, Vouched};

fn main() {
    // As many operations as there are about.
    let names: Vec<&'static str> = (0..60).map(|n| &*format!("operation_{n}").leak()).collect();
    let actions: Vec<Action> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let level = Trust::ALL[at % 5];
            Action { name, level, reads: level == Trust::Untrusted, resource: ResourceKind::ALL[at % 5] }
        })
        .collect();
    let engine = Engine::new(Arc::new(Schema::of(&actions).unwrap()), &[]).unwrap();
    let profile = Profile::new("claude_code_cli", Trust::Elevated, "");
    let principal = Principal {
        agent_id: "claude-code@project-12ab",
        agent_type: "claude_code_cli",
        session_id: Some("0199"),
        profile: &profile,
        vouched: Vouched::For,
    };
    let mut times: Vec<u128> = (0..100_000)
        .map(|at| {
            let action = &actions[at % actions.len()];
            let began = Instant::now();
            let decision = engine.decide(
                &principal,
                action,
                Resource { kind: action.resource, id: "src/auth/login.rs" },
                Door::Mcp,
            );
            std::hint::black_box(decision);
            began.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100] as f64 / 1000.0;
    println!("{} policies: median {:.1} us, p99 {:.1} us", engine.len(), at(50), at(99));
}
