//! What each thing on GitHub leads to, one after another.

use jiff::SignedDuration;
use serde_json::json;

use super::fake::Fake;
use super::*;
use crate::support::{call, caller, trail};

#[tokio::test]
async fn labels_lock_and_release_in_the_name_of_the_agent() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "locked:./src//auth/");
    fake.contents().label(7, "locked:db:Users");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&[]), "nobody is named");
    fake.contents().pass(1_000);
    fake.contents().assign(7, Some("zoe"));
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["zoe db:users", "zoe src/auth"]), "the assignee");
    fake.contents().pass(1_000);
    fake.contents().label(7, "agent:ann");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann db:users", "ann src/auth"]), "the label goes before the assignee");
    let rows = trail(&coordinator).await;
    let row = rows.iter().rfind(|row| row.operation != "note_github").unwrap();
    assert_eq!(
        (row.operation.as_str(), row.agent_id.as_str(), row.agent_type.as_str()),
        ("acquire_lock", "ann", "github")
    );
    assert_eq!((row.session_id.as_deref(), &row.parameters["github"]), (Some("github:issue:7"), &json!("issue #7")));
    assert_eq!(row.parameters["file_paths"], json!(["db:users", "src/auth"]), "by which policies know it");
    fake.contents().pass(1_000);
    fake.contents().unlabel(7, "locked:db:Users");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann src/auth"]));
    fake.contents().pass(1_000);
    fake.contents().close(7, "completed");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&[]));
}

/// What is closed is not in the list of what is open, with which the first sync begins.
#[tokio::test]
async fn the_first_sync_sees_what_was_closed_unheard_before_it() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    for (number, agent) in [(7, "ann"), (8, "bob")] {
        fake.contents().open_issue(number, "Log in");
        fake.contents().label(number, &format!("agent:{agent}"));
        fake.contents().label(number, &format!("locked:src/{agent}"));
        fake.contents().label(number, "status:assigned");
        fake.contents().pass(60_000);
    }
    fake.contents().push("agent/cy/1", &["src/cy.rs"]);
    fake.contents().open_pull(9, "agent/cy/1");
    fake.contents().label(9, "merge-queue");
    deliver_all(&coordinator, &fake).await;
    coordinator.pass_over_github(Some(&fake.client())).await.unwrap();
    assert_eq!(held(&coordinator).await, set(&["ann src/ann", "bob src/bob", "cy src/cy.rs"]));
    assert_eq!(queue(&coordinator).await.len(), 1);

    fake.contents().pass(60_000);
    fake.contents().close(7, "completed");
    fake.contents().close(9, "completed");
    fake.contents().take_deliveries();
    fake.contents().pass(3_600_000);
    coordinator.sync_github(&fake.client()).await.unwrap();
    assert_eq!(held(&coordinator).await, set(&["bob src/bob", "cy src/cy.rs"]));
    assert_eq!(tasks(&coordinator).await, ["completed ann Log in", "pending bob Log in"]);
    assert_eq!(queue(&coordinator).await, set(&[]));
}

#[tokio::test]
async fn an_assigned_issue_is_one_task_and_closing_ends_it() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    let step = async |change: &dyn Fn(&mut super::fake::Contents)| {
        fake.contents().pass(1_000);
        change(&mut fake.contents());
        deliver_all(&coordinator, &fake).await;
        coordinator.pass_over_github(None).await.unwrap();
        tasks(&coordinator).await
    };
    fake.contents().open_issue(1, "Search");
    assert!(step(&|c| c.label(1, "status:assigned")).await.is_empty(), "no agent is named");
    assert_eq!(step(&|c| c.label(1, "agent:ann")).await, ["pending ann Search"]);
    assert_eq!(step(&|c| c.label(1, "bug")).await, ["pending ann Search"], "one task an assignment");
    assert_eq!(step(&|c| c.close(1, "completed")).await, ["completed ann Search"]);
    let all = ["completed ann Search", "pending ann Search"];
    assert_eq!(step(&|c| c.reopen(1)).await, all, "open again, it is to be done again");
    assert_eq!(step(&|c| c.close(1, "not_planned")).await, ["completed ann Search", "failed ann Search"]);

    fake.contents().open_issue(2, "Find");
    step(&|c| c.label(2, "agent:ann")).await;
    assert_eq!(step(&|c| c.label(2, "status:assigned")).await[2], "pending ann Find");
    let ann = caller("ann", None);
    call(&coordinator, &ann, "get_work", json!({})).await.unwrap();
    assert_eq!(step(&|c| c.unlabel(2, "status:assigned")).await[2], "claimed ann Find", "its agent is at it");
    assert_eq!(step(&|c| c.close(2, "completed")).await[2], "completed ann Find");
    step(&|c| c.reopen(2)).await;
    assert_eq!(step(&|c| c.label(2, "status:assigned")).await[3], "pending ann Find");
    step(&|c| c.unlabel(2, "agent:ann")).await;
    assert_eq!(step(&|c| c.label(2, "agent:bob")).await[3..], ["failed ann Find", "pending bob Find"]);
}

