//! Which files a command changes or shows, as far as that can be told before it runs: for those who must know beforehand
//! whose files they are.

use crate::call::Arg;
use crate::effect::Kind;
use crate::options::Options;
use crate::place::Base;
use crate::source::{ANY, BRACKET, STAR, is_mark, plain};
use crate::walk::Walker;

/// What is done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// This file is made, changed or removed. Is it a directory, nothing happens to the directory itself.
    Write,
    /// This file, or this directory with all that is in it, is changed or removed.
    Tree,
    /// This file is made or changed if the directory that it would be in is there.
    Into,
    /// This file is changed, if there is one: the word may mean something else.
    Named,
    /// The content is shown to whoever runs the command.
    Read,
}

/// A path that a command touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// Absolute, or from the directory that the command starts in. `*`, `?` and `[` are wildcards if it is a pattern.
    pub path: String,
    /// A shell would put the names of files in its place.
    pub is_pattern: bool,
    /// What is done with it.
    pub way: Way,
}

/// More than so many tell nothing new.
const MOST: usize = 256;

/// Programs that show files as they are, or so much of them that whoever looks knows what is in them.
const SHOWS: &[&str] = &[
    "cat", "bat", "batcat", "head", "tail", "sed", "gsed", "nl", "less", "more", "tac", "awk", "gawk", "grep", "rg",
    "egrep", "diff", "xxd", "od", "hexdump", "view",
];

impl Walker<'_> {
    /// What follows from an effect.
    pub(crate) fn touch_by(&mut self, kind: Kind, file: &str, detail: &str) {
        let way = match kind {
            Kind::Delete | Kind::DeleteTree | Kind::Shred | Kind::Move => Way::Tree,
            Kind::Overwrite | Kind::Append | Kind::Empty if detail != "sync" => Way::Write,
            _ => return,
        };
        self.touch(way, file);
    }

    /// Remembers that something happens to a file.
    pub(crate) fn touch(&mut self, way: Way, file: &str) {
        if file.is_empty() || self.touched.len() >= MOST {
            return;
        }
        let path = match self.around.full(&self.env.base, file) {
            Base::Start(path) | Base::Absolute(path) => path,
            Base::Unknown => return,
        };
        let is_wild = |c: char| matches!(c, STAR | ANY | BRACKET);
        if path.contains(|c: char| is_mark(c) && !is_wild(c)) {
            return;
        }
        let is_pattern = path.contains(is_wild);
        self.touched.push(Touch { path: plain(&path).to_string(), is_pattern, way });
    }

    /// What a program does to files that is no effect in the sense of the rules.
    pub(crate) fn touches(&mut self, program: &str, args: &[Arg]) {
        let rest = args.get(1..).unwrap_or_default();
        let options = Options::read(rest, self.rules.grammar(program));
        let operands: Vec<Arg> = options.operands.iter().map(|arg| (*arg).clone()).collect();
        match program {
            "git" => self.git_touches(&options, &operands),
            "patch" => operands.iter().take(1).for_each(|file| self.touch(Way::Write, &file.text)),
            "cp" | "gcp" | "mv" | "gmv" | "install" => {
                let Some((target, sources)) = operands.split_last() else { return };
                for source in sources {
                    let name = source.text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                    self.touch(Way::Into, &format!("{}/{name}", target.text.trim_end_matches('/')));
                }
            }
            "perl" | "ruby" => self.edits_in_place(rest),
            _ if SHOWS.contains(&program) => operands.iter().for_each(|file| self.touch(Way::Read, &file.text)),
            _ => {}
        }
    }

    /// `perl -pi -e CODE FILE ...`
    fn edits_in_place(&mut self, args: &[Arg]) {
        let (mut in_place, mut told, mut files) = (false, false, vec![]);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.plain().strip_prefix('-') {
                Some(letters) if !letters.is_empty() && !letters.starts_with('-') => {
                    in_place |= letters.contains('i');
                    if letters.ends_with(['e', 'E']) {
                        told = true;
                        args.next();
                    }
                }
                _ => files.push(arg),
            }
        }
        if in_place {
            files.iter().skip(usize::from(!told)).for_each(|file| self.touch(Way::Write, &file.text));
        }
    }

    fn git_touches(&mut self, options: &Options<'_>, operands: &[Arg]) {
        let Some((sub, rest)) = operands.split_first() else { return };
        let directory = options.values(&["-C"]).first().map(|arg| arg.text.clone());
        let named = |file: &Arg| match &directory {
            Some(directory) if !file.text.starts_with('/') => format!("{directory}/{}", file.text),
            _ => file.text.clone(),
        };
        let all =
            |walker: &mut Self, way: Way, files: &[Arg]| files.iter().for_each(|file| walker.touch(way, &named(file)));
        match sub.text.as_str() {
            "checkout" => match options.separator.map(|before| before.saturating_sub(1)) {
                Some(before) => all(self, Way::Tree, rest.get(before..).unwrap_or_default()),
                None => all(self, Way::Named, rest),
            },
            "restore" if !options.has(&["-S", "--staged"]) || options.has(&["-W", "--worktree"]) => {
                all(self, Way::Tree, rest)
            }
            "rm" if !options.has(&["--cached"]) => all(self, Way::Tree, rest),
            "mv" => all(self, Way::Tree, rest),
            _ => {}
        }
    }
}
