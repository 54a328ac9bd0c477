-- Features, what they claim, and the queue in which they are merged.

create table features (
    project        text    not null,
    feature_id     text    not null,
    seq            integer not null,
    title          text,
    branch_name    text,
    status         text    not null,
    claims         text    not null,
    merge_priority integer not null,
    metadata       text,
    registered_by  text    not null,
    registered_at  integer not null,
    updated_at     integer not null,
    primary key (project, feature_id)
) strict, without rowid;
create index features_status on features (project, status, seq);

-- The claims of the active ones, to be found by what they cover.
create table feature_claims (
    project    text    not null,
    feature_id text    not null,
    key        text    not null,
    space      text    not null,
    stem       text    not null,
    pattern    text    not null,
    wild       integer not null,
    seq        integer not null,
    agent_id   text    not null,
    primary key (project, feature_id, key)
) strict, without rowid;
create index feature_claims_stem on feature_claims (project, space, stem);

create table merge_queue (
    project     text    not null,
    feature_id  text    not null,
    seq         integer not null,
    state       text    not null,
    pr_url      text,
    enqueued_by text    not null,
    queued_at   integer not null,
    updated_at  integer not null,
    checks      text    not null,
    note        text,
    commit_id   text,
    ejections   integer not null,
    primary key (project, feature_id)
) strict, without rowid;
create index merge_queue_order on merge_queue (project, seq);
