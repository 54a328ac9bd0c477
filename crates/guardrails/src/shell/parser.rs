//! Reads commands, by recursive descent over bytes. Words are read in [`super::word`].

use std::cell::OnceCell;
use std::rc::Rc;

use super::{Assignment, Node, Piece, Quoting, Redirect, Script, Simple, Step, Target, Way, When, Word};
use crate::budget::{Budget, MAX_DEPTH};
use crate::source::Origin;

/// Reads a text as a shell would. Never fails; what cannot be read is passed over.
pub fn parse(text: &str, origin: Origin, budget: &Budget, depth: usize) -> Script {
    let mut parser = Parser::new(text, origin, budget, depth);
    let mut script = parser.script(Until::End);
    parser.here_documents();
    // A closer that nothing opened ends a script; whatever stands behind it is read all the same.
    while parser.at < text.len() && budget.spend(1) {
        parser.at += parser.peek_char().map_or(1, char::len_utf8);
        script.steps.extend(parser.script(Until::End).steps);
    }
    script
}

/// What ends a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// The end of the text.
    End,
    /// `)`.
    Parenthesis,
    /// One of these reserved words, which is left to be read.
    Words(&'static [&'static str]),
    /// `;;`, `;&` or the word `esac`.
    CaseItem,
}

/// A here document whose text begins on the next line.
struct Pending {
    delimiter: String,
    quoted: bool,
    tabs: bool,
    text: Rc<OnceCell<Word>>,
}

