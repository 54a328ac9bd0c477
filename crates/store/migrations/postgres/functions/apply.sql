-- The one way in: a batch of commands, applied in order, in one transaction.

-- Applies the commands after freeing what is due, and answers their outcomes in the same order. Commands and outcomes
-- are those of `model/src/command.rs`, as serde writes them.
--
-- Plans are made once a session and then kept, for tables of any size: hence the settings.
create or replace function coordinator.apply(p_project text, p_commands jsonb) returns json
language plpgsql
security definer
set search_path = coordinator, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    turn          coordinator.turn;
    last_position bigint;
    head          bytea;
    entry         coordinator.audit;
    freed         coordinator.freed := (0, 0, 0);
    command       record;
    step          record;
    outcome       jsonb;
    code          text;
    outcomes      jsonb[] := '{}';
    trail         coordinator.audit[] := '{}';
    crowded       bigint[];
    acquisition   coordinator.acquisition;
    lock          coordinator.locks;
    granted       coordinator.locks[] := '{}';
begin
    perform coordinator.take_turn(p_project);
    turn.project := p_project;
    turn.now := coordinator.clock();
    turn.any_pause := jsonb_path_exists(p_commands, '$[*].action.keys[*].space ? (@ == "feature")')
        or exists (
            select from coordinator.locks as l
            where l.project = p_project and l.space = 'feature' and l.pattern like '%/pause'
        );
    turn.any_waiter := jsonb_path_exists(p_commands, '$[*].action.wait.ticket')
        or exists (select from coordinator.waiters as w where w.project = p_project);
    turn.any_claim := jsonb_path_exists(p_commands, '$[*].action.kind ? (@ == "register_feature")')
        or exists (select from coordinator.feature_claims as c where c.project = p_project);
    select a.seq, a.hash into last_position, head
    from coordinator.audit as a
    where a.project = p_project
    order by a.seq desc
    limit 1;
    if last_position is null then
        last_position := 0;
        head := coordinator.hash_at(p_project, 0);
        if p_commands <> '[]' then
            insert into coordinator.projects (project) values (p_project) on conflict do nothing;
        end if;
    end if;

    if coordinator.is_due(p_project, turn.now) then
        step := coordinator.free_what_is_due(p_project, turn.now, last_position);
        last_position := step.p_audit_seq;
        freed := step.freed;
        head := coordinator.hash_at(p_project, last_position);
    end if;

    crowded := coordinator.crowded(p_project, p_commands);
    for command in
        select
            c.n, c.id, c.operation, c.parameters, c.duration_ms, c.action, c.action ->> 'kind' as kind,
            c.approval,
            c.caller ->> 'agent_id' as agent_id, c.caller ->> 'agent_type' as agent_type,
            c.caller ->> 'session_id' as session_id, c.limits
        from rows from (
            jsonb_to_recordset(p_commands) as (
                id uuid, caller jsonb, operation text, parameters text, duration_ms bigint, limits jsonb,
                approval jsonb, action jsonb
            )
        ) with ordinality as c (id, caller, operation, parameters, duration_ms, limits, approval, action, n)
    loop
        turn.agent_id := command.agent_id;
        turn.agent_type := command.agent_type;
        turn.session_id := command.session_id;
        turn.limits := command.limits;
        turn.position := last_position + 1;
        -- What is not alone may look for locks that were granted just now.
        turn.is_alone := command.kind in ('acquire', 'release') and not turn.any_pause and not turn.any_waiter
            and coalesce(command.n <> all (crowded), false);
        if not turn.is_alone and granted <> '{}' then
            insert into coordinator.locks select l.* from unnest(granted) as l;
            granted := '{}';
        end if;

        outcome := null;
        if command.session_id is not null and command.kind not in ('register', 'refuse') then
            outcome := coordinator.admit(turn);
        end if;
        if outcome is null and command.limits is not null then
            outcome := coordinator.exceeded_limit(turn, command.action, trail);
        end if;
        if outcome is null and command.approval is not null then
            outcome := coordinator.check_approval(turn, command.approval);
        end if;
        if outcome is null then
            case command.kind
                when 'acquire' then
                    acquisition := coordinator.acquire(turn, command.action);
                    outcome := acquisition.outcome;
                    if acquisition.granted is not null then
                        foreach lock in array acquisition.granted loop
                            granted := granted || lock;
                        end loop;
                    end if;
                    if command.action ->> 'wait' is not null then
                        outcome := coordinator.wait(turn, command.action, outcome);
                    end if;
                when 'release' then
                    outcome := coordinator.release(turn, command.action);
                when 'submit' then
                    outcome := coordinator.submit(turn, command.action);
                when 'claim' then
                    outcome := coordinator.claim(turn, command.action);
                when 'complete' then
                    outcome := coordinator.complete(turn, command.action);
                when 'cancel' then
                    outcome := coordinator.cancel(turn, command.action);
                when 'finish' then
                    outcome := coordinator.finish_task(turn, command.action);
                when 'register' then
                    outcome := coordinator.register(turn, command.action);
                when 'heartbeat' then
                    outcome := coordinator.heartbeat(turn);
                when 'cleanup' then
                    -- It records what it frees behind what is there.
                    insert into coordinator.audit select done.* from unnest(trail) as done;
                    trail := '{}';
                    step := coordinator.cleanup(turn, command.action, last_position, freed);
                    last_position := step.p_audit_seq;
                    head := coordinator.hash_at(p_project, last_position);
                    outcome := jsonb_build_object('kind', 'cleaned', 'freed', to_jsonb(step.p_freed));
                    freed := (0, 0, 0);
                when 'end_session' then
                    step := coordinator.end_session(turn, last_position);
                    last_position := step.p_audit_seq;
                    outcome := step.outcome;
                when 'send_message' then
                    outcome := coordinator.send_message(turn, command.action);
                when 'read_messages' then
                    outcome := coordinator.read_messages(turn, command.action);
                when 'write_handoff' then
                    outcome := coordinator.write_handoff(turn, command.action);
                when 'allocate_ports' then
                    outcome := coordinator.allocate_ports(turn, command.action);
                when 'release_ports' then
                    outcome := coordinator.release_ports(turn, command.action);
                when 'remember' then
                    outcome := coordinator.remember(turn, command.id, command.action);
                when 'update_working_memory' then
                    outcome := coordinator.update_working_memory(turn, command.action);
                when 'record_skill_use' then
                    outcome := coordinator.record_skill_use(turn, command.action);
                when 'put_rule' then
                    outcome := coordinator.put_rule(turn, command.action);
                when 'create_key' then
                    outcome := coordinator.create_key(turn, command.action);
                when 'revoke_key' then
                    outcome := coordinator.revoke_key(turn, command.action);
                when 'request_approval' then
                    outcome := coordinator.request_approval(turn, command.action);
                when 'decide_approval' then
                    outcome := coordinator.decide_approval(turn, command.action);
                when 'use_approval' then
                    outcome := coordinator.use_approval(command.approval);
                when 'check_network' then
                    outcome := command.action || '{"kind": "network_checked"}';
                when 'note_key_use' then
                    outcome := coordinator.note_key_use(turn, command.action);
                when 'register_feature' then
                    outcome := coordinator.register_feature(turn, command.action);
                when 'deregister_feature' then
                    outcome := coordinator.deregister_feature(turn, command.action);
                when 'enqueue_merge' then
                    outcome := coordinator.enqueue_merge(turn, command.action);
                when 'move_merge' then
                    outcome := coordinator.move_merge(turn, command.action);
                when 'remove_merge' then
                    outcome := coordinator.remove_merge(turn, command.action);
                when 'put_github_record' then
                    outcome := coordinator.put_github_record(turn, command.action);
                when 'submit_changeset' then
                    outcome := coordinator.submit_changeset(turn, command.action);
                when 'plan_changeset' then
                    outcome := coordinator.plan_changeset(turn, command.action);
                when 'claim_run' then
                    outcome := coordinator.claim_run(turn, command.action);
                when 'renew_run' then
                    outcome := coordinator.renew_run(turn, command.action);
                when 'report_run' then
                    outcome := coordinator.report_run(turn, command.action);
                when 'prune_audit' then
                    insert into coordinator.audit select done.* from unnest(trail) as done;
                    trail := '{}';
                    outcome := coordinator.prune_audit(turn, command.action);
                when 'refuse' then
                    outcome := command.action || '{"kind": "refused"}';
            end case;
        end if;
        if command.limits ->> 'max_file_modifications' is not null and outcome ->> 'kind' = 'acquired' then
            perform coordinator.count_files(turn, command.action -> 'keys');
        end if;
        outcomes := outcomes || outcome;
        if command.approval is not null and coordinator.is_success(outcome) then
            perform coordinator.spend_approval(turn, command.approval);
        end if;

        -- Whoever waits has no answer yet, nobody waits for what a key's use is noted for, and runners ask all the time.
        if outcome ->> 'kind' not in ('waiting', 'no_task_yet', 'key_use_noted', 'no_run', 'run_renewed') then
            last_position := last_position + 1;
            code := coordinator.error_code(outcome);
            entry := row(
                p_project, last_position, command.id, command.agent_id, command.agent_type, command.session_id,
                command.operation, command.parameters::json, coordinator.audited(outcome), command.duration_ms,
                code is null, code, turn.now, null
            )::coordinator.audit;
            head := coordinator.link(head, entry);
            entry.hash := head;
            trail := trail || entry;
        end if;
    end loop;

    insert into coordinator.locks select l.* from unnest(granted) as l;
    insert into coordinator.audit select done.* from unnest(trail) as done;
    return array_to_json(outcomes);
