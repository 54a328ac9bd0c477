//! Questions on standard input, a line each, answered line by line for as long as there are any.

use std::io::{self, BufRead, Write};

use serde_json::Value;

use crate::exit::Exit;

/// Answers each line that is not empty with a line. A line's text and number are given; what is no text in it is
/// replaced.
pub fn answer_each(answer: impl Fn(&str, usize) -> anyhow::Result<Value>) -> anyhow::Result<Exit> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut input = io::stdin().lock();
    let mut bytes = vec![];
    for number in 1.. {
        bytes.clear();
        if input.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes);
        if text.trim().is_empty() {
            continue;
        }
        writeln!(out, "{}", answer(&text, number)?)?;
        // Whoever asks line by line waits for this one.
        out.flush()?;
    }
    Ok(Exit::Done)
}
