-- Messages between agents.

create table messages (
    project    text    not null,
    seq        integer not null,
    message_id blob    not null,
    agent_id   text    not null,
    agent_type text    not null,
    session_id text,
    audience   text    not null,
    thread     text,
    text       text    not null,
    created_at integer not null,
    primary key (project, seq)
) strict, without rowid;

-- Whom each has reached and who has not read it yet.
create table unread_messages (
    project  text    not null,
    agent_id text    not null,
    seq      integer not null,
    primary key (project, agent_id, seq)
) strict, without rowid;
