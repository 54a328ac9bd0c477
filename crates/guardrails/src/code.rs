//! Snippets of other languages, as in `python -c`: the calls in them that run commands, delete, overwrite or read files.
//!
//! One reader for all of them: names, strings and signs. It knows no grammar, only what stands in the parentheses behind a
//! name, which variables were given plain strings, and how strings are joined.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::call::Arg;
use crate::decode;
use crate::effect::{Kind, Place};
use crate::flow::{Flow, is_secret_name};
use crate::source::{DECODED, FETCHED, Origin, SOME, STAR, UNKNOWN, starred, unmarked};
use crate::sql;
use crate::walk::Walker;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
    Perl,
    Ruby,
    Php,
    Awk,
    /// Lua, R, AppleScript and others, of which less is known.
    Other,
}

impl Language {
    /// That a program reads.
    pub fn of(program: &str) -> Option<Self> {
        let name = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Some(match name {
            "python" | "pypy" | "ipython" | "py" => Self::Python,
            "node" | "nodejs" | "deno" | "bun" | "tsx" | "ts-node" => Self::JavaScript,
            "perl" => Self::Perl,
            "ruby" | "irb" | "jruby" => Self::Ruby,
            "php" => Self::Php,
            "lua" | "luajit" | "rscript" | "osascript" | "julia" | "groovy" | "elixir" | "iex" | "r" | "jshell"
            | "scala" | "clojure" | "clj" | "bb" | "guile" | "racket" | "raku" => Self::Other,
            _ => return None,
        })
    }

