-- Locks: granted to one agent, or to several who share, on all the keys asked for or none.

-- The beginning of a pattern that takes no wildcard, shortened to what an index entry can hold.
create or replace function coordinator.stem(p_pattern text, p_wild boolean) returns text
language sql immutable parallel safe as $$
    select left(case when p_wild then regexp_replace(p_pattern, '(^|/)[^/]*[*?].*$', '') else p_pattern end, 255)
$$;

-- What tells the key from others of the same stem, in few bytes.
create or replace function coordinator.tail(p_key text, p_stem text) returns bytea
language sql immutable parallel safe as $$
    select case when p_key = p_stem then '' else coordinator.digest(p_key) end
$$;

-- The stem's next ancestor; that of a stem of one part, and of the empty one, is the whole repository ('').
create or replace function coordinator.parent(p_stem text) returns text
language sql immutable parallel safe as $$
    select case strpos(p_stem, '/') when 0 then '' else left(p_stem, -strpos(reverse(p_stem), '/')) end
$$;

-- The stem and all its ancestors up to the whole repository ('').
create or replace function coordinator.lineage(p_stem text) returns text[]
language plpgsql immutable parallel safe as $$
declare
    lineage text[] := array[''];
    above   text := '';
    part    text;
begin
    foreach part in array string_to_array(p_stem, '/') loop
        above := above || part;
        lineage := lineage || above;
        above := above || '/';
    end loop;
    return lineage;
end
$$;

-- What lies below a stem lies between these two: '0' is the character after '/', so what begins with "stem/" does.
-- Everything is below the empty stem, and no stem has 256 characters.
create or replace function coordinator.first_below(p_stem text) returns text
language sql immutable parallel safe as $$ select case p_stem when '' then '' else p_stem || '/' end $$;
create or replace function coordinator.after_below(p_stem text) returns text
language sql immutable parallel safe as $$
    select case p_stem when '' then repeat(U&'\+10FFFF', 256) else p_stem || '0' end
$$;

-- All locks that overlap the key, in no order; null when there is none.
create or replace function coordinator.overlapping_locks(p_project text, p_key jsonb) returns coordinator.locks[]
language plpgsql as $$
declare
    the_space   text := p_key ->> 'space';
    the_pattern text := p_key ->> 'pattern';
    is_wild     boolean := (p_key -> 'wild')::boolean;
    the_stem    text := coordinator.stem(the_pattern, is_wild);
    ancestors   text[] := coordinator.lineage(the_stem);
    first_below text := coordinator.first_below(the_stem);
    after_below text := coordinator.after_below(the_stem);
begin
    return (
        select array_agg(near)
        from (
            -- `offset 0` makes it one look into the index for each ancestor, whatever the planner thinks of the table.
            select above.lock as near
            from unnest(ancestors) as ancestor, lateral (
                select l as lock
                from coordinator.locks as l
                where l.project = p_project and l.space = the_space and l.stem = ancestor
                offset 0
            ) as above
            union all
            select l
            from coordinator.locks as l
            where l.project = p_project and l.space = the_space and l.stem > first_below and l.stem < after_below
        ) as candidates
        where coordinator.overlap(the_space, the_pattern, is_wild, (near).pattern, (near).wild)
    );
end
$$;

-- May two different agents hold overlapping keys in these modes at once?
create or replace function coordinator.agree(p_mode text, p_other text) returns boolean
language sql immutable parallel safe as $$ select p_mode = 'shared' and p_other = 'shared' $$;

-- Does the waiter wait for a lock of the agent?
create or replace function coordinator.waits_for_lock_of(p_waiter coordinator.waiters, p_agent text) returns boolean
language plpgsql as $$
begin
    return exists (
        select
        from jsonb_array_elements(p_waiter.keys) as wanted,
            unnest(coordinator.overlapping_locks(p_waiter.project, wanted)) as lock
        where lock.agent_id = p_agent and not coordinator.agree(lock.mode, p_waiter.mode)
    );
end
$$;

-- The locks of others that keep the agent from holding the keys; null when there is none. With the tokens of the keys
-- that it holds already.
create or replace function coordinator.locks_in_the_way(
    p_project text, p_agent text, p_keys jsonb, p_mode text, out held bigint[], out locks coordinator.locks[]
)
language plpgsql as $$
declare
    near  coordinator.locks[];
    lock  coordinator.locks;
    token bigint;
