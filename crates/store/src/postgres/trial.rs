//! Temporary.
use std::sync::{Arc, Mutex};
use jiff::{Timestamp, ToSpan};
use model::{JsonText, command::*, id::*, key::LockKey, locks::LockMode, work::*, audit::*, api_keys::ApiKey};
use uuid::Uuid;
use crate::{Store, Clock, memory::MemoryStore};
use super::*;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 { self.0 ^= self.0 << 13; self.0 ^= self.0 >> 7; self.0 ^= self.0 << 17; self.0 >> 11 }
    fn below(&mut self, n: u64) -> u64 { self.next() % n }
    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T { &of[self.below(of.len() as u64) as usize] }
    fn chance(&mut self, percent: u64) -> bool { self.below(100) < percent }
}
const KEYS: &[&str] = &["src", "src/a.rs", "src/b.rs", "src/a", "src/a/b", "src/*.rs", "src/**/*.rs", "**/*.py", "x?/y", "xa/y", "src/a/c.py", ".", "src/??.rs", "*/a*", "src/*b*", "db:users", "db:schema:users", "api:GET /v1/users", "api:/v1/users", "api:/v1/*", "event:user.*", "event:user.created", "flag:b/*", "flag:b/c", "env:x", "contract:a/b.yaml", "feature:f1:pause", "feature:f2:pause", "feature:f1:lead", "feature:f1:a/b", "feature:f1/a:b", "app/[id]/p.tsx", "app/*/p.tsx", "a%b_c\\d/x*", "caf\u{e9}*/z"];
fn keys(r: &mut Rng) -> Vec<LockKey> {
    let n = if r.chance(70) { 1 } else { 1 + r.below(3) };
    let few = r.below(2) == 0; let mut v: Vec<LockKey> = (0..n).map(|_| LockKey::parse(*r.one::<&str>(if few { &KEYS[..8] } else { KEYS })).unwrap()).collect();
    v.sort(); v.dedup(); v
}
fn opt<T>(r: &mut Rng, percent: u64, f: impl FnOnce(&mut Rng) -> T) -> Option<T> { if r.chance(percent) { Some(f(r)) } else { None } }
struct World { claimed: Vec<(Uuid, usize)>, tasks: Vec<Uuid>, tickets: Vec<(Uuid, usize, Acquire)>, n: u128, last_seq: i64, keys: Vec<Uuid> }
fn command(r: &mut Rng, w: &mut World, now: Timestamp) -> Command {
    w.n += 1;
    let id = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_0000_0000 + w.n);
    let mut agent = r.below(4) as usize;
    let token = |r: &mut Rng, w: &World| { r.below(w.last_seq as u64 + 3) as i64 };
    let kind = match w.n >> 40 { seed if seed % 3 == 1 => r.below(40), seed if seed % 3 == 2 => 40 + r.below(48), _ => r.below(100) };
    let action = match kind {
        0..=29 => {
            let wait = opt(r, 40, |r| Wait { ticket: Uuid::from_u128(r.next() as u128 * 77777777777 + w.n), last: r.chance(15) });
            let mut a = Acquire { keys: keys(r), mode: if r.chance(75) { LockMode::Exclusive } else { LockMode::Shared }, reason: opt(r, 50, |r| format!("reason {} \"q\" é", r.below(5))),
                ttl_seconds: 1 + r.below(40) as u32, feature_id: opt(r, 20, |r| r.one(&["f1", "f2", "odd id"]).to_string()), fencing_token: opt(r, 10, |r| token(r, w)), wait };
            if !w.tickets.is_empty() && r.chance(60) { let (t, ag, old) = r.one(&w.tickets).clone(); agent = ag; a = Acquire { wait: Some(Wait { ticket: t, last: r.chance(10) }), ..old }; }
            else if let Some(wait) = a.wait { w.tickets.push((wait.ticket, agent, a.clone())); if w.tickets.len() > 5 { w.tickets.remove(0); } }
            Action::Acquire(a)
        }
        30..=39 => Action::Release(Release { keys: keys(r), fencing_token: opt(r, 30, |r| token(r, w)) }),
        40..=54 => {
            let task_id = Uuid::from_u128(r.next() as u128 * 1_000_003_000_000_007 + w.n);
            let mut depends_on: Vec<Uuid> = if r.chance(50) && !w.tasks.is_empty() { (0..1 + r.below(3)).map(|_| *r.one(&w.tasks)).collect() } else { vec![] };
            if r.chance(3) { depends_on.push(Uuid::from_u128(r.next() as u128)); }
            depends_on.sort(); depends_on.dedup();
                        Action::Submit(Submit { task_id, task_type: r.one(&["build", "test", "docs"]).to_string(), description: "do \\ it".into(),
                input_data: opt(r, 50, |_| JsonText::new(&serde_json::json!({"b": 1.0, "a": [1e30, "\0x", null], "0": 1e2}))), priority: 1 + r.below(10) as u8, depends_on,
                deadline: opt(r, 25, |r| now + (r.below(40) as i64 - 3).seconds()), max_attempts: 1 + r.below(3) as u32, idempotency_key: opt(r, 20, |r| format!("k{}", r.below(6))), fingerprint: format!("p{}", r.below(2)),
                required_capability: opt(r, 20, |r| r.one(&["rust", "go"]).to_string()), assignee: opt(r, 15, |r| AgentId::new(format!("agent{}", r.below(4))).unwrap()), feature_id: opt(r, 25, |r| r.one(&["f1", "f2"]).to_string()) })
        }
        55..=66 => Action::Claim(Claim { task_types: opt(r, 40, |r| (0..r.below(3)).map(|_| r.one(&["build", "test", "docs", "none"]).to_string()).collect()), lease_seconds: 1 + r.below(30) as u32 }),
        67..=78 => Action::Complete(Complete { task_id: if !w.claimed.is_empty() && r.chance(85) { let (t, a) = *r.one(&w.claimed); agent = a; t } else if w.tasks.is_empty() { id } else { *r.one(&w.tasks) }, success: r.chance(55), result: opt(r, 50, |_| JsonText::new(&serde_json::json!({"ok": [1.50, 2e3, "\u{0}"]}))),
            error_code: opt(r, 30, |r| r.one(&["boom", CANCELLED]).to_string()), error_message: opt(r, 40, |_| "because".into()), fencing_token: opt(r, 30, |r| token(r, w)) }),
        79..=81 => Action::Cancel(Cancel { task_id: if w.tasks.is_empty() { id } else { *r.one(&w.tasks) }, reason: "no".into(), result: JsonText::new(&serde_json::json!({"error_code": CANCELLED})) }),
        82..=87 => Action::Register(Register { capabilities: r.one(&[vec![], vec!["rust".to_string()], vec!["go".into(), "rust".into()]]).clone(), current_task: opt(r, 50, |_| "t".into()), ttl_seconds: 10 + r.below(200) as u32 }),
        88..=92 => Action::Heartbeat,
        93 => Action::Cleanup(Cleanup { silent_seconds: r.below(20) as u32 }),
        94..=95 => { w.keys.push(id); Action::CreateKey(ApiKey { id, name: "n".into(), hash: format!("{:064x}", w.n), project: Project::new("p").unwrap(), agent_id: opt(r, 50, |_| AgentId::new("agent1").unwrap()), agent_type: None, created_at: now, expires_at: opt(r, 50, |_| now + 5.seconds()), revoked_at: None }) }
        96..=97 => Action::RevokeKey { id: if w.keys.is_empty() { id } else { *r.one(&w.keys) } },
        _ => Action::Refuse(Refusal::IdentityMismatch { message: "not you".into() }),
    };
    let session_id = opt(r, 60, |r| SessionId::new(format!("s{}", if r.chance(92) { agent as u64 * 2 + r.below(2) } else { r.below(8) })).unwrap());
    Command { id, caller: Caller { agent_id: AgentId::new(format!("agent{agent}")).unwrap(), agent_type: "claude".into(), session_id }, operation: "op".into(), parameters: JsonText::new(&serde_json::json!({"z": 1, "a": 2.50, "n": "\0", "e": 1e22})), duration_ms: 3, action }
}
fn anonymous(mut a: Vec<AuditEntry>) -> Vec<AuditEntry> { for e in &mut a { if e.agent_id == SYSTEM_AGENT { e.id = Uuid::nil(); } } a }

