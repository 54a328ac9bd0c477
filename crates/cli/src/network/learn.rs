//! Rules for the package registries that this machine's package managers are really configured with.

use std::collections::BTreeSet;
use std::path::Path;

use network::Target;
use serde_json::{Value, json};

use super::machine::Machine;
use super::managers;
use crate::output::{self, Stream, Table};

/// What a package manager said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It gets packages from there.
    Registry {
        /// An address, as it is configured.
        address: String,
        /// Where that is configured.
        place: String,
    },
    /// Something that cannot be found out, and why.
    Unknown(String),
}

impl Said {
    /// A registry.
    pub fn registry(address: &str, place: impl Into<String>) -> Self {
        Self::Registry { address: address.trim().to_owned(), place: place.into() }
    }
}

/// What was learnt of all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    proposed: Vec<Proposal>,
    unknown: Vec<(&'static str, String)>,
}

/// A rule that lets a package manager work.
#[derive(Debug, PartialEq, Eq)]
struct Proposal {
    manager: &'static str,
    rule: String,
    place: String,
    /// Is the host public? If not, the address that it leads to must be listed, too.
    is_public: bool,
}

/// Asks every package manager that is here.
pub fn learn(machine: &dyn Machine, directory: &Path) -> Learnt {
    let mut learnt = Learnt::default();
    for (manager, ask) in managers::ALL {
        for said in ask(machine, directory) {
            match said {
                Said::Registry { address, place } => learnt.propose(manager, &address, place),
                Said::Unknown(why) => learnt.unknown.push((*manager, why)),
            }
        }
    }
    learnt
}

impl Learnt {
    fn propose(&mut self, manager: &'static str, address: &str, place: String) {
        // A registry on disk needs no network.
        if address.starts_with("file:") || address.starts_with('/') || address.starts_with('.') {
            return;
        }
        match Target::parse(&without_user(address)) {
            Ok(target) => {
                let is_public = target.host.public().is_ok();
                let proposal = Proposal { manager, rule: target.to_string(), place, is_public };
                let is_new = |known: &Proposal| known.manager != manager || known.rule != proposal.rule;
                if self.proposed.iter().all(is_new) {
                    self.proposed.push(proposal);
                }
            }
            Err(bad) => self.unknown.push((manager, format!("{place} names a registry that cannot be read: {bad}"))),
        }
    }

    /// The proposed rules, each once.
    pub fn rules(&self) -> Vec<&str> {
        let rules: BTreeSet<&str> = self.proposed.iter().map(|proposal| proposal.rule.as_str()).collect();
        rules.into_iter().collect()
    }

    /// As JSON.
    pub fn as_json(&self) -> Value {
        let proposed = self
            .proposed
            .iter()
            .map(|p| json!({"manager": p.manager, "rule": p.rule, "configured_in": p.place, "public": p.is_public}));
        let unknown = self.unknown.iter().map(|(manager, why)| json!({"manager": manager, "why": why}));
        json!({"proposed": proposed.collect::<Vec<_>>(), "unknown": unknown.collect::<Vec<_>>()})
    }

    /// For people.
    pub fn show(&self) -> anyhow::Result<()> {
        if !self.proposed.is_empty() {
            let mut table = Table::new(Stream::Out, &["MANAGER", "RULE", "CONFIGURED IN"]);
            for proposal in &self.proposed {
                table.row([proposal.manager.to_owned(), proposal.rule.clone(), proposal.place.clone()]);
            }
            table.write()?;
        }
        for (manager, why) in &self.unknown {
            output::tell(format_args!("{manager}: {}", output::printable(why)));
        }
        for proposal in self.proposed.iter().filter(|proposal| !proposal.is_public) {
            output::tell(format_args!(
                "{} is not public: list the address that it leads to as well, or it is refused there",
                proposal.rule
            ));
        }
        match self.rules().as_slice() {
            [] => output::tell("No package manager here told of a registry on the network."),
            rules => output::tell(format_args!(
                "To allow them: coordinator network learn --apply, or coordinator network allow {}",
                rules.join(" ")
            )),
        }
        Ok(())
    }
}

