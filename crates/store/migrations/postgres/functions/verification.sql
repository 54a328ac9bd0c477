-- Changesets and their runs: submitted, planned, taken by runners tier by tier, ended by what these or people say.

-- Asks for a commit to be verified. Whoever asks for the same again is told of the changeset that is open. A branch may have
-- moved since it was planned; a commit cannot.
create or replace function coordinator.submit_changeset(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_policies jsonb := nullif(p_request -> 'policies', 'null');
    open_id      uuid := (
        select c.changeset_id
        from coordinator.changesets as c
        where c.project = p_turn.project and c.state in ('queued', 'running')
            and c.revision = p_request ->> 'revision' and c.trigger = p_request ->> 'trigger'
            and c.agent_id = p_request ->> 'agent_id'
            and c.feature_id is not distinct from p_request ->> 'feature_id'
            and c.task_id is not distinct from (p_request ->> 'task_id')::uuid
            and c.policies is not distinct from the_policies
            and coalesce(c.commit_id, c.revision) = c.revision
        order by c.seq
        limit 1
    );
begin
    if open_id is null then
        insert into coordinator.changesets (
            project, seq, changeset_id, revision, trigger, agent_id, agent_type, feature_id, task_id, policies,
            changed_paths, changed_total, state, created_at
        ) values (
            p_turn.project, p_turn.position, (p_request ->> 'changeset_id')::uuid, p_request ->> 'revision',
            p_request ->> 'trigger', p_request ->> 'agent_id', p_turn.agent_type, p_request ->> 'feature_id',
            (p_request ->> 'task_id')::uuid, the_policies, '[]', 0, 'queued', p_turn.now
        );
    end if;
    return jsonb_build_object(
        'kind', 'changeset_submitted', 'changeset_id', coalesce(open_id, (p_request ->> 'changeset_id')::uuid),
        'repeated', open_id is not null
    );
end
$$;

-- Plans a changeset, unless somebody has already.
create or replace function coordinator.plan_changeset(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    changeset coordinator.changesets;
begin
    select c.* into changeset
    from coordinator.changesets as c
    where c.project = p_turn.project and c.changeset_id = (p_request ->> 'changeset_id')::uuid;
    if not found then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'changeset_not_found', 'changeset_id', p_request -> 'changeset_id'
        );
    end if;
    if changeset.state = 'queued' then
        update coordinator.changesets as c
        set commit_id = p_request ->> 'commit', tree = p_request ->> 'tree', base = p_request ->> 'base',
            changed_paths = p_request -> 'changed_paths', changed_total = (p_request ->> 'changed_total')::bigint,
            note = p_request ->> 'trouble',
            state = case when p_request ->> 'trouble' is null then 'running' else 'failed' end,
            ended_at = case when p_request ->> 'trouble' is null then null else p_turn.now end
        where c.project = p_turn.project and c.seq = changeset.seq
        returning c.* into changeset;
        if changeset.state = 'running' then
            insert into coordinator.verification_runs (
                project, changeset_seq, ordinal, run_id, policy, tier, executor, timeout_seconds, approval_id, state,
                attempt, key
            )
            select
                p_turn.project, changeset.seq, run.place - 1, (run.plan ->> 'run_id')::uuid, run.plan ->> 'policy',
                (run.plan ->> 'tier')::smallint, run.plan ->> 'executor', (run.plan ->> 'timeout_seconds')::bigint,
                (run.plan ->> 'approval_id')::uuid, 'queued', 0, run.plan ->> 'key'
            from jsonb_array_elements(p_request -> 'runs') with ordinality as run (plan, place);
            changeset.state := coordinator.advance_changeset(
                p_turn.project, p_turn.now, p_turn.position, changeset.seq
            );
        end if;
    end if;
    return jsonb_build_object(
        'kind', 'changeset_planned', 'changeset_id', changeset.changeset_id, 'state', changeset.state
    );
end
$$;

-- Takes the next run that the caller can run: the first that waits, in the lowest tier that has not passed.
create or replace function coordinator.claim_run(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id    uuid := (p_request ->> 'changeset_id')::uuid;
    executors text[] := array(select jsonb_array_elements_text(p_request -> 'executors'));
    run       coordinator.verification_runs;
begin
    select next_run.* into run
    from coordinator.changesets as c, lateral (
        select r.*
        from coordinator.verification_runs as r
        where r.project = c.project and r.changeset_seq = c.seq and r.state = 'queued' and r.executor = any (executors)
            and r.tier = (
                select min(o.tier)
                from coordinator.verification_runs as o
                where o.project = c.project and o.changeset_seq = c.seq and o.state <> 'passed'
            )
        order by r.ordinal
        limit 1
    ) as next_run
    where c.project = p_turn.project and c.state = 'running'
        and case when the_id is null then c.trigger <> 'merge_queue' else c.changeset_id = the_id end
    order by c.seq
    limit 1;
    if not found then
        return '{"kind": "no_run"}';
    end if;
    update coordinator.verification_runs as r
    set state = 'running', attempt = r.attempt + 1, runner = p_turn.agent_id, token = p_turn.position,
        lease_expires_at = p_turn.now + (p_request ->> 'lease_seconds')::bigint * interval '1 second',
        started_at = p_turn.now
    where r.project = p_turn.project and r.run_id = run.run_id
    returning r.* into run;
    return jsonb_build_object(
        'kind', 'run_claimed',
        'changeset_id', (
            select c.changeset_id
            from coordinator.changesets as c
            where c.project = p_turn.project and c.seq = run.changeset_seq
        ),
        'run_id', run.run_id, 'token', run.token, 'lease_expires_at', coordinator.rfc3339(run.lease_expires_at)
    );
end
$$;

-- Keeps a run, and binds its result to the key. One that passed for that key ends it.
create or replace function coordinator.renew_run(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    refusal jsonb := coordinator.run_is_not_held(p_turn.project, p_request);
    the_key text := p_request ->> 'key';
    run     coordinator.verification_runs;
    earlier uuid;
begin
    if refusal is not null then
        return refusal;
    end if;
    update coordinator.verification_runs as r
    set key = coalesce(the_key, r.key),
        -- Whoever it was handed to has until then, whatever the runner says.
        lease_expires_at = case
            when r.external_id is not null then r.lease_expires_at
            else p_turn.now + (p_request ->> 'lease_seconds')::bigint * interval '1 second'
        end
    where r.project = p_turn.project and r.run_id = (p_request ->> 'run_id')::uuid
    returning r.* into run;
    earlier := coordinator.passed_run(
        p_turn.project, the_key, case when run.approval_id is not null then run.policy end
    );
    if earlier is not null then
        update coordinator.verification_runs as r
        set reused_from = earlier
        where r.project = p_turn.project and r.run_id = run.run_id;
        return coordinator.end_run(p_turn, run, 'passed');
    end if;
    return jsonb_build_object(
        'kind', 'run_renewed', 'run_id', run.run_id, 'lease_expires_at', coordinator.rfc3339(run.lease_expires_at)
    );
end
$$;

-- What a runner says counts once, and only from whoever has the run.
create or replace function coordinator.report_run(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    refusal jsonb := coordinator.run_is_not_held(p_turn.project, p_request);
    verdict text := p_request ->> 'verdict';
    run     coordinator.verification_runs;
begin
    if refusal is not null then
        return refusal;
    end if;
    update coordinator.verification_runs as r
    set evidence = coalesce(p_request ->> 'evidence', r.evidence), log_url = coalesce(p_request ->> 'log_url', r.log_url),
        external_id = coalesce(
            p_request ->> 'external_id', r.external_id, case when verdict = 'accepted' then '' end
        ),
        lease_expires_at = case
            when verdict = 'accepted' then r.started_at + r.timeout_seconds * interval '1 second'
            else r.lease_expires_at
        end
    where r.project = p_turn.project and r.run_id = (p_request ->> 'run_id')::uuid
    returning r.* into run;
    if verdict = 'accepted' then
        return coordinator.moved_run(p_turn, run);
    elsif verdict = 'passed' and run.approval_id is not null then
        update coordinator.verification_runs as r
        set state = 'waiting_approval', token = null, lease_expires_at = null
        where r.project = p_turn.project and r.run_id = run.run_id;
        perform coordinator.ask_for_run(p_turn.project, p_turn.now, p_turn.position, run);
        return coordinator.moved_run(p_turn, run);
    end if;
    return coordinator.end_run(p_turn, run, verdict);
end
$$;

-- Why nobody with this token has the run; null when the caller does.
create or replace function coordinator.run_is_not_held(p_project text, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    run coordinator.verification_runs;
begin
    select r.* into run
    from coordinator.verification_runs as r
    where r.project = p_project and r.run_id = (p_request ->> 'run_id')::uuid;
    if not found then
        return jsonb_build_object('kind', 'refused', 'code', 'run_not_found', 'run_id', p_request -> 'run_id');
    elsif run.state <> 'running' then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'run_not_running', 'run_id', run.run_id, 'state', run.state
        );
    elsif run.token is distinct from (p_request ->> 'token')::bigint then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'stale_fencing_token', 'target', run.run_id, 'given', p_request -> 'token',
            'current', run.token
        );
    end if;
    return null;
end
$$;

-- The first run that passed for this key by itself; with an approval only of this policy, where one is named.
create or replace function coordinator.passed_run(p_project text, p_key text, p_approved_as text) returns uuid
language plpgsql as $$
begin
    return (
        select r.run_id
        from coordinator.verification_runs as r
        where r.project = p_project and r.state = 'passed' and r.reused_from is null and r.key = p_key
            and (p_approved_as is null or (r.approval_id is not null and r.policy = p_approved_as))
        order by r.changeset_seq, r.ordinal
        limit 1
    );
end
$$;

create or replace function coordinator.end_run(
    p_turn coordinator.turn, p_run coordinator.verification_runs, p_state text
) returns jsonb
language plpgsql as $$
begin
    perform coordinator.set_run_over(p_turn.project, p_turn.now, p_run.run_id, p_state);
    return coordinator.moved_run(p_turn, p_run);
end
$$;

create or replace function coordinator.set_run_over(p_project text, p_now timestamptz, p_run_id uuid, p_state text)
returns void
language plpgsql as $$
begin
    update coordinator.verification_runs as r
    set state = p_state, ended_at = p_now, token = null, lease_expires_at = null
    where r.project = p_project and r.run_id = p_run_id;
end
$$;

-- The answer to a run that has moved, once all that follows from it is done.
create or replace function coordinator.moved_run(p_turn coordinator.turn, p_run coordinator.verification_runs)
returns jsonb
language plpgsql as $$
declare
    changeset_state text := coordinator.advance_changeset(
        p_turn.project, p_turn.now, p_turn.position, p_run.changeset_seq
    );
begin
    return (
        select jsonb_build_object(
            'kind', 'run_moved', 'changeset_id', c.changeset_id, 'run_id', r.run_id, 'state', r.state,
            'changeset_state', changeset_state
        )
        from coordinator.verification_runs as r
        join coordinator.changesets as c on c.project = r.project and c.seq = r.changeset_seq
        where r.project = p_turn.project and r.run_id = p_run.run_id
    );
end
$$;

-- What follows from where the runs stand: the end, or a question to a person. One at a time, as a command makes one request
-- for an approval at most. Answers where the changeset stands.
create or replace function coordinator.advance_changeset(
    p_project text, p_now timestamptz, p_position bigint, p_seq bigint
) returns text
language plpgsql as $$
declare
    run       coordinator.verification_runs;
    open_tier smallint;
    earlier   uuid;
begin
    if exists (
        select
        from coordinator.verification_runs as r
        where r.project = p_project and r.changeset_seq = p_seq
            and r.state in ('failed', 'errored', 'timed_out', 'cancelled')
    ) then
        -- Nobody needs to decide any more.
        update coordinator.approvals as a
        set status = 'expired'
        from coordinator.verification_runs as r
        where r.project = p_project and r.changeset_seq = p_seq and r.state = 'waiting_approval'
            and a.project = p_project and a.approval_id = r.approval_id and a.status in ('pending', 'approved');
        update coordinator.verification_runs as r
        set state = 'cancelled', ended_at = p_now, token = null, lease_expires_at = null
        where r.project = p_project and r.changeset_seq = p_seq and r.state in ('queued', 'running', 'waiting_approval');
        update coordinator.changesets as c
        set state = 'failed', ended_at = p_now
        where c.project = p_project and c.seq = p_seq;
        return 'failed';
    end if;

    loop
        open_tier := (
            select min(r.tier)
            from coordinator.verification_runs as r
            where r.project = p_project and r.changeset_seq = p_seq and r.state <> 'passed'
        );
        exit when open_tier is null;
        if exists (
            select
            from coordinator.verification_runs as r
            where r.project = p_project and r.changeset_seq = p_seq and r.state = 'waiting_approval'
        ) then
            return 'running';
        end if;
        select r.* into run
        from coordinator.verification_runs as r
        where r.project = p_project and r.changeset_seq = p_seq and r.tier = open_tier and r.state = 'queued'
            and r.executor = 'human'
        order by r.ordinal
        limit 1;
        if not found then
            return 'running';
        end if;
        earlier := coordinator.passed_run(p_project, run.key, run.policy);
        if earlier is null then
            update coordinator.verification_runs as r
            set state = 'waiting_approval', attempt = r.attempt + 1, started_at = p_now,
                approval_id = coalesce(r.approval_id, r.run_id)
            where r.project = p_project and r.run_id = run.run_id
            returning r.* into run;
            perform coordinator.ask_for_run(p_project, p_now, p_position, run);
            return 'running';
        end if;
        update coordinator.verification_runs as r
        set reused_from = earlier, started_at = p_now
        where r.project = p_project and r.run_id = run.run_id;
        perform coordinator.set_run_over(p_project, p_now, run.run_id, 'passed');
    end loop;
    update coordinator.changesets as c
    set state = 'passed', ended_at = p_now
    where c.project = p_project and c.seq = p_seq;
    return 'passed';
end
$$;

-- Asks a person, in the name of whose work it is: so that nobody approves of its own.
create or replace function coordinator.ask_for_run(
    p_project text, p_now timestamptz, p_position bigint, p_run coordinator.verification_runs
) returns void
language plpgsql as $$
begin
    insert into coordinator.approvals (
        project, seq, approval_id, agent_id, agent_type, operation, resource, fingerprint, reason, status,
        requested_at, expires_at
    )
    select
        p_project, p_position, coalesce(p_run.approval_id, p_run.run_id), c.agent_id, c.agent_type, 'verify',
        p_run.policy || ' of ' || c.revision || ' (' || coalesce(c.commit_id, '') || ')',
        coalesce(p_run.key, p_run.run_id::text),
        case
            when p_run.executor = 'human' then 'the policy asks a person'
            else 'it passed, and the policy needs an approval'
        end,
        'pending', p_now,
        p_now + case when p_run.executor = 'human' then p_run.timeout_seconds else 86400 end * interval '1 second'
    from coordinator.changesets as c
    where c.project = p_project and c.seq = p_run.changeset_seq;
end
$$;

-- A person has decided about a run, or nobody has in time. Is there such a run, and did it wait for that?
create or replace function coordinator.settle_run(
    p_project text, p_now timestamptz, p_position bigint, p_approval coordinator.approvals
) returns boolean
language plpgsql as $$
declare
    run coordinator.verification_runs;
begin
    if p_approval.operation <> 'verify' then
        return false;
    end if;
    select r.* into run
    from coordinator.verification_runs as r
    where r.project = p_project and r.approval_id = p_approval.approval_id and r.state = 'waiting_approval'
    order by r.changeset_seq, r.ordinal
    limit 1;
    if not found then
        return false;
    end if;
    update coordinator.verification_runs as r
    set runner = case when r.executor = 'human' then p_approval.decided_by else r.runner end,
        evidence = coalesce(p_approval.note, r.evidence)
    where r.project = p_project and r.run_id = run.run_id;
    perform coordinator.set_run_over(
        p_project, p_now, run.run_id,
        case p_approval.status when 'approved' then 'passed' when 'denied' then 'failed' else 'timed_out' end
    );
    perform coordinator.advance_changeset(p_project, p_now, p_position, run.changeset_seq);
    return true;
end
$$;

-- Takes away the runs whose lease ended. Another may begin them again, a few times. Answers the last position in the trail.
create or replace function coordinator.take_runs_back(p_project text, p_now timestamptz, p_audit_seq bigint)
returns bigint
language plpgsql as $$
declare
    lapsed coordinator.verification_runs;
    run    coordinator.verification_runs;
begin
    for lapsed in
        select r.*
        from coordinator.verification_runs as r
        where r.project = p_project and r.lease_expires_at <= p_now
        order by r.changeset_seq, r.ordinal
    loop
        -- An earlier one in this loop may have ended it with its changeset.
        select r.* into run
        from coordinator.verification_runs as r
        where r.project = p_project and r.run_id = lapsed.run_id and r.state = 'running';
        continue when not found;
        if run.external_id is not null then
            update coordinator.verification_runs as r
            set evidence = 'nobody answered in time'
            where r.project = p_project and r.run_id = run.run_id;
            perform coordinator.set_run_over(p_project, p_now, run.run_id, 'timed_out');
        elsif run.attempt < 3 then
            update coordinator.verification_runs as r
            set state = 'queued', token = null, lease_expires_at = null
            where r.project = p_project and r.run_id = run.run_id;
        else
            update coordinator.verification_runs as r
            set evidence = 'its runner was lost, each time that it was begun'
            where r.project = p_project and r.run_id = run.run_id;
            perform coordinator.set_run_over(p_project, p_now, run.run_id, 'errored');
        end if;
        perform coordinator.advance_changeset(p_project, p_now, p_audit_seq + 1, run.changeset_seq);
        p_audit_seq := coordinator.record(
            p_project, p_now, p_audit_seq, 'lapse_verification',
            json_build_object(
                'run_id', run.run_id,
                'changeset_id', (
                    select c.changeset_id
                    from coordinator.changesets as c
                    where c.project = p_project and c.seq = run.changeset_seq
                ),
                'agent_id', run.runner
            )
        );
    end loop;
    return p_audit_seq;
end
$$;

-- A page of changesets with their runs, newest first.
create or replace function coordinator.list_changesets(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_id      uuid := p_filter ->> 'changeset_id';
    the_state   text := p_filter ->> 'state';
    the_agent   text := p_filter ->> 'agent_id';
    the_feature text := p_filter ->> 'feature_id';
    the_commit  text := p_filter ->> 'commit';
    older_than  bigint := coalesce((p_filter ->> 'before')::bigint, 9223372036854775807);
    at_most     bigint := p_filter ->> 'limit';
begin
    return (
        select coalesce(
            json_agg(
                to_jsonb(page) - 'project' - 'commit_id' || jsonb_build_object(
                    'commit', page.commit_id,
                    'runs', (
                        select coalesce(jsonb_agg(to_jsonb(r) - 'project' - 'changeset_seq' order by r.ordinal), '[]')
                        from coordinator.verification_runs as r
                        where r.project = p_project and r.changeset_seq = page.seq
                    )
                )
                order by page.seq desc
            ),
            '[]'
        )
        from (
            select c.*
            from coordinator.changesets as c
            where c.project = p_project and c.seq < older_than
                and (the_id is null or c.changeset_id = the_id)
                and (the_state is null or c.state = the_state)
                and (the_agent is null or c.agent_id = the_agent)
                and (the_feature is null or c.feature_id = the_feature)
                and (the_commit is null or c.commit_id = the_commit)
            order by c.seq desc
            limit at_most
        ) as page
    );
end
$$;