fn same<T: PartialEq + std::fmt::Debug>(a: &[T], b: &[T], what: &str) { if a != b { for (x, y) in a.iter().zip(b) { if x != y { println!("- {x:?}\n+ {y:?}"); } } } assert_eq!(a.len(), b.len(), "{what}"); assert!(a == b, "{what}"); }
#[tokio::test]
async fn differential() {
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let first: u64 = std::env::var("FIRST").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let dsn = std::env::var("TRIAL_DSN").unwrap();
    let pg = PostgresStore::connect(&dsn, PoolSize { min: 1, max: 4 }).await.unwrap();
    let (client, c) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.unwrap(); tokio::spawn(c);
    client.batch_execute("create table if not exists public.clock (now timestamptz); delete from public.clock; insert into public.clock values (now()); create or replace function coordinator.clock() returns timestamptz language sql volatile as $$ select now from public.clock $$").await.unwrap();
    let mut kinds = std::collections::BTreeMap::<String, u32>::new();
    for seed in first..first + seeds {
        let project = Project::new(format!("p{seed}-{}", Uuid::now_v7())).unwrap();
        let mut r = Rng(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1);
        for _ in 0..20 { r.next(); }
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = Arc::new(Mutex::new(start));
        let c = clock.clone();
        let memory = MemoryStore::new(Clock::new(move || *c.lock().unwrap()));
        let mut w = World { claimed: vec![], tasks: vec![], tickets: vec![], n: (seed as u128) << 40, last_seq: 0, keys: vec![] };
                for step in 0..80 {
            let now = { let mut c = clock.lock().unwrap(); *c = *c + (*r.one(&[0i64, 1000, 300_000, 1_000_000, 1_500_000, 1_000_000, 2_000_000, 4_000_000, 20_000_000])).microseconds(); *c };
            client.batch_execute(&format!("update public.clock set now = '{now}'")).await.unwrap();
            let n = r.below(6);
            let mut batch: Vec<Command> = (0..n).map(|_| command(&mut r, &mut w, now)).collect();
            for c in &mut batch { if let Action::CreateKey(k) = &mut c.action { k.project = project.clone(); } }
            let expected = memory.apply(&project, &batch).await.unwrap();
            let got = pg.apply(&project, &batch).await.unwrap();
            for ((c, e), g) in batch.iter().zip(&expected).zip(&got) { match e { Outcome::Claimed { task } => { w.claimed.push((task.task_id, c.caller.agent_id.as_str()[5..].parse().unwrap())); if w.claimed.len() > 4 { w.claimed.remove(0); } } Outcome::Submitted { task_id, repeated: false } => { w.tasks.push(*task_id); if w.tasks.len() > 12 { w.tasks.remove(0); } } _ => {} } *kinds.entry(serde_json::to_value(e).map(|v| format!("{} {} {}", serde_json::to_value(&c.action).unwrap()["kind"], v["kind"], v["code"])).unwrap()).or_default() += 1; assert_eq!(e, g, "seed {seed} step {step}\n{}", serde_json::to_string(c).unwrap()); }
            assert_eq!(expected.len(), got.len());
            assert_eq!(memory.locks(&project, None).await.unwrap(), pg.locks(&project, None).await.unwrap(), "locks {seed} {step}");
            let some = keys(&mut r);
            assert_eq!(memory.locks(&project, Some(&some)).await.unwrap(), pg.locks(&project, Some(&some)).await.unwrap(), "locks {seed} {step}");
            assert_eq!(memory.waiters(&project).await.unwrap(), pg.waiters(&project).await.unwrap(), "waiters {seed} {step}");
            let filter = TaskFilter { status: opt(&mut r, 30, |r| *r.one(&[TaskStatus::Pending, TaskStatus::Failed])), error_code: None, task_type: opt(&mut r, 20, |_| "build".into()), limit: if r.chance(50) { 5 } else { 1000 }, before: None };
            let t = memory.tasks(&project, &filter).await.unwrap();
            same(&t, &pg.tasks(&project, &filter).await.unwrap(), &format!("tasks {seed} {step}"));
            if let Some(t) = t.first() { assert_eq!(memory.task(&project, t.task_id).await.unwrap(), pg.task(&project, t.task_id).await.unwrap()); }
            for connected in [true, false] { assert_eq!(memory.sessions(&project, connected).await.unwrap(), pg.sessions(&project, connected).await.unwrap(), "sessions {seed} {step}"); }
            let f = AuditFilter { limit: 30, agent_id: opt(&mut r, 30, |_| "agent1".into()), success: opt(&mut r, 20, |r| r.chance(50)), ..Default::default() };
            same(&anonymous(memory.audit(&project, &f).await.unwrap()), &anonymous(pg.audit(&project, &f).await.unwrap()), "audit");
            let mut next = *clock.lock().unwrap(); next = next + 2.seconds();
            *clock.lock().unwrap() = next; client.batch_execute(&format!("update public.clock set now = '{next}'")).await.unwrap();
            let due = memory.due_projects().await.unwrap();
            let pgdue = pg.due_projects().await.unwrap();
            assert_eq!(due.contains(&project), pgdue.contains(&project), "due {seed} {step}");
            pg.locks(&project, None).await.unwrap(); w.last_seq = memory.locks(&project, None).await.unwrap().iter().map(|l| l.fencing_token).max().unwrap_or(w.last_seq).max(w.last_seq);
        }
        let f = AuditFilter { limit: 100000, ..Default::default() };
        assert_eq!(anonymous(memory.audit(&project, &f).await.unwrap()), anonymous(pg.audit(&project, &f).await.unwrap()));
        let (k, _) = memory.api_keys().await.unwrap(); let (pk, _) = pg.api_keys().await.unwrap();
        assert_eq!(k, pk.into_iter().filter(|k| k.project == project).collect::<Vec<_>>());
    }
    for (k, n) in kinds { println!("{n} {k}"); }
}

