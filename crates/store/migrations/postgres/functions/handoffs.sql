-- Handoffs: kept as they are given.

create or replace function coordinator.write_handoff(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
begin
    insert into coordinator.handoffs (
        project, seq, handoff_id, agent_id, agent_type, session_id, feature_id, summary, completed_work, in_progress,
        decisions, next_steps, relevant_files, content, created_at
    ) values (
        p_turn.project, p_turn.position, (p_request ->> 'handoff_id')::uuid, p_turn.agent_id, p_turn.agent_type,
        p_turn.session_id, p_request ->> 'feature_id', p_request ->> 'summary',
        array(select jsonb_array_elements_text(p_request -> 'completed_work')),
        array(select jsonb_array_elements_text(p_request -> 'in_progress')),
        array(select jsonb_array_elements_text(p_request -> 'decisions')),
        array(select jsonb_array_elements_text(p_request -> 'next_steps')),
        array(select jsonb_array_elements_text(p_request -> 'relevant_files')),
        (p_request ->> 'content')::json, p_turn.now
    );
    return jsonb_build_object('kind', 'handoff_written', 'handoff_id', p_request -> 'handoff_id');
end
$$;

-- The latest handoffs, newest first.
create or replace function coordinator.list_handoffs(p_project text, p_filter jsonb) returns json
language plpgsql as $$
declare
    the_agent   text := p_filter ->> 'agent_id';
    the_session text := p_filter ->> 'session_id';
    the_feature text := p_filter ->> 'feature_id';
    at_most     bigint := p_filter ->> 'limit';
begin
    -- Only one of the two branches is ever run: an agent's handoffs have an index of their own.
    return (
        select coalesce(
            json_agg(coordinator.handoff_to_json(page.handoff) order by (page.handoff).seq desc), '[]'
        )
        from (
            (
                select h as handoff
                from coordinator.handoffs as h
                where the_agent is null and h.project = p_project
                    and (the_session is null or h.session_id = the_session)
                    and (the_feature is null or h.feature_id = the_feature)
                order by h.seq desc
                limit at_most
            )
            union all
            (
                select h
                from coordinator.handoffs as h
                where h.agent_id = the_agent and h.project = p_project
                    and (the_session is null or h.session_id = the_session)
                    and (the_feature is null or h.feature_id = the_feature)
                order by h.seq desc
                limit at_most
            )
        ) as page
    );
end
$$;

create or replace function coordinator.handoff_to_json(p_handoff coordinator.handoffs) returns jsonb
language plpgsql stable as $$
declare
    -- It stays opaque: a text that happens to hold JSON.
    content jsonb := jsonb_build_object('content', p_handoff.content::text);
begin
    p_handoff.content := null;
    return to_jsonb(p_handoff) - 'project' || content;
end
$$;
