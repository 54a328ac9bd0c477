//! `coordinator init`: on repositories of every kind it sets agents up, can be run again, and is undone to the byte.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use setup::vendor::Agent;
use setup::{Disk, Homes, Place, Scope};

use crate::project::{COORDINATOR, Project, Ran};

/// What is at each path: bytes and permissions, or where a link leads.
type Tree = BTreeMap<PathBuf, (Vec<u8>, u32)>;

/// Everything in the work tree, and in git's directory what may be somebody's: hooks and settings.
fn tree(top: &Path) -> Tree {
    fn walk(directory: &Path, tree: &mut Tree) {
        for entry in directory.read_dir().unwrap().flatten() {
            let path = entry.path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            if ["objects", "coordinator", "logs", "refs", "index"].contains(&name) {
                continue;
            }
            let bytes = if metadata.is_symlink() {
                path.read_link().unwrap().into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                vec![]
            };
            tree.insert(path.clone(), (bytes, metadata.permissions().mode()));
            if metadata.is_dir() {
                walk(&path, tree);
            }
        }
    }
    let mut all = Tree::new();
    walk(top, &mut all);
    all
}

fn write(path: PathBuf, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn place(project: &Project, root: &Path) -> Place {
    let home = project.path.parent().unwrap().to_owned();
    let homes = Homes { home, claude: None, codex: None };
    Place { scope: Scope::Project, root: root.to_owned(), homes, program: COORDINATOR.to_owned() }
}

const ALL: &[&str] = &["init", "--agents", "claude,codex,gemini"];

/// Sets up, sets up again, and undoes it; looks at everything in between.
fn there_and_back(project: &Project, root: &Path) {
    let run = |arguments: &[&str]| Ran::from(project.command_in(root, arguments).output().unwrap());
    let before = tree(project.path.parent().unwrap());
    let shown = run(&["init", "--agents", "claude,codex,gemini", "--dry-run"]).ended_with(0);
    assert_eq!(tree(project.path.parent().unwrap()), before, "a dry run changes nothing");
    assert!(shown.stdout.contains("+++ b/.mcp.json"), "{shown:?}");

    let done = run(ALL).ended_with(0);
    for agent in Agent::ALL {
        let configured = agent.configured(&place(project, root), &Disk).unwrap();
        let server = configured.server.unwrap_or_else(|| unreachable!("{agent}: {done:?}"));
        assert_eq!((server.command.as_str(), &server.args[..]), (COORDINATOR, &["mcp".to_owned()][..]), "{agent}");
        assert_eq!(configured.outdated, [""; 0], "{agent}");
    }
    let after = tree(project.path.parent().unwrap());
    let again = run(ALL).ended_with(0);
    assert!(again.stdout.contains("Nothing to change"), "{again:?}");
    assert_eq!(tree(project.path.parent().unwrap()), after, "once is enough");

    run(&["init", "--undo", "--dry-run"]).ended_with(0);
    assert_eq!(tree(project.path.parent().unwrap()), after, "a dry run changes nothing");
    run(&["init", "--undo"]).ended_with(0);
    let left = tree(project.path.parent().unwrap());
    for (path, was) in &before {
        assert_eq!(left.get(path), Some(was), "{}", path.display());
    }
    assert_eq!(left.keys().find(|path| !before.contains_key(*path)), None, "nothing is left behind");
    assert!(run(&["init", "--undo"]).ended_with(0).stdout.contains("Nothing was set up here"));
}

#[test]
fn an_empty_repository() {
    let project = Project::new();
    there_and_back(&project, &project.path);
}

#[test]
fn configurations_with_comments_and_a_form_of_their_own() {
    let project = Project::new();
    let path = &project.path;
    write(path.join(".mcp.json"), "{\"mcpServers\":{\"other\":{\"command\":\"x\",\"args\":[]}}}");
    write(
        path.join(".claude/settings.json"),
        "{\n\t\"permissions\" : { \"allow\":[ \"Bash(ls)\" ] },\n\n\t\"enabledMcpjsonServers\": [\"other\"],\n\t\"model\": \"opus\"\n}",
    );
    write(
        path.join(".gemini/settings.json"),
        "// ours\n{\n    /* look */ \"ui\": {\"theme\": \"x\"}, // and why\n    \"mcpServers\": {\n        \"other\": {\"command\": \"y\"}, // mine\n    },\n}\n",
    );
    write(
        path.join(".codex/config.toml"),
        "# top\nmodel   =  'o'   # why\n\n[mcp_servers.other]\ncommand = \"x\"\n# end",
    );
    write(path.join(".codex/hooks.json"), "{ \"description\": \"ours\", \"hooks\": {} }\n");
    write(path.join("CLAUDE.md"), "# How we work\n\nNo trailing newline");
    write(path.join("coordinator.toml"), "lock_ttl_minutes = 7\n");
    there_and_back(&project, path);
}

#[test]
fn husky() {
    let project = Project::new();
    project.git(&["config", "core.hooksPath", ".husky/_"]);
    write(
        project.path.join(".husky/_/h"),
        "#!/usr/bin/env sh\nn=$(basename \"$0\")\ns=$(dirname \"$(dirname \"$0\")\")/$n\n[ ! -f \"$s\" ] && exit 0\nsh -e \"$s\" \"$@\"\n",
    );
    write(project.path.join(".husky/_/pre-commit"), "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/h\"\n");
    write(project.path.join(".husky/pre-commit"), "npx lint-staged\n");
    let generated = tree(&project.path.join(".husky/_"));
    there_and_back(&project, &project.path);
    project.run(ALL).ended_with(0);
    assert_eq!(tree(&project.path.join(".husky/_")), generated, "husky makes these anew");
    let hook = std::fs::read_to_string(project.path.join(".husky/pre-commit")).unwrap();
    assert!(hook.contains("git-guard pre-commit") && hook.ends_with("npx lint-staged\n"), "{hook}");
}

#[test]
fn hooks_in_a_directory_of_the_project() {
    let project = Project::new();
    project.git(&["config", "core.hooksPath", "tools/hooks"]);
    write(project.path.join("tools/hooks/pre-commit"), "#!/bin/bash\nset -e\nmake lint\n");
    allow(&project.path.join("tools/hooks/pre-commit"), 0o755);
    there_and_back(&project, &project.path);
}

#[test]
fn hooks_outside_the_repository_are_not_ours_to_change() {
    let project = Project::new();
    let elsewhere = project.beside("hooks");
    std::fs::create_dir(&elsewhere).unwrap();
    project.git(&["config", "core.hooksPath", elsewhere.to_str().unwrap()]);
    let ran = project.run(ALL).ended_with(1);
    assert!(ran.stderr.contains("core.hooksPath") && ran.stderr.contains("git-guard pre-commit"), "{ran:?}");
    assert!(elsewhere.read_dir().unwrap().next().is_none());
    assert!(project.path.join(".mcp.json").exists());
    project.run(&["init", "--undo"]).ended_with(0);
    assert!(!project.path.join(".mcp.json").exists());
}

#[test]
fn work_trees_are_set_up_each_for_itself_and_share_the_git_hooks() {
    let project = Project::new();
    project.git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
    let other = project.beside("other");
    project.git(&["worktree", "add", "--quiet", other.to_str().unwrap()]);
    there_and_back(&project, &other);

    let hook = project.path.join(".git/hooks/pre-commit");
    project.run(ALL).ended_with(0);
    Ran::from(project.command_in(&other, ALL).output().unwrap()).ended_with(0);
    let ran = project.run(&["init", "--undo"]).ended_with(0);
    assert!(ran.stdout.contains("The git hooks stay") && hook.exists(), "{ran:?}");
    assert!(other.join(".mcp.json").exists() && !project.path.join(".mcp.json").exists());
    Ran::from(project.command_in(&other, &["init", "--undo"]).output().unwrap()).ended_with(0);
    assert!(!hook.exists());
}

#[test]
fn a_submodule() {
    let project = Project::new();
    let inner = project.beside("inner");
    std::fs::create_dir(&inner).unwrap();
    for arguments in [
        &["init", "--quiet"][..],
        &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "x"],
    ] {
        assert!(std::process::Command::new("git").current_dir(&inner).args(arguments).status().unwrap().success());
    }
    project.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        inner.to_str().unwrap(),
        "module",
    ]);
    there_and_back(&project, &project.path.join("module"));
    there_and_back(&project, &project.path);
}

