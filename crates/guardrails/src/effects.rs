//! What the common programs do to files: which of their arguments they delete, overwrite, open, show or send.

use crate::call::Arg;
use crate::effect::{Kind, Place};
use crate::flow::{Flow, is_secret_name};
use crate::options::Options;
use crate::place::{Base, is_credential};
use crate::source::{PROCESSES, SECRET, plain};
use crate::walk::{TEMPLATE, Walker};

/// Programs that do nothing with a file's content but look at its outside, or use it for what it is there for.
const HARMLESS: &[&str] = &[
    "ls",
    "stat",
    "test",
    "[",
    "file",
    "wc",
    "touch",
    "echo",
    "printf",
    "ssh",
    "ssh-add",
    "ssh-keygen",
    "du",
    "mkdir",
    "basename",
    "dirname",
    "realpath",
    "readlink",
    "chmod",
    "chown",
    "chgrp",
    "find",
    "git",
    "docker",
    "docker-compose",
    "podman",
    "true",
    ":",
    "which",
    "export",
    "rm",
    "mv",
    "unlink",
    "shred",
    "rmdir",
    "ln",
    "cmp",
    "sha256sum",
    "md5sum",
    "sha1sum",
    "shasum",
    "gpg",
    "age",
    "sops",
    "ansible-vault",
    "openssl",
    "kubectl",
    "helm",
    "terraform",
    "tofu",
    "cd",
    "alias",
    "set",
    "node",
    "python",
    "python3",
    "cargo",
    "npm",
    "npx",
    "dotenv",
    "uvicorn",
    "certbot",
    "nginx",
    "psql",
    "mysql",
    "sqlite3",
    "make",
    "just",
    "code",
    "gh",
    "aws",
    "gcloud",
    "az",
    "history",
    "man",
    "type",
    "exit",
    "read",
    "return",
    "tee",
    "dd",
    "truncate",
    "fallocate",
    "chattr",
    "setfacl",
    "install",
    "mkcert",
    "keytool",
    "chronic",
    "local",
    "declare",
    "rspec",
    "direnv",
    "pytest",
    "jest",
    "vitest",
    "ruby",
    "go",
    "deno",
    "bun",
    "mvn",
    "gradle",
    "dotnet",
    "java",
    "tsx",
    "ts-node",
    "rails",
    "flask",
];

/// Programs that carry what they are given to another machine.
const SENDERS: &[&str] = &[
    "curl", "wget", "scp", "sftp", "rsync", "nc", "ncat", "netcat", "socat", "ftp", "http", "https", "mail",
    "sendmail", "mutt", "telnet", "rclone", "croc", "wormhole", "transfer", "xh",
];

