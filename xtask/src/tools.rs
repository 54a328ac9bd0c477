//! What the checks need on a machine, and how it gets there when it is missing. Each installation says so in a line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// The MCP client library that one of the tests drives us with.
const MCP_CLIENT: &str = "mcp==2.*";
/// The Node that programs of Node's are run by.
const NODE: &str = "22.23.3";
/// Why something with Python is left out.
pub const NO_PYTHON: &str = "there is no python3 here";
/// Why something with Node is left out.
pub const NO_NODE: &str = "there is no npm here, or no Node for this machine";

/// A PostgreSQL server's programs, from Debian's package where there is such a thing.
pub fn need_postgres() -> anyhow::Result<()> {
    need_server("postgresql", testing::postgres::binaries)
}

/// The pooler that the store is also tested behind, likewise.
pub fn need_pgbouncer() -> anyhow::Result<()> {
    need_server("pgbouncer", testing::postgres::pgbouncer)
}

fn need_server(package: &str, find: fn() -> anyhow::Result<PathBuf>) -> anyhow::Result<()> {
    match find() {
        Err(missing) if !is_there(Command::new("apt-get").arg("--version")) => Err(missing),
        Err(_) => need_debian_package(package),
        Ok(_) => Ok(()),
    }
}

/// A cargo subcommand from the registry.
pub fn need_cargo_tool(name: &str, how: &[&str]) -> anyhow::Result<()> {
    if is_there(cargo().args([name, "--version"])) {
        return Ok(());
    }
    let package = format!("cargo-{name}");
    install(&package, cargo().args(["install", "--locked", &package]).args(how))
}

/// A Python of our own (under `target`) with the MCP client library; none where there is no Python at all.
pub fn need_python() -> anyhow::Result<Option<PathBuf>> {
    let python = need_python_library("test-venv", MCP_CLIENT, "mcp")?;
    if python.is_none() {
        eprintln!("{NO_PYTHON}: the tests with the MCP client library are left out");
    }
    Ok(python)
}

/// A Python of our own, in this directory under `target`, that can import the module; none where there is no Python at
/// all.
pub fn need_python_library(directory: &str, library: &str, module: &str) -> anyhow::Result<Option<PathBuf>> {
    if !is_there(Command::new("python3").arg("--version")) {
        return Ok(None);
    }
    let directory = std::path::absolute("target")?.join(directory);
    let python = directory.join("bin/python");
    if !is_there(Command::new(&python).args(["-c", &format!("import {module}")])) {
        make_environment(&directory)?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", library];
        install(library, Command::new(&python).args(pip))?;
    }
    Ok(Some(python))
}

/// The directory of a Node that is new enough, our own (under `target`); none where there is no npm to get it with, or none
/// for this machine.
pub fn need_node() -> anyhow::Result<Option<PathBuf>> {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return Ok(None),
    };
    if !is_there(Command::new("npm").arg("--version")) {
        return Ok(None);
    }
    let package = format!("node-{system}-{machine}");
    let programs = need_node_package(&package, NODE)?;
    Ok(programs.parent().map(|modules| modules.join(package).join("bin")))
}

/// A package of Node's, under `target`; returns the directory of its programs.
pub fn need_node_package(package: &str, version: &str) -> anyhow::Result<PathBuf> {
    let directory = std::path::absolute("target/clients")?.join(format!("{}-{version}", package.replace('/', "-")));
    let modules = directory.join("node_modules");
    if !modules.join(package).join("package.json").exists() {
        std::fs::create_dir_all(&directory)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&directory);
        install(package, npm.arg(format!("{package}@{version}")).stdout(Stdio::null()))?;
    }
    Ok(modules.join(".bin"))
}

/// Debian's Python comes without what makes an environment.
fn make_environment(directory: &Path) -> anyhow::Result<()> {
    if !is_there(Command::new("python3").args(["-c", "import ensurepip"])) {
        need_debian_package("python3-venv")?;
    }
    install("a Python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory))
}

fn need_debian_package(name: &str) -> anyhow::Result<()> {
    install("Debian's list of packages", as_root().args(["apt-get", "update", "--quiet=2"]))?;
    install(name, as_root().args(["apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", name]))
}

/// `env` also says to Debian's installer that nobody is there to answer questions.
fn as_root() -> Command {
    let am_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = Command::new(if am_root { "env" } else { "sudo" });
    if !am_root {
        command.arg("env");
    }
    command.arg("DEBIAN_FRONTEND=noninteractive");
    command
}

fn install(what: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("installing {what}");
    let status = command.status().with_context(|| format!("install {what}"))?;
    ensure!(status.success(), "installing {what}: {status}");
    Ok(())
}

fn is_there(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Cargo, without what `cargo run` has told us about our own package: some build scripts watch those variables, and
/// would make their crates anew each time a build is started from here and then by hand.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}
