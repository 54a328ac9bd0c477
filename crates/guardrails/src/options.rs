//! Telling options from operands, as each program does.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::call::Arg;

/// How a program reads its arguments. Data: `packs/programs.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grammar {
    /// What it is called.
    #[serde(default)]
    pub names: Vec<String>,
    /// Options that take a value.
    #[serde(default)]
    pub valued: BTreeSet<String>,
    /// Options that take two.
    #[serde(default)]
    pub pairs: BTreeSet<String>,
    /// Options that take one before the first operand, or behind `compose`.
    #[serde(default)]
    pub valued_before: BTreeSet<String>,
    /// Options that take one behind a certain first operand.
    #[serde(default)]
    pub valued_after: BTreeMap<String, BTreeSet<String>>,
    /// Every long option takes a value but these.
    #[serde(default)]
    pub switches: Option<BTreeSet<String>>,
    /// Options with which it changes nothing.
    #[serde(default)]
    pub harmless: BTreeSet<String>,
    /// The same behind a certain first operand.
    #[serde(default)]
    pub harmless_after: BTreeMap<String, BTreeSet<String>>,
    /// `-word` is one option and not several letters.
    #[serde(default)]
    pub words: bool,
    /// Long options may be cut short.
    #[serde(default)]
    pub abbreviates: bool,
    /// `/s` is an option.
    #[serde(default)]
    pub slashes: bool,
    /// Reads no options behind its first operand.
    #[serde(default)]
    pub stops: bool,
}

/// An option that was given.
#[derive(Debug, Clone)]
pub struct Given {
    /// `-f` or `--force`.
    pub name: String,
    /// Its value.
    pub value: Option<Arg>,
}

/// Arguments told apart.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// The options, in order.
    pub given: Vec<Given>,
    /// The operands, in order.
    pub operands: Vec<&'a Arg>,
    /// How many operands stand before `--`, where there is one.
    pub separator: Option<usize>,
    /// How many arguments were read.
    pub read: usize,
}

/// Shorter prefixes of a long option are nobody's.
const SHORTEST: usize = 3;