#[test]
fn without_an_agent_the_rest_is_done_and_it_is_said() {
    let project = Project::new();
    let bin = project.beside("bin");
    std::fs::create_dir(&bin).unwrap();
    let git = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|p| p.join("git")).find(|p| p.exists());
    symlink(git.unwrap(), bin.join("git")).unwrap();
    let before = tree(&project.path);
    let run = |arguments: &[&str]| Ran::from(project.command(arguments).env("PATH", &bin).output().unwrap());
    let ran = run(&["init"]).ended_with(0);
    assert!(ran.stdout.contains("No agent is installed here"), "{ran:?}");
    assert!(project.path.join("coordinator.toml").exists() && !project.path.join(".mcp.json").exists());
    assert!(run(&["init"]).ended_with(0).stdout.contains("Nothing to change"));
    run(&["init", "--undo"]).ended_with(0);
    assert_eq!(tree(&project.path), before);

    // One that is installed is found.
    write(bin.join("codex"), "#!/bin/sh\n");
    allow(&bin.join("codex"), 0o755);
    let ran = run(&["init", "--json"]).ended_with(0);
    assert_eq!(ran.json()["agents"], serde_json::json!(["codex"]));
}

#[test]
fn what_is_read_only_is_told_and_the_rest_goes_on() {
    let project = Project::new();
    let settings = project.path.join(".claude/settings.json");
    write(settings.clone(), "{}\n");
    allow(&settings, 0o444);
    std::fs::create_dir(project.path.join(".gemini")).unwrap();
    allow(&project.path.join(".gemini"), 0o555);
    let before = tree(&project.path);
    for _ in 0..2 {
        let ran = project.run(ALL).ended_with(1);
        assert!(ran.stderr.contains(".claude/settings.json is left as it is: it is read-only"), "{ran:?}");
        assert!(ran.stderr.contains(".gemini/settings.json is left as it is: its directory"), "{ran:?}");
    }
    assert!(project.path.join(".mcp.json").exists());
    project.run(&["init", "--undo"]).ended_with(0);
    assert_eq!(tree(&project.path), before);
    allow(&settings, 0o640);
    allow(&project.path.join(".gemini"), 0o755);
    project.run(ALL).ended_with(0);
    assert_eq!(settings.metadata().unwrap().permissions().mode() & 0o777, 0o640, "permissions are kept");
    // What became read-only since stays in the record until it can be undone.
    allow(&settings, 0o444);
    let ran = project.run(&["init", "--undo"]).ended_with(1);
    assert!(ran.stderr.contains("read-only"), "{ran:?}");
    allow(&settings, 0o640);
    project.run(&["init", "--undo"]).ended_with(0);
    assert_eq!(std::fs::read_to_string(&settings).unwrap(), "{}\n");
}

