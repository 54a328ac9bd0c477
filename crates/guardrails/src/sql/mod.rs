//! SQL, and what its clients make of it: which statements take away tables, rows or everything.
//!
//! A reader of our own, because input is often half a statement, several dialects at once, or hostile: it reads tokens once
//! and looks for the beginnings of statements. Strings, comments, routine bodies and what `EXPLAIN` only explains are not
//! executed; what `EXECUTE` is given as a string is.

mod condition;
mod store;
mod token;

pub use store::is_store_call;
use token::{Token, tokens};

use crate::call::Arg;
use crate::effect::{Kind, Place};
use crate::flow::Flow;
use crate::source::{Origin, plain};
use crate::walk::Walker;

/// Is the text a statement of SQL rather than a command for a shell?
pub fn is_statement(text: &str) -> bool {
    let head: String = text.chars().take(400).collect();
    let tokens = tokens(&head);
    let word = |n: usize| tokens.get(n).map_or("", |token| token.word());
    let is_name = |n: usize| tokens.get(n).is_some_and(Token::is_name);
    match word(0) {
        "drop" => matches!(
            word(1),
            "table"
                | "database"
                | "schema"
                | "index"
                | "view"
                | "user"
                | "role"
                | "function"
                | "trigger"
                | "sequence"
                | "materialized"
                | "type"
                | "extension"
                | "tablespace"
                | "owned"
                | "procedure"
                | "keyspace"
                | "temporary"
                | "policy"
                | "column"
                | "measurement"
                | "collection"
        ),
        "truncate" => {
            word(1) == "table" || (is_name(1) && !head.contains(" -") && !head.contains('/') && !head.contains('.'))
        }
        "delete" => word(1) == "from" || is_name(1) && word(2) == "from",
        "update" => tokens.iter().take(8).any(|token| token.word() == "set"),
        "alter" => matches!(word(1), "table" | "database" | "system" | "user" | "role" | "schema" | "index"),
        "create" => matches!(
            word(1),
            "table"
                | "index"
                | "unique"
                | "view"
                | "database"
                | "or"
                | "function"
                | "trigger"
                | "procedure"
                | "user"
                | "role"
        ),
        "insert" => word(1) == "into",
        "select" => {
            !tokens.iter().take(3).any(|token| token.word() == "in")
                && (head.to_ascii_lowercase().contains(" from ") || tokens.len() < 4)
        }
        "with" => tokens.iter().take(8).any(|token| token.word() == "as"),
        "begin" | "start" | "explain" | "merge" | "grant" | "revoke" | "replace" | "declare" | "exec" | "set"
        | "use" | "do" | "prepare" | "call" => {
            tokens.iter().any(|token| token.is(";"))
                && {
                    let lower = head.to_ascii_lowercase();
                    ["delete from", "drop table", "update ", "truncate ", "insert into", "drop database", "drop schema"]
                        .iter()
                        .any(|part| lower.contains(part))
                }
                && !head.contains("&&")
        }
        "match" => head.to_ascii_lowercase().contains(" delete "),
        _ => false,
    }
}

/// In what a client is given, the first word is enough.
fn begins_like_sql(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ';'));
    let word: String = text.chars().take(12).take_while(|c| c.is_ascii_alphabetic()).collect();
    let behind = text[word.len()..].starts_with(|c: char| c.is_whitespace() || c == '/');
    behind
        && matches!(
            word.to_ascii_lowercase().as_str(),
            "drop"
                | "truncate"
                | "delete"
                | "update"
                | "alter"
                | "create"
                | "insert"
                | "select"
                | "with"
                | "begin"
                | "start"
                | "grant"
                | "revoke"
                | "merge"
                | "copy"
                | "do"
                | "exec"
                | "execute"
                | "call"
                | "match"
                | "use"
                | "set"
                | "replace"
                | "declare"
                | "purge"
                | "reset"
                | "explain"
        )
}

