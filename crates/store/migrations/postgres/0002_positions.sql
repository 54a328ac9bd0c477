-- Grants and tasks are numbered by the position in the trail of the command that made them; before, by a count of their
-- own, which the trail must not fall behind.
insert into coordinator.audit (
    project, seq, id, agent_id, agent_type, operation, parameters, result, duration_ms, success, created_at
)
select
    project, seq, gen_random_uuid(), 'coordinator', 'system', 'migrate', '{"numbers":"positions in the trail"}', 'null', 0,
    true, clock_timestamp()
from coordinator.projects
where seq > audit_seq;
alter table coordinator.projects drop column seq, drop column audit_seq;

-- Where in the trail the command at hand will stand.
alter type coordinator.turn add attribute position bigint;

-- These have other arguments now.
drop function if exists coordinator.acquire, coordinator.try_acquire, coordinator.queue, coordinator.submit,
    coordinator.claim;
