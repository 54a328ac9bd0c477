//! Programs that run code, and how each is given it: by an option, as a file, or on standard input.

use std::ops::Range;
use std::rc::Rc;

use crate::call::{Arg, program_name, span_of};
use crate::code::Language;
use crate::decode;
use crate::effect::Kind;
use crate::flow::Flow;
use crate::options::Options;
use crate::place::is_credential;
use crate::source::{Origin, UNKNOWN, unmarked};
use crate::walk::{GENERATED, Walker};
use crate::wrapper::join;

const SHELLS: &[&str] = &[
    "sh", "bash", "zsh", "dash", "ksh", "mksh", "ash", "fish", "rbash", "yash", "csh", "tcsh", "elvish", "nu", "xonsh",
];

impl Walker<'_> {
    /// Runs a program's code, if it is one that runs code.
    pub fn interpreter(&mut self, program: &str, args: &[Arg], stdin: &Flow) -> Option<Flow> {
        let rest = &args[1..];
        if SHELLS.contains(&program) {
            return Some(self.shell(program, args, stdin));
        }
        if let Some(language) = Language::of(program) {
            return Some(self.snippet(language, program, args, stdin));
        }
        if self.tool(program, args, stdin) {
            return Some(Flow::Opaque);
        }
        match program {
            "eval" => {
                let code = join(rest)?;
                Some(self.within("eval", |walker| walker.code(&code.text, code.origin, stdin.clone())))
            }
            "su" | "runuser" => self.switch_user(program, rest, stdin),
            "xargs" | "gxargs" => Some(self.xargs(rest, stdin)),
            "parallel" | "rush" => Some(self.parallel(rest, stdin)),
            "find" | "gfind" => Some(self.find(args, stdin)),
            "fd" | "fdfind" => Some(self.fd(rest, stdin)),
            "git" => self.git(args, stdin),
            "powershell" | "pwsh" => Some(self.powershell_program(rest, stdin)),
            "cmd" => {
                let at = rest
                    .iter()
                    .position(|arg| matches!(arg.text.to_ascii_lowercase().as_str(), "/c" | "/k" | "/r" | "//c"))?
                    + 1;
                let code = join(&rest[at..])?;
                self.within("cmd /c", |walker| walker.cmd(&code));
                Some(Flow::Opaque)
            }
            "cmake" if rest.first().is_some_and(|arg| arg.text == "-E") && rest.len() > 1 => {
                let mut line = rest[1..].to_vec();
                if line[0].text.starts_with("remove") {
                    line[0] = line[0].with("rm");
                    line.insert(1, rest[0].with("-r"));
                }
                Some(self.within("cmake -E", |walker| walker.invoke(&line, stdin)))
            }
            "at" | "batch" | "crontab" if matches!(stdin, Flow::Text(_)) => {
                let text = stdin.substituted();
                // The fields of a crontab's line stand before its command.
                let lines: Vec<&str> = text
                    .lines()
                    .map(|line| if program == "crontab" { line.splitn(6, ' ').nth(5).unwrap_or(line) } else { line })
                    .collect();
                let flow = Flow::Text(lines.join("\n"));
                Some(self.within(program.to_owned(), |walker| walker.run_flow(&flow, span_of(args), true)))
            }
            "awk" | "gawk" | "mawk" | "nawk" => {
                for script in rest.iter().filter(|arg| arg.text.contains("system") || arg.text.contains('|')) {
                    self.within(program.to_owned(), |walker| walker.snippet_code(Language::Awk, script));
                }
                None
            }
            "tar" | "bsdtar" | "gtar" => {
                for arg in rest {
                    for lead in
                        ["--checkpoint-action=exec=", "--to-command=", "--use-compress-program=", "--rsh-command="]
                    {
                        if arg.text.starts_with(lead) {
                            let code = arg.from(lead.len());
                            self.within("tar", |walker| walker.code(&code.text, code.origin, Flow::Empty));
                        }
                    }
                }
                None
            }
            "vim" | "vi" | "nvim" | "ex" | "view" | "ed" => {
                for arg in rest {
                    if let Some((_, code)) = arg
                        .text
                        .split_once('!')
                        .filter(|(before, _)| arg.text.starts_with([':', '+', '!']) && before.len() < 8)
                    {
                        let code = arg.with(code);
                        self.within(program.to_owned(), |walker| walker.code(&code.text, code.origin, Flow::Empty));
                    }
                }
                if program == "ed"
                    && let Flow::Text(text) = stdin
                    && let Some((_, code)) = text.split_once('!')
                {
                    let code = Arg::made(code, Origin::Made { start: span_of(args).start, end: span_of(args).end }, 0);
                    self.within("ed", |walker| walker.code(&code.text, code.origin, Flow::Empty));
                }
                None
            }
            "sqlite3" | "psql" | "mysql" | "mariadb" | "sqlcmd" | "duckdb" | "clickhouse-client" | "clickhouse"
            | "cockroach" | "bq" | "snowsql" | "usql" | "pgcli" | "mycli" | "litecli" | "cqlsh" | "impala-shell"
            | "beeline" | "hive" | "presto" | "trino" | "sqlplus" | "isql" | "osql" | "db2" | "turso" | "wrangler"
            | "ysqlsh" | "influx" | "spark-sql" | "athena" | "tsql" | "dolt" | "neonctl" | "rqlite" | "surreal"
            | "edgedb" | "cypher-shell" | "rails-sql" | "vsql" | "prisma" | "supabase" => {
                self.sql_client(program, args, stdin);
                None
            }
            "rails" | "rake" | "manage.py" | "artisan" | "heroku" | "django-admin" | "flask" | "tinker" | "flyctl"
            | "fly" | "drush" | "wp" => {
                self.framework(program, args, stdin);
                None
            }
            "mongosh" | "mongo" | "redis-cli" | "valkey-cli" | "keydb-cli" => {
                self.store_client(program, args, stdin);
                None
            }
            _ => self.script_file(args, stdin),
        }
    }

    /// The consoles of frameworks: SQL for their databases, and code that calls on their models.
    fn framework(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        self.sql_client(program, args, stdin);
        let runs = |arg: &&Arg| matches!(arg.text.as_str(), "runner" | "r" | "-c" | "--command" | "--execute" | "eval");
        let language = match program {
            "rails" | "rake" => Some(Language::Ruby),
            "artisan" | "tinker" | "drush" | "wp" => Some(Language::Php),
            "manage.py" | "django-admin" | "flask" => Some(Language::Python),
            program if program.starts_with("python") => Some(Language::Python),
            "php" => Some(Language::Php),
            _ => None,
        };
        let snippets = args.windows(2).filter(|pair| runs(&&pair[0])).map(|pair| pair[1].clone());
        let inline =
            args.iter().filter(|arg| arg.text.starts_with("--execute=")).map(|arg| arg.from("--execute=".len()));
        if let Some(language) = language {
            for code in snippets.chain(inline).collect::<Vec<_>>() {
                self.within(program.to_owned(), |walker| walker.snippet_code(language, &code));
            }
        }
        for code in args.iter().skip(1).map(|arg| (arg.text.clone(), arg.origin)) {
            self.within(program.to_owned(), |walker| walker.model_calls(&code.0, code.1));
        }
        if let Flow::Text(text) = stdin {
            let span = span_of(args);
            self.within(program.to_owned(), |walker| {
                walker.model_calls(text, Origin::Made { start: span.start, end: span.end })
            });
        }
    }

    /// `./script.sh`, which was written just before.
    fn script_file(&mut self, args: &[Arg], stdin: &Flow) -> Option<Flow> {
        let first = args.first()?;
        if !first.text.contains('/') {
            return None;
        }
        let flow = self.file(&first.text)?.clone();
        let label = first.plain().into_owned();
        let _ = stdin;
        Some(self.within(label, |walker| walker.run_flow(&flow, span_of(args), true)))
    }

    /// Runs what flows.
    pub fn run_flow(&mut self, flow: &Flow, span: Range<usize>, is_shell: bool) -> Flow {
        let origin = Origin::Made { start: span.start, end: span.end };
        match flow {
            Flow::Text(text) | Flow::Sketch(text) if is_shell => {
                // A first line may name another interpreter.
                let line = text.strip_prefix("#!").and_then(|rest| rest.lines().next()).unwrap_or_default();
                let language = line.split(['/', ' ']).rev().find_map(Language::of);
                match language {
                    Some(language) => {
                        self.snippet_code(language, &Arg { text: text.clone(), origin });
                        Flow::Opaque
                    }
                    None if matches!(flow, Flow::Sketch(_)) => {
                        self.within(GENERATED, |walker| walker.code(text, origin, Flow::Empty))
                    }
                    None => self.code(text, origin, Flow::Empty),
                }
            }
            Flow::Network => {
                self.runs_unread("network", span);
                Flow::Opaque
            }
            Flow::Decoded => {
                self.runs_unread("decoded", span);
                Flow::Opaque
            }
            _ => Flow::Opaque,
        }
    }

    fn shell(&mut self, program: &str, args: &[Arg], stdin: &Flow) -> Flow {
        let mut at = 1;
        let (mut takes_code, mut from_input) = (false, false);
        while let Some(arg) = args.get(at) {
            let text = arg.plain();
            if !(text.starts_with('-') || text.starts_with('+')) || text.len() < 2 {
                break;
            }
            at += 1;
            match text.as_ref() {
                "--" => break,
                "-O" | "+O" | "-o" | "+o" | "--rcfile" | "--init-file" | "--init-command" => at += 1,
                "--command" => takes_code = true,
                long if long.starts_with("--command=") => {
                    let code = arg.from("--command=".len());
                    return self
                        .within(format!("{program} -c"), |walker| walker.code(&code.text, code.origin, stdin.clone()));
                }
                long if long.starts_with("--") => {}
                bundle => {
                    takes_code |= bundle.starts_with('-') && bundle.contains('c');
                    from_input |= bundle.starts_with('-') && bundle.contains('s');
                }
            }
        }
        let operand = args.get(at).cloned();
        let positional: Vec<String> =
            args.get(at + 1..).unwrap_or_default().iter().map(|arg| arg.text.clone()).collect();
        let label = if takes_code { format!("{program} -c") } else { program.to_owned() };
        self.apart(|walker| {
            walker.within(label, |walker| match operand {
                Some(code) if takes_code => {
                    // The first argument behind the code is `$0`.
                    walker.set("0", positional.first().cloned().into_iter().collect());
                    walker.env.positional = Some(Rc::new(positional.into_iter().skip(1).collect()));
                    if code.text.chars().all(|c| c == UNKNOWN) && !code.text.is_empty() {
                        walker.runs_unread("unknown", code.span());
                    }
                    walker.code(&code.text, code.origin, stdin.clone())
                }
                Some(file) if file.text != "-" && file.text != "/dev/stdin" && !from_input => {
                    walker.env.positional = Some(Rc::new(positional));
                    let flow = walker.read(&file);
                    walker.run_flow(&flow, span_of(args), true)
                }
                _ => {
                    walker.env.positional = (!positional.is_empty()).then(|| Rc::new(positional));
                    walker.run_flow(stdin, span_of(args), true)
                }
            })
        })
    }

    fn switch_user(&mut self, program: &str, rest: &[Arg], stdin: &Flow) -> Option<Flow> {
        let at = rest.iter().position(|arg| {
            let text = arg.plain();
            text == "--command" || (text.starts_with('-') && !text.starts_with("--") && text.ends_with('c'))
        });
        if let Some(code) = at.and_then(|at| rest.get(at + 1)) {
            return Some(
                self.within(format!("{program} -c"), |walker| walker.code(&code.text, code.origin, stdin.clone())),
            );
        }
        if let Some(arg) = rest.iter().find(|arg| arg.text.starts_with("--command=")) {
            let code = arg.from("--command=".len());
            return Some(
                self.within(format!("{program} -c"), |walker| walker.code(&code.text, code.origin, stdin.clone())),
            );
        }
        match rest.iter().position(|arg| arg.text == "--") {
            Some(at) => Some(self.within(program.to_owned(), |walker| walker.invoke(&rest[at + 1..], stdin))),
            None if matches!(stdin, Flow::Text(_) | Flow::Network) => {
                Some(self.within(program.to_owned(), |walker| walker.run_flow(stdin, span_of(rest), true)))
            }
            None => None,
        }
    }

    fn xargs(&mut self, rest: &[Arg], stdin: &Flow) -> Flow {
        let mut replaced = None;
        let mut input = stdin.clone();
        let mut at = 0;
        while let Some(arg) = rest.get(at).filter(|arg| arg.text.starts_with('-')) {
            let text = arg.plain().into_owned();
            at += 1;
            match text.as_str() {
                "--" => break,
                "-I" | "-J" | "--replace" | "-i" if text != "-i" && text != "--replace" => {
                    replaced = rest.get(at).map(|arg| arg.plain().into_owned());
                    at += 1;
                }
                "-i" | "--replace" => replaced = Some("{}".to_owned()),
                "-n" | "-P" | "-L" | "-s" | "-d" | "-E" | "-R" | "-S" | "--max-args" | "--max-procs"
                | "--max-lines" | "--delimiter" | "--max-chars" => at += 1,
                "-a" | "--arg-file" => {
                    input = rest.get(at).map_or(Flow::Opaque, |file| self.read(file));
                    at += 1;
                }
                other => {
                    if let Some(mark) = other
                        .strip_prefix("-I")
                        .or_else(|| other.strip_prefix("--replace="))
                        .or_else(|| other.strip_prefix("-i"))
                    {
                        replaced = Some(mark.to_owned());
                    }
                }
            }
        }
        let command = rest.get(at..).unwrap_or_default();
        let Some(first) = command.first() else { return Flow::Opaque };
        let from = first.origin;
        let made = |text: String| Arg::made(text, from, first.text.len());
        let given: Vec<Arg> = match &input {
            // With a mark to replace, a line is one argument.
            Flow::Text(text) if replaced.is_some() => {
                text.lines().take(256).map(|line| made(line.trim().to_owned())).collect()
            }
            Flow::Text(text) => text.split_whitespace().take(256).map(|word| made(word.to_owned())).collect(),
            Flow::Names(names) => names.iter().take(256).map(|name| made(name.clone())).collect(),
            Flow::Nothing => return Flow::Empty,
            _ => vec![made(UNKNOWN.to_string())],
        };
        let lines: Vec<Vec<Arg>> = match &replaced {
            Some(mark) if !mark.is_empty() => given
                .iter()
                .map(|value| {
                    let put = |arg: &Arg| {
                        if arg.text.contains(mark.as_str()) {
                            arg.with(arg.text.replace(mark.as_str(), &value.text))
                        } else {
                            arg.clone()
                        }
                    };
                    command.iter().map(put).collect()
                })
                .collect(),
            _ => vec![command.iter().cloned().chain(given).collect()],
        };
        let is_network = input == Flow::Network && first.text.ends_with("sh");
        let mut flow = Flow::Empty;
        for line in lines.into_iter().take(64) {
            flow = self.within("xargs", |walker| walker.apart(|walker| walker.invoke(&line, &Flow::Nothing)));
        }
        if is_network {
            self.runs_unread("network", span_of(rest));
        }
        flow
    }

    fn parallel(&mut self, rest: &[Arg], stdin: &Flow) -> Flow {
        let grammar = self.rules.grammar("parallel").clone();
        let options = Options::read(rest, &crate::options::Grammar { stops: true, ..grammar });
        let command = rest.get(options.read..).unwrap_or_default();
        let is_mark = |arg: &Arg| matches!(arg.text.as_str(), ":::" | "::::" | ":::+");
        let end = command.iter().position(is_mark).unwrap_or(command.len());
        let (command, values) = command.split_at(end);
        let values: Vec<String> = match (values, stdin) {
            ([], Flow::Text(text)) => text.lines().take(64).map(str::to_owned).collect(),
            ([], Flow::Names(names)) => names.iter().take(64).cloned().collect(),
            ([], _) => vec![UNKNOWN.to_string()],
            (values, _) => values.iter().filter(|arg| !is_mark(arg)).take(64).map(|arg| arg.text.clone()).collect(),
        };
        let Some(line) = join(command) else {
            // Without a command, what it is given are commands.
            let span = span_of(rest);
            return self.within("parallel", |walker| walker.run_flow(&Flow::Text(values.join("\n")), span, true));
        };
        for value in values {
            let code = if line.text.contains("{}") {
                line.text.replace("{}", &value)
            } else {
                format!("{} {value}", line.text)
            };
            let code = line.with(code);
            self.within("parallel", |walker| walker.apart(|walker| walker.code(&code.text, code.origin, Flow::Empty)));
        }
        Flow::Opaque
    }

    fn powershell_program(&mut self, rest: &[Arg], stdin: &Flow) -> Flow {
        let is = |text: &str, name: &str| {
            let text = text.trim_start_matches(['-', '/']).to_ascii_lowercase();
            !text.is_empty() && name.starts_with(&text)
        };
        for (at, arg) in rest.iter().enumerate() {
            if !arg.text.starts_with(['-', '/']) {
                // What is no option begins the code, as after `-Command`.
                if at == 0
                    || !rest[at - 1].text.starts_with('-')
                    || is(&rest[at - 1].text, "noprofile")
                    || is(&rest[at - 1].text, "noninteractive")
                {
                    let code = join(&rest[at..]);
                    self.within("powershell", |walker| {
                        code.iter().for_each(|code| walker.powershell(&code.text, code.origin))
                    });
                    return Flow::Opaque;
                }
                continue;
            }
            let name = arg.text.as_str();
            if is(name, "command") || name == "-c" {
                let code = join(rest.get(at + 1..).unwrap_or_default());
                self.within("powershell -Command", |walker| match &code {
                    Some(code) if code.text == "-" => {
                        if let Flow::Text(text) = stdin {
                            walker.powershell(text, code.origin);
                        }
                    }
                    Some(code) => walker.powershell(&code.text, code.origin),
                    None => {}
                });
                return Flow::Opaque;
            }
            if is(name, "encodedcommand") || matches!(name.to_ascii_lowercase().as_str(), "-ec" | "-enc" | "-e") {
                let encoded = rest.get(at + 1);
                let text = encoded.and_then(|arg| decode::base64(&arg.text)).map(|bytes| decode::utf16(&bytes));
                match (encoded, text) {
                    (Some(arg), Some(text)) => {
                        let code = arg.with(unmarked(&text).into_owned());
                        self.within("powershell -EncodedCommand", |walker| walker.powershell(&code.text, code.origin));
                    }
                    _ => self.runs_unread("decoded", arg.span()),
                }
                return Flow::Opaque;
            }
        }
        if let Flow::Text(text) = stdin {
            let span = span_of(rest);
            self.within("powershell", |walker| {
                walker.powershell(text, Origin::Made { start: span.start, end: span.end })
            });
        }
        Flow::Opaque
    }

    /// An interpreter of another language: code from an option, a file or standard input.
    fn snippet(&mut self, language: Language, program: &str, args: &[Arg], stdin: &Flow) -> Flow {
        let span = span_of(args);
        let mut at = 1;
        while let Some(arg) = args.get(at) {
            let text = arg.plain();
            if !text.starts_with('-') || text == "-" {
                break;
            }
            at += 1;
            if text == "-m" {
                // A module is a program of its own, in Python.
                return self.module(&args[at..], stdin);
            }
            let options = language.code_options();
            let is_one_option = ["--", "-M", "-I", "-m"].iter().any(|option| text.starts_with(option))
                || (text.starts_with("-r") && language == Language::Ruby);
            let bundle = !is_one_option && text.chars().skip(1).any(|c| options.contains(&format!("-{c}").as_str()));
            let inline = options
                .iter()
                .find_map(|option| text.strip_prefix(&format!("{option}=")).filter(|_| option.starts_with("--")));
            if let Some(code) = inline {
                let code = arg.with(code);
                return self.within(program.to_owned(), |walker| walker.snippet_code(language, &code));
            }
            if options.contains(&text.as_ref()) || (bundle && language.bundles()) {
                let attached = text
                    .char_indices()
                    .find(|(n, c)| *n > 0 && options.contains(&format!("-{c}").as_str()))
                    .map(|(n, _)| n + 1);
                let code = match attached.filter(|n| *n < text.len() && !options.contains(&text.as_ref())) {
                    // `-c'code'`, written together.
                    Some(n) if args.get(at).is_none() || text[n..].len() > 3 => arg.with(&text[n..]),
                    _ => match args.get(at) {
                        Some(code) => code.clone(),
                        None => return Flow::Opaque,
                    },
                };
                // `perl -ne` and `-pe` go through files.
                let reads = matches!(language, Language::Perl | Language::Ruby) && text.contains(['n', 'p']);
                for file in
                    args.get(at + 1..).unwrap_or_default().iter().filter(|file| reads && is_credential(&file.text))
                {
                    self.effect_on(if text.contains('i') { Kind::Overwrite } else { Kind::Read }, file, "");
                }
                let label = format!("{program} {}", text.get(..text.len().min(2)).unwrap_or_default());
                return self.within(label, |walker| walker.snippet_code(language, &code));
            }
            if language.option_takes_value(&text) {
                at += 1;
            }
        }
        if program.starts_with("python") && args.get(at).is_some_and(|arg| arg.text.ends_with("manage.py"))
            || program == "php" && args.get(at).is_some_and(|arg| arg.text == "artisan")
        {
            self.framework(program, &args[at..], stdin);
        }
        let flow = match args.get(at) {
            Some(file) if file.text != "-" && !matches!(file.text.as_str(), "eval" | "run" | "repl") => self.read(file),
            Some(word) if word.text == "eval" => {
                if let Some(code) = args.get(at + 1) {
                    let code = code.clone();
                    self.within(program.to_owned(), |walker| walker.snippet_code(language, &code));
                }
                return Flow::Opaque;
            }
            _ => stdin.clone(),
        };
        match &flow {
            Flow::Text(text) | Flow::Sketch(text) => {
                let code = Arg { text: text.clone(), origin: Origin::Made { start: span.start, end: span.end } };
                return self.within(program.to_owned(), |walker| walker.snippet_code(language, &code));
            }
            other => {
                self.run_flow(other, span, false);
            }
        }
        Flow::Opaque
    }

    /// `python -m module ...`, as the program that the module is.
    fn module(&mut self, args: &[Arg], stdin: &Flow) -> Flow {
        let Some(name) = args.first() else { return Flow::Opaque };
        let program = program_name(&name.text);
        if matches!(
            program.as_str(),
            "twine"
                | "pip"
                | "poetry"
                | "build"
                | "alembic"
                | "flask"
                | "django"
                | "pytest"
                | "coverage"
                | "uv"
                | "ansible"
        ) {
            return self.within("python -m", |walker| walker.invoke(args, stdin));
        }
        Flow::Opaque
    }
}
