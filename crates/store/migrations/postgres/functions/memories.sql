-- What agents remember: memories that last, notes for one session, and how well skills work.

-- Stores a memory, or merges it into the one that it repeats.
create or replace function coordinator.remember(p_turn coordinator.turn, p_id uuid, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_source jsonb := jsonb_build_object(
        'id', p_id, 'session_id', p_turn.session_id, 'at', coordinator.rfc3339(p_turn.now)
    );
    older      uuid := p_request ->> 'supersedes';
    helpful    uuid[] := array(select jsonb_array_elements_text(p_request -> 'used'));
    more       text[] := array(select jsonb_array_elements_text(p_request -> 'details'));
    learnt     text[] := array(select jsonb_array_elements_text(p_request -> 'lessons'));
    labels     text[] := array(select jsonb_array_elements_text(p_request -> 'tags'));
    twin       coordinator.memories;
    memory     coordinator.memories;
    used       uuid;
begin
    select m.* into twin
    from coordinator.memories as m
    where m.project = p_turn.project and m.fingerprint = p_request ->> 'fingerprint'
    order by m.seq desc
    limit 1;
    if twin.superseded_by is not null or twin.created_at + interval '60 minutes' <= p_turn.now
        or twin.memory_id = older
    then
        twin := null;
    end if;

    foreach used in array helpful loop
        if not exists (
            select from coordinator.memories as m where m.project = p_turn.project and m.memory_id = used
        ) then
            return jsonb_build_object('kind', 'refused', 'code', 'memory_not_found', 'memory_id', used);
        end if;
    end loop;
    if older is not null then
        select m.* into memory
        from coordinator.memories as m
        where m.project = p_turn.project and m.memory_id = older;
        if not found then
            return jsonb_build_object('kind', 'refused', 'code', 'memory_not_found', 'memory_id', older);
        end if;
        -- Where it is its own twin that did so, the request is a repetition.
        if memory.superseded_by is not null and memory.superseded_by is distinct from twin.memory_id then
            return jsonb_build_object(
                'kind', 'refused', 'code', 'memory_superseded', 'memory_id', older,
                'superseded_by', memory.superseded_by
            );
        end if;
    end if;

    if twin.memory_id is null then
        insert into coordinator.memories as m (
            project, seq, memory_id, agent_id, agent_type, event_type, summary, details, outcome, lessons, tags, uses,
            sources, length, fingerprint, created_at
        ) values (
            p_turn.project, p_turn.position, (p_request ->> 'memory_id')::uuid, p_turn.agent_id, p_turn.agent_type,
            p_request ->> 'event_type', p_request ->> 'summary', more, p_request ->> 'outcome', learnt, labels, 0,
            jsonb_build_array(the_source),
            coordinator.index_memory(p_turn.project, p_turn.position, p_request -> 'terms'),
            p_request ->> 'fingerprint', p_turn.now
        )
        returning m.* into memory;
    else
        update coordinator.memories as m
        set details = coordinator.united(m.details, more),
            lessons = coordinator.united(m.lessons, learnt),
            tags = array(select tag from unnest(coordinator.united(m.tags, labels)) as tag order by tag collate "C"),
            outcome = coalesce(p_request ->> 'outcome', m.outcome),
            sources = case when jsonb_array_length(m.sources) < 50 then m.sources || the_source else m.sources end,
            uses = m.uses + 1,
            length = m.length + coordinator.index_memory(p_turn.project, m.seq, p_request -> 'terms')
        where m.project = p_turn.project and m.memory_id = twin.memory_id
        returning m.* into memory;
    end if;

    foreach used in array helpful loop
        update coordinator.memories as m
        set uses = m.uses + 1
        where m.project = p_turn.project and m.memory_id = used;
    end loop;
    update coordinator.memories as m
    set superseded_by = memory.memory_id
    where m.project = p_turn.project and m.memory_id = older;
    return jsonb_build_object(
        'kind', 'remembered', 'memory_id', memory.memory_id, 'merged', twin.memory_id is not null
    );
end
$$;

-- The texts known, and after them the new ones, up to 50.
create or replace function coordinator.united(p_known text[], p_more text[]) returns text[]
language sql immutable as $$
    select (p_known || array(
        select more.item
        from unnest(p_more) with ordinality as more (item, place)
        where more.item <> all (p_known)
        order by more.place
    ))[:50]
$$;

-- Makes a memory found by the terms too: of a term that it has already the larger weight stays. Answers by how much its
-- weights have grown.
create or replace function coordinator.index_memory(p_project text, p_memory bigint, p_terms jsonb) returns bigint
language plpgsql as $$
declare
    growth bigint;
begin
    insert into coordinator.memory_terms (project, term, memories)
    select p_project, given.term, 0
    from jsonb_object_keys(p_terms) as given (term)
    on conflict (project, term) do nothing;

    with word as materialized (
        select known.id, given.weight::integer, (
            select p.weight from coordinator.memory_postings as p where p.term_id = known.id and p.seq = p_memory
        ) as before
        from jsonb_each_text(p_terms) as given (term, weight), lateral (
            -- `offset 0`, as in `overlapping_locks`, makes it one look into the index for each.
            select t.id
            from coordinator.memory_terms as t
            where t.project = p_project and t.term = given.term
            offset 0
        ) as known
    ),
    posted as (
        insert into coordinator.memory_postings (term_id, seq, weight)
        select w.id, p_memory, w.weight from word as w where w.before is null or w.before < w.weight
        on conflict (term_id, seq) do update set weight = excluded.weight
    ),
    counted as (
        update coordinator.memory_terms as t
        set memories = t.memories + 1
        where t.id = any (array(select w.id from word as w where w.before is null))
    )
    select coalesce(sum(greatest(w.weight - coalesce(w.before, 0), 0)), 0) into growth from word as w;
    return growth;
end
$$;

-- What the index knows of words and filters.
create or replace function coordinator.search_memories(p_project text, p_search jsonb, p_now timestamptz) returns json
language plpgsql as $$
begin
    return json_build_object(
        'memories', coalesce(
            (select t.memories from coordinator.memory_terms as t where t.project = p_project and t.term = '*'), 0
        ),
        'words', coordinator.postings(p_project, p_search -> 'words', (p_search ->> 'limit')::bigint),
        'filters', coordinator.postings(p_project, p_search -> 'filters', (p_search ->> 'limit')::bigint),
        'instant', p_now
    );
end
$$;

-- Where the terms occur: the rarest first, of each the newest memories, so many in all.
create or replace function coordinator.postings(p_project text, p_terms jsonb, p_limit bigint) returns json
language plpgsql as $$
begin
    return (
        with known as materialized (
            select given.term, found.id, found.memories
            from (select distinct jsonb_array_elements_text(p_terms) as term) as given, lateral (
                select t.id, t.memories
                from coordinator.memory_terms as t
                where t.project = p_project and t.term = given.term
                offset 0
            ) as found
        ),
        shared as (
            select k.*, p_limit - sum(k.memories) over (order by k.memories, k.term collate "C") + k.memories as share
            from known as k
        )
        select coalesce(
            json_agg(
                json_build_object(
                    'term', s.term, 'memories', s.memories,
                    'seqs', coalesce(newest.seqs, '{}'), 'weights', coalesce(newest.weights, '{}')
                )
                order by s.memories, s.term collate "C"
            ),
            '[]'
        )
        from shared as s, lateral (
            select array_agg(p.seq order by p.seq desc) as seqs, array_agg(p.weight order by p.seq desc) as weights
            from (
                select p.seq, p.weight
                from coordinator.memory_postings as p
                where p.term_id = s.id
                order by p.seq desc
                limit greatest(s.share, 0)
            ) as p
        ) as newest
    );
end
$$;

-- The memories of these numbers with all that superseded them, oldest first, and the weights of the words in each.
create or replace function coordinator.find_memories(p_project text, p_query jsonb) returns json
language plpgsql as $$
declare
    words bigint[] := array(
        select (
            select t.id from coordinator.memory_terms as t where t.project = p_project and t.term = given.term
        )
        from jsonb_array_elements_text(p_query -> 'words') with ordinality as given (term, place)
        order by given.place
    );
begin
    return (
        with recursive wanted (memory) as (
            select found.memory
            from jsonb_array_elements_text(p_query -> 'seqs') as given (seq), lateral (
                select m as memory
                from coordinator.memories as m
                where m.project = p_project and m.seq = given.seq::bigint
                offset 0
            ) as found
            union
            select found.memory
            from wanted as w, lateral (
                select m as memory
                from coordinator.memories as m
                where m.project = p_project and m.memory_id = (w.memory).superseded_by
                offset 0
            ) as found
        )
        select coalesce(
            json_agg(
                json_build_object(
                    'memory', to_jsonb(w.memory) - 'project' - 'fingerprint',
                    'weights', array(
                        select coalesce(
                            (
                                select p.weight
                                from coordinator.memory_postings as p
                                where p.term_id = word.id and p.seq = (w.memory).seq
                            ),
                            0
                        )
                        from unnest(words) with ordinality as word (id, place)
                        order by word.place
                    )
                )
                order by (w.memory).seq
            ),
            '[]'
        )
        from wanted as w
    );
end
$$;

-- Writes or forgets one of the caller's notes. Where there is no room, the oldest that is not pinned goes.
create or replace function coordinator.update_working_memory(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    session text := coalesce(p_turn.session_id, '');
    others  bigint;
    oldest  text;
    dropped text[] := '{}';
begin
    select count(*) into others
    from coordinator.notes as n
    where n.project = p_turn.project and n.agent_id = p_turn.agent_id and n.session_id = session
        and n.key <> p_request ->> 'key';
    if p_request ->> 'value' is null then
        delete from coordinator.notes as n
        where n.project = p_turn.project and n.agent_id = p_turn.agent_id and n.session_id = session
            and n.key = p_request ->> 'key';
        return jsonb_build_object('kind', 'noted', 'notes', others, 'dropped', dropped);
    end if;
    if others >= 200 then
        select n.key into oldest
        from coordinator.notes as n
        where n.project = p_turn.project and n.agent_id = p_turn.agent_id and n.session_id = session
            and n.key <> p_request ->> 'key' and not n.pinned
        order by n.seq
        limit 1;
        if not found then
            return '{"kind": "refused", "code": "working_memory_full"}';
        end if;
        delete from coordinator.notes as n
        where n.project = p_turn.project and n.agent_id = p_turn.agent_id and n.session_id = session
            and n.key = oldest;
        dropped := array[oldest];
        others := others - 1;
    end if;

    insert into coordinator.notes as n (project, agent_id, session_id, key, value, pinned, seq, updated_at)
    values (
        p_turn.project, p_turn.agent_id, session, p_request ->> 'key', (p_request ->> 'value')::json,
        coalesce((p_request ->> 'pinned')::boolean, false), p_turn.position, p_turn.now
    )
    on conflict (project, agent_id, session_id, key) do update
    set value = excluded.value, pinned = coalesce((p_request ->> 'pinned')::boolean, n.pinned), seq = excluded.seq,
        updated_at = excluded.updated_at;
    return jsonb_build_object('kind', 'noted', 'notes', others + 1, 'dropped', dropped);
end
$$;

-- The owner's notes, oldest first: the one of this key, or all.
create or replace function coordinator.list_notes(p_project text, p_query jsonb) returns json
language plpgsql as $$
begin
    return (
        select coalesce(
            json_agg(
                json_build_object(
                    'key', n.key, 'value', n.value::text, 'pinned', n.pinned, 'seq', n.seq, 'updated_at', n.updated_at
                )
                order by n.seq
            ),
            '[]'
        )
        from coordinator.notes as n
        where n.project = p_project and n.agent_id = p_query -> 'owner' ->> 'agent_id'
            and n.session_id = coalesce(p_query -> 'owner' ->> 'session_id', '')
            and (p_query ->> 'key' is null or n.key = p_query ->> 'key')
    );
end
$$;

-- Counts a use of a skill.
create or replace function coordinator.record_skill_use(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_type  text := p_request ->> 'task_type';
    the_steps text[] := case
        when p_request ->> 'steps' is not null then array(select jsonb_array_elements_text(p_request -> 'steps'))
    end;
    tallies   jsonb := coalesce(
        (
            select s.tallies
            from coordinator.skills as s
            where s.project = p_turn.project and s.skill_name = p_request ->> 'skill_name'
        ),
        '[]'
    );
    total     record;
begin
    tallies := (
        select jsonb_agg(
            jsonb_build_object('task_type', t.task_type, 'uses', t.uses, 'successes', t.successes)
            order by t.task_type collate "C"
        )
        from (
            select known.task_type, sum(known.uses) as uses, sum(known.successes) as successes
            from (
                select k.task_type, k.uses, k.successes
                from jsonb_to_recordset(tallies) as k (task_type text, uses bigint, successes bigint)
                union all
                select the_type, 1, case when (p_request -> 'success')::boolean then 1 else 0 end
            ) as known
            group by known.task_type
        ) as t
    );
    insert into coordinator.skills as s (project, skill_name, description, steps, tallies, last_used_at)
    values (
        p_turn.project, p_request ->> 'skill_name', p_request ->> 'description', coalesce(the_steps, '{}'), tallies,
        p_turn.now
    )
    on conflict (project, skill_name) do update
    set description = coalesce(excluded.description, s.description), steps = coalesce(the_steps, s.steps),
        tallies = excluded.tallies, last_used_at = excluded.last_used_at;

    select sum(t.uses) as uses, sum(t.successes) as successes into total
    from jsonb_to_recordset(tallies) as t (uses bigint, successes bigint);
    return jsonb_build_object('kind', 'skill_used', 'uses', total.uses, 'successes', total.successes);
end
$$;

-- All skills, last used first (at most 1,000).
create or replace function coordinator.list_skills(p_project text) returns json
language plpgsql as $$
begin
    return (
        select coalesce(
            json_agg(to_jsonb(latest) - 'project' order by latest.last_used_at desc, latest.skill_name), '[]'
        )
        from (
            select s.*
            from coordinator.skills as s
            where s.project = p_project
            order by s.last_used_at desc, s.skill_name
            limit 1000
        ) as latest
    );
end
$$;
