//! What a path leads to: the root, a home, the project, something that tools make again ... decided by its spelling alone.

use crate::effect::Place;
use crate::glob::{matches, matches_any};
use crate::names;
use crate::source::{ANY, BRACKET, DECODED, FETCHED, SECRET, SOME, STAR, UNKNOWN, has_unknown, plain};

/// Where relative paths begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Where the command was started, or below it (`build`), or above (`..`).
    Start(String),
    /// A directory by its full name.
    Absolute(String),
    /// A directory that is not known beforehand.
    Unknown,
}

/// What a path is judged against.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The directory that the command is started in, where it is known.
    pub start: Option<String>,
    /// The home directory.
    pub home: String,
}

/// A path taken apart.
struct Path {
    /// Begins at the root of the file system; else where the command was started.
    absolute: bool,
    /// Components without `.` and `..`, but for `..` at the beginning of a relative path.
    parts: Vec<String>,
    /// Stands for what is in the directory: it ended with `/*`.
    contents: bool,
}

impl Surroundings {
    /// Where a path leads from a directory.
    pub fn join(&self, base: &Base, path: &str) -> Base {
        if path.starts_with([UNKNOWN, SOME]) {
            return Base::Unknown;
        }
        let Some(path) = self.path(base, path) else { return Base::Unknown };
        let text = path.parts.join("/");
        if path.absolute { Base::Absolute(format!("/{text}")) } else { Base::Start(text) }
    }

    /// As [`join`](Self::join), with wildcards and what is in a directory kept as they are written.
    pub fn full(&self, base: &Base, path: &str) -> Base {
        match self.join(base, path) {
            Base::Unknown => Base::Unknown,
            joined => match self.path(base, path) {
                Some(parts) if parts.contents => match joined {
                    Base::Start(text) if text.is_empty() => Base::Start(STAR.to_string()),
                    Base::Start(text) => Base::Start(format!("{text}/{STAR}")),
                    Base::Absolute(text) => Base::Absolute(format!("{}/{STAR}", text.trim_end_matches('/'))),
                    Base::Unknown => Base::Unknown,
                },
                _ => joined,
            },
        }
    }