#[tokio::test]
async fn the_files_of_an_agents_branch_are_its_own_until_it_is_merged_or_gone() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    fake.contents().push("agent/ann/1", &["src/a.rs", "app/[id]/page.tsx"]);
    fake.contents().push("feature/x", &["README.md"]);
    fake.contents().pass(1_000);
    fake.contents().push("agent/ann/1", &["src/b.rs"]);
    deliver_all(&coordinator, &fake).await;
    let all = set(&["ann app/[id]/page.tsx", "ann src/a.rs", "ann src/b.rs"]);
    assert_eq!(held(&coordinator).await, all);
    fake.contents().pass(1_000);
    fake.contents().open_pull(3, "agent/ann/1");
    fake.contents().pass(1_000);
    fake.contents().squash(3);
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&[]), "merged");
    coordinator.sync_github(&fake.client()).await.unwrap();
    assert_eq!(held(&coordinator).await, set(&[]), "the branch is still there, squashed");
    fake.contents().pass(1_000);
    fake.contents().push("agent/ann/1", &["src/c.rs"]);
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann src/c.rs"]), "there is something new on it");
    fake.contents().pass(1_000);
    fake.contents().delete("agent/ann/1");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&[]));
}

#[tokio::test]
async fn a_branch_that_is_merged_by_a_push_is_released_and_others_are_not() {
    let fake = Fake::start().await;
    let (hears, polls) = (follower(&fake), follower(&fake));
    let client = fake.client();
    let all = set(&["ann src/a.rs", "bob src/b.rs"]);
    for branch in ["agent/ann/1", "agent/bob/2"] {
        fake.contents().push(branch, &[&format!("src/{}.rs", &branch[6..7])]);
    }
    polls.sync_github(&client).await.unwrap();
    deliver_all(&hears, &fake).await;
    assert_eq!((held(&hears).await, held(&polls).await), (all.clone(), all.clone()));
    fake.contents().pass(2_000);
    fake.contents().push("main", &["README.md"]);
    deliver_all(&hears, &fake).await;
    polls.sync_github(&client).await.unwrap();
    assert_eq!((held(&hears).await, held(&polls).await), (all.clone(), all));

    fake.contents().pass(2_000);
    fake.contents().land("agent/ann/1");
    let told = fake.contents().take_deliveries();
    let received = deliver(&hears, &told[0]).await;
    assert_eq!((received.action, received.subjects), ("handled", vec!["branch agent/ann/1".to_owned()]));
    polls.sync_github(&client).await.unwrap();
    let left = set(&["bob src/b.rs"]);
    assert_eq!((held(&hears).await, held(&polls).await), (left.clone(), left.clone()));
    for follower in [&hears, &polls] {
        follower.sync_github(&client).await.unwrap();
        assert_eq!(held(follower).await, left, "and it stays so");
    }
    let asked = fake.contents().requests.len();
    polls.sync_github(&client).await.unwrap();
    let asked = fake.contents().requests.split_off(asked);
    assert!(!asked.iter().any(|request| request.contains("/compare/")), "nothing has moved: {asked:?}");

    fake.contents().pass(2_000);
    fake.contents().push("agent/ann/1", &["src/c.rs"]);
    deliver_all(&hears, &fake).await;
    polls.sync_github(&client).await.unwrap();
    let more = set(&["ann src/c.rs", "bob src/b.rs"]);
    assert_eq!((held(&hears).await, held(&polls).await), (more.clone(), more), "there is something new on it");
}