    /// Options whose value is code.
    pub fn code_options(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["-c"],
            Self::JavaScript => &["-e", "--eval", "-p", "--print", "-pe"],
            Self::Perl => &["-e", "-E"],
            Self::Php => &["-r"],
            Self::Ruby => &["-e"],
            Self::Other => &["-e", "-c", "--eval"],
            Self::Awk => &[],
        }
    }

    /// May such options be the end of a bundle?
    pub fn bundles(self) -> bool {
        !matches!(self, Self::Other | Self::Php)
    }

    /// Does another option take a value?
    pub fn option_takes_value(self, option: &str) -> bool {
        match self {
            Self::Python => matches!(option, "-W" | "-X" | "--check-hash-based-pycs"),
            Self::JavaScript => matches!(option, "-r" | "--require" | "--import" | "--loader" | "-C"),
            Self::Perl | Self::Ruby => matches!(option, "-I" | "-r"),
            Self::Php => matches!(option, "-d" | "-c"),
            _ => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Lexeme {
    Name(String),
    Text(String),
    /// Runs in a shell.
    Command(String),
    Sign(char),
}

#[derive(Debug, Clone)]
struct Token {
    kind: Lexeme,
    span: Range<usize>,
}

impl Token {
    fn name(&self) -> &str {
        if let Lexeme::Name(name) = &self.kind { name } else { "" }
    }

    fn last_name(&self) -> &str {
        self.name().rsplit(['.', ':', '>']).next().unwrap_or_default()
    }

    fn is(&self, sign: char) -> bool {
        self.kind == Lexeme::Sign(sign)
    }
}

const RUNS: &[&str] = &[
    "system",
    "popen",
    "exec",
    "execSync",
    "execFile",
    "execFileSync",
    "spawn",
    "spawnSync",
    "call",
    "check_call",
    "check_output",
    "Popen",
    "getoutput",
    "getstatusoutput",
    "shell_exec",
    "passthru",
    "proc_open",
    "execvp",
    "execv",
    "execl",
    "execlp",
    "execve",
    "execvpe",
    "spawnl",
    "spawnlp",
    "spawnv",
    "spawnvp",
    "popen2",
    "popen3",
    "capture2",
    "capture2e",
    "capture3",
    "pcntl_exec",
    "execa",
    "execaSync",
    "execaCommand",
    "execaCommandSync",
    "create_subprocess_shell",
    "create_subprocess_exec",
    "cmd",
    "script",
    "posix_spawn",
    "execute",
    "sh",
    "startfile",
    "shell",
];
const DELETES_TREES: &[&str] = &[
    "rmtree",
    "rm_rf",
    "rm_r",
    "remove_tree",
    "removeSync",
    "rimraf",
    "rimrafSync",
    "emptyDirSync",
    "emptyDir",
    "remove_dir",
    "remove_entry",
    "remove_entry_secure",
    "removedirs",
    "deleteDirectory",
    "rmtree_p",
    "remove_dir_all",
    "deltree",
    "rm_f",
];
const DELETES: &[&str] =
    &["unlink", "unlinkSync", "rmdir", "rmdirSync", "rmSync", "rm", "remove", "delete", "removedir"];
const OVERWRITES: &[&str] = &[
    "writeFileSync",
    "writeFile",
    "write_text",
    "write_bytes",
    "file_put_contents",
    "createWriteStream",
    "outputFileSync",
];
const READS: &[&str] = &[
    "read_text",
    "readFileSync",
    "readFile",
    "file_get_contents",
    "read_bytes",
    "dotenv_values",
    "readlines",
    "slurp",
    "readFileText",
    "readTextFile",
];
const EVALUATES: &[&str] = &[
    "eval",
    "exec",
    "Function",
    "compile",
    "runInThisContext",
    "runInNewContext",
    "instance_eval",
    "class_eval",
    "assert",
    "create_function",
    "load",
    "loadstring",
    "execfile",
];
const QUERIES: &[&str] = &[
    "execute",
    "executescript",
    "executemany",
    "query",
    "exec",
    "raw",
    "run",
    "prepare",
    "execute_sql",
    "text",
    "queryRaw",
    "executeRaw",
    "$executeRawUnsafe",
    "$queryRawUnsafe",
    "exec_query",
    "mysqli_query",
    "pg_query",
    "do",
    "unsafe",
    "all",
    "read_sql",
];

impl Walker<'_> {
    /// Runs a snippet in thought.
    pub fn snippet_code(&mut self, language: Language, code: &Arg) -> Flow {
        if self.depth >= crate::budget::MAX_DEPTH {
            self.budget.give_up();
        }
        for (mark, detail) in [(FETCHED, "network"), (DECODED, "decoded")] {
            if code.text.contains(mark) {
                self.runs_unread(detail, code.span());
            }
        }
        if !self.budget.spend(code.text.len() * 6) {
            return Flow::Opaque;
        }
        self.depth += 1;
        let mut snippet = Snippet {
            language,
            tokens: tokens(&code.text, language),
            origin: code.origin,
            variables: HashMap::new(),
            aliases: HashMap::new(),
            listed: None,
            mentioned: HashSet::new(),
            imports_files: false,
            printed: Flow::Empty,
        };
        snippet.join_strings();
        snippet.look_over();
        snippet.find_aliases();
        // With a condition on the names it is not known which of them go.
        let chooses = ["endswith", "endsWith", ".suffix", "fnmatch", "match(", ".test(", "=~"];
        if !chooses.iter().any(|word| code.text.contains(word)) {
            snippet.listed = snippet.listing();
        }
        snippet.run(self, &code.text);
        self.depth -= 1;
        if snippet.printed == Flow::Empty { Flow::Opaque } else { snippet.printed }
    }
}

struct Snippet {
    language: Language,
    tokens: Vec<Token>,
    origin: Origin,
    variables: HashMap<String, String>,
    /// Other names of functions that matter here.
    aliases: HashMap<String, String>,
    /// What it goes through, file by file.
    listed: Option<(String, Range<usize>)>,
    /// The parts of all names.
    mentioned: HashSet<String>,
    /// Is a library for files named in a string?
    imports_files: bool,
    /// What the commands print that it runs.
    printed: Flow,
}

/// What stands in the parentheses behind a name.
#[derive(Default)]
struct Arguments {
    texts: Vec<(String, Range<usize>)>,
    names: Vec<String>,
    list: bool,
    end: usize,
}

impl Arguments {
    fn names(&self, wanted: &[&str]) -> bool {
        self.names.iter().any(|name| wanted.iter().any(|wanted| name.ends_with(wanted)))
    }
}

impl Snippet {
    /// `"a" + "b"` is one string, and so is a decoded one.
    fn join_strings(&mut self) {
        let mut joined: Vec<Token> = Vec::with_capacity(self.tokens.len());
        let joins = |sign: &Token, language| {
            sign.is('+') || (sign.is('.') && matches!(language, Language::Perl | Language::Php))
        };
        for token in std::mem::take(&mut self.tokens) {
            if let Lexeme::Text(text) = &token.kind {
                let n = joined.len();
                if n >= 2 && joins(&joined[n - 1], self.language) && matches!(joined[n - 2].kind, Lexeme::Text(_)) {
                    joined.pop();
                    if let Some(Token { kind: Lexeme::Text(before), span }) = joined.last_mut() {
                        before.push_str(text);
                        span.end = token.span.end;
                    }
                    continue;
                }
                if n >= 1 && self.language == Language::Python && matches!(joined[n - 1].kind, Lexeme::Text(_)) {
                    if let Some(Token { kind: Lexeme::Text(before), span }) = joined.last_mut() {
                        before.push_str(text);
                        span.end = token.span.end;
                    }
                    continue;
                }
                if n >= 2 && joined[n - 1].is('(') {
                    let bytes = match joined[n - 2].last_name() {
                        "b64decode" | "atob" | "decode_base64" | "decode64" | "base64_decode" | "urlsafe_b64decode"
                        | "standard_b64decode" | "decodebytes" => decode::base64(text),
                        "from" if joined[n - 2].name().ends_with("Buffer.from") && !text.contains(' ') => {
                            decode::base64(text)
                        }
                        "fromhex" | "unhexlify" | "hex2bin" => Some(decode::hex(text)),
                        "decode" if joined[n - 2].name().contains("codecs") => {
                            Some(decode::translate(text, "a-zA-Z", "n-za-mN-ZA-M").into_bytes())
                        }
                        "b32decode" => decode::base32(text),
                        _ => None,
                    };
                    if let Some(bytes) = bytes {
                        let text = unmarked(&String::from_utf8_lossy(&bytes)).into_owned();
                        joined.push(Token { kind: Lexeme::Text(text), span: token.span });
                        continue;
                    }
                }
            }
            joined.push(token);
        }
        self.tokens = joined;
    }

    /// Functions under another name: `import rmtree as r`, `{execSync: e}`, `r = shutil.rmtree`.
    fn find_aliases(&mut self) {
        let matters = |name: &str| [RUNS, DELETES_TREES, DELETES, OVERWRITES].iter().any(|list| list.contains(&name));
        let renames = |sign: &Token| sign.name() == "as" || sign.is(':');
        for tokens in self.tokens.windows(3) {
            let (old, new) = (tokens[0].last_name(), tokens[2].name());
            if renames(&tokens[1]) && !new.is_empty() && matters(old) {
                self.aliases.insert(new.to_owned(), old.to_owned());
            }
        }
        for at in 0..self.tokens.len().saturating_sub(2) {
            let new = self.tokens[at].name();
            if new.is_empty() || !self.tokens[at + 1].is('=') || self.tokens[at + 2].is('=') {
                continue;
            }
            let ends = |n: &usize| self.tokens.get(*n).is_none_or(|token| token.is(';') || token.is('\n'));
            let end = (at + 2..at + 10).find(ends).unwrap_or(at + 10);
            let Some(last) = (at + 2..end).rfind(|n| !self.tokens[*n].name().is_empty()) else { continue };
            let is_called = self.tokens.get(last + 1).is_some_and(|token| token.is('('));
            let old = &self.tokens[last];
            if old.name().contains('.') && matters(old.last_name()) && !is_called {
                self.aliases.insert(new.to_owned(), old.last_name().to_owned());
            }
        }
    }

    /// What a snippet goes through that lists directories: `Path('src').rglob('*')`, `os.listdir('.')`.
    fn listing(&self) -> Option<(String, Range<usize>)> {
        const LISTS: &[&str] = &[
            "glob",
            "iglob",
            "rglob",
            "listdir",
            "scandir",
            "walk",
            "readdirSync",
            "readdir",
            "globSync",
            "children",
            "each_child",
            "entries",
            "iterdir",
            "fileList",
        ];
        let is_called = |at: usize| {
            self.tokens.get(at + 1).is_some_and(|next| next.is('(') || matches!(next.kind, Lexeme::Text(_)))
        };
        let at = (0..self.tokens.len()).find(|at| LISTS.contains(&self.tokens[*at].last_name()) && is_called(*at))?;
        let name = &self.tokens[at];
        let given = self.arguments(at + 1, true);
        let dir = self.tokens[at.saturating_sub(4)..at].iter().rev().find_map(|token| match &token.kind {
            Lexeme::Text(text) if name.name().starts_with('.') => Some(text.clone()),
            _ => None,
        });
        let text = match (dir, given.texts.first()) {
            (Some(dir), Some((pattern, _))) => format!("{}/**/{pattern}", dir.trim_end_matches('/')),
            (Some(dir), None) => dir,
            (None, Some((pattern, _))) => pattern.clone(),
            (None, None) => return None,
        };
        Some((text, name.span.clone()))
    }

    /// Everything that was listed is deleted.
    fn delete_listed(&self, walker: &mut Walker<'_>) {
        let Some((text, span)) = &self.listed else { return };
        let mut dir = text.trim_end_matches('/');
        while let Some(rest) = ["/**", "/*", "/.*"].iter().find_map(|end| dir.strip_suffix(end)) {
            dir = rest;
        }
        let all = matches!(dir, "*" | "**" | "**.*" | "*.*");
        let marked = if all { ".".to_owned() } else { starred(dir) };
        let kind = if marked.contains(STAR) { Kind::Delete } else { Kind::DeleteTree };
        let target = self.made(&marked, span.clone());
        walker.effect_on(kind, &target, "");
    }

    fn run(&mut self, walker: &mut Walker<'_>, code: &str) {
        let reflects = ["getattr", "__builtins__", "__dict__", "globals()", "[\"exec", "['exec", "Reflect.", ".send("]
            .iter()
            .any(|word| code.contains(word));
        if self.language == Language::Awk
            && (code.contains("| \"sh\"")
                || code.contains("|\"sh\"")
                || code.contains("| \"bash\"")
                || code.contains("|\"bash\"")
                || code.contains("getline"))
            || reflects
        {
            self.run_all_strings(walker);
        }
        self.environment(walker);
        let mut at = 0;
        while at < self.tokens.len() {
            if !walker.budget.spend(4) {
                return;
            }
            match self.tokens[at].kind.clone() {
                Lexeme::Command(text) => self.shell(walker, &text, self.tokens[at].span.clone()),
                Lexeme::Name(_) => self.name(walker, at),
                _ => {}
            }
            at += 1;
        }
    }

    fn run_all_strings(&mut self, walker: &mut Walker<'_>) {
        for token in self.tokens.clone() {
            if let Lexeme::Text(text) = &token.kind
                && text.contains(' ')
            {
                self.shell(walker, text, token.span.clone());
            }
        }
    }

    fn made(&self, text: &str, span: Range<usize>) -> Arg {
        let place = self.origin.span(span.clone());
        // A string without escapes is a verbatim part of the input.
        match self.origin {
            Origin::Verbatim { start } if span.len() == text.len() + 2 => {
                Arg { text: text.to_owned(), origin: Origin::Verbatim { start: start + span.start + 1 } }
            }
            _ => Arg { text: text.to_owned(), origin: Origin::Made { start: place.start, end: place.end } },
        }
    }

    fn shell(&mut self, walker: &mut Walker<'_>, text: &str, span: Range<usize>) {
        let arg = self.made(text, span);
        let flow = walker.apart(|walker| walker.code(&arg.text, arg.origin, Flow::Empty));
        self.printed = std::mem::replace(&mut self.printed, Flow::Empty).then(flow, walker.budget);
    }

    /// A name: is it called, or given a string?
    fn name(&mut self, walker: &mut Walker<'_>, at: usize) {
        let token = self.tokens[at].clone();
        let name = token.name().to_owned();
        let last = token.last_name().to_owned();
        let alias = self.aliases.get(&name).cloned();
        let (name, last) = match alias {
            Some(known) => (known.clone(), known),
            None => (name, last),
        };
        let next = self.tokens.get(at + 1);
        if next.is_some_and(|next| next.is('='))
            && let Some(Token { kind: Lexeme::Text(text), .. }) = self.tokens.get(at + 2)
        {
            self.variables.insert(name.trim_start_matches(['$', '@']).to_owned(), text.clone());
            return;
        }
        let calls = next.is_some_and(|next| next.is('('));
        if calls
            && matches!(last.as_str(), "array_map" | "array_walk")
            && matches!(self.tokens.get(at + 2).map(|token| &token.kind), Some(Lexeme::Text(text)) if DELETES.contains(&text.as_str()))
        {
            self.delete_listed(walker);
        }
        // Perl and Ruby call without parentheses.
        let bare = !calls
            && matches!(
                self.language,
                Language::Perl | Language::Ruby | Language::Php | Language::Other | Language::JavaScript
            )
            && next.is_some_and(|next| {
                matches!(next.kind, Lexeme::Text(_)) || next.is('(') || next.is('\u{ff5b}') || !next.name().is_empty()
            });
        if !calls && !bare {
            // A reference that is called elsewhere: map(os.remove, files).
            if DELETES.contains(&last.as_str()) || DELETES_TREES.contains(&last.as_str()) {
                self.delete_listed(walker);
            }
            return;
        }
        let runs = RUNS.contains(&last.as_str())
            || (last == "run" && (name.contains("subprocess") || self.mentions("subprocess")))
            || (name == "$" && self.language == Language::JavaScript);
        let evaluates = EVALUATES.contains(&last.as_str()) && !name.contains('.');
        let deletes = DELETES_TREES.contains(&last.as_str()) || DELETES.contains(&last.as_str());
        let handles = deletes
            || OVERWRITES.contains(&last.as_str())
            || READS.contains(&last.as_str())
            || matches!(last.as_str(), "open" | "truncate" | "truncateSync" | "read" | "write" | "load_dotenv");
        let queries = QUERIES.contains(&last.as_str());
        if let Some(detail) = store_deletion(&last).filter(|_| calls) {
            let origin = self.origin.span(token.span.clone());
            let target = Arg { text: String::new(), origin: Origin::Made { start: origin.start, end: origin.end } };
            let kind = if detail == "drop-table" { Kind::Sql } else { Kind::Store };
            walker.effect(kind, Place::None, &target, detail);
        }
        if last == "kill" && (name.starts_with("os.") || name.starts_with("process.")) && calls {
            self.kill(walker, at);
        }
        if !(runs || evaluates || handles || queries) {
            return;
        }
        let arguments = self.arguments(at + 1, calls);
        if !walker.budget.spend(arguments.end - at) {
            return;
        }
        let span = token.span.start
            ..self.tokens.get(arguments.end.saturating_sub(1)).map_or(token.span.end, |last| last.span.end);
        if queries {
            for (text, place) in arguments.texts.iter().filter(|(text, _)| sql::is_statement(text)) {
                let arg = self.made(text, place.clone());
                walker.sql(&arg.text, arg.origin, "sql");
            }
        }
        if evaluates
            && !(self.language == Language::JavaScript && last == "exec")
            && !(matches!(self.language, Language::Perl | Language::Ruby | Language::Php) && last == "exec")
        {
            if arguments.names(&["get", "urlopen", "fetch", "request"]) {
                walker.runs_unread("network", self.origin.span(span.clone()));
            } else if arguments.texts.is_empty()
                && arguments.names(&["chr", "join", "fromCharCode", "decode", "decompress", "loads", "bytes"])
            {
                walker.runs_unread("decoded", self.origin.span(span.clone()));
            }
            for (text, place) in &arguments.texts {
                let arg = self.made(text, place.clone());
                walker.snippet_code(self.language, &arg);
            }
        } else if runs {
            match self.tokens[..at].last().map(|before| before.kind.clone()) {
                // `"...".execute()`: what is run stands before.
                Some(Lexeme::Text(text)) if name.starts_with('.') && arguments.texts.is_empty() => {
                    self.shell(walker, &text, self.tokens[at - 1].span.clone());
                }
                _ => self.run_command(walker, &arguments, &last, span.clone()),
            }
        }
        if handles {
            self.files(walker, &name, &last, &arguments, at, span);
        }
    }

    /// Secrets of the environment that are printed or sent: `print(os.environ["API_KEY"])`.
    fn environment(&self, walker: &mut Walker<'_>) {
        const SENDS: &[&str] = &["post", "put", "urlopen", "fetch", "request", "sendall", "sendto"];
        const SHOWS: &[&str] = &["print", "println", "puts", "log", "echo", "write", "dump", "stringify", "p"];
        let does = |wanted: &[&str]| self.tokens.iter().any(|token| wanted.contains(&token.last_name()));
        let (sends, shows) = (does(SENDS), does(SHOWS));
        if !sends && !shows {
            return;
        }
        for (at, token) in self.tokens.iter().enumerate() {
            let name = token.name();
            let is_all = matches!(name, "os.environ" | "process.env" | "ENV" | "environ" | "$_ENV" | "os.environ.copy");
            let asks = is_all || matches!(token.last_name(), "getenv" | "get" | "fetch") && name.contains("env");
            let named = match self.tokens[at + 1..].iter().take(2).find(|token| matches!(token.kind, Lexeme::Text(_))) {
                Some(Token { kind: Lexeme::Text(text), .. }) if asks => is_secret_name(text),
                _ => name.strip_prefix("process.env.").is_some_and(is_secret_name),
            };
            // One variable that is no secret is none of them.
            let one = self.tokens.get(at + 1).is_some_and(|next| next.is('[') || next.is('('));
            let whole = is_all && !one;
            let origin = self.origin.span(token.span.clone());
            let target = Arg { text: String::new(), origin: Origin::Made { start: origin.start, end: origin.end } };
            if (named || whole) && sends {
                walker.effect(Kind::Send, Place::None, &target, "");
            } else if named && shows {
                walker.effect(Kind::Show, Place::None, &target, "secret");
            } else if whole && shows {
                walker.effect(Kind::Show, Place::None, &target, "environment");
            }
        }
    }

    /// `os.kill(-1, 9)`.
    fn kill(&self, walker: &mut Walker<'_>, at: usize) {
        let everything = ['(', '-', '1'].iter().zip(&self.tokens[at + 1..]).filter(|(sign, token)| token.is(**sign));
        let ends = self.tokens.get(at + 4).is_some_and(|token| token.is(',') || token.is(')'));
        if everything.count() == 3 && ends {
            let word = |text: &str| self.made(text, self.tokens[at].span.clone());
            walker.invoke(&[word("kill"), word("-9"), word("-1")], &Flow::Empty);
        }
    }

    /// Notes what is asked at many of its names.
    fn look_over(&mut self) {
        for token in &self.tokens {
            self.mentioned.extend(token.name().split('.').filter(|part| !part.is_empty()).map(str::to_owned));
            self.imports_files |= matches!(
                &token.kind,
                Lexeme::Text(text) if matches!(text.trim_start_matches("node:"), "fs" | "fs/promises")
            );
        }
    }

    fn mentions(&self, word: &str) -> bool {
        self.mentioned.contains(word)
    }

    fn run_command(&mut self, walker: &mut Walker<'_>, arguments: &Arguments, callee: &str, span: Range<usize>) {
        let texts: Vec<&(String, Range<usize>)> = arguments
            .texts
            .iter()
            .filter(|(text, _)| {
                !matches!(
                    text.as_str(),
                    "utf8" | "utf-8" | "inherit" | "pipe" | "base64" | "hex" | "ascii" | "latin1" | "binary"
                )
            })
            .collect();
        match texts.as_slice() {
            [] => {
                if arguments.names(&["chr", "fromCharCode", "decode", "decompress"]) {
                    walker.runs_unread("decoded", self.origin.span(span));
                }
            }
            [(text, place)] if !arguments.list || text.contains(' ') => self.shell(walker, text, place.clone()),
            [(first, _), (flag, _), (code, place), ..]
                if first.ends_with("sh") && flag.starts_with('-') && flag.ends_with('c') =>
            {
                self.shell(walker, code, place.clone())
            }
            [(first, place), ..] if first.contains(' ') && !arguments.list && !callee.starts_with("exec") => {
                self.shell(walker, first, place.clone())
            }
            [(first, place), rest @ ..]
                if !arguments.list
                    && matches!(callee, "exec" | "execSync" | "popen" | "system" | "shell_exec")
                    && first.contains(' ')
                    && rest.len() <= 2 =>
            {
                self.shell(walker, first, place.clone());
            }
            several => {
                // A program repeated as its own name: execvp("rm", ["rm", "-rf", "/"]).
                let repeated = callee.starts_with("exec")
                    && several.len() > 1
                    && several[0].0.rsplit('/').next() == several[1].0.rsplit('/').next();
                let args: Vec<Arg> = several
                    .iter()
                    .skip(usize::from(repeated))
                    .map(|(text, place)| self.made(text, place.clone()))
                    .collect();
                walker.apart(|walker| walker.invoke(&args, &Flow::Empty));
            }
        }
    }

    fn files(
        &self,
        walker: &mut Walker<'_>,
        name: &str,
        last: &str,
        arguments: &Arguments,
        at: usize,
        span: Range<usize>,
    ) {
        // Path("x").unlink(): what it works on stands before.
        let writes_itself = matches!(last, "write_text" | "write_bytes");
        let method = name.starts_with('.') && (arguments.texts.is_empty() || writes_itself);
        let mut targets: Vec<(String, Range<usize>)> = if method {
            let before: Vec<_> = self.tokens[at.saturating_sub(8)..at]
                .iter()
                .filter_map(|token| {
                    if let Lexeme::Text(text) = &token.kind { Some((text.clone(), token.span.clone())) } else { None }
                })
                .collect();
            before.last().cloned().into_iter().collect()
        } else {
            arguments.texts.clone()
        };
        let of_files = [
            "os",
            "fs",
            "File",
            "FileUtils",
            "shutil",
            "pathlib",
            "Path",
            "Dir",
            "Deno",
            "fsPromises",
            "promises",
            "fse",
            "IO",
        ]
        .iter()
        .any(|owner| name.split(['.', ':', '>']).any(|part| part == *owner))
            || (name.starts_with('.')
                && (self.mentions("fs")
                    || self.mentions("require")
                    || self.mentions("Path")
                    || self.mentions("pathlib")));
        let of_files = of_files || matches!(last, "rmSync" | "unlinkSync" | "rmdirSync");
        let of_listed =
            self.listed.is_some() && matches!(last, "unlink" | "rmdir" | "unlinkSync" | "rmdirSync" | "rmSync");
        let of_files = of_files || of_listed;
        let plain = !name.contains(['.', ':', '>']);
        // Such words mean files when they come from there, or say what only directories have.
        let means_files = arguments.names(&["recursive"]) || last == "rm" && self.imports_files;
        if !(of_files
            || plain && (means_files || !matches!(last, "remove" | "delete" | "read" | "write" | "rm"))
            || DELETES_TREES.contains(&last))
        {
            return;
        }
        if arguments.names(&["homedir", "Path.home", "Dir.home", "expanduser"])
            || targets.iter().any(|(text, _)| text == "HOME" || text == "USERPROFILE")
            || method && self.tokens[at.saturating_sub(8)..at].iter().any(|token| token.name().ends_with("Path.home"))
        {
            let home = walker.around.home.clone();
            let rest: Vec<String> = targets
                .iter()
                .map(|(text, _)| text.trim_start_matches(['~', '/']).to_owned())
                .filter(|text| text != "HOME" && text != "USERPROFILE" && !text.is_empty())
                .collect();
            targets = vec![(format!("{home}/{}", rest.join("/")), span.clone())];
        } else if arguments.names(&["tmpdir", "mkdtemp", "gettempdir", "mkdtempSync", "TemporaryDirectory", "mktmpdir"])
        {
            targets = vec![(format!("/tmp/{SOME}"), span.clone())];
        } else if arguments.names(&["cwd", "getcwd", "pwd", "__dirname"]) {
            let rest: Vec<&str> = targets.iter().map(|(text, _)| text.as_str()).collect();
            targets = vec![(format!("./{}", rest.join("/")), span.clone())];
        } else if !targets.is_empty() && arguments.names(&["path.join", "joinpath", "File.join", "path.resolve"]) {
            let rest: Vec<&str> = targets.iter().map(|(text, _)| text.as_str()).collect();
            targets = vec![(rest.join("/"), span.clone())];
        }
        let recursive = arguments.names(&["recursive"]);
        let first = targets.first().cloned();
        let mode = targets.get(1).map(|(text, _)| text.clone()).unwrap_or_default();
        let writes_nothing = match last {
            "open" => {
                mode.starts_with('w')
                    && self.tokens.get(arguments.end).is_some_and(|token| token.name().ends_with(".close"))
            }
            _ if writes_itself => matches!(arguments.texts.as_slice(), [(text, _)] if text.is_empty()),
            one if OVERWRITES.contains(&one) => targets.len() > 1 && mode.is_empty(),
            _ => false,
        };
        let kind = match last {
            _ if writes_nothing => Kind::Empty,
            tree if DELETES_TREES.contains(&tree) => Kind::DeleteTree,
            one if DELETES.contains(&one) => {
                if recursive {
                    Kind::DeleteTree
                } else {
                    Kind::Delete
                }
            }
            "open" if mode.contains('w') || mode.starts_with('>') && !mode.starts_with(">>") => Kind::Overwrite,
            "open" if first.as_ref().is_some_and(|(text, _)| text.starts_with('>') && !text.starts_with(">>")) => {
                Kind::Overwrite
            }
            "open" if mode.contains('a') => Kind::Append,
            "open" | "read" | "load_dotenv" => Kind::Read,
            "truncate" | "truncateSync" => Kind::Empty,
            "write" => Kind::Overwrite,
            one if OVERWRITES.contains(&one) => Kind::Overwrite,
            _ => Kind::Read,
        };
        let deletes = matches!(kind, Kind::Delete | Kind::DeleteTree);
        if deletes && self.listed.is_some() && (targets.is_empty() || arguments.names(&["glob"])) {
            self.delete_listed(walker);
            return;
        }
        if targets.is_empty() && deletes && matches!(kind, Kind::DeleteTree) {
            targets.push((UNKNOWN.to_string(), span));
        }
        let count = if deletes { targets.len() } else { 1 };
        for (text, place) in targets.into_iter().take(count.min(32)) {
            let text = text.trim_start_matches(['>', ' ']);
            let text = if text == "~" || text.starts_with("~/") {
                format!("{}{}", walker.around.home, &text[1..])
            } else {
                text.to_owned()
            };
            let file = self.made(&text, place);
            walker.effect_on(kind, &file, "");
        }
    }

    /// The strings and names up to the closing parenthesis, or, without parentheses, to the end of the statement.
    fn arguments(&self, start: usize, closed: bool) -> Arguments {
        let mut arguments = Arguments::default();
        let mut depth = 0_i32;
        let mut at = start;
        while let Some(token) = self.tokens.get(at) {
            at += 1;
            match &token.kind {
                Lexeme::Sign('(' | '[' | '{') => {
                    depth += 1;
                    arguments.list |= token.is('[');
                }
                Lexeme::Sign(')' | ']' | '}') => {
                    depth -= 1;
                    if depth <= 0 && closed || depth < 0 {
                        break;
                    }
                }
                Lexeme::Sign(';' | '\n') if !closed => break,
                Lexeme::Sign(_) => {}
                Lexeme::Text(text) | Lexeme::Command(text) => {
                    arguments.texts.push((self.filled(text), token.span.clone()))
                }
                Lexeme::Name(name) => {
                    if let Some(text) = self.variables.get(name.trim_start_matches(['$', '@'])) {
                        arguments.texts.push((text.clone(), token.span.clone()));
                    }
                    arguments.names.push(name.clone());
                }
            }
        }
        arguments.end = at;
        arguments
    }

    /// Puts variables into a string that names them: `{x}`, `${x}`, `#{x}`.
    fn filled(&self, text: &str) -> String {
        if !text.contains(['{', '$']) || text.len() > 4096 {
            return text.to_owned();
        }
        let mut filled = text.to_owned();
        for (name, value) in self.variables.iter().take(16) {
            for form in [format!("${{{name}}}"), format!("#{{{name}}}"), format!("{{{name}}}"), format!("${name}")] {
                if filled.len() < 1 << 16 {
                    filled = filled.replace(&form, value);
                }
            }
        }
        filled
    }
}

/// What a call of a database's own library deletes.
fn store_deletion(name: &str) -> Option<&'static str> {
    Some(match name {
        "flushall" | "flushdb" | "flushAll" | "flushDb" => "flush",
        "drop_database" | "dropDatabase" => "drop-database",
        "drop_collection" | "dropCollection" => "drop-collection",
        "drop_table" => "drop-table",
        _ => return None,
    })
}

