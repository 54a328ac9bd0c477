-- Messages between agents.

create table coordinator.messages (
    project    text        collate "C" not null,
    seq        bigint      not null,
    message_id uuid        not null,
    agent_id   text        collate "C" not null,
    agent_type text        not null,
    session_id text        collate "C",
    audience   jsonb       not null,
    thread     text        collate "C",
    text       text        not null,
    created_at timestamptz not null,
    primary key (project, seq)
);

create table coordinator.unread_messages (
    project  text   collate "C" not null,
    agent_id text   collate "C" not null,
    seq      bigint not null,
    primary key (project, agent_id, seq)
);
comment on table coordinator.unread_messages is 'whom each message has reached and who has not read it yet';

-- Without a policy nobody but the owner sees a row.
alter table coordinator.messages enable row level security;
alter table coordinator.unread_messages enable row level security;
