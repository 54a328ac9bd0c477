-- Handoffs; and blocks of ports, which belong to the machine: one table for all projects.

create table handoffs (
    project        text    not null,
    seq            integer not null,
    handoff_id     blob    not null,
    agent_id       text    not null,
    agent_type     text    not null,
    session_id     text,
    feature_id     text,
    summary        text    not null,
    completed_work text    not null,
    in_progress    text    not null,
    decisions      text    not null,
    next_steps     text    not null,
    relevant_files text    not null,
    content        text,
    created_at     integer not null,
    primary key (project, seq)
) strict, without rowid;
create index handoffs_agent on handoffs (project, agent_id, seq);

create table port_blocks (
    first_port   integer primary key check (first_port between 1 and 65532),
    project      text    not null,
    session_id   text    not null,
    agent_id     text    not null,
    allocated_at integer not null,
    expires_at   integer not null,
    unique (project, session_id)
) strict;
