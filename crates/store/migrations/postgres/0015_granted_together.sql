-- The new locks of a batch are written together.
create type coordinator.acquisition as (outcome jsonb, granted coordinator.locks[]);
comment on type coordinator.acquisition is 'what came of asking for locks, with those that are new and not written yet';

-- Is no other lock, and no other key of the batch, equal to, above or below those of the command at hand?
alter type coordinator.turn add attribute is_alone boolean;

-- These answer something else now.
drop function if exists coordinator.acquire, coordinator.try_acquire, coordinator.apply, coordinator_api.apply;
