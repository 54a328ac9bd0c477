//! The bugs.

/// A bug, the store's tests that may notice it, and how it is made.
pub struct Bug {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// Which tests to run, as a filter of nextest.
    pub tests: &'static str,
    /// The changes that make it.
    pub edits: &'static [Edit],
}

/// One exact replacement.
#[derive(Debug)]
pub struct Edit {
    /// The file, from the repository's root.
    pub file: &'static str,
    /// A text that is in it once, however its words are spread over lines.
    pub from: &'static str,
    /// What stands there instead.
    pub to: &'static str,
}

const EMBEDDED: &str = "package(store) & !test(/postgres/)";
const POSTGRES: &str = "package(store) & test(/^conformance::.*::postgres$/)";
const POSTGRES_CROWDED: &str = "package(store) & test(/^concurrency::.*::postgres$/)";
const POSTGRES_ACCESS: &str = "package(store) & test(/^access::[^:]*$/)";

const KEYS: &str = "crates/model/src/key.rs";
const MODES: &str = "crates/model/src/locks.rs";
const AUDIT: &str = "crates/store/src/engine/audit.rs";
const ENGINE: &str = "crates/store/src/engine/mod.rs";
const LOCKS: &str = "crates/store/src/engine/locks.rs";
const PORTS: &str = "crates/store/src/engine/ports.rs";
const REAP: &str = "crates/store/src/engine/reap.rs";
const SESSIONS: &str = "crates/store/src/engine/sessions.rs";
const WORK: &str = "crates/store/src/engine/work.rs";
const SQLITE: &str = "crates/store/src/sqlite/mod.rs";
const SQLITE_TRANSACTION: &str = "crates/store/src/sqlite/transaction.rs";
const SQLITE_ROWS: &str = "crates/store/src/sqlite/rows.rs";
const SQLITE_READ: &str = "crates/store/src/sqlite/read.rs";
const SQLITE_SCHEMA: &str = "crates/store/migrations/sqlite/0001_foundation.sql";
const SQLITE_CHAIN: &str = "crates/store/migrations/sqlite/0007_audit_chain.sql";
const PG_ACCESS: &str = "crates/store/migrations/postgres/functions/access.sql";
const MEMORIES: &str = "crates/store/src/engine/memories.rs";
const RANKING: &str = "crates/model/src/ranking.rs";
const SQLITE_MEMORIES: &str = "crates/store/src/sqlite/memories.rs";
const PG_MEMORIES: &str = "crates/store/migrations/postgres/functions/memories.sql";
const PG_APPLY: &str = "crates/store/migrations/postgres/functions/apply.sql";
const PG_AUDIT: &str = "crates/store/migrations/postgres/functions/audit.sql";
const PG_LOCKS: &str = "crates/store/migrations/postgres/functions/locks.sql";
const PG_HANDOFFS: &str = "crates/store/migrations/postgres/functions/handoffs.sql";
const PG_PORTS: &str = "crates/store/migrations/postgres/functions/ports.sql";
const PG_READ: &str = "crates/store/migrations/postgres/functions/read.sql";
const PG_SESSIONS: &str = "crates/store/migrations/postgres/functions/sessions.sql";
const PG_WORK: &str = "crates/store/migrations/postgres/functions/work.sql";

