//! What is sent to a coordinator for each command of the bridge.

use http::Method;
use serde_json::{Value, json};

use super::commands::{Command, Kind, Session, Who};
use super::{Env, UNNAMED_ID, UNNAMED_TYPE};

/// One question to a coordinator.
#[derive(Debug)]
pub struct Question {
    /// The name that the answer has for it.
    pub operation: &'static str,
    /// How it is asked.
    pub method: Method,
    /// Where.
    pub path: String,
    /// With what; not for a GET.
    pub body: Value,
}

impl Command {
    /// The question that it asks; none for `detect`, which asks many.
    pub fn question(self, env: Env<'_>) -> Option<Question> {
        Some(match self {
            Self::Detect => return None,
            Self::Lock { file_path, reason, ttl_minutes, who, kind, session } => {
                let body = json!({"file_path": file_path, "reason": reason, "ttl_minutes": ttl_minutes});
                let question = Question::post("try_lock", "/locks/acquire", body);
                question.by(who, env).of_type(kind).during(session)
            }
            Self::Unlock { file_path, who } => {
                Question::post("try_unlock", "/locks/release", json!({"file_path": file_path})).by(who, env)
            }
            Self::Locks => Question::get("try_check_locks", "/locks".into()),
            Self::Submit {
                task_type,
                task_description,
                input_data,
                priority,
                depends_on,
                feature_id,
                idempotency_key,
                who,
            } => {
                let body = json!({
                    "task_type": task_type, "task_description": task_description, "priority": priority,
                    "depends_on": depends_on, "feature_id": feature_id, "idempotency_key": idempotency_key,
                });
                Question::post("try_submit_work", "/work/submit", body).with("input_data", input_data).by(who, env)
            }
            Self::Get { task_types, who, kind, session } => {
                let question = Question::post("try_get_work", "/work/claim", json!({"task_types": task_types}));
                question.by(who, env).of_type(kind).during(session)
            }
            Self::Complete { task_id, failed, result, error_message, who } => {
                let body = json!({"task_id": task_id, "success": !failed, "error_message": error_message});
                Question::post("try_complete_work", "/work/complete", body).with("result", result).by(who, env)
            }
            Self::Task { task_id } => Question::post("try_get_task", "/work/get", json!({"task_id": task_id})),
            Self::HandoffWrite {
                summary,
                completed_work,
                in_progress,
                decisions,
                next_steps,
                relevant_files,
                feature_id,
                content,
                who,
                session,
            } => {
                let body = json!({
                    "summary": summary, "completed_work": completed_work, "in_progress": in_progress,
                    "decisions": decisions, "next_steps": next_steps, "relevant_files": relevant_files,
                    "feature_id": feature_id,
                });
                let question = Question::post("try_handoff_write", "/handoffs/write", body).with("content", content);
                question.by(who, env).during(session)
            }
            Self::HandoffRead { agent_name, session_id, feature_id, limit, who } => {
                let body = json!({"agent_name": agent_name, "feature_id": feature_id, "limit": limit});
                // Here a session says which handoffs are meant, not who asks.
                let question = Question::post("try_handoff_read", "/handoffs/read", body).by(who, env);
                question.without("session_id").during(Session { session_id })
            }
            Self::Remember { event_type, summary, details, outcome, lessons, tags, who, session } => {
                let body = json!({
                    "event_type": event_type, "summary": summary, "outcome": outcome, "lessons": lessons, "tags": tags,
                });
                let question = Question::post("try_remember", "/memory/store", body).with("details", details);
                question.by(who, env).during(session)
            }
            Self::Recall { task_description, tags, event_type, limit, who } => {
                let body = json!({
                    "task_description": task_description, "tags": tags, "event_type": event_type, "limit": limit,
                });
                Question::post("try_recall", "/memory/query", body).by(who, env)
            }
            Self::Guardrails { operation_text, file_paths, who } => {
                let body = json!({"operation_text": operation_text, "file_paths": file_paths});
                Question::post("try_check_guardrails", "/guardrails/check", body).by(who, env)
            }
            Self::Register { capabilities, current_task, who, kind, session } => {
                let body = json!({"capabilities": capabilities, "current_task": current_task});
                let question = Question::post("try_register", "/agents/register", body);
                question.by(who, env).named("agent_type", kind.agent_type).during(session)
            }
            Self::Heartbeat { who, session } => {
                Question::post("try_heartbeat", "/agents/heartbeat", json!({})).by(who, env).during(session)
            }
            Self::Discover => Question::get("try_discover", "/agents".into()),
            Self::Policy { operation, resource, context, who } => {
                let body = json!({"operation": operation, "resource": resource});
                Question::post("try_check_policy", "/policy/check", body).with("context", context).by(who, env)
            }
            Self::Audit { limit } => {
                let query = limit.map(|limit| format!("?limit={limit}")).unwrap_or_default();
                Question::get("try_query_audit", format!("/audit{query}"))
            }
        })
    }
}

impl Question {
    /// Asked with a body, of which what says nothing is left out.
    fn post(operation: &'static str, path: &str, mut body: Value) -> Self {
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty()));
        }
        Self { operation, method: Method::POST, path: path.to_owned(), body }
    }

    fn get(operation: &'static str, path: String) -> Self {
        Self { operation, method: Method::GET, path, body: Value::Null }
    }

    /// With JSON of the asker's own, in which an empty list says something.
    fn with(mut self, field: &str, value: Option<Value>) -> Self {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            self.body[field] = value;
        }
        self
    }

    fn without(mut self, field: &str) -> Self {
        if let Some(fields) = self.body.as_object_mut() {
            fields.remove(field);
        }
        self
    }

    /// On behalf of this agent, and of what else the environment says of it.
    fn by(self, who: Who, env: Env<'_>) -> Self {
        let usual = env("AGENT_ID").unwrap_or_else(|| UNNAMED_ID.to_owned());
        let named = self.named("agent_id", Some(usual)).named("agent_id", who.agent_id);
        named.named("agent_type", env("AGENT_TYPE")).named("session_id", env("SESSION_ID"))
    }

    /// Of this type, where it must be named.
    fn of_type(self, kind: Kind) -> Self {
        let usual = self.body.get("agent_type").is_none().then(|| UNNAMED_TYPE.to_owned());
        self.named("agent_type", usual).named("agent_type", kind.agent_type)
    }

    fn during(self, session: Session) -> Self {
        self.named("session_id", session.session_id)
    }

    fn named(mut self, field: &str, name: Option<String>) -> Self {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.body[field] = name.into();
        }
        self
    }
}
