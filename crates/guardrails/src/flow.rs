//! What commands print, as far as it is known: it may be run, or be what another command works on.

use crate::budget::Budget;
use crate::call::Arg;
use crate::decode;
use crate::find::filtered;
use crate::options::{Grammar, Options};
use crate::place::Base;
use crate::source::{DECODED, FETCHED, PROCESSES, SECRET, SOME, STAR, UNKNOWN, plain, starred, unmarked};
use crate::walk::Walker;

/// What flows through a pipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Nothing that was printed here.
    Empty,
    /// `/dev/null`.
    Nothing,
    /// This text.
    Text(String),
    /// A text of which some is known: what looks like code in it would be run.
    Sketch(String),
    /// Names of files.
    Names(Vec<String>),
    /// What came over the network.
    Network,
    /// What was decoded or decrypted from what is not known.
    Decoded,
    /// Credentials.
    Secret,
    /// The environment, with the credentials in it.
    Environment,
    /// Anything.
    Opaque,
}

impl Flow {
    /// This, and what is printed after it.
    pub fn then(self, next: Self, budget: &Budget) -> Self {
        match (self, next) {
            (Self::Empty, next) => next,
            (this, Self::Empty | Self::Nothing) => this,
            (Self::Text(mut a), Self::Text(b)) => {
                if budget.spend(b.len()) {
                    a.push_str(&b);
                }
                Self::Text(a)
            }
            (Self::Names(mut a), Self::Names(b)) => {
                a.extend(b.into_iter().take(256));
                Self::Names(a)
            }
            (Self::Text(text) | Self::Sketch(text), Self::Opaque | Self::Names(_)) => Self::Sketch(text),
            (Self::Text(a) | Self::Sketch(a), Self::Text(b) | Self::Sketch(b)) => Self::Sketch(a + &b),
            (Self::Opaque | Self::Names(_), Self::Text(text) | Self::Sketch(text)) => Self::Sketch(text),
            (Self::Opaque | Self::Nothing, next) => next,
            (this, _) => this,
        }
    }

    /// What `$( ... )` makes of it.
    pub fn substituted(&self) -> String {
        match self {
            Self::Text(text) => text.trim_end_matches('\n').to_owned(),
            Self::Names(names) => names.join("\n"),
            Self::Empty | Self::Nothing => String::new(),
            Self::Network => FETCHED.to_string(),
            Self::Decoded => DECODED.to_string(),
            Self::Secret | Self::Environment => SECRET.to_string(),
            Self::Sketch(_) | Self::Opaque => UNKNOWN.to_string(),
        }
    }

    /// Is there a secret in it?
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Text(text) | Self::Sketch(text) => text.contains(SECRET),
            flow => matches!(flow, Self::Secret | Self::Environment),
        }
    }
}

