//! What the hooks of one session remember from one event to the next.
//!
//! Each hook is a process of its own, several may run at once, and any may be killed. So there is a log, to which each
//! appends whole lines in one write, and which the next one reads again from its beginning. A line that was cut off is no
//! line. Once most of its lines say nothing any more it is replaced by one of those that do: those who append hold a shared
//! lock on the file, and whoever replaces it an exclusive one. It is local to the machine: what is in it is about the files
//! that are on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coordinator::local_sessions::LOG;
use serde::{Deserialize, Serialize};

use crate::fingerprint::{self, Fingerprint};

/// An edit that was begun is over after so long, in milliseconds, whatever became of it.
const EDIT_TAKES: u64 = 60_000;

/// A log of no more lines is left as it is.
const SHORT: usize = 128;

/// Something to remember.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Line {
    /// The agent knows the file as it is now; nothing where there is none.
    Knows {
        /// Which.
        p: PathBuf,
        /// As what.
        f: Option<Fingerprint>,
    },
    /// The agent has changed the file.
    Wrote {
        /// Which.
        p: PathBuf,
        /// To what; nothing where it is gone.
        f: Option<Fingerprint>,
        /// When.
        at: u64,
    },
    /// A command of the agent's has changed the file, of which the agent knows nothing.
    Changed {
        /// Which.
        p: PathBuf,
        /// When.
        at: u64,
    },
    /// The agent may change the file now.
    Edits {
        /// Which.
        p: PathBuf,
        /// From when on.
        at: u64,
    },
    /// We hold this in the session's name.
    Leased {
        /// The lock key.
        key: String,
    },
    /// What we held is given back.
    Released,
    /// The agent was denied this and has a use for it.
    Wants {
        /// The lock key.
        key: String,
        /// Who held it.
        by: String,
    },
    /// It need not be told of that any more.
    WantsNot {
        /// The lock key.
        key: String,
    },
    /// The agent was told this, and once is enough.
    Told {
        /// A name for it.
        what: String,
    },
    /// It may be told again.
    Untold {
        /// A name for it.
        what: String,
    },
    /// Something that is done from time to time was done.
    Did {
        /// What.
        what: String,
        /// When.
        at: u64,
    },
    /// How far the agent is trusted, as its profile says.
    Trusted {
        /// 0 to 4.
        level: u8,
    },
    /// What the user asked for.
    Asked {
        /// In short.
        text: String,
    },
    /// A handoff tells of everything until now.
    HandedOver {
        /// When.
        at: u64,
    },
}

/// What follows from the lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notes {
    files: HashMap<PathBuf, Known>,
    /// What the agent changed, and when last.
    pub changed: BTreeMap<PathBuf, u64>,
    /// The lock keys that we took for it.
    pub leased: BTreeSet<String>,
    /// The lock keys that it was denied, and who held them.
    pub wanted: BTreeMap<String, String>,
    /// What the user asked for last.
    pub asked: Option<String>,
    /// When the last handoff was written.
    pub handed_over: u64,
    /// How far it is trusted, once the coordinator was asked.
    pub trusted: Option<u8>,
    told: BTreeSet<String>,
    did: HashMap<String, u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    print: Option<Option<Fingerprint>>,
    /// The agent may be at it since.
    edits_since: Option<u64>,
}

impl Notes {
    fn take_in(&mut self, line: Line) {
        match line {
            Line::Knows { p, f } => *self.files.entry(p).or_default() = Known { print: Some(f), edits_since: None },
            Line::Wrote { p, f, at } => {
                self.changed.insert(p.clone(), at);
                *self.files.entry(p).or_default() = Known { print: Some(f), edits_since: None };
            }
            Line::Changed { p, at } => {
                self.changed.insert(p, at);
            }
            Line::Edits { p, at } => self.files.entry(p).or_default().edits_since = Some(at),
            Line::Leased { key } => {
                self.wanted.remove(&key);
                self.leased.insert(key);
            }
            Line::Released => self.leased.clear(),
            Line::Wants { key, by } => {
                self.wanted.insert(key, by);
            }
            Line::WantsNot { key } => {
                self.wanted.remove(&key);
            }
            Line::Told { what } => {
                self.told.insert(what);
            }
            Line::Untold { what } => {
                self.told.remove(&what);
            }
            Line::Did { what, at } => {
                self.did.insert(what, at);
            }
            Line::Trusted { level } => self.trusted = Some(level),
            Line::Asked { text } => self.asked = Some(text),
            Line::HandedOver { at } => self.handed_over = at,
        }
    }

