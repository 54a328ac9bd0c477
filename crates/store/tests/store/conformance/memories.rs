//! Memories: what is kept of them, what is merged, what takes whose place, and what is found.

use model::command::{Outcome, Refusal};
use model::memories::{Candidate, EVERY, Effect, EventType, Memory, Postings, Remember, Search, UNITED_LIMIT};
use model::ranking::{Question, Ranked};
use uuid::Uuid;

use crate::harness::*;

cases!(
    a_memory_is_kept_with_all_its_fields,
    a_repetition_within_the_hour_is_merged,
    after_an_hour_it_is_a_memory_of_its_own,
    what_merging_heaps_up_is_bounded,
    another_takes_its_place,
    only_the_latest_of_a_line_can_be_superseded,
    a_repetition_that_supersedes_is_merged_too,
    a_correction_within_the_hour_supersedes,
    a_memory_that_helped_counts,
    what_is_not_there_is_refused,
    a_search_tells_where_words_occur,
    a_merge_makes_it_found_by_more,
    the_rarest_words_are_served_first,
    candidates_bring_their_successors,
    questions_are_answered_best_first,
    a_superseded_memory_never_ranks_above_its_successor,
    filters_narrow_the_answer,
    without_a_question_the_newest_come_first,
    projects_have_indexes_of_their_own,
    the_same_question_has_the_same_answer,
);

async fn remember(world: &World, what: Remember) -> Uuid {
    match world.run(&agent("ann"), what).await {
        Outcome::Remembered { memory_id, merged: false } => memory_id,
        other => panic!("not stored: {other:?}"),
    }
}

async fn merged(world: &World, what: Remember) -> Uuid {
    match world.run(&agent("ann"), what).await {
        Outcome::Remembered { memory_id, merged: true } => memory_id,
        other => panic!("not merged: {other:?}"),
    }
}

async fn search(world: &World, words: &[&str], filters: &[&str]) -> (u32, Vec<Postings>, Vec<Postings>) {
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
    let search = Search { words: texts(words), filters: texts(filters), limit: 1000 };
    let found = world.store.search_memories(&world.project, &search).await.unwrap();
    assert_eq!(found.instant, world.now());
    (found.memories, found.words, found.filters)
}

async fn all(world: &World) -> Vec<Memory> {
    let (_, _, every) = search(world, &[], &[EVERY]).await;
    let seqs: Vec<i64> = every.into_iter().flat_map(|postings| postings.seqs).collect();
    let candidates = world.store.memories(&world.project, &seqs, &[]).await.unwrap();
    candidates.into_iter().map(|candidate| candidate.memory).collect()
}

async fn memory_of(world: &World, id: Uuid) -> Memory {
    all(world).await.into_iter().find(|memory| memory.memory_id == id).expect("the memory exists")
}

async fn ask(world: &World, question: Question) -> Vec<Ranked> {
    store::recall(&*world.store, &world.project, &question).await.unwrap()
}

async fn answer(world: &World, text: &str) -> Vec<String> {
    ask(world, Question::new(text, &[], None)).await.into_iter().map(|r| r.memory.summary).collect()
}

fn tags(tags: &[&str]) -> Vec<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}

async fn a_memory_is_kept_with_all_its_fields(world: &World) {
    let what = found_by_its_words(Remember {
        event_type: EventType::Error,
        details: vec!["it's a \"trace\"\n\tat src/a.rs:7 – ünï \u{1f980}".into()],
        outcome: Some(Effect::Negative),
        lessons: vec!["look, then leap".into(), "'); drop table memories; --".into()],
        tags: tags(&["db", "pool size"]),
        ..memory("the pool {is} \\ exhausted")
    });
    let command = command(&agent_in("ann", "s1"), what.clone());
    world.all(std::slice::from_ref(&command)).await;
    let kept = all(world).await;
    let length = what.terms.values().sum();
    let expected = Memory {
        length,
        ..Memory::new(
            1,
            command.caller.agent_id.clone(),
            "claude_code_cli".into(),
            &what,
            model::memories::Source { id: command.id, session_id: command.caller.session_id.clone(), at: world.now() },
        )
    };
    assert_eq!(kept, [expected]);
    assert!(length > 20);
}

