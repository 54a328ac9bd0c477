-- Questions. Each first frees what is due, and writes nothing when nothing is.

-- Answers in `json`, not `jsonb`: the parameters of an audit row come back as they were written.
create or replace function coordinator.read(p_project text, p_query jsonb) returns json
language plpgsql
security definer
set search_path = coordinator, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    instant timestamptz := coordinator.clock();
begin
    case p_query ->> 'kind'
        when 'api_keys' then
            return json_build_object('api_keys', coordinator.all_api_keys(), 'instant', instant);
        when 'port_blocks' then
            return json_build_object('port_blocks', coordinator.list_port_blocks(instant), 'instant', instant);
        when 'due_projects' then
            return (
                select coalesce(json_agg(p.project order by p.project), '[]')
                from coordinator.projects as p
                where coordinator.is_due(p.project, instant)
            );
        when 'rules_version' then
            return to_json(coordinator.rules_version(p_project));
        when 'projects' then
            return (select coalesce(json_agg(p.project order by p.project), '[]') from coordinator.projects as p);
        else
            if coordinator.is_due(p_project, instant) then
                perform coordinator.apply(p_project, '[]');
            end if;
    end case;

    return case p_query ->> 'kind'
        when 'locks' then coordinator.list_locks(p_project, p_query -> 'keys')
        when 'waiters' then coordinator.list_waiters(p_project)
        when 'task' then coalesce(coordinator.find_task(p_project, (p_query ->> 'task_id')::uuid), 'null')
        when 'tasks' then coordinator.list_tasks(p_project, p_query)
        when 'sessions' then json_build_object(
            'sessions', coordinator.list_sessions(p_project, (p_query -> 'connected')::boolean), 'instant', instant
        )
        when 'handoffs' then coordinator.list_handoffs(p_project, p_query)
        when 'messages' then coordinator.list_messages(p_project, p_query)
        when 'unread_messages' then coordinator.list_unread_messages(
            p_project, p_query ->> 'agent_id', (p_query ->> 'limit')::bigint
        )::json
        when 'audit' then coordinator.list_audit(p_project, p_query)
        when 'audit_after' then coordinator.list_audit_after(
            p_project, (p_query ->> 'position')::bigint, (p_query ->> 'limit')::bigint
        )
        when 'audit_chain' then coordinator.list_chain(
            p_project, (p_query ->> 'position')::bigint, (p_query ->> 'limit')::bigint
        )
        when 'audit_seal' then coordinator.last_seal(p_project)
        when 'search_memories' then coordinator.search_memories(p_project, p_query, instant)
        when 'memories' then coordinator.find_memories(p_project, p_query)
        when 'notes' then coordinator.list_notes(p_project, p_query)
        when 'skills' then coordinator.list_skills(p_project)
        when 'features' then coordinator.list_features(p_project, p_query)
        when 'merge_entries' then coordinator.list_merge_entries(p_project, p_query)
        when 'approvals' then coordinator.list_approvals(p_project, p_query)
        when 'github_records' then coordinator.list_github_records(p_project, p_query, instant)
        when 'changesets' then coordinator.list_changesets(p_project, p_query)
        when 'rules' then coordinator.list_rules(p_project)
        when 'rule_history' then coordinator.list_rule_history(p_project, p_query)
    end;
end
$$;

-- The locks that overlap any of the keys, or all locks when these are null; oldest grant first.
create or replace function coordinator.list_locks(p_project text, p_keys jsonb) returns json
language plpgsql as $$
begin
    if coalesce(p_keys, 'null') = 'null' then
        return (
            select coalesce(json_agg(coordinator.lock_to_json(l) order by l.fencing_token, l.key), '[]')
            from coordinator.locks as l
            where l.project = p_project
        );
    end if;
    return (
        select coalesce(json_agg(coordinator.lock_to_json(found.lock) order by found.fencing_token, found.key), '[]')
        from (
            select distinct on (lock.fencing_token, lock.key) lock.fencing_token, lock.key, lock
            from jsonb_array_elements(p_keys) as wanted,
                unnest(coordinator.overlapping_locks(p_project, wanted)) as lock
            order by lock.fencing_token, lock.key
        ) as found
    );
end
$$;

create or replace function coordinator.list_waiters(p_project text) returns json
language plpgsql as $$
begin
    return (
        select coalesce(json_agg(coordinator.waiter_to_json(w) order by w.seq), '[]')
        from coordinator.waiters as w
        where w.project = p_project
    );
end
$$;

create or replace function coordinator.find_task(p_project text, p_task_id uuid) returns json
language plpgsql as $$
begin
    return coalesce(
        (
            select coordinator.task_to_json(t)
            from coordinator.tasks as t
            where t.project = p_project and t.task_id = p_task_id
        ),
        'null'
    );
end
$$;