impl Walker<'_> {
    /// Judges what a program does to what.
    pub fn effects(&mut self, program: &str, args: &[Arg], stdin: &Flow) {
        let rest = args.get(1..).unwrap_or_default();
        let grammar = self.rules.grammar(program);
        let options = Options::read(rest, grammar);
        if options.is_harmless(grammar) {
            return;
        }
        let operands: Vec<Arg> = options.operands.iter().map(|arg| (*arg).clone()).collect();
        match program {
            "rm" | "grm" | "srm" | "rimraf" | "del" | "erase" | "rd" | "rmdir" | "unlink" | "trash" | "trash-put"
            | "gio" | "del-cli" | "grmdir" | "wipe" => {
                self.deletes(program, &options, &operands);
            }
            "shred" => operands.iter().for_each(|file| self.effect_on(Kind::Shred, file, "")),
            "mv" | "gmv" | "rename" | "git-mv" => self.moves(&options, &operands),
            "cp" | "gcp" | "install" | "ln" | "gln" => self.copies(program, &options, &operands),
            "dd" => {
                for arg in &operands {
                    if let Some(at) = arg.text.strip_prefix("of=").map(|_| 3) {
                        let file = arg.from(at);
                        let from_nothing = operands.iter().any(|arg| {
                            matches!(
                                arg.text.as_str(),
                                "if=/dev/null" | "if=/dev/zero" | "if=/dev/urandom" | "if=/dev/random"
                            )
                        });
                        self.effect_on(if from_nothing { Kind::Empty } else { Kind::Overwrite }, &file, "");
                    } else if arg.text.starts_with("if=") {
                        let file = arg.from(3);
                        if is_credential(&file.text) {
                            self.effect_on(Kind::Read, &file, "");
                        }
                    }
                }
            }
            "tee" | "sponge" => {
                let kind = match options.has(&["-a", "--append"]) {
                    true => Kind::Append,
                    false if *stdin == Flow::Nothing => Kind::Empty,
                    false => Kind::Overwrite,
                };
                operands.iter().for_each(|file| self.effect_on(kind, file, ""));
            }
            "truncate" => {
                let size =
                    options.values(&["-s", "--size"]).first().map(|arg| arg.plain().into_owned()).unwrap_or_default();
                let shrinks = !size.starts_with('+') && !size.starts_with('>') && !size.starts_with('%');
                let operands: Vec<&Arg> = operands.iter().collect();
                if shrinks {
                    operands.iter().for_each(|file| {
                        self.effect_on(Kind::Empty, file, if size == "0" { "to-nothing" } else { "" })
                    });
                }
            }
            "chmod" => self.permits(&options, rest),
            "chown" | "chgrp" => {
                if options.has(&["-R", "--recursive"]) {
                    operands.iter().skip(1).for_each(|file| self.effect_on(Kind::OwnTree, file, "owner"));
                } else {
                    operands.iter().skip(1).for_each(|file| self.effect_on(Kind::OwnTree, file, "one"));
                }
            }
            "setfacl"
                if rest.iter().any(|arg| {
                    arg.text.contains("o::rw") || arg.text.contains("other:rw") || arg.text.contains("o:rw")
                }) =>
            {
                operands.iter().skip(1).for_each(|file| self.effect_on(Kind::Open, file, ""));
            }
            "rsync" => self.rsync(&options, &operands),
            "scp" | "sftp" | "rclone" => {}
            "sed" | "gsed" | "perl"
                if options.has(&["-i", "--in-place"]) || rest.iter().any(|arg| arg.text.starts_with("-i")) =>
            {
                // What is done is an operand, unless an option tells it.
                let told = options.has(&["-e", "-E", "--expression", "-f", "--file"]);
                // `sed -i d`: no line stays.
                let nothing_stays = operands.first().filter(|_| !told).is_some_and(|script| match program {
                    "perl" => script.text.is_empty(),
                    _ => matches!(script.text.trim(), "d" | "1,$d" | "/.*/d" | "/./d;/^$/d"),
                });
                let kind = if nothing_stays { Kind::Empty } else { Kind::Overwrite };
                let files = operands.iter().skip(usize::from(!told));
                files.for_each(|file| self.effect_on(kind, file, "edit"));
            }
            "curl" | "wget" => {
                let named: Vec<Arg> = options
                    .values(&["-o", "--output", "-O", "--output-document"])
                    .into_iter()
                    .filter(|file| file.text != "-" && !(program == "wget" && file.text.is_empty()))
                    .cloned()
                    .collect();
                for file in &named {
                    self.effect_on(Kind::Overwrite, file, "");
                    self.remember_download(file);
                }
                // Under the name that it has there.
                if named.is_empty() && (program == "wget" || options.has(&["-O", "--remote-name"])) {
                    for address in &operands {
                        let path = address.text.split(['?', '#']).next().unwrap_or_default();
                        if let Some((_, name)) = path.trim_end_matches('/').rsplit_once('/') {
                            self.remember_download(&address.with(name));
                        }
                    }
                }
            }
            "kill" => {
                for name in operands.iter().filter_map(|arg| arg.text.strip_prefix(PROCESSES)) {
                    // To kill what a list of names gives is to kill by name.
                    let line: Vec<Arg> = match name {
                        "" => vec![args[0].clone(), args[0].with("-9"), args[0].with("-1")],
                        name => vec![args[0].with("pkill"), args[0].with("-f"), args[0].with(name)],
                    };
                    self.judge(if name.is_empty() { "kill" } else { "pkill" }, &line);
                }
            }
            "printenv" => operands.iter().for_each(|name| self.shows(name)),
            "echo" | "printf" => {}
            _ => {}
        }
        self.reveals(program, &options, rest, stdin);
    }

    fn remember_download(&mut self, file: &Arg) {
        if let Base::Start(name) | Base::Absolute(name) = self.around.join(&self.env.base, &file.text) {
            self.remember(name, Flow::Network);
        }
    }

    fn deletes(&mut self, program: &str, options: &Options<'_>, operands: &[Arg]) {
        let tree = match program {
            "rimraf" | "del-cli" | "srm" | "wipe" => true,
            "trash" | "trash-put" => false,
            "del" | "erase" => options.has(&["/s"]),
            "rd" => true,
            "rmdir" => options.has(&["/s"]) || operands.iter().any(|arg| arg.text.eq_ignore_ascii_case("/s")),
            "gio" => operands.first().is_some_and(|arg| arg.text == "remove"),
            _ => options.has(&["-r", "-R", "--recursive"]),
        };
        let kind = match (program, tree) {
            ("srm" | "wipe", _) => Kind::Shred,
            (_, true) => Kind::DeleteTree,
            (_, false) => Kind::Delete,
        };
        // `rmdir` only takes away what is empty.
        if matches!(program, "rmdir" | "grmdir") && !tree {
            return;
        }
        let is_switch =
            |text: &str| matches!(program, "rmdir" | "rd" | "del") && text.len() == 2 && text.starts_with('/');
        for file in operands.iter().filter(|file| !is_switch(&file.text)) {
            self.effect_on(kind, file, if file.text.contains(crate::source::STAR) { "many" } else { "" });
        }
    }

    fn moves(&mut self, options: &Options<'_>, operands: &[Arg]) {
        let target = options.values(&["-t", "--target-directory"]).first().map(|arg| (*arg).clone());
        let (sources, target) = match (target, operands.split_last()) {
            (Some(target), _) => (operands, target),
            (None, Some((last, sources))) => (sources, last.clone()),
            (None, None) => return,
        };
        let to_nowhere = self.around.place(&self.env.base, &target.text) == Place::Null;
        for file in sources {
            self.effect_on(if to_nowhere { Kind::DeleteTree } else { Kind::Move }, file, "");
        }
        if sources.len() == 1 && !options.has(&["-n", "--no-clobber"]) {
            self.effect_on(Kind::Overwrite, &target, "move");
        }
    }

    fn copies(&mut self, program: &str, options: &Options<'_>, operands: &[Arg]) {
        let Some((target, sources)) = operands.split_last() else { return };
        let spares = options.has(&["-n", "--no-clobber", "-i", "--interactive"]);
        let replaces = !program.contains("ln") || options.has(&["-f", "--force"]);
        if sources.iter().any(|file| matches!(file.text.as_str(), "/dev/null" | "/dev/zero")) {
            self.effect_on(Kind::Empty, target, "");
        } else if replaces && !spares {
            let from_template = sources.iter().all(|file| {
                let name = plain(&file.text);
                ["example", "sample", "template", "dist", "default"].iter().any(|word| name.contains(word))
            });
            self.effect_on(Kind::Overwrite, target, if from_template { TEMPLATE } else { "copy" });
        }
        if program.contains("ln") && sources.iter().any(|file| is_credential(&file.text)) {
            // Another name for a secret.
            if let Base::Start(name) | Base::Absolute(name) = self.around.join(&self.env.base, &target.text) {
                self.remember(name, Flow::Secret);
            }
        }
        if program == "cp" {
            for file in sources.iter().filter(|file| is_credential(&file.text) && !is_credential(&target.text)) {
                self.effect_on(Kind::Read, file, "copy");
            }
        }
    }

    fn permits(&mut self, options: &Options<'_>, rest: &[Arg]) {
        let mut operands: Vec<Arg> = options.operands.iter().map(|arg| (*arg).clone()).collect();
        // `chmod -x file`, `chmod -rwx file`: a mode that looks like options.
        let taken = rest.iter().find(|arg| {
            let text = arg.plain();
            text.len() > 1
                && text.starts_with('-')
                && text[1..].chars().all(|c| "rwxXst,augo+=-".contains(c))
                && !text.starts_with("--")
        });
        if let Some(mode) = taken {
            operands.insert(0, mode.clone());
        }
        let Some((mode, files)) = operands.split_first() else { return };
        let mode = mode.plain();
        let tree = options.has(&["-R", "--recursive"]);
        let digits = mode.trim_start_matches('=');
        let kind = if digits.len() >= 3 && digits.chars().all(|c| ('0'..='7').contains(&c)) {
            let bytes = digits.as_bytes();
            let (others, special) =
                (bytes[bytes.len() - 1] - b'0', if bytes.len() > 3 { bytes[bytes.len() - 4] - b'0' } else { 0 });
            let nobody = digits.bytes().all(|b| b == b'0');
            match () {
                () if special & 6 != 0 => Some(Kind::Setuid),
                () if others & 2 != 0 => Some(Kind::Open),
                () if nobody => Some(Kind::Close),
                () => None,
            }
        } else {
            mode.split(',').find_map(|clause| {
                let at = clause.find(['+', '=', '-'])?;
                let (who, what) = clause.split_at(at);
                let gives = !what.starts_with('-');
                let everybody = who.is_empty() && what.starts_with('=') || who.contains(['a', 'o']);
                match () {
                    () if gives && what.contains('s') && !who.contains('o') => Some(Kind::Setuid),
                    () if gives && everybody && what.contains('w') => Some(Kind::Open),
                    () if !gives
                        && what.contains(['r', 'w'])
                        && (who.is_empty() || who.contains('a') || who.contains('u'))
                        && tree =>
                    {
                        Some(Kind::Close)
                    }
                    () => None,
                }
            })
        };
        for file in files {
            if let Some(kind) = kind {
                self.effect_on(kind, file, if tree { "tree" } else { "" });
            }
            if is_credential(&file.text) && digits.len() >= 3 && digits.ends_with(|c| ('1'..='7').contains(&c)) {
                self.effect_on(Kind::Open, file, "");
            }
            if tree {
                self.effect_on(Kind::OwnTree, file, "mode");
            }
        }
    }

    fn rsync(&mut self, options: &Options<'_>, operands: &[Arg]) {
        let Some((target, sources)) = operands.split_last() else { return };
        let deletes = options.given.iter().any(|given| given.name.starts_with("--del"));
        if deletes {
            if target.text.contains(':') {
                self.effect(Kind::DeleteTree, Place::Remote, target, "sync");
            } else {
                self.effect_on(Kind::DeleteTree, target, "sync");
            }
        }
        if options.has(&["--remove-source-files"]) {
            sources.iter().for_each(|file| self.effect_on(Kind::Move, file, ""));
        }
    }

    /// Credentials that are shown or sent.
    fn reveals(&mut self, program: &str, options: &Options<'_>, rest: &[Arg], stdin: &Flow) {
        let sends = SENDERS.contains(&program) || uploads(program, &options.operands);
        if sends {
            let keys = ["-i", "--key", "--cert", "--cacert", "-E", "--private-key", "-n", "--netrc-file"];
            let identities: Vec<String> = options.values(&keys).iter().map(|arg| arg.text.clone()).collect();
            let remote =
                rest.last().is_none_or(|arg| arg.text.contains(':')) || !matches!(program, "scp" | "rsync" | "sftp");
            // A token goes where it belongs in a header; in what is sent, it is given away.
            let headers = ["-H", "--header", "-u", "--user", "--oauth2-bearer", "-a", "--auth"];
            let kept: Vec<String> = options.values(&headers).iter().map(|arg| arg.text.clone()).collect();
            for arg in rest.iter().filter(|arg| {
                arg.text.contains(SECRET)
                    && !kept.contains(&arg.text)
                    && (!arg.text.contains("://") || arg.text.contains('?'))
            }) {
                self.effect(Kind::Send, Place::None, arg, "");
            }
            for arg in rest.iter().filter(|arg| !identities.contains(&arg.text)) {
                let text = arg.text.as_str();
                // `@file`, `name=@file`, `--upload-file=file`.
                let at = text.rfind('@').filter(|_| matches!(program, "curl" | "http" | "https" | "xh")).map_or_else(
                    || if text.starts_with('-') { text.find('=').map_or(text.len(), |at| at + 1) } else { 0 },
                    |at| at + 1,
                );
                let file = arg.from(at);
                let holds_secret = is_credential(&file.text) || self.file(&file.text).is_some_and(Flow::is_secret);
                if remote && holds_secret && !file.text.contains("://") && !file.text.contains(':') {
                    self.effect_on(Kind::Send, &file, "");
                }
            }
            if stdin.is_secret() {
                let origin = rest.first().map_or(crate::source::Origin::Made { start: 0, end: 0 }, |arg| arg.origin);
                self.effect(Kind::Send, Place::None, &Arg::made(".env", origin, 0), "");
            }
            return;
        }
        if program == "openssl" && rest.first().is_some_and(|sub| matches!(sub.text.as_str(), "base64" | "enc")) {
            rest.iter().filter(|arg| is_credential(&arg.text)).for_each(|file| self.effect_on(Kind::Read, file, ""));
        }
        if HARMLESS.contains(&program) {
            return;
        }
        let quiet = matches!(program, "grep" | "egrep" | "rg" | "fgrep")
            && options.has(&["-q", "--quiet", "--silent", "-l", "-c", "--count", "-L"]);
        // A pattern or a script comes first, unless an option holds it.
        let told = matches!(program, "grep" | "egrep" | "rg" | "fgrep" | "sed")
            && options.has(&["-e", "--regexp", "--expression"]);
        let skip = usize::from(
            !told && matches!(program, "grep" | "egrep" | "rg" | "fgrep" | "sed" | "awk" | "gawk" | "jq" | "yq"),
        );
        let in_place = matches!(program, "sed" | "gsed")
            && rest.iter().any(|arg| arg.text.starts_with("-i") || arg.text == "--in-place");
        if quiet || in_place {
            return;
        }
        if program == "cp" || program == "scp" {
            return;
        }
        for file in options.operands.iter().skip(skip) {
            if is_credential(&file.text) {
                let file = (*file).clone();
                self.effect_on(Kind::Read, &file, "");
            } else if self.file(&file.text) == Some(&Flow::Secret) {
                // A link to one.
                self.effect(Kind::Read, Place::None, &file.with(".env"), "");
            }
        }
    }

    /// A variable of the environment is shown.
    fn shows(&mut self, name: &Arg) {
        if is_secret_name(&name.text) {
            self.effect(Kind::Show, Place::None, name, "secret");
        }
    }
}

/// Does a service's own program take up what it is given: `gh secret set -f .env`, `aws s3 cp .env s3://b/`?
fn uploads(program: &str, operands: &[&Arg]) -> bool {
    let first = operands.first().map_or("", |arg| arg.text.as_str());
    let second = operands.get(1).map_or("", |arg| arg.text.as_str());
    match program {
        "gh" => matches!(first, "secret" | "variable" | "gist" | "release"),
        "glab" => matches!(first, "variable" | "snippet" | "release" | "securefile"),
        "aws" => matches!((first, second), ("s3", "cp" | "mv" | "sync") | ("s3api", "put-object")),
        "gsutil" => matches!(first, "cp" | "mv" | "rsync"),
        "gcloud" => matches!((first, second), ("storage", "cp" | "mv" | "rsync") | ("compute", "scp")),
        "az" => first == "storage",
        "wrangler" | "fly" | "flyctl" | "supabase" | "doppler" | "railway" => {
            first.starts_with("secret") || first.starts_with("variable")
        }
        "vercel" => first == "env",
        "netlify" => first.starts_with("env:"),
        _ => false,
    }
}
