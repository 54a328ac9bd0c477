//! Carries out what was planned: one file at a time, each as a whole or not at all, and never without a record of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::plan::{Edit, Problem};
use crate::record::Record;
use crate::undo::Undo;
use crate::view::{Disk, Found, View};

/// A record that nobody else changes meanwhile.
pub struct Journal {
    file: PathBuf,
    /// What was done so far.
    pub record: Record,
    /// Called whenever something is on the disk that was not: a test ends the process there.
    pub after: Box<dyn Fn()>,
    _turn: File,
}

impl Journal {
    /// Opens the record in this file, or begins one.
    ///
    /// # Errors
    /// When it cannot be read or its directory cannot be made.
    pub fn open(file: &Path, root: &Path) -> io::Result<Self> {
        let directory = file.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let turn = File::create(directory.join("lock"))?;
        turn.lock()?;
        let record = Record::load(file)?.unwrap_or_else(|| Record::new(root));
        // Whoever was killed half-way left these.
        for path in record.files.iter().map(|entry| entry.path.as_path()).chain([file]) {
            let _ = fs::remove_file(unfinished(path));
        }
        Ok(Self { file: file.to_owned(), record, after: Box::new(|| {}), _turn: turn })
    }

    /// Makes the changes, and says which of them failed. All of them are in the record before the first is made.
    ///
    /// # Errors
    /// When the record cannot be written; then nothing more is done.
    pub fn carry_out(&mut self, edits: &[Edit]) -> io::Result<Vec<Problem>> {
        if edits.is_empty() {
            return Ok(vec![]);
        }
        let before = self.record.clone();
        edits.iter().for_each(|edit| self.record.add(edit));
        self.save()?;
        let mut problems = vec![];
        let mut done = before;
        for edit in edits {
            match write_step_by_step(edit, &self.after) {
                Ok(()) => {
                    done.add(edit);
                    done.settle(edit);
                }
                Err(message) => problems.push(Problem { path: edit.path.clone(), message }),
            }
        }
        self.record = done;
        self.save()?;
        Ok(problems)
    }

    /// Undoes what can be undone, and says what could not. That stays in the record.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn take_back(&mut self, undo: &Undo) -> io::Result<Vec<Problem>> {
        let mut problems = undo.problems.clone();
        for edit in &undo.edits {
            match write_step_by_step(edit, &self.after) {
                Ok(()) => self.forget_directories(&edit.path),
                Err(message) => problems.push(Problem { path: edit.path.clone(), message }),
            }
        }
        undo.already.iter().for_each(|path| self.forget_directories(path));
        self.record.files.retain(|entry| problems.iter().any(|problem| problem.path == entry.path));
        self.save()?;
        Ok(problems)
    }

    /// Removes the directories that were made for a file, as far as nothing is in them.
    fn forget_directories(&self, path: &Path) {
        let made = self.record.files.iter().filter(|entry| entry.path == path);
        for directory in made.flat_map(|entry| entry.directories.iter().rev()) {
            // Not empty: then it is somebody's.
            let _ = fs::remove_dir(directory);
            (self.after)();
        }
    }

    fn save(&self) -> io::Result<()> {
        if self.record.files.is_empty() {
            let removed = fs::remove_file(&self.file);
            (self.after)();
            return removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) });
        }
        let text = serde_json::to_vec_pretty(&self.record)?;
        // Settings may hold secrets.
        replace(&self.file, &text, 0o600, &self.after)
    }
}

/// Makes a change that nobody keeps a record of, unless the file is not as it was when that was planned.
///
/// # Errors
/// A sentence that says why it cannot be made.
pub fn write(edit: &Edit) -> Result<(), String> {
    write_step_by_step(edit, &|| {})
}

fn write_step_by_step(edit: &Edit, after: &dyn Fn()) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let (now, mode) = match Disk.look(&edit.path) {
        Found::Nothing => (None, edit.mode.unwrap_or(0o644)),
        Found::File { bytes, mode } => (Some(bytes), mode),
        _ => return Err("somebody put something else in its place meanwhile".into()),
    };
    if now != edit.before {
        return Err("somebody changed it meanwhile; run this again".into());
    }
    let Some(text) = &edit.after else {
        fs::remove_file(&edit.path).map_err(said)?;
        after();
        return Ok(());
    };
    for directory in &edit.directories {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(said(error)),
            _ => after(),
        }
    }
    replace(&edit.path, text, mode, after).map_err(|error| {
        // Whoever could not get a file needs no directory for it.
        edit.directories.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
        said(error)
    })
}

/// Where a file is written until it is whole: a name that whoever comes after a kill finds again.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(".coordinator-unfinished-");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Puts these bytes into a file at once: whoever reads it sees all of them, or what was there before.
fn replace(path: &Path, bytes: &[u8], mode: u32, after: &dyn Fn()) -> io::Result<()> {
    let unfinished = unfinished(path);
    let written = write_whole(&unfinished, path, bytes, mode);
    after();
    let placed = written.and_then(|()| fs::rename(&unfinished, path));
    if placed.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    after();
    placed?;
    // The name is as durable as the bytes only when the directory is, too.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// A file with these bytes, of the same owner as the one that it is to replace.
fn write_whole(unfinished: &Path, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What a kill left behind may have other permissions, or be a link by now.
    let _ = fs::remove_file(unfinished);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(unfinished)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Ok(there) = path.metadata() {
        let ours = file.metadata()?;
        if (there.uid(), there.gid()) != (ours.uid(), ours.gid()) {
            std::os::unix::fs::fchown(&file, Some(there.uid()), Some(there.gid()))?;
        }
    }
    file.sync_all()
}
