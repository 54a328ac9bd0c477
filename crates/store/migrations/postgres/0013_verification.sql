-- Changesets, and the runs of what must pass for them.

create table coordinator.changesets (
    project       text        collate "C" not null,
    seq           bigint      not null,
    changeset_id  uuid        not null,
    revision      text        collate "C" not null,
    trigger       text        collate "C" not null
        check (trigger in ('task', 'branch', 'merge_queue', 'cli', 'webhook')),
    agent_id      text        collate "C" not null,
    agent_type    text        not null,
    feature_id    text        collate "C",
    task_id       uuid,
    policies      jsonb,
    commit_id     text        collate "C",
    tree          text        collate "C",
    base          text        collate "C",
    changed_paths jsonb       not null,
    changed_total bigint      not null,
    state         text        collate "C" not null check (state in ('queued', 'running', 'passed', 'failed')),
    note          text,
    created_at    timestamptz not null,
    ended_at      timestamptz,
    primary key (project, seq)
);
create unique index changesets_id on coordinator.changesets (project, changeset_id);
create index changesets_open on coordinator.changesets (project, seq) where state in ('queued', 'running');

create table coordinator.verification_runs (
    project          text        collate "C" not null,
    changeset_seq    bigint      not null,
    ordinal          bigint      not null,
    run_id           uuid        not null,
    policy           text        collate "C" not null,
    tier             smallint    not null,
    executor         text        collate "C" not null check (executor in ('inline', 'command', 'human')),
    timeout_seconds  bigint      not null,
    approval_id      uuid,
    state            text        collate "C" not null check (
        state in ('queued', 'running', 'waiting_approval', 'passed', 'failed', 'errored', 'timed_out', 'cancelled')
    ),
    attempt          bigint      not null,
    runner           text        collate "C",
    token            bigint,
    lease_expires_at timestamptz,
    started_at       timestamptz,
    ended_at         timestamptz,
    key              text        collate "C",
    reused_from      uuid,
    external_id      text,
    evidence         text,
    log_url          text,
    primary key (project, changeset_seq, ordinal)
);
comment on column coordinator.verification_runs.key is 'of tree, command and versions: what passed counts for the same';
create unique index verification_runs_id on coordinator.verification_runs (project, run_id);
create index verification_runs_approval on coordinator.verification_runs (project, approval_id)
    where approval_id is not null;
create index verification_runs_lease on coordinator.verification_runs (project, lease_expires_at)
    where lease_expires_at is not null;
create index verification_runs_passed on coordinator.verification_runs (project, key)
    where state = 'passed' and reused_from is null;

alter table coordinator.changesets enable row level security;
alter table coordinator.verification_runs enable row level security;
