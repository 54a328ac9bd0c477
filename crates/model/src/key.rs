//! Lock keys: their one canonical spelling, and when two of them overlap.
//!
//! A key names a path of the repository (`src/a.py`, `src/auth/`, `src/**/*.sql`) or something logical
//! (`db:users`, `api:GET /v1/users`). Different spellings of one thing become one key, so a key can be compared; two
//! different keys can still cover a common thing, and then they *overlap*.
//!
//! A path covers itself and everything below it. A glob covers what it matches and, unless its last component names a
//! file (it has an extension), everything below that. Logical keys are equal or not, but for wildcards, for an API
//! route without a method (it means every method) and for a table, which covers its schema (`db:schema:TABLE`).

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::glob;

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 4096;
/// The longest key that holds a wildcard, in bytes: such keys are compared with every other by automaton.
pub const GLOB_LIMIT: usize = 512;
/// The deepest path, in components.
pub const DEPTH_LIMIT: usize = 128;

/// The purpose of the key whose holder pauses a feature: `feature:ID:pause`.
pub const PAUSE: &str = "pause";

/// What kind of thing a key names. Keys of different spaces never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// A file, a directory with all below it, or a glob over them.
    Path,
    /// An HTTP route: `api:GET /v1/users`.
    Api,
    /// A table, its schema, or a slot: `db:users`.
    Db,
    /// An event's schema: `event:user.created`.
    Event,
    /// A feature flag: `flag:billing/*`.
    Flag,
    /// A shared environment: `env:shared-fixtures`.
    Env,
    /// A contract document: `contract:openapi/v1.yaml`.
    Contract,
    /// Something of one feature: `feature:add-auth:pause`.
    Feature,
}

impl Space {
    /// Its name, which for logical keys is also their prefix.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Api => "api",
            Self::Db => "db",
            Self::Event => "event",
            Self::Flag => "flag",
            Self::Env => "env",
            Self::Contract => "contract",
            Self::Feature => "feature",
        }
    }

    /// Every space whose keys have a prefix.
    pub const LOGICAL: [Self; 7] =
        [Self::Api, Self::Db, Self::Event, Self::Flag, Self::Env, Self::Contract, Self::Feature];

    /// Does a key cover what lies below it?
    fn covers_below(self) -> bool {
        matches!(self, Self::Path | Self::Db)
    }
}

/// A text that is no lock key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not a path of this repository.
    #[error("{0:?} is not a path inside the repository: {1}")]
    Path(String, &'static str),
    /// A prefix that means nothing here.
    #[error(
        "lock keys may not start with \"{0}:\"; use a path, or one of api:, db:, event:, flag:, env:, contract:, feature:"
    )]
    Prefix(String),
    /// A known prefix with something behind it that does not fit.
    #[error("{0:?} is not a lock key: {1}")]
    Logical(String, &'static str),
}

impl BadKey {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path(..) => "invalid_file_path",
            Self::Prefix(_) => "operation_not_permitted",
            Self::Logical(..) => "invalid_lock_key",
        }
    }
}

/// A lock key in its canonical spelling.
///
/// Ordered and compared by space and pattern: two keys with one pattern are one key in effect.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LockKey {
    text: String,
    space: Space,
    pattern: String,
    wild: bool,
}

