//! PowerShell and the Windows command prompt, as far as their commands go: words, quotes, pipes, and the cmdlets that
//! delete, stop or run something. Everything else in them is a program like any other.

use crate::call::{Arg, span_of};
use crate::effect::Kind;
use crate::flow::Flow;
use crate::source::{ANY, Origin, STAR, UNKNOWN};
use crate::walk::Walker;

const VERBS: &[&str] = &[
    "remove",
    "clear",
    "stop",
    "restart",
    "format",
    "invoke",
    "set",
    "get",
    "new",
    "start",
    "initialize",
    "disable",
    "enable",
    "uninstall",
    "reset",
    "write",
    "out",
    "select",
    "where",
    "foreach",
    "copy",
    "move",
    "rename",
    "test",
    "import",
    "export",
    "convertto",
    "convertfrom",
    "measure",
    "sort",
    "add",
    "unregister",
    "dismount",
    "suspend",
    "update",
    "install",
    "publish",
    "expand",
    "compress",
    "tee",
    "resize",
    "revoke",
    "grant",
];

/// Is it the name of a cmdlet, `Verb-Noun`?
pub fn is_cmdlet(name: &str) -> bool {
    let Some((verb, noun)) = name.split_once('-') else { return false };
    let noun_fits = noun.len() > 2
        && noun.chars().all(|c| c.is_ascii_alphanumeric())
        && noun.starts_with(|c: char| c.is_ascii_alphabetic());
    // Programs of Unix are written in lower case, `set-cookie` and all.
    noun_fits
        && (name.starts_with(|c: char| c.is_ascii_uppercase()) || NOUNS.contains(&noun.to_ascii_lowercase().as_str()))
        && VERBS.contains(&verb.to_ascii_lowercase().as_str())
}

const NOUNS: &[&str] = &[
    "item",
    "itemproperty",
    "content",
    "computer",
    "service",
    "process",
    "disk",
    "volume",
    "partition",
    "expression",
    "command",
    "childitem",
    "webrequest",
    "restmethod",
    "object",
    "recyclebin",
    "vm",
    "aduser",
    "executionpolicy",
    "acl",
    "host",
    "output",
    "localuser",
];

/// Is the text written for PowerShell or for the Windows command prompt?
pub fn is_script(text: &str) -> bool {
    let first = text.split(|c: char| c.is_whitespace() || c == ';' || c == '|').next().unwrap_or_default();
    let lower = first.to_ascii_lowercase();
    let slash =
        |letters: &[&str]| text.split_whitespace().any(|word| letters.contains(&word.to_ascii_lowercase().as_str()));
    is_cmdlet(first)
        || (first.starts_with('[') && first.contains("]::"))
        || matches!(lower.as_str(), "iex" | "gci" | "iwr" | "irm" | "ri" | "icm" | "spps")
        || (matches!(lower.as_str(), "powershell" | "pwsh" | "powershell.exe")
            && text.to_ascii_lowercase().contains("iex("))
        || (first.starts_with('$')
            && text.contains(" = ")
            && text.contains('-')
            && text.split([' ', ';', '|', '(']).any(is_cmdlet))
        || (matches!(lower.as_str(), "del" | "erase" | "rd" | "rmdir" | "format" | "deltree")
            && slash(&["/s", "/q", "/f", "/y", "/fs:ntfs", "/fs:fat32"]))
        || (matches!(lower.as_str(), "del" | "erase" | "rd" | "ri" | "format" | "deltree" | "icacls" | "takeown")
            && text.contains([':', '\\']))
        || (matches!(lower.as_str(), "dir" | "ls" | "gc" | "cat")
            && !text.contains("<<")
            && text.split('|').skip(1).any(|part| part.split_whitespace().next().is_some_and(is_cmdlet)))
}

