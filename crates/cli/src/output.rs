//! What people see: tables and sentences on a terminal, plain lines in a pipe, or one JSON value.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, presets};
use serde_json::Value;

/// Where something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: answers.
    Out,
    /// Standard error: refusals, and what is said beside an answer.
    Err,
}

impl Stream {
    fn is_terminal(self) -> bool {
        match self {
            Self::Out => io::stdout().is_terminal(),
            Self::Err => io::stderr().is_terminal(),
        }
    }

    /// Bold, dim and colours: on a terminal that can, unless NO_COLOR says otherwise.
    fn is_styled(self) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// Prints a line, or several, to standard output.
pub fn print(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Says something on standard error that is no answer.
pub fn tell(text: impl Display) {
    // Nobody is there to hear that nobody is there.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says on standard error what went wrong.
pub fn complain(what: impl Display) {
    tell(printable_lines(&format!("coordinator: {what}")));
}

/// Prints a JSON value: indented for people, on one line for programs.
pub fn json(value: &Value) -> io::Result<()> {
    if Stream::Out.is_terminal() { print(format_args!("{value:#}")) } else { print(value) }
}

/// A heading on standard output.
pub fn heading(text: &str) -> io::Result<()> {
    print(tinted(text, Tint::Bold))
}

/// How a word stands out, by its code in the terminal's language.
#[derive(Debug, Clone, Copy)]
pub enum Tint {
    /// Louder.
    Bold = 1,
    /// Wrong.
    Red = 31,
    /// Well.
    Green = 32,
    /// To be looked at.
    Yellow = 33,
}

/// The text for standard output, tinted where that can be seen.
pub fn tinted(text: &str, tint: Tint) -> String {
    if Stream::Out.is_styled() { format!("\x1b[{}m{text}\x1b[0m", tint as u8) } else { text.to_owned() }
}

/// The text on one line, with nothing in it that a terminal would obey: it may come from anybody.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { visible(c) }).collect()
}

/// As [`printable`], with its lines kept.
pub fn printable_lines(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { visible(c) }).collect()
}

fn visible(c: char) -> char {
    let is_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if c.is_control() || is_direction { '\u{fffd}' } else { c }
}

/// Rows under a header, as wide as the terminal allows and no wider than they need.
pub struct Table {
    rows: comfy_table::Table,
    stream: Stream,
}

impl Table {
    /// With these columns.
    pub fn new(stream: Stream, columns: &[&str]) -> Self {
        let mut table = Self::headless(stream);
        let is_styled = stream.is_styled();
        table.rows.set_header(columns.iter().map(|name| {
            let cell = Cell::new(name);
            if is_styled { cell.add_attribute(Attribute::Dim) } else { cell }
        }));
        table
    }

    /// Without a header: names and values.
    pub fn headless(stream: Stream) -> Self {
        let mut rows = comfy_table::Table::new();
        rows.load_style(presets::NOTHING);
        if stream == Stream::Err {
            rows.use_stderr();
        }
        if stream.is_terminal() {
            rows.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if stream.is_styled() {
            rows.enforce_styling();
        }
        Self { rows, stream }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.add_row(cells.into_iter().map(|text| Cell::new(printable(&text))));
    }

    /// The columns in these places are never wrapped or cut: what is to be copied from them would be useless.
    pub fn keep_whole(mut self, columns: &[usize]) -> Self {
        for &at in columns {
            if let Some(column) = self.rows.column_mut(at) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        self
    }

    /// Writes it.
    pub fn write(&self) -> io::Result<()> {
        match self.stream {
            Stream::Out => print(self),
            Stream::Err => {
                tell(self);
                Ok(())
            }
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = self.rows.clone();
        for column in rows.column_iter_mut() {
            column.set_padding((0, 2));
        }
        f.write_str(&rows.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_commanded_by_what_others_wrote() {
        assert_eq!(printable("a\x1b[2J\nb\tc\u{202e}"), "a\u{fffd}[2J b c\u{fffd}");
        assert_eq!(printable_lines("a\x07\nb"), "a\u{fffd}\nb");
    }

    #[test]
    fn a_pipe_gets_whole_lines() {
        let mut table = Table::new(Stream::Out, &["ID", "WHAT"]);
        table.row(["1".into(), "x ".repeat(200)]);
        let text = table.to_string();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("ID  WHAT\n1   x x"), "{text}");
    }
}
