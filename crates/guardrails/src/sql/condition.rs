//! Does a `WHERE` leave anything out, or is it there for show?

use super::token::Token;

/// Columns that every row has a value in.
const KEYS: &[&str] = &["id", "uuid", "pk", "rowid", "_id", "ctid", "_rowid_", "oid"];
const MOST_NESTED: usize = 16;

/// Does the condition leave rows out?
pub fn restricts(tokens: &[Token]) -> bool {
    let end =
        tokens.iter().position(|token| matches!(token.word(), "returning" | "limit" | "order")).unwrap_or(tokens.len());
    let limited = tokens[end..].iter().any(|token| token.word() == "limit");
    limited || any_term(&tokens[..end], 0)
}

/// All alternatives must leave something out.
fn any_term(tokens: &[Token], nested: usize) -> bool {
    if nested > MOST_NESTED {
        return true;
    }
    !tokens.is_empty()
        && split(tokens, "or")
            .into_iter()
            .all(|part| split(part, "and").into_iter().any(|term| term_restricts(term, nested)))
}

/// The parts between a word that stands in no parentheses; the `and` of `BETWEEN a AND b` separates nothing.
fn split<'t>(tokens: &'t [Token], word: &str) -> Vec<&'t [Token]> {
    let mut parts = vec![];
    let (mut depth, mut start, mut between) = (0_i32, 0, false);
    for (n, token) in tokens.iter().enumerate() {
        match token.punctuation() {
            Some('(') => depth += 1,
            Some(')') => depth -= 1,
            // `||` is the other spelling of OR in MySQL.
            Some('|')
                if word == "or" && depth == 0 && n >= start && tokens.get(n + 1).is_some_and(|next| next.is("|")) =>
            {
                parts.push(&tokens[start..n]);
                start = n + 2;
            }
            _ if depth == 0 && token.word() == "between" => between = true,
            _ if depth == 0 && token.word() == word => {
                if word == "and" && std::mem::take(&mut between) {
                    continue;
                }
                parts.push(&tokens[start..n]);
                start = n + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

fn term_restricts(term: &[Token], nested: usize) -> bool {
    match term {
        [] => false,
        [not, inner @ ..] if not.word() == "not" => !is_never_true(inner),
        [open, inner @ .., close] if open.is("(") && close.is(")") && is_balanced(inner) => any_term(inner, nested + 1),
        _ => !is_always_true(term),
    }
}

/// Is it false of every row, whatever stands in it?
fn is_never_true(tokens: &[Token]) -> bool {
    match tokens {
        [open, inner @ .., close] if open.is("(") && close.is(")") && is_balanced(inner) => is_never_true(inner),
        _ => match literal(tokens) {
            Some(value) => value.is_falsy(),
            None => comparison(tokens).is_some_and(|(left, signs, right)| match (literal(left), literal(right)) {
                (Some(Literal::Number(a)), Some(Literal::Number(b))) => !compare(&signs, a.partial_cmp(&b)),
                (Some(Literal::Text(a)), Some(Literal::Text(b))) => !compare(&signs, Some(a.cmp(b))),
                _ => false,
            }),
        },
    }
}

/// Both sides of a comparison, and its sign.
fn comparison(term: &[Token]) -> Option<(&[Token], String, &[Token])> {
    let first = term.iter().position(|token| token.punctuation().is_some_and(|c| "=<>!".contains(c)))?;
    let signs: String = term[first..].iter().map_while(Token::punctuation).filter(|c| "=<>!".contains(*c)).collect();
    Some((&term[..first], signs.clone(), &term[(first + signs.len()).min(term.len())..]))
}

fn is_balanced(tokens: &[Token]) -> bool {
    let mut depth = 0_i32;
    tokens.iter().all(|token| {
        depth += i32::from(token.is("(")) - i32::from(token.is(")"));
        depth >= 0
    })
}

#[derive(PartialEq)]
enum Literal<'t> {
    Number(f64),
    Text(&'t str),
}

impl Literal<'_> {
    fn is_falsy(&self) -> bool {
        matches!(self, Self::Number(0.0) | Self::Text("false" | "0" | ""))
    }
}

fn literal(tokens: &[Token]) -> Option<Literal<'_>> {
    match tokens {
        [token] if matches!(token.word(), "true" | "false") => Some(Literal::Text(token.word())),
        [token] => token.number().map(Literal::Number).or_else(|| token.string().map(Literal::Text)),
        [minus, token] if minus.is("-") => token.number().map(|number| Literal::Number(-number)),
        _ => None,
    }
}

fn is_key(tokens: &[Token]) -> bool {
    matches!(tokens, [token] if token.is_name() && KEYS.contains(&token.text().rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str()))
}

fn is_always_true(term: &[Token]) -> bool {
    if let Some(value) = literal(term) {
        return !value.is_falsy();
    }
    let at = |word: &str| term.iter().position(|token| token.word() == word);
    if let Some(like) = at("like").or_else(|| at("ilike")).or_else(|| at("rlike")) {
        return matches!(&term[like + 1..], [pattern] if pattern.string().is_some_and(|text| text.chars().all(|c| matches!(c, '%' | '.' | '*'))));
    }
    if let Some(is) = at("is") {
        return matches!(&term[is + 1..], [not, null] if not.word() == "not" && null.word() == "null")
            && is_key(&term[..is]);
    }
    if let Some(list) = at("in") {
        let inside = term.get(list + 2..term.len().saturating_sub(1)).unwrap_or_default();
        let word = |word: &str| inside.iter().any(|token| token.word() == word);
        let all_of_a_table = word("select")
            && word("from")
            && !["where", "limit", "join", "having", "intersect", "except", "group"].iter().any(|w| word(w));
        let negated = list > 0 && term[list - 1].word() == "not";
        return !negated
            && (all_of_a_table
                || literal(&term[..list]).is_some_and(|value| {
                    inside.iter().any(|token| {
                        literal(std::slice::from_ref(token)) == Some(Literal::Number(0.0)) && value.is_falsy()
                            || literal(std::slice::from_ref(token)).as_ref() == Some(&value)
                    })
                }));
    }
    if let [exists, open, select, inner @ ..] = term
        && exists.word() == "exists"
        && open.is("(")
        && select.word() == "select"
    {
        return !inner.iter().any(|token| token.word() == "where");
    }
    let Some((left, signs, right)) = comparison(term) else { return false };
    let same = left.len() == right.len()
        && !left.is_empty()
        && left.iter().zip(right).all(|(a, b)| a.text() == b.text() && a.punctuation() == b.punctuation());
    match (literal(left), literal(right)) {
        (Some(Literal::Number(a)), Some(Literal::Number(b))) => compare(&signs, a.partial_cmp(&b)),
        (Some(Literal::Text(a)), Some(Literal::Text(b))) => compare(&signs, Some(a.cmp(b))),
        (None, Some(Literal::Number(bound))) if is_key(left) => match signs.as_str() {
            ">" => bound <= 0.0,
            ">=" => bound <= 1.0,
            "<>" | "!=" => bound <= 0.0,
            "<" | "<=" => bound >= 1e9,
            _ => false,
        },
        (None, Some(Literal::Text(""))) if is_key(left) => matches!(signs.as_str(), "<>" | "!=" | ">" | ">="),
        _ => same && matches!(signs.as_str(), "=" | "==" | "<=" | ">=" | "<=>"),
    }
}

fn compare(signs: &str, order: Option<std::cmp::Ordering>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match signs {
        "=" | "==" | "<=>" => order == Some(Equal),
        "<>" | "!=" => order != Some(Equal),
        "<" => order == Some(Less),
        "<=" => matches!(order, Some(Less | Equal)),
        ">" => order == Some(Greater),
        ">=" => matches!(order, Some(Greater | Equal)),
        _ => false,
    }
}
