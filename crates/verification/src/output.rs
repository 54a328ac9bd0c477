//! What a command prints: the beginning and the end are kept, however much there is between.

use std::collections::VecDeque;
use std::io::Read;

/// So much is kept of the beginning, and of the end.
const KEPT: usize = 32 * 1024;

/// What was printed.
#[derive(Debug, Default)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Output {
    /// Reads to the end, calling `over` once when there is more than the limit.
    pub fn read(mut pipe: impl Read, limit: u64, over: impl FnOnce()) -> Self {
        let (mut output, mut over) = (Self::default(), Some(over));
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => return output,
                Ok(read) => output.take(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // What was read before an error is all there is.
                Err(_) => return output,
            }
            if output.total > limit
                && let Some(over) = over.take()
            {
                over();
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (KEPT - self.head.len()).min(bytes.len());
        self.head.extend(&bytes[..room]);
        bytes = &bytes[room..];
        bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        self.tail.drain(..(self.tail.len() + bytes.len()).saturating_sub(KEPT));
        self.tail.extend(bytes);
    }

    /// As text, which says how much is missing.
    pub fn into_text(self) -> String {
        let missing = self.total - (self.head.len() + self.tail.len()) as u64;
        let mut bytes = self.head;
        if missing > 0 {
            bytes.extend(format!("\n[{missing} bytes are left out here]\n").bytes());
        }
        bytes.extend(self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_kept_as_it_is() {
        assert_eq!(Output::read(&b"one\ntwo\n"[..], 100, || ()).into_text(), "one\ntwo\n");
    }

    #[test]
    fn of_much_the_beginning_and_the_end_are_kept() {
        let (mut was_over, middle) = (false, vec![b'.'; 500_000]);
        let text = Output::read([&b"begin"[..], &middle, b"end"].concat().as_slice(), 1000, || was_over = true);
        let text = text.into_text();
        assert!(was_over);
        assert!(text.starts_with("begin.") && text.ends_with(".end") && text.len() < 2 * KEPT + 100);
        assert!(text.contains("[434472 bytes are left out here]"), "{}", &text[KEPT..KEPT + 60]);
    }
}
