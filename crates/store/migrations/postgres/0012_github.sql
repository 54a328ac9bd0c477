-- What is known of a repository on GitHub.

create table coordinator.github_records (
    project    text        collate "C" not null,
    kind       text        collate "C" not null check (kind in ('issue', 'pull', 'branch', 'delivery', 'cursor')),
    name       text        collate "C" not null,
    revision   bigint      not null,
    body       text        not null,
    updated_at timestamptz not null,
    expires_at timestamptz,
    primary key (project, kind, name)
);
comment on column coordinator.github_records.body is 'JSON, as it was written';
create index github_records_ending on coordinator.github_records (project, expires_at) where expires_at is not null;

-- Without a policy nobody but the owner sees a row.
alter table coordinator.github_records enable row level security;
