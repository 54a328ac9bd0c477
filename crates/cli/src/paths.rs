//! Paths as people type them become lock keys, which begin at the top of the work tree.

use std::path::Path;

/// The key for what was typed in `directory`: as with git, a path begins where one stands.
pub fn key(typed: &str, directory: &Path, worktree: Option<&Path>) -> String {
    let Some(worktree) = worktree else { return typed.to_owned() };
    let path = Path::new(typed);
    if path.is_absolute() {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        return match path.strip_prefix(worktree).or_else(|_| real.strip_prefix(worktree)) {
            Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
            Ok(inside) => inside.to_string_lossy().into_owned(),
            // Not of this repository: the operation says so.
            Err(_) => typed.to_owned(),
        };
    }
    match directory.strip_prefix(worktree) {
        Ok(here) if !here.as_os_str().is_empty() && !is_logical(typed) && !typed.is_empty() => {
            format!("{}/{typed}", here.to_string_lossy())
        }
        _ => typed.to_owned(),
    }
}

/// Is it `word:...`, which is no path?
fn is_logical(typed: &str) -> bool {
    typed.split_once(':').is_some_and(|(word, _)| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-+.".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_where_one_stands() {
        let key = |typed, directory| key(typed, Path::new(directory), Some(Path::new("/repo")));
        assert_eq!(key("a.py", "/repo"), "a.py");
        assert_eq!(key("a.py", "/repo/src"), "src/a.py");
        assert_eq!(key("../b.py", "/repo/src"), "src/../b.py");
        assert_eq!(key("db:users", "/repo/src"), "db:users");
        assert_eq!(key("/repo/src/a.py", "/repo/docs"), "src/a.py");
        assert_eq!(key("/repo", "/repo"), ".");
        assert_eq!(key("/etc/passwd", "/repo"), "/etc/passwd");
    }
}
