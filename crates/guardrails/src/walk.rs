//! Runs a script in thought: step after step, with variables and a working directory, following what flows through pipes.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use crate::budget::{Budget, JUDGED, MAX_DEPTH};
use crate::call::Arg;
use crate::effect::{Effect, Kind, Place};
use crate::flow::Flow;
use crate::place::{Base, Surroundings, is_credential};
use crate::rules::Rules;
use crate::shell::{Node, Piece, Redirect, Script, Simple, Target, Way, When, Word, parse};
use crate::source::{Origin, UNKNOWN};
use crate::touch::{Touch, Way as Touching};
use crate::{powershell, sql};

/// A rule that was broken.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub rule: usize,
    /// Where.
    pub span: Range<usize>,
    /// What runs it, from the outside in.
    pub reached: Vec<String>,
    /// Does it concern only what was made for a test?
    pub for_tests: bool,
}

/// What a shell keeps between commands.
#[derive(Debug, Clone)]
pub struct Env {
    /// Variables; more than one value where it is an array.
    pub variables: Rc<HashMap<String, Vec<String>>>,
    /// `$1`, `$2` ...; nothing where they are not known.
    pub positional: Option<Rc<Vec<String>>>,
    /// Functions.
    pub functions: Rc<HashMap<String, Rc<Node>>>,
    /// Aliases, and those of git under `git NAME`.
    pub aliases: Rc<HashMap<String, String>>,
    /// What was written to files.
    pub files: Rc<HashMap<String, Flow>>,
    /// The working directory.
    pub base: Base,
    /// The one before, if the change to this one may have failed.
    pub fallback: Option<Base>,
}

/// Runs scripts in thought and gathers the rules that they break.
pub struct Walker<'g> {
    pub rules: &'g Rules,
    pub budget: &'g Budget,
    pub around: Surroundings,
    pub env: Env,
    /// What the current command is run by.
    pub reached: Vec<String>,
    pub depth: usize,
    /// Does the current command work only on what was made for a test?
    pub for_tests: bool,
    /// Is what is read taken into variables instead of being shown?
    loads: bool,
    /// Have credentials become variables of the environment?
    has_loaded: bool,
    /// Which files are changed or shown.
    pub(crate) touched: Vec<Touch>,
    /// Hosts that are spoken to.
    pub(crate) hosts: Vec<String>,
    found: Vec<Found>,
}

/// What runs lines that another command makes.
pub const GENERATED: &str = "generated lines";
/// The detail of an effect: the new content comes from a template.
pub const TEMPLATE: &str = "template";
/// More than so many violations tell nothing new.
const MOST_FOUND: usize = 256;

impl<'g> Walker<'g> {
    /// Before anything ran.
    pub fn new(rules: &'g Rules, budget: &'g Budget, around: Surroundings) -> Self {
        let env = Env {
            variables: Rc::default(),
            positional: None,
            functions: Rc::default(),
            aliases: Rc::default(),
            files: Rc::default(),
            base: Base::Start(String::new()),
            fallback: None,
        };
        Self {
            rules,
            budget,
            around,
            env,
            reached: vec![],
            depth: 0,
            for_tests: false,
            loads: false,
            has_loaded: false,
            touched: vec![],
            hosts: vec![],
            found: vec![],
        }
    }

    /// What was found.
    pub fn found(self) -> Vec<Found> {
        self.found
    }

    /// Runs what was given to be checked, whatever language it is in.
    pub fn start(&mut self, text: &str) {
        let origin = Origin::Verbatim { start: 0 };
        if sql::is_statement(text) {
            self.sql(text, origin, "sql");
        } else if sql::is_store_call(text) {
            self.store_script(text, origin);
        } else if powershell::is_script(text) {
            self.powershell(text, origin);
        } else {
            let script = parse(text, origin, self.budget, self.depth);
            for step in script.steps {
                let span = first_span(&step.node);
                let flow = self.script(&Script { steps: vec![step] }, &Flow::Empty);
                // What is printed now is seen by whoever runs it.
                if flow.is_secret() {
                    let detail = if flow == Flow::Environment && !self.has_loaded { "environment" } else { "secret" };
                    let origin = Origin::Made { start: span.start, end: span.end };
                    self.effect(Kind::Show, Place::None, &Arg { text: String::new(), origin }, detail);
                }
            }
        }
    }

