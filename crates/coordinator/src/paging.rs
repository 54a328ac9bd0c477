//! Long lists, page by page, newest first: the store is asked for one row more than is shown, which tells whether there is
//! another page.

use crate::failure::Failure;

/// How many rows are shown when nobody says.
const USUAL: u32 = 20;

/// The page that a request asks for.
pub(crate) struct Page {
    shown: u32,
    /// The position of the last row of the page before.
    pub before: Option<i64>,
}

impl Page {
    /// By a request's own fields.
    pub fn asked(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, Failure> {
        let position = |text: &str| {
            text.parse::<i64>().map_err(|_| Failure::field("cursor", "must be the next_cursor of an answer"))
        };
        Ok(Self { shown: limit.unwrap_or(USUAL), before: cursor.map(position).transpose()? })
    }

    /// What to ask the store for at the most.
    pub fn limit(&self) -> u32 {
        self.shown + 1
    }

    /// The rows to show of those that the store found, and the cursor of the next page, if there is one.
    pub fn of<Row>(&self, mut found: Vec<Row>, position: impl Fn(&Row) -> i64) -> (Vec<Row>, Option<String>) {
        let more = found.len() > self.shown as usize;
        found.truncate(self.shown as usize);
        let next_cursor = found.last().filter(|_| more).map(|row| position(row).to_string());
        (found, next_cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_too_many_is_not_shown_and_tells_of_the_next_page() {
        let page = Page { shown: 2, before: None };
        let of = |found: &[i64]| page.of(found.to_vec(), |row| *row);
        assert_eq!(page.limit(), 3);
        assert_eq!(of(&[]), (vec![], None));
        assert_eq!(of(&[9, 7]), (vec![9, 7], None));
        assert_eq!(of(&[9, 7, 4]), (vec![9, 7], Some("7".to_owned())));
    }

    #[test]
    fn a_cursor_is_what_an_answer_gave() {
        let before = |cursor| Page::asked(None, cursor).map(|page| page.before).ok();
        assert_eq!(before(None), Some(None));
        assert_eq!(before(Some("7")), Some(Some(7)));
        assert_eq!(before(Some("seven")), None);
    }
}
