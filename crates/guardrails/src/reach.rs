//! Which hosts a command would speak to, as far as that can be told before it runs: for those who must know beforehand
//! whether it may.

use crate::call::Arg;
use crate::options::Options;
use crate::walk::Walker;

/// More than so many tell nothing new.
const MOST: usize = 64;

/// Programs whose operands are addresses, also without a scheme.
const TAKE_ADDRESSES: &[&str] = &["curl", "wget", "http", "https", "xh", "xhs", "aria2c", "lynx", "w3m", "links"];
/// Programs whose first operand is a host, perhaps behind a user's name.
const TAKE_HOSTS: &[&str] =
    &["ssh", "mosh", "telnet", "ftp", "sftp", "nc", "ncat", "netcat", "ping", "ping6", "traceroute"];
/// Programs that copy between `host:path` and here.
const TAKE_PLACES: &[&str] = &["scp", "rsync"];
/// What `git` does with another repository.
const GIT: &[&str] = &["clone", "fetch", "pull", "push", "ls-remote", "submodule"];

impl Walker<'_> {
    /// The hosts that a program is told to speak to.
    pub(crate) fn reaches(&mut self, program: &str, args: &[Arg]) {
        let takes = |programs: &[&str]| programs.contains(&program);
        if !(program == "git" || takes(TAKE_ADDRESSES) || takes(TAKE_HOSTS) || takes(TAKE_PLACES)) {
            return;
        }
        let rest = args.get(1..).unwrap_or_default();
        let options = Options::read(rest, self.rules.grammar(program));
        let mut operands: Vec<Arg> = options.operands.iter().map(|arg| (*arg).clone()).collect();
        if program == "git" {
            let Some((sub, rest)) = operands.split_first().filter(|(sub, _)| GIT.contains(&sub.text.as_str())) else {
                return;
            };
            // `git submodule add URL`; else the repository comes first, and branches behind it.
            let repository = rest.get(usize::from(sub.text == "submodule"));
            repository.into_iter().for_each(|arg| self.reach_address_or_place(arg));
        } else if takes(TAKE_ADDRESSES) {
            operands.extend(options.values(&["--url"]).into_iter().cloned());
            for arg in &operands {
                // `http POST host name=value`: a method is no address, and neither is a field.
                let is_host = arg.text.contains(['.', ':', '/']) || arg.text == "localhost";
                if !self.reach_address(arg) && is_host && !arg.text.contains(['=', '@']) {
                    self.reach(arg, &arg.text);
                }
            }
        } else if takes(TAKE_HOSTS) {
            let Some(first) = operands.first() else { return };
            if !self.reach_address(first) {
                let host = first.text.rsplit('@').next().unwrap_or_default();
                self.reach(first, host.split_once(':').map_or(host, |(host, _)| host));
            }
        } else {
            operands.iter().for_each(|arg| self.reach_address_or_place(arg));
        }
    }

    /// An address with a scheme. Who logs in there is no part of where it is.
    fn reach_address(&mut self, arg: &Arg) -> bool {
        let Some((scheme, rest)) = arg.text.split_once("://") else { return false };
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-') {
            return false;
        }
        if scheme.eq_ignore_ascii_case("file") {
            return true;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = rest[..end].rsplit('@').next().unwrap_or_default();
        self.reach(arg, &format!("{scheme}://{host}"));
        true
    }

    /// An address, or `user@host:path`.
    fn reach_address_or_place(&mut self, arg: &Arg) {
        if self.reach_address(arg) {
            return;
        }
        let Some((host, _)) = arg.text.split_once(':') else { return };
        if !host.contains('/') && host.len() > 1 {
            self.reach(arg, host.rsplit('@').next().unwrap_or_default());
        }
    }

    fn reach(&mut self, arg: &Arg, address: &str) {
        // What is not known before it runs is for the proxy to decide.
        if !arg.is_unknown() && !address.is_empty() && self.hosts.len() < MOST {
            self.hosts.push(crate::source::plain(address).to_string());
        }
    }
}