#[tokio::test]
async fn a_pull_request_enters_and_leaves_the_queue_by_label() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    let client = fake.client();
    fake.contents().push("agent/ann/1", &["src/a.rs"]);
    fake.contents().open_pull(3, "agent/ann/1");
    fake.contents().pass(1_000);
    fake.contents().label(3, "merge-queue");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(queue(&coordinator).await, set(&[]), "GitHub is to be asked what it changes");
    coordinator.pass_over_github(Some(&client)).await.unwrap();
    assert_eq!(queue(&coordinator).await, set(&["pull-3 queued"]));
    let features = call(&coordinator, &caller("bob", None), "list_active_features", json!({})).await.unwrap();
    assert_eq!(features["features"][0]["resource_claims"], json!(["src/a.rs"]));
    assert_eq!(features["features"][0]["registered_by"], "ann");
    fake.contents().pass(1_000);
    fake.contents().unlabel(3, "merge-queue");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(queue(&coordinator).await, set(&[]));

    // A feature that is there already enters as it is.
    let feature = json!({"feature_id": "login", "branch_name": "agent/ann/1", "resource_claims": ["src"]});
    call(&coordinator, &caller("ann", None), "register_feature", feature).await.unwrap();
    fake.contents().pass(1_000);
    fake.contents().label(3, "merge-queue");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(queue(&coordinator).await, set(&["login queued"]));
    // Taken out by hand it stays out, until there is something new on the branch.
    call(&coordinator, &caller("bob", None), "remove_from_merge_queue", json!({"feature_id": "login"})).await.unwrap();
    coordinator.pass_over_github(Some(&client)).await.unwrap();
    assert_eq!(queue(&coordinator).await, set(&[]));
    fake.contents().pass(1_000);
    fake.contents().push("agent/ann/1", &["src/b.rs"]);
    deliver_all(&coordinator, &fake).await;
    assert_eq!(queue(&coordinator).await, set(&["login queued"]));
    fake.contents().pass(1_000);
    fake.contents().merge(3);
    deliver_all(&coordinator, &fake).await;
    assert_eq!(queue(&coordinator).await, set(&[]));
    let feature =
        call(&coordinator, &caller("ann", None), "get_feature", json!({"feature_id": "login"})).await.unwrap();
    assert_eq!(feature["feature"]["status"], "completed");
}

#[tokio::test]
async fn a_replay_changes_nothing() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "agent:ann");
    fake.contents().label(7, "locked:src");
    let first = fake.contents().take_deliveries();
    for delivery in &first {
        deliver(&coordinator, delivery).await;
    }
    fake.contents().pass(1_000);
    fake.contents().unlabel(7, "locked:src");
    deliver_all(&coordinator, &fake).await;
    let before = trail(&coordinator).await.len();
    for delivery in &first {
        let received = deliver(&coordinator, delivery).await;
        assert_eq!((received.action, received.subjects.len()), ("repeated", 0));
    }
    assert_eq!(trail(&coordinator).await.len(), before);
    // Under another id it is old news.
    let other = Delivery { id: "another".into(), ..first[2].clone() };
    assert!(deliver(&coordinator, &other).await.subjects.is_empty());
    assert_eq!(held(&coordinator).await, set(&[]));
}

#[tokio::test]
async fn what_is_refused_is_said_once_and_taken_back() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    let client = fake.client();
    call(&coordinator, &caller("bob", None), "acquire_lock", json!({"file_path": "src/a.rs"})).await.unwrap();
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "agent:ann");
    for label in ["locked:src", "locked:../etc", "locked:docs"] {
        fake.contents().label(7, label);
    }
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann docs", "bob src/a.rs"]));
    for _ in 0..3 {
        coordinator.pass_over_github(Some(&client)).await.unwrap();
    }
    let comments = || fake.contents().comments.values().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    let told = comments();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|text| text.contains("src is not locked: bob holds src/a.rs (src overlaps it) until")));
    assert!(told.iter().any(|text| text.contains("../etc cannot be locked")));
    assert!(fake.contents().labels(7).contains(&"coordinator:refused".to_owned()));
    let refusals = trail(&coordinator).await.iter().filter(|row| row.agent_id == "ann" && !row.success).count();
    assert_eq!(refusals, 1, "what another holds is not asked for again and again");

    call(&coordinator, &caller("bob", None), "release_lock", json!({"file_path": "src/a.rs"})).await.unwrap();
    fake.contents().pass(1_000);
    fake.contents().unlabel(7, "locked:../etc");
    deliver_all(&coordinator, &fake).await;
    coordinator.pass_over_github(Some(&client)).await.unwrap();
    assert_eq!(held(&coordinator).await, set(&["ann docs", "ann src"]));
    assert_eq!(comments().len(), 2, "edited, not repeated");
    assert!(comments().iter().all(|text| text.contains("this is settled")), "{:?}", comments());
    assert!(!fake.contents().labels(7).contains(&"coordinator:refused".to_owned()));
}

