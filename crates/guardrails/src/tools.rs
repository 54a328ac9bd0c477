//! Programs with small languages of their own, in which other programs are started: recipes of `make`, commands of a
//! debugger, Tcl, Emacs Lisp, the `e` of `sed`.

use crate::call::{Arg, span_of};
use crate::code::Language;
use crate::effect::Kind;
use crate::flow::Flow;
use crate::options::Options;
use crate::source::Origin;
use crate::walk::Walker;

/// Words of Emacs Lisp in front of a line for the shell.
const LISP_RUNS: &[&str] = &["shell-command", "shell-command-to-string", "async-shell-command", "compile"];
/// Those in front of a program and its arguments.
const LISP_STARTS: &[&str] = &["call-process", "start-process", "process-lines", "make-process"];
/// Those in front of what is deleted.
const LISP_DELETES: &[&str] = &["delete-directory", "delete-file"];

impl Walker<'_> {
    /// Runs what stands in a program's own language; true where that is all there is to the program.
    pub fn tool(&mut self, program: &str, args: &[Arg], stdin: &Flow) -> bool {
        match program {
            "make" | "gmake" | "bmake" | "just" => self.recipes(program, args, stdin),
            "gdb" | "lldb" | "rust-gdb" | "rust-lldb" => self.debugger(program, args, stdin),
            "expect" | "tclsh" | "wish" => {
                self.tcl_program(program, args, stdin);
                return true;
            }
            "emacs" | "emacsclient" => {
                for code in values(args, &["--eval", "-eval", "--execute", "-e"]) {
                    self.within(program.to_owned(), |walker| walker.lisp(&code));
                }
            }
            "nix" => return self.nix(args, stdin),
            "sed" | "gsed" => self.sed_commands(program, args),
            "ed" | "ex" | "vi" | "vim" | "nvim" => self.empties(args, stdin),
            _ => {}
        }
        false
    }

    /// Recipes that are given to `make` on standard input, or in a file that was written just before.
    fn recipes(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        let rest = &args[1..];
        let grammar = self.rules.grammar(program);
        let options = Options::read(rest, grammar);
        if options.is_harmless(grammar) {
            return;
        }
        let named = options.values(&["-f", "--file", "--makefile", "--justfile"]);
        let mut flows: Vec<Flow> = vec![];
        for file in &named {
            let is_input = matches!(file.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0");
            flows.push(if is_input { stdin.clone() } else { self.read(file) });
        }
        if named.is_empty() {
            const FILES: &[&str] = &["GNUmakefile", "makefile", "Makefile", "justfile", "Justfile"];
            flows.extend(FILES.iter().filter_map(|name| self.file(name)).cloned());
        }
        for flow in flows {
            match flow {
                Flow::Text(text) | Flow::Sketch(text) => {
                    self.within(program.to_owned(), |walker| walker.apart(|walker| walker.recipe(&text, origin(args))));
                }
                Flow::Network => self.runs_unread("network", span_of(args)),
                _ => {}
            }
        }
    }

    /// Every line of a recipe has a shell of its own.
    fn recipe(&mut self, text: &str, origin: Origin) {
        if !self.budget.spend(text.len()) {
            return;
        }
        self.set("RM", vec!["rm -f".to_owned()]);
        for line in text.replace("\\\n", " ").lines() {
            if !self.budget.spend(16) {
                return;
            }
            let code = match line.strip_prefix(['\t', ' ']) {
                Some(command) => command.trim_start_matches(['\t', ' ', '@', '-', '+']),
                None => {
                    let end = line.find(['=', ';', '#']).unwrap_or(line.len());
                    let (head, tail) = line.split_at(end);
                    let name = head.trim_end_matches([':', '?', '+', '!', ' ', '\t']);
                    let assigns = tail.starts_with('=') && is_name(name);
                    if assigns && !tail.contains("$(shell") && !head.ends_with('!') {
                        self.set(name, vec![tail[1..].trim().to_owned()]);
                        continue;
                    }
                    match tail.chars().next() {
                        // `target: ; command`
                        Some(';') if head.contains(':') => &tail[1..],
                        // `NAME != command`
                        Some('=') if head.ends_with('!') => &tail[1..],
                        _ => match line.find("$(shell") {
                            Some(at) => &line[at..],
                            None => continue,
                        },
                    }
                }
            };
            let code = shell_of_recipe(code);
            self.apart(|walker| walker.code(&code, origin, Flow::Empty));
        }
    }

    /// `gdb -ex 'shell ...'`, `lldb -o 'platform shell ...'`, and what is debugged.
    fn debugger(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        const COMMANDS: &[&str] = &[
            "-ex",
            "--ex",
            "-iex",
            "--iex",
            "-eval-command",
            "--eval-command",
            "--init-eval-command",
            "-o",
            "-O",
            "--one-line",
            "--one-line-before-file",
        ];
        let mut lines = values(args, COMMANDS);
        if let Flow::Text(text) = stdin
            && self.budget.spend(text.len())
        {
            lines.extend(text.lines().map(|line| Arg { text: line.to_owned(), origin: origin(args) }));
        }
        for line in lines {
            if !self.budget.spend(16 + line.text.len()) {
                return;
            }
            self.within(program.to_owned(), |walker| walker.debugger_command(&line));
        }
        if let Some(at) = args.iter().position(|arg| matches!(arg.text.as_str(), "--args" | "-args")) {
            self.within(program.to_owned(), |walker| walker.invoke(&args[at + 1..], &Flow::Nothing));
        }
    }

    fn debugger_command(&mut self, line: &Arg) {
        let text = line.text.trim_start();
        let at = line.text.len() - text.len();
        let after = |lead: &str| line.from(at + lead.len());
        const SHELLS: &[&str] = &["shell ", "!", "platform shell ", "make "];
        const PYTHON: &[&str] = &["python ", "py ", "pi ", "python-interactive ", "script "];
        if let Some(lead) = SHELLS.iter().find(|lead| text.starts_with(**lead)) {
            let code = after(lead);
            self.apart(|walker| walker.code(&code.text, code.origin, Flow::Empty));
        } else if let Some(lead) = PYTHON.iter().find(|lead| text.starts_with(**lead)) {
            self.snippet_code(Language::Python, &after(lead));
        } else if let Some((_, code)) = text.split_once('|').filter(|_| text.starts_with("pipe ")) {
            let code = line.with(code);
            self.apart(|walker| walker.code(&code.text, code.origin, Flow::Empty));
        } else if text.contains('(') {
            // `call (int)system("...")`
            self.snippet_code(Language::Other, line);
        }
    }

    /// `expect` and other programs that read Tcl.
    fn tcl_program(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        let mut codes = values(args, &["-c"]);
        let mut file = None;
        let mut at = 1;
        while let Some(arg) = args.get(at) {
            at += 1;
            match arg.text.as_str() {
                "-c" | "-D" => at += 1,
                "-f" | "-b" => {
                    file = args.get(at);
                    break;
                }
                text if text.starts_with('-') && text != "-" => {}
                _ => {
                    file = Some(arg);
                    break;
                }
            }
        }
        let flow = match file {
            Some(file) if !matches!(file.text.as_str(), "-" | "/dev/stdin") => self.read(file),
            None if !codes.is_empty() => Flow::Empty,
            _ => stdin.clone(),
        };
        match flow {
            Flow::Text(text) | Flow::Sketch(text) => codes.push(Arg { text, origin: origin(args) }),
            Flow::Network => self.runs_unread("network", span_of(args)),
            _ => {}
        }
        for code in codes {
            self.within(program.to_owned(), |walker| walker.tcl(&code));
        }
    }

    fn tcl(&mut self, code: &Arg) {
        if !self.budget.spend(code.text.len() * 2) {
            return;
        }
        for statement in tcl_statements(&code.text) {
            if !self.budget.spend(16) {
                return;
            }
            let (word, rest) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
            let rest = rest.trim_start().trim_start_matches("-noecho ").trim_start_matches("-ignorestderr ");
            let line = match word {
                "system" => rest.trim_matches('"').to_owned(),
                "spawn" | "exec" => rest.to_owned(),
                // What is typed into a program that may be a shell.
                "send" => rest.trim_matches('"').replace("\\r", "\n").replace("\\n", "\n"),
                "open" => match rest.trim_start_matches(['"', '{']).strip_prefix('|') {
                    Some(command) => command.trim_end_matches(['"', '}']).to_owned(),
                    None => continue,
                },
                "file" => match rest.strip_prefix("delete ") {
                    Some(names) => format!("rm -r {}", names.replace("-force", "-f")),
                    None => continue,
                },
                _ => continue,
            };
            let line = code.with(line.replace("$env(HOME)", "~").replace("$::env(HOME)", "~"));
            self.apart(|walker| walker.code(&line.text, line.origin, Flow::Empty));
        }
    }

    /// `(shell-command "...")`
    fn lisp(&mut self, code: &Arg) {
        if !self.budget.spend(code.text.len() * 2) {
            return;
        }
        for (at, _) in code.text.match_indices('(') {
            if !self.budget.spend(16) {
                return;
            }
            let behind = &code.text[at + 1..];
            let form = behind.split('(').next().unwrap_or_default();
            let word = form.split(|c: char| c.is_whitespace() || c == ')').next().unwrap_or_default();
            let mut strings = form.split('"').skip(1).step_by(2);
            if LISP_RUNS.contains(&word) && form.contains('"') {
                // The string may hold parentheses of its own.
                let line = code.with(behind.split('"').nth(1).unwrap_or_default());
                self.apart(|walker| walker.code(&line.text, line.origin, Flow::Empty));
            } else if LISP_STARTS.contains(&word) {
                let line: Vec<Arg> = strings.map(|text| code.with(text)).collect();
                self.apart(|walker| walker.invoke(&line, &Flow::Nothing));
            } else if LISP_DELETES.contains(&word)
                && let Some(name) = strings.next()
            {
                let tree = word == "delete-directory" && form.contains(" t");
                self.effect_on(if tree { Kind::DeleteTree } else { Kind::Delete }, &code.with(name), "");
            }
        }
    }

    /// `nix develop -c PROGRAM ...`, `nix run nixpkgs#program -- ...`
    fn nix(&mut self, args: &[Arg], stdin: &Flow) -> bool {
        let at = args.iter().position(|arg| matches!(arg.text.as_str(), "develop" | "shell" | "run"));
        let Some(at) = at else { return false };
        let rest = &args[at + 1..];
        let line: Vec<Arg> = if args[at].text == "run" {
            let Some(what) = rest.iter().find(|arg| !arg.text.starts_with('-')) else { return false };
            let name = what.text.rsplit(['#', '/', ':', '.']).next().unwrap_or_default();
            let behind = rest.iter().position(|arg| arg.text == "--").map_or(rest.len(), |at| at + 1);
            std::iter::once(what.with(name)).chain(rest[behind..].iter().cloned()).collect()
        } else {
            let Some(behind) = rest.iter().position(|arg| matches!(arg.text.as_str(), "-c" | "--command")) else {
                return false;
            };
            rest[behind + 1..].to_vec()
        };
        self.within(format!("nix {}", args[at].text), |walker| walker.apart(|walker| walker.invoke(&line, stdin)));
        true
    }

    /// `sed '1e COMMAND'` and `sed 's/x/COMMAND/e'`.
    fn sed_commands(&mut self, program: &str, args: &[Arg]) {
        let options = Options::read(&args[1..], self.rules.grammar(program));
        let told = options.values(&["-e", "--expression"]);
        let scripts: Vec<Arg> = match told.as_slice() {
            [] => options.operands.first().map(|arg| (*arg).clone()).into_iter().collect(),
            told => told.iter().map(|arg| (*arg).clone()).collect(),
        };
        for script in scripts {
            let text =
                script.text.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '$' | ',' | '!' | ' '));
            let code = match text.strip_prefix("e ") {
                Some(command) => command,
                None => {
                    let mut parts = text.strip_prefix('s').map(|rest| {
                        let mark = rest.chars().next().unwrap_or('/');
                        rest.split(mark).skip(2)
                    });
                    let (new, flags) = parts.as_mut().map_or((None, None), |parts| (parts.next(), parts.next()));
                    let runs = flags.is_some_and(|flags| {
                        flags.contains('e') && flags.chars().all(|c| c.is_ascii_digit() || "gepiImM".contains(c))
                    });
                    match new {
                        Some(new) if runs => new,
                        _ => continue,
                    }
                }
            };
            let code = script.with(code);
            self.within(program.to_owned(), |walker| {
                walker.apart(|walker| walker.code(&code.text, code.origin, Flow::Empty))
            });
        }
    }

    /// `ex -sc '%d|x' FILE`: an editor that is told to delete every line.
    fn empties(&mut self, args: &[Arg], stdin: &Flow) {
        let is_all = |text: &str| {
            text.split(['|', '\n']).any(|part| {
                matches!(part.trim().trim_start_matches(['+', ':']), "%d" | "1,$d" | ",d" | "%d_" | "%delete")
            })
        };
        let told = args.iter().skip(1).any(|arg| is_all(&arg.text));
        let typed = matches!(stdin, Flow::Text(text) if self.budget.spend(text.len()) && is_all(text));
        if told || typed {
            let files = args.iter().skip(1).filter(|arg| !arg.text.starts_with(['-', '+']) && !is_all(&arg.text));
            files.for_each(|file| self.effect_on(Kind::Empty, file, "to-nothing"));
        }
    }
}