begin
    for at in 0 .. jsonb_array_length(p_keys) - 1 loop
        near := coordinator.overlapping_locks(p_project, p_keys -> at);
        token := null;
        if near is not null then
            foreach lock in array near loop
                if lock.agent_id <> p_agent then
                    if not coordinator.agree(lock.mode, p_mode) then
                        locks := locks || lock;
                    end if;
                elsif lock.key = p_keys -> at ->> 'text' then
                    token := lock.fencing_token;
                end if;
            end loop;
        end if;
        held := held || token;
    end loop;
end
$$;

-- Those who queued before the agent, for keys that overlap these; null when there is nobody.
--
-- A waiter that itself waits for a lock of the agent does not stand before it: they would wait for each other.
create or replace function coordinator.waiters_in_the_way(
    p_project text, p_agent text, p_keys jsonb, p_mode text, p_ticket uuid
) returns coordinator.waiters[]
language plpgsql as $$
declare
    place bigint := (select w.seq from coordinator.waiters as w where w.project = p_project and w.ticket = p_ticket);
begin
    return (
        select array_agg(w order by w.seq)
        from coordinator.waiters as w
        where w.project = p_project and w.agent_id <> p_agent and not coordinator.agree(w.mode, p_mode)
            and (place is null or w.seq < place)
            and coordinator.any_overlap(p_keys, w.keys)
            and not coordinator.waits_for_lock_of(w, p_agent)
    );
end
$$;

-- The feature of a `feature:ID:PURPOSE` key.
create or replace function coordinator.feature_of(p_pattern text) returns text
language sql immutable parallel safe as $$ select regexp_replace(p_pattern, '/[^/]*$', '') $$;

-- Another agent's pause lock on a feature this work is for: the feature named in the request, that of a `feature:` key,
-- or that of a task the caller has claimed.
create or replace function coordinator.pause_in_the_way(p_turn coordinator.turn, p_request jsonb)
returns coordinator.locks
language plpgsql as $$
declare
    pause coordinator.locks;
begin
    select l.* into pause
    from coordinator.locks as l
    where l.project = p_turn.project and l.space = 'feature' and l.pattern like '%/pause'
        and l.agent_id <> p_turn.agent_id
        and p_request -> 'keys' is distinct from jsonb_build_array(
            jsonb_build_object('text', l.key, 'space', l.space, 'pattern', l.pattern, 'wild', l.wild)
        )
        and coordinator.feature_of(l.pattern) in (
            select p_request ->> 'feature_id'
            union all
            select coordinator.feature_of(asked ->> 'pattern')
            from jsonb_array_elements(p_request -> 'keys') as asked
            where asked ->> 'space' = 'feature'
            union all
            select t.feature_id
            from coordinator.tasks as t
            where t.project = p_turn.project and t.claimed_by = p_turn.agent_id
                and t.status in ('claimed', 'running')
        )
    order by coordinator.feature_of(l.pattern), l.fencing_token, l.key
    limit 1;
    return pause;
end
$$;

-- Refuses a token that is older than the grant's, or whose grant is gone.
create or replace function coordinator.stale(p_target text, p_given bigint, p_current bigint) returns jsonb
language plpgsql immutable as $$
begin
    if p_given >= p_current then
        return null;
    end if;
    return jsonb_build_object(
        'kind', 'refused', 'code', 'stale_fencing_token', 'target', p_target, 'given', p_given, 'current', p_current
    );
end
$$;

create or replace function coordinator.lock_to_json(p_lock coordinator.locks) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'key', jsonb_build_object(
            'text', p_lock.key, 'space', p_lock.space, 'pattern', p_lock.pattern, 'wild', p_lock.wild
        ),
        'agent_id', p_lock.agent_id,
        'agent_type', p_lock.agent_type,
        'session_id', p_lock.session_id,
        'mode', p_lock.mode,
        'reason', p_lock.reason,
        'fencing_token', p_lock.fencing_token,
        'locked_at', coordinator.rfc3339(p_lock.locked_at),
        'expires_at', coordinator.rfc3339(p_lock.expires_at)
    )
$$;

create or replace function coordinator.waiter_to_json(p_waiter coordinator.waiters) returns jsonb
language sql stable as $$
    select to_jsonb(p_waiter) - 'project' || jsonb_build_object(
        'since', coordinator.rfc3339(p_waiter.since), 'expires_at', coordinator.rfc3339(p_waiter.expires_at)
    )
$$;