#[test]
fn lines_that_end_as_on_windows() {
    let project = Project::new();
    let path = &project.path;
    write(path.join(".mcp.json"), "{\r\n    \"mcpServers\": {\r\n    }\r\n}\r\n");
    write(path.join(".claude/settings.json"), "{\r\n  \"model\": \"opus\"\r\n}");
    write(path.join(".codex/config.toml"), "model = \"o\"\r\n");
    write(path.join("AGENTS.md"), "# Rules\r\n\r\nBe kind.\r\n");
    there_and_back(&project, path);
    project.run(ALL).ended_with(0);
    for file in [".mcp.json", ".claude/settings.json", ".codex/config.toml", "AGENTS.md"] {
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        assert!(!text.replace("\r\n", "").contains('\n'), "{file}: {text:?}");
    }
}

#[test]
fn files_with_a_byte_order_mark() {
    let project = Project::new();
    let path = &project.path;
    write(path.join(".mcp.json"), "\u{feff}{}\n");
    write(path.join(".gemini/settings.json"), "\u{feff}{\n  \"a\": 1\n}\n");
    write(path.join("GEMINI.md"), "\u{feff}# Rules\n");
    there_and_back(&project, path);
    project.run(ALL).ended_with(0);
    for file in [".mcp.json", ".gemini/settings.json", "GEMINI.md"] {
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        assert!(text.starts_with('\u{feff}') && !text[3..].contains('\u{feff}'), "{file}: {text:?}");
    }
}

