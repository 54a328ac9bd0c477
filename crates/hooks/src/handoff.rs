//! What a session leaves, from what its hooks saw: so that a context that is compressed, or an agent that ends, loses not
//! all. What an agent writes itself is better, and is not written over.

use std::path::Path;

use serde_json::{Value, json};

use crate::deliver::excerpt;
use crate::log::Notes;

/// So many files are named.
const FILES: usize = 50;

/// The handoff; nothing when nothing has changed since the last.
pub fn of(notes: &Notes, worktree: &Path, why: &str, last_words: Option<&str>) -> Option<Value> {
    let changed = notes.changed_since_handoff();
    if changed.is_empty() {
        return None;
    }
    let shown = |path: &Path| path.strip_prefix(worktree).unwrap_or(path).to_string_lossy().into_owned();
    let files: Vec<String> = changed.iter().take(FILES).map(|path| shown(path)).collect();
    let asked = notes.asked.as_deref().map(|asked| format!(" Asked for: {}", excerpt(asked, 300))).unwrap_or_default();
    let said = last_words.map(|said| format!(" Last said: {}", excerpt(said, 600))).unwrap_or_default();
    let wanted: Vec<String> =
        notes.wanted.iter().map(|(key, by)| format!("{key} was held by {by}: see whether it is free")).collect();
    Some(json!({
        "summary": format!("Written by the hooks when {why}; {} files changed.{asked}{said}", changed.len()),
        "completed_work": files.iter().map(|file| format!("changed {file}")).collect::<Vec<_>>(),
        "next_steps": wanted,
        "relevant_files": files,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Line, SessionLog};

    #[test]
    fn it_tells_what_was_changed_and_asked_for() {
        let temp = tempfile::tempdir().unwrap();
        let mut log = SessionLog::open(temp.path());
        assert_eq!(of(&log.notes, Path::new("/r"), "the turn ended", None), None);
        log.add(vec![
            Line::Asked { text: "fix the pool".into() },
            Line::Wrote { p: "/r/src/a.rs".into(), f: None, at: 7 },
            Line::Wants { key: "src/b.rs".into(), by: "bob".into() },
        ]);
        let handoff = of(&log.notes, Path::new("/r"), "the turn ended", Some("done")).unwrap();
        assert_eq!(
            handoff["summary"],
            "Written by the hooks when the turn ended; 1 files changed. Asked for: fix the pool Last said: done"
        );
        assert_eq!(handoff["relevant_files"], json!(["src/a.rs"]));
        assert_eq!(handoff["next_steps"], json!(["src/b.rs was held by bob: see whether it is free"]));
    }
}
