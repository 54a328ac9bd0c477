-- Who may come in besides the owner.
--
-- PostgREST takes a request's role from its token: `anon` for whoever has none, `authenticated` for a user of the
-- project, `service_role` for its servers. Supabase has these roles; elsewhere they are made here, without any right, if
-- the migrating role may make roles. All else works without them. `functions/access.sql` says what they may do.

do $$
declare
    name text;
begin
    foreach name in array '{anon, authenticated, service_role}'::text[] loop
        if to_regrole(name) is null then
            begin
                execute format('create role %I nologin noinherit', name);
            exception
                -- Not ours to make, or just made by a migration of another database of this server.
                when others then raise notice 'role % is not made: %', name, sqlerrm;
            end;
        end if;
    end loop;
end
$$;

create schema coordinator_api;
comment on schema coordinator_api is 'what PostgREST is to expose of the coordinator';

-- Whoever may apply commands may know whether the database is as the program needs it. Of all tables only this one can
-- be read at all by others than the owner.
create policy callers_may_look on coordinator.schema_version for select
    using (has_function_privilege('coordinator.apply(text, jsonb)', 'execute'));
