//! The one list of operations. Tools, routes, the OpenAPI document and `coordinator call` are derived from it.

use std::sync::LazyLock;

use crate::operation::Entry;
use crate::{
    approvals, audit, features, guardrails, handoffs, help, locks, memories, merge_queue, messages, network, policies,
    ports, profiles, radar, rulebook, sessions, skills, verification, work, working_memory,
};

static OPERATIONS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    vec![
        // What an agent begins with comes first; and some clients try the first tool without arguments, to see whether it
        // answers.
        Entry::of::<handoffs::ReadHandoff>(),
        Entry::of::<handoffs::WriteHandoff>(),
        Entry::of::<locks::AcquireLock>(),
        Entry::of::<locks::ReleaseLock>(),
        Entry::of::<locks::CheckLocks>(),
        Entry::of::<locks::LockStatus>(),
        Entry::of::<work::SubmitWork>(),
        Entry::of::<work::GetWork>(),
        Entry::of::<work::CompleteWork>(),
        Entry::of::<work::GetTask>(),
        Entry::of::<work::ListTasks>(),
        Entry::of::<work::CancelTask>(),
        Entry::of::<sessions::RegisterSession>(),
        Entry::of::<sessions::Heartbeat>(),
        Entry::of::<sessions::DiscoverAgents>(),
        Entry::of::<sessions::CleanupDeadAgents>(),
        Entry::of::<sessions::EndSession>(),
        Entry::of::<messages::SendMessage>(),
        Entry::of::<messages::ReadMessages>(),
        Entry::of::<messages::ListMessages>(),
        Entry::of::<radar::operation::BranchConflicts>(),
        Entry::of::<ports::AllocatePorts>(),
        Entry::of::<ports::ReleasePorts>(),
        Entry::of::<ports::PortsStatus>(),
        Entry::of::<memories::RememberMemory>(),
        Entry::of::<memories::Recall>(),
        Entry::of::<working_memory::UpdateNotes>(),
        Entry::of::<working_memory::GetNotes>(),
        Entry::of::<skills::RecordSkillUse>(),
        Entry::of::<skills::RecallSkills>(),
        Entry::of::<features::RegisterFeature>(),
        Entry::of::<features::DeregisterFeature>(),
        Entry::of::<features::GetFeature>(),
        Entry::of::<features::ListActiveFeatures>(),
        Entry::of::<features::AnalyzeFeatureConflicts>(),
        Entry::of::<features::branches::FeatureDrift>(),
        Entry::of::<merge_queue::EnqueueMerge>(),
        Entry::of::<merge_queue::GetMergeQueue>(),
        Entry::of::<merge_queue::GetNextMerge>(),
        Entry::of::<merge_queue::RunPreMergeChecks>(),
        Entry::of::<merge_queue::MarkMerged>(),
        Entry::of::<merge_queue::SetMergeState>(),
        Entry::of::<merge_queue::RemoveFromMergeQueue>(),
        Entry::of::<verification::SubmitChangeset>(),
        Entry::of::<verification::GetChangeset>(),
        Entry::of::<verification::ListChangesets>(),
        Entry::of::<verification::VerificationMetrics>(),
        Entry::of::<verification::policies::ListVerificationPolicies>(),
        Entry::of::<verification::policies::PutVerificationPolicy>(),
        Entry::of::<verification::runs::PlanVerification>(),
        Entry::of::<verification::runs::ClaimVerification>(),
        Entry::of::<verification::runs::RenewVerification>(),
        Entry::of::<verification::runs::ReportVerification>(),
        Entry::of::<verification::runs::AgentWebhook>(),
        Entry::of::<network::CheckNetwork>(),
        Entry::of::<network::ListNetworkRules>(),
        Entry::of::<network::ChangeNetworkRules>(),
        Entry::of::<audit::QueryAudit>(),
        Entry::of::<guardrails::CheckGuardrails>(),
        Entry::of::<guardrails::ListGuardrails>(),
        Entry::of::<guardrails::PutGuardrails>(),
        Entry::of::<approvals::RequestApproval>(),
        Entry::of::<approvals::GetApproval>(),
        Entry::of::<approvals::ListApprovals>(),
        Entry::of::<approvals::DecideApproval>(),
        Entry::of::<audit::operations::VerifyAudit>(),
        Entry::of::<audit::operations::CheckpointAudit>(),
        Entry::of::<audit::operations::ProveAudit>(),
        Entry::of::<audit::operations::ExportAudit>(),
        Entry::of::<profiles::GetMyProfile>(),
        Entry::of::<profiles::ListProfiles>(),
        Entry::of::<profiles::PutProfile>(),
        Entry::of::<profiles::AssignProfile>(),
        Entry::of::<policies::CheckPolicy>(),
        Entry::of::<policies::ValidateCedarPolicy>(),
        Entry::of::<policies::ListPolicies>(),
        Entry::of::<policies::PutPolicy>(),
        Entry::of::<policies::ReplayPolicy>(),
        Entry::of::<rulebook::RuleHistory>(),
        Entry::of::<rulebook::RollBackRule>(),
        Entry::of::<help::Help>(),
    ]
});

/// All operations.
pub fn operations() -> &'static [Entry] {
    &OPERATIONS
}

/// What policies know of the operations.
pub fn actions() -> Vec<policy::Action> {
    OPERATIONS.iter().map(|entry| entry.action).collect()
}

/// The operation of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    OPERATIONS.iter().find(|entry| entry.name == name)
}

/// Which tools a client is shown. It may call the others too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolSet {
    /// Those that most agents need: each costs an agent context, whether it is used or not.
    Core,
    /// Every operation that is a tool, but for those that mostly people call.
    All,
}

/// The operations that are listed as tools.
pub fn tools(set: ToolSet) -> impl Iterator<Item = &'static Entry> {
    OPERATIONS.iter().filter(move |entry| entry.is_tool && entry.is_listed && (set == ToolSet::All || entry.is_core))
}
