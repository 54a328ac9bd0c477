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

use super::child::{Launch, Reply, Way};
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
/// Longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(130);

/// One measurement.
struct Measure {
    engine: &'static str,
    what: &'static str,
    /// Neither earlier nor later, but for what only has to be refused.
    limits: Option<(Duration, Duration)>,
    /// From the lease's beginning or the holder's death, as the limits are.
    delays: Vec<Duration>,
}

/// Plays all scenes on both engines, prints the delays and tells what was wrong. `whole` includes the scene that takes a
/// minute.
pub fn run(stage: &Stage<'_>, whole: bool) -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start()?;
    let postgres = |name: &'static str, leases| -> anyhow::Result<House<'_>> {
        let directory = subdirectory(&stage.directory, name)?;
        let mut settings = stage.postgres(cluster.dsn("postgres"), leases);
        settings.push(("COORDINATOR_PROJECT".into(), name.into()));
        let mut rng = Rng::new(stage.seed, &[name.len() as u64]);
        let servers = Servers::start(stage.programs, 2, &settings, &directory, &mut rng)?;
        Ok(House { stage, engine: "postgres", kind: Kind::Postgres(servers) })
    };
    let sqlite = |name: &'static str, leases| -> anyhow::Result<House<'_>> {
        let directory = subdirectory(&stage.directory, name)?;
        Ok(House { stage, engine: "sqlite", kind: Kind::Sqlite(stage.stdio(&directory.join("coordinator.db"), leases)) })
    };
    let mut houses = vec![(postgres("short", SHORT)?, false), (sqlite("short-sqlite", SHORT)?, false)];
    if whole {
        houses.extend([(postgres("minute", LONG)?, true), (sqlite("minute-sqlite", LONG)?, true)]);
    }
    let played: Vec<anyhow::Result<(Vec<Measure>, Vec<String>)>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            houses.into_iter().map(|(house, is_long)| scope.spawn(move || house.play(is_long))).collect();
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
    engine: &'static str,
    kind: Kind,
}

enum Kind {
    Postgres(Servers),
    Sqlite(Launch),
}

impl<'a> House<'a> {
    fn play(self, is_long: bool) -> anyhow::Result<(Vec<Measure>, Vec<String>)> {
        let measures = if is_long {
            vec![self.lock_that_ends()?]
        } else {
            let [lock, task, stopped] = [self.dead_holder(), self.dead_worker(), self.stopped_holder()];
            let (overtaken, refused) = stopped?;
            vec![lock?, task?, overtaken, refused]
        };
        let crashes = match self.kind {
            Kind::Postgres(servers) => servers.end(),
            Kind::Sqlite(_) => vec![],
        };
        Ok((measures, crashes))
    }

