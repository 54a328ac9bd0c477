//! Scripts by chance, in which things meet.

use model::approvals::{ApprovalScope, Verdict};
use model::features::FeatureEnd;
use model::github::GithubKind;
use model::limits::Limits;
use model::memories::Effect;
use model::merge_queue::MergeState;
use model::messages::Audience;
use model::rulebook::RuleKind;
use model::verification::{Executor, Trigger, Verdict as RunVerdict};
use model::work::CANCELLED;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::agent;
use super::script::{
    AGENTS, Ask, CAPABILITIES, FEATURES, FINGERPRINTS, JSON, KEYS, OPERATIONS, RememberAsk, SECONDS, SESSIONS,
    SUMMARIES, Script, Step, SubmitAsk, TAGS, TEXTS, TYPES, TaskRef, Token, What,
};

pub fn scripts() -> impl Strategy<Value = Script> {
    vec(step(), 1..36).prop_map(Script)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => select(vec![1, 999_999, 1_000_000, 2_000_000, 5_000_000, 60_000_000, 299_000_000, 7_200_000_000])
            .prop_map(Step::Pass),
        2 => any::<bool>().prop_map(|short| Step::PassToTheNextEnd { short }),
        9 => vec(ask(), 0..6).prop_map(Step::Apply),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let pass = option::weighted(0.15, (0_u8..3, prop::bool::weighted(0.9)));
    (one(AGENTS), option::weighted(0.6, one(SESSIONS)), limits(), pass, what())
        .prop_map(|(agent, session, limits, pass, what)| Ask { agent, session, limits, pass, what })
}

/// None for most, as in life.
fn limits() -> impl Strategy<Value = Limits> {
    let some = (option::of(0_u32..4), option::of(select(vec![0_u32, 1, 3, 9])), option::of(1_u32..3)).prop_map(
        |(max_file_modifications, max_calls_per_hour, max_minutes_per_task)| Limits {
            max_file_modifications,
            max_calls_per_hour,
            max_minutes_per_task,
        },
    );
    prop_oneof![5 => Just(Limits::NONE), 1 => some]
}

fn one(from: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    // The first few more often, so that things meet.
    prop_oneof![select(&from[..2]), select(from)]
}

fn keys() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop_oneof![1 => select(&KEYS[..6]), 2 => select(KEYS)], 1..4)
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![4 => Just(Token::None), 2 => Just(Token::Current(0)), 1 => (-2_i64..3).prop_map(Token::Current)]
}

fn task_ref() -> impl Strategy<Value = TaskRef> {
    prop_oneof![4 => (0_u8..2).prop_map(TaskRef::Held), 4 => (0_u8..6).prop_map(TaskRef::Latest), 1 => Just(TaskRef::Unknown)]
}

fn depends_on() -> impl Strategy<Value = Vec<TaskRef>> {
    let earlier = prop_oneof![20 => (0_u8..5).prop_map(TaskRef::Latest), 1 => Just(TaskRef::Unknown)];
    prop_oneof![2 => Just(vec![]), 3 => vec(earlier, 1..4)]
}

