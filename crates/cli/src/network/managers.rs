//! Where each package manager gets packages from, as it is configured; where it is not, as it says itself.

use std::path::Path;

use serde_json::Value;

use super::learn::Said;
use super::machine::Machine;

type Ask = fn(&dyn Machine, &Path) -> Vec<Said>;

/// All of them.
pub const ALL: &[(&str, Ask)] = &[
    ("cargo", cargo),
    ("npm", npm),
    ("pnpm", pnpm),
    ("yarn", yarn),
    ("pip", pip),
    ("uv", uv),
    ("go", go),
    ("maven", maven),
    ("gem", gem),
    ("apt", apt),
];

/// Its configuration files from here upwards and in its home, variables; and for the registry that is built into it, what
/// it has kept of that registry's index.
fn cargo(machine: &dyn Machine, directory: &Path) -> Vec<Said> {
    let home = machine.directory("CARGO_HOME", ".cargo");
    let places = directory.ancestors().map(|above| above.join(".cargo")).chain([home.clone()]);
    let (mut said, mut is_replaced) = (vec![], false);
    let files = places.flat_map(|place| [place.join("config.toml"), place.join("config")]);
    for file in files {
        let Some(text) = machine.read(&file) else { continue };
        let place = file.display().to_string();
        let Ok(table) = text.parse::<toml::Table>() else {
            said.push(Said::Unknown(format!("{place} cannot be read")));
            continue;
        };
        let entries = |section: &str| table.get(section).and_then(toml::Value::as_table).into_iter().flatten();
        for (name, source) in entries("source") {
            is_replaced |= name == "crates-io" && source.get("replace-with").is_some();
            let address = ["registry", "git"].iter().find_map(|key| source.get(key)).and_then(toml::Value::as_str);
            said.extend(address.map(|address| Said::registry(address, &place)));
        }
        for (_, registry) in entries("registries") {
            let address = registry.get("index").and_then(toml::Value::as_str);
            said.extend(address.map(|address| Said::registry(address, &place)));
        }
    }
    for (name, value) in machine.variables() {
        if name.starts_with("CARGO_REGISTRIES_") && name.ends_with("_INDEX") {
            said.push(Said::registry(&value, name));
        }
    }
    if is_replaced || machine.ask("cargo", &["--version"]).is_none() {
        return said;
    }
    // `HOST-HASH`, and in it where the index says that the packages are.
    let kept = machine.list(&home.join("registry").join("index"));
    for index in &kept {
        let name = index.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let host = name.rsplit_once('-').map_or(name.as_str(), |(host, _)| host);
        let place = index.display().to_string();
        said.push(Said::registry(&format!("https://{host}/"), &place));
        let config =
            machine.read(&index.join("config.json")).and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if let Some(packages) = config.as_ref().and_then(|config| config["dl"].as_str()) {
            said.push(Said::registry(packages.split('{').next().unwrap_or_default(), place));
        }
    }
    if kept.is_empty() {
        said.push(Said::Unknown(
            "no other registry is configured, it cannot be asked for the one that is built into it, and it has not been used \
             here yet: run cargo fetch once, then ask again"
                .to_owned(),
        ));
    }
    said
}

fn npm(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let Some(told) = machine.ask("npm", &["config", "list", "--json"]) else { return vec![] };
    let Ok(Value::Object(settings)) = serde_json::from_str(&told) else {
        return vec![Said::Unknown("npm config list --json answered something else than JSON".to_owned())];
    };
    let is_registry = |name: &str| name == "registry" || name.ends_with(":registry");
    let registries = settings.iter().filter(|(name, _)| is_registry(name));
    registries
        .filter_map(|(name, value)| Some(Said::registry(value.as_str()?, format!("npm config: {name}"))))
        .collect()
}

fn pnpm(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    asked_for_one(machine, "pnpm", &["config", "get", "registry"])
}

/// Its versions from 2 on have the first of these settings, version 1 has the other.
fn yarn(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let later = asked_for_one(machine, "yarn", &["config", "get", "npmRegistryServer"]);
    if later.is_empty() { asked_for_one(machine, "yarn", &["config", "get", "registry"]) } else { later }
}

/// A setting that is an address.
fn asked_for_one(machine: &dyn Machine, program: &str, arguments: &[&str]) -> Vec<Said> {
    let told = machine.ask(program, arguments).unwrap_or_default();
    let address = told.split_whitespace().find(|word| word.contains("://"));
    address.map(|address| Said::registry(address, format!("{program} {}", arguments.join(" ")))).into_iter().collect()
}