impl LockKey {
    /// Reads a key as a client wrote it.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        if text.len() > KEY_LIMIT {
            return Err(BadKey::Path(shortened(text), "it is longer than 4096 bytes"));
        }
        let key = match prefix(text) {
            None => path(text),
            Some((word, rest)) => match Space::LOGICAL.into_iter().find(|space| space.as_str() == word) {
                Some(space) => logical(space, text, rest),
                None if word.len() == 1 && rest.starts_with(['/', '\\']) => {
                    Err(BadKey::Path(shortened(text), "it is absolute"))
                }
                None => Err(BadKey::Prefix(word.to_owned())),
            },
        }?;
        // One letter can become two, composed or in lower case.
        if key.text.len() > KEY_LIMIT {
            return Err(BadKey::Path(shortened(text), "its canonical spelling is longer than 4096 bytes"));
        }
        Ok(key)
    }

    /// A key as a store kept it.
    pub fn from_trusted(text: String, space: Space, pattern: String, wild: bool) -> Self {
        Self { text, space, pattern, wild }
    }

    /// The canonical spelling, for people and answers.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What kind of thing it names.
    pub fn space(&self) -> Space {
        self.space
    }

    /// The components, joined by `/`, in which overlap is decided. Empty: the whole repository.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Does it hold a wildcard?
    pub fn is_wild(&self) -> bool {
        self.wild
    }

    /// The pattern's components before the first wildcard. What overlaps this key, and is no glob, is one of
    /// [`lineage`](Self::lineage) or lies below the stem.
    pub fn stem(&self) -> &str {
        if !self.wild {
            return &self.pattern;
        }
        let mut end = 0;
        for component in self.pattern.split('/') {
            if glob::is_wild(component) {
                break;
            }
            end += component.len() + 1;
        }
        self.pattern.get(..end.saturating_sub(1)).unwrap_or_default()
    }

    /// The stem and all its ancestors up to the whole repository (`""`).
    pub fn lineage(&self) -> Vec<&str> {
        let stem = self.stem();
        let mut lineage: Vec<&str> = vec![""];
        lineage.extend(stem.match_indices('/').map(|(at, _)| &stem[..at]));
        if !stem.is_empty() {
            lineage.push(stem);
        }
        lineage
    }

    /// Can one thing be covered by both keys?
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.space != other.space {
            return false;
        }
        if !self.wild && !other.wild {
            return self.pattern == other.pattern
                || self.space.covers_below()
                    && (is_below(&self.pattern, &other.pattern) || is_below(&other.pattern, &self.pattern));
        }
        glob::intersect(&self.reach(), &other.reach())
    }

    /// The components of everything covered, as a glob.
    fn reach(&self) -> Vec<&str> {
        let mut components: Vec<&str> = self.pattern.split('/').filter(|c| !c.is_empty()).collect();
        let names_a_file = self.space == Space::Path && components.last().is_some_and(|last| has_extension(last));
        if self.space.covers_below() && !names_a_file {
            components.push(glob::ANY_DEPTH);
        }
        components
    }

    /// The feature of a `feature:ID:PURPOSE` key, and its purpose.
    pub fn feature(&self) -> Option<(&str, &str)> {
        (self.space == Space::Feature).then(|| self.pattern.rsplit_once('/'))?
    }

    /// Does its holder pause a feature?
    pub fn is_pause(&self) -> bool {
        self.feature().is_some_and(|(_, purpose)| purpose == PAUSE)
    }

    /// The key whose holder pauses the feature.
    pub fn pause_of(feature_id: &str) -> Result<Self, BadKey> {
        Self::parse(&format!("feature:{feature_id}:{PAUSE}"))
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Is `inner` strictly below `outer`?
fn is_below(inner: &str, outer: &str) -> bool {
    outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

/// Does the component look like a file's name: a dot inside it, then 1 to 10 ASCII letters or digits, not all digits?
///
/// A coordinator on another machine cannot look whether `docs` is a directory; this decides whether a glob such as
/// `**/*.py` could match something below the path. Paths are compared with paths without it.
fn has_extension(component: &str) -> bool {
    component.rsplit_once('.').is_some_and(|(name, extension)| {
        !name.is_empty()
            && (1..=10).contains(&extension.len())
            && extension.chars().all(|c| c.is_ascii_alphanumeric())
            && !extension.chars().all(|c| c.is_ascii_digit())
    })
}

/// Splits `word:rest`, where `word` looks like a prefix: a letter, then letters, digits, `_`, `-`, `+` or `.`.
fn prefix(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(':')?;
    let starts = word.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let good = starts && word.chars().all(|c| c.is_ascii_alphanumeric() || "_-+.".contains(c));
    good.then_some((word, rest))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// Canonicalises a path: one separator, no empty or `.` components, `..` resolved, NFC. What would mean something else in
/// its canonical spelling, such as `./~`, is no key.
fn path(text: &str) -> Result<LockKey, BadKey> {
    let bad = |why| BadKey::Path(shortened(text), why);
    let is_home = |text: &str| text.split(['/', '\\']).next() == Some("~");
    if text.starts_with(['/', '\\']) || is_home(text) {
        return Err(bad("it is absolute"));
    }
    let components = path_components(text).map_err(bad)?;
    let pattern = components.join("/");
    if let Some((word, _)) = prefix(&pattern) {
        return Err(BadKey::Prefix(word.to_owned()));
    }
    if is_home(&pattern) {
        return Err(bad("it begins with ~, which would be a home directory"));
    }
    let wild = components.iter().any(|c| glob::is_wild(c));
    if wild && pattern.len() > GLOB_LIMIT {
        return Err(bad("a glob may have at most 512 bytes"));
    }
    let text = if pattern.is_empty() { ".".to_owned() } else { pattern.clone() };
    Ok(LockKey { text, space: Space::Path, pattern, wild })
}

fn path_components(text: &str) -> Result<Vec<String>, &'static str> {
    if text.trim().is_empty() {
        return Err("it is empty");
    }
    if text.chars().any(char::is_control) {
        return Err("it has a control character");
    }
    let text = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfc().collect()),
    };
    let mut components: Vec<String> = Vec::new();
    for component in text.split(['/', '\\']) {
        match component {
            "" | "." => {}
            ".." => match components.pop() {
                None => return Err("it leaves the repository"),
                Some(last) if glob::is_wild(&last) => return Err("\"..\" after a wildcard has no one meaning"),
                Some(_) => {}
            },
            _ => push_component(&mut components, component),
        }
    }
    if components.len() > DEPTH_LIMIT {
        return Err("it is deeper than 128 directories");
    }
    if components.iter().any(|component| component.trim().is_empty()) {
        return Err("a component is nothing but spaces");
    }
    Ok(components)
}

