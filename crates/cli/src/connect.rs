//! How to connect agents, in words that can be copied: what `serve` prints when it listens.

use serde_json::json;

/// How another process starts this program on the same database and project.
pub struct Program {
    /// The absolute path of this program.
    path: String,
    /// The flags that it needs.
    flags: Vec<String>,
}

impl Program {
    /// This program, started with these flags.
    pub fn new(flags: Vec<String>) -> Self {
        let path = std::env::current_exe().map(|path| path.to_string_lossy().into_owned());
        Self { path: path.unwrap_or_else(|_| "coordinator".into()), flags }
    }

    fn arguments(&self, command: &[&str]) -> Vec<String> {
        self.flags.iter().cloned().chain(command.iter().map(|&word| word.to_owned())).collect()
    }

    /// The command line for a shell.
    pub fn shell(&self, command: &[&str]) -> String {
        let words = std::iter::once(self.path.clone()).chain(self.arguments(command));
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }

    /// The command that makes Claude Code start it.
    pub fn claude_command(&self) -> String {
        format!("claude mcp add coordinator -- {}", self.shell(&["mcp"]))
    }

    /// `.mcp.json`, which Claude Code and others read; Gemini CLI has the same in `.gemini/settings.json`.
    pub fn mcp_json(&self) -> String {
        let (command, args) = (json!(self.path), json!(self.arguments(&["mcp"])));
        format!(r#"{{"mcpServers": {{"coordinator": {{"command": {command}, "args": {args}}}}}}}"#)
    }

    /// The lines for Codex's `config.toml`.
    pub fn codex_toml(&self) -> [String; 3] {
        // A JSON string is a TOML string too, but for characters that no path has.
        let args: Vec<String> = self.arguments(&["mcp"]).iter().map(|word| json!(word).to_string()).collect();
        [
            "[mcp_servers.coordinator]".to_owned(),
            format!("command = {}", json!(self.path)),
            format!("args = [{}]", args.join(", ")),
        ]
    }
}

/// The word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@,".contains(c));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_pasted() {
        let flags = vec!["--project".to_owned(), "it's mine".to_owned()];
        let program = Program { path: "/opt/my tools/coordinator".into(), flags };
        assert_eq!(program.shell(&["mcp"]), r"'/opt/my tools/coordinator' --project 'it'\''s mine' mcp");
        assert_eq!(
            program.codex_toml().join("\n"),
            "[mcp_servers.coordinator]\ncommand = \"/opt/my tools/coordinator\"\nargs = [\"--project\", \"it's mine\", \"mcp\"]"
        );
        let parsed: serde_json::Value = serde_json::from_str(&program.mcp_json()).unwrap();
        assert_eq!(parsed["mcpServers"]["coordinator"]["args"][2], "mcp");
    }
}
