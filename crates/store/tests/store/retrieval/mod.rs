//! How well memories are found, measured with questions written by hand.
//!
//! The goals are asserted on the half of the questions that nothing was tuned on. `cargo xtask retrieval` prints the whole
//! table, with what plain full text search and plain recency make of the same questions.

mod baselines;
mod scale;
mod set;

use std::collections::HashMap;
use std::fmt;

use model::command::Outcome;
use model::ranking::Question;
use set::{Asked, Half};
use uuid::Uuid;

use crate::harness::{Engine, World};

/// How many memories an answer has.
const ANSWER: usize = 10;
/// How many of them one reads.
const READ: usize = 5;

/// A store that holds the set.
struct Library {
    world: World,
    names: HashMap<Uuid, String>,
}

impl Library {
    async fn open(engine: Engine) -> Self {
        let world = World::open(engine).await;
        let mut ids = HashMap::new();
        for item in set::memories() {
            world.set(item.stored_at()).await;
            let outcomes = world.all(&[item.command(&mut ids)]).await;
            assert!(matches!(outcomes[..], [Outcome::Remembered { merged: false, .. }]), "{}: {outcomes:?}", item.id);
        }
        world.set(set::present()).await;
        Self { world, names: ids.into_iter().map(|(name, id)| (id, name)).collect() }
    }

    /// The names of the memories that answer the question, best first.
    async fn answer(&self, asked: &Asked) -> Vec<String> {
        let question = Question::new(&asked.question, &asked.tags, None);
        let ranked = store::recall(&*self.world.store, &self.world.project, &question).await.unwrap();
        ranked.into_iter().take(ANSWER).map(|r| self.names[&r.memory.memory_id].clone()).collect()
    }

    async fn answers(&self, half: Half) -> Vec<(Asked, Vec<String>)> {
        let mut answers = vec![];
        for asked in set::questions(half) {
            let answer = self.answer(&asked).await;
            answers.push((asked, answer));
        }
        answers
    }
}

/// How good answers are, on average.
#[derive(Debug, Clone, Copy, Default)]
struct Quality {
    /// How many questions.
    questions: usize,
    /// The share of the relevant memories that are among the first [`READ`].
    recall: f64,
    /// One by the place of the first relevant memory.
    reciprocal_rank: f64,
}

impl Quality {
    fn of<'a>(answers: impl IntoIterator<Item = &'a (Asked, Vec<String>)>) -> Self {
        let mut sum = Self::default();
        for (asked, answer) in answers {
            let read = answer.iter().take(READ).filter(|name| asked.relevant.contains(name)).count();
            sum.questions += 1;
            sum.recall += read as f64 / asked.relevant.len().min(READ) as f64;
            let place = answer.iter().position(|name| asked.relevant.contains(name));
            sum.reciprocal_rank += place.map_or(0.0, |place| 1.0 / (place + 1) as f64);
        }
        let count = sum.questions.max(1) as f64;
        Self { recall: sum.recall / count, reciprocal_rank: sum.reciprocal_rank / count, ..sum }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9} {:>9.1} % {:>6.3}", self.questions, 100.0 * self.recall, self.reciprocal_rank)
    }
}

/// The set is what it is said to be.
#[test]
fn the_set_is_sound() {
    let memories = set::memories();
    assert!(memories.len() >= 1000, "{} memories", memories.len());
    let known: HashMap<&str, &set::Item> = memories.iter().map(|item| (item.id.as_str(), item)).collect();
    assert_eq!(known.len(), memories.len(), "a name twice");
    for newer in &memories {
        let Some(older) = &newer.supersedes else { continue };
        assert!(known[older.as_str()].age_days > newer.age_days, "{} supersedes what is newer", newer.id);
    }
    let (tuning, reporting) = (set::questions(Half::Tuning), set::questions(Half::Reporting));
    assert!(tuning.len() + reporting.len() >= 300 && tuning.len() >= 130 && reporting.len() >= 130);
    for asked in tuning.iter().chain(&reporting) {
        assert!(!asked.relevant.is_empty() && asked.relevant.len() <= READ, "{}", asked.id);
        assert!(asked.relevant.iter().all(|name| known.contains_key(name.as_str())), "{}", asked.id);
    }
}

