//! The agents' own command lines, each with an empty home: connected by `coordinator init` or by the command that our docs
//! give, they show the coordinator as connected, and take a lock because a script in the place of their model says so.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::ground::{Ground, KEY, node_program, output, success};
use super::model::{Model, Step};
use super::{Outcome, Trials};
use crate::tools::{self, NO_NODE};

/// A command line.
#[derive(Clone, Copy)]
pub struct Cli {
    /// As it is started.
    pub name: &'static str,
    /// Where it comes from.
    pub package: &'static str,
    /// Which one.
    pub version: &'static str,
    /// Prepares its home, and says in which environment it finds the model.
    pub prepare: fn(home: &Path, model: &str) -> anyhow::Result<Environment>,
    /// What its user would say once, asked whether the repository may be trusted.
    pub trust: fn(home: &Path, repository: &Path) -> anyhow::Result<()>,
    /// What connects it, after `mcp add`.
    connect: fn(way: &Way) -> Vec<String>,
    /// What `mcp list` says of a server that it is connected to; it does not try all of them.
    connected: &'static str,
    /// What makes it work, with no questions asked.
    pub work: &'static [&'static str],
}

/// Variables.
pub type Environment = Vec<(&'static str, String)>;

/// A way to reach the coordinator.
enum Way {
    /// A process of ours, set up by `coordinator init`.
    Init,
    /// A process of ours, started like this.
    Stdio(Vec<String>),
    /// The same, and it needs the key, which the command lines hand on only when they are told to.
    Bridge(Vec<String>),
    /// A server of ours.
    Http(String),
}

/// Claude Code, Codex and Gemini CLI.
pub const CLIS: [Cli; 3] = [
    Cli {
        name: "claude",
        package: "@anthropic-ai/claude-code",
        version: "2.1.330",
        prepare: |_, model| {
            Ok(vec![
                ("ANTHROPIC_BASE_URL", model.to_owned()),
                ("ANTHROPIC_API_KEY", "none".into()),
                ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".into()),
                // Else the script would have to search for the tools first.
                ("ENABLE_TOOL_SEARCH", "false".into()),
            ])
        },
        trust: |home, repository| {
            let said = json!({"projects": {repository.to_string_lossy(): {"hasTrustDialogAccepted": true}}});
            write(&home.join(".claude.json"), &said.to_string())
        },
        connect: |way| match way {
            Way::Init => vec![],
            Way::Stdio(program) => words(&["coordinator", "--"], program),
            Way::Bridge(program) => words(&["coordinator", "--env", &variable(), "--"], program),
            Way::Http(url) => words(&["--transport", "http", "coordinator", url, "--header", &header()], &[]),
        },
        connected: "Connected",
        work: &["-p", "go", "--permission-mode", "acceptEdits", "--allowedTools", "Bash", "mcp__coordinator"],
    },
    Cli {
        name: "codex",
        package: "@openai/codex",
        version: "0.169.0",
        prepare: |home, model| {
            let settings = format!(
                "model = \"script\"\nmodel_provider = \"script\"\napproval_policy = \"never\"\n\
                 sandbox_mode = \"danger-full-access\"\n[model_providers.script]\nname = \"script\"\n\
                 base_url = \"{model}/v1\"\nenv_key = \"SCRIPT_KEY\"\nwire_api = \"responses\"\n"
            );
            write(&home.join(".codex/config.toml"), &settings)?;
            Ok(vec![("SCRIPT_KEY", "none".into())])
        },
        trust: |home, repository| {
            let file = home.join(".codex/config.toml");
            let settings = std::fs::read_to_string(&file)?;
            let said = format!("[projects.{}]\ntrust_level = \"trusted\"\n", json!(repository.to_string_lossy()));
            write(&file, &format!("{settings}{said}"))
        },
        connect: |way| match way {
            Way::Init => vec![],
            Way::Stdio(program) => words(&["coordinator", "--"], program),
            Way::Bridge(program) => words(&["coordinator", "--env", &variable(), "--"], program),
            Way::Http(url) => words(&["coordinator", "--url", url, "--bearer-token-env-var", KEY_VARIABLE], &[]),
        },
        connected: "enabled",
        // Somebody has looked at the hooks.
        work: &["exec", "--dangerously-bypass-hook-trust", "go"],
    },
    Cli {
        name: "gemini",
        package: "@google/gemini-cli",
        version: "0.61.0",
        prepare: |home, model| {
            let settings = json!({"security": {"auth": {"selectedType": "gemini-api-key"}}});
            write(&home.join(".gemini/settings.json"), &settings.to_string())?;
            Ok(vec![
                ("GOOGLE_GEMINI_BASE_URL", model.to_owned()),
                ("GEMINI_API_KEY", "none".into()),
                ("GEMINI_CLI_TRUST_WORKSPACE", "true".into()),
            ])
        },
        // Its environment says so already.
        trust: |_, _| Ok(()),
        connect: |way| match way {
            Way::Init => vec![],
            Way::Stdio(program) => words(&["coordinator"], program),
            Way::Bridge(program) => words(&["-e", &variable(), "-s", "project", "coordinator"], program),
            Way::Http(url) => words(&["--transport", "http", "coordinator", url, "-H", &header()], &[]),
        },
        connected: "Connected",
        work: &["-m", "gemini-2.5-flash", "-p", "go", "--yolo"],
    },
];

const KEY_VARIABLE: &str = "COORDINATION_API_KEY";

fn header() -> String {
    format!("X-API-Key: {KEY}")
}

fn variable() -> String {
    format!("{KEY_VARIABLE}={KEY}")
}

fn words(first: &[&str], program: &[String]) -> Vec<String> {
    first.iter().map(|&word| word.to_owned()).chain(program.iter().cloned()).collect()
}

/// Writes a file, and makes its directory.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(std::fs::write(path, text)?)
}