impl Walker<'_> {
    /// What a program prints.
    pub fn output(&mut self, program: &str, args: &[Arg], stdin: &Flow) -> Flow {
        let rest = args.get(1..).unwrap_or_default();
        let operands = || rest.iter().filter(|arg| !arg.text.starts_with('-'));
        let text = |text: String| Flow::Text(text);
        if let Flow::Text(listed) = stdin
            && listed.starts_with(PROCESSES)
            && let Some(flow) = processes(program, listed, rest)
        {
            return flow;
        }
        match program {
            "ps" if !rest.iter().any(|arg| arg.text.contains("-p") || arg.text.contains("--pid")) => {
                text(PROCESSES.to_string())
            }
            "pgrep" | "pidof" => {
                let name: String = operands().map(Arg::plain).collect::<Vec<_>>().join("/");
                text(format!("{PROCESSES}{}", name.replace(char::is_whitespace, "/")))
            }
            "psql" | "mysql" | "mariadb" | "sqlite3" => text_in_sql(rest),
            "echo" => text(echo(rest)),
            "printf" => printf(rest).map_or(Flow::Opaque, Flow::Text),
            "pwd" => text(match &self.env.base {
                Base::Start(dir) if dir.is_empty() => ".".to_owned(),
                Base::Start(dir) | Base::Absolute(dir) => dir.clone(),
                Base::Unknown => UNKNOWN.to_string(),
            }),
            "mktemp" => {
                let template = operands().find(|arg| arg.text.contains("XX")).filter(|arg| arg.text.starts_with('/'));
                text(template.map_or(format!("/tmp/{SOME}"), |arg| format!("{}{SOME}", arg.text.trim_end_matches('X'))))
            }
            "which" | "whereis" | "type" => {
                operands().next().map_or(Flow::Opaque, |arg| text(format!("/usr/bin/{}", arg.text)))
            }
            "dirname" => operands().next().map_or(Flow::Opaque, |arg| {
                text(
                    arg.text
                        .trim_end_matches('/')
                        .rsplit_once('/')
                        .map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir })
                        .to_owned(),
                )
            }),
            "basename" => operands().next().map_or(Flow::Opaque, |arg| {
                text(arg.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned())
            }),
            "realpath" | "readlink" => operands().next_back().map_or(Flow::Opaque, |arg| text(arg.text.clone())),
            "git" if rest.iter().any(|arg| arg.text == "--show-toplevel") => text(".".to_owned()),
            "git" if rest.first().is_some_and(|arg| arg.text == "ls-files") => tracked(&rest[1..]),
            "ls" | "dir" => {
                let itself = rest.iter().any(|arg| arg.text.starts_with('-') && arg.text.contains('d'));
                let name = |arg: &Arg| {
                    if itself || arg.text.rsplit('/').next().is_some_and(|last| last.contains(STAR)) {
                        arg.text.clone()
                    } else {
                        format!("{}/{STAR}", arg.text.trim_end_matches('/'))
                    }
                };
                let names: Vec<String> = operands().map(name).collect();
                Flow::Names(if names.is_empty() { vec![STAR.to_string()] } else { names })
            }
            "cat" | "tac" | "head" | "tail" | "tee" | "sort" | "uniq" | "less" | "more" | "bat" | "pv" | "buffer"
            | "stdbuf" | "nl" | "dd" => self.passed(program, rest, stdin),
            "grep" | "egrep" | "fgrep" | "rg" | "cut" | "fold" | "shuf" => match stdin {
                Flow::Names(names) if program.ends_with("grep") || program == "rg" => {
                    let grammar = self.rules.grammar(program);
                    let options = Options::read(rest, grammar);
                    match options.operands.first() {
                        Some(pattern)
                            if !options.has(&["-v", "--invert-match"])
                                && self.budget.spend(names.iter().map(|name| 8 + name.len()).sum()) =>
                        {
                            Flow::Names(filtered(names, &pattern.plain()))
                        }
                        _ => stdin.clone(),
                    }
                }
                Flow::Empty | Flow::Nothing => self.files_with(program, rest).map_or(Flow::Opaque, Flow::Names),
                // Of the environment, only what is looked for is shown.
                Flow::Environment => {
                    if rest.iter().any(|arg| is_secret_name(&arg.text)) {
                        Flow::Text(SECRET.to_string())
                    } else {
                        Flow::Opaque
                    }
                }
                Flow::Names(_) | Flow::Network | Flow::Decoded | Flow::Secret => stdin.clone(),
                Flow::Text(text) | Flow::Sketch(text) => Flow::Sketch(text.clone()),
                _ => Flow::Opaque,
            },
            "sed" | "awk" | "gawk" | "mawk" | "perl" => sketched(rest, stdin),
            "rev" => match stdin {
                Flow::Text(text) => {
                    Flow::Text(text.lines().map(|line| line.chars().rev().chain(['\n']).collect::<String>()).collect())
                }
                other => other.clone(),
            },
            "tr" => translated(rest, stdin),
            "base64" | "base32" | "xxd" | "openssl" | "uudecode" | "gpg" | "hex" | "od" | "basenc" => {
                self.decoded(program, rest, stdin)
            }
            "gunzip" | "zcat" | "bunzip2" | "xzcat" | "unxz" | "bzcat" | "zstdcat" | "gzip" | "xz" | "zstd"
            | "funzip" => match stdin {
                flow if flow.is_secret() => flow.clone(),
                Flow::Network => Flow::Network,
                _ => Flow::Decoded,
            },
            "curl" | "wget" | "fetch" | "http" | "https" | "aria2c" | "lynx" | "w3m" | "nc" | "ncat" | "netcat"
            | "socat" | "ftp" => Flow::Network,
            "seq" => text(SOME.to_string()),
            "env" | "printenv" | "export" | "set" if operands().next().is_none() => Flow::Environment,
            "date" | "whoami" | "hostname" | "uname" | "id" | "nproc" | "uuidgen" | "wc" => text(SOME.to_string()),
            "true" | "false" | ":" | "cd" | "rm" | "mkdir" | "touch" | "chmod" | "chown" | "mv" | "cp" | "sleep"
            | "test" | "[" | "exit" | "set" | "shopt" | "local" | "export" | "unset" | "kill" | "ln" | "wait"
            | "shift" | "return" => Flow::Empty,
            _ => Flow::Opaque,
        }
    }

    /// A program that prints its files, or else what it reads.
    fn passed(&mut self, program: &str, rest: &[Arg], stdin: &Flow) -> Flow {
        let grammar = self.rules.grammar(program);
        let options = Options::read(rest, grammar);
        if program == "tee" {
            if let Some(file) = options.operands.first()
                && let Base::Start(name) | Base::Absolute(name) = self.around.join(&self.env.base, &file.text)
            {
                self.remember(name, stdin.clone());
            }
            return stdin.clone();
        }
        let mut flow = Flow::Empty;
        for file in options.operands.iter().filter(|arg| !(program == "dd" && arg.text.contains('='))) {
            let read = if file.text == "-" { stdin.clone() } else { self.read(file) };
            flow = flow.then(read, self.budget);
        }
        if flow == Flow::Empty { stdin.clone() } else { flow }
    }

    fn decoded(&mut self, program: &str, rest: &[Arg], stdin: &Flow) -> Flow {
        let grammar = Grammar::default();
        let options = Options::read(rest, &grammar);
        let decodes = match program {
            "base64" | "base32" | "basenc" => options.has(&["-d", "-D", "--decode", "-i"]),
            "xxd" => options.has(&["-r", "--revert"]),
            "openssl" => rest.iter().any(|arg| arg.text == "-d"),
            "gpg" => options.has(&["-d", "--decrypt"]),
            "uudecode" => true,
            _ => false,
        };
        if !decodes {
            // A secret stays one in any spelling.
            return if stdin.is_secret() { stdin.clone() } else { Flow::Opaque };
        }
        let file = options.operands.last().filter(|arg| program == "base64" && arg.text != "-").copied().cloned();
        let source = match file {
            Some(file) => self.read(&file),
            None => stdin.clone(),
        };
        let Flow::Text(source) = &source else {
            return if source == Flow::Network { Flow::Network } else { Flow::Decoded };
        };
        if !self.budget.spend(source.len()) {
            return Flow::Decoded;
        }
        let source = plain(source);
        let bytes = match program {
            "base64" => decode::base64(&source),
            "openssl" if rest.iter().any(|arg| matches!(arg.text.as_str(), "base64" | "-base64" | "-a")) => {
                decode::base64(&source)
            }
            "base32" => decode::base32(&source),
            "basenc" if options.has(&["--base16"]) => Some(decode::hex(&source)),
            "basenc" if options.has(&["--base32"]) => decode::base32(&source),
            "basenc" => decode::base64(&source),
            "xxd" => Some(decode::hex(&source)),
            _ => None,
        };
        bytes.map_or(Flow::Decoded, |bytes| Flow::Text(unmarked(&String::from_utf8_lossy(&bytes)).into_owned()))
    }
}

