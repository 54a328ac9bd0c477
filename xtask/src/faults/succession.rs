//! Who comes after the dead, and when: a holder is killed or stopped, and the next in line is timed.
//!
//! A lock or a claim must pass on within its lease and a second, never earlier; and a holder that was stopped and wakes
//! after its lease must find that its proof is worth nothing any more.

mod puppet;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use testing::postgres::Cluster;

use super::child::{Reply, Way};
use super::disk::Disk;
use super::model::Leases;
use super::rng::Rng;
use super::run::Stage;
use super::servers::Servers;
use super::{clock, report, subdirectory};
use puppet::Puppet;

/// What a lease may take longer than it is.
const MARGIN: Duration = Duration::from_secs(1);
/// The leases of the short scenes.
const SHORT: Leases = Leases { session: 3, task: 3 };
/// Long enough for a lock to end by its own time.
const LONG: Leases = Leases { session: 900, task: 900 };
/// The shortest life of a lock.
const LOCK_TTL: Duration = Duration::from_secs(60);
/// How often the short scenes are played.
const ROUNDS: usize = 5;
/// A scene in which the disk kept a write waiting for this long says nothing of us, and is played again,
const VOID: Duration = Duration::from_millis(500);
/// so often.
const ATTEMPTS: usize = 6;
/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(130);

/// The least and the most that a delay may be.
type Limits = (Duration, Duration);

/// What is played in a house under a name, and the delay that came of it.
type Scene<'a> = dyn Fn(&House<'a>, &str) -> anyhow::Result<Duration> + Sync;

/// One measurement.
struct Measure {
    engine: &'static str,
    what: &'static str,
    /// Neither earlier nor later, but for what only has to be refused.
    limits: Option<Limits>,
    /// From the lease's beginning or the holder's death, as the limits are.
    delays: Vec<Duration>,
}