impl Walker<'_> {
    /// `[IO.Directory]::Delete("C:\data", $true)`.
    fn static_deletion(&mut self, text: &str, origin: Origin) {
        let Some((before, call)) = text.split_once("]::Delete(") else { return };
        let kind = if before.ends_with("Directory") { Kind::DeleteTree } else { Kind::Delete };
        let from = text.len() - call.len();
        let path = call.split([',', ')']).next().unwrap_or_default();
        let target = Arg { text: path.trim_matches(['"', '\'', ' ']).to_owned(), origin: origin.part(from) };
        self.effect_on(kind, &target, "");
    }

    /// Runs a script of PowerShell.
    pub fn powershell(&mut self, text: &str, origin: Origin) {
        self.static_deletion(text, origin);
        if self.depth >= crate::budget::MAX_DEPTH {
            self.budget.give_up();
        }
        if !self.budget.spend(text.len()) {
            return;
        }
        self.depth += 1;
        let mut flow = Flow::Empty;
        for (args, piped) in commands(text, origin, 0) {
            if !piped {
                flow = Flow::Empty;
            }
            flow = self.cmdlet_or_program(&args, &flow);
        }
        self.depth -= 1;
    }

    /// Runs a line for `cmd.exe`.
    pub fn cmd(&mut self, code: &Arg) {
        self.powershell(&code.text.replace('^', "").replace("&&", ";").replace('&', ";"), code.origin);
    }

    fn cmdlet_or_program(&mut self, args: &[Arg], stdin: &Flow) -> Flow {
        let Some(first) = args.first() else { return Flow::Empty };
        // `$x = command` and `& 'program'`.
        if let ("&" | ".", Some(block)) = (first.text.as_str(), args.get(1)) {
            if let Some(code) = block.text.strip_prefix('{') {
                self.powershell(code.trim_end_matches('}'), block.origin.part(1));
                return Flow::Opaque;
            }
            return self.cmdlet_or_program(&args[1..], stdin);
        }
        if let Some(at) = args.iter().position(|arg| arg.text == "=").filter(|at| *at == 1) {
            return self.cmdlet_or_program(&args[at + 1..], stdin);
        }
        let lower = first.plain().to_ascii_lowercase();
        let alias = match lower.as_str() {
            "ri" | "rm" | "del" | "erase" | "rd" | "rmdir" => "remove-item",
            "iex" => "invoke-expression",
            "icm" => "invoke-command",
            "iwr" | "irm" | "wget" | "curl" => "invoke-webrequest",
            "spps" | "kill" => "stop-process",
            "gci" | "ls" | "dir" => "get-childitem",
            "clc" => "clear-content",
            "cd" | "sl" => "set-location",
            "gc" | "cat" | "type" => "get-content",
            _ => "",
        };
        let slashes = args.iter().any(|arg| arg.text.len() == 2 && arg.text.starts_with('/'));
        if !alias.is_empty()
            && !slashes
            && !args[1..].iter().any(|arg| arg.text.starts_with("-rf") || arg.text.starts_with("--"))
        {
            let mut line = args.to_vec();
            line[0] = first.with(alias);
            return self.cmdlet(&line, stdin);
        }
        if is_cmdlet(&lower) || is_cmdlet(&first.text) { self.cmdlet(args, stdin) } else { self.invoke(args, stdin) }
    }

    /// Runs a cmdlet.
    pub fn cmdlet(&mut self, args: &[Arg], stdin: &Flow) -> Flow {
        let Some(first) = args.first() else { return Flow::Empty };
        let name = first.plain().to_ascii_lowercase();
        let rest = &args[1..];
        let has = |parameter: &str| {
            rest.iter().any(|arg| {
                let text = arg.plain().to_ascii_lowercase();
                let text = text.split(':').next().unwrap_or_default();
                text.len() > 1 && text.starts_with('-') && parameter.starts_with(&text[1..])
            })
        };
        if has("whatif") && !has("whatif:$false") {
            return Flow::Empty;
        }
        self.judge(&name, args);
        let operands: Vec<Arg> = rest
            .iter()
            .filter(|arg| !arg.text.starts_with('-'))
            .flat_map(|arg| {
                arg.text.split(',').map(|part| arg.with(part.trim_matches(['\'', '"', '(', ')']))).collect::<Vec<_>>()
            })
            .filter(|arg| {
                !matches!(
                    arg.text.to_ascii_lowercase().as_str(),
                    "silentlycontinue" | "ignore" | "stop" | "continue" | "$true" | "$false" | "$null"
                )
            })
            .collect();
        match name.as_str() {
            "remove-item" => {
                let kind = if has("recurse") { Kind::DeleteTree } else { Kind::Delete };
                operands.iter().for_each(|file| self.effect_on(kind, file, ""));
                if operands.is_empty()
                    && let Flow::Names(names) = stdin
                {
                    for name in names {
                        self.effect_on(kind, &first.with(name.clone()), "");
                    }
                }
                Flow::Empty
            }
            "clear-content" | "set-content" | "out-file" => {
                let kind = if name == "clear-content" { Kind::Empty } else { Kind::Overwrite };
                operands.iter().take(1).for_each(|file| self.effect_on(kind, file, ""));
                Flow::Empty
            }
            "get-childitem" => {
                let names: Vec<String> = operands
                    .iter()
                    .take(1)
                    .map(|arg| format!("{}/{STAR}", arg.text.trim_end_matches(['/', '\\'])))
                    .collect();
                let filtered = has("filter") || has("include");
                Flow::Names(match (filtered, operands.last()) {
                    (true, Some(filter)) => vec![format!("{STAR}/{}", filter.text)],
                    _ if names.is_empty() => vec![STAR.to_string()],
                    _ => names,
                })
            }
            "get-content" => {
                for file in &operands {
                    self.effect_on(Kind::Read, file, "");
                }
                operands.first().map_or(Flow::Opaque, |file| self.read(file))
            }
            "invoke-webrequest" | "invoke-restmethod" | "new-object" => Flow::Network,
            "invoke-expression" => {
                match operands.first() {
                    _ if *stdin == Flow::Network
                        || rest.iter().any(|arg| {
                            arg.text.to_ascii_lowercase().contains("downloadstring")
                                || arg.text.to_ascii_lowercase().contains("iwr")
                                || arg.text.to_ascii_lowercase().contains("invoke-webrequest")
                                || arg.text.to_ascii_lowercase().contains("irm")
                        }) =>
                    {
                        self.runs_unread("network", span_of(args));
                    }
                    Some(code) => {
                        let code = code.clone();
                        self.within("Invoke-Expression", |walker| walker.powershell(&code.text, code.origin));
                    }
                    None => {
                        if let Flow::Text(text) = stdin {
                            self.powershell(text, first.origin);
                        }
                    }
                }
                Flow::Opaque
            }
            "invoke-command" | "start-process" | "foreach-object" => {
                for arg in rest {
                    let code = arg.text.trim_matches(['{', '}', ' ']);
                    if arg.text.starts_with('{') {
                        let code = arg.with(code);
                        self.within(first.plain().into_owned(), |walker| walker.powershell(&code.text, code.origin));
                    }
                }
                if name == "start-process" {
                    let line: Vec<Arg> = operands
                        .iter()
                        .flat_map(|arg| arg.text.split(' ').map(|part| arg.with(part)).collect::<Vec<_>>())
                        .collect();
                    return self.within("Start-Process", |walker| walker.invoke(&line, stdin));
                }
                if name == "foreach-object"
                    && let Flow::Names(names) = stdin
                    && rest.iter().any(|arg| arg.text.to_ascii_lowercase().contains("remove-item"))
                {
                    for name in names {
                        self.effect_on(Kind::DeleteTree, &first.with(name.clone()), "");
                    }
                }
                Flow::Opaque
            }
            "set-location" => {
                if let Some(target) = operands.first() {
                    self.env.base = self.around.join(&self.env.base, &target.text);
                }
                Flow::Empty
            }
            "where-object" | "select-object" | "sort-object" => match stdin {
                Flow::Names(_) => Flow::Names(vec![format!("./{STAR}/{STAR}-some")]),
                other => other.clone(),
            },
            "write-output" | "write-host" => {
                Flow::Text(operands.iter().map(|arg| arg.text.as_str()).collect::<Vec<_>>().join(" "))
            }
            _ => Flow::Opaque,
        }
    }
}