-- A page of tasks, newest first. Each status has its own order in the index, so the page is gathered from theirs.
create or replace function coordinator.list_tasks(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    statuses        text[] := '{pending, claimed, running, completed, failed}';
    the_type        text := p_filter ->> 'task_type';
    the_error       text := p_filter ->> 'error_code';
    older_than      bigint := coalesce((p_filter ->> 'before')::bigint, 9223372036854775807);
    at_most         bigint := p_filter ->> 'limit';
begin
    if p_filter ->> 'status' is not null then
        statuses := array[p_filter ->> 'status'];
    end if;
    return (
        select coalesce(json_agg(coordinator.task_to_json(page.task) order by page.seq desc), '[]')
        from (
            select of_status.task, of_status.seq
            from unnest(statuses) as wanted, lateral (
                select t as task, t.seq
                from coordinator.tasks as t
                where t.project = p_project and t.status = wanted and t.seq < older_than
                    and (the_type is null or t.task_type = the_type)
                    and (the_error is null or t.error_code = the_error)
                order by t.seq desc
                limit at_most
            ) as of_status
            order by of_status.seq desc
            limit at_most
        ) as page
    );
end
$$;

-- The sessions that are connected, or the latest thousand of those that were disconnected; last heard of first.
create or replace function coordinator.list_sessions(p_project text, p_connected boolean) returns json
language plpgsql as $$
begin
    if p_connected then
        return (
            select coalesce(
                json_agg(to_jsonb(s) - 'project' order by s.last_heartbeat desc, s.session_id desc), '[]'
            )
            from coordinator.sessions as s
            where s.project = p_project and s.disconnected_at is null
        );
    end if;
    return (
        select coalesce(
            json_agg(to_jsonb(gone) - 'project' order by gone.last_heartbeat desc, gone.session_id desc), '[]'
        )
        from (
            select s.*
            from coordinator.sessions as s
            where s.project = p_project and s.disconnected_at is not null
            order by s.last_heartbeat desc, s.session_id desc
            limit 1000
        ) as gone
    );
end
$$;

-- A page of the audit trail, newest first.
create or replace function coordinator.list_audit(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_agent     text := p_filter ->> 'agent_id';
    the_operation text := p_filter ->> 'operation';
    from_instant  timestamptz := coalesce((p_filter ->> 'since')::timestamptz, '-infinity');
    to_instant    timestamptz := coalesce((p_filter ->> 'until')::timestamptz, 'infinity');
    the_success   boolean := p_filter ->> 'success';
    older_than    bigint := coalesce((p_filter ->> 'before')::bigint, 9223372036854775807);
    at_most       bigint := p_filter ->> 'limit';
begin
    -- Only one of the two branches is ever run: an agent's rows have an index of their own.
    return (
        select coalesce(json_agg(coordinator.audit_to_json(page.entry) order by (page.entry).seq desc), '[]')
        from (
            (
                select a as entry
                from coordinator.audit as a
                where the_agent is null and a.project = p_project and a.seq < older_than
                    and (the_operation is null or a.operation = the_operation)
                    and a.created_at >= from_instant and a.created_at < to_instant
                    and (the_success is null or a.success = the_success)
                order by a.seq desc
                limit at_most
            )
            union all
            (
                select a
                from coordinator.audit as a
                where a.agent_id = the_agent and a.project = p_project and a.seq < older_than
                    and (the_operation is null or a.operation = the_operation)
                    and a.created_at >= from_instant and a.created_at < to_instant
                    and (the_success is null or a.success = the_success)
                order by a.seq desc
                limit at_most
            )
        ) as page
    );
end
$$;

-- The rows behind a position, oldest first.
create or replace function coordinator.list_audit_after(p_project text, p_position bigint, p_limit bigint) returns json
language plpgsql as $$
begin
    return (
        select coalesce(json_agg(coordinator.audit_to_json(page.entry) order by (page.entry).seq), '[]')
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

create or replace function coordinator.audit_to_json(p_entry coordinator.audit) returns json
language sql stable as $$
    select json_build_object(
        'seq', p_entry.seq,
        'id', p_entry.id,
        'agent_id', p_entry.agent_id,
        'agent_type', p_entry.agent_type,
        'session_id', p_entry.session_id,
        'operation', p_entry.operation,
        'parameters', p_entry.parameters,
        'result', p_entry.result,
        'duration_ms', p_entry.duration_ms,
        'success', p_entry.success,
        'error_message', p_entry.error_message,
        'created_at', p_entry.created_at
    )
$$;

-- All API keys of all projects, revoked and expired ones included, oldest first.
create or replace function coordinator.all_api_keys() returns json
language plpgsql as $$
begin
    return (
        select coalesce(json_agg(to_json(k) order by k.created_at, k.id), '[]')
        from coordinator.api_keys as k
    );
end
$$;
