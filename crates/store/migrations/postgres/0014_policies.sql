-- Workflows of GitHub Actions verify, too.

alter table coordinator.verification_runs
    drop constraint verification_runs_executor_check,
    add constraint verification_runs_executor_check check (executor in ('inline', 'command', 'github', 'human'));