/// The address without the name and password that settings keep in it, and without Cargo's and pip's prefixes.
fn without_user(address: &str) -> String {
    let prefixes = ["sparse+", "registry+", "git+"];
    let address = prefixes.iter().find_map(|prefix| address.strip_prefix(prefix)).unwrap_or(address);
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{after}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    /// A machine made of tables.
    #[derive(Default)]
    struct Made {
        variables: Vec<(&'static str, &'static str)>,
        files: BTreeMap<&'static str, &'static str>,
        answers: BTreeMap<&'static str, &'static str>,
    }

    impl Machine for Made {
        fn variables(&self) -> Vec<(String, String)> {
            self.variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        }

        fn read(&self, path: &Path) -> Option<String> {
            self.files.get(path.to_str()?).map(|text| (*text).to_owned())
        }

        fn list(&self, path: &Path) -> Vec<PathBuf> {
            let inside = self.files.keys().filter_map(|file| Path::new(file).strip_prefix(path).ok());
            let names: BTreeSet<PathBuf> =
                inside.filter_map(|rest| Some(path.join(rest.components().next()?))).collect();
            names.into_iter().collect()
        }

        fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
            let asked = [&[program], arguments].concat().join(" ");
            self.answers.get(asked.as_str()).map(|text| (*text).to_owned())
        }
    }

    fn learnt(machine: &Made) -> (Vec<(&'static str, String)>, Vec<&'static str>) {
        let learnt = learn(machine, Path::new("/repo/sub"));
        let proposed = learnt.proposed.into_iter().map(|p| (p.manager, p.rule)).collect();
        (proposed, learnt.unknown.into_iter().map(|(manager, _)| manager).collect())
    }

    #[test]
    fn a_machine_without_managers_has_nothing_to_say() {
        let (proposed, unknown) = learnt(&Made::default());
        assert_eq!((proposed.len(), unknown.len()), (0, 0));
    }

    #[test]
    fn every_manager_is_asked_in_its_own_way() {
        let machine = Made {
            variables: vec![
                ("HOME", "/home/me"),
                ("CARGO_REGISTRIES_OURS_INDEX", "sparse+https://cargo.corp.test/index/"),
                ("PIP_EXTRA_INDEX_URL", "https://me:secret@wheels.corp.test/simple https://wheels.corp.test:8443/x"),
                ("GOPROXY", "ignored: go is asked"),
            ],
            files: [
                (
                    "/repo/.cargo/config.toml",
                    "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+https://mirror.test/i/\"",
                ),
                ("/home/me/.m2/settings.xml", "<mirror><url> https://maven.test/repo </url></mirror>"),
                ("/etc/apt/sources.list", "# deb http://old.test/\ndeb [arch=amd64] http://apt.test/debian stable main"),
                ("/etc/apt/sources.list.d/old.list.disabled", "deb https://old.test/ x"),
                ("/etc/apt/sources.list.d/x.sources", "Types: deb\nURIs: https://apt2.test/a https://apt3.test/b\nSuites: s"),
            ]
            .into(),
            answers: [
                ("cargo --version", "cargo 1"),
                ("npm config list --json", "{\"registry\": \"https://npm.test/\", \"@corp:registry\": \"http://npm.corp.test:4873/\", \"x\": 1}"),
                ("pip config list", "global.index-url='https://pip.test/simple'\n:env:.timeout='3'"),
                ("pip install --help", "--index-url <url> Base URL (default\n   https://never.test/simple)."),
                ("go env GOPROXY GOSUMDB", "https://go.test|https://go2.test,direct\nsum.test\n"),
                ("yarn config get npmRegistryServer", "https://yarn.test\n"),
                ("gem sources --list", "*** CURRENT SOURCES ***\n\nhttps://gem.test/\n"),
            ]
            .into(),
        };
        let (proposed, unknown) = learnt(&machine);
        let expected = [
            ("cargo", "mirror.test:443"),
            ("cargo", "cargo.corp.test:443"),
            ("npm", "npm.test:443"),
            ("npm", "npm.corp.test:4873"),
            ("yarn", "yarn.test:443"),
            ("pip", "pip.test:443"),
            ("pip", "wheels.corp.test:443"),
            ("pip", "wheels.corp.test:8443"),
            ("go", "go.test:443"),
            ("go", "go2.test:443"),
            ("go", "sum.test"),
            ("maven", "maven.test:443"),
            ("gem", "gem.test:443"),
            ("apt", "apt.test:80"),
            ("apt", "apt2.test:443"),
            ("apt", "apt3.test:443"),
        ];
        let expected: Vec<(&str, String)> = expected.map(|(manager, rule)| (manager, rule.to_owned())).into();
        for rule in &expected {
            assert!(proposed.contains(rule), "{rule:?} not in {proposed:#?}");
        }
        assert_eq!(proposed.len(), expected.len(), "{proposed:#?}");
        // Where the files are that pip's index and Go's `direct` lead to, only they know.
        assert_eq!(unknown, ["pip", "go"]);
    }

    /// What is configured nowhere is asked of the manager, and where that cannot tell, it is said.
    #[test]
    fn an_unconfigured_manager_is_asked_for_its_default() {
        let machine = Made {
            variables: vec![("CARGO_HOME", "/cargo")],
            files: [(
                "/cargo/registry/index/index.test-0123456789abcdef/config.json",
                "{\"dl\": \"https://dl.test:444/x/{crate}\"}",
            )]
            .into(),
            answers: [
                ("cargo --version", "cargo 1"),
                ("pip config list", ""),
                (
                    "pip install --help",
                    "--index-url <url> Base URL of the index (default\n                 https://pip.test/simple). More",
                ),
                ("mvn --version", "Maven"),
            ]
            .into(),
        };
        let (proposed, unknown) = learnt(&machine);
        let expected = [("cargo", "index.test:443"), ("cargo", "dl.test:444"), ("pip", "pip.test:443")];
        assert_eq!(proposed, expected.map(|(manager, rule)| (manager, rule.to_owned())));
        assert_eq!(unknown, ["pip", "maven"]);

        let never_used = Made { answers: [("cargo --version", "cargo 1")].into(), ..Made::default() };
        assert_eq!(learnt(&never_used).1, ["cargo"]);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_user("sparse+https://me:p@ss@host.test:1/a@b"), "https://host.test:1/a@b");
        let machine = Made {
            answers: [("pip config list", "global.index-url='https://u:secret@[bad/'")].into(),
            ..Made::default()
        };
        let learnt = learn(&machine, Path::new("/"));
        assert!(!format!("{learnt:?}").contains("secret"), "{learnt:?}");
    }
}
