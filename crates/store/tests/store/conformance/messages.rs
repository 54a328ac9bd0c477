//! Messages: whom they reach is settled when they are sent, and each is read once.

use model::command::{Action, Freed, Outcome, ReadMessages, Refusal, SendMessage};
use model::id::{AgentId, Caller};
use model::messages::{Audience, Message, MessageFilter};
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_message_is_kept_with_all_its_fields,
    a_message_waits_for_an_agent_that_is_not_there,
    a_message_to_all_reaches_who_is_connected_but_the_sender,
    a_message_to_a_capability_reaches_who_has_it,
    a_message_to_nobody_is_refused,
    each_message_is_read_once_and_oldest_first,
    messages_are_listed_by_thread_and_sender,
    the_trail_has_what_was_read_by_its_ids,
    projects_do_not_see_each_other_s_messages,
    an_ended_session_frees_what_it_held,
);

fn to(agent: &str) -> Audience {
    Audience::Agent(AgentId::new(agent).unwrap())
}

async fn read(world: &World, who: &Caller, limit: u32) -> Vec<Message> {
    match world.run(who, Action::ReadMessages(ReadMessages { limit })).await {
        Outcome::MessagesRead { messages } => messages,
        other => panic!("{other:?}"),
    }
}

async fn texts(world: &World, who: &Caller) -> Vec<String> {
    read(world, who, 50).await.into_iter().map(|message| message.text).collect()
}

async fn send(world: &World, who: &Caller, audience: Audience, text: &str) -> Vec<String> {
    match world.run(who, Action::SendMessage(message(audience, text))).await {
        Outcome::MessageSent { recipients, .. } => recipients.into_iter().map(String::from).collect(),
        other => panic!("{other:?}"),
    }
}

async fn a_message_is_kept_with_all_its_fields(world: &World) {
    let (ann, id) = (agent_in("ann", "s1"), Uuid::from_u128(9));
    let text = "it's \"yours\" – ünï\n\u{1f980}'); drop table messages; --";
    let sent = SendMessage {
        message_id: id,
        audience: Audience::Agent(AgentId::new("bob").unwrap()),
        thread: Some("src/a.rs".into()),
        text: text.into(),
    };
    let before = world.add(task()).await;
    assert!(world.run(&ann, Action::SendMessage(sent)).await.is_success());
    let expected = Message {
        message_id: id,
        seq: world.task(before).await.seq + 1,
        agent_id: ann.agent_id.clone(),
        agent_type: ann.agent_type.clone(),
        session_id: ann.session_id.clone(),
        audience: to("bob"),
        thread: Some("src/a.rs".into()),
        text: text.into(),
        created_at: world.now(),
    };
    let bob = AgentId::new("bob").unwrap();
    assert_eq!(world.store.unread_messages(&world.project, &bob, 5).await.unwrap(), [expected.clone()]);
    assert_eq!(read(world, &agent("bob"), 5).await, [expected]);
}

async fn a_message_waits_for_an_agent_that_is_not_there(world: &World) {
    assert_eq!(send(world, &agent("ann"), to("nobody-yet"), "welcome").await, ["nobody-yet"]);
    assert_eq!(texts(world, &agent("nobody-yet")).await, ["welcome"]);
}

async fn a_message_to_all_reaches_who_is_connected_but_the_sender(world: &World) {
    for (name, session) in [("zoe", "s1"), ("ann", "s2"), ("bob", "s3"), ("bob", "s4")] {
        world.run(&agent_in(name, session), register(&[])).await;
    }
    assert_eq!(send(world, &agent("ann"), Audience::All, "hello").await, ["bob", "zoe"]);
    world.run(&agent_in("late", "s5"), register(&[])).await;
    assert_eq!(texts(world, &agent("late")).await, [""; 0], "it was sent before");
    assert_eq!(texts(world, &agent("ann")).await, [""; 0]);
    assert_eq!(texts(world, &agent("bob")).await, ["hello"]);
    assert_eq!(texts(world, &agent("zoe")).await, ["hello"]);
}

async fn a_message_to_a_capability_reaches_who_has_it(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&["rust"])).await;
    world.run(&agent_in("bob", "s2"), register(&["rust", "sql"])).await;
    world.run(&agent_in("zoe", "s3"), register(&["sql"])).await;
    assert_eq!(send(world, &agent("ann"), Audience::Capability("sql".into()), "a query").await, ["bob", "zoe"]);
    assert_eq!(send(world, &agent("bob"), Audience::Capability("rust".into()), "a lifetime").await, ["ann"]);
}

