//! Snippets of other languages, as in `python -c`: the calls in them that run commands, delete, overwrite or read files.
//!
//! One reader for all of them: names, strings and signs. It knows no grammar, only what stands in the parentheses behind a
//! name, which variables were given plain strings, and how strings are joined.

use std::collections::HashMap;
use std::ops::Range;

use crate::call::Arg;
use crate::decode;
use crate::effect::Kind;
use crate::flow::Flow;
use crate::source::{DECODED, FETCHED, Origin, SOME, UNKNOWN, unmarked};
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
            "lua" | "luajit" | "rscript" | "osascript" | "julia" | "groovy" | "elixir" | "r" => Self::Other,
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
            Self::Ruby | Self::Other => &["-e"],
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
            printed: Flow::Empty,
        };
        snippet.join_strings();
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

    fn run(&mut self, walker: &mut Walker<'_>, code: &str) {
        let reflects = ["getattr", "__builtins__", "__dict__", "globals()", "[\"exec", "['exec", "Reflect.", ".send("]
            .iter()
            .any(|word| code.contains(word));
        if self.language == Language::Awk
            && (code.contains("| \"sh\"")
                || code.contains("|\"sh\"")
                || code.contains("| \"bash\"")
                || code.contains("|\"bash\""))
            || reflects
        {
            self.run_all_strings(walker);
        }
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
        let next = self.tokens.get(at + 1);
        if next.is_some_and(|next| next.is('='))
            && let Some(Token { kind: Lexeme::Text(text), .. }) = self.tokens.get(at + 2)
        {
            self.variables.insert(name.trim_start_matches(['$', '@']).to_owned(), text.clone());
            return;
        }
        let calls = next.is_some_and(|next| next.is('('));
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
            self.run_command(walker, &arguments, &last, span.clone());
        }
        if handles {
            self.files(walker, &name, &last, &arguments, at, span);
        }
    }

    fn mentions(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token.name().split('.').any(|part| part == word))
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
        let method = name.starts_with('.') && arguments.texts.is_empty();
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
        let plain = !name.contains(['.', ':', '>']);
        if !(of_files
            || plain && !matches!(last, "remove" | "delete" | "read" | "write" | "rm")
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
        } else if arguments.names(&["path.join", "joinpath", "File.join", "path.resolve"]) {
            let rest: Vec<&str> = targets.iter().map(|(text, _)| text.as_str()).collect();
            targets = vec![(rest.join("/"), span.clone())];
        }
        let recursive = arguments.names(&["recursive"]);
        let first = targets.first().cloned();
        let mode = targets.get(1).map(|(text, _)| text.clone()).unwrap_or_default();
        let kind = match last {
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
