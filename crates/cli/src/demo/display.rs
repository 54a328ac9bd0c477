//! The run as it goes: a picture in a terminal, lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::picture;
use super::report::Report;
use super::story::Story;

/// Where the run is shown.
pub enum Display {
    /// As a picture on a screen of its own.
    Live(Screen),
    /// As lines on standard output.
    Lines,
    /// As lines on standard error: standard output is for the result.
    Aside,
}

/// The terminal, which is given back as it was when this is dropped.
pub struct Screen(Option<DefaultTerminal>);

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back. Ratatui would complain of it to standard error, which is gone too,
        // and to print there is to panic: agents would be left running.
        let _ = ratatui::try_restore();
        if let Some(mut terminal) = self.0.take()
            && terminal.show_cursor().is_err()
        {
            std::mem::forget(terminal);
        }
    }
}

impl Display {
    /// A picture if there is a terminal to draw on and the result is for people.
    pub fn open(is_for_programs: bool) -> Self {
        if is_for_programs {
            return Self::Aside;
        }
        let can_draw = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        match can_draw.then(ratatui::try_init) {
            Some(Ok(terminal)) => Self::Live(Screen(Some(terminal))),
            Some(Err(_)) | None => Self::Lines,
        }
    }

    /// Draws the run as it stands.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, story: &Story) -> Result<()> {
        if let Self::Live(Screen(Some(terminal))) = self {
            terminal.draw(|frame| picture::draw(frame, story))?;
        }
        Ok(())
    }

    /// What an agent said, as a line.
    pub fn tell(&self, story: &Story, index: usize, report: &Report) {
        let Some(agent) = story.agents.get(index) else { return };
        if *report == Report::Idle && agent.doing == Some(Report::Idle) {
            return;
        }
        if let Some(words) = report.in_words() {
            self.note(story, &agent.name, &words);
        }
    }

    /// Something worth a line.
    pub fn note(&self, story: &Story, agent: &str, words: &str) {
        let line = format!("{:6.2} s  {agent:<5} {words}", story.started.elapsed().as_secs_f64());
        // Whoever closed the pipe does not want to read on.
        let _ = match self {
            Self::Live(_) => Ok(()),
            Self::Lines => writeln!(std::io::stdout(), "{line}"),
            Self::Aside => writeln!(std::io::stderr(), "{line}"),
        };
    }

    /// Has somebody pressed `q` or Ctrl-C? In a picture's terminal it is a key, not a signal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn is_cancelled(&mut self) -> Result<bool> {
        if !matches!(self, Self::Live(_)) {
            return Ok(false);
        }
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else { continue };
            let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if key.kind == KeyEventKind::Press && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the terminal back.
    pub fn close(self) {
        if matches!(self, Self::Lines) {
            let _ = writeln!(std::io::stdout());
        }
    }
}