/// Plays all scenes on both engines, prints the delays and tells what was wrong. `whole` includes the scene that takes a
/// minute.
pub fn run(stage: &Stage<'_>, whole: bool) -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start()?;
    let disk = Disk::watch(&stage.directory)?;
    let postgres = |name: &'static str, leases| -> anyhow::Result<(House<'_>, Option<Servers>)> {
        let directory = subdirectory(&stage.directory, name)?;
        let mut settings = stage.postgres(cluster.dsn("postgres"), leases);
        settings.push(("COORDINATOR_PROJECT".into(), name.into()));
        let mut rng = Rng::new(stage.seed, &[name.len() as u64]);
        let servers = Servers::start(stage.programs, 2, &settings, &directory, &mut rng)?;
        let way = Way::Http { ports: servers.ports().to_vec() };
        Ok((House { stage, disk: &disk, engine: "postgres", way }, Some(servers)))
    };
    let sqlite = |name: &'static str, leases| -> anyhow::Result<(House<'_>, Option<Servers>)> {
        let directory = subdirectory(&stage.directory, name)?;
        let launch = stage.stdio(&directory.join("coordinator.db"), leases);
        Ok((House { stage, disk: &disk, engine: "sqlite", way: Way::Stdio { launch, killed: false } }, None))
    };
    let mut houses = vec![(postgres("short", SHORT)?, false), (sqlite("short-sqlite", SHORT)?, false)];
    if whole {
        houses.extend([(postgres("minute", LONG)?, true), (sqlite("minute-sqlite", LONG)?, true)]);
    }
    let played: Vec<anyhow::Result<(Vec<Measure>, Vec<String>)>> = std::thread::scope(|scope| {
        let play = |((house, servers), is_long): ((House<'_>, Option<Servers>), bool)| {
            let measures = house.play(is_long);
            let crashes = servers.map(Servers::end).unwrap_or_default();
            Ok((measures?, crashes))
        };
        let threads: Vec<_> = houses.into_iter().map(|house| scope.spawn(move || play(house))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a scene broke off"))).collect()
    });
    let (mut measures, mut failures) = (vec![], vec![]);
    for result in played {
        let (measured, crashes) = result?;
        measures.extend(measured);
        failures.extend(crashes);
    }
    print(&measures);
    if !whole {
        println!("\nThe scene of a lock that ends by its own time takes a minute and was left out: --seconds 60");
    }
    for measure in measures.iter().filter(|measure| !measure.is_good()) {
        failures.push(format!("succession on {}: {}: {}", measure.engine, measure.what, measure.in_words()));
    }
    Ok(failures)
}

fn print(measures: &[Measure]) {
    let head = ["engine", "scene", "allowed", "measured", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(measures.iter().map(|measure| {
        let allowed = match measure.limits {
            Some((least, most)) => format!("{:.2} to {:.2} s", least.as_secs_f64(), most.as_secs_f64()),
            None => "refused".into(),
        };
        let verdict = if measure.is_good() { "ok" } else { "VIOLATION" };
        vec![measure.engine.into(), measure.what.into(), allowed, measure.in_words(), verdict.into()]
    }));
    println!();
    report::table(&rows);
}

impl Measure {
    fn is_good(&self) -> bool {
        let fits = |delay: &Duration| self.limits.is_none_or(|(least, most)| (least..=most).contains(delay));
        self.delays.iter().all(fits)
    }

    fn in_words(&self) -> String {
        if self.limits.is_none() {
            return "refused".into();
        }
        let delays: Vec<String> = self.delays.iter().map(|delay| format!("{:.2}", delay.as_secs_f64())).collect();
        format!("{} s", delays.join(", "))
    }
}

/// Where scenes are played: an engine with leases of one length.
struct House<'a> {
    stage: &'a Stage<'a>,
    disk: &'a Disk,
    engine: &'static str,
    way: Way,
}

impl<'a> House<'a> {
    fn play(&self, is_long: bool) -> anyhow::Result<Vec<Measure>> {
        Ok(if is_long {
            let what = "holder killed, lock for 1 minute: granted to the waiter after";
            vec![self.in_rounds(what, (LOCK_TTL, LOCK_TTL + MARGIN), 1, &Self::lock_that_ends)?]
        } else {
            let all = self.limits();
            vec![
                self.in_rounds("holder killed: granted to the waiter after", all, ROUNDS, &Self::dead_holder)?,
                self.in_rounds("worker killed: its task is the next one's after", all, ROUNDS, &Self::dead_worker)?,
                self.in_rounds("holder stopped: granted to the waiter after", all, ROUNDS, &Self::stopped_holder)?,
                self.measure("it wakes and writes with its old tokens", None, vec![]),
            ]
        })
    }

    /// An agent with a session. On PostgreSQL, each second one goes through another server.
    fn enter(&self, name: &str, place: usize) -> anyhow::Result<Puppet<'a>> {
        let mut way = self.way.clone();
        if let Way::Http { ports } = &mut way {
            let first = place % ports.len();
            ports.rotate_left(first);
        }
        let mut puppet = Puppet::start(self.stage, name, way)?;
        puppet.done("register_session", json!({}))?;
        Ok(puppet)
    }

    fn measure(&self, what: &'static str, limits: Option<Limits>, delays: Vec<Duration>) -> Measure {
        Measure { engine: self.engine, what, limits, delays }
    }

    /// A killed holder's lock lasts as long as it was taken for, when its session does not end before.
    fn lock_that_ends(&self, name: &str) -> anyhow::Result<Duration> {
        let key = format!("src/{name}/a.rs");
        let (mut holder, mut waiter) = (self.enter(name, 0)?, self.enter(&format!("waiter of {name}"), 1)?);
        let taken = holder.done("acquire_lock", json!({"file_path": key, "ttl_minutes": 1}))?;
        waiter.order("acquire_lock", json!({"file_path": format!("src/{name}"), "wait_seconds": 120}))?;
        sleep(Duration::from_secs(1));
        holder.kill()?;
        Ok(Duration::from_nanos(waiter.expect(PATIENCE)?.at - taken.asked))
    }

    /// Plays a scene several times at once, each time with a name for agents, keys and kinds of work of its own.
    fn in_rounds(
        &self,
        what: &'static str,
        limits: Limits,
        rounds: usize,
        scene: &Scene<'a>,
    ) -> anyhow::Result<Measure> {
        let delays: anyhow::Result<Vec<Duration>> = std::thread::scope(|scope| {
            let play = move |round| self.play_until_valid(what, limits, round, scene);
            let rounds: Vec<_> = (0..rounds).map(|round| scope.spawn(move || play(round))).collect();
            rounds.into_iter().map(|round| round.join().unwrap_or_else(|_| bail!("a scene broke off"))).collect()
        });
        Ok(self.measure(what, Some(limits), delays.context(what)?))
    }

    fn play_until_valid(
        &self,
        what: &'static str,
        limits: Limits,
        round: usize,
        scene: &Scene<'a>,
    ) -> anyhow::Result<Duration> {
        let mut attempt = 1;
        loop {
            let began = clock::monotonic();
            let delay = scene(self, &format!("{}-{round}-{attempt}", what.split(':').next().unwrap_or_default()));
            let is_good = delay.as_ref().is_ok_and(|delay| (limits.0..=limits.1).contains(delay));
            let stall = self.disk.longest_stall(began, clock::monotonic());
            if is_good || stall < VOID || attempt == ATTEMPTS {
                return delay;
            }
            eprintln!("{}: {what}: played again, for the disk kept a write waiting for {stall:.2?}", self.engine);
            attempt += 1;
        }
    }

    /// A killed holder's lock lasts as long as its session.
    fn dead_holder(&self, name: &str) -> anyhow::Result<Duration> {
        let key = format!("src/{name}.rs");
        let (mut holder, mut waiter) = (self.enter(name, 0)?, self.enter(&format!("waiter of {name}"), 1)?);
        holder.done("acquire_lock", json!({"file_path": key}))?;
        waiter.order("acquire_lock", json!({"file_path": key, "wait_seconds": 30}))?;
        let last_sign = live_on(&mut [&mut holder])?;
        holder.kill()?;
        Ok(Duration::from_nanos(waiter.expect(PATIENCE)?.at - last_sign))
    }

    /// A killed worker's task is another's after its lease.
    fn dead_worker(&self, name: &str) -> anyhow::Result<Duration> {
        let (mut worker, mut next) = (self.enter(name, 0)?, self.enter(&format!("next of {name}"), 1)?);
        next.done("submit_work", json!({"task_type": name, "description": "A test"}))?;
        worker.done("get_work", json!({"task_types": [name]}))?;
        let last_sign = live_on(&mut [&mut next, &mut worker])?;
        worker.kill()?;
        Ok(Duration::from_nanos(next.claim_at_last(name)?.at - last_sign))
    }

    /// An agent's process sends heartbeats every third of a lease by itself; a server's client, when it is told to.
    fn limits(&self) -> Limits {
        let lease = Duration::from_secs(SHORT.session as u64);
        (lease - Duration::from_millis(200), lease + MARGIN)
    }

    /// A holder that slept through its lease holds nothing and can prove nothing.
    fn stopped_holder(&self, name: &str) -> anyhow::Result<Duration> {
        let key = format!("docs/{name}.md");
        let (mut holder, mut next) = (self.enter(name, 0)?, self.enter(&format!("next of {name}"), 1)?);
        next.done("submit_work", json!({"task_type": name, "description": "A test"}))?;
        let lock = holder.done("acquire_lock", json!({"file_path": key}))?;
        let claim = holder.done("get_work", json!({"task_types": [name]}))?;
        let stopped = clock::monotonic();
        holder.stop()?;
        let granted = next.done("acquire_lock", json!({"file_path": key, "wait_seconds": 30}))?;
        let claimed = next.claim_at_last(name)?;
        let grew = |new: &Value, old: &Value| new["fencing_token"].as_i64() > old["fencing_token"].as_i64();
        ensure!(grew(&granted.answer, &lock.answer) && grew(&claimed.answer, &claim.answer), "a token did not grow");

        holder.resume()?;
        let token = lock.answer["fencing_token"].clone();
        let write = json!({"file_path": key, "fencing_token": token});
        let end = json!({
            "task_id": claim.answer["task_id"], "success": true, "fencing_token": claim.answer["fencing_token"],
        });
        holder.refused("acquire_lock", write.clone(), "session_expired")?;
        holder.refused("complete_work", end.clone(), "session_expired")?;
        holder.done("register_session", json!({}))?;
        holder.refused("acquire_lock", write.clone(), "stale_fencing_token")?;
        holder.refused("release_lock", write, "lock_not_found_or_not_owner")?;
        holder.refused("complete_work", end, "task_not_found_or_not_claimed_by_agent")?;

        let locks = next.done("check_locks", json!({}))?.answer;
        let held = locks.as_array().into_iter().flatten().find(|lock| lock["file_path"] == key);
        let held = held.context("the new holder's lock is gone")?;
        ensure!(held["fencing_token"] == granted.answer["fencing_token"], "the new holder's lock was changed: {held}");
        Ok(Duration::from_nanos(granted.at - stopped))
    }
}

