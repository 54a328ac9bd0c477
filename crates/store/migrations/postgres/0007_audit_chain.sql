-- Each row of the trail has the hash of itself and of all before it. The rows that are there already get theirs here.

drop trigger append_only on coordinator.audit;
alter table coordinator.audit add column hash bytea check (octet_length(hash) = 32);

create function coordinator.canonical(p_entry coordinator.audit) returns text
language plpgsql stable as $$
declare
    seq        text := p_entry.seq;
    parameters text := p_entry.parameters;
    result     text := p_entry.result;
    duration   text := p_entry.duration_ms;
    instant    text := case
        when isfinite(p_entry.created_at) then (extract(epoch from p_entry.created_at) * 1000000)::bigint::text
        else p_entry.created_at::text
    end;
begin
    return concat(
        octet_length(p_entry.project), ':', p_entry.project, ',', octet_length(seq), ':', seq, ',36:', p_entry.id, ',',
        octet_length(p_entry.agent_id), ':', p_entry.agent_id, ',',
        octet_length(p_entry.agent_type), ':', p_entry.agent_type, ',',
        coalesce(octet_length(p_entry.session_id) || ':' || p_entry.session_id, '-'), ',',
        octet_length(p_entry.operation), ':', p_entry.operation, ',',
        octet_length(parameters), ':', parameters, ',', octet_length(result), ':', result, ',',
        octet_length(duration), ':', duration, ',1:', p_entry.success::integer, ',',
        coalesce(octet_length(p_entry.error_message) || ':' || p_entry.error_message, '-'), ',',
        octet_length(instant), ':', instant, ','
    );
end
$$;

create function coordinator.link(p_previous bytea, p_entry coordinator.audit) returns bytea
language plpgsql stable as $$
begin
    return sha256(
        'agent-coordinator audit v1\012'::bytea || p_previous || convert_to(coordinator.canonical(p_entry), 'UTF8')
    );
end
$$;

do $$
declare
    entry    coordinator.audit;
    previous text collate "C";
    head     bytea;
begin
    for entry in select a.* from coordinator.audit as a order by a.project, a.seq loop
        if previous is distinct from entry.project then
            previous := entry.project;
            head := decode(repeat('00', 32), 'hex');
        end if;
        head := coordinator.link(head, entry);
        update coordinator.audit as a set hash = head where a.project = entry.project and a.seq = entry.seq;
    end loop;
end
$$;
alter table coordinator.audit alter column hash set not null;

-- What stands for the rows that were removed: they can go only from the beginning, and only once they are sealed here.
create table coordinator.audit_seals (
    project    text   collate "C" not null,
    size       bigint not null check (size > 0),
    hash       bytea  not null check (octet_length(hash) = 32),
    frontier   jsonb  not null check (jsonb_typeof(frontier) = 'array'),
    trail      bytea  not null check (octet_length(trail) = 32),
    checkpoint text   not null,
    primary key (project, size)
);
alter table coordinator.audit_seals enable row level security;

create function coordinator.refuse_what_is_no_seal() returns trigger
language plpgsql as $$
begin
    if not exists (
        select from coordinator.audit as a
        where a.project = new.project and a.seq = new.size and a.hash = new.hash
    ) or not exists (
        select from coordinator.audit as a where a.project = new.project and a.seq = new.size + 1
    ) or exists (
        select from coordinator.audit_seals as s where s.project = new.project and s.size >= new.size
    ) then
        raise exception 'the audit trail is append-only: this seal is not of its oldest rows'
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;
create function coordinator.refuse_to_delete_what_is_not_sealed() returns trigger
language plpgsql as $$
begin
    if not exists (select from gone) or exists (
        select from gone
        where not exists (
            select from coordinator.audit_seals as s where s.project = gone.project and s.size >= gone.seq
        )
    ) then
        raise exception 'the audit trail is append-only: % is refused', tg_op using errcode = 'insufficient_privilege';
    end if;
    return null;
end
$$;

create trigger append_only before update or truncate on coordinator.audit
    for each statement execute function coordinator.refuse_to_change_the_trail();
create trigger append_only_but_for_sealed_rows after delete on coordinator.audit
    referencing old table as gone
    for each statement execute function coordinator.refuse_to_delete_what_is_not_sealed();
create trigger append_only before update or delete or truncate on coordinator.audit_seals
    for each statement execute function coordinator.refuse_to_change_the_trail();
create trigger only_seals before insert on coordinator.audit_seals
    for each row execute function coordinator.refuse_what_is_no_seal();
alter table coordinator.audit enable always trigger append_only;
alter table coordinator.audit enable always trigger append_only_but_for_sealed_rows;
alter table coordinator.audit_seals enable always trigger append_only;
alter table coordinator.audit_seals enable always trigger only_seals;

-- What a key may be used for, how often, and when it last was.
alter table coordinator.api_keys
    add column scopes       text[] not null default '{}',
    add column per_minute   bigint check (per_minute > 0),
    add column last_used_at timestamptz;
