-- What is known of GitHub: written only by whoever has seen what was there, so that nobody's news are lost.

create or replace function coordinator.put_github_record(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_kind text := p_request ->> 'record_kind';
    the_name text := p_request ->> 'name';
    latest   bigint;
begin
    delete from coordinator.github_records as r
    where r.project = p_turn.project and r.expires_at is not null and r.expires_at <= p_turn.now;

    latest := coalesce(
        (
            select r.revision
            from coordinator.github_records as r
            where r.project = p_turn.project and r.kind = the_kind and r.name = the_name
        ),
        0
    );
    if (p_request ->> 'expected_revision')::bigint <> latest then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'github_record_changed', 'record_kind', the_kind, 'name', the_name,
            'revision', latest
        );
    end if;
    insert into coordinator.github_records (project, kind, name, revision, body, updated_at, expires_at)
    values (
        p_turn.project, the_kind, the_name, p_turn.position, p_request ->> 'body', p_turn.now,
        p_turn.now + (p_request ->> 'ttl_seconds')::bigint * interval '1 second'
    )
    on conflict (project, kind, name) do update
    set revision = excluded.revision, body = excluded.body, updated_at = excluded.updated_at,
        expires_at = excluded.expires_at;
    return jsonb_build_object('kind', 'github_record_put', 'revision', p_turn.position);
end
$$;

-- Those that have not ended, by name.
create or replace function coordinator.list_github_records(
    p_project text, p_query jsonb, p_now timestamptz
) returns json
language plpgsql as $$
declare
    the_kind text := p_query ->> 'record_kind';
    the_name text := p_query ->> 'name';
begin
    -- Only one of the two branches is ever run: one by its name is found by the key.
    return (
        select coalesce(json_agg(to_jsonb(page) - 'project' order by page.name), '[]')
        from (
            select r.*
            from coordinator.github_records as r
            where the_name is null and r.project = p_project and r.kind = the_kind
                and (r.expires_at is null or r.expires_at > p_now)
            union all
            select r.*
            from coordinator.github_records as r
            where r.project = p_project and r.kind = the_kind and r.name = the_name
                and (r.expires_at is null or r.expires_at > p_now)
        ) as page
    );
end
$$;