    /// The path with everything resolved that can be: absolute, or relative to where the command was started.
    fn path(&self, base: &Base, text: &str) -> Option<Path> {
        let (mut absolute, mut parts) = if text.starts_with('/') {
            (true, vec![])
        } else {
            match base {
                Base::Start(dir) => (false, split(dir)),
                Base::Absolute(dir) => (true, split(dir)),
                Base::Unknown => return None,
            }
        };
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    let last_goes = parts.last().is_some_and(|last| last != "..");
                    if last_goes {
                        parts.pop();
                    } else if !absolute {
                        parts.push("..".to_owned());
                    }
                }
                part => parts.push(part.to_owned()),
            }
        }
        if let (Some(start), true) = (&self.start, absolute) {
            // A path into the working directory is as good as a relative one, unless that is all there is.
            let start = split(start);
            if start.len() > 1 && !self.is_home(&start) && parts.starts_with(&start) {
                parts.drain(..start.len());
                absolute = false;
            }
        } else if let (Some(start), false, Some("..")) = (&self.start, absolute, parts.first().map(String::as_str)) {
            let mut full = split(start);
            let ups = parts.iter().take_while(|part| *part == "..").count();
            // The working directory itself, or what holds it, is told apart below.
            if parts.len() > ups && full.len() >= ups {
                full.truncate(full.len() - ups);
                full.extend(parts.drain(ups..));
                (parts, absolute) = (full, true);
            }
        }
        let mut contents = false;
        while parts.last().is_some_and(|part| is_everything(part)) {
            contents = true;
            parts.pop();
        }
        Some(Path { absolute, parts, contents })
    }

    fn is_home(&self, parts: &[String]) -> bool {
        let home = split(&self.home);
        !home.is_empty() && parts == home
            || match parts {
                [only] => {
                    matches!(only.as_str(), "root" | "home" | "Users") || is_wild(only) && matches_mark(only, "home")
                }
                [first, _] => first == "home" || first == "Users",
                _ => false,
            }
    }

    /// What the path leads to.
    pub fn place(&self, base: &Base, text: &str) -> Place {
        if text.is_empty() {
            return Place::None;
        }
        if text.contains([FETCHED, DECODED, SECRET]) {
            return self.place(base, &text.replace([FETCHED, DECODED, SECRET], &SOME.to_string()));
        }
        if let Some(place) = windows(text) {
            return place;
        }
        if text.starts_with(UNKNOWN) {
            return self.unknown(base, text);
        }
        if text.starts_with(SOME) || (*base == Base::Unknown && !text.starts_with('/')) {
            return by_name(&split(text)).unwrap_or(Place::Unknown);
        }
        if text.ends_with(UNKNOWN) && text.starts_with('/') {
            // `/$X` and `~/$X` are more than they seem when the variable is empty.
            let rest = text.trim_end_matches(UNKNOWN);
            let known = self.place(base, rest);
            if rest.ends_with('/') && matches!(known, Place::Root | Place::Home) && rest.matches('/').count() != 2 {
                return Place::Blank;
            }
        }
        match self.path(base, text) {
            Some(path) => self.known(&path),
            None => by_name(&split(text)).unwrap_or(Place::Unknown),
        }
    }

    /// A path that begins with what is not known: what would it be if that were nothing?
    fn unknown(&self, base: &Base, text: &str) -> Place {
        let rest = text.trim_start_matches(UNKNOWN);
        if let Some(place) = by_name(&split(rest)) {
            return place;
        }
        if !rest.starts_with('/') {
            return Place::Unknown;
        }
        match self.place(base, rest) {
            Place::Root | Place::System | Place::Vital | Place::Home => Place::Blank,
            _ => Place::Unknown,
        }
    }

    fn known(&self, path: &Path) -> Place {
        let parts: Vec<&str> = path.parts.iter().map(String::as_str).collect();
        if path.absolute {
            return self.absolute(&path.parts, &parts, path.contents);
        }
        if let Some(place) = repository(&parts) {
            return place;
        }
        match parts.as_slice() {
            [] => Place::Project,
            [.., ".."] => Place::Project,
            ["..", ..] => by_name(&path.parts).unwrap_or(Place::Outside),
            _ => match by_name(&path.parts) {
                Some(place) => place,
                None if is_source(&parts) => Place::Source,
                None => Place::Inside,
            },
        }
    }

    fn absolute(&self, owned: &[String], parts: &[&str], contents: bool) -> Place {
        let Some(first) = parts.first().copied() else { return Place::Root };
        if first == "dev" {
            return device(parts);
        }
        if let Some(start) = &self.start {
            let start = split(start);
            if !start.is_empty() && start.starts_with(owned) && !self.is_home(owned) {
                // A directory that the working directory lies in.
                return if parts.len() == 1 && names::SYSTEM.contains(&first) { Place::System } else { Place::Project };
            }
        }
        if self.is_home(owned) {
            return Place::Home;
        }
        if let Some(depth) = temporary(parts) {
            return if parts.len() > depth { Place::Temporary } else { Place::AllTemporary };
        }
        if let Some(place) = repository(parts) {
            return place;
        }
        let joined = parts.join("/");
        if names::VITAL.iter().any(|pattern| matches(pattern, &joined)) {
            return Place::Vital;
        }
        let home = split(&self.home);
        let home_depth = if !home.is_empty() && owned.starts_with(&home) {
            home.len()
        } else {
            match first {
                "home" | "Users" => 2,
                "root" => 1,
                _ => 0,
            }
        };
        if home_depth > 0 && parts.len() > home_depth {
            let rest = &parts[home_depth..];
            if names::PROFILE.iter().any(|pattern| matches(pattern, &rest.join("/"))) {
                return Place::Profile;
            }
            return by_name(&owned[home_depth..]).unwrap_or(Place::InHome);
        }
        if names::CACHES.iter().any(|pattern| matches(pattern, &joined)) {
            return Place::Artifact;
        }
        if is_wild(first) || names::STRICT_SYSTEM.contains(&first) {
            return if is_wild(first) && !contents { Place::Root } else { Place::System };
        }
        // What services keep is called `log` or `cache` too.
        let is_system = names::SYSTEM.contains(&first);
        let by_name = match owned.get(1..).filter(|rest| !rest.is_empty()) {
            Some(rest) if is_system => rest.iter().any(|part| is_made(part)).then_some(Place::Artifact),
            Some(rest) => by_name(rest),
            None => None,
        };
        match by_name {
            Some(place) => place,
            None if is_system => Place::System,
            None if parts.len() == 1 => Place::System,
            None => Place::Outside,
        }
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

/// Does the component match everything in a directory?
fn is_everything(part: &str) -> bool {
    part.contains(STAR) && part.chars().all(|c| matches!(c, STAR | ANY | '.'))
        || (part.starts_with('.') && part.contains(BRACKET) && part.ends_with(STAR))
        || part == format!("{ANY}{STAR}")
}

fn is_wild(part: &str) -> bool {
    part.contains([STAR, ANY, BRACKET])
}

fn matches_mark(part: &str, name: &str) -> bool {
    matches(&plain(part), name)
}

/// Is it, or does it lie in, something that is known by its name?
fn by_name(parts: &[String]) -> Option<Place> {
    let plain: Vec<String> = parts.iter().map(|part| plain(part)).collect();
    let last = plain.last()?;
    let is_data = names::DATA.iter().any(|pattern| matches(pattern, last));
    if is_data {
        let passing = names::PASSING.iter().any(|word| last.contains(word));
        return Some(if passing { Place::Artifact } else { Place::Data });
    }
    let passes = |part: &String| is_made(part) || names::PASSING_BY.iter().any(|pattern| matches(pattern, part));
    plain.iter().any(passes).then_some(Place::Artifact)
}

fn is_made(part: &str) -> bool {
    names::MADE.iter().any(|pattern| matches(pattern, part))
}

fn is_source(parts: &[&str]) -> bool {
    let last = parts.last().copied().unwrap_or_default().to_ascii_lowercase();
    // `s?c`, of which a letter or two are told.
    let wild = is_wild(&last) && last.chars().any(char::is_alphanumeric) && !last.contains('.');
    let stands_for = |name: &&str| wild && matches_mark(&bracketless(&last), name);
    (parts.len() == 1
        && (names::SOURCES.contains(&last.as_str()) || last.ends_with(".git") || names::SOURCES.iter().any(stands_for)))
        || matches!(last.as_str(), "migrations" | ".github")
}

/// `[ab]` is one character.
fn bracketless(part: &str) -> String {
    let mut text = String::new();
    let mut rest = part;
    while let Some(at) = rest.find(BRACKET) {
        text.push_str(&rest[..at]);
        text.push(ANY);
        let inside = &rest[at + BRACKET.len_utf8()..];
        rest = inside.find(']').map_or("", |end| &inside[end + 1..]);
    }
    text + rest
}

/// What belongs to a repository, if the path leads there.
fn repository(parts: &[&str]) -> Option<Place> {
    let at = parts.iter().position(|part| *part == ".git" || matches!(*part, ".hg" | ".svn" | ".jj"))?;
    let rest = parts[at + 1..].join("/");
    Some(if names::LEFTOVERS.iter().any(|pattern| matches(pattern, &rest)) {
        Place::Leftover
    } else {
        Place::Repository
    })
}

/// How many components name a directory for temporary files, if the path begins with one.
fn temporary(parts: &[&str]) -> Option<usize> {
    match parts {
        ["tmp", ..] => Some(1),
        ["var" | "private", "tmp", ..] => Some(2),
        ["private", "var", "tmp", ..] => Some(3),
        ["var", "folders", _, _, ..] => Some(4),
        ["private", "var", "folders", _, _, ..] => Some(5),
        ["run", "user", _, ..] => Some(3),
        _ => None,
    }
}

fn device(parts: &[&str]) -> Place {
    match parts.get(1).copied() {
        None => Place::System,
        Some(
            "null" | "zero" | "stdin" | "stdout" | "stderr" | "tty" | "fd" | "ptmx" | "full" | "random" | "urandom",
        ) => Place::Null,
        Some("shm") => {
            if parts.len() > 2 {
                Place::Temporary
            } else {
                Place::AllTemporary
            }
        }
        Some("tcp" | "udp") => Place::Socket,
        Some(name) if name.starts_with("tty") || name.starts_with("pts") => Place::Null,
        Some(_) => Place::Device,
    }
}

/// Paths of Windows.
fn windows(text: &str) -> Option<Place> {
    let drive = text.as_bytes().get(1) == Some(&b':') && text.as_bytes()[0].is_ascii_alphabetic();
    let relative = text.contains('\\') && !text.starts_with('/');
    if !(drive || relative && !has_unknown(text)) {
        return None;
    }
    if text.starts_with(r"\\.\") {
        return Some(Place::Device);
    }
    let path = plain(if drive { &text[2..] } else { text }).replace('\\', "/").to_ascii_lowercase();
    let mut parts = split(&path);
    if parts.last().is_some_and(|last| matches!(last.as_str(), "*" | "*.*")) {
        parts.pop();
    }
    let parts_text: Vec<&str> = parts.iter().map(String::as_str).collect();
    if !drive && !text.starts_with('\\') {
        return Some(match parts_text.as_slice() {
            [] | [.., ".."] => Place::Project,
            _ => by_name(&parts).unwrap_or(if is_source(&parts_text) { Place::Source } else { Place::Inside }),
        });
    }
    Some(match parts_text.as_slice() {
        [] => Place::Root,
        ["windows", "temp", _, ..] | ["temp" | "tmp", _, ..] => Place::Temporary,
        ["windows" | "program files" | "program files (x86)" | "programdata", ..] => Place::System,
        ["users"] | ["users", _] => Place::Home,
        ["users", _, "appdata", "local", "temp", _, ..] => Place::Temporary,
        ["users", ..] => by_name(&parts).unwrap_or(Place::InHome),
        _ => by_name(&parts).unwrap_or(Place::Outside),
    })
}

/// Does the file hold credentials?
pub fn is_credential(text: &str) -> bool {
    let has_glob = text.contains(STAR);
    let text = plain(text).replace('\\', "/");
    let path = text.trim_end_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let Some(last) = parts.last() else { return false };
    let name = last.to_ascii_lowercase();
    if path.ends_with(".ssh/config") || names::PUBLIC.iter().any(|pattern| matches(pattern, &name)) {
        return false;
    }
    // Certificates and keys that tests bring with them open nothing.
    let is_fixture = || {
        const FIXTURES: &[&str] = &["fixtures", "__fixtures__", "testdata", "test-fixtures", "test_data", "mocks"];
        parts.iter().any(|part| FIXTURES.contains(part))
    };
    if matches!(name.rsplit('.').next(), Some("pem" | "key" | "p12" | "jks")) && is_fixture() {
        return false;
    }
    // A pattern that `.env` or a key matches.
    let stands_for = has_glob
        && name.chars().filter(|c| c.is_alphanumeric()).count() > 1
        && [".env", "id_rsa", "id_ed25519", ".netrc"].iter().any(|known| matches_any(&name, known));
    let rooted = format!("/{}", path.trim_start_matches("./").trim_start_matches('/'));
    stands_for
        || names::CREDENTIALS.iter().any(|pattern| matches(pattern, &name))
        || names::CREDENTIAL_PATHS.iter().any(|pattern| matches(pattern, &rooted))
}
