-- Workflows of GitHub Actions verify, too, and the rulebook has policies of what must pass.

alter table coordinator.verification_runs
    drop constraint verification_runs_executor_check,
    add constraint verification_runs_executor_check check (executor in ('inline', 'command', 'github', 'human'));

alter table coordinator.rules
    drop constraint rules_kind_check,
    add constraint rules_kind_check
        check (kind in ('assignment', 'guardrails', 'network', 'policy', 'profile', 'verification'));
