//! The `Date` header, formatted once a second instead of once a response.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// A cache of the current date in the format of RFC 9110 section 5.6.7.
#[derive(Debug, Default)]
pub(crate) struct HttpDate(Mutex<(u64, [u8; 29])>);

impl HttpDate {
    /// The current date, 29 bytes of ASCII.
    pub(crate) fn now(&self) -> [u8; 29] {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let mut cached = self.0.lock();
        if cached.0 != seconds || cached.1[0] == 0 {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            if let Ok(bytes) = text.into_bytes().try_into() {
                *cached = (seconds, bytes);
            }
        }
        cached.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_current_date_each_time() {
        let date = HttpDate::default();
        let first = date.now();
        let parsed = httpdate::parse_http_date(std::str::from_utf8(&first).unwrap()).unwrap();
        assert!(parsed.elapsed().unwrap() < Duration::from_secs(5));
        assert_eq!(date.now().len(), 29);
    }
}
