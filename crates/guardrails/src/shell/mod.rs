//! What a shell makes of a text: commands, and words that remember how they were quoted.
//!
//! Only what decides what runs is kept. The reader never fails: a text that a shell would refuse is read as far as it
//! makes sense, because an agent's shell may be another than we think.

mod brace;
mod parameter;
mod parser;
mod word;

use std::cell::OnceCell;
use std::ops::Range;
use std::rc::Rc;

pub use brace::braces;
pub use parser::parse;

use crate::source::Origin;

/// Steps one after the other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// In order.
    pub steps: Vec<Step>,
}

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When it runs.
    pub when: When,
    /// What runs.
    pub node: Node,
}

/// When a step runs, as its predecessor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `;`, a new line or `&`.
    Always,
    /// `&&`.
    Success,
    /// `||`.
    Failure,
}

/// What runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A command.
    Simple(Simple),
    /// Commands, each reading what the one before it prints.
    Pipe(Vec<Node>),
    /// `( ... )` or `{ ...; }`.
    Group {
        /// What is in it.
        body: Script,
        /// Does it have variables and a directory of its own?
        subshell: bool,
        /// Its redirections.
        redirects: Vec<Redirect>,
    },
    /// `if`, `while`, `until`, `case`: all of their parts.
    Branches {
        /// Conditions and bodies.
        parts: Vec<Script>,
        /// The words they look at.
        words: Vec<Word>,
        /// Its redirections.
        redirects: Vec<Redirect>,
    },
    /// `for` and `select`.
    For {
        /// The variable.
        name: String,
        /// Its values; the positional parameters when there is none.
        words: Option<Vec<Word>>,
        /// What runs for each.
        body: Script,
        /// Its redirections.
        redirects: Vec<Redirect>,
    },
    /// `name() ...`.
    Function {
        /// Its name.
        name: String,
        /// What a call runs.
        body: Rc<Node>,
    },
}

/// A command with its words and redirections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Simple {
    /// `NAME=value` before it.
    pub assignments: Vec<Assignment>,
    /// Its name and arguments.
    pub words: Vec<Word>,
    /// Its redirections.
    pub redirects: Vec<Redirect>,
    /// Where it stands in the input.
    pub span: Range<usize>,
}

/// `NAME=value`, `NAME+=value` or `NAME=(values)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Is the value added to what is there?
    pub append: bool,
    /// The values.
    pub values: Vec<Word>,
    /// Are they an array's?
    pub array: bool,
}

/// A redirection.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// Which way.
    pub way: Way,
    /// The file descriptor in front of it.
    pub descriptor: Option<u32>,
    /// From or to where.
    pub target: Target,
    /// Where it stands in the input.
    pub span: Range<usize>,
}

/// What a redirection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `<`.
    Read,
    /// `>`, `>|`, `&>`: empties the file first.
    Write,
    /// `>>`, `&>>`.
    Append,
    /// `<>`.
    Both,
    /// `>&1`, `<&-`: no file at all.
    Duplicate,
    /// `<<` and `<<<`.
    Text,
}

/// Where a redirection goes to or comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A file, a descriptor or, after `<<<`, the text.
    Word(Word),
    /// The text of a here document, which is read when its line ends.
    Here(Rc<OnceCell<Word>>),
}

/// A word, which may become no argument, one or several.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Word {
    /// Its pieces, from left to right.
    pub pieces: Vec<Piece>,
    /// Where it stands in the input.
    pub span: Range<usize>,
}

/// Something is in quotes, or is not: then it is split into fields and its wildcards are expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// In quotes, or escaped.
    Quoted,
    /// Bare.
    Bare,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Characters.
    Text(String, Quoting, Origin),
    /// `$NAME` and `${NAME...}`.
    Parameter(Box<Parameter>, Quoting),
    /// `$( ... )` and backquotes.
    Command(Script, Quoting),
    /// `$(( ... ))`: a number, and what its making runs.
    Arithmetic(Vec<Piece>),
    /// `<( ... )` and `>( ... )`.
    Process(Script),
    /// A bare `{`.
    Open,
    /// A bare `,` in braces.
    Comma,
    /// A bare `}`.
    Close,
}

/// `$NAME` or `${NAME...}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The variable, or one of `@*#?-$!0` and digits.
    pub name: String,
    /// What stands in brackets after the name: `@`, `*` or an index.
    pub index: Option<String>,
    /// What is done with its value.
    pub change: Change,
}

/// What `${NAME...}` does with a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// `:-` and `-`.
    Default(Word),
    /// `:=` and `=`.
    Assign(Word),
    /// `:+` and `+`.
    Alternative(Word),
    /// `:?` and `?`: it is not empty, or the shell stops.
    Demand,
    /// `${#NAME}`.
    Length,
    /// `${!NAME}`: the value of the variable that this one names.
    Indirect,
    /// `#`, `##`.
    TrimStart(Word, Extent),
    /// `%`, `%%`.
    TrimEnd(Word, Extent),
    /// `/`, `//`: what is replaced, with what, and how often.
    Replace(Word, Word, Extent),
    /// `:offset:length`.
    Slice(Word, Option<Word>),
    /// `^`, `^^`.
    Upper(Extent),
    /// `,`, `,,`.
    Lower(Extent),
    /// `@Q` and others.
    Other,
}

/// How far a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The shortest match, or the first.
    Least,
    /// The longest match, or all.
    Most,
}