/// Appends a component, wildcards in their shortest spelling: a run of `**` once, `a***b` as `a*b`.
fn push_component(components: &mut Vec<String>, component: &str) {
    if component == glob::ANY_DEPTH {
        if components.last().is_none_or(|last| last != glob::ANY_DEPTH) {
            components.push(component.to_owned());
        }
        return;
    }
    let mut shortest = String::with_capacity(component.len());
    for c in component.chars() {
        if c != '*' || !shortest.ends_with('*') {
            shortest.push(c);
        }
    }
    components.push(shortest);
}

/// Canonicalises the rest of a key behind its prefix.
fn logical(space: Space, text: &str, rest: &str) -> Result<LockKey, BadKey> {
    let bad = |why| BadKey::Logical(shortened(text), why);
    let (text, components) = match space {
        Space::Path => return path(text),
        Space::Api => api(rest).map_err(bad)?,
        Space::Db => {
            let name = rest.to_lowercase();
            let components = match name.split_once(':') {
                Some(("schema", table)) => vec![table.to_owned(), "schema".to_owned()],
                Some(_) => return Err(bad("after db: comes TABLE, schema:TABLE or a slot's name")),
                None => vec![name.clone()],
            };
            (name, components)
        }
        Space::Event => {
            let name = rest.to_lowercase();
            (name.clone(), name.split('.').map(str::to_owned).collect())
        }
        Space::Flag => {
            let name = rest.to_lowercase();
            (name.clone(), name.split('/').map(str::to_owned).collect())
        }
        Space::Env => {
            if rest.chars().all(|c| c.is_ascii_digit()) {
                return Err(bad("a bare port number is not an environment: use allocate_ports"));
            }
            (rest.to_owned(), vec![rest.to_owned()])
        }
        Space::Contract => {
            let components = path_components(rest).map_err(bad)?;
            if components.is_empty() {
                return Err(bad("it is empty"));
            }
            (components.join("/"), components)
        }
        Space::Feature => match rest.rsplit_once(':') {
            Some((id, purpose)) => (rest.to_owned(), vec![id.to_owned(), purpose.to_owned()]),
            None => return Err(bad("after feature: comes ID:PURPOSE")),
        },
    };
    let wild = components.iter().any(|c| glob::is_wild(c));
    if wild && matches!(space, Space::Env | Space::Feature) {
        return Err(bad("this kind of key takes no wildcard"));
    }
    for component in &components {
        let good = |c: char| match space {
            Space::Api | Space::Contract => !c.is_whitespace() && !c.is_control(),
            Space::Feature => c.is_alphanumeric() || "_-./".contains(c),
            Space::Db => c.is_alphanumeric() || "_-.$*?".contains(c),
            _ => c.is_alphanumeric() || "_-.*?".contains(c),
        };
        if component.is_empty() || !component.chars().all(good) {
            return Err(bad("it has an empty part or a character that does not belong there"));
        }
    }
    let pattern = components.join("/");
    if wild && pattern.len() > GLOB_LIMIT {
        return Err(bad("a key with wildcards may have at most 512 bytes"));
    }
    if components.len() > DEPTH_LIMIT {
        return Err(bad("it has more than 128 parts"));
    }
    // A route without a method has `*` for one, so it is compared as a glob.
    Ok(LockKey { text: format!("{}:{text}", space.as_str()), space, pattern, wild })
}