    /// The lines from which the same follows, and no more than are needed.
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![];
        for (p, Known { print, edits_since }) in &self.files {
            lines.extend(print.clone().map(|f| Line::Knows { p: p.clone(), f }));
            lines.extend(edits_since.map(|at| Line::Edits { p: p.clone(), at }));
        }
        lines.extend(self.changed.iter().map(|(p, at)| Line::Changed { p: p.clone(), at: *at }));
        lines.extend(self.leased.iter().map(|key| Line::Leased { key: key.clone() }));
        lines.extend(self.wanted.iter().map(|(key, by)| Line::Wants { key: key.clone(), by: by.clone() }));
        lines.extend(self.told.iter().map(|what| Line::Told { what: what.clone() }));
        lines.extend(self.did.iter().map(|(what, at)| Line::Did { what: what.clone(), at: *at }));
        lines.extend(self.trusted.map(|level| Line::Trusted { level }));
        lines.extend(self.asked.clone().map(|text| Line::Asked { text }));
        lines.extend((self.handed_over > 0).then_some(Line::HandedOver { at: self.handed_over }));
        lines
    }

    /// Does the agent know what was in the file?
    pub fn knows(&self, path: &Path) -> bool {
        self.files.get(path).is_some_and(|known| known.print.is_some())
    }

    /// Was it told already?
    pub fn is_told(&self, what: &str) -> bool {
        self.told.contains(what)
    }

    /// Is it time, `every` so many milliseconds?
    pub fn is_time(&self, what: &str, every: u64, now: u64) -> bool {
        self.did.get(what).is_none_or(|at| now.saturating_sub(*at) >= every)
    }

    /// Does the agent have an out-of-date idea of the file? Not of one that it never saw, or that it may have changed
    /// itself just now.
    pub fn is_stale(&self, path: &Path) -> bool {
        let Some(Known { print: Some(print), edits_since }) = self.files.get(path) else { return false };
        let same = match print {
            Some(print) => fingerprint::is_as(path, print),
            None => fingerprint::outside(path).is_none(),
        };
        if same {
            return false;
        }
        let own = edits_since.zip(fingerprint::outside(path)).is_some_and(|(since, now)| {
            let changed = u64::try_from(now.changed / 1_000_000).unwrap_or_default();
            // Clocks of files tick coarsely.
            (since.saturating_sub(50)..since + EDIT_TAKES).contains(&changed)
        });
        !own
    }

    /// What the agent changed since the last handoff.
    pub fn changed_since_handoff(&self) -> Vec<&Path> {
        let since = self.changed.iter().filter(|(_, at)| **at > self.handed_over);
        since.map(|(path, _)| path.as_path()).collect()
    }
}

/// A session's log.
#[derive(Debug)]
pub struct SessionLog {
    path: PathBuf,
    /// What is in it.
    pub notes: Notes,
    /// How many lines it has, those that are cut off among them.
    length: usize,
}

impl SessionLog {
    /// That of the session with this directory.
    pub fn open(directory: &Path) -> Self {
        let path = directory.join(LOG);
        let (notes, length) = read(&path);
        Self { path, notes, length }
    }