#[tokio::test]
async fn a_lost_push_is_found_by_the_next_sync() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    fake.contents().push("agent/ann/1", &["src/a.rs"]);
    fake.contents().take_deliveries();
    fake.contents().pass(1_000);
    fake.contents().push("agent/ann/1", &["src/b.rs"]);
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann src/b.rs"]));
    fake.contents().pass(1_000);
    coordinator.sync_github(&fake.client()).await.unwrap();
    assert_eq!(held(&coordinator).await, set(&["ann src/a.rs", "ann src/b.rs"]));
    let asked = fake.contents().requests.len();
    coordinator.sync_github(&fake.client()).await.unwrap();
    let asked = fake.contents().requests.len() - asked;
    // The fake has pages of two; here each list is one.
    assert_eq!(asked, 4, "nothing new costs two requests, and two more where a branch is leased");
}

#[tokio::test]
async fn many_changes_of_one_second_are_all_read() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    for number in 1..=7 {
        fake.contents().open_issue(number, "Log in");
        fake.contents().label(number, "agent:ann");
        fake.contents().label(number, &format!("locked:src/{number}"));
    }
    let client = fake.client();
    for _ in 0..2 {
        coordinator.sync_github(&client).await.unwrap();
        assert_eq!(held(&coordinator).await.len(), 7);
    }
    assert!(fake.contents().requests.len() < 30, "{:#?}", fake.contents().requests);
}

#[tokio::test(start_paused = true)]
async fn a_lock_lives_as_long_as_its_label_stands() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "agent:ann");
    fake.contents().label(7, "locked:src");
    deliver_all(&coordinator, &fake).await;
    let lock = || async { coordinator.store().locks(coordinator.default_project(), None).await.unwrap().pop() };
    let first = lock().await.unwrap();
    coordinator.pass_over_github(None).await.unwrap();
    assert_eq!(lock().await.unwrap().expires_at, first.expires_at, "it is fresh");
    for _ in 0..5 {
        tokio::time::advance(std::time::Duration::from_secs(61 * 60)).await;
        coordinator.pass_over_github(None).await.unwrap();
    }
    let last = lock().await.unwrap();
    assert_eq!(last.fencing_token, first.fencing_token, "the same grant");
    assert!(last.expires_at.duration_since(first.expires_at) > SignedDuration::from_hours(4));
    tokio::time::advance(std::time::Duration::from_secs(121 * 60)).await;
    assert_eq!(lock().await, None, "where nobody renews it, it ends");
    coordinator.pass_over_github(None).await.unwrap();
    assert!(lock().await.is_some(), "and is taken again when somebody does");
}

#[tokio::test]
async fn what_an_agent_locked_itself_stays_its_own() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    let ann = caller("ann", Some("s1"));
    call(&coordinator, &ann, "acquire_lock", json!({"file_path": "src"})).await.unwrap();
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "agent:ann");
    fake.contents().label(7, "locked:src");
    fake.contents().pass(1_000);
    deliver_all(&coordinator, &fake).await;
    fake.contents().unlabel(7, "locked:src");
    deliver_all(&coordinator, &fake).await;
    assert_eq!(held(&coordinator).await, set(&["ann src"]));
}

#[tokio::test]
async fn a_lock_that_two_issues_want_stays_until_both_let_go() {
    let fake = Fake::start().await;
    let coordinator = follower(&fake);
    for number in [7, 8] {
        fake.contents().open_issue(number, "Log in");
        fake.contents().label(number, "agent:ann");
        fake.contents().label(number, "locked:src");
    }
    deliver_all(&coordinator, &fake).await;
    for (number, left) in [(7, set(&["ann src"])), (8, set(&[]))] {
        fake.contents().pass(1_000);
        fake.contents().close(number, "completed");
        deliver_all(&coordinator, &fake).await;
        assert_eq!(held(&coordinator).await, left);
    }
}

#[tokio::test]
async fn an_agent_may_do_by_label_what_its_profile_lets_it_do_and_no_more() {
    let fake = Fake::start().await;
    let coordinator = follower_with(&fake, |settings| settings.policy.default_trust = policy::Trust::Untrusted);
    fake.contents().open_issue(7, "Log in");
    fake.contents().label(7, "agent:ann");
    fake.contents().label(7, "locked:src");
    deliver_all(&coordinator, &fake).await;
    for _ in 0..2 {
        coordinator.pass_over_github(Some(&fake.client())).await.unwrap();
    }
    assert_eq!(held(&coordinator).await, set(&[]));
    let refusals: Vec<_> = trail(&coordinator).await.into_iter().filter(|row| !row.success).collect();
    let codes: Vec<_> = refusals.iter().filter_map(|row| row.error_message.as_deref()).collect();
    assert_eq!(codes, ["insufficient_trust_level"], "asked once");
    assert_eq!(fake.contents().comments.len(), 1);
}
