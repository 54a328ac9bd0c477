-- Features and the merge queue: what is claimed until it is merged or given up, and where each merge stands.

-- Registers a feature, or changes what is known of an active one. One that has ended begins anew.
create or replace function coordinator.register_feature(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id    text := p_request ->> 'feature_id';
    feature   coordinator.features;
    is_active boolean;
begin
    select f.* into feature
    from coordinator.features as f
    where f.project = p_turn.project and f.feature_id = the_id;
    is_active := coalesce(feature.status = 'active', false);

    if is_active then
        update coordinator.features as f
        set title = coalesce(p_request ->> 'title', f.title),
            branch_name = coalesce(p_request ->> 'branch_name', f.branch_name),
            claims = p_request -> 'claims',
            merge_priority = coalesce((p_request ->> 'merge_priority')::smallint, f.merge_priority),
            metadata = coalesce(p_request ->> 'metadata', f.metadata),
            updated_at = p_turn.now
        where f.project = p_turn.project and f.feature_id = the_id
        returning f.* into feature;
    elsif (
        select count(*) from coordinator.features as f where f.project = p_turn.project and f.status = 'active'
    ) >= 100 then
        return '{"kind": "refused", "code": "too_many_features", "limit": 100}';
    else
        insert into coordinator.features (
            project, feature_id, seq, title, branch_name, status, claims, merge_priority, metadata, registered_by,
            registered_at, updated_at
        ) values (
            p_turn.project, the_id, p_turn.position, p_request ->> 'title', p_request ->> 'branch_name', 'active',
            p_request -> 'claims', coalesce((p_request ->> 'merge_priority')::smallint, 5), p_request ->> 'metadata',
            p_turn.agent_id, p_turn.now, p_turn.now
        )
        on conflict (project, feature_id) do update
        set seq = excluded.seq, title = excluded.title, branch_name = excluded.branch_name, status = excluded.status,
            claims = excluded.claims, merge_priority = excluded.merge_priority, metadata = excluded.metadata,
            registered_by = excluded.registered_by, registered_at = excluded.registered_at,
            updated_at = excluded.updated_at
        returning * into feature;
    end if;

    delete from coordinator.feature_claims as c where c.project = p_turn.project and c.feature_id = the_id;
    insert into coordinator.feature_claims (
        project, space, stem, tail, feature_id, key, pattern, wild, seq, agent_id
    )
    select
        p_turn.project, claim.space, coordinator.stem(claim.pattern, claim.wild),
        coordinator.tail(claim.text, coordinator.stem(claim.pattern, claim.wild)), the_id, claim.text, claim.pattern,
        claim.wild, feature.seq, feature.registered_by
    from jsonb_to_recordset(feature.claims) as claim (text text, space text, pattern text, wild boolean);
    return jsonb_build_object('kind', 'feature_registered', 'feature_id', the_id, 'updated', is_active);
end
$$;

-- Why there is no such active feature; null when there is.
create or replace function coordinator.feature_is_not_active(p_project text, p_feature_id text) returns jsonb
language plpgsql as $$
declare
    the_status text := (
        select f.status from coordinator.features as f where f.project = p_project and f.feature_id = p_feature_id
    );
begin
    if the_status is null then
        return jsonb_build_object('kind', 'refused', 'code', 'feature_not_found', 'feature_id', p_feature_id);
    elsif the_status <> 'active' then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'feature_not_active', 'feature_id', p_feature_id, 'status', the_status
        );
    end if;
    return null;
end
$$;

-- Ends an active feature, and frees its claims.
create or replace function coordinator.end_feature(p_turn coordinator.turn, p_feature_id text, p_status text)
returns void
language plpgsql as $$
begin
    update coordinator.features as f
    set status = p_status, updated_at = p_turn.now
    where f.project = p_turn.project and f.feature_id = p_feature_id;
    delete from coordinator.feature_claims as c where c.project = p_turn.project and c.feature_id = p_feature_id;
end
$$;

create or replace function coordinator.deregister_feature(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id  text := p_request ->> 'feature_id';
    refusal jsonb := coordinator.feature_is_not_active(p_turn.project, the_id);
begin
    if refusal is not null then
        return refusal;
    end if;
    perform coordinator.end_feature(p_turn, the_id, p_request ->> 'end');
    return jsonb_build_object('kind', 'feature_deregistered', 'feature_id', the_id, 'end', p_request -> 'end');
end
$$;

-- The features that claim a granted key and are not what the work is for: not named in the request, nor that of a task
-- that the caller has claimed, nor registered by the caller. The ten that came first; null when there is none.
create or replace function coordinator.claimed_by(p_turn coordinator.turn, p_request jsonb, p_key jsonb) returns jsonb
language plpgsql as $$
declare
    the_space   text := p_key ->> 'space';
    the_pattern text := p_key ->> 'pattern';
    is_wild     boolean := (p_key -> 'wild')::boolean;
    the_stem    text := coordinator.stem(the_pattern, is_wild);
    ancestors   text[] := coordinator.lineage(the_stem);
    -- As for `overlapping_locks`.
    first_below text := case the_stem when '' then '' else the_stem || '/' end;
    after_below text := case the_stem when '' then repeat(U&'\+10FFFF', 256) else the_stem || '0' end;
begin
    return (
        select jsonb_agg(
            jsonb_build_object(
                'feature_id', met.feature_id, 'agent_id', met.agent_id,
                'claim', jsonb_build_object(
                    'text', met.key, 'space', met.space, 'pattern', met.pattern, 'wild', met.wild
                )
            )
            order by met.seq
        )
        from (
            select distinct on ((near).seq)
                (near).seq, (near).feature_id, (near).agent_id, (near).key, (near).space, (near).pattern, (near).wild
            from (
                select above.claim as near
                from unnest(ancestors) as ancestor, lateral (
                    select c as claim
                    from coordinator.feature_claims as c
                    where c.project = p_turn.project and c.space = the_space and c.stem = ancestor
                    offset 0
                ) as above
                union all
                select c
                from coordinator.feature_claims as c
                where c.project = p_turn.project and c.space = the_space and c.stem > first_below
                    and c.stem < after_below
            ) as candidates
            where (near).agent_id <> p_turn.agent_id
                and (near).feature_id is distinct from p_request ->> 'feature_id'
                and coordinator.overlap(the_space, the_pattern, is_wild, (near).pattern, (near).wild)
                and not exists (
                    select
                    from coordinator.tasks as t
                    where t.project = p_turn.project and t.claimed_by = p_turn.agent_id
                        and t.status in ('claimed', 'running') and t.feature_id = (near).feature_id
                )
            order by (near).seq, (near).key
            limit 10
        ) as met
    );
end
$$;

create or replace function coordinator.feature_to_json(p_feature coordinator.features) returns jsonb
language sql stable as $$
    select to_jsonb(p_feature) - 'project' || jsonb_build_object(
        'registered_at', coordinator.rfc3339(p_feature.registered_at),
        'updated_at', coordinator.rfc3339(p_feature.updated_at)
    )
$$;

-- The features, oldest first.
create or replace function coordinator.list_features(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_id     text := p_filter ->> 'feature_id';
    the_status text := p_filter ->> 'status';
    at_most    bigint := p_filter ->> 'limit';
begin
    return (
        select coalesce(json_agg(coordinator.feature_to_json(page.feature) order by page.seq), '[]')
        from (
            select f as feature, f.seq
            from coordinator.features as f
            where f.project = p_project and (the_id is null or f.feature_id = the_id)
                and (the_status is null or f.status = the_status)
            order by f.seq
            limit at_most
        ) as page
    );
end
$$;
