-- Limits: how much the caller may do. Nothing is counted for a caller without them.

-- The refusal of a caller that has done as much as it may; null for others. A sign of life is never refused. `p_trail`
-- holds the rows of this batch, which are not in the table yet.
create or replace function coordinator.exceeded_limit(
    p_turn coordinator.turn, p_action jsonb, p_trail coordinator.audit[]
) returns jsonb
language plpgsql as $$
declare
    allowed bigint := (p_turn.limits ->> 'max_calls_per_hour')::bigint;
    hour    interval := interval '3600 seconds';
    latest  timestamptz;
    files   text[];
    more    bigint;
begin
    if p_action ->> 'kind' in ('heartbeat', 'register', 'refuse') then
        return null;
    end if;
    if allowed > 0 then
        select calls.created_at into latest
        from (
            (
                select a.seq, a.created_at
                from coordinator.audit as a
                where a.project = p_turn.project and a.agent_id = p_turn.agent_id
                    and a.error_message is distinct from 'resource_limit_exceeded'
                order by a.seq desc
                limit allowed
            )
            union all
            select t.seq, t.created_at
            from unnest(p_trail) as t
            where t.agent_id = p_turn.agent_id and t.error_message is distinct from 'resource_limit_exceeded'
        ) as calls
        order by calls.seq desc
        limit 1 offset allowed - 1;
    end if;
    if allowed = 0 or latest > p_turn.now - hour then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'resource_limit_exceeded', 'limit', 'max_calls_per_hour', 'allowed', allowed,
            'used', allowed, 'until', coordinator.rfc3339(latest + hour)
        );
    end if;

    allowed := (p_turn.limits ->> 'max_file_modifications')::bigint;
    if allowed is null or p_action ->> 'kind' <> 'acquire' then
        return null;
    end if;
    files := coordinator.files_locked(p_turn);
    more := cardinality(coordinator.new_files(p_action -> 'keys', files));
    if more = 0 or cardinality(files) + more <= allowed then
        return null;
    end if;
    return jsonb_build_object(
        'kind', 'refused', 'code', 'resource_limit_exceeded', 'limit', 'max_file_modifications', 'allowed', allowed,
        'used', cardinality(files), 'until', null
    );
end
$$;

-- Counts the files that the caller has locked.
create or replace function coordinator.count_files(p_turn coordinator.turn, p_keys jsonb) returns void
language plpgsql as $$
begin
    insert into coordinator.locked_files (project, agent_id, session_id, digest, key, locked_at)
    select p_turn.project, p_turn.agent_id, coalesce(p_turn.session_id, ''), coordinator.digest(file), file, p_turn.now
    from unnest(coordinator.new_files(p_keys, coordinator.files_locked(p_turn))) as file
    on conflict (project, agent_id, session_id, digest) do update
    set locked_at = excluded.locked_at;
end
$$;

-- The files that the caller has locked in its session; without one, in a day.
create or replace function coordinator.files_locked(p_turn coordinator.turn) returns text[]
language plpgsql as $$
begin
    return array(
        select f.key
        from coordinator.locked_files as f
        where f.project = p_turn.project and f.agent_id = p_turn.agent_id
            and f.session_id = coalesce(p_turn.session_id, '')
            and (p_turn.session_id is not null or f.locked_at >= p_turn.now - interval '24 hours')
    );
end
$$;

-- The files among the keys that are not among the known ones.
create or replace function coordinator.new_files(p_keys jsonb, p_known text[]) returns text[]
language plpgsql as $$
begin
    return array(
        select asked ->> 'text'
        from jsonb_array_elements(p_keys) as asked
        where asked ->> 'space' = 'path' and asked ->> 'text' <> all (p_known)
    );
end
$$;