fn what() -> impl Strategy<Value = What> {
    let ttl = || select(SECONDS);
    let acquire = (
        keys(),
        prop::bool::weighted(0.35),
        ttl(),
        option::of(one(TEXTS)),
        option::weighted(0.15, one(FEATURES)),
        token(),
        option::weighted(0.5, (0_u8..6, prop::bool::weighted(0.2))),
    )
        .prop_map(|(keys, shared, ttl, reason, feature, token, wait)| What::Acquire {
            keys,
            shared,
            ttl,
            reason,
            feature,
            token,
            wait,
        });
    let submit = (
        (one(TYPES), 1_u8..=10, depends_on(), one(TEXTS)),
        option::weighted(0.25, select(vec![-1_000_000, 0, 1, 3_000_000, 60_000_000])),
        1_u32..4,
        option::weighted(0.3, (select(&["k", "K", "it's"][..]), select(&["f1", "f2"][..]))),
        option::weighted(0.15, one(CAPABILITIES)),
        option::weighted(0.15, one(AGENTS)),
        option::weighted(0.25, one(FEATURES)),
        option::of(select(JSON)),
    )
        .prop_map(|(main, deadline, max_attempts, idempotency, capability, assignee, feature, input)| {
            let (kind, priority, depends_on, text) = main;
            What::Submit(SubmitAsk {
                kind,
                priority,
                depends_on,
                deadline,
                max_attempts,
                idempotency,
                capability,
                assignee,
                feature,
                input,
                text,
            })
        });
    let complete =
        (task_ref(), any::<bool>(), option::of(select(&["broken", CANCELLED][..])), option::of(select(JSON)), token())
            .prop_map(|(task, success, code, result, token)| What::Complete { task, success, code, result, token });
    let write_handoff =
        (option::weighted(0.3, one(FEATURES)), one(TEXTS), vec(vec(one(TEXTS), 0..3), 5), option::of(select(JSON)))
            .prop_map(|(feature, summary, lists, content)| What::WriteHandoff { feature, summary, lists, content });
    let audience = prop_oneof![
        one(AGENTS).prop_map(|name| Audience::Agent(agent(name))),
        one(CAPABILITIES).prop_map(|capability| Audience::Capability(capability.into())),
        Just(Audience::All),
    ];
    let message = (audience, option::of(one(KEYS)), one(TEXTS)).prop_map(|(audience, thread, text)| What::Message {
        audience,
        thread,
        text,
    });
    // A few blocks that overlap in every way.
    let allocate_ports = (one(SESSIONS), vec(0_u16..20, 0..4), ttl())
        .prop_map(|(session, candidates, ttl)| What::AllocatePorts { session, candidates, ttl });
    let effect = select(vec![Effect::Positive, Effect::Negative, Effect::Neutral]);
    let remember = (
        (one(SUMMARIES), option::of(one(TEXTS)), option::of(effect)),
        vec(select(&["retry the pool", "it's a lesson", ""][..]), 0..3),
        vec(select(TAGS), 0..3),
        option::weighted(0.4, 0_u8..5),
        vec(0_u8..6, 0..2),
    )
        .prop_map(|((summary, details, outcome), lessons, tags, supersedes, used)| {
            What::Remember(RememberAsk { summary, details, outcome, lessons, tags, supersedes, used })
        });
    let note = (one(TEXTS), option::weighted(0.8, select(JSON)), option::of(any::<bool>()))
        .prop_map(|(key, value, pinned)| What::Note { key, value, pinned });
    let skill_use =
        (one(TEXTS), one(TYPES), any::<bool>(), option::of(one(TEXTS)), option::of(vec(select(TEXTS), 0..3))).prop_map(
            |(name, task_type, success, description, steps)| What::SkillUse {
                name,
                task_type,
                success,
                description,
                steps,
            },
        );
    let request_approval = (one(OPERATIONS), one(FINGERPRINTS), one(TEXTS), ttl(), option::weighted(0.4, one(TEXTS)))
        .prop_map(|(operation, fingerprint, reason, ttl, refused)| What::RequestApproval {
            operation,
            fingerprint,
            reason,
            ttl,
            refused,
        });
    let verdict = prop_oneof![3 => Just(Verdict::Approve), 1 => Just(Verdict::Deny)];
    let scope = prop_oneof![Just(ApprovalScope::Once), Just(ApprovalScope::Session)];
    let decide_approval = (0_u8..4, verdict, scope, ttl(), option::of(one(TEXTS)))
        .prop_map(|(approval, verdict, scope, ttl, note)| What::DecideApproval { approval, verdict, scope, ttl, note });
    let put_rule = (
        select(&RuleKind::ALL[..]),
        one(TEXTS),
        option::weighted(0.7, one(TEXTS)),
        option::weighted(0.5, prop_oneof![4 => Just(0), 1 => -1_i64..2]),
    )
        .prop_map(|(kind, name, body, seen)| What::PutRule { kind, name, body, seen });
    let put_github = (
        select(&GithubKind::ALL[..]),
        one(TEXTS),
        select(JSON),
        option::of(ttl()),
        prop_oneof![6 => Just(0), 1 => -1_i64..2],
    )
        .prop_map(|(kind, name, body, ttl, seen)| What::PutGithub { kind, name, body, ttl, seen });
    // The last is no feature's id.
    let feature = || one(&FEATURES[..5]);
    let register_feature = (feature(), keys(), option::of(1_u8..=10), option::of(one(TEXTS)), option::of(select(JSON)))
        .prop_map(|(feature, claims, priority, title, metadata)| What::RegisterFeature {
            feature,
            claims,
            priority,
            title,
            metadata,
        });
    let deregister_feature = (feature(), select(vec![FeatureEnd::Completed, FeatureEnd::Cancelled]))
        .prop_map(|(feature, end)| What::DeregisterFeature { feature, end });
    let enqueue_merge =
        (feature(), option::of(one(TEXTS))).prop_map(|(feature, pr_url)| What::EnqueueMerge { feature, pr_url });
    let move_merge = (feature(), select(&MergeState::ALL[..]), option::of(one(TEXTS)), option::of(any::<bool>()))
        .prop_map(|(feature, state, note, checks)| What::MoveMerge { feature, state, note, checks });
    let policies = option::weighted(0.3, vec(one(TYPES), 0..3));
    let triggers = select(vec![Trigger::Task, Trigger::Branch, Trigger::MergeQueue, Trigger::Webhook]);
    let submit_changeset = (one(FINGERPRINTS), triggers, option::weighted(0.3, feature()), policies).prop_map(
        |(revision, trigger, feature, policies)| What::SubmitChangeset { revision, trigger, feature, policies },
    );
    let executor = || select(vec![Executor::Inline, Executor::Command, Executor::Github, Executor::Human]);
    let planned_run = (0_u8..3, executor(), any::<bool>(), option::of(one(FINGERPRINTS)));
    let plan_changeset = (0_u8..3, vec(planned_run, 0..5), option::weighted(0.1, one(TEXTS)))
        .prop_map(|(changeset, runs, trouble)| What::PlanChangeset { changeset, runs, trouble });
    let claim_run = (option::weighted(0.3, 0_u8..3), vec(executor(), 1..3), ttl())
        .prop_map(|(changeset, executors, lease)| What::ClaimRun { changeset, executors, lease });
    let run_token = || prop_oneof![6 => Just(0_i64), 1 => -1_i64..2];
    let renew_run = (0_u8..3, run_token(), ttl(), option::of(one(FINGERPRINTS)))
        .prop_map(|(run, token, lease, key)| What::RenewRun { run, token, lease, key });
    let verdict = prop_oneof![
        6 => Just(RunVerdict::Passed),
        1 => Just(RunVerdict::Failed),
        1 => Just(RunVerdict::Errored),
        1 => Just(RunVerdict::TimedOut),
        1 => Just(RunVerdict::Cancelled),
        2 => Just(RunVerdict::Accepted),
    ];
    let report_run = (0_u8..3, run_token(), verdict, option::of(one(TEXTS)))
        .prop_map(|(run, token, verdict, text)| What::ReportRun { run, token, verdict, text });
    prop_oneof![
        5 => submit_changeset,
        6 => plan_changeset,
        8 => claim_run,
        4 => renew_run,
        8 => report_run,
        5 => register_feature,
        2 => deregister_feature,
        4 => enqueue_merge,
        7 => move_merge,
        1 => feature().prop_map(|feature| What::RemoveMerge { feature }),
        5 => request_approval,
        5 => decide_approval,
        2 => Just(What::UseApproval),
        6 => remember,
        2 => note,
        2 => skill_use,
        14 => acquire,
        5 => (keys(), token()).prop_map(|(keys, token)| What::Release { keys, token }),
        8 => submit,
        9 => (option::weighted(0.3, vec(one(TYPES), 0..3)), ttl(), any::<bool>())
            .prop_map(|(types, lease, waits)| What::Claim { types, lease, waits }),
        6 => complete,
        2 => (task_ref(), one(TEXTS)).prop_map(|(task, reason)| What::Cancel { task, reason }),
        2 => task_ref().prop_map(What::Finish),
        5 => (vec(one(CAPABILITIES), 0..3), ttl()).prop_map(|(capabilities, ttl)| What::Register { capabilities, ttl }),
        3 => Just(What::Heartbeat),
        1 => Just(What::EndSession),
        4 => message,
        2 => (0_u32..4).prop_map(What::ReadMessages),
        1 => select(vec![0, 1, 60, 900]).prop_map(|silent| What::Cleanup { silent }),
        3 => write_handoff,
        5 => allocate_ports,
        2 => one(SESSIONS).prop_map(|session| What::ReleasePorts { session }),
        3 => put_rule,
        3 => put_github,
        1 => (0_u8..4).prop_map(What::CreateKey),
        1 => (0_u8..4).prop_map(What::RevokeKey),
        1 => (one(TEXTS), option::of(any::<u16>()), any::<bool>())
            .prop_map(|(domain, port, allowed)| What::CheckNetwork { domain, port, allowed }),
        1 => (0_u8..4).prop_map(What::NoteKeyUse),
        1 => (0_i64..40).prop_map(What::PruneAudit),
        1 => one(TEXTS).prop_map(What::Refuse),
    ]
}