#[tokio::test]
async fn overlaps() {
    let dsn = std::env::var("TRIAL_DSN").unwrap();
    let (client, c) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.unwrap(); tokio::spawn(c);
    let mut r = Rng(88172645463325252);
    let alphabet = ["a", "b", "*", "?", ".", "%", "_", "\\", "é", "ab", ".rs", "[", "-"];
    let comp = |r: &mut Rng| if r.chance(20) { "**".to_string() } else { (0..1 + r.below(4)).map(|_| *r.one(&alphabet)).collect::<String>() };
    let mut pairs = vec![];
    let mut wild = 0;
    while pairs.len() < 60000 {
        let text = |r: &mut Rng| (0..1 + r.below(4)).map(|_| comp(r)).collect::<Vec<_>>().join("/");
        let prefix = *r.one(&["", "", "", "contract:", "db:", "flag:", "api:/"]);
        let (a, b) = (format!("{prefix}{}", text(&mut r)), format!("{prefix}{}", text(&mut r)));
        if let (Ok(a), Ok(b)) = (LockKey::parse(&a), LockKey::parse(&b)) { if a.is_wild() || b.is_wild() { wild += 1; } pairs.push((a, b)); }
    }
    let json = serde_json::to_string(&pairs).unwrap();
    let rows = client.query_typed("select coordinator.overlap(a->>'space', a->>'pattern', (a->'wild')::bool, b->>'pattern', (b->'wild')::bool) and a->>'space' = b->>'space', coordinator.stem(a->>'pattern', (a->'wild')::bool), coordinator.lineage(coordinator.stem(a->>'pattern', (a->'wild')::bool)) from (select p->0 as a, p->1 as b, n from jsonb_array_elements($1::jsonb) with ordinality x(p, n)) y order by n", &[(&json, Type::TEXT)]).await.unwrap();
    let mut yes = 0;
    for ((a, b), row) in pairs.iter().zip(rows) {
        let o: bool = row.get(0); yes += o as u32;
        assert_eq!(a.overlaps(b), o, "{a} {b}");
        assert_eq!(a.stem(), row.get::<_, String>(1));
        assert_eq!(a.lineage(), row.get::<_, Vec<String>>(2));
    }
    println!("{} pairs, {wild} wild, {yes} overlap", pairs.len());
}
