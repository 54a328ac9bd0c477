-- Time, and whose turn it is.

-- The database's clock. It is read once a batch, when the batch's turn has come.
create or replace function coordinator.clock() returns timestamptz
language sql volatile as $$ select clock_timestamp() $$;

-- Waits until no other transaction applies commands to the project. The lock goes with the transaction, so that nothing
-- is left in a connection that a pooler may hand to somebody else.
create or replace function coordinator.take_turn(p_project text) returns void
language sql as $$ select pg_advisory_xact_lock(hashtextextended('coordinator.project:' || p_project, 0)) $$;

-- An instant as a command spells it: cut to the microsecond, and what lies before the year 1 brought to its beginning,
-- so that no instant a client names can fail the batch.
create or replace function coordinator.instant(p_text text) returns timestamptz
language sql stable as $$
    select case
        when p_text collate "C" < '0001' then '0001-01-01T00:00:00Z'
        else regexp_replace(p_text, '(\.\d{6})\d+', '\1')
    end::timestamptz
$$;

-- An instant as outcomes and the trail spell it, whatever the connection's time zone.
create or replace function coordinator.rfc3339(p_instant timestamptz) returns text
language sql stable as $$ select to_json(p_instant at time zone 'UTC') #>> '{}' || 'Z' $$;
