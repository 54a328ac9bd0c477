//! What the steps of the work say in the audit trail: the same on each engine.
//!
//! `$PATH`, `$TASK` and `$TOKEN` stand for what is another each time.

/// The operation, what was asked and what came of it.
pub struct AuditRow {
    pub operation: &'static str,
    pub asked: &'static str,
    pub result: &'static str,
}

pub const ACQUIRED: AuditRow = AuditRow {
    operation: "acquire_lock",
    asked: r#"{"agent_id":"agent-1","agent_type":"bench","file_path":"$PATH"}"#,
    result: r#"{"grants":[{"expires_at":"2026-01-01T00:30:00.000000Z","fencing_token":$TOKEN,"key":{"pattern":"$PATH","space":"path","text":"$PATH","wild":false},"refreshed":false}],"kind":"acquired"}"#,
};
pub const RELEASED: AuditRow = AuditRow {
    operation: "release_lock",
    asked: r#"{"agent_id":"agent-1","agent_type":"bench","file_path":"$PATH"}"#,
    result: r#"{"kind":"released","missing":[],"released":[{"pattern":"$PATH","space":"path","text":"$PATH","wild":false}]}"#,
};
pub const SUBMITTED: AuditRow = AuditRow {
    operation: "submit_work",
    asked: r#"{"description":"Refactor a module","task_type":"refactor"}"#,
    result: r#"{"kind":"submitted","repeated":false,"task_id":"$TASK"}"#,
};
pub const CLAIMED: AuditRow = AuditRow {
    operation: "get_work",
    asked: r#"{"agent_id":"agent-1","agent_type":"bench"}"#,
    result: r#"{"attempt":1,"fencing_token":$TOKEN,"kind":"claimed","task_id":"$TASK"}"#,
};
pub const COMPLETED: AuditRow = AuditRow {
    operation: "complete_work",
    asked: r#"{"agent_id":"agent-1","agent_type":"bench","success":true,"task_id":"$TASK"}"#,
    result: r#"{"failed_dependents":[],"kind":"ended","retry_at":null,"status":"completed","task_id":"$TASK"}"#,
};

/// As large as the chain's hash of a row, which is one of the rules that are left out.
pub const HASH: [u8; 32] = [0xa5; 32];
/// As large as the digest of a submission.
pub const FINGERPRINT: &str = "0000000000000000000000000000000000000000000000000000000000000000";
