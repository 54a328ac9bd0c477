-- Features, what they claim, and the queue in which they are merged.

create table coordinator.features (
    project        text        collate "C" not null,
    feature_id     text        collate "C" not null,
    seq            bigint      not null,
    title          text,
    branch_name    text,
    status         text        collate "C" not null check (status in ('active', 'completed', 'cancelled')),
    claims         jsonb       not null check (jsonb_typeof(claims) = 'array'),
    merge_priority smallint    not null check (merge_priority between 1 and 10),
    metadata       text,
    registered_by  text        collate "C" not null,
    registered_at  timestamptz not null,
    updated_at     timestamptz not null,
    primary key (project, feature_id)
);
comment on column coordinator.features.metadata is 'JSON, as it was written';
create index features_status on coordinator.features (project, status, seq) where seq is not null;

create table coordinator.feature_claims (
    project    text    collate "C" not null,
    space      text    collate "C" not null,
    stem       text    collate "C" not null,
    tail       bytea   not null,
    feature_id text    collate "C" not null,
    key        text    collate "C" not null,
    pattern    text    collate "C" not null,
    wild       boolean not null,
    seq        bigint  not null,
    agent_id   text    collate "C" not null,
    primary key (project, space, stem, feature_id, tail)
);
comment on table coordinator.feature_claims is 'the claims of the active features, to be found by what they cover';
comment on column coordinator.feature_claims.stem is 'as that of a lock';
create index feature_claims_feature on coordinator.feature_claims (project, feature_id) where feature_id is not null;

create table coordinator.merge_queue (
    project     text        collate "C" not null,
    feature_id  text        collate "C" not null,
    seq         bigint      not null,
    state       text        collate "C" not null
        check (state in ('queued', 'pre_merge_check', 'ready', 'merging', 'merged', 'blocked')),
    pr_url      text,
    enqueued_by text        collate "C" not null,
    queued_at   timestamptz not null,
    updated_at  timestamptz not null,
    checks      jsonb       not null,
    note        text,
    commit_id   text,
    ejections   bigint      not null,
    primary key (project, feature_id)
);
create index merge_queue_order on coordinator.merge_queue (project, seq) where seq is not null;

-- May a granted key be claimed by a feature?
alter type coordinator.turn add attribute any_claim boolean;

-- Without a policy nobody but the owner sees a row.
alter table coordinator.features enable row level security;
alter table coordinator.feature_claims enable row level security;
alter table coordinator.merge_queue enable row level security;
