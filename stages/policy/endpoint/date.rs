//! The `Retry-After` header: seconds, or a date as in RFC 9110, section 5.6.7.

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The pause that a header value asks for; zero for a date that has passed, `None` if unreadable.
pub(super) fn pause(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_time(value)?))?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that senders may use.
fn unix_time(date: &str) -> Option<u64> {
    let (_, rest) = date.split_once(", ")?;
    let [day, month, year, clock, "GMT"] = rest.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock = clock.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let [hour, minute, second] = clock[..] else {
        return None;
    };
    let sane =
        (1970..=9999).contains(&year) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    // Years that begin in March put the leap day last; 719468 days lie between 0000-03-01 and 1970-01-01.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = (365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1)
        .checked_sub(719_468)?;
    sane.then_some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(pause("7", now), Some(Duration::from_secs(7)));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(pause("Thu, 29 Feb 1990 00:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(unix_time("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(unix_time("Tue, 29 Feb 2000 12:00:00 GMT"), Some(951_825_600));
        for junk in [
            "",
            "-1",
            "NaN",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "x, 99 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(pause(junk, now), None, "{junk}");
        }
    }
}
