//! Times as people say them: "in 29 min", "3 h ago", and on the command line "2h" or an RFC 3339 instant.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// When it is or was, as seen from `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let until = at.duration_since(now);
    match length(until) {
        length if length == "0 s" => "now".into(),
        length if until.is_negative() => format!("{length} ago"),
        length => format!("in {length}"),
    }
}

/// How long, whichever way, in one unit or two: enough to decide whether to wait.
pub fn length(duration: SignedDuration) -> String {
    let seconds = (duration.abs().as_millis() + 500) / 1000;
    let minutes = (seconds + 30) / 60;
    let hours = (minutes + 30) / 60;
    match () {
        () if seconds < 90 => format!("{seconds} s"),
        () if minutes < 60 => format!("{minutes} min"),
        () if minutes < 10 * 60 && minutes % 60 == 0 => format!("{} h", minutes / 60),
        () if minutes < 10 * 60 => format!("{} h {} min", minutes / 60, minutes % 60),
        () if hours < 48 => format!("{hours} h"),
        () => format!("{} days", (hours + 12) / 24),
    }
}

/// Reads an instant, or how long ago it was.
pub fn past(text: &str) -> Result<Timestamp, String> {
    read(text, |now, length| now - length)
}

/// Reads an instant, or how far away it is.
pub fn future(text: &str) -> Result<Timestamp, String> {
    read(text, |now, length| now + length)
}

fn read(text: &str, apply: impl FnOnce(Timestamp, SignedDuration) -> Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let wrong = || "must be a time such as 2026-01-31T09:00:00Z, or a length such as 90s, 45m, 2h or 7d".to_owned();
    let span: Span = text.parse().map_err(|_| wrong())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    // Beyond this lies no time that a deadline or a search could mean, and the end of what a timestamp can hold.
    if length.is_negative() || length > SignedDuration::from_hours(24 * 366 * 100) {
        return Err(wrong());
    }
    Ok(apply(Timestamp::now(), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(seconds: i64) -> String {
        let now = Timestamp::UNIX_EPOCH;
        relative(now + SignedDuration::from_secs(seconds), now)
    }

    #[test]
    fn times_are_said_as_people_say_them() {
        assert_eq!(seen(0), "now");
        assert_eq!(seen(45), "in 45 s");
        assert_eq!(seen(-100), "2 min ago");
        assert_eq!(seen(29 * 60), "in 29 min");
        assert_eq!(seen(2 * 3600), "in 2 h");
        assert_eq!(seen(-6000), "1 h 40 min ago");
        assert_eq!(seen(30 * 3600), "in 30 h");
        assert_eq!(seen(-3 * 86_400), "3 days ago");
    }

    #[test]
    fn instants_and_lengths_are_understood() {
        assert_eq!(past("1970-01-01T00:00:00Z"), Ok(Timestamp::UNIX_EPOCH));
        let ago = past("2h").unwrap().duration_since(Timestamp::now()).abs();
        assert!(ago >= SignedDuration::from_hours(2) && ago < SignedDuration::from_secs(7260));
        assert!(future("7d").unwrap() > Timestamp::now());
        for wrong in ["", "soon", "yesterday", "12", "-2h", "9999999d"] {
            assert!(past(wrong).is_err(), "{wrong}");
        }
    }
}
