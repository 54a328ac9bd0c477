//! Turns `packs/*.toml` into what the program carries: one JSON document without the examples, which take most of the room
//! and are tested from the sources. A process that judges one command reads it in a fraction of the time.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=packs");
    let mut files = fs::read_dir("packs")?.map(|file| Ok(file?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    // The order in which rules are told.
    files.sort();
    let mut packs = files.iter().map(|file| pack(file)).collect::<Result<Vec<_>, _>>()?;
    for rule in packs.iter_mut().filter_map(|pack| pack.get_mut("rule")?.as_array_mut()).flatten() {
        for examples in ["match", "not-match"] {
            rule.as_table_mut().and_then(|rule| rule.remove(examples));
        }
    }
    let names: Vec<&str> = packs.iter().filter_map(|pack| pack.get("name")?.as_str()).collect();
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("names.rs"), format!("&{names:?}"))?;
    fs::write(Path::new(&out).join("packs.json"), serde_json::to_string(&packs)?)?;
    Ok(())
}

fn pack(file: &Path) -> Result<toml::Table, Box<dyn Error>> {
    toml::from_str(&fs::read_to_string(file)?).map_err(|error| format!("{}: {error}", file.display()).into())
}
