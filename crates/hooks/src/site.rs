//! Where a path leads: which file it is, and by which lock key everybody knows it.

use std::path::{Component, Path, PathBuf};

use coordinator::repository::Repository;
use model::key::LockKey;

/// The work tree that an agent is in.
#[derive(Debug, Clone)]
pub struct Site {
    /// The repository, as seen from there.
    pub repository: Repository,
}

/// A file of the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Its lock key: the same in every work tree of the repository.
    pub key: LockKey,
}

impl Site {
    /// Around this directory, if it is in a repository.
    pub fn around(directory: &Path) -> Option<Self> {
        Repository::around(directory).map(|repository| Self { repository })
    }

    /// The file that a path, as seen from a directory, leads to; nothing for what is not of this repository, or git's own.
    pub fn place(&self, directory: &Path, typed: &str) -> Option<Place> {
        self.place_of(directory, typed, &escaped)
    }

    /// The same for a pattern of paths.
    pub fn pattern(&self, directory: &Path, typed: &str) -> Option<Place> {
        self.place_of(directory, typed, &|text| text.to_owned())
    }

    fn place_of(&self, directory: &Path, typed: &str, spelled: &dyn Fn(&str) -> String) -> Option<Place> {
        let path = real(&directory.join(typed));
        let inside = match path.strip_prefix(&self.repository.worktree) {
            Ok(inside) => inside.to_owned(),
            // It may be in another work tree of the same repository: its files are known by the same names.
            Err(_) => {
                let there = Repository::around(path.ancestors().skip(1).find(|directory| directory.is_dir())?)?;
                if there.common_dir != self.repository.common_dir {
                    return None;
                }
                path.strip_prefix(&there.worktree).ok()?.to_owned()
            }
        };
        let is_git_s = inside.components().next().is_some_and(|first| first.as_os_str() == ".git");
        if is_git_s || path.starts_with(&self.repository.common_dir) {
            return None;
        }
        let text = inside.to_str()?;
        let key = if text.is_empty() { ".".to_owned() } else { spelled(text) };
        Some(Place { path, key: LockKey::parse(&key).ok()? })
    }
}

/// A path that no part of looks like the prefix of a logical key.
fn escaped(text: &str) -> String {
    if text.contains(':') { format!("./{text}") } else { text.to_owned() }
}

/// The path without `.`, `..` and links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    let known = plain.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    match known {
        Some((there, real)) => match plain.strip_prefix(there) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => plain.clone(),
        },
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_a_file_leads_to_one_key() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap().join("repo");
        std::fs::create_dir_all(top.join("src/deep")).unwrap();
        std::fs::create_dir_all(top.join(".git")).unwrap();
        std::fs::write(top.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        std::fs::write(top.join("src/a.rs"), "a").unwrap();
        std::os::unix::fs::symlink(top.join("src/a.rs"), top.join("link.rs")).unwrap();
        let site = Site::around(&top.join("src/deep")).unwrap();
        let key = |directory: &Path, typed: &str| site.place(directory, typed).map(|place| place.key.to_string());
        let a = Some("src/a.rs".to_owned());
        assert_eq!(key(&top, "src/a.rs"), a);
        assert_eq!(key(&top.join("src/deep"), "../a.rs"), a);
        assert_eq!(key(Path::new("/"), top.join("src/./a.rs").to_str().unwrap()), a);
        assert_eq!(key(&top, "link.rs"), a);
        assert_eq!(key(&top, "new/dir/b.rs").as_deref(), Some("new/dir/b.rs"));
        assert_eq!(key(&top, "."), Some(".".into()).filter(|_| LockKey::parse(".").is_ok()));
        assert_eq!(key(&top, ".git/config"), None);
        assert_eq!(key(&top, "/etc/passwd"), None);
        assert_eq!(key(&top, "../elsewhere"), None);
    }
}