impl Walker<'_> {
    /// Executes SQL in thought.
    pub fn sql(&mut self, text: &str, origin: Origin, client: &str) {
        if self.depth >= crate::budget::MAX_DEPTH {
            self.budget.give_up();
        }
        if !self.budget.spend(text.len() * 4) {
            return;
        }
        self.depth += 1;
        self.within("SQL", |walker| {
            let kept = walker.meta_commands(text, origin, client);
            let tokens = tokens(kept.as_deref().unwrap_or(text));
            let temporary = made_temporary(&tokens);
            Statements { tokens: &tokens, client, found: vec![], mark: None, temporary }.run(walker, origin);
        });
        self.depth -= 1;
    }

    /// Lines that the client itself obeys, some of which run a shell; the text without them where there are any.
    fn meta_commands(&mut self, text: &str, origin: Origin, client: &str) -> Option<String> {
        const SHELL: &[&str] = &["\\!", ".shell ", ".system ", "system ", "!!", ".sh ", "host "];
        if !text.lines().any(|line| {
            line.trim_start().starts_with(['\\', '.', '!']) || line.starts_with("system ") || line.starts_with("host ")
        }) {
            return None;
        }
        let mut kept = String::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim_start();
            let lead = SHELL.iter().find(|lead| trimmed.starts_with(*lead));
            if let Some(lead) = lead {
                let from = at + line.len() - trimmed.len() + lead.len();
                self.within(format!("{client} {}", lead.trim()), |walker| {
                    walker.code(trimmed[lead.len()..].trim_end(), origin.part(from), Flow::Empty);
                });
            }
            // Positions stay as they are.
            kept.push_str(&if lead.is_some() || trimmed.starts_with(['\\', '.']) {
                " ".repeat(line.len())
            } else {
                line.to_owned()
            });
            at += line.len();
        }
        Some(kept)
    }

    /// Finds the SQL that a client is given: in options, operands, on standard input.
    pub fn sql_client(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        self.sparing(args, |walker| walker.sql_of_client(program, args, stdin));
    }

    fn sql_of_client(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        for (n, arg) in args.iter().enumerate().skip(1) {
            let text = plain(&arg.text);
            let at = match text.as_bytes() {
                [b'-', b'-', ..] => text.find('=').map_or(text.len(), |at| at + 1),
                [b'-', letter, ..] if letter.is_ascii_alphabetic() => 2,
                _ => 0,
            };
            let before = args[n - 1].plain();
            if text.starts_with('-') && at == text.len()
                || matches!(before.as_ref(), "-U" | "-h" | "-d" | "-p" | "--host" | "--user")
            {
                continue;
            }
            let code = arg.from(at);
            let is_code = code.text.trim_start().starts_with(['\\', '.', '!'])
                || begins_like_sql(&code.text)
                || code.text.contains(';')
                || code.text.contains("/*")
                || code.text.contains("--") && code.text.contains('\n')
                || code.text.trim_start().to_ascii_lowercase().starts_with("system ");
            if is_code {
                self.within(program.to_owned(), |walker| walker.sql(&code.text, code.origin, program));
            }
        }
        let files: Vec<Flow> = args
            .windows(2)
            .filter(|pair| matches!(pair[0].text.as_str(), "-f" | "--file" | "-i"))
            .map(|pair| self.read(&pair[1]))
            .collect();
        for flow in files.iter().chain([stdin]) {
            if let Flow::Text(text) | Flow::Sketch(text) = flow {
                let span = crate::call::span_of(args);
                let origin = Origin::Made { start: span.start, end: span.end };
                self.within(program.to_owned(), |walker| walker.sql(text, origin, program));
            }
        }
    }
}