end
$$;

-- The outcome as the trail keeps it: a claimed task, which may be large, and messages that were read, by their ids.
create or replace function coordinator.audited(p_outcome jsonb) returns jsonb
language sql stable as $$
    select case
        when p_outcome ->> 'kind' = 'messages_read' then jsonb_build_object(
            'kind', 'messages_read', 'message_ids', jsonb_path_query_array(p_outcome, '$.messages[*].message_id')
        )
        when p_outcome ->> 'kind' <> 'claimed' then p_outcome
        else jsonb_build_object(
            'kind', 'claimed', 'task_id', p_outcome -> 'task' -> 'task_id', 'attempt', p_outcome -> 'task' -> 'attempt',
            'fencing_token', p_outcome -> 'task' -> 'fencing_token'
        )
    end
$$;

-- The stable code that says why the caller did not get what it asked for; null on success.
create or replace function coordinator.error_code(p_outcome jsonb) returns text
language sql immutable as $$
    select case p_outcome ->> 'kind'
        when 'blocked' then p_outcome ->> 'reason'
        when 'no_task' then 'no_tasks_available'
        when 'no_ports' then 'no_ports_available'
        when 'no_run' then 'nothing_to_verify'
        when 'network_checked' then case when p_outcome -> 'allowed' = 'false' then 'domain_blocked' end
        when 'refused' then p_outcome ->> 'code'
        when 'approval_requested' then p_outcome -> 'refusal' ->> 'code'
        when 'released' then case when p_outcome -> 'missing' <> '[]' then 'lock_not_found_or_not_owner' end
    end
