//! Where a set-up goes: into a project or into a user's own configuration, and what the files there are called.

use std::path::{Path, PathBuf};

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For everybody who works in this work tree.
    Project,
    /// For this user, in every project.
    User,
}

/// A user's home, and where agents keep their configuration if not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homes {
    /// The home directory.
    pub home: PathBuf,
    /// `CLAUDE_CONFIG_DIR`.
    pub claude: Option<PathBuf>,
    /// `CODEX_HOME`.
    pub codex: Option<PathBuf>,
}

/// Where a set-up goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// For whom.
    pub scope: Scope,
    /// The top of the work tree; the home directory for a user's set-up.
    pub root: PathBuf,
    /// The user's directories.
    pub homes: Homes,
    /// How agents start the coordinator: a name on `PATH`, or an absolute path.
    pub program: String,
}

impl Place {
    /// The directory of Claude Code's settings.
    pub fn claude(&self) -> PathBuf {
        match (self.scope, &self.homes.claude) {
            (Scope::User, Some(directory)) => directory.clone(),
            _ => self.root.join(".claude"),
        }
    }

    /// The directory of Codex's settings.
    pub fn codex(&self) -> PathBuf {
        match (self.scope, &self.homes.codex) {
            (Scope::User, Some(directory)) => directory.clone(),
            _ => self.root.join(".codex"),
        }
    }

    /// The directory of Gemini CLI's settings.
    pub fn gemini(&self) -> PathBuf {
        self.root.join(".gemini")
    }

    /// A shell's words that run the coordinator with these arguments.
    pub fn command_line(&self, arguments: &str) -> String {
        format!("{} {arguments}", shell_word(&self.program))
    }

    /// May a set-up in this place change this file? Links may not lead it elsewhere.
    pub fn contains(&self, file: &Path) -> bool {
        let own = [Some(&self.root), self.homes.claude.as_ref(), self.homes.codex.as_ref()];
        let places = if self.scope == Scope::User { &own[..] } else { &own[..1] };
        places.iter().flatten().any(|directory| {
            file.starts_with(directory) || directory.canonicalize().is_ok_and(|real| file.starts_with(real))
        })
    }
}

/// The word as a shell reads it back.
pub fn shell_word(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_program_back() {
        assert_eq!(shell_word("/usr/bin/coordinator"), "/usr/bin/coordinator");
        assert_eq!(shell_word("/my programs/it's"), r"'/my programs/it'\''s'");
    }
}
