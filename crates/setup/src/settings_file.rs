//! `coordinator.toml`, for somebody who wants to change something: it says what can be, and changes nothing.

use crate::part::{Part, Piece};
use crate::place::Place;

const TEXT: &str = "\
# Settings of Agent Coordinator for this project. The environment wins over this file, flags win over both.
# Everything here shows a default; take a # away to change it. The README lists all settings.

# How long a lock lives that asks for no other time:
# lock_ttl_minutes = 120

# The silence after which an agent is taken for dead and loses what it holds:
# session_ttl_seconds = 900

# Which tools agents are shown, \"core\" or \"all\":
# coordinator_tools = \"core\"

# A database for a team; the password is better kept in the environment:
# db_backend = \"postgres\"
# postgres_dsn = \"postgres://user@host/database\"
";

/// The file, where a project has none.
pub fn piece(place: &Place) -> Piece {
    let part = Part::Whole { text: TEXT.to_owned() };
    Piece { path: place.root.join("coordinator.toml"), part, purpose: "settings" }
}
