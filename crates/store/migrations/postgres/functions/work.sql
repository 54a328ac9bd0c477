-- The work queue: who gets which task, and what becomes of it.

create or replace function coordinator.submit(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_task     uuid := p_request ->> 'task_id';
    dependencies uuid[] := array(select jsonb_array_elements_text(p_request -> 'depends_on'));
    too_late     timestamptz := coordinator.instant(p_request ->> 'deadline');
    open         bigint := 0;
    earlier      record;
    found_out    record;
begin
    if p_request ->> 'idempotency_key' is not null then
        select t.task_id, t.fingerprint into earlier
        from coordinator.tasks as t
        where t.project = p_turn.project
            and coordinator.digest(t.idempotency_key) = coordinator.digest(p_request ->> 'idempotency_key');
        if found and earlier.fingerprint = p_request ->> 'fingerprint' then
            return jsonb_build_object('kind', 'submitted', 'task_id', earlier.task_id, 'repeated', true);
        elsif found then
            return jsonb_build_object(
                'kind', 'refused', 'code', 'idempotency_key_reused', 'task_id', earlier.task_id
            );
        end if;
    end if;
    if too_late <= p_turn.now then
        return '{"kind": "refused", "code": "deadline_exceeded"}';
    end if;
    if cardinality(dependencies) > 0 then
        select
            jsonb_agg(d.task_id order by d.place) filter (where d.status is null) as unknown,
            (array_agg(d.task_id order by d.place) filter (where d.status = 'failed'))[1] as failed,
            count(*) filter (where d.status not in ('completed', 'failed')) as open
        into found_out
        from (
            select dependency.task_id, dependency.place, (
                select t.status
                from coordinator.tasks as t
                where t.project = p_turn.project and t.task_id = dependency.task_id
            ) as status
            from unnest(dependencies) with ordinality as dependency (task_id, place)
        ) as d;
        if found_out.unknown is not null then
            return jsonb_build_object(
                'kind', 'refused', 'code', 'unknown_dependency', 'task_ids', found_out.unknown
            );
        end if;
        if found_out.failed is not null then
            return jsonb_build_object('kind', 'refused', 'code', 'dependency_failed', 'task_id', found_out.failed);
        end if;
        open := found_out.open;
    end if;

    insert into coordinator.tasks (
        project, task_id, seq, task_type, description, input_data, priority, status, depends_on, open_dependencies,
        deadline, max_attempts, attempt, idempotency_key, fingerprint, required_capability, assignee, feature_id,
        created_by, lease_seconds, created_at
    ) values (
        p_turn.project, the_task, p_turn.position, p_request ->> 'task_type', p_request ->> 'description',
        (p_request ->> 'input_data')::json, (p_request ->> 'priority')::smallint, 'pending', dependencies, open,
        too_late, (p_request ->> 'max_attempts')::bigint, 0,
        p_request ->> 'idempotency_key', p_request ->> 'fingerprint', p_request ->> 'required_capability',
        p_request ->> 'assignee', p_request ->> 'feature_id', p_turn.agent_id, 0, p_turn.now
    );
    if cardinality(dependencies) > 0 then
        insert into coordinator.task_dependencies (project, depends_on, task_id)
        select p_turn.project, dependency, the_task from unnest(dependencies) as dependency;
    end if;
    return jsonb_build_object('kind', 'submitted', 'task_id', the_task, 'repeated', false);
end
$$;

-- May the agent take the task, which is pending and has no open dependency?
create or replace function coordinator.may_claim(
    p_turn coordinator.turn, p_task coordinator.tasks, p_capabilities text[], p_paused text[]
) returns boolean
language sql immutable as $$
    select (p_task.not_before is null or p_task.not_before <= p_turn.now)
        and (p_task.required_capability is null or p_task.required_capability = any (p_capabilities))
        and (p_task.assignee is null or p_task.assignee = p_turn.agent_id)
        and (p_task.feature_id is null or p_task.feature_id <> all (p_paused))
$$;

-- Takes the first task by priority, then by age, that the agent may take.
create or replace function coordinator.claim(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    capabilities text[] := array(
        select unnest(s.capabilities)
        from coordinator.sessions as s
        where s.project = p_turn.project and s.agent_id = p_turn.agent_id and s.disconnected_at is null
    );
    paused text[] := '{}';
    types  text[];
    first  uuid;
    task   coordinator.tasks;
begin
    if p_turn.any_pause then
        paused := array(
            select coordinator.feature_of(l.pattern)
            from coordinator.locks as l
            where l.project = p_turn.project and l.space = 'feature' and l.pattern like '%/pause'
                and l.agent_id <> p_turn.agent_id
        );
    end if;
    if p_request ->> 'task_types' is null then
        select t.task_id into first
        from coordinator.tasks as t
        where t.project = p_turn.project and t.status = 'pending' and t.open_dependencies = 0
            and t.priority is not null and coordinator.may_claim(p_turn, t, capabilities, paused)
        order by t.priority, t.seq
        limit 1;
    else
        types := array(select distinct jsonb_array_elements_text(p_request -> 'task_types'));
        select candidate.task_id into first
        from unnest(types) as type, lateral (
            select t.task_id, t.priority, t.seq
            from coordinator.tasks as t
            where t.project = p_turn.project and t.status = 'pending' and t.open_dependencies = 0
                and hashtextextended(t.task_type, 0) = hashtextextended(type, 0) and t.task_type = type
                and coordinator.may_claim(p_turn, t, capabilities, paused)
            order by t.priority, t.seq
            limit 1
        ) as candidate
        order by candidate.priority, candidate.seq
        limit 1;
    end if;
    if first is null then
        return jsonb_build_object('kind', case when (p_request -> 'waits')::boolean then 'no_task_yet' else 'no_task' end);
    end if;
    update coordinator.tasks as t
    set status = 'claimed', attempt = t.attempt + 1, not_before = null, claimed_by = p_turn.agent_id,
        session_id = p_turn.session_id, claimed_at = p_turn.now, fencing_token = p_turn.position,
        lease_seconds = (p_request ->> 'lease_seconds')::bigint,
        lease_expires_at = least(
            p_turn.now + (p_request ->> 'lease_seconds')::bigint * interval '1 second',
            p_turn.now + (p_turn.limits ->> 'max_minutes_per_task')::bigint * interval '60 seconds'
        )
    where t.project = p_turn.project and t.task_id = first
    returning t.* into task;
    return jsonb_build_object('kind', 'claimed', 'task', coordinator.task_to_json(task));
end
$$;

create or replace function coordinator.task_to_json(p_task coordinator.tasks) returns jsonb
language plpgsql stable as $$
declare
    -- The payloads stay opaque: texts that happen to hold JSON.
    payloads jsonb := jsonb_build_object('input_data', p_task.input_data::text, 'result', p_task.result::text);
begin
    p_task.input_data := null;
    p_task.result := null;
    return to_jsonb(p_task) - 'project' || payloads;
end
$$;

create or replace function coordinator.complete(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    task     coordinator.tasks;
    refusal  jsonb;
    retry_at timestamptz;
    fallen   uuid[] := '{}';
begin
    select t.* into task
    from coordinator.tasks as t
    where t.project = p_turn.project and t.task_id = (p_request ->> 'task_id')::uuid;
    if not found or task.status not in ('claimed', 'running') or task.claimed_by <> p_turn.agent_id then
        return '{"kind": "refused", "code": "task_not_found_or_not_claimed_by_agent"}';
    end if;
    if p_request ->> 'fencing_token' is not null then
        refusal := coordinator.stale(task.task_id::text, (p_request ->> 'fencing_token')::bigint, task.fencing_token);
        if refusal is not null then
            return refusal;
        end if;
    end if;
    task.result := (p_request ->> 'result')::json;
    task.error_code := p_request ->> 'error_code';
    task.error_message := p_request ->> 'error_message';
    if (p_request -> 'success')::boolean then
        task.status := 'completed';
        perform coordinator.finish(task, p_turn.now);
    else
        retry_at := coordinator.next_attempt(task, p_turn.now);
        if retry_at is not null then
            task.status := 'pending';
            task.not_before := retry_at;
            perform coordinator.put_back(task);
        else
            task.status := 'failed';
            fallen := coordinator.finish(task, p_turn.now);
        end if;
    end if;
    return jsonb_build_object(
        'kind', 'ended', 'task_id', task.task_id, 'status', task.status,
        'retry_at', coordinator.rfc3339(retry_at), 'failed_dependents', fallen
    );
end
$$;

-- When a task whose attempt failed is tried again; null when it was cancelled, was the last attempt, or would come too
-- late. The pause is 5 s after the first failure, doubled each time, at most 5 min.
create or replace function coordinator.next_attempt(p_task coordinator.tasks, p_now timestamptz) returns timestamptz
language plpgsql as $$
declare
    moment timestamptz := p_now + least(5 * 2 ^ least(p_task.attempt - 1, 6), 300) * interval '1 second';
begin
    if p_task.attempt < p_task.max_attempts
        and p_task.error_code is distinct from 'cancelled_by_orchestrator'
        and coalesce(moment < p_task.deadline, true)
    then
        return moment;
    end if;
    return null;
end
$$;

-- Ends a task that has not ended yet, whoever holds it: cancelled for a reason, or else done.
create or replace function coordinator.end_task(
    p_turn coordinator.turn, p_request jsonb, p_status text, p_error_code text
) returns jsonb
language plpgsql as $$
declare
    task coordinator.tasks;
begin
    select t.* into task
    from coordinator.tasks as t
    where t.project = p_turn.project and t.task_id = (p_request ->> 'task_id')::uuid;
    if not found then
        return '{"kind": "refused", "code": "task_not_found"}';
    end if;
    if task.completed_at is not null then
        return jsonb_build_object('kind', 'refused', 'code', 'task_already_ended', 'status', task.status);
    end if;
    task.status := p_status;
    task.result := (p_request ->> 'result')::json;
    task.error_code := p_error_code;
    task.error_message := p_request ->> 'reason';
    return jsonb_build_object(
        'kind', 'ended', 'task_id', task.task_id, 'status', task.status, 'retry_at', null,
        'failed_dependents', coordinator.finish(task, p_turn.now)
    );
end
$$;

create or replace function coordinator.cancel(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    return coordinator.end_task(p_turn, p_request, 'failed', 'cancelled_by_orchestrator');
end
$$;

create or replace function coordinator.finish_task(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    return coordinator.end_task(p_turn, p_request, 'completed', null);
end
$$;

-- Takes a task from a holder that is gone: back into the queue, or failed after its last attempt.
create or replace function coordinator.take_back(p_task coordinator.tasks, p_now timestamptz) returns void
language plpgsql as $$
begin
    p_task.error_code := 'lease_lapsed';
    p_task.error_message := format(
        '%s stopped sending heartbeats during attempt %s of %s', p_task.claimed_by, p_task.attempt, p_task.max_attempts
    );
    if p_task.attempt < p_task.max_attempts then
        perform coordinator.put_back(p_task);
    else
        p_task.status := 'failed';
        perform coordinator.finish(p_task, p_now);
    end if;
end
$$;

-- Fails a task that nobody began in time, unless it has failed already.
create or replace function coordinator.fail_overdue(p_task coordinator.tasks, p_now timestamptz) returns boolean
language plpgsql as $$
begin
    if not exists (
        select
        from coordinator.tasks as t
        where t.project = p_task.project and t.task_id = p_task.task_id and t.status = 'pending'
    ) then
        return false;
    end if;
    p_task.status := 'failed';
    p_task.error_code := 'deadline_exceeded';
    p_task.error_message := 'nobody began it before its deadline';
    perform coordinator.finish(p_task, p_now);
    return true;
end
$$;

-- Back into the queue. The token goes, so that the old holder can prove nothing any more.
create or replace function coordinator.put_back(p_task coordinator.tasks) returns void
language plpgsql as $$
begin
    update coordinator.tasks as t
    set status = 'pending', session_id = null, fencing_token = null, lease_expires_at = null,
        not_before = p_task.not_before, result = p_task.result, error_code = p_task.error_code,
        error_message = p_task.error_message
    where t.project = p_task.project and t.task_id = p_task.task_id;
end
$$;

-- The tasks that wait for this one, oldest first: whatever has not ended, since this dependency of it is open.
create or replace function coordinator.dependents(p_project text, p_task_id uuid) returns uuid[]
language plpgsql as $$
begin
    return array(
        select d.task_id
        from coordinator.task_dependencies as d, lateral (
            -- `offset 0`, as in `overlapping_locks`, makes it one look into the index for each.
            select t.seq
            from coordinator.tasks as t
            where t.project = p_project and t.task_id = d.task_id and t.completed_at is null
            offset 0
        ) as waiting
        where d.project = p_project and d.depends_on = p_task_id
        order by waiting.seq
    );
end
$$;

-- Stores the final status. Success opens the way for its dependents; failure fails them, and theirs: returned in the
-- order in which they fell.
create or replace function coordinator.finish(p_task coordinator.tasks, p_now timestamptz) returns uuid[]
language plpgsql as $$
declare
    failed    uuid[] := array[p_task.task_id];
    visited   integer := 0;
    dependent uuid;
begin
    update coordinator.tasks as t
    set status = p_task.status, lease_expires_at = null, not_before = null, completed_at = p_now,
        result = p_task.result, error_code = p_task.error_code, error_message = p_task.error_message
    where t.project = p_task.project and t.task_id = p_task.task_id;

    if p_task.status = 'completed' then
        foreach dependent in array coordinator.dependents(p_task.project, p_task.task_id) loop
            update coordinator.tasks as t
            set open_dependencies = t.open_dependencies - 1
            where t.project = p_task.project and t.task_id = dependent;
        end loop;
        return '{}';
    end if;

    while visited < cardinality(failed) loop
        visited := visited + 1;
        foreach dependent in array coordinator.dependents(p_task.project, failed[visited]) loop
            update coordinator.tasks as t
            set status = 'failed', error_code = 'dependency_failed', not_before = null, completed_at = p_now,
                error_message = (
                    select format('it depends on task %s (%s), which failed', cause.task_id, cause.task_type)
                    from coordinator.tasks as cause
                    where cause.project = p_task.project and cause.task_id = failed[visited]
                )
            where t.project = p_task.project and t.task_id = dependent;
            failed := failed || dependent;
        end loop;
    end loop;
    return failed[2:];
end
$$;