/// The reader.
pub struct Parser<'a> {
    pub text: &'a str,
    pub bytes: &'a [u8],
    pub at: usize,
    pub origin: Origin,
    pub budget: &'a Budget,
    pub depth: usize,
    /// The depth at which a closer has nothing left to close.
    floor: usize,
    /// From here on, no `))` is to be found: nobody needs to look again.
    pub no_arithmetic_after: usize,
    pending: Vec<Pending>,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, origin: Origin, budget: &'a Budget, depth: usize) -> Self {
        let at = if budget.spend(text.len()) { 0 } else { text.len() };
        let bytes = text.as_bytes();
        Self {
            text,
            bytes,
            at,
            origin,
            budget,
            depth,
            floor: depth + 1,
            no_arithmetic_after: usize::MAX,
            pending: vec![],
        }
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn peek_at(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    pub fn peek_char(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    pub fn sees(&self, what: &str) -> bool {
        self.bytes[self.at..].starts_with(what.as_bytes())
    }

    pub fn eat(&mut self, what: &str) -> bool {
        let sees = self.sees(what);
        if sees {
            self.at += what.len();
        }
        sees
    }

    /// Goes one level down; at the bottom, gives up and ends the text.
    pub fn descend<T: Default>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= MAX_DEPTH {
            self.budget.give_up();
        }
        if self.budget.is_overdrawn() {
            self.at = self.text.len();
            return T::default();
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Passes blanks, comments and escaped ends of lines.
    fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\r') if self.peek_at(1) == Some(b'\n') => self.at += 1,
                Some(b'\\') if self.peek_at(1) == Some(b'\n') => self.at += 2,
                Some(b'\\') if self.sees("\\\r\n") => self.at += 3,
                Some(b'#') => self.line(),
                _ => return,
            }
        }
    }

    /// Passes the rest of a line.
    fn line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    }

    /// Passes blanks and ends of lines, and reads the here documents that begin there.
    fn lines(&mut self) {
        loop {
            self.blanks();
            if self.peek() != Some(b'\n') {
                return;
            }
            self.newline();
        }
    }

    fn newline(&mut self) {
        self.at += 1;
        self.here_documents();
    }

    /// Steps up to what ends them, which is passed unless it is a reserved word.
    pub fn script(&mut self, until: Until) -> Script {
        self.descend(|parser| parser.steps(until))
    }

    fn steps(&mut self, until: Until) -> Script {
        let mut steps = vec![];
        let mut when = When::Always;
        loop {
            self.lines();
            let before = self.at;
            match self.peek() {
                None => break,
                Some(b')') => {
                    if until == Until::Parenthesis {
                        self.at += 1;
                        break;
                    }
                    if until == Until::CaseItem || self.depth > self.floor {
                        break;
                    }
                    self.at += 1;
                    continue;
                }
                Some(b';') => {
                    let ends_item = matches!(self.peek_at(1), Some(b';' | b'&'));
                    if ends_item && until == Until::CaseItem {
                        self.at += 2;
                        self.eat("&");
                        break;
                    }
                    self.at += 1;
                    when = When::Always;
                    continue;
                }
                Some(b'&')
                    // `&>file` is a redirection of the command that follows.
                    if self.peek_at(1) != Some(b'>') => {
                        when = if self.peek_at(1) == Some(b'&') { When::Success } else { When::Always };
                        self.at += if when == When::Success { 2 } else { 1 };
                        continue;
                    }
                Some(b'|') => {
                    when = if self.peek_at(1) == Some(b'|') { When::Failure } else { When::Always };
                    self.at += if when == When::Failure { 2 } else { 1 };
                    continue;
                }
                _ => {}
            }
            if let Some(word) = self.reserved() {
                let ends = match until {
                    Until::Words(words) => words.contains(&word),
                    Until::CaseItem => word == "esac",
                    _ => false,
                };
                if ends {
                    break;
                }
                if matches!(word, "then" | "do" | "else" | "elif" | "fi" | "done" | "esac" | "}") {
                    // Nothing waits for it here: pass it, so that what follows is read as a command.
                    self.at += word.len();
                    continue;
                }
            }
            if let Some(node) = self.pipe() {
                steps.push(Step { when, node });
            }
            when = When::Always;
            if self.at == before {
                // No reader wanted this character.
                self.at += self.peek_char().map_or(1, char::len_utf8);
            }
            if self.budget.is_overdrawn() {
                self.at = self.text.len();
                break;
            }
        }
        Script { steps }
    }

    /// The reserved word that stands here, if one does.
    fn reserved(&self) -> Option<&'static str> {
        const WORDS: &[&str] = &[
            "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac", "{",
            "}", "!", "function", "time", "coproc", "[[",
        ];
        let ends = |len: usize| {
            matches!(
                self.peek_at(len),
                None | Some(b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
            )
        };
        WORDS.iter().copied().find(|word| self.sees(word) && ends(word.len()))
    }

    fn pipe(&mut self) -> Option<Node> {
        let mut nodes = vec![];
        loop {
            nodes.extend(self.command());
            self.blanks();
            if self.peek() != Some(b'|') || self.peek_at(1) == Some(b'|') {
                break;
            }
            self.at += 1;
            self.eat("&");
            self.lines();
        }
        if nodes.len() > 1 { Some(Node::Pipe(nodes)) } else { nodes.pop() }
    }

    fn command(&mut self) -> Option<Node> {
        self.blanks();
        while let Some(prefix @ ("!" | "time" | "coproc")) = self.reserved() {
            self.at += prefix.len();
            self.blanks();
            // The options of `time`.
            while prefix == "time" && (self.eat("-p ") || self.eat("-- ")) {
                self.blanks();
            }
        }
        match (self.reserved(), self.peek()) {
            (_, Some(b'(')) => {
                self.at += 1;
                let body = self.script(Until::Parenthesis);
                Some(Node::Group { body, subshell: true, redirects: self.redirects() })
            }
            (Some("{"), _) => {
                self.at += 1;
                let body = self.script(Until::Words(&["}"]));
                self.eat("}");
                Some(Node::Group { body, subshell: false, redirects: self.redirects() })
            }
            (Some("if"), _) => Some(self.branches("if", &["then", "elif", "else", "fi"], "fi")),
            (Some("while"), _) => Some(self.branches("while", &["do", "done"], "done")),
            (Some("until"), _) => Some(self.branches("until", &["do", "done"], "done")),
            (Some("for"), _) => Some(self.descend(|p| Some(p.for_loop("for")))?),
            (Some("select"), _) => Some(self.descend(|p| Some(p.for_loop("select")))?),
            (Some("case"), _) => self.descend(|p| Some(p.case())),
            (Some("function"), _) => {
                self.at += "function".len();
                self.blanks();
                let name = self.word()?;
                self.blanks();
                if self.eat("(") {
                    self.blanks();
                    self.eat(")");
                }
                self.function(literal(&name))
            }
            (Some("[["), _) => Some(self.test()),
            _ => self.simple(),
        }
    }

    /// Parts separated by the given words, up to the last.
    fn branches(&mut self, first: &str, words: &'static [&'static str], last: &str) -> Node {
        self.at += first.len();
        let mut parts = vec![];
        loop {
            parts.push(self.script(Until::Words(words)));
            match self.reserved() {
                Some(word) if word == last => {
                    self.at += last.len();
                    break;
                }
                Some(word) => self.at += word.len(),
                None => break,
            }
        }
        Node::Branches { parts, words: vec![], redirects: self.redirects() }
    }

    fn for_loop(&mut self, keyword: &str) -> Node {
        self.at += keyword.len();
        self.blanks();
        let mut name = String::new();
        let mut words = None;
        if self.sees("((") {
            self.at += 2;
            self.arithmetic();
        } else {
            name = self.word().map(|word| literal(&word)).unwrap_or_default();
            self.lines();
            if self.sees("in") && matches!(self.peek_at(2), None | Some(b' ' | b'\t' | b'\n' | b';')) {
                self.at += 2;
                let mut list = vec![];
                loop {
                    self.blanks();
                    match self.word() {
                        Some(word) => list.push(word),
                        None => break,
                    }
                }
                words = Some(list);
            }
        }
        self.lines();
        self.eat(";");
        self.lines();
        let (body, end) = if self.reserved() == Some("{") {
            self.at += 1;
            (self.script(Until::Words(&["}"])), "}")
        } else {
            self.eat("do");
            (self.script(Until::Words(&["done"])), "done")
        };
        self.eat(end);
        Node::For { name, words, body, redirects: self.redirects() }
    }

    fn case(&mut self) -> Node {
        self.at += "case".len();
        self.blanks();
        let mut words: Vec<Word> = self.word().into_iter().collect();
        self.lines();
        self.eat("in");
        let mut parts = vec![];
        loop {
            self.lines();
            if self.reserved() == Some("esac") {
                self.at += "esac".len();
                break;
            }
            // The patterns.
            self.eat("(");
            loop {
                self.blanks();
                match self.word() {
                    Some(word) => words.push(word),
                    None if self.eat("|") => {}
                    None => break,
                }
            }
            if !self.eat(")") && self.peek().is_none_or(|b| b != b'\n') {
                break;
            }
            parts.push(self.script(Until::CaseItem));
        }
        Node::Branches { parts, words, redirects: self.redirects() }
    }

    /// `[[ ... ]]`: its words only matter for what they run.
    fn test(&mut self) -> Node {
        self.at += 2;
        let mut words = vec![];
        loop {
            self.lines();
            if self.eat("]]") {
                break;
            }
            match self.peek() {
                None => break,
                Some(b'<' | b'>') if self.peek_at(1) != Some(b'(') => self.at += 1,
                Some(b'(' | b')' | b'|' | b'&') => self.at += 1,
                // Not a test after all: an unclosed one must not hide what follows.
                Some(b';') => break,
                _ => match self.word() {
                    Some(word) => words.push(word),
                    None => self.at += self.peek_char().map_or(1, char::len_utf8),
                },
            }
        }
        Node::Branches { parts: vec![], words, redirects: self.redirects() }
    }

    fn function(&mut self, name: String) -> Option<Node> {
        self.lines();
        let body = self.descend(Self::command)?;
        Some(Node::Function { name, body: Rc::new(body) })
    }

    fn simple(&mut self) -> Option<Node> {
        let start = self.at;
        let mut simple = Simple::default();
        let mut end = start;
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect() {
                simple.redirects.push(redirect);
            } else if let Some(assignment) = self.assignment(simple.words.is_empty()) {
                simple.assignments.push(assignment);
            } else if let Some(word) = self.word() {
                simple.words.push(word);
                if simple.words.len() == 1 && simple.assignments.is_empty() && self.opens_function() {
                    return self.function(literal(&simple.words[0]));
                }
            } else {
                break;
            }
            end = self.at;
        }
        simple.span = self.origin.span(start..end);
        let is_empty = simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty();
        (!is_empty).then_some(Node::Simple(simple))
    }

    /// Passes the `()` after a function's name.
    fn opens_function(&mut self) -> bool {
        let start = self.at;
        self.blanks();
        if self.eat("(") {
            self.blanks();
            if self.eat(")") {
                return true;
            }
        }
        self.at = start;
        false
    }

    /// `NAME=value`, `NAME+=value`, `NAME[index]=value`, `NAME=(values)`. Behind a command's name (`export A=(x)`) only the
    /// last is more than a word.
    fn assignment(&mut self, leading: bool) -> Option<Assignment> {
        let rest = &self.bytes[self.at..];
        let first = *rest.first()?;
        if !(first.is_ascii_alphabetic() || first == b'_') {
            return None;
        }
        let name_len = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))?;
        let mut len = name_len;
        if rest.get(len) == Some(&b'[') {
            len += rest[len..].iter().take(64).position(|b| *b == b']')? + 1;
        }
        let append = rest.get(len) == Some(&b'+');
        len += usize::from(append);
        if rest.get(len) != Some(&b'=') {
            return None;
        }
        let array = rest.get(len + 1) == Some(&b'(');
        if !leading && !array {
            return None;
        }
        let name = self.text.get(self.at..self.at + name_len)?.to_owned();
        self.at += len + 1;
        let mut values = vec![];
        if array {
            self.at += 1;
            loop {
                self.lines();
                match self.word() {
                    Some(word) => values.push(word),
                    None => break,
                }
            }
            self.eat(")");
        } else {
            values.extend(self.word());
        }
        Some(Assignment { name, append, values, array })
    }

    fn redirects(&mut self) -> Vec<Redirect> {
        let mut redirects = vec![];
        loop {
            self.blanks();
            match self.redirect() {
                Some(redirect) => redirects.push(redirect),
                None => return redirects,
            }
        }
    }

    fn redirect(&mut self) -> Option<Redirect> {
        let start = self.at;
        let descriptor = self.descriptor();
        let found = [
            ("<<<", Way::Text),
            ("<<-", Way::Text),
            ("<<", Way::Text),
            ("<>", Way::Both),
            ("<&", Way::Duplicate),
            ("<", Way::Read),
            ("&>>", Way::Append),
            ("&>", Way::Write),
            (">>", Way::Append),
            (">|", Way::Write),
            (">&", Way::Duplicate),
            (">", Way::Write),
        ]
        .into_iter()
        .find(|(operator, _)| self.sees(operator));
        let is_process = self.sees("<(") || self.sees(">(");
        let Some((operator, mut way)) = found.filter(|_| !is_process) else {
            self.at = start;
            return None;
        };
        self.at += operator.len();
        self.blanks();
        let target = if matches!(operator, "<<" | "<<-") {
            Target::Here(self.here(operator == "<<-"))
        } else {
            let word = self.word().unwrap_or_default();
            // `>&file` is `&>file`.
            let is_descriptor =
                |text: &str| text == "-" || text.trim_end_matches('-').bytes().all(|b| b.is_ascii_digit());
            if operator == ">&" && !is_descriptor(&literal(&word)) {
                way = Way::Write;
            }
            Target::Word(word)
        };
        Some(Redirect { way, descriptor, target, span: self.origin.span(start..self.at) })
    }

    /// The number or `{name}` in front of a redirection.
    fn descriptor(&mut self) -> Option<u32> {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().take(5).take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 && matches!(rest.get(digits), Some(b'<' | b'>')) {
            let number = self.text.get(self.at..self.at + digits)?.parse().ok();
            self.at += digits;
            return number;
        }
        if rest.first() == Some(&b'{') {
            let name = rest[1..].iter().take(32).take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            if name > 0 && rest.get(1 + name) == Some(&b'}') && matches!(rest.get(2 + name), Some(b'<' | b'>')) {
                self.at += name + 2;
                return Some(10);
            }
        }
        None
    }

    fn here(&mut self, tabs: bool) -> Rc<OnceCell<Word>> {
        let word = self.word().unwrap_or_default();
        let quoted = word.pieces.iter().any(|piece| matches!(piece, Piece::Text(_, Quoting::Quoted, _)));
        let text = Rc::new(OnceCell::new());
        self.pending.push(Pending { delimiter: literal(&word), quoted, tabs, text: Rc::clone(&text) });
        text
    }

    /// Reads the texts of here documents: they begin at the line that begins here.
    fn here_documents(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let start = self.at;
            let mut end = self.text.len();
            let mut next = end;
            let mut line = start;
            while line < self.text.len() {
                let rest = &self.bytes[line..];
                let len = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
                let content = &rest[..len];
                let content = content.strip_suffix(b"\r").unwrap_or(content);
                let tabs = if pending.tabs { content.iter().take_while(|b| **b == b'\t').count() } else { 0 };
                if let Some(tail) = content[tabs..].strip_prefix(pending.delimiter.as_bytes()) {
                    // `EOF)` ends one inside `$( ... )`, with a warning.
                    if tail.is_empty() || (tail.starts_with(b")") && self.depth > self.floor) {
                        end = line;
                        next = line + tabs + pending.delimiter.len();
                        break;
                    }
                }
                line += len + 1;
            }
            // The text of one with a quoted delimiter is what it is; else variables and commands in it are expanded.
            let body = self.text.get(start..end).unwrap_or_default();
            let word = if pending.quoted {
                let text = Piece::Text(body.to_owned(), Quoting::Quoted, self.origin.part(start));
                Word { pieces: vec![text], span: self.origin.span(start..end) }
            } else {
                self.here_text(start, end)
            };
            // It was made a few lines up and nobody else fills it.
            let _ = pending.text.set(word);
            self.at = next.min(self.text.len());
        }
    }
}

/// A word's characters, whatever quotes they stood in.
pub fn literal(word: &Word) -> String {
    word.pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text, ..) => text.as_str(),
            Piece::Open => "{",
            Piece::Comma => ",",
            Piece::Close => "}",
            _ => "",
        })
        .collect()
}
