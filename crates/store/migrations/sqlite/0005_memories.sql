-- What agents remember. The index of words is ours, the same in every store: `model/src/text.rs` says what a word is.

create table memories (
    project       text    not null,
    seq           integer not null,
    memory_id     blob    not null,
    agent_id      text    not null,
    agent_type    text    not null,
    event_type    text    not null check (event_type in ('error', 'success', 'decision', 'discovery', 'optimization')),
    summary       text    not null,
    details       text    not null,
    outcome       text    check (outcome in ('positive', 'negative', 'neutral')),
    lessons       text    not null,
    tags          text    not null,
    uses          integer not null,
    sources       text    not null,
    superseded_by blob,
    length        integer not null,
    fingerprint   text    not null,
    created_at    integer not null
) strict;
create unique index memories_seq on memories (project, seq);
create unique index memories_id on memories (project, memory_id);
create index memories_fingerprint on memories (project, fingerprint, seq);

-- A word, a `#tag`, a `!type`, or `*`, which every memory has; and in how many memories it is.
create table memory_terms (
    id       integer primary key,
    project  text    not null,
    term     text    not null,
    memories integer not null,
    unique (project, term)
) strict;

-- In which memories, and its weight there.
create table memory_postings (
    term_id integer not null,
    seq     integer not null,
    weight  integer not null,
    primary key (term_id, seq)
) strict, without rowid;

create table notes (
    project    text    not null,
    agent_id   text    not null,
    -- Empty for an agent without a session.
    session_id text    not null,
    key        text    not null,
    value      text    not null,
    pinned     integer not null,
    seq        integer not null,
    updated_at integer not null,
    primary key (project, agent_id, session_id, key)
) strict, without rowid;

create table skills (
    project      text    not null,
    skill_name   text    not null,
    description  text,
    steps        text    not null,
    tallies      text    not null,
    last_used_at integer not null,
    primary key (project, skill_name)
) strict, without rowid;
