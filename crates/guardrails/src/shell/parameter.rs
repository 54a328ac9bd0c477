//! Reads `$NAME` and `${NAME...}`.

use super::parser::Parser;
use super::{Change, Extent, Parameter, Quoting};

impl Parser<'_> {
    /// `$NAME`, `$1`, `$@` and the like.
    pub fn plain_parameter(&mut self) -> Option<Parameter> {
        let rest = &self.bytes[self.at + 1..];
        let len = name_len(rest);
        let name = self.text.get(self.at + 1..self.at + 1 + len)?;
        if name.is_empty() {
            return None;
        }
        // Without braces, `$12` is `$1` and a 2.
        let name = if name.as_bytes()[0].is_ascii_digit() { &name[..1] } else { name };
        self.at += 1 + name.len();
        Some(Parameter { name: name.to_owned(), index: None, change: Change::None })
    }

    /// What stands in `${...}`, and its end.
    pub fn parameter(&mut self, quoting: Quoting) -> Parameter {
        let sign = self.peek();
        let ahead = self.peek_at(1);
        let prefix = match sign {
            Some(b'#') if ahead.is_some_and(|b| b != b'}') => Change::Length,
            Some(b'!') if ahead.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') => Change::Indirect,
            _ => Change::None,
        };
        if prefix != Change::None {
            self.at += 1;
        }
        let len = name_len(&self.bytes[self.at..]);
        let name = self.text.get(self.at..self.at + len).unwrap_or_default().to_owned();
        self.at += len;
        let index = self.index();
        let change = if prefix == Change::None { self.change(quoting) } else { prefix };
        self.operand(quoting, None);
        self.eat("}");
        Parameter { name, index, change }
    }

    fn index(&mut self) -> Option<String> {
        if self.peek() != Some(b'[') {
            return None;
        }
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take(64).position(|b| *b == b']')?;
        let index = self.text.get(self.at + 1..self.at + len)?.to_owned();
        self.at += len + 1;
        Some(index)
    }

    fn change(&mut self, quoting: Quoting) -> Change {
        let colon = self.eat(":");
        let Some(operator) = self.peek() else { return Change::None };
        let start = self.at;
        self.at += 1;
        match operator {
            b'-' => Change::Default(self.operand(quoting, None)),
            b'=' => Change::Assign(self.operand(quoting, None)),
            b'+' => Change::Alternative(self.operand(quoting, None)),
            b'?' => Change::Demand,
            _ if colon => {
                self.at = start;
                let offset = self.operand(Quoting::Bare, Some(b':'));
                let length = self.eat(":").then(|| self.operand(Quoting::Bare, None));
                Change::Slice(offset, length)
            }
            b'#' | b'%' => {
                let extent = self.extent(operator);
                let pattern = self.operand(Quoting::Bare, None);
                if operator == b'#' { Change::TrimStart(pattern, extent) } else { Change::TrimEnd(pattern, extent) }
            }
            b'/' => {
                let extent = self.extent(operator);
                // An anchored pattern is a pattern all the same.
                let _ = self.eat("#") || self.eat("%");
                let pattern = self.operand(Quoting::Bare, Some(b'/'));
                let with = if self.eat("/") { self.operand(quoting, None) } else { super::Word::default() };
                Change::Replace(pattern, with, extent)
            }
            b'^' => Change::Upper(self.extent(operator)),
            b',' => Change::Lower(self.extent(operator)),
            b'@' | b'*' => Change::Other,
            _ => {
                self.at = start;
                Change::None
            }
        }
    }

    /// Is the operator doubled?
    fn extent(&mut self, operator: u8) -> Extent {
        if self.peek() == Some(operator) {
            self.at += 1;
            Extent::Most
        } else {
            Extent::Least
        }
    }
}

/// How many bytes a parameter's name has.
fn name_len(rest: &[u8]) -> usize {
    match rest.first() {
        Some(b'@' | b'*' | b'#' | b'?' | b'-' | b'$' | b'!') => 1,
        Some(b) if b.is_ascii_digit() => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count(),
    }
}
