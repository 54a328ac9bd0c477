-- The project's own rules, whatever they are about: every version is kept, the latest of each is in force.

create table rules (
    project    text    not null,
    -- The position in the trail of the command that put it.
    version    integer not null,
    kind       text    not null check (kind in ('assignment', 'guardrails', 'network', 'policy', 'profile')),
    name       text    not null,
    -- Null where this version removed the rule.
    body       text,
    author     text    not null,
    created_at integer not null,
    primary key (project, version)
) strict;
create index rules_name on rules (project, kind, name, version);

create trigger rules_no_update before update on rules begin
    select raise(abort, 'the rulebook is append-only: a version cannot be changed');
end;
create trigger rules_no_delete before delete on rules begin
    select raise(abort, 'the rulebook is append-only: a version cannot be deleted');
end;
create trigger rules_no_replace before insert on rules
when exists (select 1 from rules where project = new.project and version = new.version) begin
    select raise(abort, 'the rulebook is append-only: a version cannot be replaced');
end;

-- The files that agents with a limit on them have locked, by session; empty for an agent without one.
create table locked_files (
    project    text    not null,
    agent_id   text    not null,
    session_id text    not null,
    key        text    not null,
    locked_at  integer not null,
    primary key (project, agent_id, session_id, key)
) strict, without rowid;
