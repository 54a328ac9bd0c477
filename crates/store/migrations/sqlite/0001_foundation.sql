-- The first shape of the embedded database. Instants are microseconds since 1970, UTC.

create table projects (
    project   text primary key,
    seq       integer not null,
    audit_seq integer not null
) strict, without rowid;

create table locks (
    project       text    not null,
    space         text    not null,
    pattern       text    not null,
    wild          integer not null,
    agent_id      text    not null,
    key           text    not null,
    agent_type    text    not null,
    session_id    text,
    mode          text    not null check (mode in ('exclusive', 'shared')),
    reason        text,
    fencing_token integer not null,
    locked_at     integer not null,
    expires_at    integer not null,
    primary key (project, space, pattern, key, agent_id)
) strict, without rowid;
create index locks_wild on locks (project, space) where wild;
create index locks_session on locks (project, session_id) where session_id is not null;
create index locks_expiry on locks (project, expires_at);

create table waiters (
    project    text    not null,
    ticket     blob    not null,
    seq        integer not null,
    agent_id   text    not null,
    agent_type text    not null,
    keys       text    not null,
    mode       text    not null,
    reason     text,
    since      integer not null,
    expires_at integer not null,
    primary key (project, ticket)
) strict, without rowid;

create table tasks (
    project             text    not null,
    task_id             blob    not null,
    seq                 integer not null,
    task_type           text    not null,
    description         text    not null,
    input_data          text,
    priority            integer not null check (priority between 1 and 10),
    status              text    not null check (status in ('pending', 'claimed', 'running', 'completed', 'failed')),
    depends_on          text    not null,
    open_dependencies   integer not null check (open_dependencies >= 0),
    deadline            integer,
    max_attempts        integer not null,
    attempt             integer not null,
    not_before          integer,
    idempotency_key     text,
    fingerprint         text    not null,
    required_capability text,
    assignee            text,
    feature_id          text,
    created_by          text    not null,
    claimed_by          text,
    session_id          text,
    fencing_token       integer,
    lease_seconds       integer not null,
    lease_expires_at    integer,
    result              text,
    error_code          text,
    error_message       text,
    created_at          integer not null,
    claimed_at          integer,
    completed_at        integer,
    check ((status in ('claimed', 'running')) = (lease_expires_at is not null))
) strict;
create unique index tasks_id on tasks (project, task_id);
create unique index tasks_seq on tasks (project, seq);
create unique index tasks_idempotency on tasks (project, idempotency_key) where idempotency_key is not null;
create index tasks_claimable on tasks (project, priority, seq) where status = 'pending' and open_dependencies = 0;
create index tasks_holder on tasks (project, claimed_by) where lease_expires_at is not null;
create index tasks_lease on tasks (project, lease_expires_at) where lease_expires_at is not null;
create index tasks_deadline on tasks (project, deadline) where status = 'pending' and deadline is not null;

create table task_dependencies (
    project    text not null,
    depends_on blob not null,
    task_id    blob not null,
    primary key (project, depends_on, task_id)
) strict, without rowid;

create table sessions (
    project         text    not null,
    session_id      text    not null,
    agent_id        text    not null,
    agent_type      text    not null,
    capabilities    text    not null,
    current_task    text,
    started_at      integer not null,
    last_heartbeat  integer not null,
    ttl_seconds     integer not null,
    expires_at      integer not null,
    disconnected_at integer,
    primary key (project, session_id)
) strict, without rowid;
create index sessions_agent on sessions (project, agent_id) where disconnected_at is null;
create index sessions_expiry on sessions (project, expires_at) where disconnected_at is null;

create table api_keys (
    id         blob    primary key,
    project    text    not null,
    name       text    not null,
    hash       text    not null unique,
    agent_id   text,
    agent_type text,
    created_at integer not null,
    expires_at integer,
    revoked_at integer
) strict, without rowid;

create table audit (
    project       text    not null,
    seq           integer not null,
    id            blob    not null,
    agent_id      text    not null,
    agent_type    text    not null,
    session_id    text,
    operation     text    not null,
    parameters    text    not null,
    result        text    not null,
    duration_ms   integer not null,
    success       integer not null,
    error_message text,
    created_at    integer not null,
    primary key (project, seq)
) strict, without rowid;

-- The trail is append-only, whoever writes to the file. The last one keeps `insert or replace` from changing a row.
create trigger audit_no_update before update on audit begin
    select raise(abort, 'the audit trail is append-only: a row cannot be changed');
end;
create trigger audit_no_delete before delete on audit begin
    select raise(abort, 'the audit trail is append-only: a row cannot be deleted');
end;
create trigger audit_no_replace before insert on audit
when exists (select 1 from audit where project = new.project and seq = new.seq) begin
    select raise(abort, 'the audit trail is append-only: a row cannot be replaced');
end;
