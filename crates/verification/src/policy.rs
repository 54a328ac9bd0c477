//! Policies: what must pass for which files. They stand in `coordinator.toml` as `[[verification]]`, or by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::key::LockKey;
pub use model::verification::Executor;
use serde::Deserialize;
use toml::Spanned;

/// How long a command may take if its policy does not say, and how long a person.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_OF_PEOPLE: Duration = Duration::from_secs(24 * 3600);
/// The longest that a policy can say.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const NAME_LIMIT: usize = 64;
/// The longest name of a workflow's file.
const WORKFLOW_LIMIT: usize = 100;
/// Where commits are pushed to for a workflow, unless its policy says otherwise.
const REMOTE: &str = "origin";
/// The input of a workflow that says which run of ours it is.
pub const RUN_INPUT: &str = "run_id";
/// The input of a workflow that says which commit it verifies.
pub const COMMIT_INPUT: &str = "commit";

/// How much a check costs, and how late it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier(u8);

impl Tier {
    /// From 0, which only reads, to 4, which people do.
    pub fn new(tier: u8) -> Option<Self> {
        (tier <= 4).then_some(Self(tier))
    }

    /// As a number.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// Is a person asked?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// Before it counts as passed.
    Needed,
    /// Never.
    NotNeeded,
}

/// A workflow of GitHub Actions that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workflow {
    /// Its file in `.github/workflows`.
    pub file: String,
    /// The remote that is the repository on GitHub.
    pub remote: String,
    /// What it is given beside [`RUN_INPUT`] and [`COMMIT_INPUT`].
    pub inputs: BTreeMap<String, String>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// It is for changes of these.
    pub globs: Vec<LockKey>,
    /// But not of these.
    pub exclude: Vec<LockKey>,
    /// See [`Tier`].
    pub tier: Tier,
    /// See [`Executor`].
    pub executor: Executor,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What GitHub runs, with [`Executor::Github`].
    pub workflow: Option<Workflow>,
    /// Commands that print the versions of what it uses: with others, a result does not count.
    pub versions: Vec<Vec<String>>,
    /// How long it may take.
    pub timeout: Duration,
    /// The variables of our environment that it needs, and gets.
    pub environment: Vec<String>,
    /// See [`Approval`].
    pub approval: Approval,
}

impl Policy {
    /// Reads one by itself: the fields of a `[[verification]]` but for the name.
    ///
    /// # Errors
    /// Everything that is wrong, with line and field.
    pub fn parse(name: &str, text: &str) -> Result<Self, BadPolicies> {
        let written: Written = read(text)?;
        let mut checker = Checker { text, bad: vec![], names: BTreeSet::new() };
        if let Some(twice) = &written.name {
            checker.wrong(twice.span().start, "name", "is given beside the text".into());
        }
        match checker.check(0, name.to_owned(), written).filter(|_| checker.bad.is_empty()) {
            Some(policy) => Ok(policy),
            None => Err(BadPolicies(checker.bad)),
        }
    }

    /// Does a person have a say?
    pub fn asks_a_person(&self) -> bool {
        self.executor == Executor::Human || self.approval == Approval::Needed
    }

    /// Does a change of this path need it? A path that cannot be read as one does.
    pub fn is_for(&self, path: &str) -> bool {
        let Ok(path) = LockKey::parse(path) else { return true };
        let is_in = |globs: &[LockKey]| globs.iter().any(|glob| glob.overlaps(&path));
        is_in(&self.globs) && !is_in(&self.exclude)
    }
}

/// All policies, by tier and then as they stand in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies(Vec<Policy>);

/// Policies that are not right: all that is wrong, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadPolicies(pub Vec<String>);

impl Policies {
    /// Reads those of a `coordinator.toml`; whatever else stands there is others' business.
    ///
    /// # Errors
    /// Everything that is wrong, with line and field.
    pub fn parse(text: &str) -> Result<Self, BadPolicies> {
        let written: WrittenFile = read(text)?;
        let mut checker = Checker { text, bad: vec![], names: BTreeSet::new() };
        let mut policies = vec![];
        for written in written.verification {
            let (start, mut written) = (written.span().start, written.into_inner());
            match written.name.take() {
                Some(name) => policies.extend(checker.check_named(start, &name, written)),
                None => checker.wrong(start, "name", "is missing".into()),
            }
        }
        policies.sort_by_key(|policy: &Policy| policy.tier);
        if checker.bad.is_empty() { Ok(Self(policies)) } else { Err(BadPolicies(checker.bad)) }
    }