async fn a_repetition_within_the_hour_is_merged(world: &World) {
    let first = Remember {
        details: vec!["one".into()],
        lessons: vec!["b".into(), "a".into()],
        tags: tags(&["x", "z"]),
        outcome: Some(Effect::Neutral),
        ..memory("seen")
    };
    let id = remember(world, first).await;
    world.pass(seconds(3600) - MOMENT).await;
    let again = Remember {
        details: vec!["two".into()],
        lessons: vec!["a".into(), "c".into()],
        tags: tags(&["y", "z"]),
        outcome: Some(Effect::Positive),
        ..memory("seen")
    };
    assert_eq!(merged(world, again).await, id);
    assert_eq!(merged(world, Remember { details: vec!["one".into()], ..memory("seen") }).await, id);
    let memory = memory_of(world, id).await;
    same(&memory.details, &["one", "two"]);
    same(&memory.lessons, &["b", "a", "c"]);
    same(&memory.tags, &["x", "y", "z"]);
    assert_eq!((memory.outcome, memory.uses), (Some(Effect::Positive), 2));
    let times: Vec<_> = memory.sources.iter().map(|source| source.at).collect();
    assert_eq!(times, [memory.created_at, world.now(), world.now()], "where it is from is kept");
    assert_eq!(all(world).await.len(), 1);
}

async fn after_an_hour_it_is_a_memory_of_its_own(world: &World) {
    let id = remember(world, memory("seen")).await;
    world.pass(seconds(3600)).await;
    let later = remember(world, memory("seen")).await;
    assert_ne!(id, later);
    world.pass(seconds(60)).await;
    assert_eq!(merged(world, memory("seen")).await, later);
    remember(world, memory("seen otherwise")).await;
    assert_eq!(all(world).await.len(), 3);
}

async fn what_merging_heaps_up_is_bounded(world: &World) {
    let with = |number: usize| Remember {
        details: vec![format!("d{number}")],
        lessons: vec![format!("l{number}")],
        tags: vec![format!("t{number:03}")],
        ..memory("seen")
    };
    let id = remember(world, with(0)).await;
    let repetitions: Vec<_> = (1..UNITED_LIMIT + 10).map(|n| command(&agent("ann"), with(n))).collect();
    world.all(&repetitions).await;
    let memory = memory_of(world, id).await;
    for list in [&memory.details, &memory.lessons, &memory.tags] {
        assert_eq!(list.len(), UNITED_LIMIT);
        assert!(list[0].ends_with('0') && list[UNITED_LIMIT - 1].ends_with("49"), "the first stay: {list:?}");
    }
    assert_eq!((memory.sources.len(), memory.uses), (UNITED_LIMIT, UNITED_LIMIT as u32 + 9));
}

async fn another_takes_its_place(world: &World) {
    let old = remember(world, memory("the pool has 20 connections")).await;
    let new = remember(world, Remember { supersedes: Some(old), ..memory("the pool has 50 connections") }).await;
    assert_eq!(memory_of(world, old).await.superseded_by, Some(new));
    assert_eq!(memory_of(world, new).await.superseded_by, None);
}

async fn only_the_latest_of_a_line_can_be_superseded(world: &World) {
    let old = remember(world, memory("20")).await;
    let new = remember(world, Remember { supersedes: Some(old), ..memory("50") }).await;
    let refusal = refused(world.run(&agent("bob"), Remember { supersedes: Some(old), ..memory("70") }).await);
    assert_eq!(refusal, Refusal::MemorySuperseded { memory_id: old, superseded_by: new });
    assert_eq!(all(world).await.len(), 2);
    assert_eq!(search(world, &["70"], &[]).await.1, []);
    remember(world, Remember { supersedes: Some(new), ..memory("70") }).await;
}

