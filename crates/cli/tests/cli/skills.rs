//! The skills in `skills/`: that they are what agents take for skills, and that everything they tell to call is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::project::{Project, Ran};

/// Each workflow, and what it uses the coordinator for: flags, and the tools that belong to the hook.
const HOOKS: &[(&str, &[(&str, &[&str])])] = &[
    ("implement-feature", &[LOCK, QUEUE, GUARDRAILS, HANDOFF]),
    ("plan-feature", &[HANDOFF, RECALL]),
    ("iterate-on-plan", &[HANDOFF, MEMORY]),
    ("iterate-on-implementation", &[HANDOFF, MEMORY]),
    ("validate-feature", &[MEMORY]),
    ("cleanup-feature", &[HANDOFF, UNLOCK]),
    ("security-review", &[GUARDRAILS]),
    ("explore-feature", &[RECALL]),
    ("parallel-implement-feature", &[LOCK, QUEUE, GUARDRAILS, HANDOFF, DISCOVER, AUDIT]),
    ("parallel-plan-feature", &[HANDOFF, MEMORY, ("CAN_DISCOVER", &["discover_agents"]), POLICY]),
    ("parallel-cleanup-feature", &[UNLOCK, HANDOFF, AUDIT, MEMORY]),
    ("parallel-validate-feature", &[GUARDRAILS, HANDOFF, MEMORY, AUDIT]),
    ("setup-coordinator", &[]),
];
const LOCK: (&str, &[&str]) = ("CAN_LOCK", &["acquire_lock", "release_lock"]);
const UNLOCK: (&str, &[&str]) = ("CAN_LOCK", &["release_lock"]);
const QUEUE: (&str, &[&str]) = ("CAN_QUEUE_WORK", &["complete_work", "get_work", "submit_work"]);
const GUARDRAILS: (&str, &[&str]) = ("CAN_GUARDRAILS", &["check_guardrails"]);
const HANDOFF: (&str, &[&str]) = ("CAN_HANDOFF", &["read_handoff", "write_handoff"]);
const RECALL: (&str, &[&str]) = ("CAN_MEMORY", &["recall"]);
const MEMORY: (&str, &[&str]) = ("CAN_MEMORY", &["recall", "remember"]);
const DISCOVER: (&str, &[&str]) = ("CAN_DISCOVER", &["discover_agents", "register_session"]);
const POLICY: (&str, &[&str]) = ("CAN_POLICY", &["check_policy"]);
const AUDIT: (&str, &[&str]) = ("CAN_AUDIT", &["query_audit"]);

/// The command of the bridge that stands for a tool.
const COMMANDS: &[(&str, &str)] = &[
    ("acquire_lock", "lock"),
    ("release_lock", "unlock"),
    ("submit_work", "submit"),
    ("get_work", "get"),
    ("complete_work", "complete"),
    ("write_handoff", "handoff-write"),
    ("read_handoff", "handoff-read"),
    ("remember", "remember"),
    ("recall", "recall"),
    ("check_guardrails", "guardrails"),
    ("discover_agents", "discover"),
    ("register_session", "register"),
    ("check_policy", "policy"),
    ("query_audit", "audit"),
];

/// Tools whose flag is false as long as a server does not offer them.
const PERHAPS_NOT_OFFERED: [&str; 2] = ["check_guardrails", "check_policy"];

/// What looks like a tool and is none: fields and codes of answers.
const NO_TOOLS: [&str; 15] = [
    "bad_key",
    "bad_project",
    "bad_url",
    "coordinator_unreachable",
    "database_unreachable",
    "host_not_allowed",
    "identity_mismatch",
    "invalid_file_path",
    "invalid_lock_key",
    "no_answer",
    "not_a_coordinator",
    "not_offered",
    "operation_not_permitted",
    "status_code",
    "http_url",
];

fn skills() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../skills")
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(skills().join(path)).unwrap()
}

fn every_skill() -> impl Iterator<Item = (&'static str, String)> {
    HOOKS.iter().map(|(name, _)| (*name, read(Path::new(name).join("SKILL.md"))))
}

/// What stands between backquotes on one line, or on a line of a fenced block.
fn code(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut is_fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The rows of the table under `## Hooks`: flag, tool, and command of the bridge.
fn hooks(text: &str) -> Vec<(String, String, String)> {
    let Some((_, section)) = text.split_once("\n## Hooks\n") else { return vec![] };
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, flag, tool, command] = cells[..] else { unreachable!("{row}") };
        (flag.to_owned(), tool.to_owned(), command.to_owned())
    })
    .collect()
}

