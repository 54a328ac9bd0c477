-- Grants and tasks are numbered by the position in the trail of the command that made them; before, by a count of their
-- own, which the trail must not fall behind.
insert into audit (
    project, seq, id, agent_id, agent_type, operation, parameters, result, duration_ms, success, created_at
)
select
    project, seq, randomblob(16), 'coordinator', 'system', 'migrate', '{"numbers":"positions in the trail"}', 'null', 0,
    1, cast(unixepoch('subsec') * 1000000 as integer)
from projects
where seq > audit_seq;
alter table projects drop column seq;
alter table projects drop column audit_seq;
