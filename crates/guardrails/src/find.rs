//! `find` and `fd`: what they select, and what they do with it.

use crate::call::{Arg, span_of};
use crate::effect::Kind;
use crate::flow::Flow;
use crate::source::{STAR, plain};
use crate::walk::Walker;

/// Tests that select by name.
const NAMES: &[&str] =
    &["-name", "-iname", "-path", "-ipath", "-wholename", "-iwholename", "-regex", "-iregex", "-lname"];
/// Tests that take one argument and select a part that nobody can foresee.
const SELECTS: &[&str] = &[
    "-mtime",
    "-atime",
    "-ctime",
    "-mmin",
    "-amin",
    "-cmin",
    "-newer",
    "-size",
    "-inum",
    "-samefile",
    "-used",
    "-newermt",
    "-links",
];
/// Other tests and options with one argument.
const TAKES_ONE: &[&str] = &[
    "-type",
    "-xtype",
    "-maxdepth",
    "-mindepth",
    "-perm",
    "-user",
    "-group",
    "-uid",
    "-gid",
    "-fstype",
    "-printf",
    "-D",
    "-files0-from",
];

/// What has been selected when an action is reached.
#[derive(Default)]
struct Selection {
    /// A pattern for names.
    pattern: Option<String>,
    /// Everything below these directories: `-path './src/*'`.
    below: Option<String>,
    /// Some part.
    part: bool,
    /// The next test is turned round.
    negated: bool,
}

