//! What a shell puts in a word's place, as far as that can be told beforehand.

use std::rc::Rc;

use crate::call::Arg;
use crate::flow::{Flow, is_secret_name};
use crate::glob;
use crate::place::Base;
use crate::shell::{Assignment, Change, Extent, Parameter, Piece, Quoting, Word, braces};
use crate::source::{Origin, SECRET, SOME, UNKNOWN, has_unknown, plain};
use crate::walk::Walker;

/// Longer values are not trimmed: trying every end costs the square of their length.
const LONG: usize = 512;

/// A field being put together.
struct Field {
    text: String,
    /// Stays even when it is empty.
    quoted: bool,
    origin: Option<Origin>,
}

impl Field {
    fn new() -> Self {
        Self { text: String::new(), quoted: false, origin: None }
    }

    fn add(&mut self, text: &str, origin: Option<Origin>, span: &std::ops::Range<usize>) {
        self.origin = match (self.origin, origin) {
            _ if text.is_empty() && self.origin.is_some() => self.origin,
            (None, Some(origin)) if self.text.is_empty() => Some(origin),
            (Some(Origin::Verbatim { start }), Some(Origin::Verbatim { start: next }))
                if start + self.text.len() == next =>
            {
                self.origin
            }
            _ => Some(Origin::Made { start: span.start, end: span.end }),
        };
        self.text.push_str(text);
    }
}

