-- Ports: which session has which block, across all projects.
--
-- A block belongs to the machine, so no project's reaping frees it: whoever asks for one first drops those that ended.

-- Waits until no other transaction hands ports out, and drops what has ended. Always taken after the project's own turn,
-- so that no two transactions wait for each other.
create or replace function coordinator.take_ports_turn(p_now timestamptz) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('coordinator.ports', 0));
    delete from coordinator.port_blocks as b where b.expires_at <= p_now;
end
$$;

create or replace function coordinator.allocate_ports(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    ends_at timestamptz := p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second';
    own     integer;
    free    integer;
begin
    perform coordinator.take_ports_turn(p_turn.now);
    update coordinator.port_blocks as b
    set agent_id = p_turn.agent_id, expires_at = ends_at
    where b.project = p_turn.project and b.session_id = p_request ->> 'session_id'
    returning b.first_port into own;

    if own is null then
        select candidate.first_port into free
        from jsonb_array_elements_text(p_request -> 'candidates') with ordinality as proposed (port, place),
            lateral (select proposed.port::integer as first_port) as candidate
        where not exists (
            select from coordinator.port_blocks as b
            where int4range(b.first_port, b.first_port + 4) && int4range(candidate.first_port, candidate.first_port + 4)
        )
        order by proposed.place
        limit 1;
        if free is null then
            return '{"kind": "no_ports"}';
        end if;
        insert into coordinator.port_blocks (project, session_id, agent_id, first_port, allocated_at, expires_at)
        values (p_turn.project, p_request ->> 'session_id', p_turn.agent_id, free, p_turn.now, ends_at);
    end if;
    return jsonb_build_object(
        'kind', 'ports_allocated', 'first_port', coalesce(own, free), 'refreshed', own is not null,
        'expires_at', coordinator.rfc3339(ends_at)
    );
end
$$;

create or replace function coordinator.release_ports(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    perform coordinator.take_ports_turn(p_turn.now);
    delete from coordinator.port_blocks as b
    where b.project = p_turn.project and b.session_id = p_request ->> 'session_id';
    return jsonb_build_object('kind', 'ports_released', 'released', found);
end
$$;

-- The blocks of all projects that have not ended, lowest first.
create or replace function coordinator.list_port_blocks(p_now timestamptz) returns json
language plpgsql as $$
begin
    return (
        select coalesce(json_agg(to_json(b) order by b.first_port), '[]')
        from coordinator.port_blocks as b
        where b.expires_at > p_now
    );
end
$$;
