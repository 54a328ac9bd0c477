//! Reads words: quotes, escapes, and what a shell puts in their place.

use super::parser::{Parser, Until};
use super::{Piece, Quoting, Word, parse};
use crate::decode;
use crate::source::{ANY, BRACKET, Origin, STAR, unmarked};

/// What a run of pieces stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between blanks.
    Bare,
    /// In `" "`.
    Double,
    /// In `${NAME:- }`, with the quoting of what stands around it.
    Braces(Quoting),
    /// As [`Self::Braces`], up to a `/` too.
    Pattern(Quoting),
    /// As [`Self::Braces`], up to a `:` too.
    Offset,
    /// In a here document, up to here.
    Here(usize),
    /// In `(( ))`.
    Arithmetic,
}

/// Pieces being gathered.
#[derive(Default)]
struct Gatherer {
    pieces: Vec<Piece>,
    text: String,
    quoting: Option<Quoting>,
    start: usize,
    end: usize,
    verbatim: bool,
}

impl Gatherer {
    /// Adds characters that were made of `from..to`.
    fn add(&mut self, origin: Origin, text: &str, quoting: Quoting, from: usize, to: usize) {
        if self.quoting != Some(quoting) {
            self.flush(origin);
            self.quoting = Some(quoting);
        }
        if self.text.is_empty() {
            self.start = from;
            self.verbatim = true;
        } else if self.start + self.text.len() != from {
            self.verbatim = false;
        }
        self.verbatim &= to - from == text.len();
        self.text.push_str(text);
        self.end = to;
    }

    fn flush(&mut self, origin: Origin) {
        let Some(quoting) = self.quoting.take() else { return };
        let text = std::mem::take(&mut self.text);
        let origin = match (origin, self.verbatim) {
            (Origin::Verbatim { .. }, true) => origin.part(self.start),
            _ => {
                let span = origin.span(self.start..self.end);
                Origin::Made { start: span.start, end: span.end }
            }
        };
        self.pieces.push(Piece::Text(text, quoting, origin));
    }

    fn push(&mut self, origin: Origin, piece: Piece) {
        self.flush(origin);
        self.pieces.push(piece);
    }
}