$$;

-- Did the caller get what it asked for?
create or replace function coordinator.is_success(p_outcome jsonb) returns boolean
language sql immutable as $$
    select p_outcome ->> 'kind' not in ('waiting', 'no_task_yet') and coordinator.error_code(p_outcome) is null
$$;

create or replace function coordinator.create_key(p_turn coordinator.turn, p_key jsonb) returns jsonb
language plpgsql as $$
begin
    insert into coordinator.api_keys (
        project, id, name, hash, agent_id, agent_type, scopes, per_minute, created_at, expires_at, revoked_at
    ) values (
        p_turn.project, (p_key ->> 'id')::uuid, p_key ->> 'name', p_key ->> 'hash', p_key ->> 'agent_id',
        p_key ->> 'agent_type', array(select jsonb_array_elements_text(p_key -> 'scopes')),
        (p_key ->> 'per_minute')::bigint, p_turn.now, coordinator.instant(p_key ->> 'expires_at'),
        coordinator.instant(p_key ->> 'revoked_at')
    )
    on conflict (project, id) do update
    set name = excluded.name, hash = excluded.hash, agent_id = excluded.agent_id, agent_type = excluded.agent_type,
        scopes = excluded.scopes, per_minute = excluded.per_minute, created_at = excluded.created_at, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at;
    return jsonb_build_object('kind', 'key_created', 'id', p_key -> 'id');
end
$$;

create or replace function coordinator.revoke_key(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    update coordinator.api_keys as k
    set revoked_at = p_turn.now
    where k.project = p_turn.project and k.id = (p_request ->> 'id')::uuid and k.revoked_at is null;
    if not found then
        return '{"kind": "refused", "code": "key_not_found"}';
    end if;
    return jsonb_build_object('kind', 'key_revoked', 'id', p_request -> 'id');
end
$$;

-- The coordinator's own knowledge: no deed of the caller's.
create or replace function coordinator.note_key_use(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    update coordinator.api_keys as k
    set last_used_at = p_turn.now
    where k.project = p_turn.project and k.id = (p_request ->> 'id')::uuid;
    return jsonb_build_object('kind', 'key_use_noted', 'id', p_request -> 'id');
end
$$;
