//! The lines that call us, between markers, and how they are put into a script and taken out of it to the byte.

const BEGIN: &str =
    "# >>> coordinator >>> keeps what other agents have locked; `coordinator git-hooks uninstall` removes it";
/// How any version's first line begins.
const BEGINS: &str = "# >>> coordinator >>>";
/// How our last line begins. What follows says what else of the file is ours.
const END: &str = "# <<< coordinator <<<";
/// The whole file is: there was none.
const MADE: &str = " made";
/// The line end above the block is: the first line had none.
const JOINED: &str = " joined";
const SHEBANG: &str = "#!/bin/sh\n";
/// What a script of ours does beside the block where a hook was set aside.
pub const CALLS_ASIDE: &str = "exec \"$0.before-coordinator\" \"$@\"\n";
/// Those that git says something to on standard input.
const WITH_INPUT: &[&str] = &["pre-push", "pre-receive"];
/// How the one line ended that earlier versions put in.
const LINE_MARK: &str = "# coordinator: git guard";

/// The lines but for the last.
#[derive(Debug)]
pub struct Block(String);

/// What calls us in this hook. Without the program there is no guard, and no obstacle.
pub fn text(program: &str, hook: &str) -> Block {
    let call = format!("{program} git-guard {hook} \"$@\"");
    // The first word is the program, quoted or not.
    let found = match program.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        Some((path, _)) => format!("'{path}'"),
        None => program.split(' ').next().unwrap_or_default().to_owned(),
    };
    let run = if WITH_INPUT.contains(&hook) {
        // Who comes after us reads the same input.
        format!(
            "    coordinator_input=$(cat)\n    printf '%s\\n' \"$coordinator_input\" | {call} || exit $?\n    \
             if [ -n \"$coordinator_input\" ]; then\n        exec <<COORDINATOR_INPUT\n$coordinator_input\n\
             COORDINATOR_INPUT\n    else\n        exec </dev/null\n    fi\n"
        )
    } else {
        format!("    {call} || exit $?\n")
    };
    Block(format!("{BEGIN}\nif command -v {found} >/dev/null 2>&1; then\n{run}fi\n"))
}

impl Block {
    /// A script of ours, which says who reads it where it must.
    pub fn alone(&self, says_who_reads: bool) -> Vec<u8> {
        let shebang = if says_who_reads { SHEBANG } else { "" };
        format!("{shebang}{}{END}{MADE}\n", self.0).into_bytes()
    }

    /// The script with the block behind the first line, if that says who reads it, or before everything; in the place of
    /// what an earlier version put there.
    pub fn put(&self, text: &[u8]) -> Vec<u8> {
        if let Some((begin, end, note)) = find(text) {
            let block = format!("{}{END}{note}\n", self.0);
            return [&text[..begin], block.as_bytes(), &text[end..]].concat();
        }
        let text = without_line(text);
        let at = match text.strip_prefix(b"#!") {
            Some(_) => text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1),
            None => 0,
        };
        let (head, rest) = text.split_at(at);
        let is_joined = !head.is_empty() && !head.ends_with(b"\n");
        let (gap, note) = if is_joined { ("\n", JOINED) } else { ("", "") };
        let block = format!("{gap}{}{END}{note}\n", self.0);
        [head, block.as_bytes(), rest].concat()
    }

    /// Is it in this script, as it is?
    pub fn is_in(&self, text: &[u8]) -> bool {
        text.windows(self.0.len()).any(|part| part == self.0.as_bytes())
    }
}

/// Where the block is, markers and the last line end included, and what its last line says of the rest.
fn find(text: &[u8]) -> Option<(usize, usize, &str)> {
    let position = |text: &[u8], what: &str| text.windows(what.len()).position(|part| part == what.as_bytes());
    let begin = position(text, BEGINS)?;
    let end = begin + position(&text[begin..], END)?;
    let line = text[end..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let after = end + line.len();
    let after = if text.get(after) == Some(&b'\n') { after + 1 } else { after };
    let note = std::str::from_utf8(&line[END.len()..]).ok().filter(|note| [MADE, JOINED].contains(note));
    Some((begin, after, note.unwrap_or_default()))
}

/// The script without the block; nothing where all of it was ours.
pub fn without(text: &[u8]) -> Option<Vec<u8>> {
    let Some((begin, end, note)) = find(text) else { return Some(without_line(text)) };
    let (mut head, rest) = (&text[..begin], &text[end..]);
    if note == MADE && (head.is_empty() || head == SHEBANG.as_bytes()) {
        if rest.is_empty() {
            return None;
        }
        if rest == CALLS_ASIDE.as_bytes() {
            return Some(rest.to_vec());
        }
    }
    // Where somebody has written something below it since, the line end above it is theirs.
    if note == JOINED && rest.is_empty() {
        head = head.strip_suffix(b"\n").unwrap_or(head);
    }
    Some([head, rest].concat())
}

/// The script without the one line that earlier versions put in.
pub fn without_line(text: &[u8]) -> Vec<u8> {
    let ours = |line: &&[u8]| line.trim_ascii_end().ends_with(LINE_MARK.as_bytes());
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| !ours(line)).collect::<Vec<_>>().concat()
}

/// Is it a script for a shell? One without a first line that says what it is for is.
pub fn is_shell(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = first.strip_prefix(b"#!") else { return std::str::from_utf8(text).is_ok() };
    let line = String::from_utf8_lossy(line).into_owned();
    let names = ["sh", "bash", "dash", "zsh", "ksh"];
    line.split_whitespace().take(3).any(|word| names.contains(&word.rsplit('/').next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_below_it_since_stays() {
        let block = text("coordinator", "pre-commit");
        let mut made = block.alone(true);
        made.extend(b"make lint\n");
        assert_eq!(without(&made).unwrap(), b"#!/bin/sh\nmake lint\n");
        let mut joined = block.put(b"#!/bin/bash");
        joined.extend(b"make lint\n");
        assert_eq!(without(&joined).unwrap(), b"#!/bin/bash\nmake lint\n");
    }

    #[test]
    fn the_line_of_an_earlier_version_gives_way() {
        let line = "coordinator git-guard pre-commit \"$@\" || exit $? # coordinator: git guard\n";
        let block = text("coordinator", "pre-commit");
        let with = block.put(format!("#!/bin/sh\n{line}make lint\n").as_bytes());
        assert!(!with.windows(LINE_MARK.len()).any(|part| part == LINE_MARK.as_bytes()));
        assert_eq!(without(&with).unwrap(), b"#!/bin/sh\nmake lint\n");
    }
}