#[test]
fn hooks_of_others() {
    let project = Project::new();
    let path = &project.path;
    write(path.join(".git/hooks/pre-commit"), "#!/usr/bin/env bash\nexec make lint\n");
    allow(&path.join(".git/hooks/pre-commit"), 0o755);
    let theirs = "{\"hooks\": {\"PreToolUse\": [{\"matcher\": \"Bash\", \"hooks\": [{\"type\": \"command\", \"command\": \"./theirs\"}]}]}}\n";
    write(path.join(".claude/settings.json"), theirs);
    write(path.join(".codex/hooks.json"), theirs);
    there_and_back(&project, path);
    project.run(ALL).ended_with(0);
    let hook = std::fs::read_to_string(path.join(".git/hooks/pre-commit")).unwrap();
    let ours = hook.find("git-guard").unwrap();
    assert!(ours < hook.find("exec make lint").unwrap(), "{hook}");
}

#[test]
fn entries_of_an_older_version_are_brought_up_to_date() {
    let project = Project::new();
    let path = &project.path;
    write(
        path.join(".mcp.json"),
        "{\n  \"mcpServers\": {\n    \"coordinator\": {\"command\": \"/old/coordinator\", \"args\": [\"mcp\"]}\n  }\n}\n",
    );
    write(
        path.join(".claude/settings.json"),
        "{\"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"/old/coordinator hook claude Stop\"}]}]}}\n",
    );
    write(
        path.join(".codex/config.toml"),
        "[mcp_servers.coordinator]\ncommand = \"/old/coordinator\" # mine\nargs = [\"mcp\"]\nenv = { AGENT_ID = \"me\" }\n",
    );
    write(path.join("AGENTS.md"), "# Rules\n\n<!-- coordinator: begin -->\nold\n<!-- coordinator: end -->\n\nMore.\n");
    there_and_back(&project, path);
    project.run(ALL).ended_with(0);
    let all: String = [".mcp.json", ".claude/settings.json", ".codex/config.toml"]
        .map(|file| std::fs::read_to_string(path.join(file)).unwrap())
        .concat();
    assert!(!all.contains("/old/") && all.contains("AGENT_ID = \"me\""), "{all}");
    let told = std::fs::read_to_string(path.join("AGENTS.md")).unwrap();
    assert!(!told.contains("\nold\n") && told.ends_with("\nMore.\n"), "{told}");
}

