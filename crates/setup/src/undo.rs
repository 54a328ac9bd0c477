//! The way back: what a record says was changed is given back byte for byte, or, where somebody changed it since, only
//! what is ours is taken out.

use std::path::PathBuf;

use crate::plan::{Edit, Problem, writable};
use crate::record::{Entry, Record};
use crate::text::Text;
use crate::view::{Found, View};

/// How a record would be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// The changes that do it.
    pub edits: Vec<Edit>,
    /// The files that need no change, because somebody has undone it.
    pub already: Vec<PathBuf>,
    /// The files that somebody changed since, of which only what is ours goes.
    pub changed: Vec<Changed>,
    /// What cannot be undone.
    pub problems: Vec<Problem>,
}

/// A file that somebody changed after us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub path: PathBuf,
    /// What we left in it.
    pub ours: Vec<u8>,
    /// What is in it now; `None` where it is gone.
    pub theirs: Option<Vec<u8>>,
}

/// Plans how to undo a record.
pub fn undo(view: &dyn View, record: &Record) -> Undo {
    let mut undo = Undo::default();
    // The last first: what was set aside for a file goes after that is as it was.
    for entry in record.files.iter().rev() {
        let path = entry.path.clone();
        let now = match view.look(&path) {
            Found::Nothing => None,
            Found::File { bytes, .. } => Some(bytes),
            Found::Link(_) | Found::Directory { .. } => {
                let message = "somebody put something else in its place since; see to it yourself".into();
                undo.problems.push(Problem { path, message });
                continue;
            }
            Found::Unusable(message) => {
                undo.problems.push(Problem { path, message });
                continue;
            }
        };
        let (before, after) = (entry.bytes_before(), entry.bytes_after());
        if now == before {
            undo.already.push(path);
            continue;
        }
        let target = match &now {
            _ if entry.is_ours(now.as_deref()) => Ok(before),
            None => {
                undo.changed.push(Changed { path, ours: after.unwrap_or_default(), theirs: None });
                continue;
            }
            Some(bytes) => without(entry, bytes),
        };
        match target.and_then(|target| writable(view, &path).map(|()| target)) {
            Ok(target) => {
                if !entry.is_ours(now.as_deref()) {
                    let ours = after.unwrap_or_default();
                    undo.changed.push(Changed { path: path.clone(), ours, theirs: now.clone() });
                }
                if target == now {
                    undo.already.push(path);
                } else {
                    undo.edits.push(edit(entry, now, target));
                }
            }
            Err(message) => undo.problems.push(Problem { path, message }),
        }
    }
    undo
}

fn edit(entry: &Entry, before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Edit {
    Edit {
        path: entry.path.clone(),
        before,
        after,
        mode: None,
        purposes: vec![],
        parts: entry.parts.clone(),
        directories: entry.directories.clone(),
    }
}

/// These bytes without what is ours; `None` when nothing is left of a file that we made.
pub(crate) fn without(entry: &Entry, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let wrong = |why: String| {
        format!("somebody changed it since, and what is ours cannot be taken out: {why}; see to it yourself")
    };
    let text = Text::read(bytes).ok_or_else(|| wrong("it is no UTF-8 text any more".into()))?;
    let before = entry.bytes_before();
    let before = before.as_deref().and_then(Text::read).map(|text| text.body);
    let mut body = text.body.clone();
    for part in entry.parts.iter().rev() {
        body = part.take_out(&body, before.as_deref()).map_err(wrong)?;
    }
    let is_empty = matches!(body.split_whitespace().collect::<String>().as_str(), "" | "{}");
    Ok(if is_empty && entry.before.is_none() { None } else { Some(text.with_body(&body)) })
}