#[test]
fn every_folder_is_a_skill_and_says_what_it_is_for() {
    let folders: BTreeSet<String> = std::fs::read_dir(skills())
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<String> = HOOKS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, expected);
    for (name, text) in every_skill() {
        let front = text.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
        let front: BTreeMap<String, Value> = serde_saphyr::from_str(front).unwrap();
        assert!(front.keys().eq(["description", "name"]), "{name}: {front:?}");
        assert_eq!(front["name"], name);
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        let description = front["description"].as_str().unwrap();
        assert!((80..=1024).contains(&description.len()) && description.contains("Use "), "{name}: {description}");
        assert!(!description.contains(['<', '>']), "{name}: markup is not allowed there");
        assert!(text.lines().count() <= 80, "{name} is longer than anybody reads");
        assert!(text.contains("\n## When the coordinator is away\n"), "{name}");
    }
}

#[test]
fn each_workflow_uses_what_it_is_to_use_and_only_behind_its_flag() {
    for ((name, text), (_, expected)) in every_skill().zip(HOOKS) {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (flag, tool, command) in hooks(&text) {
            let (_, stands_for) = COMMANDS.iter().find(|(known, _)| *known == tool).unwrap();
            assert_eq!(command.split(' ').take(2).collect::<Vec<_>>(), ["bridge", stands_for], "{name}: {tool}");
            found.entry(flag).or_default().insert(tool);
        }
        let expected: BTreeMap<String, BTreeSet<String>> = expected
            .iter()
            .map(|(flag, tools)| ((*flag).to_owned(), tools.iter().map(|tool| (*tool).to_owned()).collect()))
            .collect();
        assert_eq!(found, expected, "{name}");
        // No flag is spoken of that the skill has no hook for.
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).filter(|word| word.starts_with("CAN_"))
        {
            assert!(found.contains_key(word) || name == "setup-coordinator", "{name}: {word}");
        }
    }
}

#[test]
fn every_tool_command_and_option_that_is_told_is_there() {
    let project = Project::new();
    let operations = project.run(&["call", "--json"]).ended_with(0).json();
    let mut tools: BTreeSet<&str> =
        operations.as_array().unwrap().iter().map(|operation| operation["name"].as_str().unwrap()).collect();
    tools.extend(PERHAPS_NOT_OFFERED);
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut texts: Vec<(&str, String)> = every_skill().collect();
    texts.push(("coordination.md", read("setup-coordinator/references/coordination.md")));
    for document in
        ["coordination-detection-template.md", "lock-key-namespaces.md", "cloud-agents.md", "templates/AGENTS.md"]
    {
        texts.push((document, read(Path::new("../docs").join(document))));
    }
    let mut told = 0;
    for (name, text) in &texts {
        for line in code(text) {
            let unquoted: String = line.split('"').step_by(2).collect();
            let words: Vec<&str> = unquoted.split_whitespace().take_while(|word| !word.starts_with('#')).collect();
            let command: Vec<String> = match words[..] {
                ["bridge", "COMMAND", ..] => continue,
                ["bridge", command, ..] | ["coordinator", "bridge", command, ..] => {
                    vec!["bridge".into(), command.into()]
                }
                ["coordinator", command @ ("ports" | "keys" | "work" | "memory" | "handoff" | "team"), inner, ..] => {
                    vec![command.into(), inner.into()]
                }
                ["coordinator", command, ..] if !command.starts_with('-') => vec![command.into()],
                _ => {
                    let is_name = line.contains('_') && line.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    let is_other = NO_TOOLS.contains(&&*line) || ["try_", "mcp_"].iter().any(|p| line.starts_with(p));
                    if is_name && !is_other {
                        assert!(tools.contains(&*line), "{name}: there is no tool {line}");
                        told += 1;
                    }
                    continue;
                }
            };
            let help = helps.entry(command.clone()).or_insert_with(|| {
                let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
                let ran = project.run(&words);
                assert_eq!(ran.code, 0, "{name}: {line}: {ran:?}");
                ran.stdout
            });
            let own = words.iter().take_while(|word| **word != "--");
            for option in own.filter(|word| word.starts_with("--") && word.len() > 2) {
                assert!(help.contains(option), "{name}: {line}: there is no {option}");
            }
            told += 1;
        }
    }
    assert!(told > 150, "only {told} commands and tools were found: are they read at all?");
}

#[test]
fn every_link_leads_somewhere() {
    let mut files: Vec<PathBuf> = HOOKS.iter().map(|(name, _)| skills().join(name).join("SKILL.md")).collect();
    for document in ["coordination-detection-template.md", "lock-key-namespaces.md", "cloud-agents.md"] {
        files.push(skills().join("../docs").join(document));
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(file.parent().unwrap().join(target).exists(), "{}: {target}", file.display());
        }
    }
}

