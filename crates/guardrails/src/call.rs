//! A program with its arguments, as it would be started.

use std::borrow::Cow;
use std::ops::Range;

use crate::source::{Origin, has_unknown, is_mark, plain};

/// An argument, after everything that the shell does with it and that can be told beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// Its text, in which marks stand for what is not known.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Arg {
    /// Made of another argument: something else, from the same place.
    pub fn made(text: impl Into<String>, from: Origin, len: usize) -> Self {
        let span = from.span(0..len);
        Self { text: text.into(), origin: Origin::Made { start: span.start, end: span.end } }
    }

    /// Another text, from where this one comes.
    pub fn with(&self, text: impl Into<String>) -> Self {
        Self::made(text, self.origin, self.text.len())
    }

    /// The part of its text from a byte on.
    pub fn from(&self, at: usize) -> Self {
        Self { text: self.text.get(at..).unwrap_or_default().to_owned(), origin: self.origin.part(at) }
    }

    /// Its text as people write it.
    pub fn plain(&self) -> Cow<'_, str> {
        if self.text.contains(is_mark) { plain(&self.text).into() } else { self.text.as_str().into() }
    }

    /// Is some of it not known?
    pub fn is_unknown(&self) -> bool {
        has_unknown(&self.text)
    }

    /// Where it stands in the input.
    pub fn span(&self) -> Range<usize> {
        self.origin.span(0..self.text.len())
    }
}

/// The name of a program, without its directory, in lower case, without `.exe`.
pub fn program_name(text: &str) -> String {
    let name = plain(text).to_ascii_lowercase();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name = [".exe", ".cmd", ".bat", ".com", ".jar"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    name.to_owned()
}

/// The stretch of the input that arguments take.
pub fn span_of(args: &[Arg]) -> Range<usize> {
    let spans = || args.iter().map(Arg::span);
    let start = spans().map(|span| span.start).min().unwrap_or_default();
    start..spans().map(|span| span.end).max().unwrap_or_default()
}
