//! How far a rollout has been read, and what was passed over on the way.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::Timestamp;

/// How far a rollout has been read: enough to go on after a restart, and to find the place again in a file that was
/// replaced, truncated, rewritten or migrated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// The file.
    pub path: String,
    /// The thread that the file's first record names.
    pub thread_id: Option<String>,
    /// Version of the Codex that began the thread, by which unknown records are counted.
    pub cli_version: Option<String>,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// End of the last whole line that was read, in bytes.
    pub offset: u64,
    /// The highest ordinal read.
    pub last_ordinal: Option<u64>,
    /// The latest time read.
    pub last_at: Option<Timestamp>,
    /// How many records of exactly that time were read: Codex writes several in one millisecond.
    pub last_at_count: u32,
    /// Set while a file is read again from its beginning and records that were read before are passed over: how many
    /// of these have the time [`Position::last_at`].
    pub catching_up: Option<u32>,
    /// How many bytes before `offset` [`Position::tail_sha256`] covers.
    pub tail_len: u32,
    /// Digest of these bytes, in hex: if they changed, the file is another one whatever its inode says.
    pub tail_sha256: String,
}

impl Position {
    /// The beginning of a file that was never read.
    pub fn start(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    /// Moves the marks past a record.
    pub fn pass(&mut self, ordinal: Option<u64>, at: Option<Timestamp>) {
        self.last_ordinal = self.last_ordinal.max(ordinal);
        match at {
            Some(at) if self.last_at == Some(at) => self.last_at_count = self.last_at_count.saturating_add(1),
            Some(at) if self.last_at < Some(at) => (self.last_at, self.last_at_count) = (Some(at), 1),
            Some(_) | None => {}
        }
    }

    /// Whether a record was read before, in a file that is read again from its beginning. The first one that was not
    /// ends the catching up: whatever follows it is new.
    pub fn was_read(&mut self, ordinal: Option<u64>, at: Option<Timestamp>) -> bool {
        let Some(same_time) = self.catching_up else { return false };
        if self.is_newer(ordinal, at, same_time) {
            self.catching_up = None;
            return false;
        }
        let same = at.is_some() && at == self.last_at;
        self.catching_up = Some(same_time.saturating_add(u32::from(same)));
        true
    }

    /// A truncated thread that goes on uses ordinals a second time, so a later time counts even with a lower ordinal.
    fn is_newer(&self, ordinal: Option<u64>, at: Option<Timestamp>, same_time: u32) -> bool {
        let later = at.is_some() && at > self.last_at;
        match (ordinal, self.last_ordinal) {
            (Some(ordinal), Some(last)) => later || ordinal > last,
            (_, None) | (None, _) => {
                later || (at.is_some() && at == self.last_at && same_time >= self.last_at_count)
            }
        }
    }
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BadLine {
    /// Nothing but white space.
    Blank,
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON; `NaN` and `Infinity` are not.
    NotJson,
    /// JSON, but no object.
    NotObject,
    /// An object whose `type` is missing or no text.
    NoType,
    /// Longer than [`crate::limits::ROLLOUT_LINE_BYTES`].
    TooLong,
}

/// Lines that were passed over, counted by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BadLines {
    /// See [`BadLine::Blank`].
    pub blank: u64,
    /// See [`BadLine::NotUtf8`].
    pub not_utf8: u64,
    /// See [`BadLine::NotJson`].
    pub not_json: u64,
    /// See [`BadLine::NotObject`].
    pub not_object: u64,
    /// See [`BadLine::NoType`].
    pub no_type: u64,
    /// See [`BadLine::TooLong`].
    pub too_long: u64,
}

impl BadLines {
    /// Counts one more.
    pub fn add(&mut self, why: BadLine) {
        *match why {
            BadLine::Blank => &mut self.blank,
            BadLine::NotUtf8 => &mut self.not_utf8,
            BadLine::NotJson => &mut self.not_json,
            BadLine::NotObject => &mut self.not_object,
            BadLine::NoType => &mut self.no_type,
            BadLine::TooLong => &mut self.too_long,
        } += 1;
    }

    /// Adds what was counted elsewhere.
    pub const fn merge(&mut self, other: &Self) {
        self.blank += other.blank;
        self.not_utf8 += other.not_utf8;
        self.not_json += other.not_json;
        self.not_object += other.not_object;
        self.no_type += other.no_type;
        self.too_long += other.too_long;
    }

    /// All of them: the contract's `skipped_lines`.
    pub const fn total(&self) -> u64 {
        self.blank + self.not_utf8 + self.not_json + self.not_object + self.no_type + self.too_long
    }
}

/// Ordinals that the file leaves out or repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The ordinal before.
    pub after: u64,
    /// The ordinal that followed.
    pub found: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`Position::pass`] takes.
    fn pass(position: &mut Position, ordinal: Option<u64>, millis: i64) {
        position.pass(ordinal, Some(Timestamp::from_millis(millis)));
    }

    fn is_newer(position: &Position, ordinal: Option<u64>, millis: i64, same_time: u32) -> bool {
        position.is_newer(ordinal, Some(Timestamp::from_millis(millis)), same_time)
    }

    #[test]
    fn records_of_one_millisecond_are_told_apart_by_their_number() {
        let mut position = Position::start("r.jsonl");
        pass(&mut position, None, 5);
        pass(&mut position, None, 7);
        pass(&mut position, None, 7);
        assert!(!is_newer(&position, None, 5, 0));
        assert!(!is_newer(&position, None, 7, 1));
        assert!(is_newer(&position, None, 7, 2), "a third record of that millisecond was never read");
        assert!(is_newer(&position, Some(0), 8, 0), "migrated: ordinals where there were none");
    }

    #[test]
    fn ordinals_that_a_truncated_thread_uses_again_are_new_by_their_time() {
        let mut position = Position::start("r.jsonl");
        pass(&mut position, Some(50), 50);
        assert!(!is_newer(&position, Some(50), 50, 0));
        assert!(is_newer(&position, Some(31), 60, 0));
        assert!(is_newer(&position, Some(51), 50, 1));
        assert!(!position.is_newer(Some(31), None, 0));
    }
}
