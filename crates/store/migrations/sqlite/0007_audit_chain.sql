-- Each row of the trail has the hash of itself and of all before it. Rows that are there already get theirs right after
-- this, in the same transaction, and with it the trigger against changes comes back.
drop trigger audit_no_update;
alter table audit add column hash blob not null default x'' check (length(hash) in (0, 32));

-- What stands for the rows that were removed: they can go only from the beginning, and only once they are sealed here.
create table audit_seals (
    project    text    not null,
    size       integer not null check (size > 0),
    hash       blob    not null check (length(hash) = 32),
    frontier   text    not null,
    trail      blob    not null check (length(trail) = 32),
    checkpoint text    not null,
    primary key (project, size)
) strict, without rowid;
create trigger audit_seals_fit before insert on audit_seals
when not exists (select 1 from audit where project = new.project and seq = new.size and hash = new.hash)
    or not exists (select 1 from audit where project = new.project and seq = new.size + 1)
    or exists (select 1 from audit_seals where project = new.project and size >= new.size) begin
    select raise(abort, 'the audit trail is append-only: this seal is not of its oldest rows');
end;
create trigger audit_seals_no_update before update on audit_seals begin
    select raise(abort, 'the audit trail is append-only: a seal cannot be changed');
end;
create trigger audit_seals_no_delete before delete on audit_seals begin
    select raise(abort, 'the audit trail is append-only: a seal cannot be deleted');
end;

drop trigger audit_no_delete;
create trigger audit_no_delete before delete on audit
when not exists (select 1 from audit_seals where project = old.project and size >= old.seq) begin
    select raise(abort, 'the audit trail is append-only: a row that is not sealed cannot be deleted');
end;

-- What a key may be used for, how often, and when it last was.
alter table api_keys add column scopes text not null default '[]';
alter table api_keys add column per_minute integer check (per_minute > 0);
alter table api_keys add column last_used_at integer;