/// All of them.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "a stale fencing token is accepted",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "Some(current) if given >= current => None,",
            to: "_ if given > i64::MIN => None,",
        }],
    },
    Bug {
        name: "every grant has the same token",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "let token = next_position(rows);",
            to: "let token = next_position(rows).min(1);",
        }],
    },
    Bug {
        name: "expiry is judged by the client's clock",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE,
            from: "let now = clock.now(); let mut rows",
            to: "let now = Timestamp::now(); let mut rows",
        }],
    },
    Bug {
        name: "a lock outlives its expiry by a moment",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_ROWS,
            from: "self.locks_where(\"expires_at <= :now\"",
            to: "self.locks_where(\"expires_at < :now\"",
        }],
    },
    Bug {
        name: "what lies below a locked directory is free",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_READ,
            from: "and pattern > :from and pattern < :to",
            to: "and pattern > :from and pattern < :from and :to is not null",
        }],
    },
    Bug {
        name: "a directory and what lies below it do not overlap",
        tests: EMBEDDED,
        edits: &[Edit {
            file: KEYS,
            from: "|| self.space.covers_below() && (is_below(",
            to: "|| self.pattern.is_empty() && other.pattern.is_empty() && (is_below(",
        }],
    },
    Bug {
        name: "globs are looked up as if they were paths",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_READ,
            from: "and space = :space and wild\"",
            to: "and space = :space and wild and 0\"",
        }],
    },
    Bug {
        name: "a shared lock does not keep out an exclusive one",
        tests: EMBEDDED,
        edits: &[Edit {
            file: MODES,
            from: "self == Self::Shared && other == Self::Shared",
            to: "self == Self::Shared || other == Self::Shared",
        }],
    },
    Bug {
        name: "newcomers overtake those who wait",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "if held.iter().any(Option::is_none) { let queue",
            to: "if keys.is_empty() { let queue",
        }],
    },
    Bug {
        name: "a dead waiter keeps its place",
        tests: EMBEDDED,
        edits: &[Edit { file: REAP, from: "rows.drop_waiters_ended(now)?;", to: "" }],
    },
    Bug {
        name: "deadlocks are not looked for",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "if let Some(cycle) = deadlock(rows, wait)? {",
            to: "if let Some(cycle) = deadlock(rows, wait)?.filter(Vec::is_empty) {",
        }],
    },
    Bug {
        name: "anybody releases anybody's lock",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "match rows.lock(key, &caller.agent_id)? { Some(lock) => {",
            to: "match rows.locks_near(key)?.into_iter().find(|l| l.key == *key) { Some(lock) => {
                rows.drop_lock(key, &lock.agent_id)?;",
        }],
    },
    Bug {
        name: "some of the keys are locked although one is taken",
        tests: EMBEDDED,
        edits: &[Edit {
            file: LOCKS,
            from: "if !lock.mode.agrees_with(mode) && lock.key.overlaps(key) {",
            to: "if !lock.mode.agrees_with(mode) && lock.key.overlaps(&keys[0]) {",
        }],
    },
    Bug {
        name: "anybody completes anybody's task",
        tests: EMBEDDED,
        edits: &[Edit {
            file: WORK,
            from: "t.status.is_held() && t.claimed_by.as_ref() == Some(&caller.agent_id)",
            to: "t.status.is_held()",
        }],
    },
    Bug {
        name: "a task may be completed after its claim lapsed",
        tests: EMBEDDED,
        edits: &[Edit {
            file: WORK,
            from: "t.status.is_held() && t.claimed_by.as_ref() == Some(&caller.agent_id)",
            to: "!t.status.is_final() && t.claimed_by.as_ref() == Some(&caller.agent_id)",
        }],
    },
    Bug {
        name: "a task is claimed before its dependencies are done",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_ROWS,
            from: "\"status = 'pending' and open_dependencies = 0 and (not_before",
            to: "\"status = 'pending' and (not_before",
        }],
    },
    Bug {
        name: "a failure does not reach the dependents of dependents",
        tests: EMBEDDED,
        edits: &[Edit { file: WORK, from: "failed.push_back(dependent);", to: "" }],
    },
    Bug {
        name: "a retry does not wait",
        tests: EMBEDDED,
        edits: &[Edit { file: WORK, from: "let then = now + task.backoff();", to: "let then = now;" }],
    },
    Bug {
        name: "a task whose claim lapsed has endless attempts",
        tests: EMBEDDED,
        edits: &[Edit {
            file: WORK,
            from: "if task.attempt < task.max_attempts { put_back",
            to: "if task.attempt < u32::MAX { put_back",
        }],
    },
    Bug {
        name: "repeating a submission makes another task",
        tests: EMBEDDED,
        edits: &[Edit {
            file: WORK,
            from: "if let Some(key) = &request.idempotency_key && let",
            to: "if let Some(key) = request.idempotency_key.as_ref().filter(|key| key.is_empty()) && let",
        }],
    },
    Bug {
        name: "an idempotency key stands for whatever came first",
        tests: EMBEDDED,
        edits: &[Edit {
            file: WORK,
            from: "earlier.fingerprint == request.fingerprint",
            to: "!earlier.task_id.is_nil()",
        }],
    },
    Bug {
        name: "a paused feature's tasks are handed out",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_ROWS,
            from: "and pause.agent_id <> :agent))",
            to: "and pause.agent_id = :agent and not 1))",
        }],
    },
    Bug {
        name: "a disconnected session may act",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SESSIONS,
            from: "if let Some(disconnected_at) = session.disconnected_at {",
            to: "if let Some(disconnected_at) = session.disconnected_at.filter(|then| *then > now) {",
        }],
    },
    Bug {
        name: "a session's end frees whatever bears its label",
        tests: EMBEDDED,
        edits: &[Edit {
            file: REAP,
            from: "its_locks.retain(|lock| lock.agent_id == session.agent_id);",
            to: "its_locks.retain(|_| true);",
        }],
    },
    Bug {
        name: "refusals are not recorded",
        tests: EMBEDDED,
        edits: &[Edit { file: ENGINE, from: "if outcome.is_answer() {", to: "if outcome.is_success() {" }],
    },
    Bug {
        name: "what is freed is not recorded",
        tests: EMBEDDED,
        edits: &[Edit { file: REAP, from: "record(rows, now, \"expire_lock\", what)?;", to: "drop(what);" }],
    },
    Bug {
        name: "state and trail are not one transaction",
        tests: EMBEDDED,
        edits: &[
            Edit {
                file: SQLITE_TRANSACTION,
                from: "run(connection, \"begin immediate\")?;",
                to: "run(connection, \"select 1 where false\")?;",
            },
            Edit {
                file: SQLITE_TRANSACTION,
                from: "run(self.connection, \"commit\")",
                to: "run(self.connection, \"select 1 where false\")",
            },
        ],
    },
    Bug {
        name: "the trail's rows can be replaced",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_SCHEMA,
            from: "when exists (select 1 from audit where project = new.project and seq = new.seq) begin",
            to: "when new.seq < 0 begin",
        }],
    },
    Bug {
        name: "writers neither take turns nor lock the database first",
        tests: EMBEDDED,
        edits: &[
            Edit { file: SQLITE, from: "Self(file.lock().is_ok().then_some(file))", to: "Self(Some(file))" },
            Edit {
                file: SQLITE,
                from: "file.try_lock().is_ok().then_some(Self(Some(file)))",
                to: "Some(Self(Some(file)))",
            },
            Edit {
                file: SQLITE_TRANSACTION,
                from: "run(connection, \"begin immediate\")",
                to: "run(connection, \"begin deferred\")",
            },
        ],
    },
    Bug {
        name: "another project's tasks are listed",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_READ,
            from: "\"select {TASK} from tasks where project = :project and",
            to: "\"select {TASK} from tasks where :project is not null and",
        }],
    },
    Bug {
        name: "another project's waiters stand in the way",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_READ,
            from: "from waiters where project = :project order by seq\"",
            to: "from waiters where :project is not null order by seq\"",
        }],
    },
    Bug {
        name: "PostgreSQL: a stale fencing token is accepted",
        tests: POSTGRES,
        edits: &[Edit { file: PG_LOCKS, from: "if p_given >= p_current then", to: "if p_given is not null then" }],
    },
    Bug {
        name: "PostgreSQL: expiry is judged by another clock",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_APPLY,
            from: "turn.now := coordinator.clock();",
            to: "turn.now := clock_timestamp();",
        }],
    },
    Bug {
        name: "PostgreSQL: anybody completes anybody's task",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_WORK,
            from: "task.status not in ('claimed', 'running') or task.claimed_by <> p_turn.agent_id then",
            to: "task.status not in ('claimed', 'running') then",
        }],
    },
    Bug {
        name: "PostgreSQL: newcomers overtake those who wait",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_LOCKS,
            from: "if p_turn.any_waiter and array_position",
            to: "if false and array_position",
        }],
    },
    Bug {
        name: "PostgreSQL: what a batch grants is not in the way of the rest of it",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_LOCKS,
            from: "not exists (select from neighbours where starts_with(next, line))",
            to: "true",
        }],
    },
    Bug {
        name: "PostgreSQL: a locked directory is not in the way of a batch",
        tests: POSTGRES,
        edits: &[Edit { file: PG_LOCKS, from: "l.stem = above.stem", to: "l.stem = above.stem || '!'" }],
    },
    Bug {
        name: "PostgreSQL: what is locked below a key is not in the way of a batch",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_LOCKS,
            from: "l.stem > coordinator.first_below(asked.stem)",
            to: "l.stem > coordinator.after_below(asked.stem)",
        }],
    },
    Bug {
        name: "PostgreSQL: the rest of a batch does not see what it was granted",
        tests: POSTGRES,
        edits: &[Edit { file: PG_APPLY, from: "if not turn.is_alone and granted <> '{}' then", to: "if false then" }],
    },
    Bug {
        name: "PostgreSQL: a disconnected session may act",
        tests: POSTGRES,
        edits: &[Edit { file: PG_SESSIONS, from: "if session.disconnected_at is not null then", to: "if false then" }],
    },
    Bug {
        name: "PostgreSQL: another project's waiters are listed",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_READ,
            from: "from coordinator.waiters as w where w.project = p_project ); end",
            to: "from coordinator.waiters as w ); end",
        }],
    },
    Bug {
        name: "PostgreSQL: transactions of a project do not take turns",
        tests: POSTGRES_CROWDED,
        edits: &[Edit { file: PG_APPLY, from: "perform coordinator.take_turn(p_project);", to: "" }],
    },
    Bug {
        name: "two blocks of ports share a port",
        tests: EMBEDDED,
        edits: &[Edit { file: PORTS, from: "block.overlaps(**first_port)", to: "block.first_port == **first_port" }],
    },
    Bug {
        name: "a block of ports never ends",
        tests: EMBEDDED,
        edits: &[Edit { file: PORTS, from: "rows.drop_port_blocks_ended(now)?; let own", to: "let own" }],
    },
    Bug {
        name: "a session asks again and gets other ports",
        tests: EMBEDDED,
        edits: &[Edit { file: PORTS, from: "Some(own) => own.first_port, None => {", to: "_ => {" }],
    },
    Bug {
        name: "SQLite: another agent's handoffs are shown as one's own",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_READ,
            from: "{ \"agent_id = :agent_id\" }",
            to: "{ \"agent_id is :agent_id or 1\" }",
        }],
    },
    Bug {
        name: "PostgreSQL: projects do not take turns for ports",
        tests: POSTGRES_CROWDED,
        edits: &[Edit {
            file: PG_PORTS,
            from: "perform pg_advisory_xact_lock(hashtextextended('coordinator.ports', 0));",
            to: "",
        }],
    },
    Bug {
        name: "PostgreSQL: another project releases a session's ports",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_PORTS,
            from: "delete from coordinator.port_blocks as b where b.project = p_turn.project and b.session_id",
            to: "delete from coordinator.port_blocks as b where b.session_id",
        }],
    },
    Bug {
        name: "PostgreSQL: another project's handoffs are shown",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_HANDOFFS,
            from: "where the_agent is null and h.project = p_project",
            to: "where the_agent is null",
        }],
    },
    Bug {
        name: "whoever calls apply needs rights on the tables",
        tests: POSTGRES_ACCESS,
        edits: &[Edit { file: PG_APPLY, from: "security definer", to: "security invoker" }],
    },
    Bug {
        name: "functions are left to everybody",
        tests: POSTGRES_ACCESS,
        edits: &[Edit { file: PG_ACCESS, from: "revoke all on all routines", to: "revoke all on all sequences" }],
    },
    Bug {
        name: "what PostgREST exposes lends its caller the owner's rights",
        tests: POSTGRES_ACCESS,
        edits: &[Edit {
            file: PG_ACCESS,
            from: "language sql as $$ select coordinator.apply(",
            to: "language sql security definer as $$ select coordinator.apply(",
        }],
    },
    Bug {
        name: "a table is left without row security",
        tests: POSTGRES_ACCESS,
        edits: &[Edit {
            file: PG_ACCESS,
            from: "alter table %s enable row level",
            to: "alter table %s disable row level",
        }],
    },
    Bug {
        name: "a superseded memory keeps its rank",
        tests: EMBEDDED,
        edits: &[Edit {
            file: RANKING,
            from: "Some(heir) => rounded(OUTDATED * own.min(ranked[heir].relevance)),",
            to: "Some(_) => rounded(own),",
        }],
    },
    Bug {
        name: "a memory can be superseded twice",
        tests: EMBEDDED,
        edits: &[Edit {
            file: MEMORIES,
            from: "Some(by) if twin.is_none_or(|twin| twin.memory_id != by) => {",
            to: "Some(by) if by.is_nil() => {",
        }],
    },
    Bug {
        name: "a merge does not make a memory found by more",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_MEMORIES,
            from: "if before.is_some_and(|before| before >= weight) {",
            to: "if before.is_some() {",
        }],
    },
    Bug {
        name: "another project's words are counted",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_MEMORIES,
            from: "where project = :project and term in (select value from json_each(:terms))",
            to: "where :project is not null and term in (select value from json_each(:terms))",
        }],
    },
    Bug {
        name: "PostgreSQL: a repetition is merged whenever it comes",
        tests: POSTGRES,
        edits: &[Edit { file: PG_MEMORIES, from: "or twin.created_at + interval '60 minutes' <= p_turn.now", to: "" }],
    },
    Bug {
        name: "PostgreSQL: common words are served first",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_MEMORIES,
            from: "over (order by k.memories, k.term collate \"C\") + k.memories as share",
            to: "over (order by k.memories desc, k.term collate \"C\") + k.memories as share",
        }],
    },
    Bug {
        name: "rows go that are not sealed",
        tests: EMBEDDED,
        edits: &[Edit {
            file: SQLITE_CHAIN,
            from: "when not exists (select 1 from audit_seals where project = old.project and size >= old.seq) begin",
            to: "when false begin",
        }],
    },
    Bug {
        name: "a seal of other rows is taken",
        tests: EMBEDDED,
        edits: &[Edit {
            file: AUDIT,
            from: "if !is_next || rows.audit_hash(seal.size)? != Some(seal.hash) {",
            to: "if !is_next {",
        }],
    },
    Bug {
        name: "the hash leaves a column out",
        tests: EMBEDDED,
        edits: &[Edit { file: AUDIT, from: "row.push_number(self.duration_ms);", to: "row.push_number(0);" }],
    },
    Bug {
        name: "PostgreSQL's hash leaves a column out",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_AUDIT,
            from: "octet_length(duration), ':', duration, ',1:'",
            to: "octet_length('0'), ':', '0', ',1:'",
        }],
    },
    Bug {
        name: "PostgreSQL links what follows a clean-up to what was before it",
        tests: POSTGRES,
        edits: &[Edit {
            file: PG_APPLY,
            from: "head := coordinator.hash_at(p_project, last_position); outcome := jsonb_build_object('kind', 'cleaned'",
            to: "outcome := jsonb_build_object('kind', 'cleaned'",
        }],
    },
];