async fn a_repetition_that_supersedes_is_merged_too(world: &World) {
    let old = remember(world, memory("20")).await;
    let new = || Remember { supersedes: Some(old), ..memory("50") };
    let id = remember(world, new()).await;
    assert_eq!(merged(world, new()).await, id);
    let other = remember(world, memory("30")).await;
    assert_eq!(merged(world, Remember { supersedes: Some(other), ..memory("50") }).await, id);
    assert_eq!(memory_of(world, other).await.superseded_by, Some(id));
}

async fn a_correction_within_the_hour_supersedes(world: &World) {
    let wrong = remember(world, memory("the pool")).await;
    let right = remember(world, Remember { supersedes: Some(wrong), ..memory("the pool") }).await;
    assert_eq!(memory_of(world, wrong).await.superseded_by, Some(right));
    assert_eq!(merged(world, memory("the pool")).await, right);
}

async fn a_memory_that_helped_counts(world: &World) {
    let (one, two) = (remember(world, memory("one")).await, remember(world, memory("two")).await);
    remember(world, Remember { used: vec![one, two], ..memory("three") }).await;
    let three = merged(world, Remember { used: vec![two], ..memory("three") }).await;
    let uses = async |id| memory_of(world, id).await.uses;
    assert_eq!((uses(one).await, uses(two).await, uses(three).await), (1, 2, 1));
}

async fn what_is_not_there_is_refused(world: &World) {
    let nobody = Uuid::from_u128(7);
    let known = remember(world, memory("known")).await;
    for what in [
        Remember { supersedes: Some(nobody), ..memory("x") },
        Remember { used: vec![known, nobody], supersedes: Some(known), ..memory("x") },
        Remember { used: vec![nobody], ..memory("known") },
    ] {
        assert_eq!(refused(world.run(&agent("ann"), what).await), Refusal::MemoryNotFound { memory_id: nobody });
    }
    let memory = memory_of(world, known).await;
    assert_eq!((all(world).await.len(), memory.superseded_by, memory.uses), (1, None, 0));
}

fn postings(term: &str, seqs: &[i64], weights: &[u32]) -> Postings {
    Postings { term: term.into(), memories: seqs.len() as u32, seqs: seqs.to_vec(), weights: weights.to_vec() }
}

async fn a_search_tells_where_words_occur(world: &World) {
    assert_eq!(search(world, &["pool"], &[EVERY]).await, (0, vec![], vec![]));
    remember(world, memory("pool")).await;
    let tagged = Remember { tags: tags(&["db"]), event_type: EventType::Error, ..memory("zone") };
    remember(world, found_by_its_words(tagged)).await;
    let twice = Remember { lessons: vec!["zone zone".into()], ..memory("pool zone") };
    remember(world, found_by_its_words(twice)).await;
    let (count, words, filters) =
        search(world, &["zone", "nothing", "pool", "db"], &["#db", "!discovery", "#nothing", EVERY]).await;
    assert_eq!(count, 3);
    assert_eq!(
        words,
        [postings("db", &[2], &[2]), postings("pool", &[3, 1], &[3, 3]), postings("zone", &[3, 2], &[7, 3])]
    );
    let expected =
        [postings("#db", &[2], &[0]), postings("!discovery", &[3, 1], &[0, 0]), postings("*", &[3, 2, 1], &[0, 0, 0])];
    assert_eq!(filters, expected);
}