    /// An agent with a session. On PostgreSQL, each second one goes through another server.
    fn enter(&self, name: &str, place: usize) -> anyhow::Result<Puppet<'a>> {
        let way = match &self.kind {
            Kind::Postgres(servers) => {
                let mut ports = servers.ports().to_vec();
                let count = ports.len();
                ports.rotate_left(place % count);
                Way::Http { ports }
            }
            Kind::Sqlite(launch) => Way::Stdio { launch: launch.clone(), killed: false },
        };
        let mut puppet = Puppet::start(self.stage, name, way)?;
        puppet.done("register_session", json!({}))?;
        Ok(puppet)
    }

    fn measure(&self, what: &'static str, limits: Option<(Duration, Duration)>, delays: Vec<Duration>) -> Measure {
        Measure { engine: self.engine, what, limits, delays }
    }

    /// A killed holder's lock lasts as long as it was taken for, when its session does not end before.
    fn lock_that_ends(&self) -> anyhow::Result<Measure> {
        let (mut holder, mut waiter) = (self.enter("holder", 0)?, self.enter("waiter", 1)?);
        let taken = holder.done("acquire_lock", json!({"file_path": "src/a.rs", "ttl_minutes": 1}))?;
        waiter.order("acquire_lock", json!({"file_path": "src", "wait_seconds": 120}))?;
        sleep(Duration::from_secs(1));
        holder.kill()?;
        let granted = waiter.expect(PATIENCE)?;
        let delay = Duration::from_nanos(granted.at - taken.at);
        let limits = Some((LOCK_TTL - Duration::from_nanos(taken.at - taken.asked), LOCK_TTL + MARGIN));
        Ok(self.measure("holder killed, lock for 1 minute: granted to the waiter after", limits, vec![delay]))
    }

    /// A killed holder's lock lasts as long as its session.
    fn dead_holder(&self) -> anyhow::Result<Measure> {
        let mut delays = vec![];
        for round in 0..ROUNDS {
            let key = format!("src/{round}.rs");
            let mut holder = self.enter(&format!("holder-{round}"), round)?;
            let mut waiter = self.enter(&format!("waiter-{round}"), round + 1)?;
            holder.done("acquire_lock", json!({"file_path": key}))?;
            waiter.order("acquire_lock", json!({"file_path": key, "wait_seconds": 30}))?;
            // Past its first lease, so that it lives by its heartbeats.
            for _ in 0..4 {
                sleep(Duration::from_secs(1));
                holder.done("heartbeat", json!({}))?;
            }
            let last_sign = clock::monotonic();
            holder.kill()?;
            delays.push(Duration::from_nanos(waiter.expect(PATIENCE)?.at - last_sign));
        }
        Ok(self.measure("holder killed: granted to the waiter after", Some(self.limits()), delays))
    }

    /// A killed worker's task is another's after its lease.
    fn dead_worker(&self) -> anyhow::Result<Measure> {
        let mut delays = vec![];
        for round in 0..ROUNDS {
            let mut worker = self.enter(&format!("worker-{round}"), round)?;
            let mut next = self.enter(&format!("next-{round}"), round + 1)?;
            next.done("submit_work", json!({"task_type": "test", "description": "A test"}))?;
            worker.done("get_work", json!({}))?;
            for _ in 0..4 {
                sleep(Duration::from_secs(1));
                worker.done("heartbeat", json!({}))?;
            }
            let last_sign = clock::monotonic();
            worker.kill()?;
            let claimed = next.claim_at_last()?;
            delays.push(Duration::from_nanos(claimed.at - last_sign));
            next.done("complete_work", json!({"task_id": claimed.answer["task_id"], "success": true}))?;
        }
        Ok(self.measure("worker killed: its task is the next one's after", Some(self.limits()), delays))
    }

    /// An agent's process sends heartbeats every third of a lease by itself; a server's client, when it is told to.
    fn limits(&self) -> (Duration, Duration) {
        let lease = Duration::from_secs(SHORT.session as u64);
        (lease - Duration::from_millis(50), lease + MARGIN)
    }

    /// A holder that slept through its lease holds nothing and can prove nothing.
    fn stopped_holder(&self) -> anyhow::Result<(Measure, Measure)> {
        let (mut holder, mut next) = (self.enter("sleeper", 0)?, self.enter("successor", 1)?);
        next.done("submit_work", json!({"task_type": "test", "description": "A test"}))?;
        let lock = holder.done("acquire_lock", json!({"file_path": "src/x.rs"}))?;
        let claim = holder.done("get_work", json!({}))?;
        let stopped = clock::monotonic();
        holder.stop()?;
        let granted = next.done("acquire_lock", json!({"file_path": "src/x.rs", "wait_seconds": 30}))?;
        let delay = Duration::from_nanos(granted.at - stopped);
        let claimed = next.claim_at_last()?;
        let grew = |new: &Value, old: &Value| new["fencing_token"].as_i64() > old["fencing_token"].as_i64();
        ensure!(grew(&granted.answer, &lock.answer) && grew(&claimed.answer, &claim.answer), "a token did not grow");

        holder.resume()?;
        let token = lock.answer["fencing_token"].clone();
        let write = json!({"file_path": "src/x.rs", "fencing_token": token});
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
        let held = locks.as_array().into_iter().flatten().find(|lock| lock["file_path"] == "src/x.rs");
        let held = held.context("the new holder's lock is gone")?;
        ensure!(held["fencing_token"] == granted.answer["fencing_token"], "the new holder's lock was changed: {held}");
        next.done("complete_work", json!({"task_id": claimed.answer["task_id"], "success": true}))?;
        Ok((
            self.measure("holder stopped: granted to the waiter after", Some(self.limits()), vec![delay]),
            self.measure("it wakes and writes with its old tokens", None, vec![]),
        ))
    }
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

    /// Asks for work until there is some.
    fn claim_at_last(&mut self) -> anyhow::Result<Done> {
        loop {
            self.order("get_work", json!({}))?;
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