fn tokens(code: &str, language: Language) -> Vec<Token> {
    let bytes = code.as_bytes();
    let mut tokens: Vec<Token> = vec![];
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        let start = at;
        let kind = match byte {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'#' if language != Language::JavaScript => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') && matches!(language, Language::JavaScript | Language::Php) => {
                at += bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' | b'\'' => Lexeme::Text(string(code, &mut at, byte, language)),
            b'`' => {
                let text = string(code, &mut at, byte, language);
                if language == Language::JavaScript { Lexeme::Text(text) } else { Lexeme::Command(text) }
            }
            b if b.is_ascii_alphabetic()
                || matches!(b, b'_' | b'$' | b'@')
                || b == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_alphabetic) =>
            {
                at += 1;
                while let Some(b) = bytes.get(at) {
                    let joins = b.is_ascii_alphanumeric()
                        || matches!(*b, b'_' | b'$')
                        || *b == b'.' && bytes.get(at + 1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
                        || (*b == b':' && bytes.get(at + 1) == Some(&b':'))
                        || (*b == b':' && bytes[at - 1] == b':')
                        || (*b == b'-' && bytes.get(at + 1) == Some(&b'>'))
                        || (*b == b'>' && bytes[at - 1] == b'-');
                    if !joins {
                        break;
                    }
                    at += 1;
                }
                let name = code.get(start..at).unwrap_or_default();
                // `File.rm_rf!(...)`
                if language == Language::Other && bytes.get(at..at + 2) == Some(b"!(") {
                    at += 1;
                }
                match (name, bytes.get(at).copied()) {
                    (
                        "r" | "b" | "f" | "u" | "rb" | "br" | "fr" | "rf" | "R" | "B" | "F",
                        Some(quote @ (b'"' | b'\'')),
                    ) if language == Language::Python => Lexeme::Text(string(code, &mut at, quote, language)),
                    ("q" | "qq" | "qw" | "qx" | "w", Some(open))
                        if matches!(language, Language::Perl)
                            && !open.is_ascii_alphanumeric()
                            && open != b' '
                            && open != b'='
                            && open != b','
                            && open != b';' =>
                    {
                        let text = delimited(code, &mut at, open);
                        if name == "qx" { Lexeme::Command(text) } else { Lexeme::Text(text) }
                    }
                    _ => Lexeme::Name(name.to_owned()),
                }
            }
            b'%' if language == Language::Ruby
                && matches!(bytes.get(at + 1), Some(b'x' | b'w' | b'q' | b'Q'))
                && bytes.get(at + 2).is_some_and(u8::is_ascii_punctuation) =>
            {
                let runs = bytes[at + 1] == b'x';
                let open = bytes[at + 2];
                at += 2;
                let text = delimited(code, &mut at, open);
                if runs { Lexeme::Command(text) } else { Lexeme::Text(text) }
            }
            _ => {
                let c = code.get(at..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
                at += c.len_utf8();
                Lexeme::Sign(c)
            }
        };
        tokens.push(Token { kind, span: start..at });
    }
    tokens
}