-- The answer to an acquisition that is held up: names the oldest twenty locks, and the first twenty waiters.
create or replace function coordinator.blocked(
    p_reason text, p_locks coordinator.locks[], p_waiters coordinator.waiters[]
) returns jsonb
language plpgsql as $$
begin
    return jsonb_build_object(
        'kind', 'blocked',
        'reason', p_reason,
        'locks', (
            select coalesce(jsonb_agg(coordinator.lock_to_json(first.lock) order by fencing_token, key), '[]')
            from (
                select distinct on (fencing_token, key) fencing_token, key, lock
                from unnest(p_locks) as lock
                order by fencing_token, key
                limit 20
            ) as first
        ),
        'waiters', (
            select coalesce(jsonb_agg(coordinator.waiter_to_json(waiter) order by waiter.seq), '[]')
            from unnest(p_waiters[:20]) as waiter
        )
    );
end
$$;

-- Which commands of the batch, counted from 1, ask for keys on or below which somebody has a lock. All others are alone:
-- no lock is in their way, and what they are granted is in nobody else's. Null when no command may be taken for alone:
-- somebody has a lock above one of the keys, or keys that the batch asks for or releases are equal or below one another.
--
-- It looks once for all, which is cheaper than that each command looks for itself; but for one that has no company.
create or replace function coordinator.crowded(p_project text, p_commands jsonb) returns bigint[]
language plpgsql as $$
begin
    if jsonb_array_length(p_commands) = 1 then
        return null;
    end if;
    if not jsonb_path_exists(p_commands, '$[*].action.kind ? (@ == "acquire")') then
        return '{}';
    end if;
    return (
        with recursive named as materialized (
            select command.n, command.action ->> 'kind' as kind, key.space, coordinator.stem(key.pattern, key.wild) as stem
            from rows from (jsonb_to_recordset(p_commands) as (action jsonb)) with ordinality as command (action, n),
                jsonb_to_recordset(command.action -> 'keys') as key (space text, pattern text, wild boolean)
            where command.action ->> 'kind' in ('acquire', 'release')
        ),
        asked as (
            select n, space, stem from named where kind = 'acquire'
        ),
        above as (
            select space, coordinator.parent(stem) as stem from asked where stem <> ''
            union
            select space, coordinator.parent(stem) from above where stem <> ''
        ),
        lines as (
            select space, case stem when '' then '/' else '/' || stem || '/' end collate "C" as line from named
        ),
        -- What lies below a line begins with it, and in their order comes right behind it.
        neighbours as (
            select line, lead(line) over (partition by space order by line) as next from lines
        )
        -- `offset 0` makes it one look into the index for each, whatever the planner thinks of the table.
        select coalesce(array_agg(n) filter (where exists (
            select
            from coordinator.locks as l
            where l.project = p_project and l.space = asked.space and l.stem = asked.stem
            offset 0
        ) or exists (
            select
            from coordinator.locks as l
            where l.project = p_project and l.space = asked.space
                and l.stem > coordinator.first_below(asked.stem) and l.stem < coordinator.after_below(asked.stem)
            offset 0
        )), '{}')
        from asked
        having not exists (select from neighbours where starts_with(next, line))
            and not exists (
                select
                from above, lateral (
                    select
                    from coordinator.locks as l
                    where l.project = p_project and l.space = above.space and l.stem = above.stem
                    offset 0
                ) as lock
            )
    );
end
$$;

-- Grants the keys or says why not.
create or replace function coordinator.acquire(p_turn coordinator.turn, p_request jsonb)
returns coordinator.acquisition
language plpgsql as $$
declare
    keys     jsonb := p_request -> 'keys';
    the_mode text := p_request ->> 'mode';
    given    bigint := p_request ->> 'fencing_token';
    ends_at  timestamptz := p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second';
    pause    coordinator.locks;
    way      record;
    held     bigint[];
    locks    coordinator.locks[];
    waiters  coordinator.waiters[];
    the_key  jsonb;
    the_text text;
    the_stem text;
    token    bigint;
    grants   jsonb := '[]';
    the_grant   jsonb;
    claimed_by  jsonb;
    acquisition coordinator.acquisition;
