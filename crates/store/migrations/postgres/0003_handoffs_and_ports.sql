-- Handoffs; and blocks of ports, which belong to the machine: one table for all projects.

create table coordinator.handoffs (
    project        text        collate "C" not null,
    seq            bigint      not null,
    handoff_id     uuid        not null,
    agent_id       text        collate "C" not null,
    agent_type     text        not null,
    session_id     text        collate "C",
    feature_id     text        collate "C",
    summary        text        not null,
    completed_work text[]      not null,
    in_progress    text[]      not null,
    decisions      text[]      not null,
    next_steps     text[]      not null,
    relevant_files text[]      not null,
    content        json,
    created_at     timestamptz not null,
    primary key (project, seq)
);
create index handoffs_agent on coordinator.handoffs (project, agent_id, seq) where agent_id is not null;

-- The functions never let two blocks share a port. The constraint stands behind them, as nothing else in the database
-- is shared by all projects.
create table coordinator.port_blocks (
    project      text        collate "C" not null,
    session_id   text        collate "C" not null,
    agent_id     text        collate "C" not null,
    first_port   integer     not null check (first_port between 1 and 65532),
    allocated_at timestamptz not null,
    expires_at   timestamptz not null,
    primary key (project, session_id),
    constraint no_port_twice exclude using gist (int4range(first_port, first_port + 4) with &&)
);

alter table coordinator.handoffs enable row level security;
alter table coordinator.port_blocks enable row level security;