/// A string and its end, with its escapes undone.
fn string(code: &str, at: &mut usize, quote: u8, language: Language) -> String {
    let bytes = code.as_bytes();
    let triple = language == Language::Python && bytes[*at..].starts_with(&[quote; 3]);
    let mark = if triple { 3 } else { 1 };
    let start = *at + mark;
    let mut n = start;
    while n < bytes.len() {
        if bytes[n] == b'\\' {
            n += 2;
            continue;
        }
        if bytes[n] == quote && (!triple || bytes[n..].starts_with(&[quote; 3])) {
            break;
        }
        n += 1;
    }
    let end = n.min(bytes.len());
    *at = (end + mark).min(bytes.len());
    while !code.is_char_boundary(*at) {
        *at += 1;
    }
    decode::ansi_c(code.get(start.min(end)..end).unwrap_or_default())
}

/// What stands between delimiters of Perl's and Ruby's own.
fn delimited(code: &str, at: &mut usize, open: u8) -> String {
    let close = match open {
        b'(' => b')',
        b'{' => b'}',
        b'[' => b']',
        b'<' => b'>',
        other => other,
    };
    let bytes = code.as_bytes();
    let start = *at + 1;
    let len = bytes
        .get(start..)
        .unwrap_or_default()
        .iter()
        .position(|b| *b == close)
        .unwrap_or(bytes.len().saturating_sub(start));
    *at = (start + len + 1).min(bytes.len());
    while !code.is_char_boundary(*at) {
        *at += 1;
    }
    code.get(start..start + len).unwrap_or_default().to_owned()
}
