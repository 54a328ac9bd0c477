#!/bin/sh
# Run once by the database's container, when its volume is new: the roles that PostgREST takes, and the one that it
# connects as. The coordinator makes the first three by itself; they are needed here before it comes.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$AUTHENTICATOR_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit;
create role authenticator login noinherit password :'password' in role anon, authenticated, service_role;
SQL
