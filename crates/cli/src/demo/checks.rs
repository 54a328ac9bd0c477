//! What is checked when all is over, each against the records and the repository as they are, with its evidence.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use coordinator::Coordinator;
use model::work::TaskStatus;
use serde::Serialize;
use uuid::Uuid;

use super::agent::MAIN_LOCK;
use super::git::{Merge, WorkTree};
use super::project;
use super::story::{EditSpan, Story, Wait};
use super::trail::{Replay, Trail};

/// One thing that was checked.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What should hold.
    pub name: &'static str,
    /// Does it?
    pub passed: bool,
    /// Why we think so.
    pub evidence: String,
}

/// All that the checks look at.
struct Facts<'a> {
    story: &'a Story,
    trail: Trail,
    replay: Replay,
    merges: Vec<Merge>,
    /// What git has to say on main.
    tree: BTreeMap<String, Vec<String>>,
    stray: Vec<String>,
    unclean: String,
}

/// Checks everything.
///
/// # Errors
/// When the records or the repository cannot be read: then nothing is known.
pub async fn all(story: &Story, coordinator: &Coordinator, main: &WorkTree) -> Result<Vec<Check>> {
    let trail = Trail::read(coordinator).await?;
    let mut tree = BTreeMap::new();
    for path in main.git(&["ls-tree", "-r", "--name-only", "main"]).await?.lines() {
        let text = main.git(&["show", &format!("main:{path}")]).await?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        tree.insert(path.to_owned(), lines);
    }
    let mut stray: Vec<String> =
        main.git(&["rev-list", "--all", "--not", "main"]).await?.lines().map(str::to_owned).collect();
    let on_main: BTreeSet<String> = main.git(&["rev-list", "main"]).await?.lines().map(str::to_owned).collect();
    stray.extend(story.commits.iter().filter(|commit| !on_main.contains(*commit)).cloned());
    let facts = Facts {
        story,
        replay: trail.replay(),
        trail,
        merges: main.merges().await?,
        tree,
        stray,
        unclean: main.git(&["status", "--porcelain"]).await?,
    };
    Ok(vec![
        facts.exactly_once(),
        facts.in_order(),
        facts.never_two_holders(),
        facts.never_two_editors(),
        facts.taken_over(),
        facts.stale_tokens_refused(),
        facts.all_on_main(),
        facts.no_lost_edit(),
        facts.waits_end(),
        facts.audited(),
        facts.nothing_left(),
    ])
}