    /// Runs code for a shell; what it prints.
    pub fn code(&mut self, text: &str, origin: Origin, stdin: Flow) -> Flow {
        if self.depth >= MAX_DEPTH {
            self.budget.give_up();
            return Flow::Opaque;
        }
        self.depth += 1;
        let script = parse(text, origin, self.budget, self.depth);
        let flow = self.script(&script, &stdin);
        self.depth -= 1;
        flow
    }

    /// Does something as run by `label`.
    pub fn within<T>(&mut self, label: impl Into<String>, run: impl FnOnce(&mut Self) -> T) -> T {
        self.reached.push(label.into());
        let result = run(self);
        self.reached.pop();
        result
    }

    /// Does something in a shell of its own, which leaves nothing behind.
    pub fn apart<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let env = self.env.clone();
        let result = run(self);
        // Files stay.
        let files = std::mem::replace(&mut self.env, env).files;
        self.env.files = files;
        result
    }

    /// Runs the steps of a script.
    pub fn script(&mut self, script: &Script, stdin: &Flow) -> Flow {
        let mut output = Flow::Empty;
        for step in &script.steps {
            if !self.budget.spend(8) {
                break;
            }
            match step.when {
                // The change of directory before this may have failed.
                When::Always => {
                    if let Some(base) = self.env.fallback.take() {
                        self.env.base = base;
                    }
                }
                // `cd X || exit`.
                When::Failure => self.env.fallback = None,
                When::Success => {}
            }
            let printed = self.node(&step.node, stdin);
            output = output.then(printed, self.budget);
        }
        output
    }

    /// Runs a node.
    pub fn node(&mut self, node: &Node, stdin: &Flow) -> Flow {
        if self.depth >= MAX_DEPTH {
            self.budget.give_up();
        }
        if !self.budget.spend(8) {
            return Flow::Opaque;
        }
        self.depth += 1;
        let flow = match node {
            Node::Simple(simple) => self.simple(simple, stdin),
            Node::Pipe(nodes) => {
                self.bomb(nodes);
                let mut flow = stdin.clone();
                for node in nodes {
                    flow = self.apart(|walker| walker.node(node, &flow));
                }
                flow
            }
            Node::Group { body, subshell, redirects } => {
                let (stdin, away) = self.redirects(redirects, stdin);
                let flow = if *subshell {
                    self.apart(|walker| walker.script(body, &stdin))
                } else {
                    self.script(body, &stdin)
                };
                self.print(flow, away)
            }
            Node::Branches { parts, words, redirects } => {
                let (stdin, away) = self.redirects(redirects, stdin);
                words.iter().for_each(|word| {
                    self.single(word);
                });
                let mut flow = Flow::Empty;
                for part in parts {
                    let printed = self.script(part, &stdin);
                    flow = flow.then(printed, self.budget);
                }
                self.print(flow, away)
            }
            Node::For { name, words, body, redirects } => {
                let (stdin, away) = self.redirects(redirects, stdin);
                let values: Vec<String> = match words {
                    Some(words) => words.iter().flat_map(|word| self.fields(word)).map(|arg| arg.text).collect(),
                    None => self.env.positional.as_ref().map_or(vec![UNKNOWN.to_string()], |values| values.to_vec()),
                };
                let mut flow = Flow::Empty;
                for value in values.into_iter().take(64) {
                    self.set(name, vec![value]);
                    let printed = self.script(body, &stdin);
                    flow = flow.then(printed, self.budget);
                    if self.budget.is_overdrawn() {
                        break;
                    }
                }
                self.print(flow, away)
            }
            Node::Function { name, body } => {
                self.fork_bomb(name, body);
                Rc::make_mut(&mut self.env.functions).insert(name.clone(), Rc::clone(body));
                Flow::Empty
            }
        };
        self.depth -= 1;
        flow
    }

    fn simple(&mut self, simple: &Simple, stdin: &Flow) -> Flow {
        let before = self.loads;
        self.loads |= loads_variables(simple);
        let args: Vec<Arg> = simple.words.iter().flat_map(|word| self.fields(word)).collect();
        self.loads = before;
        let (stdin, away) = self.redirects(&simple.redirects, stdin);
        if args.is_empty() && simple.words.is_empty() {
            for assignment in &simple.assignments {
                self.assign(assignment);
            }
            self.run_variables(simple);
            if simple.assignments.is_empty() {
                // `> file` by itself empties the file.
                if let Some(file) = &away {
                    self.effect_on(Kind::Empty, file, "");
                }
            }
            // `$(< file)` is what is in the file.
            return if simple.redirects.len() == 1 && away.is_none() { stdin } else { Flow::Empty };
        }
        // Variables before a command hold for it alone.
        let kept = (!simple.assignments.is_empty()).then(|| Rc::clone(&self.env.variables));
        for assignment in &simple.assignments {
            self.assign(assignment);
        }
        self.run_variables(simple);
        let flow = self.invoke(&args, &stdin);
        if let Some(kept) = kept {
            self.env.variables = kept;
        }
        let appends = simple.redirects.iter().any(|redirect| redirect.way == Way::Append);
        self.discards(&args, &flow, &stdin, away.as_ref().filter(|_| !appends));
        self.print(flow, away)
    }

    /// Variables whose value some program runs.
    fn run_variables(&mut self, simple: &Simple) {
        const RUN: &[&str] = &[
            "PROMPT_COMMAND",
            "GIT_SSH_COMMAND",
            "GIT_SSH",
            "GIT_EDITOR",
            "GIT_PAGER",
            "PAGER",
            "EDITOR",
            "VISUAL",
            "BASH_ENV",
            "LESSOPEN",
            "GIT_EXTERNAL_DIFF",
            "GIT_ASKPASS",
            "SSH_ASKPASS",
            "MANPAGER",
            "GIT_SEQUENCE_EDITOR",
            "RSYNC_RSH",
            "CARGO_BUILD_RUSTC_WRAPPER",
        ];
        for assignment in simple.assignments.iter().filter(|assignment| RUN.contains(&assignment.name.as_str())) {
            for word in &assignment.values {
                let value = self.single(word);
                self.within(assignment.name.clone(), |walker| walker.code(&value.text, value.origin, Flow::Empty));
            }
        }
    }

    /// `: > file`, `cat /dev/null > file`, `echo -n > file`: nothing takes the place of what was there.
    fn discards(&mut self, args: &[Arg], flow: &Flow, stdin: &Flow, away: Option<&Arg>) {
        let Some(file) = away else { return };
        let nothing = match args.first().map(|arg| arg.plain()).as_deref() {
            Some(":" | "true") => true,
            Some("cat") => args.get(1).is_some_and(|arg| arg.text == "/dev/null") || *stdin == Flow::Nothing,
            Some("echo" | "printf") => matches!(flow, Flow::Text(text) if text.trim().is_empty()),
            _ => false,
        };
        if nothing {
            self.effect_on(Kind::Empty, file, "");
        }
    }

    /// What a command prints goes where its redirections send it.
    fn print(&mut self, flow: Flow, away: Option<Arg>) -> Flow {
        match away {
            None => flow,
            Some(file) => {
                if let Base::Start(name) | Base::Absolute(name) = self.around.join(&self.env.base, &file.text) {
                    self.remember(name, flow);
                }
                Flow::Empty
            }
        }
    }

    /// Keeps what was written to a file, in case it is run.
    pub fn remember(&mut self, name: String, flow: Flow) {
        let files = Rc::make_mut(&mut self.env.files);
        if files.len() < 256 {
            let before = files.remove(&name).unwrap_or(Flow::Empty);
            let joined = before.then(flow, self.budget);
            files.insert(name, joined);
        }
    }

    /// What is known to be in a file.
    pub fn file(&self, path: &str) -> Option<&Flow> {
        match self.around.join(&self.env.base, path) {
            Base::Start(name) | Base::Absolute(name) => self.env.files.get(&name),
            Base::Unknown => None,
        }
    }

    /// Follows redirections: what the command reads, and which file takes what it prints.
    fn redirects(&mut self, redirects: &[Redirect], stdin: &Flow) -> (Flow, Option<Arg>) {
        let mut input = stdin.clone();
        let mut away = None;
        for redirect in redirects {
            let target = match &redirect.target {
                Target::Word(word) => self.single(word),
                Target::Here(text) => {
                    let empty = Word::default();
                    let word = text.get().unwrap_or(&empty);
                    self.single(word)
                }
            };
            match redirect.way {
                Way::Text => input = Flow::Text(target.text.clone()),
                Way::Read => {
                    self.touch(Touching::Read, &target.text);
                    input = self.read(&target);
                }
                Way::Duplicate => {}
                Way::Append => self.effect_on(Kind::Append, &target, ""),
                Way::Write | Way::Both => {
                    self.effect_on(Kind::Overwrite, &target, "");
                }
            }
            let is_output =
                matches!(redirect.way, Way::Write | Way::Append) && matches!(redirect.descriptor, None | Some(1));
            if is_output {
                away = Some(target);
            }
        }
        (input, away)
    }

    /// What reading a file gives.
    pub fn read(&mut self, file: &Arg) -> Flow {
        if file.text == "/dev/null" {
            return Flow::Nothing;
        }
        if let Some(flow) = self.file(&file.text) {
            return flow.clone();
        }
        if is_credential(&file.text) { Flow::Secret } else { Flow::Opaque }
    }

    /// A command breaks a rule.
    pub fn broken(&mut self, rule: usize, span: Range<usize>) {
        if self.found.len() < MOST_FOUND {
            self.found.push(Found { rule, span, reached: self.reached.clone(), for_tests: self.for_tests });
        }
    }

    /// Something happens to the file that an argument names.
    pub fn effect_on(&mut self, kind: Kind, file: &Arg, detail: &'static str) {
        let is_listed = file.text.chars().all(|c| c == UNKNOWN)
            && self.reached.last().is_some_and(|label| matches!(label.as_str(), "xargs" | "parallel" | GENERATED));
        self.touch_by(kind, &file.text, detail);
        let place = if is_listed { Place::Listed } else { self.around.place(&self.env.base, &file.text) };
        self.effect(kind, place, file, detail);
    }

    /// Something happens to a target.
    pub fn effect(&mut self, kind: Kind, place: Place, file: &Arg, detail: &'static str) {
        if !self.budget.spend(JUDGED) {
            return;
        }
        // A new copy of a template is what such files begin as, and what becomes a variable is not shown.
        let harmless = detail == TEMPLATE || (self.loads && kind == Kind::Read);
        let credential = is_credential(&file.text) && !harmless;
        self.has_loaded |= self.loads && kind == Kind::Read;
        let effect = Effect { kind, place, target: file.plain().into_owned(), credential, detail, span: file.span() };
        let rules = self.rules;
        for rule in rules.judge_effect(&effect) {
            self.broken(rule, effect.span.clone());
        }
    }

    /// The agent edits a file.
    pub fn edit(&mut self, path: &str) {
        self.effect_on(Kind::Edit, &Arg { text: path.to_owned(), origin: Origin::Verbatim { start: 0 } }, "");
    }

    /// Code is run that cannot be read here.
    pub fn runs_unread(&mut self, detail: &'static str, span: Range<usize>) {
        let origin = Origin::Made { start: span.start, end: span.end };
        self.effect(Kind::Run, Place::None, &Arg { text: String::new(), origin }, detail);
    }

    /// `f() { f | f & }`: a function that starts itself twice.
    fn fork_bomb(&mut self, name: &str, body: &Node) {
        let Node::Group { body: script, .. } = body else { return };
        let calls_itself = |node: &Node| {
            matches!(node, Node::Simple(simple)
                if matches!(simple.words.as_slice(), [word] if matches!(word.pieces.as_slice(), [Piece::Text(text, ..)] if text == name)))
        };
        let calls = script.steps.iter().take(8).map(|step| match &step.node {
            Node::Pipe(nodes) => nodes.iter().filter(|node| calls_itself(node)).count(),
            node => usize::from(calls_itself(node)),
        });
        if calls.sum::<usize>() >= 2 {
            self.runs_unread("fork-bomb", first_span(body));
        }
    }

    /// A script that starts itself twice: `$0 | $0 &`.
    fn bomb(&mut self, nodes: &[Node]) {
        let is_self = |node: &Node| matches!(node, Node::Simple(simple) if simple.words.len() == 1 && matches!(simple.words[0].pieces.as_slice(), [Piece::Parameter(parameter, _)] if parameter.name == "0"));
        if nodes.len() > 1 && nodes.iter().all(is_self) {
            self.runs_unread("fork-bomb", nodes.first().map(first_span).unwrap_or_default());
        }
    }
}

/// `export $(grep -v '^#' .env | xargs)`.
fn loads_variables(simple: &Simple) -> bool {
    simple.words.first().is_some_and(|word| {
        matches!(word.pieces.as_slice(), [Piece::Text(text, ..)] if matches!(text.as_str(), "export" | "declare" | "env"))
    })
}

/// Where the first command of a node stands.
fn first_span(node: &Node) -> Range<usize> {
    match node {
        Node::Simple(simple) => simple.span.clone(),
        Node::Pipe(nodes) => nodes.first().map(first_span).unwrap_or_default(),
        Node::Group { body, .. } | Node::For { body, .. } => {
            body.steps.first().map(|step| first_span(&step.node)).unwrap_or_default()
        }
        Node::Branches { parts, .. } => {
            parts.iter().flat_map(|part| &part.steps).next().map(|step| first_span(&step.node)).unwrap_or_default()
        }
        Node::Function { body, .. } => first_span(body),
    }
}
