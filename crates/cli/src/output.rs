//! What people see: tables and sentences on a terminal, plain lines in a pipe, or one JSON value.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Row, Width, presets};
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

/// Rows whose last column is the one to give way where a terminal is too narrow: the others are there to be copied.
pub struct Table {
    rows: comfy_table::Table,
    stream: Stream,
    /// The last column goes on in further lines; else it is cut.
    wraps: bool,
}

/// The last column gets as many characters even where that makes a line longer than the terminal is wide.
const LEAST: u16 = 20;

impl Table {
    /// Each row on one line, under these names of columns.
    pub fn new(stream: Stream, columns: &[&str]) -> Self {
        let mut table = Self { wraps: false, ..Self::headless(stream) };
        let is_styled = stream.is_styled();
        table.rows.set_header(columns.iter().map(|name| {
            let cell = Cell::new(name);
            if is_styled { cell.add_attribute(Attribute::Dim) } else { cell }
        }));
        table
    }

    /// Names and values.
    pub fn headless(stream: Stream) -> Self {
        let mut rows = comfy_table::Table::new();
        rows.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        match (stream.is_styled(), stream) {
            (false, _) => rows.force_no_tty(),
            (true, Stream::Err) => rows.use_stderr(),
            (true, Stream::Out) => &mut rows,
        };
        Self { rows, stream, wraps: true }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Row = cells.into_iter().map(|text| Cell::new(printable(&text))).collect::<Vec<_>>().into();
        if !self.wraps {
            row.max_height(1);
        }
        self.rows.add_row(row);
    }

    /// Writes it.
    pub fn write(mut self) -> io::Result<()> {
        match self.stream {
            Stream::Out => print(self.lay_out(terminal_width(self.stream))),
            Stream::Err => {
                tell(self.lay_out(terminal_width(self.stream)));
                Ok(())
            }
        }
    }

    fn lay_out(&mut self, width: Option<u16>) -> String {
        const GAP: u16 = 2;
        let widths = self.rows.column_max_content_widths();
        let last = widths.len().saturating_sub(1);
        let taken: u16 = widths.iter().take(last).fold(0, |sum, width| sum.saturating_add(width + GAP));
        for (at, column) in self.rows.column_iter_mut().enumerate() {
            column.set_padding((0, if at == last { 0 } else { GAP }));
            if let Some(width) = width.filter(|_| at == last) {
                let left = width.saturating_sub(taken).max(LEAST);
                column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(left)));
            }
        }
        self.rows.trim_fmt()
    }
}

fn terminal_width(stream: Stream) -> Option<u16> {
    let mut asked = comfy_table::Table::new();
    if stream == Stream::Err {
        asked.use_stderr();
    }
    asked.width()
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
        let text = table.lay_out(None);
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("ID  WHAT\n1   x x"), "{text}");
        assert!(text.lines().all(|line| line.len() < 404), "{text}");
    }

    #[test]
    fn a_narrow_terminal_cuts_what_comes_last() {
        let mut table = Table::new(Stream::Out, &["ID", "WHAT"]);
        table.row(["0123456789".into(), "x ".repeat(200)]);
        let text = table.lay_out(Some(40));
        assert_eq!(text.lines().last(), Some("0123456789  x x x x x x x x x x x x x x\u{2026}"));

        let mut facts = Table::headless(Stream::Out);
        facts.row(["what".into(), "word ".repeat(10)]);
        let text = facts.lay_out(Some(26));
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            ["what  word word word word", "      word word word word", "      word word"]
        );
    }
}
