//! Branch pairs by the hundred: a common ancestor and two sides, made of a seed, with everything that merges trip over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::repository::plain_git;

/// Small random numbers, the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    File { executable: bool, content: Vec<u8> },
    Link(String),
    Submodule(String),
}

pub type Tree = BTreeMap<String, Thing>;

/// A common ancestor and two sides.
pub struct Pair {
    pub trees: [Tree; 3],
    /// What was done, for whoever looks at a failure.
    pub story: String,
}

const FILES: &[&str] =
    &["README", "src/a.txt", "src/b.txt", "src/deep/c.txt", "src/deep/d.txt", "lib/e.txt", "lib/f.txt", "run.sh"];
const NEW: &[&str] = &["src/new.txt", "src/deep/new.txt", "lib/new.txt", "src/deep/more/x.txt", "docs/y.txt"];
const ATTRIBUTES: &[&str] = &["*.txt merge=union\n", "src/a.txt -merge\n", "*.txt binary\n", "run.sh -text\n"];

impl Pair {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let base = base(&mut random);
        let mut story = format!("seed {seed}");
        let mut sides = [base.clone(), base.clone()];
        for (number, side) in sides.iter_mut().enumerate() {
            for _ in 0..2 + random.below(5) {
                let done = change(&mut random, side);
                write!(story, "; {} {done}", ["ours", "theirs"][number]).unwrap();
            }
        }
        let [ours, theirs] = sides;
        Self { trees: [base, ours, theirs], story }
    }
}

fn base(random: &mut Random) -> Tree {
    let mut tree = Tree::new();
    for path in FILES {
        let end = if random.below(5) == 0 { "\r\n" } else { "\n" };
        let lines = 8 + random.below(30);
        let content = (0..lines).map(|line| format!("{path}: line {line} of it{end}")).collect::<String>();
        tree.insert((*path).into(), Thing::File { executable: *path == "run.sh", content: content.into_bytes() });
    }
    tree.insert("image.bin".into(), Thing::File { executable: false, content: b"\x89PNG\0\0\x01\x02".to_vec() });
    tree.insert("link".into(), Thing::Link("README".into()));
    tree.insert("vendor/sub".into(), Thing::Submodule("1".repeat(40)));
    if random.below(3) == 0 {
        let content = random.pick(ATTRIBUTES).as_bytes().to_vec();
        tree.insert(".gitattributes".into(), Thing::File { executable: false, content });
    }
    tree
}

/// One thing that a developer does.
fn change(random: &mut Random, tree: &mut Tree) -> String {
    let paths: Vec<String> = tree.keys().cloned().collect();
    let path = random.pick(&paths).clone();
    match random.below(16) {
        0..=4 => edit(random, tree, &path),
        5 => {
            tree.remove(&path);
            format!("deletes {path}")
        }
        6 | 7 => {
            let to = random.pick(&["moved.txt", "src/moved.txt", "other/moved.txt", "lib/e2.txt"]).to_string();
            let thing = tree.remove(&path).unwrap();
            put(tree, &to, thing);
            format!("renames {path} to {to}")
        }
        8 => {
            let from = random.pick(&["src/deep/", "src/", "lib/"]);
            let to = random.pick(&["library/", "src/core/", "top/"]);
            let moved: Vec<String> = tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
            for path in moved {
                let thing = tree.remove(&path).unwrap();
                put(tree, &format!("{to}{}", &path[from.len()..]), thing);
            }
            format!("renames {from} to {to}")
        }
        9 => {
            put(tree, &format!("{path}/inside.txt"), Thing::File { executable: false, content: b"inside\n".to_vec() });
            format!("makes {path} a directory")
        }
        10 => {
            let directory = random.pick(&["lib", "src/deep", "vendor", "docs"]);
            let content = format!("was {directory} {}\n", random.below(2)).into_bytes();
            put(tree, directory, Thing::File { executable: false, content });
            format!("makes {directory} a file")
        }
        11 => match tree.get_mut(&path) {
            Some(Thing::File { executable, .. }) => {
                *executable = !*executable;
                format!("changes the mode of {path}")
            }
            _ => edit(random, tree, &path),
        },
        12 => {
            let thing = Thing::Link(random.pick(&["README", "src/a.txt"]).to_string());
            put(tree, &path, thing);
            format!("makes {path} a link")
        }
        13 => {
            let commit = random.pick(&["2", "3"]).repeat(40);
            put(tree, "vendor/sub", Thing::Submodule(commit));
            "moves the submodule".into()
        }
        14 => match tree.get_mut(&path) {
            Some(Thing::File { content, .. }) => {
                let text = String::from_utf8_lossy(content).replace("\r\n", "\n").replace('\n', "\r\n");
                *content = text.into_bytes();
                format!("makes {path} CRLF")
            }
            _ => edit(random, tree, &path),
        },
        _ => {
            let path = random.pick(NEW).to_string();
            let content = format!("new\n{}\n", random.below(2)).into_bytes();
            put(tree, &path, Thing::File { executable: false, content });
            format!("adds {path}")
        }
    }
}