impl Walker<'_> {
    /// The arguments that a word becomes.
    pub fn fields(&mut self, word: &Word) -> Vec<Arg> {
        // Most words are plain text.
        if let [Piece::Text(text, quoting, origin)] = word.pieces.as_slice()
            && (*quoting == Quoting::Quoted || !text.starts_with('~'))
        {
            return vec![Arg { text: text.clone(), origin: *origin }];
        }
        let budget = self.budget;
        braces(word, budget).iter().flat_map(|word| self.split(word, true)).collect()
    }

    /// The one argument that a word becomes where a shell splits nothing.
    pub fn single(&mut self, word: &Word) -> Arg {
        let origin = Origin::Made { start: word.span.start, end: word.span.end };
        self.split(word, false).pop().unwrap_or(Arg { text: String::new(), origin })
    }

    fn split(&mut self, word: &Word, splits: bool) -> Vec<Arg> {
        let mut fields = vec![Field::new()];
        let separators = self.get("IFS").map_or(" \t\n".to_owned(), |values| values.concat());
        for (number, piece) in word.pieces.iter().enumerate() {
            let (values, quoting) = match piece {
                Piece::Text(text, quoting, origin) => {
                    let tilde = number == 0 && *quoting == Quoting::Bare && text.starts_with('~');
                    let last = fields.len() - 1;
                    fields[last].quoted |= *quoting == Quoting::Quoted || !text.is_empty();
                    if tilde {
                        let text = self.tilde(text);
                        fields[last].add(&text, None, &word.span);
                    } else {
                        fields[last].add(text, Some(*origin), &word.span);
                    }
                    continue;
                }
                Piece::Open => (vec!["{".to_owned()], Quoting::Quoted),
                Piece::Comma => (vec![",".to_owned()], Quoting::Quoted),
                Piece::Close => (vec!["}".to_owned()], Quoting::Quoted),
                Piece::Parameter(parameter, quoting) => {
                    let values = self.parameter(parameter);
                    (
                        if *quoting == Quoting::Quoted && parameter.index.is_none() && parameter.name != "@" {
                            vec![values.join(" ")]
                        } else {
                            values
                        },
                        *quoting,
                    )
                }
                Piece::Command(script, quoting) => {
                    let flow = self.apart(|walker| walker.script(script, &Flow::Empty));
                    (vec![flow.substituted()], *quoting)
                }
                Piece::Arithmetic(pieces) => {
                    let inner = Word { pieces: pieces.clone(), span: word.span.clone() };
                    self.split(&inner, false);
                    (vec![SOME.to_string()], Quoting::Quoted)
                }
                Piece::Process(script) => {
                    let flow = self.apart(|walker| walker.script(script, &Flow::Empty));
                    let name = format!("/dev/fd/{}", 63_usize.saturating_sub(self.env.files.len()));
                    Rc::make_mut(&mut self.env.files).insert(name.clone(), flow);
                    (vec![name], Quoting::Quoted)
                }
            };
            if !self.budget.spend(values.iter().map(|value| value.len() + 1).sum()) {
                break;
            }
            for (n, value) in values.iter().enumerate() {
                let last = fields.len() - 1;
                if quoting == Quoting::Quoted || !splits {
                    if n > 0 && splits {
                        fields.push(Field::new());
                    } else if n > 0 {
                        fields[last].add(" ", None, &word.span);
                    }
                    let last = fields.len() - 1;
                    fields[last].quoted |= quoting == Quoting::Quoted;
                    fields[last].add(value, None, &word.span);
                    continue;
                }
                if n > 0 {
                    fields.push(Field::new());
                }
                for (m, part) in value.split(|c| separators.contains(c)).enumerate() {
                    if m > 0 {
                        fields.push(Field::new());
                    }
                    let last = fields.len() - 1;
                    let part: String = if quoting == Quoting::Bare { globs(part) } else { part.to_owned() };
                    fields[last].quoted |= !part.is_empty();
                    fields[last].add(&part, None, &word.span);
                }
            }
        }
        let span = Origin::Made { start: word.span.start, end: word.span.end };
        fields
            .into_iter()
            .filter(|field| field.quoted || !field.text.is_empty() || !splits)
            .map(|field| Arg { text: field.text, origin: field.origin.unwrap_or(span) })
            .collect()
    }

    fn tilde(&self, text: &str) -> String {
        let (user, rest) = text[1..].split_at(text[1..].find('/').unwrap_or(text.len() - 1));
        match user {
            "" => format!("{}{rest}", self.around.home),
            "+" => format!(".{rest}"),
            "-" => format!("{UNKNOWN}{rest}"),
            "root" => format!("/root{rest}"),
            user if user.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) => {
                format!("/home/{user}{rest}")
            }
            _ => text.to_owned(),
        }
    }

    /// The values of a variable, if they are known.
    pub fn get(&self, name: &str) -> Option<&Vec<String>> {
        self.env.variables.get(name)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, values: Vec<String>) {
        self.budget.spend(8 + values.len());
        Rc::make_mut(&mut self.env.variables).insert(name.to_owned(), values);
    }

    /// Does what an assignment says.
    pub fn assign(&mut self, assignment: &Assignment) {
        let mut values: Vec<String> = if assignment.array {
            assignment.values.iter().flat_map(|word| self.fields(word)).map(|arg| arg.text).collect()
        } else {
            vec![assignment.values.first().map(|word| self.single(word).text).unwrap_or_default()]
        };
        if assignment.append {
            let mut before = self.get(&assignment.name).cloned().unwrap_or_default();
            if assignment.array {
                before.extend(values);
                values = before;
            } else {
                values = vec![before.concat() + &values.concat()];
            }
        }
        if self.budget.spend(values.iter().map(String::len).sum()) {
            self.set(&assignment.name, values);
        }
    }

    /// What a parameter stands for.
    fn parameter(&mut self, parameter: &Parameter) -> Vec<String> {
        let name = parameter.name.as_str();
        let mut known = self.lookup(name);
        if let (Some(values), Some(index)) = (&known, &parameter.index) {
            match index.as_str() {
                "@" | "*" => {}
                index => {
                    known =
                        Some(vec![index.parse::<usize>().ok().and_then(|n| values.get(n)).cloned().unwrap_or_default()])
                }
            }
        } else if let (Some(values), None) = (&known, &parameter.index)
            && values.len() > 1
            && !matches!(name, "@" | "*")
        {
            known = Some(values.iter().take(1).cloned().collect());
        }
        let is_known = known.is_some();
        let values = known.unwrap_or_else(|| vec![guess(name)]);
        let text = values.concat();
        let one = |text: String| vec![text];
        match &parameter.change {
            Change::None => values,
            Change::Default(word) => {
                let default = self.single(word).text;
                if is_known && !text.is_empty() { values } else { one(default) }
            }
            Change::Assign(word) => {
                let default = self.single(word).text;
                if is_known && !text.is_empty() {
                    return values;
                }
                self.set(name, vec![default.clone()]);
                one(default)
            }
            Change::Alternative(word) => {
                let alternative = self.single(word).text;
                if is_known && text.is_empty() { vec![] } else { one(alternative) }
            }
            Change::Demand => one(if is_known { text } else { text.replace(UNKNOWN, &SOME.to_string()) }),
            Change::Length | Change::Other => one(SOME.to_string()),
            Change::Indirect => match self.lookup(&text) {
                Some(values) if is_known => values,
                _ => one(UNKNOWN.to_string()),
            },
            _ if !is_known || has_unknown(&text) => {
                // A part of something that is not known.
                one(if text.starts_with('/') || text.starts_with('.') { text } else { UNKNOWN.to_string() })
            }
            Change::TrimStart(word, extent) => {
                let pattern = plain(&self.single(word).text);
                if text.len() > LONG {
                    return one(UNKNOWN.to_string());
                }
                let mut ends =
                    (0..=text.len()).filter(|at| text.is_char_boundary(*at) && glob::matches(&pattern, &text[..*at]));
                let end = if *extent == Extent::Most { ends.next_back() } else { ends.next() };
                one(text[end.unwrap_or(0)..].to_owned())
            }
            Change::TrimEnd(word, extent) => {
                let pattern = plain(&self.single(word).text);
                if text.len() > LONG {
                    return one(UNKNOWN.to_string());
                }
                let mut starts = (0..=text.len())
                    .rev()
                    .filter(|at| text.is_char_boundary(*at) && glob::matches(&pattern, &text[*at..]));
                let start = if *extent == Extent::Most { starts.next_back() } else { starts.next() };
                one(text[..start.unwrap_or(text.len())].to_owned())
            }
            Change::Replace(what, with, extent) => {
                let what = plain(&self.single(what).text);
                let with = self.single(with).text;
                if what.is_empty() || !self.budget.spend(text.len() * (1 + with.len())) {
                    return one(text);
                }
                one(if *extent == Extent::Most { text.replace(&what, &with) } else { text.replacen(&what, &with, 1) })
            }
            Change::Slice(offset, length) => {
                let number = |walker: &mut Self, word: &Word| walker.single(word).text.trim().parse::<i64>().ok();
                let chars: Vec<char> = text.chars().collect();
                let Some(offset) = number(self, offset) else { return one(UNKNOWN.to_string()) };
                let size = chars.len() as i64;
                let start = if offset < 0 { (size + offset).max(0) } else { offset.min(size) };
                let end = match length.as_ref().map(|word| number(self, word)) {
                    None => size,
                    Some(None) => return one(UNKNOWN.to_string()),
                    Some(Some(length)) if length < 0 => (size + length).max(start),
                    Some(Some(length)) => start.saturating_add(length).min(size),
                };
                one(chars[start as usize..end as usize].iter().collect())
            }
            Change::Upper(extent) => one(first_or_all(&text, *extent, |c| c.to_ascii_uppercase())),
            Change::Lower(extent) => one(first_or_all(&text, *extent, |c| c.to_ascii_lowercase())),
        }
    }

    fn lookup(&self, name: &str) -> Option<Vec<String>> {
        let one = |text: String| Some(vec![text]);
        if let Some(values) = self.get(name) {
            return Some(values.clone());
        }
        match name {
            "HOME" => one(self.around.home.clone()),
            "PWD" => one(match &self.env.base {
                Base::Start(dir) if dir.is_empty() => ".".to_owned(),
                Base::Start(dir) | Base::Absolute(dir) => dir.clone(),
                Base::Unknown => UNKNOWN.to_string(),
            }),
            "IFS" => one(" \t\n".to_owned()),
            "@" | "*" => Some(self.env.positional.as_ref().map_or(vec![UNKNOWN.to_string()], |values| values.to_vec())),
            name if name.bytes().all(|b| b.is_ascii_digit()) => {
                let positional = self.env.positional.as_ref()?;
                let number: usize = name.parse().ok()?;
                one(number.checked_sub(1).and_then(|n| positional.get(n)).cloned().unwrap_or_default())
            }
            _ => None,
        }
    }
}

