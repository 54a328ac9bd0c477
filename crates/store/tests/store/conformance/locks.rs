//! Locks: who gets which, for how long, and what proves it.

use model::command::{Acquire, BlockReason, CONFLICT_LIMIT, Outcome, Refusal, Release};
use model::locks::LockMode;

use crate::harness::*;

cases!(
    a_granted_lock_is_shown_with_all_that_is_known_of_it,
    overlapping_keys_block_in_every_form,
    a_refusal_names_who_why_and_until_when,
    a_refusal_names_only_so_many,
    shared_locks_share_and_exclusive_ones_do_not,
    a_shared_lock_becomes_exclusive_only_when_alone,
    an_exclusive_lock_becomes_shared_at_once,
    several_keys_are_all_or_nothing,
    keys_of_one_request_may_overlap_each_other,
    one_agents_overlapping_locks_do_not_block_it,
    a_refresh_keeps_the_token_and_moves_the_end,
    a_refresh_may_add_keys,
    a_refresh_may_shorten,
    tokens_strictly_increase_whatever_happens_between,
    a_stale_token_refreshes_nothing,
    a_token_without_its_lock_is_stale,
    a_stale_token_releases_nothing,
    only_the_owner_releases,
    a_release_tells_what_it_did_not_find,
    a_lock_ends_at_its_instant_and_not_before,
    an_expired_lock_cannot_be_refreshed_but_taken_anew,
    the_root_covers_every_path,
    awkward_characters_are_only_characters,
    neighbours_in_spelling_do_not_overlap,
    long_keys_are_told_apart_to_their_ends,
    every_directory_above_a_deep_path_overlaps_it,
    locks_are_listed_by_what_they_overlap,
);

async fn a_granted_lock_is_shown_with_all_that_is_known_of_it(world: &World) {
    let ann = agent_in("ann", "s1");
    let request =
        Acquire { reason: Some("refactoring \"auth\" – it's 50% done".into()), ..acquire(&["./src//auth/"]) };
    let grants = granted(world.run(&ann, request).await);
    let lock = world.locks().await.remove(0);
    assert_eq!(lock.key, key("src/auth"));
    assert_eq!(lock.key.as_str(), "src/auth");
    assert_eq!(lock.agent_id, ann.agent_id);
    assert_eq!(lock.agent_type, "claude_code_cli");
    assert_eq!(lock.session_id, ann.session_id);
    assert_eq!(lock.mode, LockMode::Exclusive);
    assert_eq!(lock.reason.as_deref(), Some("refactoring \"auth\" – it's 50% done"));
    assert_eq!(lock.locked_at, world.now());
    assert_eq!(lock.expires_at, world.now() + seconds(600));
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].key, lock.key);
    assert_eq!(grants[0].fencing_token, lock.fencing_token);
    assert_eq!(grants[0].expires_at, lock.expires_at);
    assert!(!grants[0].refreshed);
    assert!(lock.fencing_token > 0);
}

