//! Encodings that commands hide in: escapes of `$'...'`, `printf` and `echo -e`, base64, hexadecimal, rotated letters.

/// How many bytes stand before the quote that ends `$'...'`.
pub fn ansi_c_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The text that `$'...'`, `echo -e` and `printf` make of their escapes.
pub fn ansi_c(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some(kind) = bytes.get(at) else {
            out.push(b'\\');
            break;
        };
        at += 1;
        match kind {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'e' | b'E' => out.push(27),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'x' => at += number(&bytes[at..], 16, 2, &mut out),
            b'u' => at += number(&bytes[at..], 16, 4, &mut out),
            b'U' => at += number(&bytes[at..], 16, 8, &mut out),
            b'0' => at += number(&bytes[at..], 8, 3, &mut out),
            b'1'..=b'7' => at += number(&bytes[at - 1..], 8, 3, &mut out) - 1,
            b'c' => at += 1,
            b'\\' | b'\'' | b'"' | b'?' => out.push(*kind),
            other => out.extend([b'\\', *other]),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads at most so many digits and adds the character they stand for; how many there were.
fn number(bytes: &[u8], radix: u32, most: usize, out: &mut Vec<u8>) -> usize {
    let digits = bytes.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count();
    let text = std::str::from_utf8(&bytes[..digits]).unwrap_or_default();
    if let Ok(code) = u32::from_str_radix(text, radix) {
        match (u8::try_from(code), char::from_u32(code)) {
            (Ok(byte), _) => out.push(byte),
            (_, Some(c)) => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => {}
        }
    }
    digits
}

/// Base64 in either alphabet, as far as it is that; blanks are passed.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' | b' ' | b'\n' | b'\r' | b'\t' => continue,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
            bits &= (1 << have) - 1;
        }
    }
    Some(out)
}

/// Base32.
pub fn base32(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![];
    let (mut bits, mut have) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            b'=' | b' ' | b'\n' => continue,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        have += 5;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
            bits &= (1 << have) - 1;
        }
    }
    Some(out)
}

/// The bytes of hexadecimal digits, whatever stands between them.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// UTF-16, as PowerShell wants its encoded commands.
pub fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    String::from_utf16_lossy(&units)
}

/// What `tr FROM TO` makes of a text.
pub fn translate(text: &str, from: &str, to: &str) -> String {
    let (from, to) = (set(from), set(to));
    let Some(last) = to.last().copied() else { return text.to_owned() };
    text.chars()
        .map(|c| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).copied().unwrap_or(last),
            None => c,
        })
        .collect()
}

/// The characters of a set such as `a-zA-Z`.
fn set(text: &str) -> Vec<char> {
    let text = match text {
        "[:upper:]" => "A-Z",
        "[:lower:]" => "a-z",
        text => text,
    };
    let chars: Vec<char> = ansi_c(text).chars().collect();
    let mut set = vec![];
    let mut at = 0;
    while let Some(first) = chars.get(at) {
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(last)) if first <= last && *last as u32 - (*first as u32) < 256 => {
                set.extend(*first..=*last);
                at += 3;
            }
            _ => {
                set.push(*first);
                at += 1;
            }
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_what_they_stand_for() {
        assert_eq!(ansi_c(r"\x72m\x20\055rf \057"), "rm -rf /");
        assert_eq!(ansi_c(r"\u0072\155 \q\"), r"rm \q\");
        assert_eq!(ansi_c(r"\0162m"), "rm");
        assert_eq!(ansi_c_end(br"a\'b' c"), 4);
    }

    #[test]
    fn encodings_are_undone() {
        assert_eq!(base64("cm0gLXJmIC8=").as_deref(), Some(b"rm -rf /".as_slice()));
        assert_eq!(base64("not base64!"), None);
        assert_eq!(base32("OJWSALLSMYQC6===").as_deref(), Some(b"rm -rf /".as_slice()));
        assert_eq!(hex("72 6d:20"), b"rm ");
        assert_eq!(utf16(b"r\0m\0"), "rm");
        assert_eq!(translate("ez -es /", "a-z", "n-za-m"), "rm -rf /");
    }
}
