-- Freeing what is due: one rule for locks, claims, sessions, places in a queue, approvals and runs. What has an `expires_at` that is
-- past, by the database's clock, is over.

-- Is there anything to free?
create or replace function coordinator.is_due(p_project text, p_now timestamptz) returns boolean
language plpgsql as $$
begin
    return exists (select from coordinator.locks as l where l.project = p_project and l.expires_at <= p_now)
        or exists (select from coordinator.waiters as w where w.project = p_project and w.expires_at <= p_now)
        or exists (
            select from coordinator.sessions as s
            where s.project = p_project and s.disconnected_at is null and s.expires_at <= p_now
        )
        or exists (select from coordinator.tasks as t where t.project = p_project and t.lease_expires_at <= p_now)
        or exists (
            select from coordinator.tasks as t
            where t.project = p_project and t.status = 'pending' and t.deadline <= p_now
        )
        or exists (
            select from coordinator.approvals as a
            where a.project = p_project and a.status in ('pending', 'approved') and a.expires_at <= p_now
        )
        or exists (
            select from coordinator.verification_runs as r
            where r.project = p_project and r.lease_expires_at <= p_now
        );
end
$$;

-- Frees everything that is due, and records it.
create or replace function coordinator.free_what_is_due(
    p_project text, p_now timestamptz, inout p_audit_seq bigint, out freed coordinator.freed
)
language plpgsql as $$
declare
    session coordinator.sessions;
    lock    coordinator.locks;
    task    coordinator.tasks;
    step    record;
begin
    freed := (0, 0, 0);
    delete from coordinator.waiters as w where w.project = p_project and w.expires_at <= p_now;

    for session in
        select s.*
        from coordinator.sessions as s
        where s.project = p_project and s.disconnected_at is null and s.expires_at <= p_now
        order by s.session_id
    loop
        step := coordinator.disconnect(session, p_now, p_audit_seq, freed);
        p_audit_seq := step.p_audit_seq;
        freed := step.p_freed;
    end loop;

    for lock in
        with ended as (
            delete from coordinator.locks as l where l.project = p_project and l.expires_at <= p_now returning l.*
        )
        select * from ended order by fencing_token, key
    loop
        p_audit_seq := coordinator.record(
            p_project, p_now, p_audit_seq, 'expire_lock',
            json_build_object('file_path', lock.key, 'agent_id', lock.agent_id)
        );
    end loop;

    for task in
        select t.*
        from coordinator.tasks as t
        where t.project = p_project and t.lease_expires_at <= p_now
        order by t.seq
    loop
        perform coordinator.take_back(task, p_now);
        p_audit_seq := coordinator.record(
            p_project, p_now, p_audit_seq, 'lapse_claim',
            json_build_object('task_id', task.task_id, 'agent_id', task.claimed_by)
        );
    end loop;

    p_audit_seq := coordinator.fail_what_is_overdue(p_project, p_now, p_audit_seq);
    p_audit_seq := coordinator.expire_approvals(p_project, p_now, p_audit_seq);
    p_audit_seq := coordinator.take_runs_back(p_project, p_now, p_audit_seq);
end
$$;

-- Fails the tasks that nobody began in time. Answers the last position in the trail.
create or replace function coordinator.fail_what_is_overdue(p_project text, p_now timestamptz, p_audit_seq bigint)
returns bigint
language plpgsql as $$
declare
    task coordinator.tasks;
begin
    for task in
        select t.*
        from coordinator.tasks as t
        where t.project = p_project and t.status = 'pending' and t.deadline <= p_now
        order by t.seq
    loop
        -- An earlier one in this loop may have failed it as its dependent.
        if coordinator.fail_overdue(task, p_now) then
            p_audit_seq := coordinator.record(
                p_project, p_now, p_audit_seq, 'expire_task', json_build_object('task_id', task.task_id)
            );
        end if;
    end loop;
    return p_audit_seq;
end
$$;

-- Ends a session: its locks are released, its tasks taken back. Not those of another agent that used the session's id
-- as a label before it was registered.
create or replace function coordinator.disconnect(
    p_session coordinator.sessions, p_now timestamptz, inout p_audit_seq bigint, inout p_freed coordinator.freed
)
language plpgsql as $$
declare
    task  coordinator.tasks;
    locks bigint;
    tasks bigint := 0;
begin
    delete from coordinator.locks as l
    where l.project = p_session.project and l.session_id = p_session.session_id and l.agent_id = p_session.agent_id;
    get diagnostics locks = row_count;

    for task in
        select t.*
        from coordinator.tasks as t
        where t.project = p_session.project and t.status in ('claimed', 'running')
            and t.claimed_by = p_session.agent_id and t.session_id = p_session.session_id
        order by t.seq
    loop
        perform coordinator.take_back(task, p_now);
        tasks := tasks + 1;
    end loop;

    update coordinator.sessions as s
    set disconnected_at = p_now
    where s.project = p_session.project and s.session_id = p_session.session_id;

    p_freed := (p_freed.sessions + 1, p_freed.locks + locks, p_freed.tasks + tasks);
    p_audit_seq := coordinator.record(
        p_session.project, p_now, p_audit_seq, 'disconnect_session',
        json_build_object(
            'session_id', p_session.session_id, 'agent_id', p_session.agent_id, 'locks_released', locks,
            'tasks_requeued', tasks
        )
    );
end
$$;

-- The coordinator's own deeds are in the trail too, under its own name. Answers the position it took.
create or replace function coordinator.record(
    p_project text, p_now timestamptz, p_audit_seq bigint, p_operation text, p_what json
) returns bigint
language plpgsql as $$
declare
    entry coordinator.audit := row(
        p_project, p_audit_seq + 1, coordinator.uuid_v7(p_now), 'coordinator', 'system', null, p_operation, p_what, 'null',
        0, true, null, p_now, null
    );
begin
    entry.hash := coordinator.link(coordinator.hash_at(p_project, p_audit_seq), entry);
    insert into coordinator.audit select entry.*;
    return p_audit_seq + 1;
end
$$;

-- A random id that sorts by time: 48 bits of milliseconds, then the version, then a random UUID's bits.
create or replace function coordinator.uuid_v7(p_now timestamptz) returns uuid
language plpgsql as $$
declare
    milliseconds bytea := substr(int8send(floor(extract(epoch from p_now) * 1000)::bigint), 3);
    bytes        bytea := overlay(uuid_send(gen_random_uuid()) placing milliseconds from 1);
begin
    -- Version 4 becomes 7: the two bits between them are set.
    return encode(set_bit(set_bit(bytes, 52, 1), 53, 1), 'hex')::uuid;
end
$$;
