//! What is known does not depend on the order in which it was heard.

use std::collections::BTreeSet;

use github::RepositoryName;
use github::events::{Delivery, Heard, heard};
use github::sighting::{BranchState, Known, Seen, Sighting, Subject, Whose, agent_of_branch};
use github::version::Version;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

/// The id of a delivery that was made then: a UUID of version 1 has the time in it.
fn made_at(millisecond: i64) -> String {
    let ticks = u64::try_from(millisecond * 10_000 + 0x01B2_1DD2_1381_4000).unwrap();
    let (low, middle, high) = (ticks as u32, (ticks >> 32) as u16, (ticks >> 48) as u16 & 0x0fff | 0x1000);
    Uuid::from_fields(low, middle, high, &[0x80, 0, 0, 0, 0, 0, 0, 1]).to_string()
}

fn told(id: &str, event: &str, body: &Value) -> Heard {
    let repository = RepositoryName::parse("octo/shop").unwrap();
    let delivery = Delivery { id, event, body, arrived_at: Timestamp::from_second(4_000_000_000).unwrap() };
    heard(delivery, &repository, "merge-queue").unwrap()
}

fn issue(millisecond: i64, labels: &BTreeSet<u8>) -> Sighting {
    let labels: Vec<Value> = labels.iter().map(|label| json!({"name": format!("locked:src/{label}")})).collect();
    let updated_at = Timestamp::from_second(millisecond / 1000).unwrap();
    let body = json!({
        "action": "labeled", "repository": {"full_name": "Octo/Shop"},
        "issue": {"number": 7, "title": "t", "state": "open", "labels": labels, "updated_at": updated_at},
    });
    match told(&made_at(millisecond), "issues", &body) {
        Heard::Sightings(mut sightings) => sightings.remove(0),
        other => panic!("{other:?}"),
    }
}

fn known(sightings: &[Sighting]) -> Option<Known> {
    sightings.iter().fold(None, |known, sighting| Some(Known::take_in(known, sighting)))
}

/// Labels put on and taken off, a few milliseconds or seconds apart, and all that was told in some order, some of it twice.
fn labelling() -> impl Strategy<Value = (Vec<Sighting>, Vec<Sighting>)> {
    proptest::collection::vec((0_u8..4, 1_i64..1_500), 1..12).prop_flat_map(|steps| {
        let (mut now, mut labels, mut sightings) = (1_767_225_600_000, BTreeSet::new(), vec![]);
        for (label, pause) in steps {
            now += pause;
            if !labels.remove(&label) {
                labels.insert(label);
            }
            sightings.push(issue(now, &labels));
        }
        let twice = [sightings.clone(), sightings.clone()].concat();
        (Just(sightings), Just(twice).prop_shuffle())
    })
}

fn branch_sighting(version: i64, seen: Seen) -> Sighting {
    let at = Timestamp::from_second(1_767_225_600 + version).unwrap();
    Sighting { subject: Subject::Branch("agent/ann/1".into()), version: Version::of(at, at), seen }
}

