-- Who may do what: the owner everything, `service_role` (and whoever is made a member of it) call `apply` and `read`, and
-- nobody else anything.
--
-- Those two run with the owner's rights, so their callers need none on the tables, and nothing is written but by the
-- rules. What PostgREST exposes calls them with its caller's rights: should somebody grant all of an exposed schema to
-- `anon`, as guides to Supabase say, it still leads nowhere.

create or replace function coordinator_api.apply(p_project text, p_commands jsonb) returns json
language sql as $$ select coordinator.apply(p_project, p_commands) $$;

create or replace function coordinator_api.read(p_project text, p_query jsonb) returns json
language sql as $$ select coordinator.read(p_project, p_query) $$;

-- Where the schema stands: a program that cannot change it asks before it begins.
create or replace function coordinator_api.version() returns json
language sql stable as $$
    select json_build_object('version', v.version, 'functions', v.functions) from coordinator.schema_version as v
$$;

do $$
declare
    name      text;
    unguarded regclass;
begin
    -- Also where a later migration forgets it.
    for unguarded in
        select c.oid
        from pg_class as c
        where c.relnamespace = 'coordinator'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
    loop
        execute format('alter table %s enable row level security', unguarded);
    end loop;

    foreach name in array '{public, anon, authenticated, service_role}'::text[] loop
        if name = 'public' or to_regrole(name) is not null then
            execute format('revoke all on schema coordinator, coordinator_api from %s', name);
            execute format('revoke all on all tables in schema coordinator, coordinator_api from %s', name);
            execute format('revoke all on all routines in schema coordinator, coordinator_api from %s', name);
        end if;
    end loop;

    if to_regrole('service_role') is not null then
        grant usage on schema coordinator, coordinator_api to service_role;
        grant select on coordinator.schema_version to service_role;
        grant execute on function coordinator.apply(text, jsonb), coordinator.read(text, jsonb) to service_role;
        grant execute on all functions in schema coordinator_api to service_role;
    end if;
end
$$;

-- PostgREST knows only the functions that were there when it last looked.
notify pgrst, 'reload schema';