/// What is made of all that a program was given.
fn origin(args: &[Arg]) -> Origin {
    let span = span_of(args);
    Origin::Made { start: span.start, end: span.end }
}

/// The values of options, however they are given: `-x VALUE`, `--x=VALUE`.
fn values(args: &[Arg], names: &[&str]) -> Vec<Arg> {
    let mut values = vec![];
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        if names.contains(&arg.text.as_str()) {
            values.extend(rest.next().cloned());
        } else if let Some((name, value)) = arg.text.split_once('=')
            && names.contains(&name)
        {
            values.push(arg.from(arg.text.len() - value.len()));
        }
    }
    values
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A line of a recipe as the shell gets it: `$$` is `$`, `$(NAME)` a variable, `$(shell ...)` what a command prints.
fn shell_of_recipe(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('$') {
        code.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(tail) = behind.strip_prefix('$') {
            code.push('$');
            rest = tail;
        } else if let Some(tail) = behind.strip_prefix("(shell ") {
            code.push_str("$(");
            rest = tail;
        } else if let Some((name, tail)) = behind.strip_prefix('(').and_then(|inside| {
            let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
            inside[end..].starts_with(')').then(|| (&inside[..end], &inside[end + 1..]))
        }) {
            code.push_str("${");
            code.push_str(name);
            code.push('}');
            rest = tail;
        } else {
            code.push('$');
            rest = behind;
        }
    }
    code.push_str(rest);
    code
}

/// The statements of a piece of Tcl, those in blocks and in brackets too.
fn tcl_statements(text: &str) -> Vec<&str> {
    let mut statements = vec![];
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ';' | '\n' | '{' | '}' | '[' | ']' if !quoted => {
                statements.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    statements.push(text[start..].trim());
    statements.retain(|statement| !statement.is_empty());
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_become_code_for_the_shell() {
        assert_eq!(shell_of_recipe("for f in $$LIST; do $(RM) $$f; done"), "for f in $LIST; do ${RM} $f; done");
        assert_eq!(shell_of_recipe("$(shell rm -rf x) $@ $"), "$(rm -rf x) $@ $");
    }

    #[test]
    fn tcl_is_taken_apart_outside_of_strings() {
        let text = "if {$x} { exec rm a }; send \"a; b\\\"\\r\"\nspawn sh";
        assert_eq!(tcl_statements(text), ["if", "$x", "exec rm a", "send \"a; b\\\"\\r\"", "spawn sh"]);
    }
}
