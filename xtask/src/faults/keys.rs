//! The keys that clients lock, and which of them overlap.
//!
//! This is a definition of its own, and not the product's: a key is a set of concrete things, and two keys overlap when
//! they have one in common. The things are few enough to list, and for every two keys that can meet at all there is one
//! among them in which they do.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One file, or one directory with nothing special about it.
pub const EXACT: &[&str] = &[
    "src/a/m0.rs",
    "src/a/m1.rs",
    "src/a/m2.rs",
    "src/a/m3.rs",
    "src/a/m4.rs",
    "src/a/m5.rs",
    "src/b/m0.rs",
    "src/b/m1.rs",
    "src/b/m2.rs",
    "src/b/m3.rs",
    "src/b/m4.rs",
    "src/b/m5.rs",
    "src/c/m0.rs",
    "src/c/m1.rs",
    "src/c/m2.rs",
    "src/c/m3.rs",
    "src/c/m4.rs",
    "src/c/m5.rs",
    "src/d/m0.rs",
    "src/d/m1.rs",
    "src/d/m2.rs",
    "src/d/m3.rs",
    "src/d/m4.rs",
    "src/d/m5.rs",
    "src/e/m0.rs",
    "src/e/m1.rs",
    "src/e/m2.rs",
    "src/e/m3.rs",
    "src/e/m4.rs",
    "src/e/m5.rs",
    "docs/guide.md",
    "guide.md",
];

/// Directories with all below them.
pub const SUBTREES: &[&str] = &["src/a", "src/b", "src/c", "src/d", "src/e", "docs", "src"];

/// Patterns.
pub const GLOBS: &[&str] =
    &["src/*/m0.rs", "src/a/*.rs", "**/m1.rs", "src/**/m?.rs", "docs/**", "*.md", "src/?/m4.rs", "src/c/*"];

/// Keys that are no paths.
pub const LOGICAL: &[&str] = &[
    "db:users",
    "db:schema:users",
    "db:orders",
    "api:GET /v1/users",
    "api:POST /v1/users",
    "api:/v1/users",
    "flag:billing/*",
    "flag:billing/new-ui",
    "event:user.created",
    "contract:openapi/v1.yaml",
    "env:shared-fixtures",
    "feature:f1:lead",
];

/// The features whose work can be paused.
pub const FEATURES: &[&str] = &["f1", "f2"];

/// The key that pauses the feature.
pub fn pause_of(feature: &str) -> String {
    format!("feature:{feature}:pause")
}

/// The feature of a key that begins with `feature:`.
pub fn feature_of(key: &str) -> Option<&str> {
    key.strip_prefix("feature:")?.rsplit_once(':').map(|(feature, _)| feature)
}

const DIRECTORIES: &[&str] = &["", "src/", "src/a/", "src/b/", "src/c/", "src/d/", "src/e/", "docs/", "elsewhere/"];
const FILES: &[&str] = &["m0.rs", "m1.rs", "m2.rs", "m3.rs", "m4.rs", "m5.rs", "guide.md", "notes.txt"];

/// What each logical key stands for.
const THINGS: &[(&str, &[&str])] = &[
    ("db:users", &["rows of users", "schema of users"]),
    ("db:schema:users", &["schema of users"]),
    ("db:orders", &["rows of orders"]),
    ("api:GET /v1/users", &["GET users"]),
    ("api:POST /v1/users", &["POST users"]),
    ("api:/v1/users", &["GET users", "POST users"]),
    ("flag:billing/*", &["new billing", "old billing"]),
    ("flag:billing/new-ui", &["new billing"]),
    ("event:user.created", &["user.created"]),
    ("contract:openapi/v1.yaml", &["v1.yaml"]),
    ("env:shared-fixtures", &["fixtures"]),
    ("feature:f1:lead", &["lead of f1"]),
    ("feature:f1:pause", &["pause of f1"]),
    ("feature:f2:pause", &["pause of f2"]),
];

static COVERAGE: LazyLock<HashMap<&'static str, u128>> = LazyLock::new(|| {
    let mut bits: HashMap<&str, u128> = HashMap::new();
    for thing in THINGS.iter().flat_map(|(_, things)| *things) {
        let next = 1 << (DIRECTORIES.len() * FILES.len() + bits.len());
        bits.entry(thing).or_insert(next);
    }
    let logical = THINGS.iter().map(|(key, things)| (*key, things.iter().fold(0, |all, thing| all | bits[thing])));
    let paths = EXACT.iter().chain(SUBTREES).chain(GLOBS).map(|key| (*key, files_under(key)));
    logical.chain(paths).collect()
});