impl Facts<'_> {
    fn exactly_once(&self) -> Check {
        let completions = self.trail.completions();
        let mut wrong = vec![];
        for (task_id, work) in &self.story.plan {
            let rows = completions.iter().filter(|(id, _)| id == task_id).count();
            let merges = self.merges.iter().filter(|merge| merge.task_id == task_id.to_string()).count();
            let task = self.story.now.tasks.iter().find(|task| task.task_id == *task_id);
            let status = task.map_or("unknown", |task| task.status.as_str());
            if (rows, merges, status) != (1, 1, TaskStatus::Completed.as_str()) {
                wrong.push(format!("{} is {status}, completed {rows} times, merged {merges} times", work.name));
            }
        }
        let good = format!(
            "{} tasks, {} completions in the audit trail, {} merges on main: one each",
            self.story.plan.len(),
            completions.len(),
            self.merges.len()
        );
        verdict("Every task was completed exactly once", wrong, good)
    }

    fn in_order(&self) -> Check {
        let ids: BTreeMap<&str, Uuid> = self.story.plan.iter().map(|(id, work)| (work.name.as_str(), *id)).collect();
        let completed: BTreeMap<Uuid, i64> =
            self.trail.completions().into_iter().map(|(id, row)| (id, row.seq)).collect();
        let (mut wrong, mut dependencies) = (vec![], 0);
        let claims = self.trail.claims();
        for claim in &claims {
            let Some(work) = self.story.work(claim.task_id) else { continue };
            for need in &work.needs {
                dependencies += 1;
                let done = ids.get(need.as_str()).and_then(|id| completed.get(id));
                if done.is_none_or(|&seq| seq >= claim.row.seq) {
                    wrong.push(format!("{} was claimed before {need} was completed", work.name));
                }
            }
        }
        let good =
            format!("{} claims, each after the completion of what it needs ({dependencies} times)", claims.len());
        verdict("No task was begun before what it depends on", wrong, good)
    }

    fn never_two_holders(&self) -> Check {
        let good = format!(
            "{} grants on {} keys replayed from the audit trail: none overlaps another's, tokens only grow",
            self.replay.grants, self.replay.keys
        );
        verdict("No lock was ever held by two agents", self.replay.violations.clone(), good)
    }

    fn never_two_editors(&self) -> Check {
        let (discarded, edits): (Vec<&EditSpan>, Vec<&EditSpan>) =
            self.story.edits.iter().partition(|edit| edit.discarded);
        let mut wrong = vec![];
        for (at, edit) in edits.iter().enumerate() {
            let meets =
                |other: &&&EditSpan| other.path == edit.path && other.agent != edit.agent && overlap(edit, other);
            for other in edits[..at].iter().filter(meets) {
                wrong.push(format!("{} and {} edited {} at once", edit.agent, other.agent, edit.path));
            }
        }
        let agents = |path: &str| edits.iter().filter(|e| e.path == path).map(|e| &e.agent).collect::<BTreeSet<_>>();
        let most = edits.iter().max_by_key(|edit| agents(&edit.path).len());
        let most =
            most.map_or_else(String::new, |e| format!("; {} agents took turns in {}", agents(&e.path).len(), e.path));
        let thrown_away = match discarded.len() {
            0 => String::new(),
            some => format!("; {some} more were thrown away by an agent that was too slow and lost its session"),
        };
        let good = format!("{} edits by the agents' own clocks{most}{thrown_away}", edits.len());
        verdict("No file was ever edited by two agents at once", wrong, good)
    }

    fn taken_over(&self) -> Check {
        const NAME: &str = "The killed agent's work was taken over";
        let Some(killing) = &self.story.killing else { return failed(NAME, "nobody was killed") };
        let Some(task) = &killing.task else { return failed(NAME, "the killed agent had no task") };
        if killing.locks.is_empty() {
            return failed(NAME, "the killed agent held no lock");
        }
        let name = self.story.task_name(task.task_id);
        let session = task.session_id.as_ref().map(ToString::to_string);
        let ended = self
            .trail
            .successes("disconnect_session")
            .find(|row| row.created_at >= killing.at && row.parameters["session_id"].as_str() == session.as_deref());
        let Some(ended) = ended else { return failed(NAME, "its session never ended") };
        // Its claim may lapse a little before its session, or go with it.
        let mut claims = self.trail.claims().into_iter();
        let next = claims.find(|claim| claim.task_id == task.task_id && claim.row.created_at > killing.at);
        let Some(next) = next else { return failed(NAME, "nobody claimed its task after that") };
        let done = self.trail.completions().into_iter().find(|(id, _)| *id == task.task_id);
        let heir = next.row.agent_id;
        let completed = done.is_some_and(|(_, row)| row.agent_id == heir);
        let seconds = |at: jiff::Timestamp| (at - killing.at).total(jiff::Unit::Second).unwrap_or_default();
        let of_session = |row: &&model::audit::AuditEntry| row.seq < ended.seq && row.session_id == session;
        let silent = self.trail.rows.iter().rfind(of_session).map_or(killing.at, |row| row.created_at);
        let lease = (ended.created_at - silent).total(jiff::Unit::Second).unwrap_or_default();
        let keys: Vec<&str> = killing.locks.iter().map(|lock| lock.key.as_str()).collect();
        let evidence = format!(
            "{}, killed ({}) half-way in {name} with {} locked; its session ended after {:.1} s ({lease:.1} s after its \
             last sign of life), {heir} claimed {name} {:.1} s after the kill{}",
            killing.agent,
            killing.ending,
            and(&keys),
            seconds(ended.created_at),
            seconds(next.row.created_at),
            if completed { " and completed it" } else { ", but did not complete it" },
        );
        Check { name: NAME, passed: completed && heir != killing.agent, evidence }
    }

    fn stale_tokens_refused(&self) -> Check {
        let trials = &self.story.trials;
        let told = |refused: bool| -> Vec<String> {
            let those = trials.iter().filter(|trial| trial.refused == refused);
            those.map(|trial| format!("{}: {}", trial.what, trial.code)).collect()
        };
        let mut wrong = told(false);
        if trials.is_empty() {
            wrong.push("it was not tried".into());
        }
        verdict("The dead agent's tokens open nothing any more", wrong, told(true).join("; "))
    }

    fn all_on_main(&self) -> Check {
        let mut wrong: Vec<String> = self.stray.iter().map(|commit| format!("{commit} is not on main")).collect();
        wrong.extend(self.unclean.lines().map(|line| format!("main's work tree is not clean: {line}")));
        let turns = self.trail.successes("acquire_lock");
        let turns = turns.filter(|row| row.parameters["file_paths"][0] == MAIN_LOCK).count();
        let good = format!(
            "{} commits by the agents, all reachable from main; {} merges under {turns} grants of {MAIN_LOCK}",
            self.story.commits.len(),
            self.merges.len()
        );
        verdict("Every commit is on main", wrong, good)
    }

    fn no_lost_edit(&self) -> Check {
        let expected = project::expected();
        let mut wrong = vec![];
        for path in expected.keys().chain(self.tree.keys()).collect::<BTreeSet<_>>() {
            let (is, should) = (self.tree.get(path), expected.get(path));
            if is != should {
                let count = |lines: Option<&Vec<String>>| lines.map_or(0, Vec::len);
                wrong.push(format!("{path} has {} lines, not the {} expected", count(is), count(should)));
            }
        }
        let lines: usize = self.tree.values().map(Vec::len).sum();
        let turns = |path: &str| {
            let edits = |work: &project::Work| work.edits.iter().chain(&work.shared).any(|edit| edit.path == path);
            self.story.plan.iter().filter(|(_, work)| edits(work)).count()
        };
        let most = self.tree.keys().max_by_key(|path| turns(path));
        let most = most.map_or_else(String::new, |path| format!("; {path} alone by {} tasks", turns(path)));
        let good =
            format!("{} files, {lines} lines on main, each line there as often as written{most}", self.tree.len());
        verdict("No edit was lost, none done twice", wrong, good)
    }

    fn waits_end(&self) -> Check {
        let waits = &self.story.waits;
        let victim = self.story.killing.as_ref().map(|killing| killing.agent.as_str());
        let open = waits.iter().filter(|wait| wait.until.is_none() && Some(wait.agent.as_str()) != victim);
        let mut wrong: Vec<String> = open.map(|wait| format!("{} still waits for {}", wait.agent, wait.key)).collect();
        if waits.is_empty() {
            wrong.push("nobody ever waited: there was nothing to arbitrate".into());
        }
        let longest = waits.iter().max_by_key(|wait| length(wait));
        let longest = longest.map_or_else(String::new, |wait| {
            let dead = if Some(wait.held_by.as_str()) == victim { ", the dead agent" } else { "" };
            let seconds = std::time::Duration::from_micros(length(wait)).as_secs_f64();
            format!("; the longest {seconds:.1} s, {} for {} held by {}{dead}", wait.agent, wait.key, wait.held_by)
        });
        verdict("Whoever had to wait for a lock got it", wrong, format!("{} waits{longest}", waits.len()))
    }

    fn audited(&self) -> Check {
        let divided = self.trail.divided();
        let (mut told, mut kept) = (self.story.answers.clone(), divided.answers.clone());
        told.sort();
        kept.sort();
        let mut wrong = vec![];
        if told != kept {
            wrong.push(format!(
                "{} answers were received and {} are in the trail; only received: {:?}; only in the trail: {:?}",
                told.len(),
                kept.len(),
                surplus(&told, &kept),
                surplus(&kept, &told)
            ));
        }
        let rows = &self.trail.rows;
        if !rows.iter().map(|row| row.seq).eq(1..=rows.len() as i64) {
            wrong.push("the rows are not numbered without a gap".into());
        }
        let good = format!(
            "{} rows numbered without a gap = {} answers received + {} heartbeats + {} first registrations + {} deeds of \
             the coordinator's own",
            rows.len(),
            told.len(),
            divided.heartbeats,
            divided.registrations,
            divided.own
        );
        verdict("Every acknowledged change is in the audit trail, and nothing else", wrong, good)
    }

    fn nothing_left(&self) -> Check {
        let now = &self.story.now;
        let mut wrong = self.replay.left.iter().map(|lock| format!("still held: {lock}")).collect::<Vec<_>>();
        wrong.extend(now.locks.iter().map(|lock| format!("still locked: {} by {}", lock.key, lock.agent_id)));
        wrong.extend(now.waiters.iter().map(|waiter| format!("still in the queue: {}", waiter.agent_id)));
        let victim = self.story.killing.as_ref().map(|killing| killing.agent.as_str());
        let mut ended = 0;
        for agent in self.story.agents.iter().filter(|agent| Some(agent.name.as_str()) != victim) {
            match agent.ending.as_deref() {
                Some("exit code 0") => ended += 1,
                ending => wrong.push(format!("{} ended with {}", agent.name, ending.unwrap_or("nothing"))),
            }
        }
        verdict(
            "Nothing is left behind",
            wrong,
            format!("no lock, no waiter, no claim; {ended} agents ended by themselves"),
        )
    }
}

fn verdict(name: &'static str, wrong: Vec<String>, good: String) -> Check {
    Check { name, passed: wrong.is_empty(), evidence: if wrong.is_empty() { good } else { wrong.join("; ") } }
}

fn failed(name: &'static str, why: &str) -> Check {
    Check { name, passed: false, evidence: why.to_owned() }
}

fn overlap(a: &EditSpan, b: &EditSpan) -> bool {
    a.until.is_none_or(|end| b.from < end) && b.until.is_none_or(|end| a.from < end)
}

/// In microseconds; nothing for one that has not ended.
fn length(wait: &Wait) -> u64 {
    let length = wait.until.map(|until| until.as_microsecond() - wait.from.as_microsecond());
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What is in `these` more often than in `those`; three of them are enough to begin with.
fn surplus<T: PartialEq + Clone>(these: &[T], those: &[T]) -> Vec<T> {
    let mut rest = those.to_vec();
    let mut surplus = these.to_vec();
    surplus.retain(|item| match rest.iter().position(|other| other == item) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    });
    surplus.truncate(3);
    surplus
}
