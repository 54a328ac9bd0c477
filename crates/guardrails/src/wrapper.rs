//! Programs that run another program: how to find it behind them. Data: `packs/programs.toml`.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::call::Arg;
use crate::options::{Grammar, Options};

/// How a program runs another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wrapper {
    /// What it is called.
    pub names: Vec<String>,
    /// Operands that must come first: `exec` of `docker exec`; alternatives are separated by `|`.
    #[serde(default)]
    words: Vec<String>,
    /// Options that take a value, as far as the program's own grammar does not say so.
    #[serde(default)]
    valued: BTreeSet<String>,
    /// Options that take two.
    #[serde(default)]
    pairs: BTreeSet<String>,
    /// Options whose value is the code that it runs.
    #[serde(default)]
    code: BTreeSet<String>,
    /// How many operands of its own it has.
    #[serde(default)]
    skip: usize,
    /// The command stands behind `--`, and nowhere else.
    #[serde(default)]
    dashes: bool,
    /// Takes `NAME=value` before the command.
    #[serde(default)]
    assigns: bool,
    /// `-word` is one option.
    #[serde(default)]
    long_words: bool,
    /// How the rest is run.
    #[serde(default)]
    runs: Runs,
    /// Its own operand is an image, which may be made for one program.
    #[serde(default)]
    image: bool,
    /// Without a command, it runs a shell on standard input.
    #[serde(default)]
    pub shell: bool,
    /// Is it another machine, whose files are not ours?
    #[serde(default)]
    pub elsewhere: bool,
}

/// How a wrapper runs what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// As a program with arguments.
    #[default]
    Program,
    /// Put together and read by a shell.
    Line,
    /// Each by itself read by a shell.
    Lines,
    /// Only what its options hold.
    Nothing,
}

impl Wrapper {
    /// Does the program do something of its own beside what it runs?
    pub fn is_more(&self) -> bool {
        self.runs == Runs::Nothing
    }
}

/// What a wrapper runs.
#[derive(Debug, Default)]
pub struct Wrapped {
    /// A program and its arguments.
    pub program: Vec<Arg>,
    /// Code for a shell.
    pub code: Vec<Arg>,
    /// `NAME=value` that it sets.
    pub assignments: Vec<Arg>,
    /// The program that an image is made for, with the same arguments.
    pub image: Vec<Arg>,
    /// How it is told of: `docker exec`.
    pub label: String,
}

impl Wrapper {
    /// Finds what is run; nothing where the arguments are those of something else.
    pub fn unwrap(&self, args: &[Arg], own: &Grammar) -> Option<Wrapped> {
        let name = args.first()?.plain().into_owned();
        let mut wrapped = Wrapped { label: crate::call::program_name(&name), ..Wrapped::default() };
        let mut rest = &args[1..];
        let grammar = Grammar {
            valued: self.valued.iter().chain(&self.code).chain(&own.valued).cloned().collect(),
            pairs: self.pairs.clone(),
            words: self.long_words || own.words,
            abbreviates: own.abbreviates,
            stops: true,
            ..Grammar::default()
        };
        let mut code = vec![];
        let mut dashed = false;
        let mut take_options = |rest: &mut &[Arg]| {
            let options = Options::read(rest, &grammar);
            code.extend(
                options
                    .given
                    .iter()
                    .filter(|given| self.code.contains(&given.name))
                    .filter_map(|given| given.value.clone()),
            );
            dashed |= options.separator.is_some();
            *rest = rest.get(options.read..).unwrap_or_default();
        };
        take_options(&mut rest);
        for alternatives in &self.words {
            let (word, tail) = rest.split_first()?;
            if !alternatives.split('|').any(|alternative| alternative == word.plain()) {
                return None;
            }
            wrapped.label = format!("{} {}", wrapped.label, word.plain());
            rest = tail;
            take_options(&mut rest);
        }
        if self.assigns {
            let is_assignment = |arg: &&Arg| {
                let text = arg.plain();
                text.split_once('=').is_some_and(|(name, _)| {
                    !name.is_empty()
                        && !name.starts_with('-')
                        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                })
            };
            let count = rest.iter().take_while(is_assignment).count();
            wrapped.assignments = rest[..count].to_vec();
            rest = &rest[count..];
        }
        if self.runs == Runs::Nothing && !rest.is_empty() {
            // What it runs may stand in options behind its operands.
            let anywhere = Grammar { stops: false, ..grammar.clone() };
            let options = Options::read(rest, &anywhere);
            let values = options
                .given
                .into_iter()
                .filter(|given| self.code.contains(&given.name))
                .filter_map(|given| given.value);
            wrapped.code.extend(values);
        }
        let mut image = None;
        for _ in 0..self.skip {
            image = rest.first().filter(|_| self.image);
            rest = rest.get(1..).unwrap_or_default();
            take_options(&mut rest);
        }
        wrapped.code.extend(code);
        if let Some(image) = image.filter(|_| !rest.is_empty()) {
            let name = image
                .plain()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .split([':', '@'])
                .next()
                .unwrap_or_default()
                .to_owned();
            let program = image.with(name.strip_suffix("-cli").unwrap_or(&name));
            wrapped.image = [&[program], rest].concat();
        }
        if self.dashes && !dashed {
            let at = rest.iter().position(|arg| arg.text == "--").map_or(rest.len(), |at| at + 1);
            rest = &rest[at..];
        }
        match self.runs {
            Runs::Program => wrapped.program = rest.to_vec(),
            Runs::Line => wrapped.code.extend(join(rest)),
            Runs::Lines => wrapped.code.extend(rest.iter().cloned()),
            Runs::Nothing => {}
        }
        Some(wrapped)
    }
}

/// Arguments as one line of code.
pub fn join(args: &[Arg]) -> Option<Arg> {
    match args {
        [] => None,
        [only] => Some(only.clone()),
        [first, .., last] => {
            let text = args.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" ");
            let (start, end) = (first.span().start, last.span().end);
            Some(Arg { text, origin: crate::source::Origin::Made { start, end: end.max(start) } })
        }
    }
}
