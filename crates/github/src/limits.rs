//! How long GitHub tells us to wait.
//!
//! Out of requests for the hour: 403 or 429, none remaining, and when there will be more. Too many at once ("secondary rate
//! limit"): 403 or 429, mostly with `retry-after`, sometimes only with words. Any other 403 is a refusal.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};

/// GitHub asks for at least this where it names no time.
const UNNAMED_WAIT: SignedDuration = SignedDuration::from_mins(1);
/// Its clock and ours are not quite the same.
const MARGIN: SignedDuration = SignedDuration::from_secs(1);

/// Until when GitHub takes no requests, if that is what this answer says. `now` is when it was given.
pub fn closed_until(status: StatusCode, headers: &HeaderMap, message: &str, now: Timestamp) -> Option<Timestamp> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let number = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok());
    let after = |wait: SignedDuration| now.checked_add(wait).ok();
    if let Some(seconds) = number("retry-after") {
        return after(SignedDuration::from_secs(seconds.clamp(0, 86_400)));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let reset = number("x-ratelimit-reset").and_then(|second| Timestamp::from_second(second).ok());
        return reset.and_then(|reset| reset.checked_add(MARGIN).ok()).or_else(|| after(UNNAMED_WAIT));
    }
    let message = message.to_ascii_lowercase();
    let is_told = ["rate limit", "abuse detection"].iter().any(|words| message.contains(words));
    if is_told || status == StatusCode::TOO_MANY_REQUESTS { after(UNNAMED_WAIT) } else { None }
}

/// When the answer was given, by GitHub's clock.
pub fn given_at(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get(http::header::DATE)?.to_str().ok()?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

/// How long to pause before trying again what did not get through: doubled each time.
pub fn pause_before(attempt: u32, first: Duration) -> Duration {
    first.saturating_mul(1 << attempt.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(status: u16, headers: &[(&'static str, &str)], message: &str) -> Option<i64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let now = Timestamp::from_second(1_000).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        closed_until(status, &map, message, now).map(Timestamp::as_second)
    }

    #[test]
    fn each_way_of_saying_wait_is_understood() {
        assert_eq!(until(429, &[("retry-after", "30")], ""), Some(1_030));
        assert_eq!(until(403, &[("retry-after", "7"), ("x-ratelimit-remaining", "0")], ""), Some(1_007));
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4600")];
        assert_eq!(until(403, &used_up, "API rate limit exceeded for user"), Some(4_601));
        assert_eq!(until(403, &[], "You have exceeded a secondary rate limit."), Some(1_060));
        assert_eq!(until(429, &[], ""), Some(1_060));
        assert_eq!(until(403, &[("retry-after", "soon")], "rate limit"), Some(1_060), "no number is no time");
    }

    #[test]
    fn what_is_no_limit_is_none() {
        assert_eq!(until(403, &[("x-ratelimit-remaining", "12")], "Resource not accessible by token"), None);
        assert_eq!(until(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4600")], ""), None);
        assert_eq!(until(404, &[], "rate limit"), None);
    }

    #[test]
    fn a_date_is_read_as_http_writes_it() {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Thu, 01 Jan 1970 00:16:40 GMT".parse().unwrap());
        assert_eq!(given_at(&headers).unwrap().as_second(), 1_000);
    }

    #[test]
    fn pauses_double_and_end() {
        let first = Duration::from_secs(1);
        let pauses: Vec<u64> = (0..3).map(|attempt| pause_before(attempt, first).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4]);
        assert_eq!(pause_before(99, first).as_secs(), 64);
    }
}