fn branching() -> impl Strategy<Value = (Vec<Sighting>, Vec<Sighting>)> {
    let files = || proptest::collection::btree_set("[abc]", 0..3);
    let seen = prop_oneof![
        4 => files().prop_map(|files| (0, files)),
        1 => files().prop_map(|files| (1, files)),
        2 => Just((2, BTreeSet::new())),
    ];
    proptest::collection::vec(seen, 1..10).prop_flat_map(|steps| {
        let sightings: Vec<Sighting> = steps
            .into_iter()
            .enumerate()
            .map(|(at, (kind, files))| {
                let sha = format!("{at:040x}");
                let seen = match kind {
                    0 => Seen::Pushed { files, sha },
                    1 => Seen::Stands { files, sha },
                    _ => Seen::Ended { merged: None },
                };
                branch_sighting(at as i64, seen)
            })
            .collect();
        let twice = [sightings.clone(), sightings.clone()].concat();
        (Just(sightings), Just(twice).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn any_order_of_label_and_unlabel_ends_in_the_last_state((in_order, shuffled) in labelling()) {
        let last = known(&in_order[in_order.len() - 1..]);
        prop_assert_eq!(known(&in_order), last.clone());
        prop_assert_eq!(known(&shuffled), last);
    }

    #[test]
    fn any_order_of_pushes_looks_and_ends_leads_to_the_same((in_order, shuffled) in branching()) {
        prop_assert_eq!(known(&shuffled), known(&in_order));
        // Nothing from before the last end is left.
        let end = in_order.iter().rposition(|sighting| matches!(sighting.seen, Seen::Ended { .. })).map_or(0, |at| at + 1);
        let Some(Known::Branch { state }) = known(&shuffled) else { panic!("a branch") };
        let Some(Known::Branch { state: since }) = known(&in_order[end..]) else {
            prop_assert!(state.files.is_empty());
            return Ok(());
        };
        prop_assert_eq!(state.files, since.files);
    }
}

#[test]
fn what_was_merged_is_known_by_its_commit() {
    let files = || BTreeSet::from(["a".to_owned()]);
    let pushed = branch_sighting(1, Seen::Pushed { files: files(), sha: "x".into() });
    let merged = branch_sighting(2, Seen::Ended { merged: Some("x".into()) });
    // Squashed, it looks as if it had something to merge.
    let stands = branch_sighting(3, Seen::Stands { files: files(), sha: "x".into() });
    let more = branch_sighting(4, Seen::Pushed { files: files(), sha: "y".into() });
    let files_after = |sightings: &[Sighting]| match known(sightings) {
        Some(Known::Branch { state: BranchState { files, .. } }) => files.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(files_after(&[pushed.clone(), stands.clone()]), 1);
    assert_eq!(files_after(&[pushed.clone(), stands.clone(), merged.clone()]), 0);
    assert_eq!(files_after(&[pushed.clone(), merged.clone(), stands.clone()]), 0);
    assert_eq!(files_after(&[merged, stands, pushed, more]), 1);
}

/// GitHub tells of a merge to the second: the files of earlier pushes of that second are merged, those of later ones are not.
#[test]
fn what_was_pushed_in_the_second_of_a_merge_is_told_apart_by_its_commit() {
    let second = Timestamp::from_second(1_767_225_600).unwrap();
    let seen_at = |millisecond: i64, seen| {
        let told = Timestamp::from_millisecond(second.as_millisecond() + millisecond).unwrap();
        Sighting { version: Version::of(second, told), ..branch_sighting(0, seen) }
    };
    let pushed = |millisecond, file: &str| {
        seen_at(millisecond, Seen::Pushed { files: BTreeSet::from([file.into()]), sha: format!("of {file}") })
    };
    let told =
        [pushed(6, "a"), pushed(10, "b"), seen_at(0, Seen::Ended { merged: Some("of b".into()) }), pushed(14, "c")];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [3, 0, 1, 2], [2, 3, 1, 0], [1, 3, 0, 2], [0, 3, 2, 1]] {
        let Some(Known::Branch { state }) = known(&order.map(|at| told[at].clone())) else { panic!("a branch") };
        assert_eq!(state.files.keys().collect::<Vec<_>>(), ["c"], "{order:?}");
    }
}

#[test]
fn a_branch_belongs_to_the_agent_in_its_name() {
    for (branch, agent) in [
        ("agent/ann/1", Some("ann")),
        ("agent/ann/fix/login", Some("ann")),
        ("agent/ann", None),
        ("agent/ann/", None),
        ("agent//1", None),
        ("feature/agent/ann/1", None),
    ] {
        assert_eq!(agent_of_branch(branch).as_ref().map(|agent| agent.as_str()), agent, "{branch}");
    }
}

#[test]
fn whose_an_issue_is() {
    let whose = |labels: &[&str], assignees: &[&str]| {
        let named = |names: &[&str], field: &str| names.iter().map(|name| json!({field: name})).collect::<Vec<_>>();
        let body = json!({
            "action": "labeled", "repository": {"full_name": "octo/shop"},
            "issue": {"number": 7, "state": "open", "labels": named(labels, "name"),
                      "assignees": named(assignees, "login"), "updated_at": "2026-01-01T00:00:00Z"},
        });
        match told("d", "issues", &body) {
            Heard::Sightings(sightings) => match &sightings[0].seen {
                Seen::Issue(state) => (state.whose.clone(), state.is_assigned),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let agent = |name: &str| Whose::Agent(model::id::AgentId::new(name).unwrap());
    assert_eq!(whose(&["agent:ann", "status:assigned"], &["zoe"]), (agent("ann"), true));
    assert_eq!(whose(&["status:assigned"], &["zoe", "bob"]), (agent("zoe"), false), "no agent is named");
    assert_eq!(whose(&["agent: "], &[]), (Whose::Nobody, false));
    assert_eq!(whose(&["agent:b", "agent:a"], &["zoe"]), (Whose::Several(vec!["a".into(), "b".into()]), false));
}
