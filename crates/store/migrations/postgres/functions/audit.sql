-- The trail as it is hashed, and how its oldest rows are removed. `model/src/chain.rs` says the same in Rust.

-- A row as it is hashed: each column as `LENGTH:BYTES,`, and `-,` where it is null.
create or replace function coordinator.canonical(p_entry coordinator.audit) returns text
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

-- The hash of a row, given that of the row before it.
create or replace function coordinator.link(p_previous bytea, p_entry coordinator.audit) returns bytea
language sql stable as $$
    select sha256(
        'agent-coordinator audit v1\012'::bytea || p_previous || convert_to(coordinator.canonical(p_entry), 'UTF8')
    )
$$;

-- The hash of the row at this position; for 0, what comes before the first.
create or replace function coordinator.hash_at(p_project text, p_seq bigint) returns bytea
language plpgsql stable as $$
begin
    return coalesce(
        (select a.hash from coordinator.audit as a where a.project = p_project and a.seq = p_seq),
        decode(repeat('00', 32), 'hex')
    );
end
$$;

-- Seals the oldest rows and removes them. The seal must be of exactly these rows, of more than were sealed before, and of
-- fewer than there are: the last row tells where the trail goes on. At most 10,000 at once: others wait for it.
create or replace function coordinator.prune_audit(p_turn coordinator.turn, p_seal jsonb) returns jsonb
language plpgsql as $$
declare
    sealed bigint := coalesce(
        (select max(s.size) from coordinator.audit_seals as s where s.project = p_turn.project), 0
    );
    wanted bigint := p_seal ->> 'size';
begin
    if wanted <= sealed or wanted >= p_turn.position - 1 or wanted - sealed > 10000 or not exists (
        select from coordinator.audit as a
        where a.project = p_turn.project and a.seq = wanted and a.hash = decode(p_seal ->> 'hash', 'hex')
    ) then
        return jsonb_build_object('kind', 'refused', 'code', 'seal_mismatch', 'size', wanted);
    end if;
    insert into coordinator.audit_seals (project, size, hash, frontier, trail, checkpoint) values (
        p_turn.project, wanted, decode(p_seal ->> 'hash', 'hex'), p_seal -> 'frontier',
        decode(p_seal ->> 'trail', 'hex'), p_seal ->> 'checkpoint'
    );
    delete from coordinator.audit as a where a.project = p_turn.project and a.seq <= wanted;
    return jsonb_build_object('kind', 'audit_pruned', 'rows', wanted - sealed);
end
$$;

-- The rows behind a position as they are hashed, oldest first, with the hashes that are stored.
create or replace function coordinator.list_chain(p_project text, p_position bigint, p_limit bigint) returns json
language plpgsql as $$
begin
    return (
        select coalesce(
            json_agg(
                json_build_object(
                    'seq', (page.entry).seq, 'row', coordinator.canonical(page.entry),
                    'hash', encode((page.entry).hash, 'hex')
                )
                order by (page.entry).seq
            ),
            '[]'
        )
        from (
            select a as entry
            from coordinator.audit as a
            where a.project = p_project and a.seq > p_position
            order by a.seq
            limit p_limit
        ) as page
    );
end
$$;

-- The last seal; null when there is none.
create or replace function coordinator.last_seal(p_project text) returns json
language plpgsql as $$
begin
    return coalesce(
        (
            select json_build_object(
                'size', s.size, 'hash', encode(s.hash, 'hex'), 'frontier', s.frontier,
                'trail', encode(s.trail, 'hex'), 'checkpoint', s.checkpoint
            )
            from coordinator.audit_seals as s
            where s.project = p_project
            order by s.size desc
            limit 1
        ),
        'null'
    );
end
$$;
