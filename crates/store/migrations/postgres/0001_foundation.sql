-- The first shape of the shared database.
--
-- Every record belongs to a project and every index leads with it. Names and keys are compared byte by byte, hence
-- `collate "C"`: the order of the rules in Rust, and indexes that no upgrade of the operating system can put out of
-- order. Texts of any length are indexed by a digest, because an index entry has room for 2,700 bytes only.
--
-- Some indexes are partial on a column that is never null. Plans are made once and kept, perhaps from the day when the
-- table was empty and any index that leads with the project looked as good as another; a predicate that only a
-- condition on the column implies keeps an index out of the plans it was not made for.

do $$
begin
    if getdatabaseencoding() <> 'UTF8' then
        raise exception 'the database must have the encoding UTF8, not %', getdatabaseencoding();
    end if;
end
$$;

-- Stands for a text of any length in an index.
create function coordinator.digest(p_text text) returns bytea
language sql immutable parallel safe as $$ select sha256(replace(p_text, '\', '\\')::bytea) $$;

create table coordinator.projects (
    project   text   collate "C" primary key check (octet_length(project) between 1 and 256),
    seq       bigint not null check (seq >= 0),
    audit_seq bigint not null check (audit_seq >= 0)
) with (fillfactor = 10);
comment on column coordinator.projects.seq is 'the last fencing token, task number or place in a queue';
comment on column coordinator.projects.audit_seq is 'the last position in the audit trail';

create table coordinator.locks (
    project       text        collate "C" not null,
    space         text        collate "C" not null,
    stem          text        collate "C" not null,
    tail          bytea       not null,
    key           text        collate "C" not null,
    pattern       text        collate "C" not null,
    wild          boolean     not null,
    agent_id      text        collate "C" not null,
    agent_type    text        not null,
    session_id    text        collate "C",
    mode          text        not null check (mode in ('exclusive', 'shared')),
    reason        text,
    fencing_token bigint      not null,
    locked_at     timestamptz not null,
    expires_at    timestamptz not null,
    primary key (project, space, stem, agent_id, tail)
);
comment on column coordinator.locks.stem is
    'up to 255 characters before the first wildcard: what overlaps a key has a stem equal to, above or below its own';
comment on column coordinator.locks.tail is
    'tells apart the keys of one stem: empty where the stem is the whole key, or else the key''s digest';
create index locks_pause on coordinator.locks (project) where space = 'feature' and pattern like '%/pause';
create index locks_due on coordinator.locks (project, expires_at) where expires_at is not null;
create index locks_session on coordinator.locks (project, session_id) where session_id is not null;

create table coordinator.waiters (
    project    text        collate "C" not null,
    ticket     uuid        not null,
    seq        bigint      not null,
    agent_id   text        collate "C" not null,
    agent_type text        not null,
    keys       jsonb       not null check (jsonb_typeof(keys) = 'array'),
    mode       text        not null check (mode in ('exclusive', 'shared')),
    reason     text,
    since      timestamptz not null,
    expires_at timestamptz not null,
    primary key (project, ticket)
) with (fillfactor = 50);

create table coordinator.tasks (
    project             text        collate "C" not null,
    task_id             uuid        not null,
    seq                 bigint      not null,
    task_type           text        collate "C" not null,
    description         text        not null,
    input_data          json,
    priority            smallint    not null check (priority between 1 and 10),
    status              text        collate "C" not null
        check (status in ('pending', 'claimed', 'running', 'completed', 'failed')),
    depends_on          uuid[]      not null,
    open_dependencies   integer     not null check (open_dependencies >= 0),
    deadline            timestamptz,
    max_attempts        bigint      not null,
    attempt             bigint      not null,
    not_before          timestamptz,
    idempotency_key     text        collate "C",
    fingerprint         text        not null,
    required_capability text        collate "C",
    assignee            text        collate "C",
    feature_id          text        collate "C",
    created_by          text        collate "C" not null,
    claimed_by          text        collate "C",
    session_id          text        collate "C",
    fencing_token       bigint,
    lease_seconds       bigint      not null,
    lease_expires_at    timestamptz,
    result              json,
    error_code          text        collate "C",
    error_message       text,
    created_at          timestamptz not null,
    claimed_at          timestamptz,
    completed_at        timestamptz,
    primary key (project, task_id),
    check ((status in ('claimed', 'running')) = (lease_expires_at is not null)),
    check ((status in ('completed', 'failed')) = (completed_at is not null))
) with (fillfactor = 80);
create index tasks_status on coordinator.tasks (project, status, seq) where seq is not null;
create index tasks_claimable on coordinator.tasks (project, priority, seq)
    where status = 'pending' and open_dependencies = 0 and priority is not null;
create index tasks_claimable_of_type on coordinator.tasks (project, hashtextextended(task_type, 0), priority, seq)
    where status = 'pending' and open_dependencies = 0;
create index tasks_held on coordinator.tasks (project, claimed_by) where status in ('claimed', 'running');
create index tasks_lease_due on coordinator.tasks (project, lease_expires_at) where lease_expires_at is not null;
create index tasks_deadline_due on coordinator.tasks (project, deadline)
    where status = 'pending' and deadline is not null;
create unique index tasks_idempotency on coordinator.tasks (project, coordinator.digest(idempotency_key))
    where idempotency_key is not null;

create table coordinator.task_dependencies (
    project    text collate "C" not null,
    depends_on uuid not null,
    task_id    uuid not null,
    primary key (project, depends_on, task_id)
);

create table coordinator.sessions (
    project         text        collate "C" not null,
    session_id      text        collate "C" not null,
    agent_id        text        collate "C" not null,
    agent_type      text        not null,
    capabilities    text[]      not null,
    current_task    text,
    started_at      timestamptz not null,
    last_heartbeat  timestamptz not null,
    ttl_seconds     bigint      not null,
    expires_at      timestamptz not null,
    disconnected_at timestamptz,
    primary key (project, session_id)
) with (fillfactor = 50);
create index sessions_agent on coordinator.sessions (project, agent_id) where disconnected_at is null;
create index sessions_due on coordinator.sessions (project, expires_at)
    where disconnected_at is null and expires_at is not null;
create index sessions_gone on coordinator.sessions (project, last_heartbeat, session_id)
    where disconnected_at is not null;

create table coordinator.api_keys (
    project    text        collate "C" not null,
    id         uuid        not null,
    name       text        not null,
    hash       text        collate "C" not null unique check (hash ~ '^[0-9a-f]{64}$'),
    agent_id   text        collate "C",
    agent_type text,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    primary key (project, id)
);
comment on column coordinator.api_keys.hash is 'SHA-256 of the key in lower-case hex; the key itself is nowhere';

create table coordinator.audit (
    project       text        collate "C" not null,
    seq           bigint      not null,
    id            uuid        not null,
    agent_id      text        collate "C" not null,
    agent_type    text        not null,
    session_id    text        collate "C",
    operation     text        collate "C" not null,
    parameters    json        not null,
    result        jsonb       not null,
    duration_ms   bigint      not null,
    success       boolean     not null,
    error_message text,
    created_at    timestamptz not null,
    primary key (project, seq)
);
create index audit_agent on coordinator.audit (project, agent_id, seq) where agent_id is not null;

-- The trail is append-only, whoever is connected, and also where replication or a restore switches triggers off.
create function coordinator.refuse_to_change_the_trail() returns trigger
language plpgsql as $$
begin
    raise exception 'the audit trail is append-only: % is refused', tg_op using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on coordinator.audit
    for each statement execute function coordinator.refuse_to_change_the_trail();
alter table coordinator.audit enable always trigger append_only;

-- Who acts, where and when: what every rule needs to know. Both flags stand for the whole batch, so that what is rare
-- costs nothing where it does not happen.
create type coordinator.turn as (
    project    text,
    now        timestamptz,
    any_pause  boolean,
    any_waiter boolean,
    agent_id   text,
    agent_type text,
    session_id text
);

-- What was taken from the dead.
create type coordinator.freed as (sessions bigint, locks bigint, tasks bigint);

-- Without a policy nobody but the owner sees a row.
alter table coordinator.projects enable row level security;
alter table coordinator.locks enable row level security;
alter table coordinator.waiters enable row level security;
alter table coordinator.tasks enable row level security;
alter table coordinator.task_dependencies enable row level security;
alter table coordinator.sessions enable row level security;
alter table coordinator.api_keys enable row level security;
alter table coordinator.audit enable row level security;