    /// Remembers these. Where that is not possible the next hook knows less; there is nobody to tell.
    pub fn add(&mut self, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        // A line of another process that was killed in the middle ends here.
        let mut text = b"\n".to_vec();
        self.length += lines.len();
        for line in lines {
            text.extend(written(&line));
            self.notes.take_in(line);
        }
        // A session that could not be begun, as when the settings are wrong, is told things once, too.
        let again = |_| self.path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| append_to(&self.path));
        let _ = append_to(&self.path).or_else(again).and_then(|mut file| file.write_all(&text));
        if self.length > SHORT && self.length > 2 * self.notes.lines().len() {
            // A log that stays long serves as well.
            let _ = self.shorten();
        }
    }

    /// Replaces the log by what still counts of it, unless somebody is at it.
    fn shorten(&mut self) -> io::Result<()> {
        let file = append_to_whatever(&self.path)?;
        if file.try_lock().is_err() || !is_at(&file, &self.path) {
            return Ok(());
        }
        let (notes, _) = read(&self.path);
        let lines = notes.lines();
        let shorter = self.path.with_extension("shorter");
        let mut replacement = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&shorter)?;
        replacement.write_all(&lines.iter().flat_map(written).collect::<Vec<u8>>())?;
        std::fs::rename(&shorter, &self.path)?;
        self.length = lines.len();
        Ok(())
    }
}

fn read(path: &Path) -> (Notes, usize) {
    let mut notes = Notes::default();
    let mut length = 0;
    for line in std::fs::read(path).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        length += 1;
        if let Ok(line) = serde_json::from_slice(line) {
            notes.take_in(line);
        }
    }
    (notes, length)
}

fn written(line: &Line) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The file, to be appended to for as long as it is open: nobody replaces it meanwhile.
fn append_to(path: &Path) -> io::Result<File> {
    loop {
        let file = append_to_whatever(path)?;
        // Where files cannot be locked, nobody gets the lock that it takes to replace one.
        if file.lock_shared().is_err() || is_at(&file, path) {
            return Ok(file);
        }
    }
}

