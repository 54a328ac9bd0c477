-- The project's own rules, whatever they are about: every version is kept, the latest of each is in force.

create table coordinator.rules (
    project    text        collate "C" not null,
    version    bigint      not null,
    kind       text        collate "C" not null
        check (kind in ('assignment', 'guardrails', 'network', 'policy', 'profile')),
    name       text        collate "C" not null,
    body       text,
    author     text        collate "C" not null,
    created_at timestamptz not null,
    primary key (project, version)
);
comment on column coordinator.rules.version is 'the position in the trail of the command that put it';
comment on column coordinator.rules.body is 'null where this version removed the rule';
create index rules_name on coordinator.rules (project, kind, name, version) where name is not null;

create function coordinator.refuse_to_change_a_rule() returns trigger
language plpgsql as $$
begin
    raise exception 'the rulebook is append-only: % is refused', tg_op using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on coordinator.rules
    for each statement execute function coordinator.refuse_to_change_a_rule();
alter table coordinator.rules enable always trigger append_only;

-- The files that agents with a limit on them have locked.
create table coordinator.locked_files (
    project    text        collate "C" not null,
    agent_id   text        collate "C" not null,
    session_id text        collate "C" not null,
    digest     bytea       not null,
    key        text        collate "C" not null,
    locked_at  timestamptz not null,
    primary key (project, agent_id, session_id, digest)
);
comment on column coordinator.locked_files.session_id is 'empty for an agent without a session';

-- How much the caller may do; null for no limit.
alter type coordinator.turn add attribute limits jsonb;

-- Without a policy nobody but the owner sees a row.
alter table coordinator.rules enable row level security;
alter table coordinator.locked_files enable row level security;
