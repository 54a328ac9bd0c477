-- Approvals: what an agent was refused and a person may let it do.

create table approvals (
    project      text    not null,
    seq          integer not null,
    approval_id  blob    not null,
    agent_id     text    not null,
    agent_type   text    not null,
    session_id   text,
    operation    text    not null,
    resource     text    not null,
    fingerprint  text    not null,
    reason       text    not null,
    status       text    not null,
    scope        text,
    requested_at integer not null,
    expires_at   integer not null,
    decided_by   text,
    decided_at   integer,
    note         text,
    used_at      integer,
    primary key (project, seq)
) strict, without rowid;
create unique index approvals_id on approvals (project, approval_id);
create index approvals_open on approvals (project, expires_at) where status in ('pending', 'approved');
create index approvals_like on approvals (project, agent_id, fingerprint);
