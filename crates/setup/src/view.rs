//! The file system as a plan sees it. A plan only looks; [`Disk`] is the real one.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// What is at a path. Links are shown, not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    File {
        /// What is in it.
        bytes: Vec<u8>,
        /// Its permissions.
        mode: u32,
    },
    /// A directory.
    Directory {
        /// Its permissions.
        mode: u32,
    },
    /// A symbolic link to this.
    Link(PathBuf),
    /// Something that is there and cannot be used, and why.
    Unusable(String),
}

/// Something to look at files with.
pub trait View {
    /// What is there.
    fn look(&self, path: &Path) -> Found;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

/// No configuration of an agent is as long.
const LIMIT: u64 = 64 * 1024 * 1024;

impl View for Disk {
    fn look(&self, path: &Path) -> Found {
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Found::Nothing;
            }
            Err(error) => return Found::Unusable(error.to_string()),
        };
        let mode = metadata.permissions().mode() & 0o7777;
        let found = if metadata.is_symlink() {
            path.read_link().map(Found::Link)
        } else if metadata.is_dir() {
            Ok(Found::Directory { mode })
        } else if !metadata.is_file() {
            return Found::Unusable("it is no ordinary file".into());
        } else if metadata.len() > LIMIT {
            return Found::Unusable(format!("it is longer than {} MiB", LIMIT >> 20));
        } else {
            std::fs::read(path).map(|bytes| Found::File { bytes, mode })
        };
        found.unwrap_or_else(|error| Found::Unusable(error.to_string()))
    }
}

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// Where a path leads when every link in it is followed; what is not there yet is taken as it is spelled.
///
/// # Errors
/// A sentence, when links go in a circle or lead to nothing.
pub fn resolve(view: &dyn View, path: &Path) -> Result<PathBuf, String> {
    let mut links = 0;
    let mut todo: Vec<PathBuf> = vec![path.to_owned()];
    let mut real = PathBuf::new();
    while let Some(next) = todo.pop() {
        let mut components = next.components();
        let Some(first) = components.next() else { continue };
        let rest = components.as_path().to_owned();
        if !rest.as_os_str().is_empty() {
            todo.push(rest);
        }
        match first {
            Component::Normal(name) => {
                let step = real.join(name);
                match view.look(&step) {
                    Found::Link(target) => {
                        links += 1;
                        if links > MOST_LINKS {
                            return Err("its symbolic links go in a circle".into());
                        }
                        let is_last = todo.is_empty();
                        let led = real.join(&target);
                        if is_last && view.look(&led) == Found::Nothing {
                            return Err(format!("it is a symbolic link to {}, where nothing is", target.display()));
                        }
                        todo.push(target);
                    }
                    _ => real = step,
                }
            }
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir => {}
            root => real = PathBuf::from(root.as_os_str()),
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_wherever_they_stand_in_a_path() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        std::fs::write(top.join("real/a"), "").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, top.join(name)).unwrap();
        link("real", "directory");
        link("directory/a", "file");
        link("circle", "circle");
        link("gone", "dangling");
        let real = |name: &str| resolve(&Disk, &top.join(name));
        assert_eq!(real("directory/a"), Ok(top.join("real/a")));
        assert_eq!(real("file"), Ok(top.join("real/a")));
        assert_eq!(real("directory/new/b"), Ok(top.join("real/new/b")));
        assert!(real("circle").unwrap_err().contains("circle"));
        assert!(real("dangling").unwrap_err().contains("nothing"));
    }
}
