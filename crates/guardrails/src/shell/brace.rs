//! Brace expansion: `{a,b}` and `{1..3}` make several words of one, before anything else is expanded.

use std::borrow::Cow;

use super::{Piece, Quoting, Word};
use crate::budget::Budget;

/// More words than this are never made of one.
const MOST: usize = 1024;

/// The words that a word's braces make of it.
pub fn braces<'w>(word: &'w Word, budget: &Budget) -> Vec<Cow<'w, Word>> {
    if !word.pieces.contains(&Piece::Open) {
        return vec![Cow::Borrowed(word)];
    }
    let words = expand(&word.pieces, budget, 0);
    words.into_iter().map(|pieces| Cow::Owned(Word { pieces, span: word.span.clone() })).collect()
}

fn expand(pieces: &[Piece], budget: &Budget, depth: usize) -> Vec<Vec<Piece>> {
    let mut words: Vec<Vec<Piece>> = vec![vec![]];
    let mut at = 0;
    while let Some(piece) = pieces.get(at) {
        let group = if *piece == Piece::Open && depth < 8 { group(&pieces[at..]) } else { None };
        let (choices, len) = match group {
            Some((parts, len)) => (choices(&parts, budget, depth), len),
            None => (vec![vec![piece.clone()]], 1),
        };
        let made = words.len() * choices.len();
        if made > MOST || !budget.spend(made * (1 + words.first().map_or(0, Vec::len))) {
            budget.give_up();
            return words;
        }
        if let [only] = choices.as_slice() {
            words.iter_mut().for_each(|word| word.extend_from_slice(only));
        } else {
            words = words
                .iter()
                .flat_map(|word| choices.iter().map(|choice| [word.as_slice(), choice.as_slice()].concat()))
                .collect();
        }
        at += len;
    }
    words
}

/// The parts of the group that opens here and how many pieces it takes; nothing when it never closes.
fn group(pieces: &[Piece]) -> Option<(Vec<&[Piece]>, usize)> {
    let mut parts = vec![];
    let mut depth = 0_usize;
    let mut start = 1;
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Open => depth += 1,
            Piece::Comma if depth == 1 => {
                parts.push(&pieces[start..at]);
                start = at + 1;
            }
            Piece::Close => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&pieces[start..at]);
                    return Some((parts, at + 1));
                }
            }
            _ => {}
        }
    }
    None
}

fn choices(parts: &[&[Piece]], budget: &Budget, depth: usize) -> Vec<Vec<Piece>> {
    if let [only] = parts {
        if let Some(words) = sequence(only) {
            return words;
        }
        // `{}` and `{a}` are not braces of this kind.
        let inside = expand(only, budget, depth + 1);
        return inside.into_iter().map(|inner| [vec![Piece::Open], inner, vec![Piece::Close]].concat()).collect();
    }
    parts.iter().flat_map(|part| expand(part, budget, depth + 1)).collect()
}

/// The words of `{1..3}` or `{a..e}`.
fn sequence(inside: &[Piece]) -> Option<Vec<Vec<Piece>>> {
    let [Piece::Text(text, Quoting::Bare, origin)] = inside else { return None };
    let (first, rest) = text.split_once("..")?;
    let last = rest.split("..").next()?;
    let word = |text: String| vec![Piece::Text(text, Quoting::Bare, *origin)];
    if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
        let (low, high) = (first.min(last), first.max(last));
        return Some((low..=high).take(MOST / 16).map(|n| word(n.to_string())).collect());
    }
    let single = |text: &str| text.bytes().next().filter(|b| text.len() == 1 && b.is_ascii_alphabetic());
    let (first, last) = (single(first)?, single(last)?);
    Some((first.min(last)..=first.max(last)).map(|b| word(char::from(b).to_string())).collect())
}
