//! How many requests a key may make: a bucket of tokens for each key, filled as time goes by.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Buckets that are full again are dropped when there are more than so many.
const BUCKETS_LIMIT: usize = 10_000;

/// The buckets of all keys that have a limit.
#[derive(Default)]
pub struct Limiter {
    buckets: Mutex<HashMap<[u8; 32], Bucket>>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Limiter {
    /// Takes a token for a request of this key. A minute's worth may be used at once.
    ///
    /// # Errors
    /// How long it takes until there is one again.
    pub fn take(&self, key: [u8; 32], per_minute: u32, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_LIMIT {
            buckets.retain(|_, bucket| now.duration_since(bucket.filled_at) < Duration::from_secs(60));
        }
        let most = f64::from(per_minute);
        let per_second = most / 60.0;
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: most, filled_at: now });
        let passed = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * per_second).min(most);
        bucket.filled_at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - bucket.tokens) / per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_be_used_at_once_and_comes_back_with_time() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        let take = |key, after| limiter.take([key; 32], 6, start + Duration::from_secs(after));
        for _ in 0..6 {
            assert_eq!(take(1, 0), Ok(()));
        }
        assert!(take(1, 0).unwrap_err() <= Duration::from_secs(10));
        assert_eq!(take(2, 0), Ok(()), "each key has its own");
        assert!(take(1, 9).is_err());
        assert_eq!(take(1, 10), Ok(()));
        assert!(take(1, 10).is_err());
        for _ in 0..6 {
            assert_eq!(take(1, 1000), Ok(()));
        }
        assert!(take(1, 1000).is_err(), "no more than a minute's worth is saved");
    }
}