impl Parser<'_> {
    /// The word that begins here, if one does.
    pub fn word(&mut self) -> Option<Word> {
        let start = self.at;
        let pieces = self.pieces(Place::Bare);
        (self.at > start).then(|| Word { pieces, span: self.origin.span(start..self.at) })
    }

    /// The text of a here document.
    pub fn here_text(&mut self, start: usize, end: usize) -> Word {
        self.at = start;
        let pieces = self.descend(|parser| parser.pieces(Place::Here(end)));
        self.at = self.at.max(end);
        Word { pieces, span: self.origin.span(start..end) }
    }

    /// The rest of `(( ... ))`, of which only what it runs matters.
    pub fn arithmetic(&mut self) -> Vec<Piece> {
        let pieces = self.descend(|parser| parser.pieces(Place::Arithmetic));
        self.eat("))");
        pieces
    }

    /// A word inside `${NAME ...}`.
    pub fn operand(&mut self, quoting: Quoting, ends_at: Option<u8>) -> Word {
        let place = match ends_at {
            Some(b'/') => Place::Pattern(quoting),
            Some(_) => Place::Offset,
            None => Place::Braces(quoting),
        };
        let start = self.at;
        let pieces = self.descend(|parser| parser.pieces(place));
        Word { pieces, span: self.origin.span(start..self.at) }
    }

    fn pieces(&mut self, place: Place) -> Vec<Piece> {
        let origin = self.origin;
        let mut gathered = Gatherer::default();
        let mut braces = 0_usize;
        let mut parentheses = 0_usize;
        let bare = match place {
            Place::Bare | Place::Offset | Place::Arithmetic => Quoting::Bare,
            Place::Braces(quoting) | Place::Pattern(quoting) => quoting,
            Place::Double | Place::Here(_) => Quoting::Quoted,
        };
        let in_quotes = matches!(place, Place::Double | Place::Here(_));
        while let Some(byte) = self.peek() {
            let at = self.at;
            if matches!(place, Place::Here(end) if at >= end) {
                break;
            }
            match (byte, place) {
                (b'"', Place::Double) => break,
                (b'}', Place::Braces(_) | Place::Pattern(_) | Place::Offset) => break,
                (b'/', Place::Pattern(_)) | (b':', Place::Offset) => break,
                (b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b')', Place::Bare) => break,
                (b'\r', Place::Bare) if self.peek_at(1) == Some(b'\n') => break,
                (b'<' | b'>', Place::Bare) if self.peek_at(1) != Some(b'(') => break,
                (b'(', Place::Bare) => {
                    let before = at.checked_sub(1).and_then(|at| self.bytes.get(at)).copied();
                    if gathered.pieces.is_empty() && gathered.text.is_empty()
                        || !matches!(before, Some(b'@' | b'!' | b'?' | b'*' | b'+'))
                    {
                        break;
                    }
                    // An extended pattern, `!(keep)`: it may match anything.
                    self.at += 1;
                    self.descend(|parser| parser.extended_pattern());
                    gathered.add(origin, STAR.encode_utf8(&mut [0; 4]), Quoting::Bare, at, self.at);
                }
                (b')', Place::Arithmetic) if parentheses == 0 => break,
                (b'(' | b')', Place::Arithmetic) => {
                    parentheses = if byte == b'(' { parentheses + 1 } else { parentheses - 1 };
                    self.at += 1;
                }
                (b'\\', _) => self.escape(&mut gathered, place, in_quotes),
                (b'\'', _) if !in_quotes && bare == Quoting::Bare => {
                    self.at += 1;
                    let from = self.at;
                    let rest = &self.bytes[from..];
                    let len = rest.iter().position(|b| *b == b'\'').unwrap_or(rest.len());
                    self.at = (from + len + 1).min(self.text.len());
                    let text = self.text.get(from..from + len).unwrap_or_default();
                    gathered.add(origin, text, Quoting::Quoted, from, from + len);
                }
                (b'"', _) if !in_quotes => {
                    self.at += 1;
                    // Empty quotes make an argument too.
                    gathered.add(origin, "", Quoting::Quoted, self.at, self.at);
                    gathered.flush(origin);
                    gathered.pieces.extend(self.descend(|parser| parser.pieces(Place::Double)));
                    self.eat("\"");
                }
                (b'$', _) => self.dollar(&mut gathered, bare, in_quotes),
                (b'`', _) => {
                    let script = self.backquotes();
                    gathered.push(origin, Piece::Command(script, bare));
                }
                (b'<' | b'>', Place::Bare) => {
                    self.at += 2;
                    let script = self.script(Until::Parenthesis);
                    gathered.push(origin, Piece::Process(script));
                }
                (b'{', Place::Bare) => {
                    self.at += 1;
                    braces += 1;
                    gathered.push(origin, Piece::Open);
                }
                (b',', Place::Bare) if braces > 0 => {
                    self.at += 1;
                    gathered.push(origin, Piece::Comma);
                }
                (b'}', Place::Bare) if braces > 0 => {
                    self.at += 1;
                    braces -= 1;
                    gathered.push(origin, Piece::Close);
                }
                (b'*' | b'?' | b'[', _) if bare == Quoting::Bare && place != Place::Arithmetic => {
                    self.at += 1;
                    let mark = match byte {
                        b'*' => STAR,
                        b'?' => ANY,
                        _ => BRACKET,
                    };
                    gathered.add(origin, mark.encode_utf8(&mut [0; 4]), Quoting::Bare, at, self.at);
                }
                _ => {
                    // A run of characters that mean nothing here.
                    let rest = &self.bytes[at..];
                    let run = 1 + rest[1..].iter().position(|b| is_special(*b)).unwrap_or(rest.len() - 1);
                    let run = if let Place::Here(end) = place { run.min(end - at) } else { run };
                    self.at = at + run;
                    if place != Place::Arithmetic {
                        let text = self.text.get(at..at + run).unwrap_or_default();
                        gathered.add(origin, text, bare, at, at + run);
                    }
                }
            }
            if self.budget.is_overdrawn() {
                self.at = self.text.len();
            }
        }
        gathered.flush(origin);
        gathered.pieces
    }

    /// Passes the rest of an extended pattern.
    fn extended_pattern(&mut self) {
        let mut depth = 1_usize;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => self.at = (self.at + 1).min(self.text.len()),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn escape(&mut self, gathered: &mut Gatherer, place: Place, in_quotes: bool) {
        let at = self.at;
        self.at += 1;
        let Some(next) = self.peek_char() else {
            gathered.add(self.origin, "\\", Quoting::Quoted, at, self.at);
            return;
        };
        self.at += next.len_utf8();
        let means_itself =
            in_quotes && !(matches!(next, '$' | '`' | '\\' | '\n') || (next == '"' && place == Place::Double));
        if next == '\n' {
            return;
        }
        let from = if means_itself { at } else { at + 1 };
        let text = self.text.get(from..self.at).unwrap_or_default();
        gathered.add(self.origin, text, Quoting::Quoted, from, self.at);
    }

    fn dollar(&mut self, gathered: &mut Gatherer, quoting: Quoting, in_quotes: bool) {
        let at = self.at;
        let origin = self.origin;
        match self.peek_at(1) {
            Some(b'(') if self.peek_at(2) == Some(b'(') && self.is_arithmetic(at + 3) => {
                self.at += 3;
                let pieces = self.arithmetic();
                gathered.push(origin, Piece::Arithmetic(pieces));
            }
            Some(b'(') => {
                self.at += 2;
                let script = self.script(Until::Parenthesis);
                gathered.push(origin, Piece::Command(script, quoting));
            }
            Some(b'[') => {
                // The old spelling of arithmetic.
                let rest = &self.bytes[at..];
                let len = rest.iter().take(256).position(|b| *b == b']').map_or(2, |end| end + 1);
                self.at += len;
                gathered.push(origin, Piece::Arithmetic(vec![]));
            }
            Some(b'{') => {
                self.at += 2;
                let parameter = self.descend(|parser| Some(parser.parameter(quoting)));
                if let Some(parameter) = parameter {
                    gathered.push(origin, Piece::Parameter(Box::new(parameter), quoting));
                }
            }
            Some(b'\'') if !in_quotes && quoting == Quoting::Bare => {
                self.at += 2;
                let from = self.at;
                let len = decode::ansi_c_end(&self.bytes[from..]);
                let text = decode::ansi_c(self.text.get(from..from + len).unwrap_or_default());
                self.at = (from + len + 1).min(self.text.len());
                let to = from + len;
                gathered.add(origin, &unmarked(&text), Quoting::Quoted, from, to);
            }
            // `$"..."` is for translators.
            Some(b'"') if !in_quotes => self.at += 1,
            _ => match self.plain_parameter() {
                Some(parameter) => gathered.push(origin, Piece::Parameter(Box::new(parameter), quoting)),
                None => {
                    self.at = at + 1;
                    gathered.add(origin, "$", quoting, at, at + 1);
                }
            },
        }
    }

    /// Does what begins here end with `))`, so that it is arithmetic and no command?
    fn is_arithmetic(&mut self, from: usize) -> bool {
        if from >= self.no_arithmetic_after {
            return false;
        }
        let mut depth = 2_usize;
        for (n, byte) in self.bytes[from.min(self.bytes.len())..].iter().enumerate() {
            match byte {
                b'(' => depth += 1,
                b')' if depth == 2 => {
                    self.budget.spend(n);
                    return self.bytes.get(from + n + 1) == Some(&b')');
                }
                b')' => depth -= 1,
                _ => {}
            }
        }
        self.no_arithmetic_after = from;
        false
    }

    /// A command in backquotes, where a backslash before a backquote, a dollar or another backslash goes.
    fn backquotes(&mut self) -> super::Script {
        self.at += 1;
        let from = self.at;
        let mut code = String::new();
        let mut copied = from;
        let mut escaped = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'`' => break,
                b'\\' if matches!(self.peek_at(1), Some(b'`' | b'$' | b'\\')) => {
                    code.push_str(self.text.get(copied..self.at).unwrap_or_default());
                    copied = self.at + 1;
                    escaped = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.text.len());
        code.push_str(self.text.get(copied..end).unwrap_or_default());
        self.at = (end + 1).min(self.text.len());
        let span = self.origin.span(from..end);
        let origin = if escaped { Origin::Made { start: span.start, end: span.end } } else { self.origin.part(from) };
        self.descend(|parser| parse(&code, origin, parser.budget, parser.depth))
    }
}

fn is_special(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\n'
            | b'\r'
            | b';'
            | b'&'
            | b'|'
            | b'('
            | b')'
            | b'<'
            | b'>'
            | b'"'
            | b'\''
            | b'\\'
            | b'$'
            | b'`'
            | b'{'
            | b'}'
            | b','
            | b'*'
            | b'?'
            | b'['
            | b'/'
            | b':'
    )
}
