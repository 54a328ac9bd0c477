//! Texts that are given as files.

use std::io::Read;
use std::path::Path;

use crate::exit::Trouble;

/// What is in the file; of `-`, what comes in by standard input.
pub fn input(path: &Path) -> Result<String, Trouble> {
    if path == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        return read.map(|_| text).map_err(|why| Trouble::usage(format!("standard input cannot be read: {why}")));
    }
    std::fs::read_to_string(path).map_err(|why| Trouble::usage(format!("{} cannot be read: {why}", path.display())))
}