async fn overlapping_keys_block_in_every_form(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    for (one, other, meet) in [
        ("src/a.rs", "src/a.rs", true),
        ("src/a.rs", "./src/x/..//a.rs", true),
        ("src/a.rs", "src/b.rs", false),
        ("src", "src/a.rs", true),
        ("src", "src/auth/deep/login.rs", true),
        ("src/auth", "src/authors.rs", false),
        ("src/auth", "src", true),
        ("src", "src2/a.rs", false),
        (".", "src/auth/login.rs", true),
        (".", "**/*.sql", true),
        (".", ".", true),
        (".", "db:users", false),
        ("src/**/*.rs", "src/a.rs", true),
        ("src/**/*.rs", "src/x/y/a.rs", true),
        ("src/**/*.rs", "src/x/y", true),
        ("src/**/*.rs", "src", true),
        ("src/**/*.rs", ".", true),
        ("src/**/*.rs", "src/a.sql", false),
        ("src/**/*.rs", "tests/a.rs", false),
        ("src/**/*.rs", "**/main.*", true),
        ("src/*.rs", "src/*.sql", false),
        ("src/*.rs", "src/x/a.rs", false),
        ("*/a.rs", "src/a.rs", true),
        ("**/*.sql", "db/../src/x.sql", true),
        ("app/[id]/page.tsx", "app/i/page.tsx", false),
        ("caf\u{e9}.rs", "cafe\u{301}.rs", true),
        ("api:get /v1//users/", "api:GET /v1/users", true),
        ("api:/v1/users", "api:GET /v1/users", true),
        ("api:GET /v1/users", "api:POST /v1/users", false),
        ("api:GET /v1/users/{id}", "api:GET /v1/users/:user", true),
        ("api:GET /v1/users", "api:GET /v1/users/{id}", false),
        ("api:/v1/**", "api:DELETE /v1/users/{id}", true),
        ("db:Users", "db:users", true),
        ("db:users", "db:schema:users", true),
        ("db:schema:users", "db:users", true),
        ("db:schema:users", "db:schema:orders", false),
        ("db:*", "db:schema:users", true),
        ("db:users", "event:users", false),
        ("event:user.*", "event:user.created", true),
        ("event:user.created", "event:user.deleted", false),
        ("flag:billing/*", "flag:billing/new-ui", true),
        ("flag:billing/*", "flag:search/x", false),
        ("env:shared", "env:shared", true),
        ("env:shared", "env:Shared", false),
        ("contract:openapi/v1.yaml", "contract:openapi//v1.yaml", true),
        ("contract:openapi/v1.yaml", "openapi/v1.yaml", false),
        ("feature:f:lead", "feature:f:lead", true),
        ("feature:f:lead", "feature:f:tests", false),
        ("feature:f:lead", "feature:g:lead", false),
    ] {
        for (held, asked) in [(one, other), (other, one)] {
            world.take(&ann, held).await;
            let outcome = world.run(&bob, acquire(&[asked])).await;
            assert_eq!(matches!(outcome, Outcome::Blocked(_)), meet, "held {held}, asked {asked}: {outcome:?}");
            assert_eq!(matches!(outcome, Outcome::Acquired { .. }), !meet, "held {held}, asked {asked}: {outcome:?}");
            world.run(&ann, release(&[held])).await;
            world.run(&bob, release(&[asked])).await;
        }
    }
    assert!(world.locks().await.is_empty());
}

async fn a_refusal_names_who_why_and_until_when(world: &World) {
    let request = Acquire { reason: Some("moving it".into()), ..acquire(&["src/auth"]) };
    world.run(&agent_in("ann", "s1"), request).await;
    let before = world.locks().await;
    let blocked = blocked(world.run(&agent("bob"), acquire(&["src/auth/login.rs"])).await);
    assert_eq!(blocked.reason, BlockReason::LockedByOther);
    assert_eq!(blocked.locks, before);
    assert!(blocked.waiters.is_empty());
    assert_eq!(world.locks().await, before, "nothing was taken");
}

async fn a_refusal_names_only_so_many(world: &World) {
    for number in 0..CONFLICT_LIMIT + 5 {
        world.take(&agent(&format!("ann{number}")), &format!("src/{number}.rs")).await;
    }
    let blocked = blocked(world.run(&agent("bob"), acquire(&["src"])).await);
    assert_eq!(blocked.locks.len(), CONFLICT_LIMIT);
    assert_eq!(blocked.locks, world.locks().await[..CONFLICT_LIMIT], "oldest grant first");
}

