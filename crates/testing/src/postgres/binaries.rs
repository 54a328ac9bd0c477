//! Where this machine keeps PostgreSQL's programs. Debian leaves the server's own ones out of `PATH`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory that holds `initdb` and `postgres` (and, where it is installed, `pgbench`).
///
/// Looks where `pg_config` says, then along `PATH`, then at the newest of Debian's versions.
pub fn directory() -> anyhow::Result<PathBuf> {
    from_pg_config().or_else(from_path).or_else(newest_of_debian).ok_or_else(|| {
        anyhow::anyhow!(
            "no PostgreSQL server found (initdb, postgres): install Debian's `postgresql` or put it in PATH"
        )
    })
}

fn from_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    complete(Path::new(String::from_utf8(output.stdout).ok()?.trim()))
}

fn from_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // A single program may be linked into PATH; its companions stand beside what the link points to.
    std::env::split_paths(&path).find_map(|entry| complete(entry.join("postgres").canonicalize().ok()?.parent()?))
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((version, complete(&entry.path().join("bin"))?))
        })
        .max()
        .map(|(_, directory)| directory)
}

fn complete(directory: &Path) -> Option<PathBuf> {
    ["initdb", "postgres"].iter().all(|program| directory.join(program).is_file()).then(|| directory.to_path_buf())
}