/// The files that git lists.
fn tracked(rest: &[Arg]) -> Flow {
    if rest.iter().any(|arg| matches!(arg.text.as_str(), "-d" | "--deleted" | "-u" | "--unmerged")) {
        // What is gone already, or not settled.
        return Flow::Opaque;
    }
    let names = rest.iter().filter(|arg| !arg.text.starts_with('-')).map(|arg| {
        let text = plain(&arg.text);
        match (text.contains('*'), text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().contains('.')) {
            (true, _) => starred(&text),
            (false, true) => text,
            (false, false) => format!("{}/{STAR}", text.trim_end_matches('/')),
        }
    });
    let names: Vec<String> = names.collect();
    Flow::Names(if names.is_empty() { vec![STAR.to_string()] } else { names })
}

/// What a filter leaves of a list of running programs.
fn processes(program: &str, listed: &str, rest: &[Arg]) -> Option<Flow> {
    match program {
        "grep" | "egrep" | "rg" if rest.iter().any(|arg| arg.text.starts_with("-v")) => {
            Some(Flow::Text(listed.to_owned()))
        }
        "grep" | "egrep" | "rg" => {
            let pattern = rest.iter().find(|arg| !arg.text.starts_with('-'))?.plain().into_owned();
            Some(Flow::Text(format!("{PROCESSES}{}", pattern.replace(char::is_whitespace, "/"))))
        }
        "awk" | "gawk" | "sed" => {
            let pattern = rest.iter().find_map(|arg| Some(arg.text.strip_prefix('/')?.split_once('/')?.0.to_owned()));
            Some(Flow::Text(match pattern {
                Some(pattern) => format!("{PROCESSES}{pattern}"),
                None => listed.to_owned(),
            }))
        }
        "cut" | "tr" | "sort" | "uniq" | "head" | "tail" | "cat" => Some(Flow::Text(listed.to_owned())),
        _ => None,
    }
}

/// What a query prints whose strings are parts of statements: those statements, around what is not known.
fn text_in_sql(rest: &[Arg]) -> Flow {
    let mut printed = String::new();
    for arg in rest.iter().filter(|arg| arg.text.to_ascii_lowercase().contains("select") && arg.text.contains('\'')) {
        for part in arg.text.split('\'').skip(1).step_by(2) {
            printed.push_str(part);
            printed.push(SOME);
        }
    }
    if printed.is_empty() { Flow::Opaque } else { Flow::Sketch(printed) }
}