begin
    if p_turn.any_pause then
        pause := coordinator.pause_in_the_way(p_turn, p_request);
        if pause.key is not null then
            acquisition.outcome := coordinator.blocked('feature_paused', array[pause], null);
            return acquisition;
        end if;
    end if;
    if not p_turn.is_alone then
        way := coordinator.locks_in_the_way(p_turn.project, p_turn.agent_id, keys, the_mode);
        held := way.held;
        locks := way.locks;
    end if;
    if given is not null then
        for at in 0 .. jsonb_array_length(keys) - 1 loop
            acquisition.outcome := coordinator.stale(keys -> at ->> 'text', given, held[at + 1]);
            if acquisition.outcome is not null then
                return acquisition;
            end if;
        end loop;
    end if;
    -- No waiter stands before the refresh of a lock.
    if p_turn.any_waiter and array_position(held, null) is not null then
        waiters := coordinator.waiters_in_the_way(
            p_turn.project, p_turn.agent_id, keys, the_mode, (p_request -> 'wait' ->> 'ticket')::uuid
        );
    end if;
    if locks is not null or waiters is not null then
        acquisition.outcome := coordinator.blocked('locked_by_other', locks, waiters);
        return acquisition;
    end if;

    for at in 0 .. jsonb_array_length(keys) - 1 loop
        the_key := keys -> at;
        the_text := the_key ->> 'text';
        the_stem := coordinator.stem(the_key ->> 'pattern', (the_key -> 'wild')::boolean);
        token := held[at + 1];
        if token is null then
            token := p_turn.position;
            acquisition.granted := acquisition.granted || row(
                p_turn.project, the_key ->> 'space', the_stem, coordinator.tail(the_text, the_stem), the_text,
                the_key ->> 'pattern', (the_key -> 'wild')::boolean, p_turn.agent_id, p_turn.agent_type,
                p_turn.session_id, the_mode, p_request ->> 'reason', token, p_turn.now, ends_at
            )::coordinator.locks;
        else
            update coordinator.locks as l
            set agent_type = p_turn.agent_type, session_id = p_turn.session_id, mode = the_mode,
                reason = coalesce(p_request ->> 'reason', l.reason), expires_at = ends_at
            where l.project = p_turn.project and l.space = the_key ->> 'space' and l.stem = the_stem
                and l.tail = coordinator.tail(the_text, the_stem) and l.agent_id = p_turn.agent_id;
        end if;
        the_grant := jsonb_build_object(
            'key', the_key, 'refreshed', held[at + 1] is not null, 'fencing_token', token,
            'expires_at', coordinator.rfc3339(ends_at)
        );
        if p_turn.any_claim then
            claimed_by := coordinator.claimed_by(p_turn, p_request, the_key);
            if claimed_by is not null then
                the_grant := the_grant || jsonb_build_object('claimed_by', claimed_by);
            end if;
        end if;
        grants := grants || the_grant;
    end loop;
    acquisition.outcome := jsonb_build_object('kind', 'acquired', 'grants', grants);
    return acquisition;
end
$$;

-- Keeps the caller's place in the queue, or takes it away when there is an answer that ends the wait.
create or replace function coordinator.wait(p_turn coordinator.turn, p_request jsonb, p_outcome jsonb) returns jsonb
language plpgsql as $$
begin
    if p_outcome ->> 'kind' = 'blocked' and not (p_request -> 'wait' -> 'last')::boolean then
        return coordinator.queue(p_turn, p_request, p_outcome);
    end if;
    delete from coordinator.waiters as w
    where w.project = p_turn.project and w.ticket = (p_request -> 'wait' ->> 'ticket')::uuid;
    return p_outcome;
end
$$;

-- Keeps the caller's place in the queue, or refuses it when waiting would never end.
create or replace function coordinator.queue(p_turn coordinator.turn, p_request jsonb, p_blocked jsonb) returns jsonb
language plpgsql as $$
declare
    the_ticket uuid := p_request -> 'wait' ->> 'ticket';
    place      coordinator.waiters;
    cycle      text[];