impl Walker<'_> {
    /// Runs `find`.
    pub fn find(&mut self, args: &[Arg], stdin: &Flow) -> Flow {
        let rest = &args[1..];
        let starts = rest.iter().skip_while(|arg| matches!(arg.text.as_str(), "-L" | "-H" | "-P")).take_while(|arg| {
            let text = arg.text.as_str();
            !text.starts_with('-') && text != "(" && text != "!"
        });
        let mut starts: Vec<Arg> = starts.cloned().collect();
        if starts.is_empty() {
            starts.push(args[0].with("."));
        }
        let mut selection = Selection::default();
        let mut outer = vec![];
        let mut acted = false;
        let mut printed = Flow::Empty;
        let mut at = 0;
        while let Some(arg) = rest.get(at) {
            let text = plain(&arg.text);
            at += 1;
            match text.as_str() {
                "!" | "-not" => selection.negated = true,
                "-o" | "-or" | "," => selection = Selection::default(),
                "(" => outer.push(std::mem::take(&mut selection.negated)),
                ")" if outer.pop() == Some(true) => {
                    selection.pattern = None;
                }
                "-empty" => selection.pattern = selection.pattern.take().or(Some("empty.tmp".to_owned())),
                "-delete" => {
                    acted = true;
                    for target in self.selected(&starts, &selection) {
                        let kind = if selection.pattern.is_some() { Kind::Delete } else { Kind::DeleteTree };
                        self.effect_on(kind, &target, if selection.part { "some" } else { "" });
                    }
                }
                "-exec" | "-execdir" | "-ok" | "-okdir" => {
                    acted = true;
                    let end = rest[at..]
                        .iter()
                        .position(|arg| arg.text == ";" || arg.text == "+")
                        .map_or(rest.len(), |n| at + n);
                    let command = &rest[at..end];
                    at = end + 1;
                    for target in self.selected(&starts, &selection).into_iter().take(16) {
                        let put = |arg: &Arg| {
                            if arg.text.contains("{}") {
                                arg.with(arg.text.replace("{}", &target.text))
                            } else {
                                arg.clone()
                            }
                        };
                        let line: Vec<Arg> = command.iter().map(put).collect();
                        let flow =
                            self.within("find -exec", |walker| walker.apart(|walker| walker.invoke(&line, stdin)));
                        printed = printed.then(flow, self.budget);
                    }
                }
                "-fprint" | "-fprintf" | "-fls" => {
                    if let Some(file) = rest.get(at) {
                        self.effect_on(Kind::Overwrite, file, "");
                    }
                    at += 1;
                }
                test if NAMES.contains(&test) => {
                    let pattern = rest.get(at).map(|arg| plain(&arg.text)).unwrap_or_default();
                    at += 1;
                    let selects = pattern.chars().any(char::is_alphanumeric) && !std::mem::take(&mut selection.negated);
                    let dir =
                        pattern.strip_suffix("/*").filter(|_| test.ends_with("path") || test.ends_with("wholename"));
                    if let (true, Some(dir)) = (selects, dir) {
                        selection.below = Some(dir.to_owned());
                    } else if selects {
                        // Of a regular expression or a path, the last component tells most.
                        let name = pattern.trim_end_matches("/*").rsplit('/').next().unwrap_or_default();
                        selection.pattern = Some(name.replace('\\', "").replace(".*", "*"));
                    }
                }
                test if SELECTS.contains(&test) => {
                    at += 1;
                    selection.part = true;
                }
                test if TAKES_ONE.contains(&test) => {
                    if let ("-maxdepth", Some("0")) = (test, rest.get(at).map(|arg| arg.text.as_str())) {
                        selection.part = false;
                    }
                    at += 1;
                }
                _ => {}
            }
        }
        if acted {
            return printed;
        }
        self.budget.spend(span_of(args).len());
        Flow::Names(self.selected(&starts, &selection).into_iter().map(|arg| arg.text).collect())
    }

    /// What is selected, as paths.
    fn selected(&self, starts: &[Arg], selection: &Selection) -> Vec<Arg> {
        let marked = |text: &str| text.chars().map(|c| if c == '*' { STAR } else { c }).collect::<String>();
        if let (None, Some(dir), Some(start)) = (&selection.pattern, &selection.below, starts.first()) {
            return vec![start.with(format!("{}/{STAR}", marked(dir)))];
        }
        let path = |start: &Arg| {
            let dir = start.text.trim_end_matches('/');
            match &selection.pattern {
                Some(pattern) => start.with(format!("{dir}/{STAR}/{}", marked(pattern))),
                None if selection.part => start.with(format!("{dir}/{STAR}/{STAR}-some")),
                None => start.clone(),
            }
        };
        starts.iter().take(64).map(path).collect()
    }

    /// Runs `fd`, which runs a command on what it finds behind `-x` or `-X`.
    pub fn fd(&mut self, rest: &[Arg], stdin: &Flow) -> Flow {
        let Some(at) = rest.iter().position(|arg| matches!(arg.text.as_str(), "-x" | "-X" | "--exec" | "--exec-batch"))
        else {
            return Flow::Opaque;
        };
        let takes_value =
            |arg: &Arg| matches!(arg.text.as_str(), "-t" | "--type" | "-E" | "--exclude" | "-d" | "--max-depth");
        let value_of = |wanted: &[&str]| {
            let at = rest[..at].iter().position(|arg| wanted.contains(&arg.text.as_str()))?;
            rest.get(at + 1)
        };
        let extension = value_of(&["-e", "--extension"]);
        let pattern = (0..at).find_map(|n| {
            let is_value =
                n > 0 && (takes_value(&rest[n - 1]) || matches!(rest[n - 1].text.as_str(), "-e" | "--extension"));
            let arg = &rest[n];
            (!is_value && !arg.text.starts_with('-') && arg.text.chars().any(char::is_alphanumeric)).then_some(arg)
        });
        let target = match (pattern, extension) {
            (None, Some(extension)) => format!("{STAR}/{STAR}.{}", plain(&extension.text)),
            (Some(pattern), _) => {
                format!("{STAR}/{STAR}{}", plain(&pattern.text).trim_matches(['^', '$', '.', '*', '\\']))
            }
            (None, None) => STAR.to_string(),
        };
        let Some(first) = rest.get(at + 1) else { return Flow::Opaque };
        let given = first.with(target);
        let mut line: Vec<Arg> =
            rest[at + 1..].iter().map(|arg| if arg.text == "{}" { given.clone() } else { arg.clone() }).collect();
        if !line.contains(&given) {
            line.push(given);
        }
        self.within("fd --exec", |walker| walker.apart(|walker| walker.invoke(&line, stdin)))
    }
}