    /// With these, too. Of two with one name that which is here already counts, so that nothing takes its place.
    pub fn with(mut self, others: impl IntoIterator<Item = Policy>) -> Self {
        for other in others {
            if self.named(&other.name).is_none() {
                self.0.push(other);
            }
        }
        self.0.sort_by_key(|policy| policy.tier);
        self
    }

    /// All of them.
    pub fn all(&self) -> &[Policy] {
        &self.0
    }

    /// The policy of this name.
    pub fn named(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name == name)
    }

    /// Those that a change of these paths needs, the cheapest first.
    pub fn needed<'a>(&'a self, changed: &BTreeSet<String>) -> Vec<&'a Policy> {
        self.0.iter().filter(|policy| changed.iter().any(|path| policy.is_for(path))).collect()
    }
}

#[derive(Debug, Deserialize)]
struct WrittenFile {
    #[serde(default)]
    verification: Vec<Spanned<Written>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Option<Spanned<String>>,
    globs: Vec<Spanned<String>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    tier: Spanned<u64>,
    executor: Option<Executor>,
    command: Option<Spanned<Vec<String>>>,
    workflow: Option<Spanned<String>>,
    remote: Option<Spanned<String>>,
    #[serde(default)]
    inputs: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    versions: Vec<Spanned<Vec<String>>>,
    timeout_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    environment: Vec<Spanned<String>>,
    needs_approval: Option<bool>,
}

struct Checker<'a> {
    text: &'a str,
    bad: Vec<String>,
    names: BTreeSet<String>,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, BadPolicies> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        BadPolicies(vec![format!("line {line}: verification: {}", error.message())])
    })
}