begin
    select w.* into place
    from coordinator.waiters as w
    where w.project = p_turn.project and w.ticket = the_ticket;
    if place.ticket is null then
        place.seq := coalesce((select max(w.seq) from coordinator.waiters as w where w.project = p_turn.project), 0) + 1;
    end if;
    -- A fresh enough place needs no write: polling costs no commit.
    if place.ticket is null or place.expires_at < p_turn.now + interval '2 seconds' then
        insert into coordinator.waiters (
            project, ticket, seq, agent_id, agent_type, keys, mode, reason, since, expires_at
        ) values (
            p_turn.project, the_ticket, place.seq, p_turn.agent_id, p_turn.agent_type,
            p_request -> 'keys', p_request ->> 'mode', p_request ->> 'reason', coalesce(place.since, p_turn.now),
            p_turn.now + interval '3 seconds'
        )
        on conflict (project, ticket) do update
        set agent_id = excluded.agent_id, agent_type = excluded.agent_type, keys = excluded.keys,
            mode = excluded.mode, reason = excluded.reason, expires_at = excluded.expires_at;
    end if;
    cycle := coordinator.deadlock(p_turn.project, the_ticket);
    if cycle is not null then
        delete from coordinator.waiters as w where w.project = p_turn.project and w.ticket = the_ticket;
        return jsonb_build_object('kind', 'refused', 'code', 'deadlock', 'cycle', cycle);
    end if;
    return p_blocked || jsonb_build_object('kind', 'waiting');
end
$$;

-- The agents of a cycle of waiters in which the one with this ticket is the youngest: it begins and ends with it.
--
-- Breadth first over "waits for a lock of, or behind"; each place in the queue is visited once.
create or replace function coordinator.deadlock(p_project text, p_ticket uuid) returns text[]
language plpgsql as $$
declare
    place     bigint := (
        select w.seq from coordinator.waiters as w where w.project = p_project and w.ticket = p_ticket
    );
    -- Up to the caller: only the youngest of a cycle is refused.
    queue     coordinator.waiters[] := (
        select array_agg(w order by w.seq)
        from coordinator.waiters as w
        where w.project = p_project and w.seq <= place
    );
    start     integer := cardinality(queue);
    came_from integer[] := array_fill(null::integer, array[start]);
    frontier  integer[] := array[start];
    visited   integer := 0;
    at        integer;
    waiter    coordinator.waiters;
    way       record;
    before    coordinator.waiters[];
    holders   text[];
    cycle     text[];
begin
    while visited < cardinality(frontier) loop
        visited := visited + 1;
        at := frontier[visited];
        waiter := queue[at];
        way := coordinator.locks_in_the_way(p_project, waiter.agent_id, waiter.keys, waiter.mode);
        before := null;
        if array_position(way.held, null) is not null then
            before := coordinator.waiters_in_the_way(
                p_project, waiter.agent_id, waiter.keys, waiter.mode, waiter.ticket
            );
        end if;
        holders := array(
            select l.agent_id from unnest(way.locks) as l
            union
            select w.agent_id from unnest(before) as w
        );
        if queue[start].agent_id = any (holders) then
            cycle := array[queue[start].agent_id];
            while at <> start loop
                cycle := queue[at].agent_id || cycle;
                at := came_from[at];
            end loop;
            return queue[start].agent_id || cycle;
        end if;
        for older in 1 .. start - 1 loop
            if came_from[older] is null and queue[older].agent_id = any (holders) then
                came_from[older] := at;
                frontier := frontier || older;
            end if;
        end loop;
    end loop;
    return null;
end
$$;

create or replace function coordinator.release(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    keys     jsonb := p_request -> 'keys';
    given    bigint := p_request ->> 'fencing_token';
    the_key  jsonb;
    the_stem text;
    refusal  jsonb;
    released jsonb := '[]';
    missing  jsonb := '[]';
begin
    if given is not null then
        for at in 0 .. jsonb_array_length(keys) - 1 loop
            the_key := keys -> at;
            the_stem := coordinator.stem(the_key ->> 'pattern', (the_key -> 'wild')::boolean);
            select coordinator.stale(l.key, given, l.fencing_token) into refusal
            from coordinator.locks as l
            where l.project = p_turn.project and l.space = the_key ->> 'space' and l.stem = the_stem
                and l.tail = coordinator.tail(the_key ->> 'text', the_stem) and l.agent_id = p_turn.agent_id;
            if refusal is not null then
                return refusal;
            end if;
        end loop;
    end if;
    for at in 0 .. jsonb_array_length(keys) - 1 loop
        the_key := keys -> at;
        the_stem := coordinator.stem(the_key ->> 'pattern', (the_key -> 'wild')::boolean);
        delete from coordinator.locks as l
        where l.project = p_turn.project and l.space = the_key ->> 'space' and l.stem = the_stem
            and l.tail = coordinator.tail(the_key ->> 'text', the_stem) and l.agent_id = p_turn.agent_id;
        if found then
            released := released || the_key;
        else
            missing := missing || the_key;
        end if;
    end loop;
    return jsonb_build_object('kind', 'released', 'released', released, 'missing', missing);
end
$$;