/// Is it called as secrets are?
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "PASSWD",
        "API_KEY",
        "APIKEY",
        "PRIVATE_KEY",
        "CREDENTIAL",
        "ACCESS_KEY",
        "DATABASE_URL",
        "PASSPHRASE",
        "ENCRYPTION_KEY",
        "_PAT",
    ];
    let upper = name.to_ascii_uppercase();
    WORDS.iter().any(|word| upper.contains(word))
}

fn echo(args: &[Arg]) -> String {
    let is_flag = |arg: &&Arg| {
        arg.text.len() > 1 && arg.text.starts_with('-') && arg.text[1..].chars().all(|c| matches!(c, 'n' | 'e' | 'E'))
    };
    let flags: String = args.iter().take_while(is_flag).map(|arg| arg.text.as_str()).collect();
    let words: Vec<&str> = args.iter().skip_while(is_flag).map(|arg| arg.text.as_str()).collect();
    let mut text = words.join(" ");
    if flags.contains('e') {
        text = decode::ansi_c(&text);
    }
    if !flags.contains('n') {
        text.push('\n');
    }
    text
}

/// What `printf` makes of its format, as often as there are arguments for it.
fn printf(args: &[Arg]) -> Option<String> {
    let args = match args.first()?.text.as_str() {
        "-v" => return None,
        "--" => args.get(1..)?,
        _ => args,
    };
    let format = args.first()?.text.as_str();
    let mut values = args[1..].iter().map(|arg| arg.text.as_str());
    let mut text = String::new();
    for _ in 0..64 {
        let mut used = false;
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text.push_str(&decode::ansi_c(&rest[..at]));
            let spec = &rest[at + 1..];
            let len = spec.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(spec.len());
            let kind = spec[len..].chars().next();
            match kind {
                Some('%') => text.push('%'),
                Some('b') => text.push_str(&decode::ansi_c(values.next().unwrap_or_default())),
                Some('c') => text.extend(values.next().unwrap_or_default().chars().next()),
                Some('x' | 'X' | 'o' | 'd' | 'i' | 'u' | 'f' | 'g' | 'e') => {
                    values.next();
                    text.push(SOME);
                }
                Some(_) => text.push_str(values.next().unwrap_or_default()),
                None => {}
            }
            used |= !matches!(kind, Some('%') | None);
            rest = spec.get(len + kind.map_or(0, char::len_utf8)..).unwrap_or_default();
        }
        text.push_str(&decode::ansi_c(rest));
        if !used || values.len() == 0 {
            break;
        }
    }
    Some(text)
}

/// What `tr` makes of a text.
fn translated(args: &[Arg], stdin: &Flow) -> Flow {
    let Flow::Text(text) = stdin else { return stdin.clone() };
    match args {
        [from, to] if !from.text.starts_with('-') => {
            let text = if text.len() * from.text.len() < 1 << 20 {
                decode::translate(text, &plain(&from.text), &plain(&to.text))
            } else {
                return Flow::Decoded;
            };
            Flow::Text(text)
        }
        [flag, set] if flag.text == "-d" => {
            let set = decode::ansi_c(&plain(&set.text));
            Flow::Text(text.chars().filter(|c| !set.contains(*c)).collect())
        }
        _ => Flow::Sketch(text.clone()),
    }
}

/// What programs print that rewrite what they read: the texts in their scripts, around what is not known.
fn sketched(args: &[Arg], stdin: &Flow) -> Flow {
    let scripts: Vec<&str> =
        args.iter().map(|arg| arg.text.as_str()).filter(|text| text.len() > 3 && !text.starts_with("--")).collect();
    let mut lines = String::new();
    for script in scripts {
        let part = |text: &str| text.replace(['&', '$'], &UNKNOWN.to_string()).replace("\\n", "\n");
        if let Some(substitution) = script.strip_prefix('s').and_then(|rest| {
            let mark = rest.chars().next().filter(|c| c.is_ascii_punctuation())?;
            rest[1..].split(mark).nth(1)
        }) {
            lines.push_str(&part(substitution));
            lines.push(UNKNOWN);
        } else {
            let quoted: Vec<String> = script.split('"').skip(1).step_by(2).map(part).collect();
            lines.push_str(&quoted.join(&UNKNOWN.to_string()));
            lines.push(UNKNOWN);
        }
        lines.push('\n');
    }
    match stdin {
        Flow::Network | Flow::Decoded | Flow::Secret | Flow::Environment => stdin.clone(),
        Flow::Text(text) | Flow::Sketch(text) => Flow::Sketch(lines + text),
        _ => Flow::Sketch(lines),
    }
}