#[test]
fn links_are_followed_inside_the_project_and_refused_beyond() {
    let project = Project::new();
    let path = &project.path;
    write(path.join("AGENTS.md"), "# Rules\n");
    symlink("AGENTS.md", path.join("CLAUDE.md")).unwrap();
    there_and_back(&project, path);
    project.run(ALL).ended_with(0);
    assert!(path.join("CLAUDE.md").is_symlink());
    assert_eq!(std::fs::read_to_string(path.join("AGENTS.md")).unwrap().matches("coordinator: begin").count(), 1);
    project.run(&["init", "--undo"]).ended_with(0);

    let beyond = project.beside("shared.json");
    std::fs::write(&beyond, "{}").unwrap();
    symlink(&beyond, path.join(".mcp.json")).unwrap();
    let ran = project.run(ALL).ended_with(1);
    assert!(ran.stderr.contains(".mcp.json is left as it is: a symbolic link leads it to"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&beyond).unwrap(), "{}");
}

#[test]
fn instructions_that_are_taken_in_are_not_told_twice() {
    let project = Project::new();
    write(project.path.join("CLAUDE.md"), "@AGENTS.md\n");
    there_and_back(&project, &project.path);
    project.run(ALL).ended_with(0);
    assert_eq!(std::fs::read_to_string(project.path.join("CLAUDE.md")).unwrap(), "@AGENTS.md\n");
}

#[test]
fn what_somebody_changed_since_stays_and_is_told() {
    let project = Project::new();
    let path = &project.path;
    write(path.join("CLAUDE.md"), "# Rules\n");
    write(path.join("GEMINI.md"), "# Rules\n");
    project.run(ALL).ended_with(0);
    let edit = |file: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(path.join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path.join(file), text.replacen(from, to, 1)).unwrap();
    };
    edit("CLAUDE.md", "# Rules\n", "# Rules\n\nBe kind.\n");
    edit(".claude/settings.json", "{\n", "{\n  \"model\": \"opus\",\n");
    edit(".mcp.json", "\"mcpServers\": {\n", "\"mcpServers\": {\n    \"other\": {\"command\": \"x\"},\n");
    edit(".codex/config.toml", "[mcp", "model = \"o\"\n\n[mcp");
    edit(".gemini/settings.json", "{", "{{");
    std::fs::remove_file(path.join("GEMINI.md")).unwrap();

    let ran = project.run(&["init", "--undo"]).ended_with(1);
    assert!(ran.stdout.contains("+Be kind.") && ran.stdout.contains("+  \"model\": \"opus\","), "{ran:?}");
    assert!(ran.stdout.contains("GEMINI.md was deleted since"), "{ran:?}");
    assert!(ran.stderr.contains(".gemini/settings.json is left as it is: somebody changed it since"), "{ran:?}");
    let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap();
    assert_eq!(read("CLAUDE.md"), "# Rules\n\nBe kind.\n");
    assert_eq!(read(".claude/settings.json"), "{\n  \"model\": \"opus\"\n}\n");
    assert_eq!(read(".codex/config.toml"), "model = \"o\"\n\n");
    let servers = setup::json::value(&read(".mcp.json")).unwrap();
    assert_eq!(servers, serde_json::json!({"mcpServers": {"other": {"command": "x"}}}));
    assert!(!path.join("AGENTS.md").exists() && !path.join("coordinator.toml").exists());

    // What was left is still known.
    edit(".gemini/settings.json", "{{", "{");
    project.run(&["init", "--undo"]).ended_with(0);
    assert!(!path.join(".gemini").exists());
}