#[tokio::test]
async fn the_goals_are_met_and_the_databases_agree() {
    let (sqlite, postgres) = (Library::open(Engine::Sqlite).await, Library::open(Engine::Postgres).await);
    let (ours, theirs) = (sqlite.answers(Half::Reporting).await, postgres.answers(Half::Reporting).await);
    for answers in [&ours, &theirs] {
        let quality = Quality::of(answers);
        assert!(quality.recall >= 0.9 && quality.reciprocal_rank >= 0.75, "{quality}");
    }
    let first = |answers: &[(Asked, Vec<String>)]| -> Vec<Vec<String>> {
        answers.iter().map(|(_, answer)| answer.iter().take(READ).cloned().collect()).collect()
    };
    assert_eq!(first(&ours), first(&theirs), "the same function ranks for both");
}

/// What whoever works on the ranking looks at: the questions to tune on, and where they fail. Never the others.
#[tokio::test]
#[ignore = "prints a table: cargo xtask retrieval --tuning"]
async fn tuning() {
    let answers = Library::open(Engine::Memory).await.answers(Half::Tuning).await;
    for (asked, answer) in answers.iter().filter(|(asked, answer)| is_miss(asked, answer)) {
        let place = answer.iter().position(|name| asked.relevant.contains(name)).map_or(0, |place| place + 1);
        println!("{} {} at {place}: {}", asked.id, asked.kind, asked.question);
        println!("    wanted {:?}, got {:?}", asked.relevant, &answer[..answer.len().min(READ)]);
    }
    heading();
    by_kind("tuning", &answers);
}

/// What `cargo xtask retrieval` prints.
#[tokio::test]
#[ignore = "prints a table: cargo xtask retrieval"]
async fn the_table() {
    let (sqlite, postgres) = (Library::open(Engine::Sqlite).await, Library::open(Engine::Postgres).await);
    let (full_text, recency) = (baselines::FullText::new(), baselines::Recency::new());
    for (name, half) in [("tuning", Half::Tuning), ("reporting", Half::Reporting)] {
        heading();
        let (ours, theirs) = (sqlite.answers(half).await, postgres.answers(half).await);
        let by = |answer: &dyn Fn(&Asked) -> Vec<String>| -> Vec<(Asked, Vec<String>)> {
            set::questions(half).into_iter().map(|asked| (asked.clone(), answer(&asked))).collect()
        };
        row(&format!("{name}, SQLite"), Quality::of(&ours));
        row(&format!("{name}, PostgreSQL"), Quality::of(&theirs));
        row(&format!("{name}, plain BM25 (FTS5, Porter)"), Quality::of(&by(&|asked| full_text.answer(asked))));
        row(&format!("{name}, plain recency"), Quality::of(&by(&|asked| recency.answer(asked))));
        by_kind(name, &ours);
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a.1.iter().take(READ).eq(b.1.iter().take(READ))).count();
        println!("the first {READ} are the same on SQLite and PostgreSQL for {equal} of {} questions", ours.len());
        let missed = ours.iter().filter(|(asked, answer)| is_miss(asked, answer));
        let missed: Vec<&str> = missed.map(|(asked, _)| asked.id.as_str()).collect();
        println!("not all that is wanted is among the first {READ}: {}", missed.join(" "));
    }
}

/// What `cargo xtask retrieval` prints of a hundred thousand memories.
#[tokio::test]
#[ignore = "takes minutes without optimisation: cargo xtask retrieval"]
async fn at_scale() {
    scale::measure().await;
}

fn heading() {
    println!("\n{:<40} {:>9} {:>11} {:>6}", "", "questions", "recall@5", "MRR");
}

fn row(name: &str, quality: Quality) {
    println!("{name:<40} {quality}");
}

fn by_kind(name: &str, answers: &[(Asked, Vec<String>)]) {
    row(&format!("{name}, all"), Quality::of(answers));
    let kinds: std::collections::BTreeSet<&str> = answers.iter().map(|(asked, _)| asked.kind.as_str()).collect();
    for kind in kinds {
        row(&format!("{name}, {kind}"), Quality::of(answers.iter().filter(|(asked, _)| asked.kind == kind)));
    }
}

/// Is something that is wanted not among the first [`READ`]?
fn is_miss(asked: &Asked, answer: &[String]) -> bool {
    asked.relevant.iter().any(|name| !answer[..answer.len().min(READ)].contains(name))
}