/// Tries each in each way.
pub async fn run(ground: &Ground, trials: &mut Trials) {
    for cli in CLIS {
        let program = ground.coordinator.to_string_lossy();
        for (way, name) in [
            (Way::Stdio(words(&[&program, "mcp"], &[])), "stdio"),
            (Way::Http(format!("{}/mcp", ground.server)), "http"),
            (Way::Init, "init"),
            (Way::Bridge(words(&[&program, "mcp", "--url", &ground.server], &[])), "bridge"),
        ] {
            trials.attempt(&format!("{} {name}", cli.name), drive(ground, cli, &way, name)).await;
        }
    }
}

async fn drive(ground: &Ground, cli: Cli, way: &Way, way_name: &str) -> anyhow::Result<Outcome> {
    let Some(node) = tools::need_node()? else { return Ok(Outcome::Skipped(NO_NODE)) };
    let programs = tools::need_node_package(cli.package, cli.version)?;
    let file = format!("{}-{way_name}.py", cli.name);
    let script = vec![Step::tool("acquire_lock", json!({"file_path": file})), Step::Say("DONE".into())];
    let model = Model::start(script).await?;

    let home = ground.directory(&format!("{}-{way_name}", cli.name))?;
    let repository = ground.directory(&format!("{}-{way_name}/repository", cli.name))?;
    success(Command::new("git").args(["init", "--quiet"]).current_dir(&repository)).await?;
    let environment = (cli.prepare)(&home, &model.url)?;
    let command = |arguments: &[&str]| {
        let mut command = node_program(&programs.join(cli.name), &node);
        let path = command.as_std().get_envs().find_map(|(name, value)| (name == "PATH").then_some(value?.to_owned()));
        command.args(arguments).current_dir(&repository).env_clear().envs(path.map(|path| ("PATH", path)));
        command.env("HOME", &home).envs(environment.clone());
        if matches!(way, Way::Http(_)) {
            command.env(KEY_VARIABLE, KEY);
        }
        command
    };
    if matches!(way, Way::Init) {
        let mut init = Command::new(&ground.coordinator);
        init.args(["init", "--agents", cli.name]).current_dir(&repository).env("HOME", &home);
        success(&mut init).await.context("init")?;
        (cli.trust)(&home, &repository.canonicalize()?)?;
    } else {
        success(command(&["mcp", "add"]).args((cli.connect)(way))).await.context("mcp add")?;
    }
    let listed = output(&mut command(&["mcp", "list"])).await?;
    let listed = [listed.stdout, listed.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let line = listed.lines().find(|line| line.contains("coordinator") && line.contains(cli.connected));
    ensure!(line.is_some(), "mcp list does not show it connected:\n{listed}");
    success(&mut command(cli.work)).await.context("work")?;

    let results = model.results();
    let answer = results.iter().find_map(granted);
    let answer = answer.with_context(|| format!("no lock was granted; the model was told {results:#?}"))?;
    ensure!(answer.contains(&file), "another file was locked: {answer}");
    Ok(Outcome::Passed(format!("connected, and {file} is locked")))
}

/// The text in what a tool answered that tells of a grant, however deep a command line has wrapped it.
fn granted(result: &Value) -> Option<String> {
    match result {
        Value::String(text) => text.contains("acquired").then(|| text.clone()),
        Value::Array(items) => items.iter().find_map(granted),
        Value::Object(fields) => fields.values().find_map(granted),
        _ => None,
    }
}