fn edit(random: &mut Random, tree: &mut Tree, path: &str) -> String {
    match tree.get_mut(path) {
        Some(Thing::File { content, .. }) if content.contains(&0) => {
            content.push(u8::try_from(random.below(3)).unwrap());
            format!("changes the binary file {path}")
        }
        Some(Thing::File { content, .. }) => {
            let text = String::from_utf8_lossy(content).into_owned();
            let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
            // Half of the time where the other side is likely to look, too.
            let at = if random.below(2) == 0 { 3 } else { random.below(lines.len().max(1)) }.min(lines.len());
            match random.below(4) {
                0 if at < lines.len() => drop(lines.remove(at)),
                1 => lines.insert(at, format!("put in {}\n", random.below(3))),
                _ if at < lines.len() => lines[at] = format!("changed {}\n", random.below(3)),
                _ => lines.push("at the end\n".into()),
            }
            *content = lines.concat().into_bytes();
            format!("edits {path} at {at}")
        }
        Some(Thing::Link(to)) => {
            *to = random.pick(&["lib/e.txt", "src"]).to_string();
            format!("points {path} elsewhere")
        }
        Some(Thing::Submodule(commit)) => {
            *commit = random.pick(&["2", "3"]).repeat(40);
            format!("moves the submodule {path}")
        }
        None => unreachable!("{path} was picked from the tree"),
    }
}

/// As a file system does: what is in the way goes.
fn put(tree: &mut Tree, path: &str, thing: Thing) {
    let below = format!("{path}/");
    tree.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
    tree.insert(path.to_owned(), thing);
}

/// Makes each pair's commits, as branches `NUMBER/base`, `NUMBER/ours` and `NUMBER/theirs`, in one process.
pub fn import(repository: &Path, pairs: impl Iterator<Item = (u64, Pair)>) -> BTreeMap<u64, String> {
    let mut git = plain_git(repository);
    git.args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut child = git.spawn().unwrap();
    let mut input = std::io::BufWriter::new(child.stdin.take().unwrap());
    let mut stories = BTreeMap::new();
    for (number, pair) in pairs {
        for (name, tree) in ["base", "ours", "theirs"].iter().zip(&pair.trees) {
            let branch = format!("refs/heads/{number}/{name}");
            write!(input, "commit {branch}\ncommitter T <t@localhost> {} +0000\ndata 1\nx\n", 1_000_000 + number)
                .unwrap();
            if *name != "base" {
                writeln!(input, "from refs/heads/{number}/base").unwrap();
            }
            writeln!(input, "deleteall").unwrap();
            for (path, thing) in tree {
                let (mode, content) = match thing {
                    Thing::File { executable: true, content } => ("100755", content.as_slice()),
                    Thing::File { executable: false, content } => ("100644", content.as_slice()),
                    Thing::Link(to) => ("120000", to.as_bytes()),
                    Thing::Submodule(commit) => {
                        writeln!(input, "M 160000 {commit} {path}").unwrap();
                        continue;
                    }
                };
                write!(input, "M {mode} inline {path}\ndata {}\n", content.len()).unwrap();
                input.write_all(content).unwrap();
                input.write_all(b"\n").unwrap();
            }
        }
        stories.insert(number, pair.story);
    }
    drop(input.into_inner().unwrap());
    assert!(child.wait().unwrap().success(), "fast-import failed");
    stories
}
