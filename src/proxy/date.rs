//! The time of day as HTTP says it, formatted once a second (RFC 9110 section 6.6.1).

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// One thread's date.
#[derive(Debug, Default)]
pub(crate) struct Date {
    second: Cell<u64>,
    text: RefCell<String>,
}

impl Date {
    /// What `then` gets is the value of a `Date` field of this moment.
    pub(crate) fn now<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.replace(second) != second {
            let time = UNIX_EPOCH + Duration::from_secs(second);
            self.text.replace(HttpDate::from(time).to_string());
        }
        then(self.text.borrow().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_time() {
        let date = Date::default();
        let said = date.now(|text| String::from_utf8(text.to_vec()).unwrap());
        let time: SystemTime = said.parse::<HttpDate>().unwrap().into();
        assert!(time.elapsed().unwrap() < Duration::from_secs(60), "{said}");
    }
}
