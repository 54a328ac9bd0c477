//! Commands of the shell itself, and the way from a command to what it starts.

use std::rc::Rc;

use crate::call::{Arg, program_name, span_of};
use crate::effect::{Kind, Place};
use crate::flow::Flow;
use crate::options::{Grammar, Options};
use crate::place::Base;
use crate::source::{DECODED, FETCHED, Origin, SECRET, UNKNOWN, has_glob, plain};
use crate::walk::Walker;
use crate::{glob, powershell};

impl Walker<'_> {
    /// Starts a command in thought; what it prints.
    pub fn invoke(&mut self, args: &[Arg], stdin: &Flow) -> Flow {
        let Some(first) = args.first() else { return Flow::Empty };
        if self.depth >= crate::budget::MAX_DEPTH {
            self.budget.give_up();
        }
        // Every argument is held against the rules, however short it is.
        if !self.budget.spend(16 + args.iter().map(|arg| 16 + arg.text.len()).sum::<usize>()) {
            return Flow::Opaque;
        }
        self.depth += 1;
        let flow = self.start_command(first, args, stdin);
        self.depth -= 1;
        flow
    }

    fn start_command(&mut self, first: &Arg, args: &[Arg], stdin: &Flow) -> Flow {
        let name = first.plain();
        if let Some(text) = self.env.aliases.get(name.as_ref()).cloned()
            && !self.reached.iter().any(|label| label.strip_prefix("alias ") == Some(&name))
        {
            let line: Vec<&str> =
                std::iter::once(text.as_str()).chain(args[1..].iter().map(|arg| arg.text.as_str())).collect();
            let span = span_of(args);
            let origin = Origin::Made { start: span.start, end: span.end };
            return self.within(format!("alias {name}"), |walker| walker.code(&line.join(" "), origin, stdin.clone()));
        }
        if let Some(body) = self.env.functions.get(name.as_ref()).cloned() {
            let positional = args[1..].iter().map(|arg| arg.text.clone()).collect();
            let before = self.env.positional.replace(Rc::new(positional));
            let flow = self.within(format!("{name}()"), |walker| walker.node(&body, stdin));
            self.env.positional = before;
            return flow;
        }
        if name.is_empty() {
            // `$SUDO rm`: whatever it is, it may be nothing, or run what follows; or be `rm` itself.
            let rest = &args[1..];
            if first.is_unknown() && rest.iter().any(|arg| is_force_recursive(&arg.text)) {
                let program = first.with("rm");
                let line: Vec<Arg> = std::iter::once(program).chain(rest.iter().cloned()).collect();
                self.within("an unknown program", |walker| walker.invoke(&line, stdin));
            }
            for (mark, detail) in [(FETCHED, "network"), (DECODED, "decoded")] {
                if first.text.contains(mark) {
                    self.runs_unread(detail, first.span());
                }
            }
            return if first.is_unknown() { self.invoke(rest, stdin) } else { Flow::Empty };
        }
        if powershell::is_cmdlet(&name) {
            return self.cmdlet(args, stdin);
        }
        let mut program = program_name(&first.text);
        if has_glob(&first.text)
            && name.contains(char::is_alphanumeric)
            && let Some(found) = self.globbed(&program)
        {
            program = found;
        }
        if program == "cargo" && args.get(1).is_some_and(|arg| arg.text.starts_with('+')) {
            // `cargo +nightly publish`: which toolchain it is does not matter.
            let line = [&args[..1], &args[2..]].concat();
            return self.invoke(&line, stdin);
        }
        self.judge(&program, args);
        self.touches(&program, args);
        self.reaches(&program, args);
        if matches!(program.as_str(), "ssh" | "autossh") && stdin.is_secret() {
            self.effect(Kind::Send, Place::None, &first.with(".env"), "");
        }
        if let Some(flow) = self.builtin(&program, args, stdin) {
            return flow;
        }
        if let Some(flow) = self.interpreter(&program, args, stdin) {
            return flow;
        }
        let rules = self.rules;
        for wrapper in rules.wrappers(&program) {
            let Some(wrapped) = wrapper.unwrap(args, rules.grammar(&program)) else { continue };
            if wrapped.code.is_empty() && wrapped.program.is_empty() {
                if wrapper.shell && *stdin != Flow::Empty {
                    return self.apart(|walker| {
                        walker.within(wrapped.label, |walker| walker.run_flow(stdin, span_of(args), true))
                    });
                }
                continue;
            }
            let flow = self.apart(|walker| {
                if wrapper.elsewhere {
                    walker.env.base = Base::Unknown;
                    walker.around.start = None;
                }
                walker.within(wrapped.label, |walker| {
                    for assignment in &wrapped.assignments {
                        if let Some((name, value)) = assignment.text.split_once('=') {
                            walker.set(name, vec![value.to_owned()]);
                        }
                    }
                    let mut flow = Flow::Opaque;
                    for code in &wrapped.code {
                        flow = walker.code(&code.text, code.origin, stdin.clone());
                    }
                    if !wrapped.image.is_empty() {
                        walker.invoke(&wrapped.image, stdin);
                    }
                    if wrapped.program.is_empty() { flow } else { walker.invoke(&wrapped.program, stdin) }
                })
            });
            if !wrapper.is_more() {
                return flow;
            }
        }
        self.effects(&program, args, stdin);
        self.output(&program, args, stdin)
    }

    /// Judges a command by its shape.
    pub fn judge(&mut self, program: &str, args: &[Arg]) {
        let rules = self.rules;
        let options = Options::read(args.get(1..).unwrap_or_default(), rules.grammar(program));
        let broken = rules.judge_call(program, &options);
        if !broken.is_empty() {
            self.sparing(args, |walker| broken.into_iter().for_each(|rule| walker.broken(rule, span_of(args))));
        }
    }

    /// The first program that a name with wildcards may stand for, those that delete before others.
    fn globbed(&self, pattern: &str) -> Option<String> {
        const WORST: &[&str] = &["rm", "dd", "mkfs", "shred", "sh", "bash", "sudo"];
        let pattern = pattern.replace('[', "?");
        let mut names = WORST.iter().copied().chain(self.rules.programs());
        // `[a-z]` is one character.
        let simple: String = pattern
            .split('?')
            .enumerate()
            .map(|(n, part)| {
                if n == 0 {
                    part.to_owned()
                } else {
                    format!("?{}", part.split_once(']').map_or(part, |(_, rest)| rest))
                }
            })
            .collect();
        names.find(|name| glob::matches(&simple, name)).map(str::to_owned)
    }

    /// Commands that change what the shell keeps.
    fn builtin(&mut self, program: &str, args: &[Arg], stdin: &Flow) -> Option<Flow> {
        let rest = &args[1..];
        match program {
            "cd" | "pushd" | "chdir" | "set-location" => self.change_directory(rest),
            "popd" => self.env.base = Base::Start(String::new()),
            "set" => {
                let at = rest.iter().position(|arg| arg.text == "--").map(|at| at + 1);
                let at = at.or_else(|| rest.iter().position(|arg| !arg.text.starts_with(['-', '+'])));
                if let Some(at) = at {
                    self.env.positional = Some(Rc::new(rest[at..].iter().map(|arg| arg.text.clone()).collect()));
                }
                return (!rest.is_empty()).then_some(Flow::Empty);
            }
            "shift" => {
                let by = rest.first().and_then(|arg| arg.text.parse().ok()).unwrap_or(1);
                if let Some(positional) = &self.env.positional {
                    self.env.positional = Some(Rc::new(positional.iter().skip(by).cloned().collect()));
                }
            }
            "export" | "declare" | "typeset" if matches!(rest, [only] if matches!(only.text.as_str(), "-p" | "-x")) => {
                return Some(Flow::Environment);
            }
            "export" | "declare" | "local" | "readonly" | "typeset" if !rest.is_empty() => {
                for arg in rest {
                    if let Some((name, value)) = arg.text.split_once('=') {
                        self.set(name, vec![value.to_owned()]);
                    }
                }
            }
            "unset" => {
                for arg in rest {
                    self.set(&arg.plain(), vec![String::new()]);
                    Rc::make_mut(&mut self.env.functions).remove(arg.plain().as_ref());
                }
            }
            "read" | "mapfile" | "readarray" => self.read_variables(program == "read", rest, stdin),
            "printf" if rest.first().is_some_and(|arg| arg.text == "-v") && rest.len() > 2 => {
                let line: Vec<Arg> = [&args[..1], &rest[2..]].concat();
                let printed = self.output("printf", &line, stdin).substituted();
                self.set(&rest[1].plain(), vec![printed]);
            }
            "alias" => {
                for arg in rest {
                    if let Some((name, text)) = arg.text.split_once('=') {
                        Rc::make_mut(&mut self.env.aliases).insert(plain(name), text.to_owned());
                    }
                }
            }
            "unalias" => {
                for arg in rest {
                    Rc::make_mut(&mut self.env.aliases).remove(arg.plain().as_ref());
                }
            }
            "trap" => {
                let at = usize::from(rest.first().is_some_and(|arg| arg.text == "--"));
                if let (Some(code), true) = (rest.get(at), rest.len() > at + 1) {
                    let code = code.clone();
                    self.apart(|walker| {
                        walker.within("trap", |walker| walker.code(&code.text, code.origin, Flow::Empty))
                    });
                }
            }
            "source" | "." if !rest.is_empty() => {
                let flow = if rest[0].text == "/dev/stdin" { stdin.clone() } else { self.read(&rest[0]) };
                let label = program.to_owned();
                return Some(self.within(label, |walker| walker.run_flow(&flow, span_of(args), true)));
            }
            _ => return None,
        }
        Some(Flow::Empty)
    }

    fn change_directory(&mut self, rest: &[Arg]) {
        let before = self.env.base.clone();
        let target = rest.iter().find(|arg| !(arg.text.starts_with('-') && arg.text.len() > 1));
        self.env.base = match target {
            None => Base::Absolute(self.around.home.clone()),
            Some(arg) if arg.text == "-" => Base::Unknown,
            Some(arg) => self.around.join(&before, &arg.text),
        };
        self.env.fallback = (self.env.base == Base::Unknown).then_some(before);
    }

    fn read_variables(&mut self, splits: bool, rest: &[Arg], stdin: &Flow) {
        let grammar = Grammar {
            valued: if splits {
                ["-d", "-n", "-N", "-p", "-t", "-u", "-i"].map(str::to_owned).into()
            } else {
                ["-d", "-n", "-O", "-s", "-u", "-C", "-c"].map(str::to_owned).into()
            },
            ..Grammar::default()
        };
        let options = Options::read(rest, &grammar);
        let names: Vec<String> = options.operands.iter().map(|arg| plain(&arg.text)).collect();
        if options.has(&["-a"]) || names.is_empty() || !matches!(stdin, Flow::Text(_) | Flow::Names(_)) {
            let value = match stdin {
                Flow::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
                Flow::Names(names) => names.clone(),
                Flow::Secret => vec![SECRET.to_string()],
                _ => vec![UNKNOWN.to_string()],
            };
            for name in names.iter().map(String::as_str).chain(["REPLY"]) {
                self.set(name, value.clone());
            }
            return;
        }
        // All lines are read in turn by a loop: any of them may be the one.
        let text = stdin.substituted();
        let mut words = text.splitn(names.len().max(1), char::is_whitespace);
        for name in &names {
            self.set(name, vec![words.next().unwrap_or_default().to_owned()]);
        }
    }
}

/// `-rf`, in any order.
fn is_force_recursive(text: &str) -> bool {
    text.starts_with('-')
        && !text.starts_with("--")
        && text.len() < 8
        && text.contains('f')
        && text.contains(['r', 'R'])
}
