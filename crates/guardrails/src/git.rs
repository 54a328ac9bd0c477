//! Git's own ways to run other commands: aliases, hooks given by hand, and subcommands that take a command.

use std::rc::Rc;

use crate::call::{Arg, span_of};
use crate::effect::Kind;
use crate::flow::Flow;
use crate::options::Options;
use crate::place::is_credential;
use crate::source::Origin;
use crate::walk::Walker;
use crate::wrapper::join;

/// Settings whose value git runs.
const RUN: &[&str] = &[
    "core.pager",
    "core.editor",
    "core.sshcommand",
    "core.fsmonitor",
    "sequence.editor",
    "diff.external",
    "credential.helper",
    "core.askpass",
    "gpg.program",
    "pager.log",
    "pager.diff",
    "pager.status",
];

/// `-c gc.pruneExpire=now`, which is `--prune=now`.
fn prunes_now(setting: &str) -> bool {
    setting.split_once('=').is_some_and(|(name, value)| {
        name.eq_ignore_ascii_case("gc.pruneexpire") && matches!(value, "now" | "all" | "0")
    })
}

impl Walker<'_> {
    /// Follows a git command to what else it runs; nothing where it is all git's own.
    pub fn git(&mut self, args: &[Arg], stdin: &Flow) -> Option<Flow> {
        let grammar = self.rules.grammar("git");
        let options = Options::read(&args[1..], grammar);
        for setting in options.values(&["-c", "--config-env"]) {
            self.git_setting(setting);
        }
        let sub = options.operands.first()?.plain().into_owned();
        let at = 1 + args[1..].iter().position(|arg| std::ptr::eq(arg, options.operands[0]))?;
        let rest = &args[at + 1..];
        if let Some(alias) = self.env.aliases.get(&format!("git {sub}")).cloned()
            && !self.reached.contains(&format!("git {sub}"))
        {
            let tail: Vec<&str> = rest.iter().map(|arg| arg.text.as_str()).collect();
            let line = match alias.strip_prefix('!') {
                Some(command) => format!("{command} {}", tail.join(" ")),
                None => format!("git {alias} {}", tail.join(" ")),
            };
            let span = span_of(args);
            let origin = Origin::Made { start: span.start, end: span.end };
            return Some(self.within(format!("git {sub}"), |walker| walker.code(&line, origin, stdin.clone())));
        }
        match sub.as_str() {
            "gc" if options.values(&["-c"]).iter().any(|setting| prunes_now(&setting.plain())) => {
                let line: Vec<Arg> = args.iter().cloned().chain([args[0].with("--prune=now")]).collect();
                self.judge("git", &line);
            }
            "commit" => {
                for file in options.operands.iter().skip(1).filter(|file| is_credential(&file.text)) {
                    self.effect_on(Kind::Send, file, "commit");
                }
            }
            "config" => {
                let operands: Vec<&&Arg> = options.operands.iter().skip(1).filter(|arg| arg.text != "set").collect();
                if let [name, value, ..] = operands.as_slice() {
                    let setting = value.with(format!("{}={}", name.text, value.text));
                    self.git_setting(&setting);
                }
            }
            "rebase" => {
                for code in options.values(&["-x", "--exec"]) {
                    self.within("git rebase --exec", |walker| walker.code(&code.text, code.origin, Flow::Empty));
                }
            }
            "filter-branch" => {
                for code in options.values(&[
                    "--tree-filter",
                    "--index-filter",
                    "--msg-filter",
                    "--commit-filter",
                    "--env-filter",
                ]) {
                    self.within("git filter-branch", |walker| walker.code(&code.text, code.origin, Flow::Empty));
                }
            }
            "submodule" if options.operands.get(1).is_some_and(|arg| arg.text == "foreach") => {
                let code = join(
                    &rest
                        .iter()
                        .skip(1)
                        .filter(|arg| !matches!(arg.text.as_str(), "--recursive" | "--quiet"))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                code.iter().for_each(|code| {
                    self.within("git submodule foreach", |walker| walker.code(&code.text, code.origin, Flow::Empty));
                });
            }
            "bisect" if options.operands.get(1).is_some_and(|arg| arg.text == "run") => {
                return Some(self.within("git bisect run", |walker| walker.invoke(&rest[1..], stdin)));
            }
            "add" | "stage" => {
                for file in options.operands.iter().skip(1).filter(|file| is_credential(&file.text)) {
                    self.effect_on(Kind::Send, file, "commit");
                }
            }
            "show" | "cat-file" => {
                for file in options.operands.iter().skip(1) {
                    if let Some((_, path)) = file.text.split_once(':').filter(|(_, path)| is_credential(path)) {
                        let path = file.with(path);
                        self.effect_on(Kind::Read, &path, "");
                    }
                }
            }
            _ => {}
        }
        None
    }

    /// `alias.NAME=value` is kept; what git runs by itself is run.
    fn git_setting(&mut self, setting: &Arg) {
        let Some((name, value)) = setting.text.split_once('=') else { return };
        let lower = name.to_ascii_lowercase();
        if let Some(alias) = lower.strip_prefix("alias.") {
            Rc::make_mut(&mut self.env.aliases).insert(format!("git {alias}"), value.to_owned());
        } else if RUN.contains(&lower.as_str()) {
            let code = setting.from(name.len() + 1);
            let text = code.text.trim_start_matches('!').to_owned();
            self.within(format!("git -c {lower}"), |walker| walker.code(&text, code.origin, Flow::Empty));
        }
    }
}
