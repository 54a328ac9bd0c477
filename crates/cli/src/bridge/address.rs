//! Which server the bridge asks: the one that is named first, if it may be contacted at all.

use outbound::is_loopback;
use serde_json::Value;

use super::{Env, Skip};

/// The address, without a slash at its end, that is named by argument, by `COORDINATION_API_URL`, or else the port on this
/// machine. No other is tried: it would not know the locks of the first.
pub fn find(http_url: Option<&str>, env: Env<'_>) -> Result<String, Skip> {
    let (url, host) = if let Some(url) = http_url.filter(|url| !url.is_empty()) {
        split(url.trim(), "--http-url")?
    } else if let Some(url) = env("COORDINATION_API_URL") {
        split(&url, "COORDINATION_API_URL")?
    } else {
        let port = env("AGENT_COORDINATOR_REST_PORT").unwrap_or_else(|| "3000".into());
        let number = port.parse::<u16>().ok().filter(|number| *number > 0 && !port.starts_with('+'));
        let number = number.ok_or_else(|| {
            let quoted = Value::from(port);
            Skip::new("bad_url", format!("AGENT_COORDINATOR_REST_PORT is {quoted}: must be a port from 1 to 65535"))
        })?;
        (format!("http://localhost:{number}"), "localhost".into())
    };
    if is_loopback(&host) {
        return Ok(url);
    }
    let allowed = env("COORDINATION_ALLOWED_HOSTS").unwrap_or_default().to_lowercase();
    if !allowed.split(',').any(|name| name.trim().trim_matches(['[', ']']) == host) {
        let message = format!("{host} is not contacted: it is not in COORDINATION_ALLOWED_HOSTS");
        return Err(Skip::new("host_not_allowed", message));
    }
    Ok(url)
}

/// The address without a slash at its end, and the host in it. Whatever could be read in two ways is refused.
fn split(url: &str, named_by: &str) -> Result<(String, String), Skip> {
    let host = host(url).ok_or_else(|| {
        let quoted = Value::from(url);
        Skip::new("bad_url", format!("{named_by} is {quoted}: must be an address such as https://coordinator.example"))
    })?;
    Ok((url.trim_end_matches('/').to_owned(), host))
}

fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !path.bytes().all(|b| b.is_ascii_graphic() && !b"?#@\\".contains(&b)) {
        return None;
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let allowed = |b: u8| match authority.starts_with('[') {
        true => b.is_ascii_hexdigit() || b".:".contains(&b),
        false => b.is_ascii_alphanumeric() || b"._-".contains(&b),
    };
    let is_port =
        |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (!host.is_empty() && host.bytes().all(allowed) && port_is_right).then(|| host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Result<String, String> {
        let env = |name: &str| (name == "COORDINATION_ALLOWED_HOSTS").then(|| "Team.example, [2001:db8::1]".to_owned());
        find(Some(url), &env).map_err(|skip| skip.reason)
    }

    #[test]
    fn only_this_machine_and_what_is_allowed_is_contacted() {
        for here in ["http://localhost", "HTTP://LOCALHOST:80/", "https://127.0.0.9:1", "http://[::1]:3000/base/"] {
            assert_eq!(found(here).as_deref(), Ok(here.trim_end_matches('/')), "{here}");
        }
        for allowed in ["https://team.example", "https://TEAM.example:8443/x", "http://[2001:DB8::1]"] {
            assert_eq!(found(allowed).as_deref(), Ok(allowed), "{allowed}");
        }
        for other in ["http://evil.example", "http://a.team.example", "http://localhost.evil.example", "http://127.1"] {
            assert_eq!(found(other), Err("host_not_allowed".into()), "{other}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_address() {
        for bad in [
            "localhost:3000",
            "ftp://localhost",
            "http://",
            "http:///x",
            "http://localhost@evil.example",
            "http://localhost:80@evil.example/",
            "http://localhost\\@evil.example",
            "http://localhost/@evil.example",
            "http://localhost?x",
            "http://localhost/#x",
            "http://localhost:70000",
            "http://localhost:+80",
            "http://localhost:8o",
            "http://local host",
            "http://[::1",
            "http://[::1]x",
            "http://l\u{f6}calhost",
            "http://%6cocalhost",
        ] {
            assert_eq!(found(bad), Err("bad_url".into()), "{bad}");
        }
    }

    #[test]
    fn the_first_name_decides() {
        let env = |url: &'static str, port: &'static str| {
            move |name: &str| match name {
                "COORDINATION_API_URL" => Some(url.to_owned()).filter(|url| !url.is_empty()),
                "AGENT_COORDINATOR_REST_PORT" => Some(port.to_owned()).filter(|port| !port.is_empty()),
                _ => None,
            }
        };
        let url = |argument, env: Env<'_>| find(argument, env).map_err(|skip| skip.message);
        let both = env("http://127.0.0.1:2/", "4");
        assert_eq!(url(Some("http://localhost:1/"), &both), Ok("http://localhost:1".into()));
        assert_eq!(url(None, &both), Ok("http://127.0.0.1:2".into()));
        assert_eq!(url(None, &env("", "4")), Ok("http://localhost:4".into()));
        assert_eq!(url(None, &env("", "")), Ok("http://localhost:3000".into()));
        for bad in ["0", "x", "65536", "+1"] {
            let said = url(None, &env("", bad)).unwrap_err();
            assert!(said.starts_with(&format!("AGENT_COORDINATOR_REST_PORT is {bad:?}")), "{said}");
        }
    }
}