async fn a_merge_makes_it_found_by_more(world: &World) {
    let id = remember(world, memory("pool")).await;
    let more =
        found_by_its_words(Remember { details: vec!["zone pool".into()], tags: tags(&["db"]), ..memory("pool") });
    assert_eq!(merged(world, more).await, id);
    let (count, words, filters) = search(world, &["zone", "pool", "db"], &["#db"]).await;
    assert_eq!((count, filters), (1, vec![postings("#db", &[1], &[0])]));
    assert_eq!(words, [postings("db", &[1], &[2]), postings("pool", &[1], &[4]), postings("zone", &[1], &[1])]);
    assert_eq!(memory_of(world, id).await.length, 7);
    // Less of it takes nothing away.
    merged(world, memory("pool")).await;
    assert_eq!(memory_of(world, id).await.length, 7);
}

async fn the_rarest_words_are_served_first(world: &World) {
    for summary in ["common", "common rare", "common", "common scarce rare", "common scarce odd"] {
        remember(world, Remember { fingerprint: Uuid::now_v7().to_string(), ..memory(summary) }).await;
    }
    let limited = async |limit| -> Vec<(String, u32, Vec<i64>)> {
        let words = ["common", "odd", "rare", "scarc"].map(str::to_owned).to_vec();
        let search = Search { filters: words.clone(), words, limit };
        let found = world.store.search_memories(&world.project, &search).await.unwrap();
        assert_eq!(found.words, found.filters, "each has as many");
        found.words.into_iter().map(|p| (p.term, p.memories, p.seqs)).collect()
    };
    let expected = |odd: &[i64], rare: &[i64], scarce: &[i64], common: &[i64]| -> Vec<(String, u32, Vec<i64>)> {
        let each = [("odd", 1, odd), ("rare", 2, rare), ("scarc", 2, scarce), ("common", 5, common)];
        each.map(|(term, memories, seqs)| (term.into(), memories, seqs.to_vec())).to_vec()
    };
    assert_eq!(limited(100).await, expected(&[5], &[4, 2], &[5, 4], &[5, 4, 3, 2, 1]));
    assert_eq!(limited(7).await, expected(&[5], &[4, 2], &[5, 4], &[5, 4]));
    assert_eq!(limited(2).await, expected(&[5], &[4], &[], &[]));
    assert_eq!(limited(0).await, expected(&[], &[], &[], &[]));
}

async fn candidates_bring_their_successors(world: &World) {
    let one = remember(world, memory("20")).await;
    let two = remember(world, Remember { supersedes: Some(one), ..memory("50") }).await;
    remember(world, memory("other")).await;
    remember(world, Remember { supersedes: Some(two), ..memory("70") }).await;
    let candidates = async |seqs: &[i64]| -> Vec<Candidate> {
        let words = ["70".to_owned(), "nothing".to_owned(), "20".to_owned()];
        world.store.memories(&world.project, seqs, &words).await.unwrap()
    };
    let found = candidates(&[1]).await;
    let seen: Vec<_> = found.iter().map(|c| (c.memory.seq, c.weights.as_slice())).collect();
    assert_eq!(seen, [(1, &[0, 0, 3][..]), (2, &[0, 0, 0][..]), (4, &[3, 0, 0][..])]);
    assert_eq!(candidates(&[4, 2, 99]).await.len(), 2);
    assert_eq!(candidates(&[]).await, []);
}

async fn questions_are_answered_best_first(world: &World) {
    remember(world, memory("The connection pool was exhausted after the deploy")).await;
    remember(world, memory("Zones are cached in crates/rates/src/zones.rs for an hour")).await;
    remember(world, memory("RateQuoteExpired is thrown when the cache of zones is cold")).await;
    remember(world, memory("The label printer retries three times")).await;
    let first = async |question| answer(world, question).await.first().cloned().unwrap_or_default();
    assert!(first("why do we run out of pooled connections?").await.starts_with("The connection pool"));
    assert!(first("what about crates/rates/src/zones.rs:120").await.starts_with("Zones"));
    assert!(first("error: rate_quote_expired").await.starts_with("RateQuoteExpired"));
    assert!(first("printing labels again and again").await.starts_with("The label"));
    assert_eq!(answer(world, "kubernetes").await, [""; 0]);
}