fn append_to_whatever(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Is it still the file at this path?
fn is_at(file: &File, path: &Path) -> bool {
    let there = std::fs::metadata(path);
    file.metadata().is_ok_and(|open| there.is_ok_and(|there| open.ino() == there.ino() && open.dev() == there.dev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_hook_adds_the_next_one_reads_whatever_was_cut_off() {
        let temp = tempfile::tempdir().unwrap();
        let mut log = SessionLog::open(temp.path());
        log.add(vec![Line::Asked { text: "one\ntwo".into() }, Line::Leased { key: "a".into() }]);
        let mut file = OpenOptions::new().append(true).open(temp.path().join(LOG)).unwrap();
        file.write_all(b"\n{\"k\":\"asked\",\"te").unwrap();
        log.add(vec![Line::Told { what: "away".into() }]);
        let notes = SessionLog::open(temp.path()).notes;
        assert_eq!(notes.asked.as_deref(), Some("one\ntwo"));
        assert_eq!(notes.leased.len(), 1);
        assert!(notes.is_told("away") && !notes.is_told("other"));
    }

    #[test]
    fn every_kind_of_line_is_read_as_it_was_written() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.rs");
        std::fs::write(&path, "one").unwrap();
        let (p, f, at, key) = (path.clone(), fingerprint::take(&path), 7, "src/a.rs".to_owned());
        for line in [
            Line::Knows { p: p.clone(), f: f.clone() },
            Line::Wrote { p: p.clone(), f, at },
            Line::Changed { p: p.clone(), at },
            Line::Edits { p, at },
            Line::Leased { key: key.clone() },
            Line::Released,
            Line::Wants { key: key.clone(), by: "ann".into() },
            Line::WantsNot { key },
            Line::Told { what: "away".into() },
            Line::Untold { what: "away".into() },
            Line::Did { what: "beat".into(), at },
            Line::Trusted { level: 2 },
            Line::Asked { text: "go".into() },
            Line::HandedOver { at },
        ] {
            let text = serde_json::to_vec(&line).unwrap();
            assert_eq!(serde_json::from_slice::<Line>(&text).unwrap(), line);
        }
        SessionLog::open(temp.path()).add(vec![Line::Knows { p: path.clone(), f: fingerprint::take(&path) }]);
        std::fs::write(&path, "two!").unwrap();
        assert!(SessionLog::open(temp.path()).notes.is_stale(&path), "the next hook knows what this one saw");
    }

    #[test]
    fn a_long_log_is_replaced_by_what_still_counts_and_nobody_s_line_is_lost() {
        let temp = tempfile::tempdir().unwrap();
        let (hooks, each) = (8, 2 * SHORT);
        std::thread::scope(|scope| {
            for hook in 0..hooks {
                let directory = temp.path();
                scope.spawn(move || {
                    for at in 0..each as u64 {
                        SessionLog::open(directory).add(vec![
                            Line::Did { what: format!("beat {hook}"), at },
                            Line::Wrote { p: format!("{hook}/{}", at / 64).into(), f: None, at },
                        ]);
                    }
                });
            }
        });
        let mut log = SessionLog::open(temp.path());
        let last = each as u64 - 1;
        for hook in 0..hooks {
            assert!(!log.notes.is_time(&format!("beat {hook}"), 1, last), "the last line of hook {hook}");
            assert_eq!(log.notes.changed[Path::new(&format!("{hook}/{}", last / 64))], last);
        }
        let before = log.notes.clone();
        log.shorten().unwrap();
        assert_eq!(SessionLog::open(temp.path()).notes, before);
        assert!(log.length < 2 * SHORT, "{} lines are left of {}", log.length, 2 * hooks * each);
    }

    #[test]
    fn stale_is_what_changed_by_another_hand_since_it_was_read_or_written() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.rs");
        let mut log = SessionLog::open(temp.path());
        std::fs::write(&path, "one").unwrap();
        assert!(!log.notes.is_stale(&path), "never seen");
        log.add(vec![Line::Knows { p: path.clone(), f: fingerprint::take(&path) }]);
        assert!(!log.notes.is_stale(&path));
        std::fs::write(&path, "two!").unwrap();
        assert!(log.notes.is_stale(&path), "another's hand");
        log.add(vec![Line::Knows { p: path.clone(), f: fingerprint::take(&path) }]);
        assert!(!log.notes.is_stale(&path), "read again");
        std::fs::remove_file(&path).unwrap();
        assert!(log.notes.is_stale(&path), "gone");
        log.add(vec![Line::Knows { p: path.clone(), f: None }]);
        assert!(!log.notes.is_stale(&path), "known to be gone");
        std::fs::write(&path, "three").unwrap();
        assert!(log.notes.is_stale(&path), "come back");
    }

    #[test]
    fn an_edit_of_one_s_own_whose_end_was_not_told_is_no_other_hand() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.rs");
        std::fs::write(&path, "one").unwrap();
        let now = fingerprint::outside(&path).unwrap().changed as u64 / 1_000_000;
        let mut log = SessionLog::open(temp.path());
        log.add(vec![
            Line::Knows { p: path.clone(), f: fingerprint::take(&path) },
            Line::Edits { p: path.clone(), at: now },
        ]);
        std::fs::write(&path, "my own").unwrap();
        assert!(!log.notes.is_stale(&path));
        log.add(vec![Line::Edits { p: path.clone(), at: now - 2 * EDIT_TAKES }]);
        assert!(log.notes.is_stale(&path), "long after it");
    }

    #[test]
    fn what_changed_since_a_handoff_is_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let mut log = SessionLog::open(temp.path());
        let wrote = |path: &str, at| Line::Wrote { p: path.into(), f: None, at };
        log.add(vec![wrote("a", 5), wrote("b", 6), Line::HandedOver { at: 5 }]);
        assert_eq!(log.notes.changed_since_handoff(), [Path::new("b")]);
    }
}