/// The tables that a script makes for its own session.
fn made_temporary(tokens: &[Token]) -> Vec<String> {
    let word = |at: usize| tokens.get(at).map_or("", Token::word);
    (0..tokens.len())
        .filter(|at| matches!(word(*at), "temp" | "temporary") && word(at + 1) == "table")
        .filter_map(|at| tokens.get(at + 2 + if word(at + 2) == "if" { 3 } else { 0 }))
        .map(|token| token.text().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .take(8)
        .collect()
}

/// Statements being read.
struct Statements<'t> {
    tokens: &'t [Token],
    client: &'t str,
    found: Vec<(&'static str, usize, usize)>,
    /// How much had been found when the open transaction began.
    mark: Option<usize>,
    /// Tables that the script itself makes for its session.
    temporary: Vec<String>,
}

impl Statements<'_> {
    fn run(mut self, walker: &mut Walker<'_>, origin: Origin) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.statement(at, walker, origin);
        }
        for (detail, from, to) in self.found {
            let (from, to) = (self.tokens[from].span.start, self.tokens[to.min(self.tokens.len() - 1)].span.end);
            let span = origin.span(from..to.max(from));
            let target = Arg { text: String::new(), origin: Origin::Made { start: span.start, end: span.end } };
            walker.effect(Kind::Sql, Place::None, &target, detail);
        }
    }

    fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", Token::word)
    }

    /// Where the statement that is read at `at` ends: at a semicolon, or where the parenthesis around it closes.
    fn end(&self, at: usize) -> usize {
        let mut depth = 0_i32;
        for (n, token) in self.tokens.iter().enumerate().skip(at) {
            match token.punctuation() {
                Some(';') => return n,
                Some('(') => depth += 1,
                Some(')') => {
                    depth -= 1;
                    if depth < 0 {
                        return n;
                    }
                }
                // Another statement on a line of its own: not every dialect separates them.
                None if n > at
                    && depth == 0
                    && token.starts_line
                    && matches!(token.word(), "drop" | "delete" | "truncate" | "go") =>
                {
                    return n;
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// Reads what begins here; where to go on.
    fn statement(&mut self, at: usize, walker: &mut Walker<'_>, origin: Origin) -> usize {
        let begins = at == 0 || {
            let before = &self.tokens[at - 1];
            before.is(";")
                || before.is("(")
                || self.tokens[at].starts_line
                || matches!(
                    before.word(),
                    "begin" | "then" | "else" | "loop" | "analyze" | "go" | "as" | "transaction" | "atomic" | "nowait"
                )
        };
        if !begins {
            // Graph databases say what goes at the end: MATCH (n) DETACH DELETE n.
            if self.word(at) == "detach" && self.word(at + 1) == "delete" {
                let start = (0..at).rev().find(|n| self.word(*n) == "match").unwrap_or(at);
                let pattern = &self.tokens[start..at];
                let restricts = pattern.iter().any(|token| token.word() == "where" || token.is("{"));
                if !restricts {
                    self.found.push(("delete-all", start, at + 2));
                }
            }
            return at + 1;
        }
        if self.word(at).is_empty() {
            return at + 1;
        }
        let end = self.end(at);
        if !walker.budget.spend(end - at) {
            return self.tokens.len();
        }
        match self.word(at) {
            "explain" | "desc" | "describe" if !(at..end).any(|n| self.word(n) == "analyze") => return end + 1,
            "create" => return self.definition(at, end),
            "merge" => return end + 1,
            "begin" | "start" => self.mark = Some(self.found.len()),
            "commit" => self.mark = None,
            "rollback" if self.word(at + 1) != "to" && self.word(at + 2) != "to" => {
                if let Some(mark) = self.mark.take() {
                    let keeps_definitions = matches!(self.client, "mysql" | "mariadb" | "sqlplus");
                    let kept: Vec<_> = self
                        .found
                        .drain(mark..)
                        .filter(|(detail, ..)| keeps_definitions && detail.starts_with("drop"))
                        .collect();
                    self.found.extend(kept);
                }
            }
            "drop" => self.drop_statement(at, end),
            "truncate" if !self.tokens.get(at + 1).is_some_and(|token| token.is("(")) => {
                let name =
                    at + 1 + usize::from(self.word(at + 1) == "table") + usize::from(self.word(at + 2) == "only");
                self.found.push((
                    if self.is_temporary(name) { "drop-temporary" } else { "truncate" },
                    at,
                    end.saturating_sub(1),
                ));
            }
            "delete" => {
                // MySQL and SQL Server know DELETE t FROM t JOIN ...
                let is_statement = (at + 1..(at + 6).min(end)).any(|n| self.word(n) == "from")
                    || self.tokens.get(at + 1).is_some_and(Token::is_name);
                if is_statement && self.word(at + 1) != "on" {
                    let from = (at..end).find(|n| self.word(*n) == "from").unwrap_or(at);
                    self.rows("delete-all", at, end, from + 1);
                }
            }
            "update" if (at + 1..(at + 40).min(end)).any(|n| self.word(n) == "set") => {
                self.rows("update-all", at, end, at + 1)
            }
            "alter" => self.alter(at, end),
            "do" | "exec" | "execute" | "prepare" | "call" | "declare" => self.dynamic(at, end, walker, origin),
            "copy" => self.dynamic_program(at, end, walker, origin),
            "grant" if self.word(at + 1) == "all" => self.found.push(("grant-all", at, end.saturating_sub(1))),
            "purge" | "reset" if matches!(self.word(at + 1), "binary" | "master" | "recyclebin" | "tables") => {
                self.found.push(("drop-table", at, end.saturating_sub(1)))
            }
            "shutdown" => self.found.push(("shutdown", at, at)),
            "match" | "with" | "select" | "insert" | "set" | "if" | "while" => {}
            _ => {}
        }
        at + 1
    }

    fn definition(&self, at: usize, end: usize) -> usize {
        let is_routine = (at + 1..(at + 8).min(end))
            .any(|n| matches!(self.word(n), "function" | "procedure" | "trigger" | "event" | "package" | "rule"));
        if !is_routine {
            return at + 1;
        }
        let has_body = (at..end).any(|n| self.word(n) == "begin");
        if !has_body {
            return end + 1;
        }
        let last = (end..self.tokens.len())
            .find(|n| self.word(*n) == "end" && !matches!(self.word(n + 1), "if" | "loop" | "case" | "while"));
        last.map_or(self.tokens.len(), |n| n + 1)
    }

    fn drop_statement(&mut self, at: usize, end: usize) {
        let last = end.saturating_sub(1);
        let mut kind = at + 1;
        while matches!(self.word(kind), "materialized" | "foreign" | "external" | "unique") {
            kind += 1;
        }
        let name = kind + 1 + if self.word(kind + 1) == "if" { 2 } else { 0 };
        let detail = match self.word(kind) {
            "temporary" | "temp" => "drop-temporary",
            "database" | "schema" | "keyspace" | "catalog" | "owned" | "tablespace" | "warehouse" | "namespace" => {
                "drop-database"
            }
            "table" | "measurement" | "series" | "collection" | "dataset" | "stream" | "label"
                if self.is_temporary(name) =>
            {
                "drop-temporary"
            }
            "table" | "measurement" | "series" | "collection" | "dataset" | "stream" | "retention" => "drop-table",
            "user" | "role" | "login" => "drop-user",
            "column" => "drop-column",
            "index" | "view" | "function" | "trigger" | "procedure" | "sequence" | "type" | "policy" | "extension"
            | "constraint" | "domain" | "event" | "publication" | "subscription" | "aggregate" | "rule" => "drop-other",
            _ => return,
        };
        self.found.push((detail, at, last));
    }

    fn is_temporary(&self, at: usize) -> bool {
        let name = self.tokens.get(at).map(|token| token.text().to_ascii_lowercase()).unwrap_or_default();
        name.starts_with("tmp")
            || name.starts_with("temp_")
            || name.starts_with('#')
            || name.starts_with("pg_temp")
            || name.ends_with("_tmp")
            || name.ends_with("_temp")
            || self.temporary.contains(&name)
    }

    fn rows(&mut self, detail: &'static str, at: usize, end: usize, table: usize) {
        let mut depth = 0;
        let condition = (at..end).find(|n| {
            match self.tokens[*n].punctuation() {
                Some('(') => depth += 1,
                Some(')') => depth -= 1,
                _ => {}
            }
            depth == 0 && self.word(*n) == "where"
        });
        let restricts = condition.is_some_and(|condition| condition::restricts(&self.tokens[condition + 1..end]));
        if !restricts {
            let detail = if self.is_temporary(table) { "drop-temporary" } else { detail };
            self.found.push((detail, at, end.saturating_sub(1)));
        }
    }

    fn alter(&mut self, at: usize, end: usize) {
        if self.word(at + 1) != "table" {
            return;
        }
        for n in at + 2..end {
            if self.word(n) == "drop" {
                let what = self.word(n + 1);
                // Nothing is lost with a default or a restriction on one column.
                if matches!(what, "default" | "not" | "identity" | "expression") {
                    continue;
                }
                let spared =
                    matches!(what, "constraint" | "index" | "foreign" | "primary" | "key" | "check" | "unique");
                if !spared && !matches!(self.word(n + 1), "partition") {
                    self.found.push(("drop-column", at, end.saturating_sub(1)));
                } else if what == "partition" {
                    self.found.push(("drop-table", at, end.saturating_sub(1)));
                } else {
                    self.found.push(("drop-other", at, end.saturating_sub(1)));
                }
                return;
            }
        }
    }

    /// Statements in strings.
    fn dynamic(&mut self, at: usize, end: usize, walker: &mut Walker<'_>, origin: Origin) {
        for token in &self.tokens[at..end] {
            if let Some(text) = token.string() {
                let span = origin.span(token.span.clone());
                let inner = Origin::Made { start: span.start, end: span.end };
                let is_shell = self.tokens[at..end].iter().any(|token| token.word().contains("cmdshell"));
                if is_shell {
                    walker.within("xp_cmdshell", |walker| walker.code(text, inner, Flow::Empty));
                } else {
                    walker.sql(text, inner, self.client);
                }
            }
        }
    }

    /// `COPY ... TO PROGRAM 'command'`.
    fn dynamic_program(&mut self, at: usize, end: usize, walker: &mut Walker<'_>, origin: Origin) {
        for n in at..end {
            if self.word(n) == "program"
                && let Some(token) = self.tokens.get(n + 1)
                && let Some(text) = token.string()
            {
                let span = origin.span(token.span.clone());
                walker.within("COPY PROGRAM", |walker| {
                    walker.code(text, Origin::Made { start: span.start, end: span.end }, Flow::Empty)
                });
            }
        }
    }
}
