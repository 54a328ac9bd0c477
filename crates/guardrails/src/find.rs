//! `find` and `fd`: what they select, and what they do with it.

use crate::call::{Arg, span_of};
use crate::effect::Kind;
use crate::flow::Flow;
use crate::options::Options;
use crate::source::{STAR, plain, starred};
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
        let is_narrowed = selection.pattern.is_some() || selection.part || selection.below.is_some();
        let path = |arg: Arg| if is_narrowed { arg.text } else { below(&arg.text, None) };
        Flow::Names(self.selected(&starts, &selection).into_iter().map(path).collect())
    }

    /// What is selected, as paths.
    fn selected(&self, starts: &[Arg], selection: &Selection) -> Vec<Arg> {
        if let (None, Some(dir), Some(start)) = (&selection.pattern, &selection.below, starts.first()) {
            return vec![start.with(format!("{}/{STAR}", starred(dir)))];
        }
        let path = |start: &Arg| {
            let dir = start.text.trim_end_matches('/');
            match &selection.pattern {
                Some(pattern) => start.with(format!("{dir}/{STAR}/{}", starred(pattern))),
                None if selection.part => start.with(format!("{dir}/{STAR}/{STAR}-some")),
                None => start.clone(),
            }
        };
        starts.iter().take(64).map(path).collect()
    }

    /// Runs `fd`, which lists what it finds, or runs a command on it behind `-x` or `-X`.
    pub fn fd(&mut self, rest: &[Arg], stdin: &Flow) -> Flow {
        let runs = rest.iter().position(|arg| matches!(arg.text.as_str(), "-x" | "-X" | "--exec" | "--exec-batch"));
        let options = Options::read(&rest[..runs.unwrap_or(rest.len())], self.rules.grammar("fd"));
        let extension = options.values(&["-e", "--extension"]).first().map(|arg| format!("*.{}", plain(&arg.text)));
        let pattern = options.operands.first().map(|arg| plain(&arg.text)).unwrap_or_default();
        let pattern = match extension {
            Some(extension) => Some(extension),
            None => name_pattern(&pattern),
        };
        let names: Vec<String> = match options.operands.get(1..).unwrap_or_default() {
            [] => vec![below("", pattern.as_deref())],
            dirs => dirs.iter().take(64).map(|dir| below(&dir.text, pattern.as_deref())).collect(),
        };
        let command = runs.and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        let Some(first) = command.first() else { return Flow::Names(names) };
        let given: Vec<Arg> = names.into_iter().map(|name| first.with(name)).collect();
        let mut line: Vec<Arg> = vec![];
        for arg in command {
            if arg.text == "{}" { line.extend(given.iter().cloned()) } else { line.push(arg.clone()) }
        }
        if !command.iter().any(|arg| arg.text == "{}") {
            line.extend(given);
        }
        self.within("fd --exec", |walker| walker.apart(|walker| walker.invoke(&line, stdin)))
    }

    /// The files that `grep -l` and `rg -l` name; nothing where they print what they find in them.
    pub fn files_with(&self, program: &str, rest: &[Arg]) -> Option<Vec<String>> {
        let options = Options::read(rest, self.rules.grammar(program));
        let lists = options.has(&["-l", "-L", "--files-with-matches", "--files-without-match", "--files"]);
        if !lists {
            return None;
        }
        let glob = options.values(&["-g", "--glob", "--include", "--iglob"]).into_iter();
        let kind = options.values(&["-t", "--type"]).into_iter().filter_map(|arg| {
            let extension = match arg.text.as_str() {
                "rust" => "rs",
                "python" => "py",
                "ruby" => "rb",
                "markdown" => "md",
                short if short.len() < 5 => short,
                _ => return None,
            };
            Some(format!("*.{extension}"))
        });
        let narrowed: Option<String> = glob
            .map(|arg| plain(&arg.text))
            .chain(kind)
            .find(|glob| !glob.starts_with('!') && glob.chars().any(char::is_alphanumeric))
            .map(|glob| glob.rsplit('/').next().unwrap_or_default().to_owned());
        // The pattern comes first, unless an option holds it.
        let told = options.has(&["-e", "--regexp", "-f", "--file", "--files"]);
        let dirs = options.operands.get(usize::from(!told)..).unwrap_or_default();
        let walks = program == "rg" || options.has(&["-r", "-R", "--recursive", "--dereference-recursive"]);
        Some(match dirs {
            [] => vec![below("", narrowed.as_deref())],
            dirs => dirs
                .iter()
                .take(64)
                // A name with a dot in it is that of one file.
                .map(|dir| {
                    let last = dir.text.rsplit('/').next().unwrap_or_default();
                    let is_file = last.trim_start_matches('.').contains('.');
                    if walks && !is_file { below(&dir.text, narrowed.as_deref()) } else { dir.text.clone() }
                })
                .collect(),
        })
    }
}

/// Everything below a directory, or what of it has a name of that pattern.
fn below(dir: &str, pattern: Option<&str>) -> String {
    let dir = dir.trim_end_matches('/');
    let slash = if dir.is_empty() { "" } else { "/" };
    match pattern {
        Some(pattern) => {
            format!("{dir}{slash}{STAR}/{}", starred(pattern))
        }
        None => format!("{dir}{slash}{STAR}"),
    }
}

/// The wildcard that a regular expression amounts to, by the last component of what it matches; nothing for one that
/// matches everything.
pub fn name_pattern(regex: &str) -> Option<String> {
    let last = regex.rsplit('/').next().unwrap_or_default();
    let tells = |text: &str| text.chars().any(|c| !matches!(c, '*' | '.' | '?' | '+' | '$' | '^'));
    let last = if tells(last) { last } else { regex };
    let name = last.replace(".*", "*").replace(['\\', '^', '(', ')', '/'], "");
    let ends = name.ends_with('$');
    let name = name.trim_end_matches('$').trim_matches('*');
    tells(name).then(|| if ends { format!("*{name}") } else { format!("*{name}*") })
}

/// Names of which a filter leaves those that match. What is narrowed already is not narrowed again.
pub fn filtered(names: &[String], pattern: &str) -> Vec<String> {
    match name_pattern(pattern) {
        Some(pattern) => names
            .iter()
            .map(|name| match name.strip_suffix(STAR) {
                Some(dir) if dir.is_empty() || dir.ends_with('/') => below(dir, Some(&pattern)),
                _ => name.clone(),
            })
            .collect(),
        None => names.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_becomes_a_wildcard() {
        assert_eq!(name_pattern(r"\.pyc$").as_deref(), Some("*.pyc"));
        assert_eq!(name_pattern("^src/.*\\.rs$").as_deref(), Some("*.rs"));
        assert_eq!(name_pattern("tmp").as_deref(), Some("*tmp*"));
        assert_eq!(name_pattern("target/").as_deref(), Some("*target*"));
        assert_eq!(name_pattern("~$").as_deref(), Some("*~"));
        assert_eq!(name_pattern("."), None);
        assert_eq!(name_pattern(""), None);
    }
}
