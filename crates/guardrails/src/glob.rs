//! Matching a text against a pattern in which `*` stands for any run of characters and `?` for one;
//! a backslash takes that meaning from the next character.

/// Does the pattern match the whole text? At most the product of the two lengths in steps.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a run of characters turns out to be longer.
    let mut longer: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                longer = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(b'\\') if pattern.get(p + 1) == Some(&text[t]) => (p, t) = (p + 2, t + 1),
            Some(byte) if *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match longer {
                Some((star, from)) => {
                    longer = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Does one of the patterns, separated by `|`, match?
pub fn matches_any(patterns: &str, text: &str) -> bool {
    patterns.split('|').any(|pattern| matches(pattern, text))
}

/// The patterns of these lists, each separated by `|`: for those that are asked again and again.
pub fn alternatives(lists: &[&'static str]) -> Vec<&'static str> {
    lists.iter().flat_map(|list| list.split('|')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?", "a", true),
            ("?", "", false),
            ("*.env*", "x.env.local", true),
            ("+*", "+main", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(matches_any("a|b*", "bc") && !matches_any("a|b*", "ca"));
    }
}
