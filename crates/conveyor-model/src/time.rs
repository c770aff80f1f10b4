//! Points in time as the ledger writes them: RFC 3339, UTC, milliseconds, fixed width, so that text order is time order.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// A point in time with millisecond resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z; clamped to the years 0000 to 9999, which fixed width needs.
    pub fn from_millis(millis: i64) -> Self {
        const YEAR_0: i64 = -62_167_219_200_000;
        // The last second of the calendar that is left to every time zone: 9999-12-30T22:00:00Z.
        const LAST: i64 = 253_402_207_200_000;
        Self(millis.clamp(YEAR_0, LAST))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this one; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

/// A text that is no RFC 3339 time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time")]
pub struct NotATime(pub String);

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time = jiff::Timestamp::from_str(text).map_err(|_| NotATime(text.chars().take(80).collect()))?;
        Ok(Self::from_millis(time.as_millisecond()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATime;

    fn try_from(text: String) -> Result<Self, NotATime> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_fixed_width_and_sorts_as_time() {
        let texts = [0, 1, 999, 1_000, 1_795_358_967_172].map(|ms| Timestamp::from_millis(ms).to_string());
        assert_eq!(texts[0], "1970-01-01T00:00:00.000Z");
        assert_eq!(texts[4], "2026-11-22T14:49:27.172Z");
        assert!(texts.is_sorted());
        assert!(texts.iter().all(|text| text.len() == 24));
    }

    #[test]
    fn other_zones_and_precisions_are_normalised() {
        let time: Timestamp = "2026-11-22T15:49:27.1729+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-22T14:49:27.172Z");
        assert!("22 Nov 2026".parse::<Timestamp>().is_err());
        assert!(
            "2026-11-22T14:49:27".parse::<Timestamp>().is_err(),
            "a time without a zone names no instant"
        );
    }

    #[test]
    fn times_outside_of_four_digit_years_keep_the_width() {
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string().len(), 24);
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string().len(), 24);
    }
}