/// Blocks in blocks are read no deeper.
const MOST_NESTED: usize = 12;

/// The commands of a script, and whether each reads what the one before it prints.
fn commands(text: &str, origin: Origin, nested: usize) -> Vec<(Vec<Arg>, bool)> {
    let mut commands = vec![];
    let mut args: Vec<Arg> = vec![];
    let mut piped = false;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let at_byte = |n: usize| chars.get(n).map_or(text.len(), |(at, _)| *at);
    let mut n = 0;
    while n < chars.len() {
        let (start, c) = chars[n];
        match c {
            ';' | '\n' | '|' => {
                if !args.is_empty() {
                    commands.push((std::mem::take(&mut args), piped));
                }
                piped = c == '|';
                n += 1;
            }
            '}' | ')' => n += 1,
            '#' if args.is_empty() => {
                while n < chars.len() && chars[n].1 != '\n' {
                    n += 1;
                }
            }
            c if c.is_whitespace() => n += 1,
            '{' | '(' => {
                // A block is an argument, and its commands are read too.
                let mut depth = 0_usize;
                while n < chars.len() {
                    match chars[n].1 {
                        '{' | '(' => depth += 1,
                        '}' | ')' => depth -= 1,
                        _ => {}
                    }
                    n += 1;
                    if depth == 0 {
                        break;
                    }
                }
                let block = &text[start..at_byte(n)];
                if args.is_empty() && nested < MOST_NESTED && block.len() > 2 {
                    commands.extend(self::commands(
                        block.get(1..block.len() - 1).unwrap_or_default(),
                        origin.part(start + 1),
                        nested + 1,
                    ));
                }
                args.push(Arg { text: block.to_owned(), origin: origin.part(start) });
            }
            _ => {
                let mut word = String::new();
                let mut verbatim = true;
                let mut quote = None;
                while n < chars.len() {
                    let c = chars[n].1;
                    match (quote, c) {
                        (None, '\'' | '"') => {
                            quote = Some(c);
                            verbatim = false;
                        }
                        (Some(open), c) if c == open => quote = None,
                        (_, '`') if quote != Some('\'') => {
                            n += 1;
                            verbatim = false;
                            word.extend(chars.get(n).map(|(_, c)| *c));
                        }
                        (Some(_), c) => word.push(c),
                        (None, c) if c.is_whitespace() || matches!(c, ';' | '|' | '(' | ')' | '{' | '}') => break,
                        (None, '*') => word.push(STAR),
                        (None, '?') => word.push(ANY),
                        (None, c) => word.push(c),
                    }
                    n += 1;
                }
                let span = origin.span(start..at_byte(n));
                let text = variables(&word);
                let origin = if verbatim && text == word {
                    origin.part(start)
                } else {
                    Origin::Made { start: span.start, end: span.end }
                };
                args.push(Arg { text, origin });
            }
        }
    }
    if !args.is_empty() {
        commands.push((args, piped));
    }
    commands
}

