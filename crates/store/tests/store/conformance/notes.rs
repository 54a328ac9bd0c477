//! Notes: what an agent writes down for one session.

use model::JsonText;
use model::command::{Outcome, Refusal};
use model::id::Caller;
use model::working_memory::{NOTES_LIMIT, Note, NotesOwner, UpdateWorkingMemory};
use serde_json::json;

use crate::harness::*;

cases!(
    a_note_is_kept_to_the_letter,
    writing_it_again_makes_it_the_newest,
    a_note_is_forgotten,
    each_session_has_notes_of_its_own,
    the_oldest_that_is_not_pinned_makes_room,
    where_all_are_pinned_there_is_no_room,
);

fn write(key: &str, value: &str) -> UpdateWorkingMemory {
    UpdateWorkingMemory { key: key.into(), value: Some(JsonText::from_trusted(value.into())), pinned: None }
}

fn pinned(key: &str) -> UpdateWorkingMemory {
    UpdateWorkingMemory { pinned: Some(true), ..write(key, "1") }
}

fn owner(who: &Caller) -> NotesOwner {
    NotesOwner { agent_id: who.agent_id.clone(), session_id: who.session_id.clone() }
}

async fn notes(world: &World, who: &Caller) -> Vec<Note> {
    world.store.notes(&world.project, &owner(who), None).await.unwrap()
}

async fn keys(world: &World, who: &Caller) -> Vec<String> {
    notes(world, who).await.into_iter().map(|note| note.key).collect()
}

async fn a_note_is_kept_to_the_letter(world: &World) {
    let ann = agent_in("ann", "s1");
    let value = "{\"b\": 1.0, \"a\": [1e2, \"it's\"], \"b\": 2}";
    let outcome = world.run(&ann, write("plan \"x\"", value)).await;
    assert_eq!(outcome, Outcome::Noted { notes: 1, dropped: vec![] });
    let value = JsonText::from_trusted(value.into());
    let expected = Note { key: "plan \"x\"".into(), value, pinned: false, seq: 1, updated_at: world.now() };
    assert_eq!(notes(world, &ann).await, std::slice::from_ref(&expected));
    let only = async |key| world.store.notes(&world.project, &owner(&ann), Some(key)).await.unwrap();
    assert_eq!(only("plan \"x\"").await, [expected]);
    assert_eq!(only("plan").await, []);
}

async fn writing_it_again_makes_it_the_newest(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, pinned("a")).await;
    world.run(&ann, write("b", "2")).await;
    world.pass(seconds(1)).await;
    assert_eq!(world.run(&ann, write("a", "3")).await, Outcome::Noted { notes: 2, dropped: vec![] });
    let notes = notes(world, &ann).await;
    same(notes.iter().map(|note| &note.key), &["b", "a"]);
    assert_eq!((notes[1].value.value(), notes[1].pinned, notes[1].updated_at), (json!(3), true, world.now()));
    world.run(&ann, UpdateWorkingMemory { pinned: Some(false), ..write("a", "3") }).await;
    assert!(!self::notes(world, &ann).await[1].pinned);
}

async fn a_note_is_forgotten(world: &World) {
    let ann = agent_in("ann", "s1");
    world.run(&ann, write("a", "1")).await;
    world.run(&ann, write("b", "1")).await;
    let forget = |key: &str| UpdateWorkingMemory { value: None, ..write(key, "") };
    assert_eq!(world.run(&ann, forget("a")).await, Outcome::Noted { notes: 1, dropped: vec![] });
    assert_eq!(world.run(&ann, forget("a")).await, Outcome::Noted { notes: 1, dropped: vec![] });
    assert_eq!(keys(world, &ann).await, ["b"]);
}

async fn each_session_has_notes_of_its_own(world: &World) {
    let others = [agent_in("ann", "s1"), agent_in("ann", "s2"), agent_in("bob", "s1"), agent("ann")];
    for (number, who) in others.iter().enumerate() {
        world.run(who, write("a", &number.to_string())).await;
    }
    let elsewhere = world.in_project("field");
    for (number, who) in others.iter().enumerate() {
        let notes = notes(world, who).await;
        assert_eq!((notes.len(), notes[0].value.value()), (1, json!(number)));
        assert_eq!(keys(&elsewhere, who).await, [""; 0]);
    }
}

async fn fill(world: &World, who: &Caller, note: impl Fn(&str) -> UpdateWorkingMemory) {
    let notes: Vec<_> = (0..NOTES_LIMIT).map(|n| command(who, note(&format!("k{n}")))).collect();
    world.all(&notes).await;
}

async fn the_oldest_that_is_not_pinned_makes_room(world: &World) {
    let ann = agent_in("ann", "s1");
    fill(world, &ann, |key| if key == "k0" { pinned(key) } else { write(key, "1") }).await;
    let full = NOTES_LIMIT as u32;
    assert_eq!(world.run(&ann, write("k1", "2")).await, Outcome::Noted { notes: full, dropped: vec![] });
    assert_eq!(world.run(&ann, write("new", "1")).await, Outcome::Noted { notes: full, dropped: vec!["k2".into()] });
    let keys = keys(world, &ann).await;
    assert_eq!((keys.len(), keys[0].as_str(), keys[1].as_str()), (NOTES_LIMIT, "k0", "k3"));
}

async fn where_all_are_pinned_there_is_no_room(world: &World) {
    let ann = agent_in("ann", "s1");
    fill(world, &ann, pinned).await;
    assert_eq!(refused(world.run(&ann, write("new", "1")).await), Refusal::WorkingMemoryFull);
    assert_eq!(world.run(&ann, pinned("k0")).await, Outcome::Noted { notes: NOTES_LIMIT as u32, dropped: vec![] });
    assert_eq!(keys(world, &ann).await.len(), NOTES_LIMIT);
}
