//! How memories are ranked: what each part of the function does, and what holds whatever is asked.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use model::id::AgentId;
use model::memories::{Candidate, Effect, EventType, Found, Memory, Postings, Remember, Source};
use model::ranking::{OUTDATED, Question, Ranked};
use proptest::prelude::*;
use uuid::Uuid;

/// A project as a store would know it: everything is found by scanning.
#[derive(Default)]
struct Project {
    memories: Vec<(Memory, Remember)>,
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

impl Project {
    /// Stores a memory of that age, changed by `change`, and tells its number.
    fn add(&mut self, summary: &str, age_days: i64, change: impl FnOnce(&mut Memory)) -> usize {
        let seq = self.memories.len() as i64 + 1;
        let remember = Remember {
            memory_id: Uuid::from_u128(seq as u128),
            event_type: EventType::Error,
            summary: summary.into(),
            details: vec![],
            outcome: None,
            lessons: vec![],
            tags: vec![],
            supersedes: None,
            used: vec![],
            fingerprint: String::new(),
            terms: Default::default(),
        };
        let at = now() - SignedDuration::from_hours(24 * age_days);
        let source = Source { id: Uuid::nil(), session_id: None, at };
        let mut memory = Memory::new(seq, AgentId::new("ann").unwrap(), "t".into(), &remember, source);
        change(&mut memory);
        let remember = Remember { tags: memory.tags.clone(), event_type: memory.event_type, ..remember };
        let remember = Remember { terms: remember.found_by(), ..remember };
        memory.length = remember.terms.values().sum();
        self.memories.push((memory, remember));
        self.memories.len() - 1
    }

    fn supersede(&mut self, older: usize, newer: usize) {
        let by = self.memories[newer].0.memory_id;
        self.memories[older].0.superseded_by = Some(by);
    }

    fn postings(&self, terms: &[String]) -> Vec<Postings> {
        let mut all: Vec<Postings> = terms
            .iter()
            .map(|term| {
                let has = |(m, r): &(Memory, Remember)| Some((m.seq, *r.terms.get(term)?));
                let (seqs, weights): (Vec<i64>, Vec<u32>) = self.memories.iter().rev().filter_map(has).unzip();
                Postings { term: term.clone(), memories: seqs.len() as u32, seqs, weights }
            })
            .filter(|postings| postings.memories > 0)
            .collect();
        all.sort_by(|a, b| (a.memories, &a.term).cmp(&(b.memories, &b.term)));
        all
    }

    fn ask(&self, question: &Question) -> Vec<Ranked> {
        let search = question.search();
        let found = Found {
            memories: self.memories.len() as u32,
            words: self.postings(&search.words),
            filters: self.postings(&search.filters),
            instant: now(),
        };
        let shortlist = question.shortlist(&found);
        let weights =
            |r: &Remember| found.words.iter().map(|w| r.terms.get(&w.term).copied().unwrap_or_default()).collect();
        // A store brings the successors along; here everything is there that the question could want.
        let wanted = |m: &Memory| shortlist.contains(&m.seq) || !shortlist.is_empty() && self.succeeds(m, &shortlist);
        let candidates = self.memories.iter().filter(|(m, _)| wanted(m));
        question.rank(&found, candidates.map(|(m, r)| Candidate { memory: m.clone(), weights: weights(r) }).collect())
    }

    fn succeeds(&self, memory: &Memory, shortlist: &[i64]) -> bool {
        self.memories
            .iter()
            .filter(|(older, _)| older.superseded_by == Some(memory.memory_id))
            .any(|(older, _)| shortlist.contains(&older.seq) || self.succeeds(older, shortlist))
    }

