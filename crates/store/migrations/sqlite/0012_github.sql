-- What is known of a repository on GitHub.

create table github_records (
    project    text    not null,
    kind       text    not null,
    name       text    not null,
    revision   integer not null,
    body       text    not null,
    updated_at integer not null,
    expires_at integer,
    primary key (project, kind, name)
) strict, without rowid;
create index github_records_ending on github_records (project, expires_at) where expires_at is not null;
