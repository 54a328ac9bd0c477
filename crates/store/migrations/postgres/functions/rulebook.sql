-- The rulebook: every version is kept, the latest is in force.

create or replace function coordinator.put_rule(p_turn coordinator.turn, p_request jsonb) returns jsonb
language plpgsql as $$
declare
    the_kind text := p_request ->> 'rule_kind';
    the_name text := p_request ->> 'name';
    the_body text := p_request ->> 'body';
    expected bigint := (p_request ->> 'expected_version')::bigint;
    latest   record;
begin
    select r.version, r.body is not null as is_there into latest
    from coordinator.rules as r
    where r.project = p_turn.project and r.kind = the_kind and r.name = the_name
    order by r.version desc
    limit 1;

    if expected <> coalesce(latest.version, 0) then
        return jsonb_build_object(
            'kind', 'refused', 'code', 'rule_changed', 'rule_kind', the_kind, 'name', the_name,
            'version', coalesce(latest.version, 0)
        );
    end if;
    if the_body is null and latest.is_there is not true then
        return jsonb_build_object('kind', 'refused', 'code', 'rule_not_found', 'rule_kind', the_kind, 'name', the_name);
    end if;
    insert into coordinator.rules (project, version, kind, name, body, author, created_at)
    values (p_turn.project, p_turn.position, the_kind, the_name, the_body, p_turn.agent_id, p_turn.now);
    return jsonb_build_object('kind', 'rule_put', 'version', p_turn.position);
end
$$;

-- The latest version of each that was not removed, by kind and name.
create or replace function coordinator.list_rules(p_project text) returns json
language plpgsql as $$
begin
    return (
        select coalesce(json_agg(to_jsonb(latest) - 'project' order by latest.kind, latest.name), '[]')
        from (
            select distinct on (r.kind, r.name) r.*
            from coordinator.rules as r
            where r.project = p_project
            order by r.kind, r.name, r.version desc
        ) as latest
        where latest.body is not null
    );
end
$$;

-- As long as it stays, so do all rules.
create or replace function coordinator.rules_version(p_project text) returns bigint
language plpgsql as $$
begin
    return coalesce((select max(r.version) from coordinator.rules as r where r.project = p_project), 0);
end
$$;

-- The versions of one rule, newest first.
create or replace function coordinator.list_rule_history(p_project text, p_query jsonb) returns json
language plpgsql as $$
declare
    the_kind text := p_query ->> 'rule_kind';
    the_name text := p_query ->> 'name';
    at_most  bigint := p_query ->> 'limit';
begin
    return (
        select coalesce(json_agg(to_jsonb(page) - 'project' order by page.version desc), '[]')
        from (
            select r.*
            from coordinator.rules as r
            where r.project = p_project and r.kind = the_kind and r.name = the_name
            order by r.version desc
            limit at_most
        ) as page
    );
end
$$;