impl<'a> Options<'a> {
    /// Reads what stands behind a program's name.
    pub fn read(args: &'a [Arg], grammar: &Grammar) -> Self {
        let mut options = Self::default();
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            at += 1;
            let text = arg.plain();
            let is_option = options.separator.is_none()
                && ((text.starts_with('-') && text.len() > 1) || (grammar.slashes && is_slash_option(&text)));
            if !is_option {
                if grammar.stops {
                    at -= 1;
                    break;
                }
                options.operands.push(arg);
                continue;
            }
            if text == "--" {
                options.separator = Some(options.operands.len());
                if grammar.stops {
                    break;
                }
                continue;
            }
            at += options.option(arg, &text, args.get(at), grammar);
        }
        options.read = at.min(args.len());
        options
    }

    /// Reads one option or a bundle of them; how many further arguments it took.
    fn option(&mut self, arg: &'a Arg, text: &str, next: Option<&'a Arg>, grammar: &Grammar) -> usize {
        let sub = self.operands.first().map(|arg| arg.plain());
        let valued = |name: &str| {
            let before = sub.is_none() || (self.operands.len() == 1 && sub.as_deref() == Some("compose"));
            grammar.valued.contains(name)
                || (before && grammar.valued_before.contains(name))
                || sub
                    .as_ref()
                    .and_then(|sub| grammar.valued_after.get(sub.as_ref()))
                    .is_some_and(|set| set.contains(name))
        };
        if grammar.slashes && text.starts_with('/') {
            self.given.push(Given { name: text.to_ascii_lowercase(), value: None });
            return 0;
        }
        let is_long = text.starts_with("--") || (grammar.words && text.len() > 2);
        if is_long {
            let name_len = text.find('=').unwrap_or(text.len());
            let dashes = if text.starts_with("--") { "" } else { "-" };
            let name = format!("{dashes}{}", &text[..name_len]);
            if name_len < text.len() {
                // The offset is that of the plain text; marks before `=` are no option that anybody would write.
                let value = if arg.text.get(..name_len) == text.get(..name_len) {
                    arg.from(name_len + 1)
                } else {
                    arg.with(&text[name_len + 1..])
                };
                self.given.push(Given { name, value: Some(value) });
                return 0;
            }
            if grammar.pairs.contains(&name) {
                self.given.push(Given { name, value: next.cloned() });
                return 2;
            }
            let takes = match &grammar.switches {
                Some(switches) => !switches.contains(&name) && !name.starts_with("--no-"),
                None => {
                    valued(&name)
                        || (grammar.words && valued(text))
                        || (grammar.abbreviates && self.is_prefix_of_valued(&name, grammar))
                }
            };
            let value = next.filter(|_| takes).cloned();
            let taken = usize::from(value.is_some());
            self.given.push(Given { name, value });
            return taken;
        }
        for (at, letter) in text.char_indices().skip(1) {
            let name = format!("-{letter}");
            if valued(&name) {
                let rest = &text[at + letter.len_utf8()..];
                let (value, taken) = if rest.is_empty() {
                    (next.cloned(), usize::from(next.is_some()))
                } else {
                    (Some(arg.with(rest)), 0)
                };
                self.given.push(Given { name, value });
                return taken;
            }
            self.given.push(Given { name, value: None });
        }
        0
    }

    fn is_prefix_of_valued(&self, name: &str, grammar: &Grammar) -> bool {
        let sub = self.operands.first().map(|arg| arg.plain());
        let after = sub.and_then(|sub| grammar.valued_after.get(sub.as_ref()));
        name.len() > 4
            && grammar.valued.iter().chain(after.into_iter().flatten()).any(|valued| valued.starts_with(name))
    }

    /// Was the option given, perhaps cut short, and not taken back by `--no-...` later?
    pub fn find(&self, wanted: &str, grammar: &Grammar, exact: &BTreeSet<String>) -> Option<&Given> {
        let at = self.given.iter().rposition(|given| is(&given.name, wanted, grammar, exact))?;
        let taken_back = wanted.strip_prefix("--").is_some_and(|name| {
            let no = format!("--no-{name}");
            self.given[at..].iter().any(|given| given.name == no)
        });
        (!taken_back).then(|| &self.given[at])
    }

    /// Was one of the options given? For programs whose grammar is known to whoever asks.
    pub fn has(&self, wanted: &[&str]) -> bool {
        self.given.iter().any(|given| {
            wanted.iter().any(|w| {
                given.name == *w
                    || (w.starts_with("--")
                        && given.name.len() >= SHORTEST
                        && given.name.starts_with("--")
                        && w.starts_with(&given.name))
            })
        })
    }

    /// The values of an option.
    pub fn values(&self, wanted: &[&str]) -> Vec<&Arg> {
        let is_wanted = |given: &&Given| wanted.contains(&given.name.as_str());
        self.given.iter().filter(is_wanted).filter_map(|given| given.value.as_ref()).collect()
    }

    /// Does it change nothing, because it was told so or only asked for help?
    pub fn is_harmless(&self, grammar: &Grammar) -> bool {
        let sub = self.operands.first().map(|arg| arg.plain());
        let after = sub.and_then(|sub| grammar.harmless_after.get(sub.as_ref()));
        let nothing = BTreeSet::new();
        let mut names = grammar.harmless.iter().chain(after.into_iter().flatten());
        names.any(|name| {
            self.find(name, grammar, &nothing).is_some_and(|given| {
                let value: Cow<str> = given.value.as_ref().map_or("".into(), |value| value.plain());
                !matches!(value.to_ascii_lowercase().as_str(), "none" | "false" | "no" | "0")
            })
        })
    }
}

/// Is the option that was given the one that is wanted? `exact` are names that must not be taken for short ones.
fn is(given: &str, wanted: &str, grammar: &Grammar, exact: &BTreeSet<String>) -> bool {
    if given == wanted {
        return true;
    }
    grammar.abbreviates
        && given.len() >= SHORTEST
        && given.starts_with("--")
        && wanted.starts_with(given)
        && !exact.contains(given)
}

fn is_slash_option(text: &str) -> bool {
    let name = text.strip_prefix('/').unwrap_or_default();
    !name.is_empty() && name.len() <= 12 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == ':' || c == '-')
}