async fn a_superseded_memory_never_ranks_above_its_successor(world: &World) {
    let one = remember(world, memory("the connection pool holds 20 connections")).await;
    let two = remember(world, Remember { supersedes: Some(one), ..memory("it is fifty now") }).await;
    remember(world, memory("a swimming pool")).await;
    remember(world, Remember { supersedes: Some(two), ..memory("seventy, since the move") }).await;
    let ranked = ask(world, Question::new("how many connections does the pool hold?", &[], None)).await;
    let order: Vec<&str> = ranked.iter().map(|r| r.memory.summary.as_str()).collect();
    assert_eq!(order[0], "seventy, since the move", "the question is put in the old words");
    let place = |summary: &str| order.iter().position(|s| s.starts_with(summary)).unwrap();
    assert!(place("seventy") < place("it is") && place("it is") < place("the connection"), "{order:?}");
    assert!(ranked[0].relevance > ranked[1].relevance);
}

async fn filters_narrow_the_answer(world: &World) {
    for (summary, event_type, tag) in [
        ("pool one", EventType::Error, "db"),
        ("pool two", EventType::Decision, "db"),
        ("pool three", EventType::Error, "web"),
        ("zone", EventType::Error, "db"),
    ] {
        remember(world, found_by_its_words(Remember { event_type, tags: tags(&[tag]), ..memory(summary) })).await;
    }
    let answer = async |text: &str, asked: &[&str], event_type| -> Vec<String> {
        let ranked = ask(world, Question::new(text, &tags(asked), event_type)).await;
        ranked.into_iter().map(|r| r.memory.summary).collect()
    };
    assert_eq!(answer("pool", &["db"], Some(EventType::Error)).await, ["pool one", "zone"]);
    assert_eq!(answer("pool", &[" DB"], None).await, ["pool two", "pool one", "zone"]);
    assert_eq!(answer("", &["db", "web"], Some(EventType::Error)).await, ["zone", "pool three", "pool one"]);
    assert_eq!(answer("pool", &["nothing"], None).await, [""; 0]);
}

async fn without_a_question_the_newest_come_first(world: &World) {
    for summary in ["a", "b", "c"] {
        remember(world, memory(summary)).await;
        world.pass(seconds(86_400)).await;
    }
    assert_eq!(answer(world, "").await, ["c", "b", "a"]);
    assert_eq!(answer(world, "what is it?").await, ["c", "b", "a"], "nothing that could be looked for");
}

async fn projects_have_indexes_of_their_own(world: &World) {
    let other = world.in_project("field");
    let here = remember(world, memory("pool")).await;
    assert_eq!(search(&other, &["pool"], &[EVERY]).await, (0, vec![], vec![]));
    assert_eq!(
        refused(other.run(&agent("ann"), Remember { supersedes: Some(here), ..memory("x") }).await),
        Refusal::MemoryNotFound { memory_id: here }
    );
    remember(&other, memory("pool")).await;
    remember(&other, memory("pool pool")).await;
    assert_eq!(search(world, &["pool"], &[]).await.1, [postings("pool", &[1], &[3])]);
    assert_eq!(search(&other, &["pool"], &[]).await.1, [postings("pool", &[3, 2], &[6, 3])]);
    assert!(other.store.memories(&other.project, &[4], &[]).await.unwrap().is_empty());
}

async fn the_same_question_has_the_same_answer(world: &World) {
    for number in 0..20 {
        remember(world, memory(&format!("pool {}", "zone ".repeat(number)))).await;
    }
    let question = || Question::new("pool of zones", &[], None);
    let expected = format!("{:?}", ask(world, question()).await);
    for store in [Some(world.store.clone()), world.reopened().await].into_iter().flatten() {
        let again = store::recall(&*store, &world.project, &question()).await.unwrap();
        assert_eq!(format!("{again:?}"), expected);
    }
}