async fn shared_locks_share_and_exclusive_ones_do_not(world: &World) {
    let (ann, bob, cid) = (agent("ann"), agent("bob"), agent("cid"));
    granted(world.run(&ann, share(&["src"])).await);
    granted(world.run(&bob, share(&["src"])).await);
    granted(world.run(&bob, share(&["src/a.rs"])).await);
    let in_the_way = blocked(world.run(&cid, acquire(&["src/a.rs"])).await);
    same(in_the_way.locks.iter().map(|l| format!("{} {}", l.agent_id, l.key)), &["ann src", "bob src", "bob src/a.rs"]);
    world.run(&ann, release(&["src"])).await;
    blocked(world.run(&cid, acquire(&["src/a.rs"])).await);
    world.run(&bob, release(&["src", "src/a.rs"])).await;
    world.take(&cid, "src/a.rs").await;
    blocked(world.run(&ann, share(&["src"])).await);
}

async fn a_shared_lock_becomes_exclusive_only_when_alone(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let first = token(world.run(&ann, share(&["src"])).await);
    world.run(&bob, share(&["src"])).await;
    blocked(world.run(&ann, acquire(&["src"])).await);
    assert_eq!(world.locks().await[0].mode, LockMode::Shared, "a refused upgrade changes nothing");
    world.run(&bob, release(&["src"])).await;
    assert_eq!(world.take(&ann, "src").await, first);
    assert_eq!(world.locks().await[0].mode, LockMode::Exclusive);
    blocked(world.run(&bob, share(&["src"])).await);
}

async fn an_exclusive_lock_becomes_shared_at_once(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let first = world.take(&ann, "src").await;
    assert_eq!(token(world.run(&ann, share(&["src"])).await), first);
    granted(world.run(&bob, share(&["src"])).await);
}

async fn several_keys_are_all_or_nothing(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&bob, "m").await;
    for keys in [["a", "m"], ["m", "z"]] {
        let blocked = blocked(world.run(&ann, acquire(&keys)).await);
        same(blocked.locks.iter().map(|l| l.key.as_str()), &["m"]);
        same(world.held().await, &["bob m"]);
    }
    world.run(&bob, release(&["m"])).await;
    let grants = granted(world.run(&ann, acquire(&["z", "a", "m"])).await);
    same(grants.iter().map(|g| g.key.as_str()), &["a", "m", "z"]);
    assert!(grants.iter().all(|g| g.fencing_token == grants[0].fencing_token), "one grant, one token");
    same(world.held().await, &["ann a", "ann m", "ann z"]);
}

async fn keys_of_one_request_may_overlap_each_other(world: &World) {
    granted(world.run(&agent("ann"), acquire(&["src", "src/a.rs", "**/*.rs"])).await);
    let blocked = blocked(world.run(&agent("bob"), acquire(&["src/a.rs"])).await);
    assert_eq!(blocked.locks.len(), 3, "each once: {:?}", blocked.locks);
}

async fn one_agents_overlapping_locks_do_not_block_it(world: &World) {
    let ann = agent("ann");
    let first = world.take(&ann, "src").await;
    let second = world.take(&agent_in("ann", "another-run"), "src/a.rs").await;
    assert!(second > first, "a grant of its own");
    world.run(&ann, release(&["src"])).await;
    same(world.held().await, &["ann src/a.rs"]);
}

async fn a_refresh_keeps_the_token_and_moves_the_end(world: &World) {
    let ann = agent("ann");
    let request = || Acquire { reason: Some("first".into()), ..acquire(&["src"]) };
    let first = granted(world.run(&ann, request()).await).remove(0);
    let begun = world.now();
    world.pass(seconds(100)).await;
    let second = granted(world.run(&ann, acquire(&["src"])).await).remove(0);
    assert!(second.refreshed);
    assert_eq!(second.fencing_token, first.fencing_token);
    assert_eq!(second.expires_at, world.now() + seconds(600));
    let lock = world.locks().await.remove(0);
    assert_eq!((lock.locked_at, lock.expires_at), (begun, second.expires_at));
    assert_eq!(lock.reason.as_deref(), Some("first"), "no new reason, the old one");
    world.run(&agent_in("ann", "s2"), Acquire { reason: Some("second".into()), ..request() }).await;
    let lock = world.locks().await.remove(0);
    assert_eq!(lock.reason.as_deref(), Some("second"));
    assert_eq!(lock.session_id.unwrap().as_str(), "s2", "it belongs to the session that last refreshed it");
}