/// They live by their heartbeats for longer than their first lease. Tells when that ended.
fn live_on(puppets: &mut [&mut Puppet<'_>]) -> anyhow::Result<u64> {
    for _ in 0..4 {
        sleep(Duration::from_secs(1));
        for puppet in &mut *puppets {
            puppet.done("heartbeat", json!({}))?;
        }
    }
    Ok(clock::monotonic())
}

/// An answer that was the right one.
struct Done {
    asked: u64,
    at: u64,
    answer: Value,
}

impl Puppet<'_> {
    /// The answer to the last order, which must be a success.
    fn expect(&mut self, patience: Duration) -> anyhow::Result<Done> {
        let answer = self.answer(patience)?;
        match answer.reply {
            Reply::Done(told) if told.is_array() || told["success"] == true => {
                Ok(Done { asked: answer.asked, at: answer.answered, answer: told })
            }
            other => bail!("{}: {other:?}", self.name()),
        }
    }

    fn done(&mut self, operation: &str, arguments: Value) -> anyhow::Result<Done> {
        self.order(operation, arguments)?;
        self.expect(PATIENCE).with_context(|| operation.to_owned())
    }

    /// Asks for what must be refused for this reason.
    fn refused(&mut self, operation: &str, arguments: Value, code: &str) -> anyhow::Result<()> {
        self.order(operation, arguments)?;
        let reply = self.answer(PATIENCE)?.reply;
        let said = match &reply {
            Reply::Done(told) if told["success"] == false => told["reason"].as_str(),
            Reply::Refused(told) => told["error"].as_str(),
            _ => None,
        };
        ensure!(said == Some(code), "{}: {operation} should be refused with {code}: {reply:?}", self.name());
        Ok(())
    }

    /// Asks for work of this kind until there is some.
    fn claim_at_last(&mut self, kind: &str) -> anyhow::Result<Done> {
        loop {
            self.order("get_work", json!({"task_types": [kind]}))?;
            let answer = self.answer(PATIENCE)?;
            match answer.reply {
                Reply::Done(told) if told["success"] == true => {
                    return Ok(Done { asked: answer.asked, at: answer.answered, answer: told });
                }
                Reply::Done(_) => sleep(Duration::from_millis(50)),
                other => bail!("{}: {other:?}", self.name()),
            }
        }
    }
}
