-- Approvals: asked for, decided by somebody else, used up by the command that they let through.

-- Asks for an approval. Whoever asks for the same again is told of the request that is open.
create or replace function coordinator.request_approval(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    subject  jsonb := p_request -> 'subject';
    approval coordinator.approvals;
    repeated boolean;
begin
    select a.* into approval
    from coordinator.approvals as a
    where a.project = p_turn.project and a.agent_id = p_turn.agent_id and a.fingerprint = subject ->> 'fingerprint'
        and a.operation = subject ->> 'operation' and a.session_id is not distinct from p_turn.session_id
        and a.status in ('pending', 'approved')
    order by a.seq desc
    limit 1;
    repeated := found;

    if not repeated then
        insert into coordinator.approvals (
            project, seq, approval_id, agent_id, agent_type, session_id, operation, resource, fingerprint, reason,
            status, requested_at, expires_at
        ) values (
            p_turn.project, p_turn.position, (p_request ->> 'approval_id')::uuid, p_turn.agent_id, p_turn.agent_type,
            p_turn.session_id, subject ->> 'operation', subject ->> 'resource', subject ->> 'fingerprint',
            subject ->> 'reason', 'pending', p_turn.now,
            p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second'
        )
        returning * into approval;
    end if;
    return jsonb_build_object(
        'kind', 'approval_requested', 'approval_id', approval.approval_id, 'status', approval.status,
        'expires_at', coordinator.rfc3339(approval.expires_at), 'repeated', repeated,
        'refusal', p_request -> 'refusal'
    );
end
$$;

-- Decides about a request of somebody else. An approval may be taken back as long as it is not used up.
create or replace function coordinator.decide_approval(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    approval coordinator.approvals;
    approves boolean := p_request ->> 'verdict' = 'approve';
begin
    select a.* into approval
    from coordinator.approvals as a
    where a.project = p_turn.project and a.approval_id = (p_request ->> 'approval_id')::uuid;
    if not found then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'approval_not_found', 'approval_id', p_request -> 'approval_id'
        );
    elsif approval.agent_id = p_turn.agent_id then
        return jsonb_build_object('kind', 'refused', 'code', 'own_approval', 'approval_id', approval.approval_id);
    elsif approval.status <> 'pending' and (approves or approval.status <> 'approved') then
        return coordinator.approval_settled(approval);
    end if;

    update coordinator.approvals as a
    set status = case when approves then 'approved' else 'denied' end,
        scope = case when approves then p_request ->> 'scope' else a.scope end,
        expires_at = case
            when approves then p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second'
            else a.expires_at
        end,
        decided_by = p_turn.agent_id, decided_at = p_turn.now, note = p_request ->> 'note'
    where a.project = p_turn.project and a.seq = approval.seq
    returning a.* into approval;
    if coordinator.settle_run(p_turn.project, p_turn.now, p_turn.position, approval) and approves then
        -- It has done what it was asked for.
        update coordinator.approvals as a
        set status = 'used', used_at = p_turn.now
        where a.project = p_turn.project and a.seq = approval.seq
        returning a.* into approval;
    end if;
    return jsonb_build_object(
        'kind', 'approval_decided', 'approval_id', approval.approval_id, 'status', approval.status,
        'expires_at', coordinator.rfc3339(approval.expires_at)
    );
end
$$;

-- Why the approval that a command presents does not let it through; null when it does.
create or replace function coordinator.check_approval(p_turn coordinator.turn, p_pass jsonb) returns jsonb
language plpgsql as $$
declare
    approval coordinator.approvals;
begin
    select a.* into approval
    from coordinator.approvals as a
    where a.project = p_turn.project and a.approval_id = (p_pass ->> 'approval_id')::uuid;
    if not found then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'approval_not_found', 'approval_id', p_pass -> 'approval_id'
        );
    elsif approval.agent_id <> p_turn.agent_id or approval.operation <> p_pass ->> 'operation'
        or approval.fingerprint <> p_pass ->> 'fingerprint'
        or (approval.scope = 'session' and approval.session_id is distinct from p_turn.session_id)
    then
        return jsonb_build_object('kind', 'refused', 'code', 'approval_mismatch', 'approval_id', approval.approval_id);
    elsif approval.status <> 'approved' then
        return coordinator.approval_settled(approval);
    end if;
    return null;
end
$$;

-- Uses the approval that a command presents, for something that is done elsewhere.
create or replace function coordinator.use_approval(p_pass jsonb) returns jsonb
language sql immutable as $$
    select case
        when p_pass is null then jsonb_build_object(
            'kind', 'refused', 'code', 'approval_not_found', 'approval_id', '00000000-0000-0000-0000-000000000000'
        )
        else jsonb_build_object('kind', 'approval_used', 'approval_id', p_pass -> 'approval_id')
    end
$$;

-- The approval has let a command through.
create or replace function coordinator.spend_approval(p_turn coordinator.turn, p_pass jsonb) returns void
language plpgsql as $$
begin
    update coordinator.approvals as a
    set status = case when a.scope = 'session' then a.status else 'used' end, used_at = p_turn.now
    where a.project = p_turn.project and a.approval_id = (p_pass ->> 'approval_id')::uuid;
end
$$;

create or replace function coordinator.approval_settled(p_approval coordinator.approvals) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'kind', 'refused', 'code', 'approval_settled', 'approval_id', p_approval.approval_id,
        'status', p_approval.status
    )
$$;

-- Ends the requests that nobody decided and the approvals that nobody used in time. Answers the last position in the
-- trail.
create or replace function coordinator.expire_approvals(p_project text, p_now timestamptz, p_audit_seq bigint)
returns bigint
language plpgsql as $$
declare
    approval coordinator.approvals;
begin
    for approval in
        select a.*
        from coordinator.approvals as a
        where a.project = p_project and a.status in ('pending', 'approved') and a.expires_at <= p_now
        order by a.seq
    loop
        update coordinator.approvals as a
        set status = 'expired'
        where a.project = p_project and a.seq = approval.seq;
        approval.status := 'expired';
        perform coordinator.settle_run(p_project, p_now, p_audit_seq + 1, approval);
        p_audit_seq := coordinator.record(
            p_project, p_now, p_audit_seq, 'expire_approval',
            json_build_object('approval_id', approval.approval_id, 'agent_id', approval.agent_id)
        );
    end loop;
    return p_audit_seq;
end
$$;

-- A page of requests, newest first.
create or replace function coordinator.list_approvals(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_id          uuid := p_filter ->> 'approval_id';
    the_status      text := p_filter ->> 'status';
    the_agent       text := p_filter ->> 'agent_id';
    the_fingerprint text := p_filter ->> 'fingerprint';
    older_than      bigint := coalesce((p_filter ->> 'before')::bigint, 9223372036854775807);
    at_most         bigint := p_filter ->> 'limit';
begin
    return (
        select coalesce(json_agg(to_json(page) order by page.seq desc), '[]')
        from (
            select a.*
            from coordinator.approvals as a
            where a.project = p_project and a.seq < older_than
                and (the_id is null or a.approval_id = the_id)
                and (the_status is null or a.status = the_status)
                and (the_agent is null or a.agent_id = the_agent)
                and (the_fingerprint is null or a.fingerprint = the_fingerprint)
            order by a.seq desc
            limit at_most
        ) as page
    );
end
$$;
