-- The rulebook has policies of what must pass. A check cannot be changed in place, so the table is made anew.

create table rules_with_verification (
    project    text    not null,
    -- The position in the trail of the command that put it.
    version    integer not null,
    kind       text    not null
        check (kind in ('assignment', 'guardrails', 'network', 'policy', 'profile', 'verification')),
    name       text    not null,
    -- Null where this version removed the rule.
    body       text,
    author     text    not null,
    created_at integer not null,
    primary key (project, version)
) strict;
insert into rules_with_verification select project, version, kind, name, body, author, created_at from rules;
drop table rules;
alter table rules_with_verification rename to rules;
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