fn pip(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let program = if machine.ask("pip", &["config", "list"]).is_some() { "pip" } else { "pip3" };
    let Some(told) = machine.ask(program, &["config", "list"]) else { return vec![] };
    let mut said = vec![];
    let mut has_index = false;
    for line in told.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let key = name.rsplit('.').next().unwrap_or_default();
        if ["index-url", "extra-index-url", "find-links"].contains(&key) && !name.starts_with(":env:") {
            has_index |= key == "index-url";
            said.extend(addresses(value.trim_matches(['\'', '"']), &format!("{program} config: {name}")));
        }
    }
    for variable in ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"] {
        if let Some(value) = machine.variable(variable) {
            has_index |= variable == "PIP_INDEX_URL";
            said.extend(addresses(&value, variable));
        }
    }
    if !has_index {
        // Its help tells the default of each option.
        let help = machine.ask(program, &["install", "--help"]).unwrap_or_default();
        let words: Vec<&str> = help.split_whitespace().collect();
        let default = words
            .windows(2)
            .filter(|pair| pair[0] == "(default")
            .find_map(|pair| pair[1].contains("://").then(|| pair[1].trim_end_matches(['.', ')', ','])));
        match default {
            Some(address) => said.push(Said::registry(address, format!("{program} install --help"))),
            None => said.push(Said::Unknown("no index is configured, and it does not tell its default".to_owned())),
        }
    }
    said.push(Said::Unknown(
        "an index may keep its files on another host, and only it can tell which: allow that one when it is refused"
            .to_owned(),
    ));
    said
}

fn uv(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let variables = ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"];
    variables
        .into_iter()
        .filter_map(|name| Some((name, machine.variable(name)?)))
        .flat_map(|(name, value)| addresses(&value, name))
        .collect()
}

/// The addresses in a list of them; an index of uv may have a name and `=` before it.
fn addresses(list: &str, place: &str) -> Vec<Said> {
    let words = list.split([' ', '\n', ',']).filter(|word| word.contains("://"));
    let bare = words.map(|word| match word.split_once('=') {
        Some((name, address)) if !name.contains(':') => address,
        _ => word,
    });
    bare.map(|address| Said::registry(address, place)).collect()
}

fn go(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let Some(told) = machine.ask("go", &["env", "GOPROXY", "GOSUMDB"]) else { return vec![] };
    let mut lines = told.lines();
    let (proxies, sums) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut said = vec![];
    for proxy in proxies.split([',', '|']).map(str::trim) {
        match proxy {
            "" | "off" => {}
            "direct" => said.push(Said::Unknown(
                "GOPROXY has \"direct\": modules that the proxies lack come from wherever their source is".to_owned(),
            )),
            address => said.push(Said::registry(address, "go env GOPROXY")),
        }
    }
    // A name or a name and a key, and perhaps an address to ask in its place.
    match sums.split_whitespace().last() {
        None | Some("off") => {}
        Some(address) => {
            said.push(Said::registry(address.split('+').next().unwrap_or_default(), "go env GOSUMDB"));
        }
    }
    said
}

fn maven(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let file = machine.directory("MAVEN_USER_HOME", ".m2").join("settings.xml");
    let settings = machine.read(&file).unwrap_or_default();
    let mut said: Vec<Said> = settings
        .split("<url>")
        .skip(1)
        .filter_map(|rest| rest.split("</url>").next())
        .map(|address| Said::registry(address, file.display().to_string()))
        .collect();
    if said.is_empty() && machine.ask("mvn", &["--version"]).is_some() {
        said.push(Said::Unknown(
            "its settings.xml names no repository, and without a network it does not tell the one that is built into it"
                .to_owned(),
        ));
    }
    said
}

fn gem(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let told = machine.ask("gem", &["sources", "--list"]).unwrap_or_default();
    let sources = told.lines().map(str::trim).filter(|line| line.contains("://"));
    sources.map(|address| Said::registry(address, "gem sources")).collect()
}

/// The one-line files and the newer ones with fields.
fn apt(machine: &dyn Machine, _: &Path) -> Vec<Said> {
    let apt = Path::new("/etc/apt");
    let files = [apt.join("sources.list")].into_iter().chain(machine.list(&apt.join("sources.list.d")));
    let mut said = vec![];
    for file in files {
        let is_newer = match file.extension().and_then(|ending| ending.to_str()) {
            Some("sources") => true,
            Some("list") => false,
            // As apt does.
            _ => continue,
        };
        let text = machine.read(&file).unwrap_or_default();
        for line in text.lines().map(str::trim) {
            let is_source = if is_newer { line.starts_with("URIs:") } else { line.starts_with("deb") };
            if is_source {
                let addresses = line.split_whitespace().filter(|word| word.contains("://"));
                said.extend(addresses.map(|address| Said::registry(address, file.display().to_string())));
            }
        }
    }
    said
}
