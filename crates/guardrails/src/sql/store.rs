//! Databases of other kinds: MongoDB's shell, Redis.

use crate::call::{Arg, span_of};
use crate::effect::{Kind, Place};
use crate::flow::Flow;
use crate::source::{Origin, plain};
use crate::walk::Walker;

/// Is the text a call on a document store, or a command of a key-value store, rather than one for a shell?
pub fn is_store_call(text: &str) -> bool {
    let text = text.trim_start();
    (text.starts_with("db.") || text.starts_with("db[") || text.starts_with("use ") && text.contains("db."))
        && text.contains('(')
        || text
            .split_whitespace()
            .next()
            .is_some_and(|word| matches!(word.to_ascii_lowercase().as_str(), "flushall" | "flushdb"))
}

/// What calls on a document store take away, by how they are written without blanks.
const CALLS: &[(&str, &str)] = &[
    (".dropdatabase(", "drop-database"),
    ("dropdatabase:1", "drop-database"),
    (".dropuser(", "drop-database"),
    (".dropallusers(", "drop-database"),
    (".drop(", "drop-collection"),
    (".dropcollection(", "drop-collection"),
    (".deletemany({})", "delete-all"),
    (".deletemany()", "delete-all"),
    (".deletemany({},", "delete-all"),
    (".remove({})", "delete-all"),
    (".remove()", "delete-all"),
    (".remove({},", "delete-all"),
    (".dropindexes(", "drop-index"),
    (".dropindex(", "drop-index"),
    (".updatemany({},", "update-all"),
    (".update({},", "update-all"),
    (".shutdownserver(", "shutdown"),
    (".bulkwrite([{deletemany:{filter:{}", "delete-all"),
];

const KEY_VALUE: &[(&str, &str)] = &[
    ("flushall", "flush"),
    ("flushdb", "flush"),
    ("shutdown", "shutdown"),
    ("swapdb", "flush"),
    ("debug", "shutdown"),
];

impl Walker<'_> {
    /// Runs a script for a document store, or commands for a key-value store.
    pub fn store_script(&mut self, text: &str, origin: Origin) {
        if !self.budget.spend(text.len() * 4) {
            return;
        }
        let target = Arg {
            text: String::new(),
            origin: Origin::Made { start: origin.span(0..text.len()).start, end: origin.span(0..text.len()).end },
        };
        let code = without_strings(text);
        let mut details: Vec<&'static str> =
            CALLS.iter().filter(|(call, _)| code.contains(call)).map(|(_, detail)| *detail).collect();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_ascii_lowercase());
            let first = words.next().unwrap_or_default();
            details.extend(KEY_VALUE.iter().filter(|(word, _)| *word == first).map(|(_, detail)| *detail));
            if matches!(first.as_str(), "eval") && line.to_ascii_lowercase().contains("flush") {
                details.push("flush");
            }
        }
        details.dedup();
        for detail in details {
            self.effect(Kind::Store, Place::None, &target, detail);
        }
    }

    /// Finds what a framework's models are told to delete.
    pub fn model_calls(&mut self, text: &str, origin: Origin) {
        const ALL: &[&str] = &[
            ".delete_all",
            ".destroy_all",
            ".objects.all().delete(",
            "::truncate(",
            "->truncate(",
            "::query()->delete(",
            ".deletemany({})",
            ".deletemany()",
            ".drop_all(",
            ".truncate_tables",
        ];
        if text.len() > 1 << 16 || !self.budget.spend(text.len()) {
            return;
        }
        let code = without_strings(text);
        let restricts = [".where(", ".filter(", ".find_by", ".limit("].iter().any(|part| code.contains(part));
        if !restricts && ALL.iter().any(|call| code.contains(call)) {
            let span = origin.span(0..text.len());
            let target = Arg { text: String::new(), origin: Origin::Made { start: span.start, end: span.end } };
            self.effect(Kind::Store, Place::None, &target, "delete-all");
        }
    }

    /// Finds what a client of such a store is given.
    pub fn store_client(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        let span = span_of(args);
        let whole = Origin::Made { start: span.start, end: span.end };
        self.within(program.to_owned(), |walker| {
            if program.starts_with("mongo") {
                for arg in args.iter().skip(1).filter(|arg| arg.text.contains('(')) {
                    walker.store_script(&arg.text, arg.origin);
                }
            } else {
                // Options stand before the command, and some of them have a value.
                let mut at = 1;
                while let Some(arg) = args.get(at).filter(|arg| arg.text.starts_with('-')) {
                    let takes = matches!(
                        arg.text.as_str(),
                        "-h" | "-p"
                            | "-a"
                            | "-n"
                            | "-u"
                            | "-s"
                            | "-r"
                            | "-i"
                            | "-d"
                            | "-D"
                            | "--user"
                            | "--pass"
                            | "--pattern"
                            | "--cacert"
                            | "--cert"
                            | "--key"
                            | "--sni"
                    );
                    at += 1 + usize::from(takes);
                }
                let line: Vec<String> = args.get(at..).unwrap_or_default().iter().map(|arg| plain(&arg.text)).collect();
                walker.store_script(&line.join(" "), whole);
                let deletes =
                    line.first().is_some_and(|word| matches!(word.to_ascii_lowercase().as_str(), "del" | "unlink"));
                if deletes && walker.reached.iter().rev().nth(1).is_some_and(|label| label == "xargs") {
                    let target = Arg { text: String::new(), origin: whole };
                    walker.effect(Kind::Store, Place::None, &target, "delete-all");
                }
            }
            if let Flow::Text(text) | Flow::Sketch(text) = stdin {
                walker.store_script(text, whole);
            }
        });
    }
}

/// The code in lower case, without blanks, comments and what stands in strings.
fn without_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '/') if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, c) if c.is_whitespace() => {}
            (None, c) => code.extend(c.to_lowercase()),
        }
    }
    code
}