async fn a_message_to_nobody_is_refused(world: &World) {
    world.run(&agent_in("ann", "s1"), register(&["rust"])).await;
    for audience in [Audience::All, Audience::Capability("rust".into()), Audience::Capability("sql".into())] {
        let outcome = world.run(&agent("ann"), Action::SendMessage(message(audience, "hello?"))).await;
        assert_eq!(refused(outcome), Refusal::NoRecipients);
    }
    let all = MessageFilter { limit: 9, ..MessageFilter::default() };
    assert_eq!(world.store.messages(&world.project, &all).await.unwrap(), []);
}

async fn each_message_is_read_once_and_oldest_first(world: &World) {
    for text in ["1", "2", "3"] {
        send(world, &agent("ann"), to("bob"), text).await;
    }
    let first: Vec<String> = read(world, &agent("bob"), 2).await.into_iter().map(|m| m.text).collect();
    assert_eq!(first, ["1", "2"]);
    send(world, &agent("ann"), to("bob"), "4").await;
    assert_eq!(texts(world, &agent_in("bob", "another session")).await, ["3", "4"]);
    assert_eq!(texts(world, &agent("bob")).await, [""; 0]);
}

async fn messages_are_listed_by_thread_and_sender(world: &World) {
    for (from, thread, text) in
        [("ann", Some("a"), "1"), ("bob", Some("a"), "2"), ("ann", None, "3"), ("ann", Some("a"), "4")]
    {
        let sent = SendMessage { thread: thread.map(Into::into), ..message(to("zoe"), text) };
        world.run(&agent(from), Action::SendMessage(sent)).await;
    }
    texts(world, &agent("zoe")).await;
    let listed = async |thread: Option<&str>, sender: Option<&str>, limit| {
        let sender = sender.map(|name| AgentId::new(name).unwrap());
        let filter = MessageFilter { thread: thread.map(Into::into), sender, limit };
        let messages = world.store.messages(&world.project, &filter).await.unwrap();
        messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 9).await, ["4", "3", "2", "1"]);
    assert_eq!(listed(None, None, 2).await, ["4", "3"]);
    assert_eq!(listed(Some("a"), None, 9).await, ["4", "2", "1"]);
    assert_eq!(listed(Some("a"), Some("ann"), 9).await, ["4", "1"]);
}

async fn the_trail_has_what_was_read_by_its_ids(world: &World) {
    send(world, &agent("ann"), to("bob"), "a long story").await;
    let id = read(world, &agent("bob"), 5).await[0].message_id;
    let trail = world.store.audit_after(&world.project, 1, 10).await.unwrap();
    assert_eq!(trail[0].operation, "read_messages");
    assert_eq!(trail[0].result, serde_json::json!({"kind": "messages_read", "message_ids": [id]}));
}

async fn projects_do_not_see_each_other_s_messages(world: &World) {
    let other = world.in_project("other");
    send(world, &agent("ann"), to("bob"), "house").await;
    send(&other, &agent("ann"), to("bob"), "field").await;
    assert_eq!(texts(world, &agent("bob")).await, ["house"]);
    assert_eq!(texts(&other, &agent("bob")).await, ["field"]);
}

async fn an_ended_session_frees_what_it_held(world: &World) {
    let ann = agent_in("ann", "s1");
    let unknown = world.run(&ann, Action::EndSession).await;
    assert_eq!(refused(unknown), Refusal::SessionNotFound);
    world.run(&ann, register(&[])).await;
    world.take(&ann, "src/a.rs").await;
    world.take(&agent("ann"), "src/kept.rs").await;
    let id = world.add(task()).await;
    world.claims(&ann, id).await;
    let ended = world.run(&ann, Action::EndSession).await;
    assert_eq!(ended, Outcome::SessionEnded { freed: Freed { sessions: 1, locks: 1, tasks: 1 } });
    assert_eq!(world.held().await, ["ann src/kept.rs"]);
    let again = world.run(&ann, Action::EndSession).await;
    assert!(matches!(refused(again), Refusal::SessionExpired { .. }));
}
