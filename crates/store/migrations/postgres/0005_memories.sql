-- What agents remember. The index of words is ours, the same in every store: `model/src/text.rs` says what a word is.

create table coordinator.memories (
    project       text        collate "C" not null,
    seq           bigint      not null,
    memory_id     uuid        not null,
    agent_id      text        collate "C" not null,
    agent_type    text        not null,
    event_type    text        not null
        check (event_type in ('error', 'success', 'decision', 'discovery', 'optimization')),
    summary       text        not null,
    details       text[]      not null,
    outcome       text        check (outcome in ('positive', 'negative', 'neutral')),
    lessons       text[]      not null,
    tags          text[]      not null,
    uses          bigint      not null,
    sources       jsonb       not null check (jsonb_typeof(sources) = 'array'),
    superseded_by uuid,
    length        bigint      not null,
    fingerprint   text        collate "C" not null,
    created_at    timestamptz not null,
    primary key (project, seq)
);
create unique index memories_id on coordinator.memories (project, memory_id) where memory_id is not null;
create index memories_fingerprint on coordinator.memories (project, fingerprint, seq) where fingerprint is not null;

create table coordinator.memory_terms (
    id       bigint generated always as identity primary key,
    project  text   collate "C" not null,
    term     text   collate "C" not null,
    memories bigint not null,
    unique (project, term)
) with (fillfactor = 70);
comment on table coordinator.memory_terms is
    'words, `#tag`, `!type`, and `*`, which every memory has; and in how many memories each is';

create table coordinator.memory_postings (
    term_id bigint  not null,
    seq     bigint  not null,
    weight  integer not null,
    primary key (term_id, seq)
);
comment on table coordinator.memory_postings is 'in which memories a term is, and its weight there';

create table coordinator.notes (
    project    text        collate "C" not null,
    agent_id   text        collate "C" not null,
    session_id text        collate "C" not null,
    key        text        collate "C" not null,
    value      json        not null,
    pinned     boolean     not null,
    seq        bigint      not null,
    updated_at timestamptz not null,
    primary key (project, agent_id, session_id, key)
) with (fillfactor = 70);
comment on column coordinator.notes.session_id is 'empty for an agent without a session';

create table coordinator.skills (
    project      text        collate "C" not null,
    skill_name   text        collate "C" not null,
    description  text,
    steps        text[]      not null,
    tallies      jsonb       not null check (jsonb_typeof(tallies) = 'array'),
    last_used_at timestamptz not null,
    primary key (project, skill_name)
) with (fillfactor = 70);

-- Without a policy nobody but the owner sees a row.
alter table coordinator.memories enable row level security;
alter table coordinator.memory_terms enable row level security;
alter table coordinator.memory_postings enable row level security;
alter table coordinator.notes enable row level security;
alter table coordinator.skills enable row level security;
