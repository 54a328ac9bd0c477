//! The shape of a command: a program, operands and options, as one writes them.
//!
//! `git push -f|--force !--dry-run` is `git push` with one of the two options and without the third. A word stands for an
//! operand at its place and may have alternatives and wildcards; `~main` is an operand anywhere behind those (`~` alone: one
//! that is not known beforehand), `!~main` that there is no such operand, `--` stands for a `--` with something behind it,
//! `--mode=a*` for an option with such a value, `!*` for no further operands, `\s` for a blank.

use std::collections::BTreeSet;

use crate::call::Arg;
use crate::glob;
use crate::options::{Grammar, Options};

/// A pattern for commands.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The names of the program.
    pub programs: Vec<String>,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
enum Token {
    Operand(String),
    Somewhere(String),
    Nowhere(String),
    With(Vec<Wanted>),
    Without(Vec<Wanted>),
    Separator,
    NoMore,
}

#[derive(Debug, Clone)]
struct Wanted {
    name: String,
    value: Option<String>,
}

impl Shape {
    /// Reads a pattern; nothing when it is empty.
    pub fn parse(pattern: &str) -> Option<Self> {
        let mut words = pattern.split_whitespace();
        let programs = words.next()?.split('|').map(str::to_owned).collect();
        let tokens = words.map(token).collect();
        Some(Self { programs, tokens })
    }

    /// The names of the long options it speaks of.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        self.tokens
            .iter()
            .flat_map(|token| match token {
                Token::With(wanted) | Token::Without(wanted) => wanted.as_slice(),
                _ => &[],
            })
            .map(|wanted| wanted.name.as_str())
    }

    /// Is the command of this shape? `exact` are long options that are never taken for abbreviations of others.
    pub fn fits(&self, options: &Options<'_>, grammar: &Grammar, exact: &BTreeSet<String>) -> bool {
        let given = |wanted: &Wanted| {
            options.find(&wanted.name, grammar, exact).is_some_and(|given| match (&wanted.value, &given.value) {
                (None, _) => true,
                (Some(pattern), Some(value)) => glob::matches_any(pattern, &value.plain()),
                (Some(_), None) => false,
            })
        };
        let mut operands = options.operands.iter();
        self.tokens.iter().all(|token| match token {
            Token::Operand(patterns) => operands.next().is_some_and(|arg| glob::matches_any(patterns, &arg.plain())),
            Token::Somewhere(patterns) => is_somewhere(patterns, operands.clone(), options),
            Token::Nowhere(patterns) => !is_somewhere(patterns, operands.clone(), options),
            Token::With(wanted) => wanted.iter().any(given),
            Token::Without(wanted) => !wanted.iter().any(given),
            Token::NoMore => operands.len() == 0,
            Token::Separator => options.separator.is_some_and(|before| options.operands.len() > before),
        })
    }
}

/// Is there such an operand, or an option of the kind that begins with a slash?
fn is_somewhere<'a>(patterns: &str, mut operands: impl Iterator<Item = &'a &'a Arg>, options: &Options<'_>) -> bool {
    operands.any(|arg| glob::matches_any(patterns, &arg.plain()))
        || (patterns.starts_with('/')
            && options
                .given
                .iter()
                .any(|given| given.name.starts_with('/') && glob::matches_any(patterns, &given.name)))
}

fn token(word: &str) -> Token {
    let word = &word.replace("\\s", " ");
    if word == "--" {
        return Token::Separator;
    }
    if word == "!*" {
        return Token::NoMore;
    }
    if let Some(unwanted) = word.strip_prefix("!~") {
        return Token::Nowhere(unwanted.to_owned());
    }
    if let Some(wanted) = word.strip_prefix('!') {
        return Token::Without(wanted_options(wanted));
    }
    if let Some(pattern) = word.strip_prefix('~') {
        return Token::Somewhere(pattern.to_owned());
    }
    // `/s` is an option of programs of that kind; a path begins with more than one letter.
    let is_option = word.starts_with('-') || (word.starts_with('/') && word.len() == 2);
    if is_option { Token::With(wanted_options(word)) } else { Token::Operand(word.to_owned()) }
}

fn wanted_options(word: &str) -> Vec<Wanted> {
    word.split('|')
        .scan(None, |last: &mut Option<String>, part| {
            // `--mode=a|b`: another value of the same option.
            let wanted = match (
                part.split_once('='),
                part.starts_with('-') || (part.starts_with('/') && part.len() == 2),
                last.as_ref(),
            ) {
                (Some((name, value)), ..) => Wanted { name: name.to_owned(), value: Some(value.to_owned()) },
                (None, false, Some(name)) => Wanted { name: name.clone(), value: Some(part.to_owned()) },
                _ => Wanted { name: part.to_owned(), value: None },
            };
            *last = Some(wanted.name.clone());
            Some(wanted)
        })
        .collect()
}
