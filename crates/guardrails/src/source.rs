//! Where a piece of text stands in what was given to be checked.

use std::ops::Range;

/// The place of a text in the input. Code inside code keeps exact places for as long as it is a verbatim part of the input;
/// once an escape or a variable had a hand in it, its place is that of the whole word it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Byte `n` of the text is byte `start + n` of the input.
    Verbatim {
        /// Where it begins.
        start: usize,
    },
    /// The text was made of this part of the input.
    Made {
        /// Where that begins.
        start: usize,
        /// Where that ends.
        end: usize,
    },
}

impl Origin {
    /// Where a part of the text stands.
    pub fn span(self, part: Range<usize>) -> Range<usize> {
        match self {
            Self::Verbatim { start } => start + part.start..start + part.end,
            Self::Made { start, end } => start..end,
        }
    }

    /// The origin of a verbatim part of the text.
    pub fn part(self, from: usize) -> Self {
        match self {
            Self::Verbatim { start } => Self::Verbatim { start: start + from },
            made @ Self::Made { .. } => made,
        }
    }
}

/// Stands for characters that are not known before the command runs; possibly none.
pub const UNKNOWN: char = '\u{e000}';
/// As [`UNKNOWN`], but certainly some.
pub const SOME: char = '\u{e001}';
/// A `*` that the shell will expand.
pub const STAR: char = '\u{e002}';
/// A `?` that the shell will expand.
pub const ANY: char = '\u{e003}';
/// The `[` of a bracket expression that the shell will expand.
pub const BRACKET: char = '\u{e004}';

/// As [`SOME`], from a server.
pub const FETCHED: char = '\u{e005}';
/// As [`SOME`], decoded from what is not known.
pub const DECODED: char = '\u{e006}';
/// As [`SOME`]: a secret.
pub const SECRET: char = '\u{e007}';

/// As [`SOME`]: the numbers of running programs, all of them or, with a name behind it, those of that name.
pub const PROCESSES: char = '\u{e008}';

/// Is it one of the characters that stand for something?
pub fn is_mark(c: char) -> bool {
    (UNKNOWN..=PROCESSES).contains(&c)
}

/// Is it one of those that stand for what is not known?
pub fn is_unknown(c: char) -> bool {
    matches!(c, UNKNOWN | SOME | FETCHED | DECODED | SECRET | PROCESSES)
}

/// Does the text hold characters that are not known?
pub fn has_unknown(text: &str) -> bool {
    text.contains(is_unknown)
}

/// Does the text hold a wildcard of the shell?
pub fn has_glob(text: &str) -> bool {
    text.contains([STAR, ANY, BRACKET])
}

/// The text with each `*` as the wildcard that it is for whoever reads it.
pub fn starred(text: &str) -> String {
    text.chars().map(|c| if c == '*' { STAR } else { c }).collect()
}

/// The text as people write it: wildcards as themselves, and without what is not known.
pub fn plain(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            c if is_unknown(c) => None,
            STAR => Some('*'),
            ANY => Some('?'),
            BRACKET => Some('['),
            c => Some(c),
        })
        .collect()
}

/// Text from outside, in which nothing stands for anything.
pub fn unmarked(text: &str) -> std::borrow::Cow<'_, str> {
    // All marks begin with the byte 0xEE, which is rare.
    if text.as_bytes().contains(&0xee) && text.contains(is_mark) {
        text.replace(is_mark, "\u{fffd}").into()
    } else {
        text.into()
    }
}
