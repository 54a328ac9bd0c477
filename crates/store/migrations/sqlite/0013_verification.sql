-- Changesets, and the runs of what must pass for them.

create table changesets (
    project       text    not null,
    seq           integer not null,
    changeset_id  blob    not null,
    revision      text    not null,
    trigger       text    not null,
    agent_id      text    not null,
    agent_type    text    not null,
    feature_id    text,
    task_id       blob,
    policies      text,
    commit_id     text,
    tree          text,
    base          text,
    changed_paths text    not null,
    changed_total integer not null,
    state         text    not null,
    note          text,
    created_at    integer not null,
    ended_at      integer,
    primary key (project, seq)
) strict, without rowid;
create unique index changesets_id on changesets (project, changeset_id);
create index changesets_open on changesets (project, seq) where state in ('queued', 'running');

create table verification_runs (
    project          text    not null,
    changeset_seq    integer not null,
    ordinal          integer not null,
    run_id           blob    not null,
    policy           text    not null,
    tier             integer not null,
    executor         text    not null,
    timeout_seconds  integer not null,
    approval_id      blob,
    state            text    not null,
    attempt          integer not null,
    runner           text,
    token            integer,
    lease_expires_at integer,
    started_at       integer,
    ended_at         integer,
    key              text,
    reused_from      blob,
    external_id      text,
    evidence         text,
    log_url          text,
    primary key (project, changeset_seq, ordinal)
) strict, without rowid;
create unique index verification_runs_id on verification_runs (project, run_id);
create index verification_runs_approval on verification_runs (project, approval_id) where approval_id is not null;
create index verification_runs_lease on verification_runs (project, lease_expires_at) where lease_expires_at is not null;
create index verification_runs_passed on verification_runs (project, key) where state = 'passed' and reused_from is null;