async fn a_refresh_may_add_keys(world: &World) {
    let ann = agent("ann");
    let first = world.take(&ann, "b").await;
    let grants = granted(world.run(&ann, acquire(&["a", "b"])).await);
    same(grants.iter().map(|g| format!("{} {}", g.key, g.refreshed)), &["a false", "b true"]);
    assert!(grants[0].fencing_token > first);
    assert_eq!(grants[1].fencing_token, first);
}

async fn a_refresh_may_shorten(world: &World) {
    let ann = agent("ann");
    world.take(&ann, "src").await;
    world.run(&ann, Acquire { ttl_seconds: 60, ..acquire(&["src"]) }).await;
    assert_eq!(world.locks().await[0].expires_at, world.now() + seconds(60));
}

async fn tokens_strictly_increase_whatever_happens_between(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let mut tokens = vec![world.take(&ann, "src").await];
    world.run(&ann, release(&["src"])).await;
    tokens.push(world.take(&bob, "src").await);
    world.pass(seconds(600)).await;
    tokens.push(world.take(&ann, "src").await);
    tokens.push(world.take(&bob, "docs").await);
    let id = world.add(task()).await;
    tokens.push(world.claims(&ann, id).await.fencing_token.unwrap());
    tokens.push(world.take(&bob, "more").await);
    if let Some(other) = world.reopened().await {
        let outcomes = other.apply(&world.project, &[command(&ann, acquire(&["again"]))]).await.unwrap();
        tokens.push(token(outcomes[0].clone()));
    }
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

async fn a_stale_token_refreshes_nothing(world: &World) {
    let ann = agent("ann");
    let old = world.take(&ann, "src").await;
    world.run(&ann, release(&["src"])).await;
    let current = world.take(&ann, "src").await;
    let before = world.locks().await;
    world.pass(seconds(1)).await;
    let outcome = world.run(&ann, Acquire { fencing_token: Some(old), ..acquire(&["src"]) }).await;
    assert_eq!(
        refused(outcome),
        Refusal::StaleFencingToken { target: "src".into(), given: old, current: Some(current) }
    );
    assert_eq!(world.locks().await, before);
    granted(world.run(&ann, Acquire { fencing_token: Some(current), ..acquire(&["src"]) }).await);
}

async fn a_token_without_its_lock_is_stale(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let old = world.take(&ann, "src").await;
    world.pass(seconds(600)).await;
    let proven = || Acquire { fencing_token: Some(old), ..acquire(&["src"]) };
    let stale = Refusal::StaleFencingToken { target: "src".into(), given: old, current: None };
    assert_eq!(refused(world.run(&ann, proven()).await), stale, "free, but no longer its own");
    world.take(&bob, "src").await;
    assert_eq!(refused(world.run(&ann, proven()).await), stale, "another's");
    same(world.held().await, &["bob src"]);
}

async fn a_stale_token_releases_nothing(world: &World) {
    let ann = agent("ann");
    let old = world.take(&ann, "a").await;
    let current = world.take(&ann, "b").await;
    let both = |fencing_token| Release { fencing_token: Some(fencing_token), ..release(&["a", "b"]) };
    assert_eq!(
        refused(world.run(&ann, both(old)).await),
        Refusal::StaleFencingToken { target: "b".into(), given: old, current: Some(current) }
    );
    same(world.held().await, &["ann a", "ann b"]);
    world.run(&ann, both(current)).await;
    assert!(world.locks().await.is_empty());
}

async fn only_the_owner_releases(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let token = world.take(&ann, "src").await;
    for request in [release(&["src"]), Release { fencing_token: Some(token), ..release(&["src"]) }] {
        let outcome = world.run(&bob, request).await;
        assert_eq!(outcome, Outcome::Released { released: vec![], missing: vec![key("src")] });
        assert_eq!(outcome.code(), Some("lock_not_found_or_not_owner"));
        same(world.held().await, &["ann src"]);
    }
    let outcome = world.run(&agent_in("ann", "another-run"), release(&["src"])).await;
    assert_eq!(outcome, Outcome::Released { released: vec![key("src")], missing: vec![] });
    assert!(outcome.is_success());
}

async fn a_release_tells_what_it_did_not_find(world: &World) {
    let ann = agent("ann");
    world.run(&ann, acquire(&["a", "src"])).await;
    world.take(&agent("bob"), "b").await;
    let outcome = world.run(&ann, release(&["a", "b", "c", "src/a.rs"])).await;
    let missing = vec![key("b"), key("c"), key("src/a.rs")];
    assert_eq!(outcome, Outcome::Released { released: vec![key("a")], missing });
    same(world.held().await, &["ann src", "bob b"]);
}

async fn a_lock_ends_at_its_instant_and_not_before(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src").await;
    world.pass(seconds(600) - MOMENT).await;
    blocked(world.run(&bob, acquire(&["src"])).await);
    same(world.held().await, &["ann src"]);
    assert!(world.store.due_projects().await.unwrap().is_empty());
    world.pass(MOMENT).await;
    same(world.store.due_projects().await.unwrap(), &["house"]);
    world.take(&bob, "src").await;
    same(world.held().await, &["bob src"]);
    world.pass(seconds(600)).await;
    assert!(world.locks().await.is_empty(), "a reader frees what is due as well");
}

async fn an_expired_lock_cannot_be_refreshed_but_taken_anew(world: &World) {
    let ann = agent("ann");
    let first = world.take(&ann, "src").await;
    world.pass(seconds(600)).await;
    let grant = granted(world.run(&ann, acquire(&["src"])).await).remove(0);
    assert!(!grant.refreshed);
    assert!(grant.fencing_token > first);
    assert_eq!(world.locks().await[0].locked_at, world.now());
}

async fn the_root_covers_every_path(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    for path in
        ["!", "-", "a", "z", "é", "日本/語.rs", "\u{ffff}", "\u{10ffff}", "\u{10ffff}/\u{10ffff}", "~tilde", "%"]
    {
        world.take(&ann, path).await;
        blocked(world.run(&bob, acquire(&["."])).await);
        blocked(world.run(&bob, acquire(&["**"])).await);
        assert_eq!(world.store.locks(&world.project, Some(&[key(".")])).await.unwrap().len(), 1, "{path}");
        world.run(&ann, release(&[path])).await;
        world.take(&bob, ".").await;
        blocked(world.run(&ann, acquire(&[path])).await);
        world.run(&bob, release(&["."])).await;
    }
}

async fn awkward_characters_are_only_characters(world: &World) {
    let awkward = [
        "a'b.rs",
        "a\"b.rs",
        "a%b.rs",
        "aXb.rs",
        "a_b.rs",
        "a b.rs",
        "$1.rs",
        ":a.rs",
        "a;--.rs",
        "{a}.rs",
        "[a].rs",
        "A.rs",
        "a.rs",
        "a\u{200d}.rs",
        "a\\b.rs",
        "\u{1f980}.rs",
    ];
    let (ann, bob) = (agent("o'ann \"%_\\ é"), agent("bob"));
    for name in awkward {
        let request = Acquire { reason: Some(format!("{name}'); drop table locks; --")), ..acquire(&[name]) };
        granted(world.run(&ann, request).await);
    }
    assert_eq!(world.locks().await.len(), awkward.len());
    for name in awkward {
        let blocked = blocked(world.run(&bob, acquire(&[name])).await);
        same(blocked.locks.iter().map(|l| l.key.clone()), &[key(name).as_str()]);
        assert_eq!(blocked.locks[0].reason, Some(format!("{name}'); drop table locks; --")));
    }
    world.run(&ann, release(&awkward)).await;
    assert!(world.locks().await.is_empty());
}

async fn neighbours_in_spelling_do_not_overlap(world: &World) {
    let ann = agent("ann");
    let around = ["src-x", "src.rs", "src.rs/a", "src!/a", "src0", "src0/a", "srcs/a", "sr", "sr/c", "SRC/a"];
    granted(world.run(&ann, acquire(&around)).await);
    world.take(&agent("bob"), "src").await;
    let near = world.store.locks(&world.project, Some(&[key("src")])).await.unwrap();
    same(near.iter().map(|l| l.agent_id.as_str()), &["bob"]);
}

async fn long_keys_are_told_apart_to_their_ends(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let (deep, name) = ("directory/".repeat(120), "é".repeat(1900));
    for [held, apart, meeting] in [
        [format!("{deep}a.rs"), format!("{deep}b.rs"), deep.clone()],
        [format!("{deep}a.rs"), format!("{deep}a"), "directory/directory".into()],
        [deep.clone(), format!("{deep}/../x"), format!("{deep}a/b.rs")],
        [format!("{name}/a.rs"), format!("{name}x"), name.clone()],
        [name.clone(), format!("{name}x/a"), format!("{name}/a/b")],
        [format!("{}*.rs", &deep[..400]), format!("{}a.sql", &deep[..400]), format!("{}a.rs", &deep[..400])],
        [
            format!("event:{}", "x.".repeat(120) + "a"),
            format!("event:{}", "x.".repeat(120) + "b"),
            format!("event:{}", "x.".repeat(120) + "*"),
        ],
    ] {
        world.take(&ann, &held).await;
        granted(world.run(&bob, acquire(&[&apart])).await);
        blocked(world.run(&bob, acquire(&[&meeting])).await);
        assert!(world.run(&ann, release(&[&held])).await.is_success());
        world.run(&bob, release(&[&apart])).await;
        world.take(&ann, &meeting).await;
        blocked(world.run(&bob, acquire(&[&held])).await);
        world.run(&ann, release(&[&meeting])).await;
    }
    assert!(world.locks().await.is_empty());
}

async fn every_directory_above_a_deep_path_overlaps_it(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    let path: Vec<String> = (1..=20).map(|depth| format!("d{depth}")).collect();
    for depth in 1..=path.len() {
        let above = path[..depth].join("/");
        world.take(&ann, &above).await;
        let blocked = blocked(world.run(&bob, acquire(&[&path.join("/")])).await);
        same(blocked.locks.iter().map(|lock| &lock.key), &[&above]);
        world.run(&ann, release(&[&above])).await;
    }
}

async fn locks_are_listed_by_what_they_overlap(world: &World) {
    let (ann, bob) = (agent("ann"), agent("bob"));
    world.take(&ann, "src/b.rs").await;
    world.take(&bob, "src/a.rs").await;
    world.take(&bob, "docs/*").await;
    world.run(&ann, acquire(&["db:users", "README.md"])).await;
    let listed = async |keys: &[&str]| {
        let keys: Vec<_> = keys.iter().map(|k| key(k)).collect();
        let locks = world.store.locks(&world.project, Some(&keys)).await.unwrap();
        locks.iter().map(|l| l.key.to_string()).collect::<Vec<_>>()
    };
    same(listed(&["src"]).await, &["src/b.rs", "src/a.rs"]);
    same(listed(&["src/a.rs", "src"]).await, &["src/b.rs", "src/a.rs"]);
    same(listed(&["."]).await, &["src/b.rs", "src/a.rs", "docs/*", "README.md"]);
    same(listed(&["docs/x/y.md"]).await, &["docs/*"]);
    same(listed(&["db:schema:users"]).await, &["db:users"]);
    same(listed(&["nothing"]).await, &[] as &[&str]);
    same(listed(&[]).await, &[] as &[&str]);
    same(world.held().await, &["ann src/b.rs", "bob src/a.rs", "bob docs/*", "ann README.md", "ann db:users"]);
}