/// What is known of a variable of the environment by its name alone.
fn guess(name: &str) -> String {
    const TEMPORARY: &[&str] = &[
        "TMPDIR",
        "TEMP",
        "TMP",
        "RUNNER_TEMP",
        "TEMPDIR",
        "TMP_DIR",
        "TEMP_DIR",
        "tmpdir",
        "tmp_dir",
        "tempdir",
        "tmp",
        "temp",
    ];
    // Set by who runs the script to a directory of their own making.
    const OWN: &[&str] = &[
        "BUILD", "DIST", "CACHE", "OUT", "TARGET", "TMP", "TEMP", "WORK", "COVERAGE", "SCRATCH", "ARTIFACT", "STAGING",
    ];
    let upper = name.to_ascii_uppercase();
    if matches!(
        name,
        "#" | "?" | "$" | "!" | "-" | "0" | "RANDOM" | "SECONDS" | "UID" | "EUID" | "LINENO" | "PPID" | "BASHPID"
    ) {
        return SOME.to_string();
    }
    if TEMPORARY.contains(&name) {
        return format!("/tmp/{SOME}");
    }
    if is_secret_name(name) {
        return SECRET.to_string();
    }
    if OWN.iter().any(|word| upper.contains(word)) { SOME.to_string() } else { UNKNOWN.to_string() }
}

/// Wildcards in a value that is not in quotes are expanded like any others.
fn globs(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '*' => crate::source::STAR,
            '?' => crate::source::ANY,
            '[' => crate::source::BRACKET,
            c => c,
        })
        .collect()
}

fn first_or_all(text: &str, extent: Extent, change: impl Fn(char) -> char) -> String {
    let most = if extent == Extent::Most { usize::MAX } else { 1 };
    text.chars().enumerate().map(|(n, c)| if n < most { change(c) } else { c }).collect()
}
