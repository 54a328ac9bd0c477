//! What is wrong with a policy, and where.

use std::fmt;

use miette::Diagnostic;
use policy::place;

/// One mistake in the text of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The document it is in.
    pub document: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Mistake {
    /// What a diagnostic of Cedar says of the text.
    pub(crate) fn of(document: &str, text: &str, diagnostic: &dyn Diagnostic) -> Self {
        let at = diagnostic.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        let (line, column) = place(text, at);
        Self {
            document: document.into(),
            message: diagnostic.to_string(),
            help: diagnostic.help().map(|help| help.to_string()),
            line,
            column,
        }
    }

    /// At the beginning of the text.
    pub(crate) fn at_the_beginning(document: &str, message: impl Into<String>) -> Self {
        Self { document: document.into(), message: message.into(), help: None, line: 1, column: 1 }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.document, self.line, self.column, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}
