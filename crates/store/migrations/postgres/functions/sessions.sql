-- Sessions: who is there, and what becomes of what they hold when they are not.

-- May the caller's session act? Null, or the refusal. Every operation is a sign of its life.
--
-- A session that never registered is only a label. One that was disconnected must register again first: whatever it
-- held may be another's by now.
create or replace function coordinator.admit(p_turn coordinator.turn) returns jsonb
language plpgsql as $$
declare
    session coordinator.sessions;
begin
    update coordinator.sessions as s
    set last_heartbeat = p_turn.now, expires_at = p_turn.now + s.ttl_seconds * interval '1 second'
    where s.project = p_turn.project and s.session_id = p_turn.session_id and s.agent_id = p_turn.agent_id
        and s.disconnected_at is null and s.last_heartbeat + s.ttl_seconds * interval '10 milliseconds' <= p_turn.now;
    if found then
        return null;
    end if;
    select s.* into session
    from coordinator.sessions as s
    where s.project = p_turn.project and s.session_id = p_turn.session_id;
    if session.agent_id <> p_turn.agent_id then
        return jsonb_build_object('kind', 'refused', 'code', 'session_not_yours', 'session_id', session.session_id);
    end if;
    if session.disconnected_at is not null then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'session_expired', 'session_id', session.session_id,
            'disconnected_at', coordinator.rfc3339(session.disconnected_at)
        );
    end if;
    return null;
end
$$;

create or replace function coordinator.register(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    ends_at timestamptz := p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second';
begin
    if p_turn.session_id is null then
        return '{"kind": "refused", "code": "session_not_found"}';
    end if;
    insert into coordinator.sessions as s (
        project, session_id, agent_id, agent_type, capabilities, current_task, started_at, last_heartbeat, ttl_seconds,
        expires_at
    ) values (
        p_turn.project, p_turn.session_id, p_turn.agent_id, p_turn.agent_type,
        array(select jsonb_array_elements_text(p_request -> 'capabilities')), p_request ->> 'current_task',
        p_turn.now, p_turn.now, (p_request ->> 'ttl_seconds')::bigint, ends_at
    )
    on conflict (project, session_id) do update
    set agent_type = excluded.agent_type, capabilities = excluded.capabilities, current_task = excluded.current_task,
        last_heartbeat = excluded.last_heartbeat, ttl_seconds = excluded.ttl_seconds, expires_at = excluded.expires_at,
        disconnected_at = null
    where s.agent_id = excluded.agent_id;
    if not found then
        return jsonb_build_object('kind', 'refused', 'code', 'session_not_yours', 'session_id', p_turn.session_id);
    end if;
    return jsonb_build_object(
        'kind', 'registered', 'session_id', p_turn.session_id, 'expires_at', coordinator.rfc3339(ends_at)
    );
end
$$;

-- Renews the caller's session, or all sessions of an agent that names none, and the claims that go with them.
create or replace function coordinator.heartbeat(p_turn coordinator.turn) returns jsonb
language plpgsql as $$
declare
    latest  text;
    renewed bigint;
begin
    select s.session_id into latest
    from coordinator.sessions as s
    where s.project = p_turn.project and s.agent_id = p_turn.agent_id and s.disconnected_at is null
        and s.session_id = coalesce(p_turn.session_id, s.session_id)
    order by s.last_heartbeat desc, s.session_id desc
    limit 1;

    update coordinator.sessions as s
    set last_heartbeat = p_turn.now, expires_at = p_turn.now + s.ttl_seconds * interval '1 second'
    where s.project = p_turn.project and s.agent_id = p_turn.agent_id and s.disconnected_at is null
        and s.session_id = coalesce(p_turn.session_id, s.session_id)
        -- `admit` has just renewed the caller's.
        and s.last_heartbeat <> p_turn.now;

    update coordinator.tasks as t
    set status = 'running',
        -- Not beyond its limit; what there is of the lease stays.
        lease_expires_at = greatest(t.lease_expires_at, least(
            p_turn.now + t.lease_seconds * interval '1 second',
            t.claimed_at + (p_turn.limits ->> 'max_minutes_per_task')::bigint * interval '60 seconds'
        ))
    where t.project = p_turn.project and t.claimed_by = p_turn.agent_id and t.status in ('claimed', 'running')
        and (p_turn.session_id is null or t.session_id is null or t.session_id = p_turn.session_id);
    get diagnostics renewed = row_count;

    if latest is null and renewed = 0 then
        return '{"kind": "refused", "code": "session_not_found"}';
    end if;
    return jsonb_build_object('kind', 'renewed', 'session_id', latest, 'tasks', renewed);
end
$$;

-- Ends the caller's session: what it holds is free at once.
create or replace function coordinator.end_session(
    p_turn coordinator.turn, inout p_audit_seq bigint, out outcome jsonb
)
language plpgsql as $$
declare
    session coordinator.sessions;
    freed   coordinator.freed := (0, 0, 0);
    step    record;
begin
    -- `admit` has seen to it that it is the caller's and connected.
    select s.* into session
    from coordinator.sessions as s
    where s.project = p_turn.project and s.session_id = p_turn.session_id;
    if not found then
        outcome := '{"kind": "refused", "code": "session_not_found"}';
        return;
    end if;
    step := coordinator.disconnect(session, p_turn.now, p_audit_seq, freed);
    -- What came back too late to be begun must not be handed out by the next command.
    p_audit_seq := coordinator.fail_what_is_overdue(p_turn.project, p_turn.now, step.p_audit_seq);
    outcome := jsonb_build_object('kind', 'session_ended', 'freed', to_jsonb(step.p_freed));
end
$$;

-- Disconnects the sessions that were silent for long, but for the caller's own.
create or replace function coordinator.cleanup(
    p_turn coordinator.turn, p_request jsonb, inout p_audit_seq bigint, inout p_freed coordinator.freed
)
language plpgsql as $$
declare
    silent_since timestamptz := p_turn.now - (p_request ->> 'silent_seconds')::bigint * interval '1 second';
    session      coordinator.sessions;
    step         record;
begin
    for session in
        select s.*
        from coordinator.sessions as s
        where s.project = p_turn.project and s.disconnected_at is null and s.last_heartbeat <= silent_since
            and s.session_id is distinct from p_turn.session_id
        order by s.session_id
    loop
        step := coordinator.disconnect(session, p_turn.now, p_audit_seq, p_freed);
        p_audit_seq := step.p_audit_seq;
        p_freed := step.p_freed;
    end loop;
    -- What came back too late to be begun must not be handed out by the next command.
    p_audit_seq := coordinator.fail_what_is_overdue(p_turn.project, p_turn.now, p_audit_seq);
end
$$;
