-- The merge queue: where each entry stands, and which state may follow on which.

create or replace function coordinator.merge_entry_to_json(p_entry coordinator.merge_queue) returns jsonb
language sql stable as $$
    select to_jsonb(p_entry) - 'project' - 'commit_id' || jsonb_build_object(
        'commit', p_entry.commit_id,
        'queued_at', coordinator.rfc3339(p_entry.queued_at),
        'updated_at', coordinator.rfc3339(p_entry.updated_at)
    )
$$;

-- May an entry go from this state to that one?
create or replace function coordinator.may_become(p_from text, p_to text) returns boolean
language sql immutable parallel safe as $$
    select p_to = any (
        case p_from
            when 'queued' then '{pre_merge_check, merged, blocked}'
            when 'pre_merge_check' then '{queued, pre_merge_check, ready, merged, blocked}'
            when 'ready' then '{queued, pre_merge_check, merging, merged, blocked}'
            when 'merging' then '{queued, ready, merged, blocked}'
            when 'blocked' then '{queued, pre_merge_check, merged}'
            else '{}'
        end::text[]
    )
$$;

-- Puts an active feature at the end of the queue. One that is there stays where it is, unless it is blocked.
create or replace function coordinator.enqueue_merge(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id   text := p_request ->> 'feature_id';
    refusal  jsonb := coordinator.feature_is_not_active(p_turn.project, the_id);
    entry    coordinator.merge_queue;
    repeated boolean;
begin
    if refusal is not null then
        return refusal;
    end if;
    select m.* into entry
    from coordinator.merge_queue as m
    where m.project = p_turn.project and m.feature_id = the_id and m.state <> 'merged';
    repeated := coalesce(entry.state <> 'blocked', false);

    if repeated then
        update coordinator.merge_queue as m
        set pr_url = coalesce(p_request ->> 'pr_url', m.pr_url)
        where m.project = p_turn.project and m.feature_id = the_id
        returning m.* into entry;
    else
        insert into coordinator.merge_queue (
            project, feature_id, seq, state, pr_url, enqueued_by, queued_at, updated_at, checks, ejections
        ) values (
            p_turn.project, the_id, p_turn.position, 'queued', coalesce(p_request ->> 'pr_url', entry.pr_url),
            p_turn.agent_id, p_turn.now, p_turn.now, '[]', coalesce(entry.ejections, 0)
        )
        on conflict (project, feature_id) do update
        set seq = excluded.seq, state = excluded.state, pr_url = excluded.pr_url, enqueued_by = excluded.enqueued_by,
            queued_at = excluded.queued_at, updated_at = excluded.updated_at, checks = excluded.checks, note = null,
            commit_id = null, ejections = excluded.ejections
        returning * into entry;
    end if;
    return jsonb_build_object(
        'kind', 'merge_enqueued', 'entry', coordinator.merge_entry_to_json(entry), 'repeated', repeated
    );
end
$$;

-- Moves an entry. What is merged is completed.
create or replace function coordinator.move_merge(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id    text := p_request ->> 'feature_id';
    to_state  text := p_request ->> 'state';
    entry     coordinator.merge_queue;
    completed boolean := false;
begin
    select m.* into entry
    from coordinator.merge_queue as m
    where m.project = p_turn.project and m.feature_id = the_id;
    if not found then
        return jsonb_build_object('kind', 'refused', 'code', 'merge_entry_not_found', 'feature_id', the_id);
    elsif not coordinator.may_become(entry.state, to_state) then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'merge_state_refused', 'feature_id', the_id, 'from', entry.state, 'to', to_state
        );
    end if;
    update coordinator.merge_queue as m
    set state = to_state, updated_at = p_turn.now, note = p_request ->> 'note',
        checks = coalesce(nullif(p_request -> 'checks', 'null'), m.checks),
        commit_id = coalesce(p_request ->> 'commit', m.commit_id),
        ejections = m.ejections + case when m.state = 'merging' and to_state = 'blocked' then 1 else 0 end
    where m.project = p_turn.project and m.feature_id = the_id
    returning m.* into entry;
    if to_state = 'merged' and coordinator.feature_is_not_active(p_turn.project, the_id) is null then
        perform coordinator.end_feature(p_turn, the_id, 'completed');
        completed := true;
    end if;
    return jsonb_build_object(
        'kind', 'merge_moved', 'entry', coordinator.merge_entry_to_json(entry), 'completed', completed
    );
end
$$;

create or replace function coordinator.remove_merge(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_id    text := p_request ->> 'feature_id';
    the_state text := (
        select m.state from coordinator.merge_queue as m where m.project = p_turn.project and m.feature_id = the_id
    );
begin
    if the_state is null then
        return jsonb_build_object('kind', 'refused', 'code', 'merge_entry_not_found', 'feature_id', the_id);
    elsif the_state = 'merging' then
        return jsonb_build_object('kind', 'refused', 'code', 'merge_in_progress', 'feature_id', the_id);
    end if;
    delete from coordinator.merge_queue as m where m.project = p_turn.project and m.feature_id = the_id;
    return jsonb_build_object('kind', 'merge_removed', 'feature_id', the_id);
end
$$;

-- The entries that are open, first come first, or those that were merged, latest first.
create or replace function coordinator.list_merge_entries(p_project text, p_query jsonb) returns json
language plpgsql as $$
declare
    is_open boolean := p_query ->> 'scope' = 'open';
    at_most bigint := p_query ->> 'limit';
begin
    return (
        select coalesce(
            json_agg(coordinator.merge_entry_to_json(page.entry) order by page.place), '[]'
        )
        from (
            select m as entry, case when is_open then m.seq else -m.seq end as place
            from coordinator.merge_queue as m
            where m.project = p_project and (m.state <> 'merged') = is_open
            order by place
            limit at_most
        ) as page
    );
end
$$;
