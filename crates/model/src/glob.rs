//! When two globs can name the same thing.
//!
//! A glob is a sequence of components. Within one, `*` stands for any run of characters and `?` for one; the component
//! `**` stands for any number of components, none included. Nothing else is special: `[`, `{` and `(` are ordinary
//! characters, because file names such as `app/[id]/page.tsx` are ordinary.

/// Stands for any number of components.
pub const ANY_DEPTH: &str = "**";

/// Does the component hold a wildcard?
pub fn is_wild(component: &str) -> bool {
    component.contains(['*', '?'])
}

/// Is there a sequence of components that both `a` and `b` match?
///
/// Work is bounded by the product of the two lengths in characters.
pub fn intersect(a: &[&str], b: &[&str]) -> bool {
    meet(a, b, |component| *component == ANY_DEPTH, |x, y| components_meet(x, y))
}

/// Is there a component that both match?
fn components_meet(a: &str, b: &str) -> bool {
    if !is_wild(a) && !is_wild(b) {
        return a == b;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    meet(&a, &b, |c| *c == '*', |x, y| x == y || *x == '?' || *y == '?')
}

/// Is there a sequence that both patterns match, where an item that is `any_run` stands for any number of items, and two
/// others for a common one when they `match_one`?
///
/// From the ends backwards: `reach[j]` tells whether the rest of `a` meets `b[j..]`.
fn meet<T>(a: &[T], b: &[T], any_run: impl Fn(&T) -> bool, match_one: impl Fn(&T, &T) -> bool) -> bool {
    let mut reach = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let below = std::mem::replace(&mut reach, vec![false; b.len() + 1]);
        for j in (0..=b.len()).rev() {
            reach[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(x), _) if any_run(x) => below[j] || (j < b.len() && reach[j + 1]),
                (_, Some(y)) if any_run(y) => reach[j + 1] || (i < a.len() && below[j]),
                (Some(x), Some(y)) => below[j + 1] && match_one(x, y),
                _ => false,
            };
        }
    }
    reach[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs_meet(a: &str, b: &str) -> bool {
        let split = |s: &'static str| s.split('/').filter(|c| !c.is_empty()).collect::<Vec<_>>();
        intersect(&split(String::leak(a.into())), &split(String::leak(b.into())))
    }

    #[test]
    fn globs_meet_when_one_path_matches_both() {
        for (a, b, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("*", "anything", true),
            ("a*c", "*bc", true),
            ("a*c", "b*", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/b/y", false),
            ("a/**", "**/z", true),
            ("a/**/b", "a/b", true),
            ("*.py", "a/b.py", false),
            ("**/*.py", "**/*.rs", false),
            ("**/*.p?", "**/*y", true),
            ("app/[id]/page", "app/i/page", false),
        ] {
            assert_eq!(globs_meet(a, b), expected, "{a} and {b}");
            assert_eq!(globs_meet(b, a), expected, "{b} and {a}");
        }
    }

    #[test]
    fn hostile_globs_cost_no_more_than_the_product_of_their_lengths() {
        let a = "*a".repeat(250);
        let b = "a*".repeat(2000);
        assert!(components_meet(&a, &b));
        assert!(!components_meet(&format!("{a}x"), &format!("{b}y")));
    }
}
