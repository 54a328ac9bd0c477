//! Rules, and the packs they come in. Data, in TOML: `packs/*.toml`, or a project's own.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use crate::effect::{Effect, Kind, Place};
use crate::glob;
use crate::options::{Grammar, Options};
use crate::shape::Shape;
use crate::verdict::{Decision, Severity, Trust};
use crate::wrapper::Wrapper;

/// A pack as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PackText {
    /// What its rules' ids begin with, and what it is switched by.
    name: String,
    /// What it is about, in a few words.
    category: String,
    /// Programs that its rules speak of, and how they read their arguments.
    #[serde(default)]
    program: Vec<Grammar>,
    /// Programs that run other programs.
    #[serde(default)]
    wrapper: Vec<Wrapper>,
    /// The rules.
    #[serde(default)]
    rule: Vec<RuleText>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleText {
    id: String,
    severity: Severity,
    /// The trust level from which it is only logged.
    #[serde(default)]
    passes_from: Option<u8>,
    /// It is only logged, too, where all that can be lost was made for a test.
    #[serde(default)]
    spares_tests: bool,
    #[serde(default)]
    command: Vec<String>,
    /// What every shape of `command` ends with.
    #[serde(default)]
    unless: String,
    #[serde(default)]
    effect: Vec<Kind>,
    #[serde(default)]
    place: Vec<Place>,
    #[serde(default)]
    detail: Vec<String>,
    /// Patterns for the target's last component.
    #[serde(default)]
    name: Vec<String>,
    #[serde(default)]
    credential: Option<bool>,
    reason: String,
    suggestion: String,
    #[serde(default, rename = "match")]
    matches: Vec<String>,
    #[serde(default)]
    not_match: Vec<String>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `pack.name`.
    pub id: String,
    /// The pack it comes from.
    pub pack: String,
    /// What it is about.
    pub category: String,
    /// How bad it is.
    pub severity: Severity,
    /// The trust level from which it is only logged.
    pub passes_from: Option<Trust>,
    /// Is it only logged where all that can be lost was made for a test?
    pub spares_tests: bool,
    /// Why.
    pub reason: String,
    /// What to do instead.
    pub suggestion: String,
    /// Commands that it must find, and commands that it must not. Kept for packs of one's own.
    pub examples: Examples,
    shapes: Vec<Shape>,
    effects: Vec<Kind>,
    places: Vec<Place>,
    details: Vec<String>,
    names: Vec<String>,
    credential: Option<bool>,
}

/// What a rule says of itself.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    /// It finds these.
    pub found: Vec<String>,
    /// It does not find these.
    pub passed: Vec<String>,
}

/// Why a pack cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPack {
    /// It is no TOML, or says something that nobody asked.
    #[error("pack {name:?} cannot be read: {message}")]
    Syntax {
        /// What it is called, or its file.
        name: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A rule judges nothing, or has no example of what it finds.
    #[error("rule {rule:?}: {message}")]
    Rule {
        /// Which.
        rule: String,
        /// What is wrong.
        message: &'static str,
    },
    /// A rule does not do what its own examples say.
    #[error("rule {rule:?} {} find its own example {example:?}", if *.found { "must not" } else { "does not" })]
    Example {
        /// Which.
        rule: String,
        /// The command.
        example: String,
        /// Was it found?
        found: bool,
    },
}

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules {
    all: Vec<Rule>,
    ids: HashSet<String>,
    /// By program: rules and which of their shapes.
    by_program: HashMap<String, Vec<(usize, usize)>>,
    /// Rules that judge effects.
    by_effect: Vec<usize>,
    grammars: HashMap<String, usize>,
    all_grammars: Vec<Grammar>,
    wrappers: HashMap<String, Vec<usize>>,
    all_wrappers: Vec<Wrapper>,
    /// By program: long options that are never taken for short ones.
    exact: HashMap<String, BTreeSet<String>>,
    default_grammar: Grammar,
    no_exact: BTreeSet<String>,
}

impl Rules {
    /// Adds the packs that come with the program, but those that are not wanted.
    pub fn add_builtin(&mut self, is_wanted: impl Fn(&str) -> bool) -> Result<(), BadPack> {
        let syntax = |error: serde_json::Error| BadPack::Syntax { name: "builtin".into(), message: error.to_string() };
        let packs: Vec<PackText> = serde_json::from_str(BUILTIN).map_err(syntax)?;
        packs.into_iter().filter(|pack| is_wanted(&pack.name)).try_for_each(|pack| self.add_pack(pack))
    }

    /// Adds a pack from its text.
    pub fn add(&mut self, text: &str, source: &str) -> Result<(), BadPack> {
        let syntax = |error: toml::de::Error| BadPack::Syntax { name: source.to_owned(), message: error.to_string() };
        let pack: PackText = toml::from_str(text).map_err(syntax)?;
        if let Some(rule) = pack.rule.iter().find(|rule| rule.matches.is_empty() || rule.not_match.is_empty()) {
            let message = "a rule has at least one example in `match` and one in `not-match`";
            return Err(BadPack::Rule { rule: format!("{}.{}", pack.name, rule.id), message });
        }
        self.add_pack(pack)
    }