#[test]
fn a_change_between_two_set_ups_is_theirs() {
    let project = Project::new();
    let path = &project.path;
    write(path.join("AGENTS.md"), "# Rules\n");
    project.run(&["init", "--agents", "codex"]).ended_with(0);
    let text = std::fs::read_to_string(path.join("AGENTS.md")).unwrap();
    let theirs = text.replace("# Rules\n", "# Rules\n\nBe kind.\n").replace("## Other agents", "## Some agents");
    std::fs::write(path.join("AGENTS.md"), theirs).unwrap();
    project.run(ALL).ended_with(0);
    let ran = project.run(&["init", "--undo"]).ended_with(0);
    assert!(!ran.stdout.contains("changed since"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(path.join("AGENTS.md")).unwrap(), "# Rules\n\nBe kind.\n");
}

#[test]
fn for_a_user_it_goes_into_the_home_directory() {
    let project = Project::new();
    let home = project.path.parent().unwrap();
    let elsewhere = project.beside("codex home");
    std::fs::create_dir(&elsewhere).unwrap();
    write(home.join(".claude.json"), "{\"numStartups\":3,\"projects\":{}}");
    let before = tree(home);
    let run =
        |arguments: &[&str]| Ran::from(project.command(arguments).env("CODEX_HOME", &elsewhere).output().unwrap());
    run(&["init", "--scope", "user", "--agents", "claude,codex,gemini"]).ended_with(0);
    for file in [".claude/settings.json", ".claude/CLAUDE.md", ".gemini/settings.json", "codex home/hooks.json"] {
        assert!(home.join(file).exists(), "{file}");
    }
    assert!(!project.path.join(".mcp.json").exists() && !project.path.join(".git/hooks/pre-commit").exists());
    run(&["init", "--scope", "user", "--undo"]).ended_with(0);
    let mut after = tree(home);
    // Where the record was; it is the coordinator's own.
    after.retain(|path, _| !path.starts_with(home.join(".local")));
    assert_eq!(after, before);
}

#[test]
fn outside_a_repository_it_is_said_what_to_do() {
    let project = Project::new();
    let outside = project.beside("outside");
    std::fs::create_dir(&outside).unwrap();
    let ran = Ran::from(project.command_in(&outside, ALL).output().unwrap()).ended_with(2);
    assert!(ran.stderr.contains("git init") && ran.stderr.contains("--scope user"), "{ran:?}");
}

#[test]
fn doctor_starts_the_server_as_each_agent_would_and_mends_what_is_broken() {
    let project = Project::new();
    project.run(ALL).ended_with(0);
    let check = |arguments: &[&str], name: &str| {
        let ran = Ran::from(project.command(arguments).env("API_PORT", "1").output().unwrap());
        let checks = ran.json()["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["check"] == name).unwrap_or_default()
    };
    for agent in ["claude mcp", "codex mcp", "gemini mcp"] {
        let found = check(&["doctor", "--json"], agent);
        assert_eq!(found["verdict"], "ok", "{found}");
        assert!(found["found"].as_str().unwrap().contains(" tools"), "{found}");
    }
    let config = project.path.join(".codex/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(COORDINATOR, "/nowhere/coordinator")).unwrap();
    let found = check(&["doctor", "--json"], "codex mcp");
    assert_eq!(
        (&found["verdict"], &found["todo"]),
        (&"fail".into(), &"coordinator init --agents codex".into()),
        "{found}"
    );
    let found = check(&["doctor", "--fix", "--json"], "codex mcp");
    assert_eq!(found["verdict"], "ok", "{found}");

    // What was asked of nobody yet is said with what to do.
    let found = check(&["doctor", "--json"], "codex you");
    assert!(found["todo"].as_str().unwrap().contains("/hooks"), "{found}");
}

#[test]
fn doctor_leaves_no_trace_of_the_commit_that_it_tries() {
    let project = Project::new();
    std::fs::write(project.path.join("a"), "").unwrap();
    project.git(&["add", "a"]);
    project.run(&["init", "--agents", "claude"]).ended_with(0);
    let status = || {
        Ran::from(
            std::process::Command::new("git")
                .args(["status", "--porcelain", "--branch"])
                .current_dir(&project.path)
                .output()
                .unwrap(),
        )
        .stdout
    };
    let before = status();
    project.run(&["doctor"]);
    assert_eq!(status(), before);
    let trees = Ran::from(
        std::process::Command::new("git").args(["worktree", "list"]).current_dir(&project.path).output().unwrap(),
    );
    assert_eq!(trees.stdout.lines().count(), 1, "{trees:?}");
    assert_eq!(project.run(&["locks"]).stdout, "Nothing is locked.\n");
}
