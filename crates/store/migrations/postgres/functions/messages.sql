-- Messages: whom they reach is settled when they are sent; each waits in the inboxes until it is read.

create or replace function coordinator.send_message(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    audience   jsonb := p_request -> 'audience';
    recipients text[];
begin
    if audience ->> 'to' = 'agent' then
        recipients := array[audience ->> 'name'];
    else
        -- Whoever is connected is meant but for the sender, who can write to itself by name only.
        recipients := array(
            select distinct s.agent_id
            from coordinator.sessions as s
            where s.project = p_turn.project and s.disconnected_at is null and s.agent_id <> p_turn.agent_id
                and (audience ->> 'to' = 'all' or audience ->> 'name' = any(s.capabilities))
            order by s.agent_id
        );
    end if;
    if cardinality(recipients) = 0 then
        return '{"kind": "refused", "code": "no_recipients"}';
    end if;
    insert into coordinator.messages (
        project, seq, message_id, agent_id, agent_type, session_id, audience, thread, text, created_at
    ) values (
        p_turn.project, p_turn.position, (p_request ->> 'message_id')::uuid, p_turn.agent_id, p_turn.agent_type,
        p_turn.session_id, audience, p_request ->> 'thread', p_request ->> 'text', p_turn.now
    );
    insert into coordinator.unread_messages (project, agent_id, seq)
    select p_turn.project, recipient, p_turn.position
    from unnest(recipients) as recipient;
    return jsonb_build_object(
        'kind', 'message_sent', 'message_id', p_request -> 'message_id', 'recipients', to_jsonb(recipients)
    );
end
$$;

create or replace function coordinator.read_messages(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    unread jsonb := coordinator.list_unread_messages(
        p_turn.project, p_turn.agent_id, (p_request ->> 'limit')::bigint
    );
begin
    delete from coordinator.unread_messages as u
    where u.project = p_turn.project and u.agent_id = p_turn.agent_id and u.seq <= (unread -> -1 ->> 'seq')::bigint;
    return jsonb_build_object('kind', 'messages_read', 'messages', unread);
end
$$;

-- What the agent has not read yet, oldest first.
create or replace function coordinator.list_unread_messages(p_project text, p_agent_id text, p_limit bigint)
returns jsonb
language plpgsql as $$
begin
    return (
        select coalesce(jsonb_agg(coordinator.message_to_json(page.message) order by (page.message).seq), '[]')
        from (
            select m as message
            from coordinator.unread_messages as u
            join coordinator.messages as m on m.project = u.project and m.seq = u.seq
            where u.project = p_project and u.agent_id = p_agent_id
            order by u.seq
            limit p_limit
        ) as page
    );
end
$$;

-- The latest messages, newest first.
create or replace function coordinator.list_messages(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_thread text := p_filter ->> 'thread';
    the_sender text := p_filter ->> 'sender';
    at_most    bigint := p_filter ->> 'limit';
begin
    return (
        select coalesce(json_agg(coordinator.message_to_json(page.message) order by (page.message).seq desc), '[]')
        from (
            select m as message
            from coordinator.messages as m
            where m.project = p_project
                and (the_thread is null or m.thread = the_thread)
                and (the_sender is null or m.agent_id = the_sender)
            order by m.seq desc
            limit at_most
        ) as page
    );
end
$$;

create or replace function coordinator.message_to_json(p_message coordinator.messages) returns jsonb
language sql stable as $$
    select to_jsonb(p_message) - 'project' || jsonb_build_object('created_at', coordinator.rfc3339(p_message.created_at))
$$;
