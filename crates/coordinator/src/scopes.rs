//! What a key may be used for: operations by their names, groups of them, or whatever only reads.
//!
//! A group is called by the first word of its operations' paths (`locks`, `work`, `memory`), so that a new operation is in
//! one by itself.

use std::collections::BTreeSet;

use crate::identity::Principal;
use crate::operation::{Access, Entry};
use crate::registry;

/// Every operation that changes nothing, and the events.
pub const READ: &str = "read";

/// The group that the operation is in.
pub fn group(entry: &Entry) -> &'static str {
    let path = entry.routes.first().map_or("", |route| route.path);
    match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        // The tasks' own pages are older than the other paths.
        "api" => "work",
        "handoff" => "handoffs",
        word => word,
    }
}

/// Is there such a scope?
///
/// # Errors
/// A sentence that says which there are.
pub fn check(scope: &str) -> Result<(), String> {
    let operations = registry::operations();
    if scope == READ || operations.iter().any(|entry| entry.name == scope || group(entry) == scope) {
        return Ok(());
    }
    let groups: BTreeSet<&str> = operations.iter().map(group).collect();
    let groups: Vec<&str> = groups.into_iter().collect();
    Err(format!("there is no scope {scope:?}: take {READ}, one of {}, or the name of an operation", groups.join(", ")))
}

impl Principal {
    /// May its key be used for this? A key without scopes may be used for everything.
    ///
    /// # Errors
    /// A sentence that says what the key is for and what would be needed.
    pub fn permits(&self, entry: &Entry) -> Result<(), String> {
        let is_for = |scope: &String| match scope.as_str() {
            READ => entry.access != Access::Write,
            scope => scope == entry.name || scope == group(entry),
        };
        if self.scopes.is_empty() || self.scopes.iter().any(is_for) {
            return Ok(());
        }
        let (has, read) = (self.scopes.join(", "), if entry.access == Access::Write { "" } else { " or read" });
        Err(format!(
            "this key is for {has} only: {} needs a key with the scope {}{read}, or one without scopes \
             (coordinator keys create --scope)",
            entry.name,
            group(entry)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(scopes: &[&str], operation: &str) -> bool {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let entry = registry::find(operation).unwrap();
        Principal { scopes, ..Principal::default() }.permits(entry).is_ok()
    }

    #[test]
    fn a_scope_is_an_operation_a_group_or_all_that_reads() {
        for (scopes, operation, is_permitted) in [
            (&[][..], "acquire_lock", true),
            (&["read"], "acquire_lock", false),
            (&["read"], "check_locks", true),
            (&["read"], "recall", true),
            (&["locks"], "acquire_lock", true),
            (&["locks"], "check_locks", true),
            (&["locks"], "submit_work", false),
            (&["work"], "list_tasks", true),
            (&["work"], "get_task", true),
            (&["memory"], "remember", true),
            (&["handoffs"], "write_handoff", true),
            (&["acquire_lock", "read"], "release_lock", false),
            (&["acquire_lock", "read"], "acquire_lock", true),
        ] {
            assert_eq!(permits(scopes, operation), is_permitted, "{scopes:?} {operation}");
        }
    }

    #[test]
    fn an_unknown_scope_is_told_with_those_there_are() {
        assert!(["read", "locks", "audit", "query_audit"].iter().all(|scope| check(scope).is_ok()));
        let why = check("lock").unwrap_err();
        assert!(why.contains("locks, memory") && why.contains("\"lock\""), "{why}");
    }
}
