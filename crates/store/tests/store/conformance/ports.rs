//! Blocks of ports: one for a session, none twice, in whatever project.

use jiff::Timestamp;
use model::command::{AllocatePorts, Outcome};
use model::id::Caller;
use model::ports::PortBlock;

use crate::harness::*;

cases!(
    a_session_gets_the_first_free_block_and_keeps_it,
    a_block_is_a_lease,
    a_released_block_is_free_again,
    no_two_blocks_share_a_port,
    when_all_is_taken_there_is_none,
    ports_are_the_machine_s_and_not_a_project_s,
    a_block_outlives_the_agent_s_session,
    what_is_done_to_ports_is_recorded,
);

/// The first port, and whether the session had it.
#[track_caller]
fn allocated(outcome: Outcome) -> (u16, bool) {
    match outcome {
        Outcome::PortsAllocated { first_port, refreshed, .. } => (first_port, refreshed),
        other => panic!("no ports: {other:?}"),
    }
}

async fn listed(world: &World) -> Vec<PortBlock> {
    let (blocks, now) = world.store.port_blocks().await.unwrap();
    assert_eq!(now, world.now());
    blocks
}

/// `session first-port`, lowest first.
async fn taken(world: &World) -> Vec<String> {
    listed(world).await.iter().map(|b| format!("{} {}", b.session_id, b.first_port)).collect()
}

fn ann() -> Caller {
    agent("ann")
}

async fn a_session_gets_the_first_free_block_and_keeps_it(world: &World) {
    let (both, began) = (&[20, 10][..], world.now());
    assert_eq!(allocated(world.run(&ann(), ports("s1", both)).await), (20, false), "in the order of preference");
    assert_eq!(allocated(world.run(&ann(), ports("s2", both)).await), (10, false));
    world.pass(seconds(5)).await;
    // By another agent, with other candidates, or none: its own services may listen on its ports by now.
    assert_eq!(allocated(world.run(&agent("bob"), ports("s1", &[30])).await), (20, true));
    assert_eq!(allocated(world.run(&ann(), ports("s2", &[])).await), (10, true));
    let first = listed(world).await.pop().unwrap();
    let expected = PortBlock {
        project: world.project.clone(),
        session_id: "s1".to_owned().try_into().unwrap(),
        agent_id: agent("bob").agent_id,
        first_port: 20,
        allocated_at: began,
        expires_at: world.now() + seconds(600),
    };
    assert_eq!(first, expected);
}

async fn a_block_is_a_lease(world: &World) {
    let end = |outcome| match outcome {
        Outcome::PortsAllocated { expires_at, .. } => expires_at,
        other => panic!("no ports: {other:?}"),
    };
    let first: Timestamp = end(world.run(&ann(), ports("s1", &[10])).await);
    assert_eq!(first, world.now() + seconds(600));
    world.pass(seconds(300)).await;
    let second = end(world.run(&ann(), AllocatePorts { ttl_seconds: 400, ..ports("s1", &[]) }).await);
    assert_eq!(second, world.now() + seconds(400));
    world.set(second - MOMENT).await;
    same(taken(world).await, &["s1 10"]);
    assert_eq!(world.run(&ann(), ports("s2", &[10])).await, Outcome::NoPorts);
    world.set(second).await;
    assert_eq!(listed(world).await, [], "over, though nobody came");
    assert_eq!(allocated(world.run(&ann(), ports("s2", &[10])).await), (10, false));
    assert_eq!(world.run(&ann(), ports("s1", &[10])).await, Outcome::NoPorts, "it has no right to its old one");
}

async fn a_released_block_is_free_again(world: &World) {
    world.run(&ann(), ports("s1", &[10])).await;
    assert_eq!(world.run(&agent("bob"), release_ports("s1")).await, Outcome::PortsReleased { released: true });
    assert_eq!(listed(world).await, []);
    assert_eq!(world.run(&ann(), release_ports("s1")).await, Outcome::PortsReleased { released: false });
    world.run(&ann(), ports("s2", &[10])).await;
    world.pass(seconds(600)).await;
    assert_eq!(world.run(&ann(), release_ports("s2")).await, Outcome::PortsReleased { released: false }, "it ended");
}

async fn no_two_blocks_share_a_port(world: &World) {
    world.run(&ann(), ports("s1", &[100])).await;
    // Servers that were set up differently propose blocks that begin elsewhere.
    for (near, expected) in [(96, true), (97, false), (99, false), (101, false), (103, false), (104, true)] {
        let outcome = world.run(&ann(), ports("s2", &[near])).await;
        assert_eq!(outcome.is_success(), expected, "{near}");
        world.run(&ann(), release_ports("s2")).await;
    }
    assert_eq!(allocated(world.run(&ann(), ports("s3", &[101, 65_532])).await), (65_532, false));
}

async fn when_all_is_taken_there_is_none(world: &World) {
    let commands = ["s1", "s2", "s3", "s1"].map(|session| command(&ann(), ports(session, &[10, 20])));
    let outcomes = world.all(&commands).await;
    assert_eq!(outcomes[2], Outcome::NoPorts);
    assert_eq!((outcomes[2].code(), outcomes[2].is_success()), (Some("no_ports_available"), false));
    assert_eq!(allocated(outcomes[3].clone()), (10, true));
    same(taken(world).await, &["s1 10", "s2 20"]);
}

async fn ports_are_the_machine_s_and_not_a_project_s(world: &World) {
    let other = world.in_project("field");
    assert_eq!(allocated(world.run(&ann(), ports("s1", &[10, 20])).await), (10, false));
    assert_eq!(allocated(other.run(&ann(), ports("s1", &[10, 20])).await), (20, false), "another session of that name");
    assert_eq!(world.run(&ann(), ports("s2", &[10, 20])).await, Outcome::NoPorts);
    assert_eq!(world.run(&ann(), release_ports("s1")).await, Outcome::PortsReleased { released: true });
    assert_eq!(allocated(other.run(&ann(), ports("s1", &[10])).await), (20, true), "not theirs to release");
    // What another project's session lost can be had, though nothing of that project was touched since.
    other.pass(seconds(600)).await;
    assert_eq!(allocated(world.run(&ann(), ports("s2", &[20])).await), (20, false));
    let blocks = listed(world).await;
    assert_eq!(blocks.iter().map(|b| &b.project).collect::<Vec<_>>(), [&world.project]);
}

async fn a_block_outlives_the_agent_s_session(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, register(&[])).await;
    world.run(&ann, ports("s1", &[10])).await;
    world.pass(seconds(301)).await;
    same(taken(world).await, &["s1 10"]);
    assert_eq!(refused(world.run(&ann, ports("s1", &[10])).await).code(), "session_expired", "the caller is gone");
    assert_eq!(allocated(world.run(&agent("ann"), ports("s1", &[])).await), (10, true), "its ports are not");
}

async fn what_is_done_to_ports_is_recorded(world: &World) {
    world.run(&ann(), ports("s1", &[10])).await;
    world.run(&ann(), ports("s2", &[10])).await;
    world.run(&ann(), release_ports("s1")).await;
    let filter = model::audit::AuditFilter { limit: 10, ..Default::default() };
    let trail = world.store.audit(&world.project, &filter).await.unwrap();
    let told: Vec<_> = trail.iter().map(|e| (e.result["kind"].as_str().unwrap(), e.error_message.as_deref())).collect();
    assert_eq!(
        told,
        [("ports_released", None), ("no_ports", Some("no_ports_available")), ("ports_allocated", None)],
        "{trail:?}"
    );
    assert_eq!(trail[2].result["first_port"], 10);
}