/// The installer, into this directory.
fn install(target: &Path, arguments: &[&str]) -> Ran {
    let script = skills().join("install.sh");
    Command::new("bash").arg(script).arg("--target").arg(target).args(arguments).output().unwrap().into()
}

const USUAL: [&str; 6] = ["--agents", "claude,codex,gemini", "--deps", "none", "--python-tools", "none"];

#[test]
fn skills_are_installed_in_every_mode_and_again_without_a_change() {
    for mode in ["copy", "rsync", "symlink"] {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("a work tree's \"own\" folder");
        std::fs::create_dir(&target).unwrap();
        let run =
            |more: &[&str]| install(&target, &[&["--mode", mode][..], &USUAL, more].concat()).ended_with(0).stdout;

        let planned = run(&["--dry-run"]);
        assert!(planned.contains("would put  .claude/skills/plan-feature"), "{planned}");
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0, "nothing was done yet");
        run(&[]);
        for agent in [".claude", ".codex", ".gemini"] {
            for (name, text) in every_skill() {
                let skill = target.join(agent).join("skills").join(name);
                assert_eq!(skill.is_symlink(), mode == "symlink", "{}", skill.display());
                assert_eq!(std::fs::read_to_string(skill.join("SKILL.md")).unwrap(), text);
            }
            // The bridge comes along, as a file of its own.
            let bridge = target.join(agent).join("skills/setup-coordinator/scripts/coordination_bridge.py");
            assert_eq!(std::fs::read_to_string(&bridge).unwrap(), read("../scripts/coordination_bridge.py"));
            assert!(mode == "symlink" || !bridge.is_symlink());
        }
        let again = run(&[]);
        assert!(
            again.lines().filter(|line| line.contains("skills/")).all(|line| line.starts_with("unchanged")),
            "{again}"
        );

        // An old copy is brought up to date, and loses what is no longer part of it.
        let old = target.join(".codex/skills/plan-feature");
        if mode != "symlink" {
            std::fs::write(old.join("SKILL.md"), "old").unwrap();
            std::fs::write(old.join("gone.md"), "old").unwrap();
            assert!(run(&[]).contains("put        .codex/skills/plan-feature\n"));
            assert!(!old.join("gone.md").exists());
        }
        // From one mode to another, without a change in the source.
        install(&target, &["--mode", "symlink"]).ended_with(0);
        install(&target, &["--mode", "copy"]).ended_with(0);
        assert!(!old.is_symlink() && old.join("SKILL.md").is_file());
        assert!(skills().join("plan-feature/SKILL.md").is_file());
    }
}

#[test]
fn what_is_another_s_is_left() {
    let temp = tempfile::tempdir().unwrap();
    let own = temp.path().join(".claude/skills/plan-feature");
    let other = temp.path().join(".claude/skills/my-own");
    for folder in [&own, &other] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("SKILL.md"), "mine").unwrap();
    }
    let ran = install(temp.path(), &["--agents", "claude"]).ended_with(1);
    assert!(ran.stderr.contains("left       .claude/skills/plan-feature: another skill of this name"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(own.join("SKILL.md")).unwrap(), "mine");
    assert!(temp.path().join(".claude/skills/explore-feature/SKILL.md").is_file(), "the others are there");
    assert!(!temp.path().join(".codex").exists());
    install(temp.path(), &["--agents", "claude", "--force"]).ended_with(0);
    assert_ne!(std::fs::read_to_string(own.join("SKILL.md")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(other.join("SKILL.md")).unwrap(), "mine");
}

#[test]
fn a_command_line_that_is_wrong_installs_nothing() {
    let temp = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["--mode", "magic"][..], "--mode is magic"),
        (&["--agents", "claude,emacs"], "emacs"),
        (&["--agents="], "--agents needs a value"),
        (&["--deps", "apply"], "--deps is apply"),
        (&["--python-tools", "apply"], "--python-tools is apply"),
        (&["--colour"], "there is no option --colour"),
        (&["--mode"], "--mode needs a value"),
    ] {
        let ran = install(temp.path(), arguments).ended_with(2);
        assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
    }
    assert!(install(&temp.path().join("nowhere"), &[]).ended_with(2).stderr.contains("no such directory"));
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn the_shell_scripts_are_clean() {
    let scripts = ["install.sh", "../docs/templates/cloud-setup.sh"].map(|script| skills().join(script));
    for script in &scripts {
        assert!(Command::new("bash").arg("-n").arg(script).status().unwrap().success());
    }
    match Command::new("shellcheck").args(&scripts).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout)),
        Err(_) => println!("there is no shellcheck here: skipped"),
    }
}