/// Is there something that both keys cover?
pub fn overlap(a: &str, b: &str) -> bool {
    coverage(a) & coverage(b) != 0
}

fn coverage(key: &str) -> u128 {
    COVERAGE.get(key).copied().unwrap_or_else(|| files_under(key))
}

fn files_under(key: &str) -> u128 {
    let files = DIRECTORIES.iter().flat_map(|directory| FILES.iter().map(move |file| format!("{directory}{file}")));
    files.enumerate().fold(0, |all, (at, file)| all | (u128::from(covers(key, &file)) << at))
}

/// A path covers itself and what is below it; so does each path that a pattern matches, unless it names files.
fn covers(key: &str, file: &str) -> bool {
    let pattern: Vec<&str> = key.split('/').collect();
    let components: Vec<&str> = file.split('/').collect();
    let names_files = pattern.last().is_some_and(|last| last.contains('.'));
    let shortest = if key.contains(['*', '?']) && names_files { components.len() } else { 1 };
    (shortest..=components.len()).any(|length| matches(&pattern, &components[..length]))
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => matches(rest, path) || (!path.is_empty() && matches(pattern, &path[1..])),
        ([first, rest @ ..], [name, below @ ..]) => {
            matches_name(first.as_bytes(), name.as_bytes()) && matches(rest, below)
        }
        _ => false,
    }
}

fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => matches_name(rest, name) || (!name.is_empty() && matches_name(pattern, &name[1..])),
        ([b'?', rest @ ..], [_, more @ ..]) => matches_name(rest, more),
        ([a, rest @ ..], [b, more @ ..]) => a == b && matches_name(rest, more),
        _ => false,
    }
}

/// The keys that a request names, in its order and in their canonical spelling: `MARKER/../src` is `src`.
pub fn of_request(arguments: &serde_json::Value) -> Vec<String> {
    let one = arguments["file_path"].as_str().into_iter();
    let several = arguments["file_paths"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    let canonical = |text: &str| text.split_once("/../").map_or(text, |(_, key)| key).to_owned();
    one.chain(several).map(canonical).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_overlap_when_they_have_a_thing_in_common() {
        for (a, b, expected) in [
            ("src/a/m0.rs", "src/a/m0.rs", true),
            ("src/a/m0.rs", "src/a/m1.rs", false),
            ("src/a", "src/a/m3.rs", true),
            ("src/a", "src/b/m3.rs", false),
            ("src", "src/c", true),
            ("src/*/m0.rs", "src/b", true),
            ("src/*/m0.rs", "src/b/m1.rs", false),
            ("**/m1.rs", "docs", true),
            ("**/m1.rs", "*.md", false),
            ("src/**/m?.rs", "src/a/*.rs", true),
            ("*.md", "docs/guide.md", false),
            ("*.md", "guide.md", true),
            ("docs/**", "docs/guide.md", true),
            ("src/c/*", "src/?/m4.rs", true),
            ("db:users", "db:schema:users", true),
            ("db:users", "db:orders", false),
            ("api:/v1/users", "api:POST /v1/users", true),
            ("api:GET /v1/users", "api:POST /v1/users", false),
            ("flag:billing/*", "flag:billing/new-ui", true),
            ("feature:f1:pause", "feature:f1:lead", false),
            ("src/a", "db:users", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} and {b}");
            assert_eq!(overlap(b, a), expected, "{b} and {a}");
        }
    }

    /// Should the product's rule and this one part ways for a key of the workload, one of them is wrong; better told here
    /// than by a run of a minute.
    #[test]
    fn the_product_says_the_same_of_every_two_keys() -> Result<(), model::key::BadKey> {
        let pauses: Vec<String> = FEATURES.iter().map(|feature| pause_of(feature)).collect();
        let all = [EXACT, SUBTREES, GLOBS, LOGICAL].concat();
        let all: Vec<&str> = all.into_iter().chain(pauses.iter().map(String::as_str)).collect();
        for a in &all {
            for b in &all {
                let theirs = model::key::LockKey::parse(a)?.overlaps(&model::key::LockKey::parse(b)?);
                assert_eq!(overlap(a, b), theirs, "{a} and {b}");
            }
        }
        Ok(())
    }
}
