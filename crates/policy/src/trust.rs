//! How far an agent is trusted.

use std::fmt;

/// A level of trust. Each may do what those below it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// 0: reads.
    Untrusted,
    /// 1: says that it is there and what it learnt, and gives back what it holds.
    Limited,
    /// 2: takes locks and tasks: all normal work.
    Standard,
    /// 3: what concerns other agents' work.
    Elevated,
    /// 4: changes policies and profiles.
    Admin,
}

impl Trust {
    /// All of them, the lowest first.
    pub const ALL: [Self; 5] = [Self::Untrusted, Self::Limited, Self::Standard, Self::Elevated, Self::Admin];

    /// Its number, 0 to 4.
    pub fn level(self) -> u8 {
        self as u8
    }

    /// The level of this number.
    pub fn of(level: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(level).ok()?).copied()
    }

    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Limited => "limited",
            Self::Standard => "standard",
            Self::Elevated => "elevated",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.level(), self.as_str())
    }
}
