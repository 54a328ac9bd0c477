-- Approvals: what an agent was refused and a person may let it do.

create table coordinator.approvals (
    project      text        collate "C" not null,
    seq          bigint      not null,
    approval_id  uuid        not null,
    agent_id     text        collate "C" not null,
    agent_type   text        not null,
    session_id   text        collate "C",
    operation    text        collate "C" not null,
    resource     text        not null,
    fingerprint  text        collate "C" not null,
    reason       text        not null,
    status       text        collate "C" not null,
    scope        text        collate "C",
    requested_at timestamptz not null,
    expires_at   timestamptz not null,
    decided_by   text        collate "C",
    decided_at   timestamptz,
    note         text,
    used_at      timestamptz,
    primary key (project, seq)
);
create unique index approvals_id on coordinator.approvals (project, approval_id);
create index approvals_open on coordinator.approvals (project, expires_at) where status in ('pending', 'approved');
create index approvals_like on coordinator.approvals (project, agent_id, fingerprint);

alter table coordinator.approvals enable row level security;