impl Checker<'_> {
    fn check_named(&mut self, start: usize, name: &Spanned<String>, written: Written) -> Option<Policy> {
        if self.names.insert(name.get_ref().clone()) {
            return self.check(start, name.get_ref().clone(), written);
        }
        let why = format!("{:?} is the name of another policy", name.get_ref());
        self.wrong(name.span().start, "name", why);
        self.check(start, name.get_ref().clone(), written).and(None)
    }

    fn check(&mut self, start: usize, name: String, written: Written) -> Option<Policy> {
        let before = self.bad.len();
        if name.is_empty() || name.len() > NAME_LIMIT || name.contains(char::is_control) {
            self.wrong(start, "name", format!("must be 1 to {NAME_LIMIT} bytes of text"));
        }
        if written.globs.is_empty() {
            self.wrong(start, "globs", "must name at least one glob, such as \"**\"".into());
        }
        let tier = u8::try_from(*written.tier.get_ref()).ok().and_then(Tier::new);
        if tier.is_none() {
            self.wrong(written.tier.span().start, "tier", "must be 0 to 4".into());
        }
        let executor = written.executor.unwrap_or(Executor::Inline);
        let is_missing = written.command.as_ref().is_none_or(|command| command.get_ref().is_empty());
        let command_at = written.command.as_ref().map_or(start, |command| command.span().start);
        match executor {
            Executor::Human if !is_missing => self.wrong(command_at, "command", "a person runs none".into()),
            Executor::Github if !is_missing => {
                self.wrong(command_at, "command", "the workflow says what is run".into())
            }
            Executor::Inline | Executor::Command if is_missing => {
                self.wrong(command_at, "command", "must name a program, such as [\"cargo\", \"test\"]".into());
            }
            _ => {}
        }
        for command in written.versions.iter().filter(|command| command.get_ref().is_empty()) {
            self.wrong(
                command.span().start,
                "versions",
                "must name programs, such as [\"cargo\", \"--version\"]".into(),
            );
        }
        for variable in &written.environment {
            if variable.get_ref().is_empty() || variable.get_ref().contains(['=', '\0']) {
                self.wrong(variable.span().start, "environment", "must be names of variables".into());
            }
        }
        let workflow = self.workflow(executor, start, &written);
        let default_timeout = if executor == Executor::Human { DEFAULT_OF_PEOPLE } else { DEFAULT_TIMEOUT };
        let timeout = written.timeout_seconds.map_or(default_timeout, |seconds| {
            let timeout = Duration::from_secs(*seconds.get_ref());
            if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
                let most = LONGEST_TIMEOUT.as_secs();
                self.wrong(seconds.span().start, "timeout_seconds", format!("must be 1 to {most}"));
            }
            timeout
        });
        let globs = self.globs("globs", &written.globs);
        let exclude = self.globs("exclude", &written.exclude);
        let is_good = self.bad.len() == before;
        tier.filter(|_| is_good).map(|tier| Policy {
            name,
            globs,
            exclude,
            tier,
            executor,
            command: written.command.map(Spanned::into_inner).unwrap_or_default(),
            workflow,
            versions: written.versions.into_iter().map(Spanned::into_inner).collect(),
            timeout,
            environment: written.environment.into_iter().map(Spanned::into_inner).collect(),
            approval: if written.needs_approval == Some(true) { Approval::Needed } else { Approval::NotNeeded },
        })
    }

    /// What GitHub is to run; nothing of that belongs to another executor, and GitHub gets nothing of this machine.
    fn workflow(&mut self, executor: Executor, start: usize, written: &Written) -> Option<Workflow> {
        if executor != Executor::Github {
            let set = [("workflow", written.workflow.as_ref()), ("remote", written.remote.as_ref())];
            let inputs = written.inputs.keys().next().map(|name| ("inputs", name));
            for (field, at) in set.into_iter().filter_map(|(field, set)| Some((field, set?))).chain(inputs) {
                self.wrong(at.span().start, field, "is for executor = \"github\" only".into());
            }
            return None;
        }
        if let Some(command) = written.versions.first() {
            let why = "nothing is run here: let the workflow fix its versions, its file is part of the tree";
            self.wrong(command.span().start, "versions", why.into());
        }
        if let Some(variable) = written.environment.first() {
            let why = "nothing of this machine's environment goes to GitHub: use inputs, or secrets there";
            self.wrong(variable.span().start, "environment", why.into());
        }
        for name in written.inputs.keys().filter(|name| matches!(name.get_ref().as_str(), RUN_INPUT | COMMIT_INPUT)) {
            self.wrong(name.span().start, "inputs", format!("{} is given by us", name.get_ref()));
        }
        let remote = written.remote.as_ref().map_or(REMOTE, |remote| remote.get_ref());
        if remote.is_empty() || remote.starts_with('-') || remote.contains(char::is_control) {
            self.wrong(
                written.remote.as_ref().map_or(start, |at| at.span().start),
                "remote",
                "must name a remote".into(),
            );
        }
        let file = written.workflow.as_ref().map(|file| file.get_ref().as_str()).unwrap_or_default();
        let is_file = (file.ends_with(".yml") || file.ends_with(".yaml"))
            && file.len() <= WORKFLOW_LIMIT
            && file.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_file {
            let at = written.workflow.as_ref().map_or(start, |at| at.span().start);
            self.wrong(at, "workflow", "must name a file in .github/workflows, such as \"ci.yml\"".into());
        }
        let inputs = written.inputs.iter().map(|(name, value)| (name.get_ref().clone(), value.clone())).collect();
        Some(Workflow { file: file.to_owned(), remote: remote.to_owned(), inputs })
    }

    fn globs(&mut self, field: &str, globs: &[Spanned<String>]) -> Vec<LockKey> {
        let read = |glob: &Spanned<String>| match LockKey::parse(glob.get_ref()) {
            Ok(key) => Some(key),
            Err(error) => {
                self.wrong(glob.span().start, field, error.to_string());
                None
            }
        };
        globs.iter().filter_map(read).collect()
    }

    fn wrong(&mut self, at: usize, field: &str, why: String) {
        self.bad.push(format!("line {}: verification.{field}: {why}", line_of(self.text, at)));
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
lock_ttl_minutes = 7

[[verification]]
name = "tests"
globs = ["src/**/*.rs", "Cargo.toml"]
exclude = ["src/generated/"]
tier = 2
command = ["cargo", "test"]
versions = [["cargo", "--version"]]
timeout_seconds = 60
environment = ["CARGO_HOME"]

[[verification]]
name = "format"
globs = ["**"]
tier = 0
command = ["cargo", "fmt", "--check"]

[[verification]]
name = "look"
globs = ["docs/"]
tier = 4
executor = "human"
needs_approval = true
"#;

    fn needed(paths: &[&str]) -> Vec<String> {
        let policies = Policies::parse(GOOD).unwrap();
        let changed = paths.iter().map(|path| (*path).to_owned()).collect();
        policies.needed(&changed).into_iter().map(|policy| policy.name.clone()).collect()
    }

    #[test]
    fn a_change_needs_what_is_for_its_files_the_cheapest_first() {
        assert_eq!(needed(&["src/deep/a.rs"]), ["format", "tests"]);
        assert_eq!(needed(&["src/generated/a.rs"]), ["format"]);
        assert_eq!(needed(&["src/generated/a.rs", "Cargo.toml"]), ["format", "tests"]);
        assert_eq!(needed(&["docs/a.md"]), ["format", "look"]);
        assert_eq!(needed(&[]), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_field() {
        let bad = r#"[[verification]]
name = "a"
globs = ["src/../../x"]
tier = 5
timeout_seconds = 0
environment = ["A=B"]

[[verification]]
name = "a"
globs = []
tier = 1
executor = "human"
command = ["true"]
"#;
        let BadPolicies(lines) = Policies::parse(bad).unwrap_err();
        let places: Vec<&str> = lines
            .iter()
            .map(|line| line.split(": ").take(2).map(str::len).sum::<usize>() + 2)
            .zip(&lines)
            .map(|(end, line)| &line[..end])
            .collect();
        assert_eq!(
            places,
            [
                "line 4: verification.tier",
                "line 1: verification.command",
                "line 6: verification.environment",
                "line 5: verification.timeout_seconds",
                "line 3: verification.globs",
                "line 9: verification.name",
                "line 8: verification.globs",
                "line 13: verification.command",
            ],
            "{lines:#?}"
        );
    }

    #[test]
    fn a_workflow_is_named_and_gets_nothing_of_this_machine() {
        let of = |more: &str| {
            Policies::parse(&format!("[[verification]]\nname = 'ci'\nglobs = ['**']\ntier = 1\n{more}"))
                .map(|policies| policies.all()[0].workflow.clone())
                .map_err(|BadPolicies(lines)| lines)
        };
        let workflow = of("executor = 'github'\nworkflow = 'ci.yml'\ninputs = { target = 'linux' }").unwrap().unwrap();
        assert_eq!((workflow.file.as_str(), workflow.remote.as_str()), ("ci.yml", "origin"));
        assert_eq!(workflow.inputs, [("target".to_owned(), "linux".to_owned())].into());
        for (bad, place) in [
            ("executor = 'github'", "line 1: verification.workflow: must name a file"),
            ("executor = 'github'\nworkflow = '../ci.yml'", "line 6: verification.workflow: must name a file"),
            ("executor = 'github'\nworkflow = 'ci'", "line 6: verification.workflow: must name a file"),
            ("executor = 'github'\nworkflow = 'ci.yml'\ncommand = ['x']", "line 7: verification.command: the workflow"),
            ("executor = 'github'\nworkflow = 'ci.yml'\nversions = [['x']]", "line 7: verification.versions: nothing"),
            (
                "executor = 'github'\nworkflow = 'ci.yml'\nenvironment = ['X']",
                "line 7: verification.environment: nothing",
            ),
            (
                "executor = 'github'\nworkflow = 'ci.yml'\ninputs = { commit = 'x' }",
                "line 7: verification.inputs: commit",
            ),
            ("executor = 'github'\nworkflow = 'ci.yml'\nremote = '-x'", "line 7: verification.remote: must name"),
            ("command = ['x']\nworkflow = 'ci.yml'", "line 6: verification.workflow: is for executor"),
            ("command = ['x']\ninputs = { a = 'b' }", "line 6: verification.inputs: is for executor"),
        ] {
            let lines = of(bad).unwrap_err();
            assert!(lines.len() == 1 && lines[0].starts_with(place), "{bad}: {lines:?}");
        }
    }

    #[test]
    fn one_by_itself_is_read_alike_and_takes_nobody_s_place() {
        let alone = Policy::parse("tests", "globs = ['**']\ntier = 0\ncommand = ['true']").unwrap();
        let more = Policy::parse("more", "globs = ['**']\ntier = 1\ncommand = ['true']").unwrap();
        let all = Policies::parse(GOOD).unwrap().with([alone, more]);
        let names: Vec<_> = all.all().iter().map(|policy| (policy.name.as_str(), policy.tier.get())).collect();
        assert_eq!(names, [("format", 0), ("more", 1), ("tests", 2), ("look", 4)]);
        for (name, text, why) in [
            ("", "globs = ['**']\ntier = 0\ncommand = ['true']", "line 1: verification.name: must be 1 to 64"),
            (
                "a",
                "globs = ['**']\ntier = 0\nname = 'b'\ncommand = ['true']",
                "line 3: verification.name: is given beside",
            ),
            ("a", "globs = ['**']\ntier = 7\ncommand = ['true']", "line 2: verification.tier: must be 0 to 4"),
            ("a", "[[verification]]\nglobs = ['**']", "line 1: verification: unknown field `verification`"),
            ("a", "globs =", "line 1: verification: "),
        ] {
            let BadPolicies(lines) = Policy::parse(name, text).unwrap_err();
            assert!(lines.len() == 1 && lines[0].starts_with(why), "{text}: {lines:?}");
        }
    }

    #[test]
    fn fields_that_nobody_knows_are_refused_where_they_stand() {
        let BadPolicies(lines) = Policies::parse("\n[[verification]]\nname = 'a'\nglob = 'x'\n").unwrap_err();
        assert!(lines[0].starts_with("line 4: verification: unknown field `glob`"), "{lines:?}");
    }
}
