//! A hundred thousand memories on SQLite: how long a question takes, and whether its answer is still found.
//!
//! The set, and distractors made of it: each a memory of the set in which three of four words are exchanged for others of
//! the set's words, so that words are as frequent among them as they are in the set.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::command::Command;
use model::ranking::Question;
use store::sqlite::SqliteStore;
use store::{Clock, Store};

use super::set::{self, Asked, Half, Item};
use super::{ANSWER, Quality};
use crate::harness::project;

/// How many memories there are, the set's included.
const COUNT: usize = 100_000;
const BATCH: usize = 100;

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The set's memories among so many others, oldest first.
fn crowd() -> Vec<Item> {
    let mut items = set::memories();
    let said = |item: &Item| {
        [vec![item.summary.clone()], item.details.iter().cloned().collect(), item.lessons.clone()].concat()
    };
    let vocabulary: Vec<String> = items
        .iter()
        .flat_map(|item| said(item).concat().split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let originals = items.clone();
    let mut dice = Dice(1);
    let mut garbled = |text: &str| -> String {
        let word = |word: &str, dice: &mut Dice| match dice.below(4) {
            0 => word.to_owned(),
            _ => vocabulary[dice.below(vocabulary.len())].clone(),
        };
        text.split_whitespace().map(|w| word(w, &mut dice)).collect::<Vec<_>>().join(" ")
    };
    for number in items.len()..COUNT {
        let model = &originals[number % originals.len()];
        items.push(Item {
            id: format!("distractor {number}"),
            summary: garbled(&model.summary),
            details: model.details.as_deref().map(&mut garbled),
            lessons: model.lessons.iter().map(|lesson| garbled(lesson)).collect(),
            age_days: (number * 7919 % 400_000) as f64 / 1000.0,
            supersedes: None,
            ..model.clone()
        });
    }
    items.sort_by(|a, b| b.age_days.total_cmp(&a.age_days).then_with(|| a.id.cmp(&b.id)));
    items
}

/// Prints it.
pub async fn measure() {
    // Where a build keeps its files is a real disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = directory.path().join("db");
    let time = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let shown = time.clone();
    let clock =
        Clock::new(move || jiff::Timestamp::from_microsecond(shown.load(std::sync::atomic::Ordering::SeqCst)).unwrap());
    let set_clock = |to: jiff::Timestamp| time.store(to.as_microsecond(), std::sync::atomic::Ordering::SeqCst);
    let store = SqliteStore::open(&path, clock).unwrap();
    let house = project("house");

    let (mut ids, begun) = (HashMap::new(), Instant::now());
    for items in crowd().chunks(BATCH) {
        set_clock(items[0].stored_at());
        let commands: Vec<Command> = items.iter().map(|item| item.command(&mut ids)).collect();
        store.apply(&house, &commands).await.unwrap();
    }
    set_clock(set::present());
    let size = std::fs::metadata(&path).unwrap().len() >> 20;
    println!("{COUNT} memories on SQLite: stored in {:.0} s, {size} MB", begun.elapsed().as_secs_f64());

    let names: HashMap<_, _> = ids.iter().map(|(name, id)| (*id, name.clone())).collect();
    for half in [Half::Tuning, Half::Reporting] {
        let (mut took, mut answers): (Vec<Duration>, Vec<(Asked, Vec<String>)>) = (vec![], vec![]);
        for asked in set::questions(half) {
            let start = Instant::now();
            let question = Question::new(&asked.question, &asked.tags, None);
            let ranked = store::recall(&store, &house, &question).await.unwrap();
            took.push(start.elapsed());
            let answer = ranked.into_iter().take(ANSWER).map(|r| names[&r.memory.memory_id].clone()).collect();
            answers.push((asked, answer));
        }
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        println!("{half:?}: p50 {:.1} ms, p95 {:.1} ms, slowest {:.1} ms", at(0.5), at(0.95), at(1.0));
        println!("{:<34} {}", format!("{half:?}, among {COUNT}"), Quality::of(&answers));
    }
    let mut took: Vec<Duration> = vec![];
    for number in 0..200 {
        let mut item = set::memories().swap_remove(number);
        item.id = format!("one more {number}");
        item.supersedes = None;
        let command = item.command(&mut ids);
        let start = Instant::now();
        store.apply(&house, &[command]).await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("One more memory: p50 {:.1} ms, p95 {:.1} ms", at(0.5), at(0.95));
}