    fn add_pack(&mut self, pack: PackText) -> Result<(), BadPack> {
        for grammar in pack.program {
            for name in &grammar.names {
                self.grammars.insert(name.clone(), self.all_grammars.len());
            }
            self.all_grammars.push(grammar);
        }
        for wrapper in pack.wrapper {
            for name in &wrapper.names {
                self.wrappers.entry(name.clone()).or_default().push(self.all_wrappers.len());
            }
            self.all_wrappers.push(wrapper);
        }
        for rule in pack.rule {
            self.add_rule(rule, &pack.name, &pack.category)?;
        }
        Ok(())
    }

    fn add_rule(&mut self, text: RuleText, pack: &str, category: &str) -> Result<(), BadPack> {
        let id = format!("{pack}.{}", text.id);
        let bad = |message| BadPack::Rule { rule: id.clone(), message };
        if text.command.is_empty() == text.effect.is_empty() {
            return Err(bad("a rule has either `command` or `effect`"));
        }
        if !self.ids.insert(id.clone()) {
            return Err(bad("there is another rule of this name"));
        }
        let passes_from = match text.passes_from.map(Trust::new) {
            Some(None) => return Err(bad("`passes-from` is a trust level from 0 to 4")),
            Some(level) => level,
            None => None,
        };
        let number = self.all.len();
        let whole = |pattern: &String| Shape::parse(&format!("{pattern} {}", text.unless));
        let shapes: Vec<Shape> = text.command.iter().filter_map(whole).collect();
        for (shape_number, shape) in shapes.iter().enumerate() {
            for program in &shape.programs {
                self.by_program.entry(program.clone()).or_default().push((number, shape_number));
                let exact = self.exact.entry(program.clone()).or_default();
                exact.extend(shape.options().filter(|name| name.starts_with("--")).map(str::to_owned));
            }
        }
        if !text.effect.is_empty() {
            self.by_effect.push(number);
        }
        self.all.push(Rule {
            pack: pack.to_owned(),
            category: category.to_owned(),
            severity: text.severity,
            passes_from,
            spares_tests: text.spares_tests,
            reason: text.reason,
            suggestion: text.suggestion,
            examples: Examples { found: text.matches, passed: text.not_match },
            shapes,
            effects: text.effect,
            places: text.place,
            details: text.detail,
            names: text.name,
            credential: text.credential,
            id,
        });
        Ok(())
    }

    /// Every rule.
    pub fn all(&self) -> &[Rule] {
        &self.all
    }

    /// How a program reads its arguments.
    pub fn grammar(&self, program: &str) -> &Grammar {
        self.grammars.get(program).map_or(&self.default_grammar, |at| &self.all_grammars[*at])
    }

    /// How a program runs another, if it does; one after the other where it has several ways.
    pub fn wrappers(&self, program: &str) -> impl Iterator<Item = &Wrapper> {
        self.wrappers.get(program).into_iter().flatten().map(|at| &self.all_wrappers[*at])
    }

    /// Programs that something is known of.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.by_program.keys().chain(self.grammars.keys()).chain(self.wrappers.keys()).map(String::as_str)
    }

    /// The rules that a command's shape breaks.
    pub fn judge_call(&self, program: &str, options: &Options<'_>) -> Vec<usize> {
        let Some(candidates) = self.by_program.get(program) else { return vec![] };
        let grammar = self.grammar(program);
        if options.is_harmless(grammar) {
            return vec![];
        }
        let exact = self.exact.get(program).unwrap_or(&self.no_exact);
        let mut broken: Vec<usize> = candidates
            .iter()
            .filter(|(rule, shape)| self.all[*rule].shapes[*shape].fits(options, grammar, exact))
            .map(|(rule, _)| *rule)
            .collect();
        broken.dedup();
        broken
    }

    /// The rules that an effect breaks.
    pub fn judge_effect(&self, effect: &Effect) -> impl Iterator<Item = usize> {
        self.by_effect.iter().copied().filter(|number| self.all[*number].forbids(effect))
    }
}

impl Rule {
    fn forbids(&self, effect: &Effect) -> bool {
        let name = || effect.target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        self.effects.contains(&effect.kind)
            && (self.places.is_empty() || self.places.contains(&effect.place))
            && (self.details.is_empty() || self.details.iter().any(|detail| detail == effect.detail))
            && self.credential.is_none_or(|wanted| wanted == effect.credential)
            && (self.names.is_empty() || self.names.iter().any(|pattern| glob::matches(pattern, name())))
    }

    /// What becomes of it at a level of trust.
    pub fn decision(&self, trust: Trust) -> Decision {
        match self.passes_from {
            Some(level) if trust >= level => Decision::Warn,
            _ => self.severity.decision(),
        }
    }
}

/// What a pack calls itself.
pub fn pack_name(text: &str) -> Result<String, BadPack> {
    let syntax = |error: toml::de::Error| BadPack::Syntax { name: "?".to_owned(), message: error.to_string() };
    toml::from_str::<PackText>(text).map(|pack| pack.name).map_err(syntax)
}

/// The packs that come with the program, as `build.rs` wrote them: without the examples, which are tested when it is built.
const BUILTIN: &str = include_str!(concat!(env!("OUT_DIR"), "/packs.json"));

/// The names of the packs that come with the program.
pub fn builtin_names() -> &'static [&'static str] {
    include!(concat!(env!("OUT_DIR"), "/names.rs"))
}