    /// Summaries, best first.
    fn answer(&self, text: &str) -> Vec<String> {
        self.ask(&Question::new(text, &[], None)).into_iter().map(|r| r.memory.summary).collect()
    }
}

#[test]
fn a_rare_word_tells_more_than_a_common_one() {
    let mut project = Project::default();
    for number in 0..20 {
        project.add(&format!("deploy number {number}"), 1, |_| {});
    }
    project.add("carrier deploy", 1, |_| {});
    project.add("deploy deploy deploy", 1, |_| {});
    assert_eq!(project.answer("deploy of the carrier")[0], "carrier deploy");
}

#[test]
fn a_question_is_not_covered_by_what_everybody_says() {
    let mut project = Project::default();
    project.add("the pool", 0, |_| {});
    project.add("the zone", 0, |_| {});
    let relevance = |text: &str| project.ask(&Question::new(text, &[], None))[0].relevance;
    assert!(relevance("pool") > 2.0 * relevance("pool zebra lion tiger"));
}

#[test]
fn among_equals_the_newer_and_the_weightier_come_first() {
    let mut project = Project::default();
    project.add("pool old", 200, |_| {});
    project.add("pool new", 2, |_| {});
    assert_eq!(project.answer("pool")[0], "pool new");
    let mut project = Project::default();
    project.add("pool learnt", 2, |m| m.lessons = vec!["x".into()]);
    project.add("pool bare", 2, |_| {});
    project.add("pool used", 2, |m| m.uses = 9);
    project.add("pool ended", 2, |m| m.outcome = Some(Effect::Neutral));
    assert_eq!(project.answer("pool"), ["pool used", "pool learnt", "pool ended", "pool bare"]);
    let mut project = Project::default();
    project.add("pool zone", 400, |_| {});
    project.add("pool", 0, |m| m.uses = 99);
    assert_eq!(project.answer("pool zone")[0], "pool zone", "what is asked counts for more");
}

#[test]
fn the_latest_of_a_line_is_found_by_the_oldest_words() {
    let mut project = Project::default();
    let line = ["carrier timeout is 5 s", "raised to ten", "seconds: 15"].map(|text| project.add(text, 5, |_| {}));
    project.add("carrier", 0, |_| {});
    project.supersede(line[0], line[1]);
    project.supersede(line[1], line[2]);
    let ranked = project.ask(&Question::new("carrier timeout", &[], None));
    let of = |at: usize| ranked.iter().find(|r| r.memory.seq == at as i64 + 1).unwrap();
    assert_eq!(ranked[0].memory.summary, "seconds: 15");
    assert!(ranked[0].why.matched.is_empty() && ranked[0].why.text > 0.0);
    assert!(of(line[1]).relevance <= OUTDATED * of(line[2]).relevance + 1e-4);
    assert!(of(line[0]).relevance <= OUTDATED * of(line[1]).relevance + 1e-4);
}

#[test]
fn a_superseded_memory_stands_alone_where_its_successor_is_filtered_out() {
    let mut project = Project::default();
    let old = project.add("pool", 5, |m| m.tags = vec!["db".into()]);
    let new = project.add("pool", 5, |_| {});
    project.supersede(old, new);
    let ranked = project.ask(&Question::new("pool", &["db".into()], None));
    assert_eq!(ranked.len(), 1);
    assert!(ranked[0].why.superseded && ranked[0].relevance <= OUTDATED);
}

const WORDS: [&str; 8] = ["pool", "zone", "carrier", "deploy", "timeout", "src/a.rs", "RateQuote", "the"];

fn texts(longest: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..longest).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn whatever_is_asked_the_answer_is_sound(
        memories in proptest::collection::vec((texts(6), 0_i64..500, any::<bool>(), 0_u32..5, 0_usize..40), 1..25),
        question in texts(5), tagged: bool, typed: bool,
    ) {
        let mut project = Project::default();
        for (summary, age, tag, uses, older) in &memories {
            let at = project.add(summary, *age, |m| {
                m.uses = *uses;
                m.tags = if *tag { vec!["db".into()] } else { vec![] };
                m.event_type = if *uses > 2 { EventType::Decision } else { EventType::Error };
            });
            if *older < at && project.memories[*older].0.superseded_by.is_none() {
                project.supersede(*older, at);
            }
        }
        let tags = if tagged { vec!["DB".to_owned()] } else { vec![] };
        let asked = Question::new(&question, &tags, typed.then_some(EventType::Decision));
        let ranked = project.ask(&asked);
        prop_assert_eq!(&project.ask(&asked), &ranked);
        prop_assert!(ranked.is_sorted_by(|a, b| a.relevance >= b.relevance));
        for (at, one) in ranked.iter().enumerate() {
            prop_assert!((0.0..=1.0).contains(&one.relevance), "{}", one.relevance);
            prop_assert!((0.0..=1.0).contains(&one.why.text), "{}", one.why.text);
            prop_assert!(!tagged || one.memory.tags.contains(&"db".to_owned()));
            prop_assert!(!typed || one.memory.event_type == EventType::Decision);
            let mut successor = one.memory.superseded_by;
            while let Some(id) = successor {
                let place = ranked.iter().position(|r| r.memory.memory_id == id);
                prop_assert!(place.is_none_or(|place| place < at), "outdated first: {:?}", ranked);
                successor = project.memories.iter().find(|(m, _)| m.memory_id == id).and_then(|(m, _)| m.superseded_by);
            }
        }
    }
}
