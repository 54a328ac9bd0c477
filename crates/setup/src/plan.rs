//! What would be changed, decided without changing anything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::part::{Part, Piece};
use crate::place::Place;
use crate::text::Text;
use crate::view::{Found, View, resolve};

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file itself, with no link on the way to it.
    pub path: PathBuf,
    /// What is in it now; `None` where there is no such file.
    pub before: Option<Vec<u8>>,
    /// What is in it afterwards; `None` where there is no such file then.
    pub after: Option<Vec<u8>>,
    /// The permissions of a file that is made.
    pub mode: Option<u32>,
    /// What it is for.
    pub purposes: Vec<&'static str>,
    /// What of it is ours.
    pub parts: Vec<Part>,
    /// The directories that are made for it, outermost first.
    pub directories: Vec<PathBuf>,
}

/// A file that is left as it is although it should be changed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Why, and what to do about it.
    pub message: String,
}

/// What would be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, by path.
    pub edits: Vec<Edit>,
    /// The files that are already as they must be.
    pub unchanged: Vec<PathBuf>,
    /// What cannot be done.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// Adds changes that were planned elsewhere, as far as they may be made here.
    pub fn adopt_all(&mut self, view: &dyn View, place: &Place, other: Self) {
        other.edits.into_iter().for_each(|edit| self.adopt(view, place, edit));
        self.unchanged.extend(other.unchanged);
        self.problems.extend(other.problems);
    }

    /// Adds a change that was planned elsewhere, if it may be made here.
    pub fn adopt(&mut self, view: &dyn View, place: &Place, mut edit: Edit) {
        let may = reach(view, place, &edit.path).and_then(|real| writable(view, &real).map(|()| real));
        match may {
            Ok(real) => {
                edit.directories = missing_directories(view, &real);
                edit.path = real;
                self.edits.push(edit);
            }
            Err(message) => self.problems.push(Problem { path: edit.path, message }),
        }
    }
}

/// A file being planned.
struct Draft {
    before: Option<Vec<u8>>,
    text: Text,
    purposes: Vec<&'static str>,
    parts: Vec<Part>,
    directories: Vec<PathBuf>,
}

/// Joins the pieces with what is in their files. A file of which one piece cannot be had is left alone altogether.
pub fn plan(view: &dyn View, place: &Place, pieces: &[Piece]) -> Plan {
    let mut drafts: BTreeMap<PathBuf, Draft> = BTreeMap::new();
    let mut failed: BTreeMap<PathBuf, String> = BTreeMap::new();
    let shared = place.root.join(SHARED_INSTRUCTIONS);
    let has_shared = pieces.iter().any(|piece| piece.path == shared);
    for piece in pieces {
        let added = reach(view, place, &piece.path).and_then(|real| {
            let draft = match drafts.entry(real) {
                std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
                std::collections::btree_map::Entry::Vacant(empty) => {
                    let draft = open(view, empty.key())?;
                    empty.insert(draft)
                }
            };
            let is_told = has_shared && piece.path != shared && reads_shared_instructions(&draft.text.body);
            if matches!(piece.part, Part::Block { .. }) && is_told {
                return Ok(());
            }
            let body = piece.part.put(&draft.text.body)?;
            if body != draft.text.body {
                draft.purposes.push(piece.purpose);
            }
            draft.text.body = body;
            if !draft.parts.contains(&piece.part) {
                draft.parts.push(piece.part.clone());
            }
            Ok(())
        });
        if let Err(message) = added {
            failed.entry(piece.path.clone()).or_insert(message);
        }
    }
    let mut plan = Plan::default();
    for (path, draft) in drafts {
        if failed.keys().any(|failed| *failed == path || resolve(view, failed).as_ref() == Ok(&path)) {
            continue;
        }
        let after = draft.text.with_body(&draft.text.body);
        // Nothing was put into it, or it was all there.
        if draft.purposes.is_empty() {
            plan.unchanged.push(path);
            continue;
        }
        if let Err(message) = writable(view, &path) {
            failed.insert(path, message);
            continue;
        }
        let Draft { before, purposes, parts, directories, .. } = draft;
        plan.edits.push(Edit { path, before, after: Some(after), mode: None, purposes, parts, directories });
    }
    plan.problems = failed.into_iter().map(|(path, message)| Problem { path, message }).collect();
    plan
}

/// The instructions that several agents read, and that others' files may take in.
const SHARED_INSTRUCTIONS: &str = "AGENTS.md";

fn reads_shared_instructions(body: &str) -> bool {
    body.lines().any(|line| matches!(line.trim(), "@AGENTS.md" | "@./AGENTS.md"))
}

/// The file that a path leads to.
fn reach(view: &dyn View, place: &Place, path: &Path) -> Result<PathBuf, String> {
    let real = resolve(view, path)?;
    let top = resolve(view, &place.root).unwrap_or_else(|_| place.root.clone());
    if real.starts_with(&top) || place.contains(&real) {
        return Ok(real);
    }
    Err(format!("a symbolic link leads it to {}, out of {}; edit that file yourself", real.display(), top.display()))
}

fn open(view: &dyn View, path: &Path) -> Result<Draft, String> {
    let before = match view.look(path) {
        Found::Nothing => None,
        Found::File { bytes, .. } => Some(bytes),
        Found::Directory { .. } => return Err("it is a directory".into()),
        Found::Link(_) => return Err("it is a symbolic link".into()),
        Found::Unusable(why) => return Err(why),
    };
    let text = Text::read(before.as_deref().unwrap_or_default()).ok_or("it is no UTF-8 text")?;
    let directories = missing_directories(view, path);
    Ok(Draft { before, text, purposes: vec![], parts: vec![], directories })
}

/// The directories that a file needs and that are not there, outermost first.
pub(crate) fn missing_directories(view: &dyn View, path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().skip(1).take_while(|directory| view.look(directory) == Found::Nothing);
    let mut directories: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    directories.reverse();
    directories
}

/// Permissions are heeded even where we could get past them: somebody set them.
pub(crate) fn writable(view: &dyn View, path: &Path) -> Result<(), String> {
    const ANYBODY_WRITES: u32 = 0o222;
    if let Found::File { mode, .. } = view.look(path)
        && mode & ANYBODY_WRITES == 0
    {
        return Err(format!("it is read-only; make it writable (chmod u+w {}) and run this again", path.display()));
    }
    for directory in path.ancestors().skip(1) {
        match view.look(directory) {
            Found::Nothing => {}
            Found::Directory { mode } if mode & ANYBODY_WRITES != 0 => return Ok(()),
            Found::Directory { .. } => {
                let directory = directory.display();
                return Err(format!("its directory {directory} is read-only; make it writable and run this again"));
            }
            _ => return Err(format!("{} is no directory", directory.display())),
        }
    }
    Ok(())
}