/// `METHOD /route` or `/route`: the canonical text, and the method (`*` for any) followed by the route's segments.
///
/// A parameter is a parameter whatever its name: `{id}`, `:id` and `<id>` become `{}`.
fn api(rest: &str) -> Result<(String, Vec<String>), &'static str> {
    let (method, route) = match rest.trim().split_once(char::is_whitespace) {
        Some((method, route)) => (Some(method.to_uppercase()), route.trim_start()),
        None => (None, rest.trim()),
    };
    if method.as_ref().is_some_and(|m| m.is_empty() || !m.chars().all(|c| c.is_ascii_alphabetic())) {
        return Err("an API key is METHOD /route, or /route for every method");
    }
    let mut segments: Vec<String> = Vec::new();
    for segment in route.split('/').filter(|s| !s.is_empty()) {
        push_component(&mut segments, segment);
    }
    let route = format!("/{}", segments.join("/"));
    let text = match &method {
        Some(method) => format!("{method} {route}"),
        None => route,
    };
    let is_parameter = |s: &str| {
        s.starts_with(':') || s.starts_with('{') && s.ends_with('}') || s.starts_with('<') && s.ends_with('>')
    };
    let mut components = vec![method.unwrap_or_else(|| "*".into())];
    components.extend(segments.into_iter().map(|s| if is_parameter(&s) { "{}".into() } else { s }));
    Ok((text, components))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> LockKey {
        LockKey::parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    #[test]
    fn spellings_of_one_thing_are_one_key() {
        for (spellings, canonical) in [
            (&["src/a.py", "./src//a.py", "src/x/../a.py", "src\\a.py", "src/a.py/", "src/./a.py"][..], "src/a.py"),
            (&["src", "src/", "src//", "./src/."], "src"),
            (&[".", "./", "a/.."], "."),
            (&["caf\u{e9}", "cafe\u{301}"], "caf\u{e9}"),
            (&["src/**/**/*.py", "src/**/***.py"], "src/**/*.py"),
            (&["api:get  /v1//users/", "api:GET /v1/users"], "api:GET /v1/users"),
            (&["api:/auth/login", "api:auth/login"], "api:/auth/login"),
            (&["db:Users", "db:users"], "db:users"),
            (&["event:User.Created"], "event:user.created"),
            (&["flag:Billing/*"], "flag:billing/*"),
            (&["contract:openapi//v1.yaml"], "contract:openapi/v1.yaml"),
            (&["env:DATABASE_URL"], "env:DATABASE_URL"),
            (&["feature:add-auth:pause"], "feature:add-auth:pause"),
        ] {
            for spelling in spellings {
                assert_eq!(key(spelling).as_str(), canonical, "{spelling}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_code() {
        let long = "a".repeat(4097);
        let deep = "a/".repeat(200);
        let grown = "\u{958}".repeat(1000);
        for (text, code) in [
            ("", "invalid_file_path"),
            ("   ", "invalid_file_path"),
            ("..", "invalid_file_path"),
            ("../x", "invalid_file_path"),
            ("a/../../x", "invalid_file_path"),
            ("src/*/../a", "invalid_file_path"),
            ("/etc/passwd", "invalid_file_path"),
            ("\\\\server\\share", "invalid_file_path"),
            ("C:\\x", "invalid_file_path"),
            ("~/x", "invalid_file_path"),
            ("~\\x", "invalid_file_path"),
            ("./~", "invalid_file_path"),
            ("a/../~/x", "invalid_file_path"),
            ("./ ", "invalid_file_path"),
            (grown.as_str(), "invalid_file_path"),
            ("a\0b", "invalid_file_path"),
            ("a\nb", "invalid_file_path"),
            (long.as_str(), "invalid_file_path"),
            (deep.as_str(), "invalid_file_path"),
            ("foo:bar", "operation_not_permitted"),
            ("./foo:bar", "operation_not_permitted"),
            ("./db:users", "operation_not_permitted"),
            ("API:/x", "operation_not_permitted"),
            ("env:8080", "invalid_lock_key"),
            ("env:", "invalid_lock_key"),
            ("db:a:b", "invalid_lock_key"),
            ("db:drop table", "invalid_lock_key"),
            ("event:user..created", "invalid_lock_key"),
            ("feature:x", "invalid_lock_key"),
            ("api:G3T /x", "invalid_lock_key"),
            ("contract:../x", "invalid_lock_key"),
            ("contract:/", "invalid_lock_key"),
        ] {
            let error = LockKey::parse(text).expect_err(text);
            assert_eq!(error.code(), code, "{text:?}: {error}");
        }
    }

    #[test]
    fn keys_overlap_when_they_cover_a_common_thing() {
        for (a, b, expected) in [
            ("src/a.py", "src/a.py", true),
            ("src/a.py", "src/b.py", false),
            ("src", "src/a.py", true),
            ("src", "src2/a.py", false),
            (".", "anything/at/all", true),
            (".", "src/*", true),
            ("src/**/*.py", "src/a.py", true),
            ("src/**/*.py", "src/x/y/a.py", true),
            ("src/**/*.py", "src/a.txt", false),
            ("src/**/*.py", "src", true),
            ("src/**/*.py", "src/x", true),
            ("**/*.py", "README.md", false),
            ("**/*.py", "v1.2", true),
            ("**/*.py", ".github", true),
            ("src/*", "src/x/deep.rs", true),
            ("src/*.rs", "src/x/deep.rs", false),
            ("src/*.rs", "src/*.py", false),
            ("src/a*", "src/*b", true),
            ("app/[id]/page.tsx", "app/i/page.tsx", false),
            ("app/[id]/page.tsx", "app/*/page.tsx", true),
            ("db:users", "db:schema:users", true),
            ("db:schema:users", "db:schema:users", true),
            ("db:users", "db:schema:orders", false),
            ("db:users", "db:orders", false),
            ("db:users", "users", false),
            ("api:/auth/login", "api:POST /auth/login", true),
            ("api:GET /v1/users", "api:POST /v1/users", false),
            ("api:GET /v1/users", "api:GET /v1/users/{id}", false),
            ("api:GET /v1/users/:id", "api:GET /v1/users/{user}", true),
            ("api:/v1/**", "api:GET /v1/users", true),
            ("flag:billing/*", "flag:billing/new-ui", true),
            ("flag:billing/*", "flag:search/x", false),
            ("event:user.*", "event:user.created", true),
            ("feature:a:pause", "feature:a:lead", false),
        ] {
            assert_eq!(key(a).overlaps(&key(b)), expected, "{a} and {b}");
            assert_eq!(key(b).overlaps(&key(a)), expected, "{b} and {a}");
        }
    }

    #[test]
    fn the_stem_ends_before_the_first_wildcard() {
        for (text, stem, lineage) in [
            ("a/b/c.rs", "a/b/c.rs", &["", "a", "a/b", "a/b/c.rs"][..]),
            ("a/*/c", "a", &["", "a"]),
            ("*/c", "", &[""]),
            (".", "", &[""]),
        ] {
            assert_eq!(key(text).stem(), stem, "{text}");
            assert_eq!(key(text).lineage(), lineage, "{text}");
        }
    }

    /// Texts of the pieces that mean something in a key, in any order.
    fn any_text() -> impl Strategy<Value = String> {
        let pieces = vec![
            "a",
            "B",
            "~",
            " ",
            "/",
            "\\",
            ".",
            "..",
            "*",
            "**",
            "?",
            ":",
            "{}",
            "<a>",
            "-",
            "_",
            "#",
            "C:",
            "api:",
            "db:",
            "schema:",
            "event:",
            "flag:",
            "env:",
            "contract:",
            "feature:",
            "get ",
            "8",
            "\u{301}",
            "\u{958}",
            "\u{130}",
            "\u{3a3}",
            "\u{212a}",
            "\u{a0}",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..8).prop_map(|pieces| pieces.concat())
    }

    fn any_path() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop::sample::select(vec!["a", "b", "x.py", "y.rs", ".", "..", "", "*", "**", "*.py", "?"]),
            1..6,
        )
        .prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn canonical_spelling_is_a_fixed_point(text in prop_oneof![any_text(), "\\PC{0,40}"]) {
            if let Ok(key) = LockKey::parse(&text) {
                prop_assert_eq!(LockKey::parse(key.as_str()), Ok(key));
            }
        }

        #[test]
        fn overlap_is_symmetric_and_reflexive(a in any_path(), b in any_path()) {
            if let (Ok(a), Ok(b)) = (LockKey::parse(&a), LockKey::parse(&b)) {
                prop_assert!(a.overlaps(&a));
                prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            }
        }

        #[test]
        fn an_overlapping_plain_key_is_in_the_lineage_or_below_the_stem(a in any_path(), b in any_path()) {
            if let (Ok(a), Ok(b)) = (LockKey::parse(&a), LockKey::parse(&b)) && a.overlaps(&b) && !b.is_wild() {
                let near = a.lineage().contains(&b.pattern()) || is_below(b.pattern(), a.stem());
                prop_assert!(near, "{} and {}", a, b);
            }
        }
    }
}
