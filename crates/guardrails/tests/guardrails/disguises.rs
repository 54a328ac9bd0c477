//! Every danger of the corpus in every disguise, and every one as mere text.

use guardrails::{Decision, Guard, Request};

use crate::corpus::commands;

/// The text in single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letters = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let count = chunk.len() + 1;
        (0..4).map(move |n| if n < count { char::from(LETTERS[(bits >> (18 - 6 * n)) as usize & 63]) } else { '=' })
    };
    text.as_bytes().chunks(3).flat_map(letters).collect()
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

type Disguise = (&'static str, fn(&str) -> String);

/// Ways to run a command that leave it what it is.
const RUNNING: &[Disguise] = &[
    ("bash -c", |c| format!("bash -c {}", quoted(c))),
    ("sh -c in double quotes", |c| {
        let escaped = c.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
        format!("sh -c \"{escaped}\"")
    }),
    ("sudo env bash -c", |c| format!("sudo -E env A=1 bash -lc {}", quoted(c))),
    ("eval", |c| format!("eval {}", quoted(c))),
    ("nested", |c| format!("bash -c {}", quoted(&format!("sh -c {}", quoted(c))))),
    ("after another", |c| format!("cd . && true && {c}")),
    ("in a subshell", |c| format!("( {c}\n)")),
    ("in a group", |c| format!("{{ {c}\n}}")),
    ("in a branch", |c| format!("if true; then\n{c}\nfi")),
    ("in a function", |c| format!("f() {{\n{c}\n}}; f")),
    ("substituted", |c| format!("echo \"$({c}\n)\"")),
    ("a here document", |c| format!("bash <<'END_OF_IT'\n{c}\nEND_OF_IT")),
    ("a here string", |c| format!("bash <<< {}", quoted(c))),
    ("piped", |c| format!("printf '%s' {} | sh", quoted(c))),
    ("base64", |c| format!("echo {} | base64 -d | bash", base64(c))),
    ("base64 by eval", |c| format!("eval \"$(base64 --decode <<< {})\"", base64(c))),
    ("hex", |c| format!("echo {} | xxd -r -p | sh", hex(c))),
    ("escapes", |c| format!("eval $'{}'", escaped(c))),
    ("printf", |c| format!("printf '{}' | bash", escaped(c))),
    ("a variable", |c| format!("COMMAND={}; eval \"$COMMAND\"", quoted(c))),
    ("a script", |c| format!("cat > /tmp/x.sh <<'END_OF_IT'\n{c}\nEND_OF_IT\nbash /tmp/x.sh")),
    ("timeout", |c| format!("timeout -k 1 30 bash -c {}", quoted(c))),
    ("nohup", |c| format!("nohup nice -n 5 sh -c {} &", quoted(c))),
    ("find -exec", |c| {
        // `find` puts its own file in for any braces.
        let find = if c.contains("{}") { "" } else { "find . -maxdepth 0 -exec " };
        format!("{find}sh -c {} \\;", quoted(c))
    }),
    ("xargs", |c| format!("echo x | xargs -I@@@ sh -c {}", quoted(c))),
    ("python", |c| format!("python3 -c \"import os; os.system(bytes.fromhex('{}').decode())\"", hex(c))),
    ("node", |c| {
        format!("node -e \"require('child_process').execSync(Buffer.from('{}','base64').toString())\"", base64(c))
    }),
    ("process substitution", |c| format!("source <(printf '%s' {})", quoted(c))),
];

/// Ways to speak of a command without running it.
const SPEAKING: &[Disguise] = &[
    ("echo", |c| format!("echo {}", quoted(c))),
    ("a message", |c| format!("git commit -m {}", quoted(c))),
    ("a pattern", |c| format!("grep -rn {} docs", quoted(c))),
    ("a file", |c| format!("cat > notes.md <<'END_OF_IT'\n{c}\nEND_OF_IT")),
    ("a comment", |c| c.lines().map(|line| format!("true # {line}\n")).collect()),
    ("a variable", |c| format!("X={}; test -n \"$X\"", quoted(c))),
    ("printed by python", |c| format!("python3 -c 'print(bytes.fromhex(\"{}\"))'", hex(c))),
    ("decoded", |c| format!("echo {} | base64 -d", base64(c))),
    ("a pull request", |c| format!("gh pr create --title x --body {}", quoted(c))),
    ("a test", |c| format!("[ \"$1\" = {} ] && echo same", quoted(c))),
    ("an argument", |c| format!("cargo test -- {}", quoted(c))),
];

/// Is it read as a shell reads it, so that it means the same inside of another command?
fn is_shell(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    let windows = command.contains('\\') && (command.contains(":\\") || command.contains(".\\"));
    let sql = first.chars().all(|c| c.is_ascii_uppercase());
    let powershell = first.contains('-') && first.starts_with(char::is_uppercase);
    !(windows || sql || powershell || ["iwr", "gci", "ri", "rd", "powershell", "format", "Iex"].contains(&first))
}

fn is_safe(guard: &Guard, command: &str) -> bool {
    guard.check(&Request { command, ..Request::default() }).is_safe()
}

#[test]
fn a_disguised_danger_is_found() {
    let guard = Guard::builtin().unwrap();
    let all: Vec<String> =
        ["dangerous.txt", "dangerous-incidents.txt"].iter().flat_map(|name| commands(name)).collect();
    let mut missed = vec![];
    for command in all.iter().filter(|command| is_shell(command)) {
        for (name, disguise) in RUNNING {
            let command = disguise(command);
            if is_safe(&guard, &command) {
                missed.push(format!("{name}: {command}"));
            }
        }
    }
    assert!(missed.is_empty(), "{} missed: {:#?}", missed.len(), &missed[..missed.len().min(80)]);
}

#[test]
fn speaking_of_danger_is_harmless() {
    let guard = Guard::builtin().unwrap();
    let all: Vec<String> =
        ["dangerous.txt", "dangerous-incidents.txt"].iter().flat_map(|name| commands(name)).collect();
    let mut stopped = vec![];
    for command in &all {
        for (name, disguise) in SPEAKING {
            let spoken = disguise(command);
            if !is_safe(&guard, &spoken) {
                stopped.push(format!("{name}: {spoken}"));
            }
        }
    }
    assert!(stopped.is_empty(), "{} stopped: {:#?}", stopped.len(), &stopped[..stopped.len().min(60)]);
}

#[test]
fn a_disguised_harmless_command_stays_harmless() {
    let guard = Guard::builtin().unwrap();
    let all: Vec<String> = ["benign.txt", "benign-work.txt"].iter().flat_map(|name| commands(name)).collect();
    let mut stopped = vec![];
    // What is logged as it is may well be stopped when it is disguised.
    let allowed =
        |command: &&String| guard.check(&Request { command, ..Request::default() }).decision == Decision::Allow;
    for command in all.iter().filter(|command| is_shell(command)).filter(allowed) {
        for (name, disguise) in RUNNING {
            let command = disguise(command);
            if !is_safe(&guard, &command) {
                stopped.push(format!("{name}: {command}"));
            }
        }
    }
    assert!(stopped.is_empty(), "{} stopped: {:#?}", stopped.len(), &stopped[..stopped.len().min(60)]);
}