/// Puts in what variables of the environment stand for.
fn variables(word: &str) -> String {
    if !word.contains(['$', '%', '~']) {
        return word.to_owned();
    }
    const KNOWN: &[(&str, &str)] = &[
        ("$env:userprofile", r"C:\Users\user"),
        ("%userprofile%", r"C:\Users\user"),
        ("$env:homepath", r"C:\Users\user"),
        ("$home", r"C:\Users\user"),
        ("$env:systemroot", r"C:\Windows"),
        ("$env:windir", r"C:\Windows"),
        ("%systemroot%", r"C:\Windows"),
        ("%windir%", r"C:\Windows"),
        ("$env:systemdrive", "C:"),
        ("%systemdrive%", "C:"),
        ("%homedrive%", "C:"),
        ("$env:programfiles", r"C:\Program Files"),
        ("%programfiles%", r"C:\Program Files"),
        ("$env:temp", r"C:\Temp\t"),
        ("%temp%", r"C:\Temp\t"),
        ("$pwd", "."),
        ("%cd%", "."),
        ("$psscriptroot", "."),
    ];
    let lower = word.to_ascii_lowercase();
    for (name, value) in KNOWN {
        if let Some(rest) = lower.strip_prefix(name) {
            return format!("{value}{}", &word[word.len() - rest.len()..]);
        }
    }
    if word == "~" || word.starts_with("~/") || word.starts_with("~\\") {
        return format!(r"C:\Users\user{}", &word[1..]);
    }
    if word.starts_with('$') && !matches!(lower.as_str(), "$true" | "$false" | "$null" | "$_") {
        let end = word[1..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .map_or(word.len(), |at| at + 1);
        return format!("{UNKNOWN}{}", word[end..].replace('\\', "/"));
    }
    word.to_owned()
}
