//! Following a rollout: each whole line once, in order, in bounded memory, over restarts and over all that can happen
//! to the file.
//!
//! A file is the one that was read before if device, inode and the bytes just before the position are the same, and it
//! is no shorter. Otherwise it is read again from its beginning, and records up to the newest one that was read are
//! passed over, known by ordinal and time ([`Position::was_read`]).

mod failure;
mod lines;
mod meta;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::rollout::BadLine;
use conveyor_model::rollout::BadLines;
use conveyor_model::rollout::Event;
use conveyor_model::rollout::Gap;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::Position;
use conveyor_model::rollout::SessionMeta;
use sha2::Digest;
use sha2::Sha256;

use self::lines::Lines;
use self::lines::Next;
pub use self::meta::read_meta;
use crate::log::AgentLog;
use crate::log::LogFile;
use crate::log::Stat;

/// A batch ends at the first line after this many bytes: 5,000 lines of the usual 310 bytes fit, and texts of a batch
/// stay within a few megabytes whatever the lines hold.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// How many bytes before the position prove that the file is the same.
const TAIL_BYTES: usize = 256;

/// Gaps that are told one by one; more are only counted.
const GAPS_TOLD: usize = 16;

/// Why a file had to be read again from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// Another file has its name.
    Replaced,
    /// It is shorter than what was read of it.
    Truncated,
    /// It is the same file with other bytes.
    Rewritten,
}

/// Lines that were read together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The records, in the order of the file.
    pub events: Vec<Event>,
    /// What was read, in bytes of the file; whole lines.
    pub range: Range<u64>,
    /// SHA-256 of these bytes, in hex.
    pub sha256: String,
    /// Where to go on. It must be stored in the transaction that stores the events, and only if the position that the
    /// follower began with is still the stored one.
    pub position: Position,
    /// Lines that are no record.
    pub bad: BadLines,
    /// Records of unknown shape, counted by Codex's version (`unknown` if the file names none).
    pub unknown: BTreeMap<String, u64>,
    /// Leaps in the ordinals, the first [`GAPS_TOLD`] of them.
    pub gaps: Vec<Gap>,
    /// All leaps in the ordinals.
    pub gap_count: u64,
    /// Set if the file was read again from its beginning.
    pub resync: Option<Resync>,
    /// Records that were passed over because they had been read before.
    pub seen_before: u64,
}

/// Reads a rollout from a position on.
pub struct Follower<'a> {
    log: &'a dyn AgentLog,
    path: PathBuf,
    position: Position,
    lines: Lines,
    digest: Sha256,
    /// Open while there may be more to read.
    file: Option<Box<dyn LogFile>>,
    resync: Option<Resync>,
}

impl<'a> Follower<'a> {
    /// A follower of the rollout at `path`, from `position` on, or from the beginning.
    ///
    /// Fails with an [`conveyor_model::ErrorKind::Rollout`] if the file is missing, no file, unreadable or compressed.
    /// An empty file is none of these: Codex makes it so, and writes its first record a moment later.
    pub fn open(log: &'a dyn AgentLog, path: &Path, position: Option<Position>) -> Result<Self> {
        let mut position = position.unwrap_or_default();
        position.path = path.to_string_lossy().into_owned();
        let lines = Lines::at(position.offset);
        let path = path.to_owned();
        let mut follower =
            Self { log, path, position, lines, digest: Sha256::new(), file: None, resync: None };
        follower.file = Some(follower.reopen()?);
        Ok(follower)
    }

    /// Where the next batch begins.
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// The next whole lines, at most `max_lines`; `None` if there are none now. After `None` a further call looks at
    /// the file anew.
    pub fn next_batch(&mut self, max_lines: usize) -> Result<Option<Batch>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.reopen()?,
        };
        let mut draft = Draft::begin(self.position.clone(), self.resync);
        let drained =
            self.read(file.as_ref(), &mut draft, max_lines).map_err(|e| failure::read(&self.path, &e))?;
        if !drained {
            self.file = Some(file);
        }
        if let Some((expected, found)) = draft.foreign {
            self.file = None;
            return Err(failure::foreign(&self.path, &expected, &found));
        }
        Ok(self.finish(draft))
    }

    /// Reads into `draft`; the answer is whether the file's end was reached.
    fn read(&mut self, file: &dyn LogFile, draft: &mut Draft, max_lines: usize) -> io::Result<bool> {
        loop {
            let offset = self.lines.line_offset();
            let full = draft.lines >= max_lines || offset - draft.start >= BATCH_BYTES;
            if full || draft.foreign.is_some() {
                return Ok(false);
            }
            match self.lines.next(file, &mut self.digest, draft.is_empty())? {
                Next::Line(range) => draft.take(self.lines.line(range), offset),
                Next::TooLong(range) => draft.pass(self.lines.line(range), BadLine::TooLong),
                Next::LongAhead => return Ok(false),
                Next::End => return Ok(true),
            }
        }
    }

    fn finish(&mut self, draft: Draft) -> Option<Batch> {
        if draft.is_empty() {
            return None;
        }
        self.resync = None;
        let batch = draft.finish(self.lines.line_offset(), hex(self.digest.finalize_reset()));
        self.position = batch.position.clone();
        Some(batch)
    }

    /// Opens the file and decides whether it is the one that was read before.
    fn reopen(&mut self) -> Result<Box<dyn LogFile>> {
        let file = failure::open(self.log, &self.path)?;
        let at_path = |error: io::Error| failure::read(&self.path, &error);
        let stat = file.stat().map_err(at_path)?;
        match self.what_changed(file.as_ref(), stat).map_err(at_path)? {
            Some(why) => self.start_over(why),
            None if stat.len < self.lines.read_to() => self.reread(self.position.offset),
            None => {}
        }
        if self.position.offset == 0 {
            failure::refuse_compressed(&self.path, file.as_ref())?;
        }
        (self.position.device, self.position.inode) = (stat.device, stat.inode);
        Ok(file)
    }

    fn what_changed(&self, file: &dyn LogFile, stat: Stat) -> io::Result<Option<Resync>> {
        let position = &self.position;
        if position.offset == 0 {
            return Ok(None);
        }
        if (stat.device, stat.inode) != (position.device, position.inode) {
            return Ok(Some(Resync::Replaced));
        }
        if stat.len < position.offset {
            return Ok(Some(Resync::Truncated));
        }
        let tail = lines::bytes_before(file, position.offset, position.tail_len)?;
        let same = tail.is_some_and(|tail| hex(Sha256::digest(tail)) == position.tail_sha256);
        Ok((!same).then_some(Resync::Rewritten))
    }

    fn start_over(&mut self, why: Resync) {
        self.resync = Some(why);
        self.position.offset = 0;
        self.position.catching_up = Some(0);
        self.position.tail_len = 0;
        self.position.tail_sha256.clear();
        self.reread(0);
    }

    fn reread(&mut self, offset: u64) {
        self.lines = Lines::at(offset);
        self.digest = Sha256::new();
    }
}

/// A batch in the making.
struct Draft {
    start: u64,
    events: Vec<Event>,
    position: Position,
    bad: BadLines,
    unknown: BTreeMap<String, u64>,
    gaps: Vec<Gap>,
    gap_count: u64,
    resync: Option<Resync>,
    lines: usize,
    seen_before: u64,
    /// Ordinal of the line before.
    ordinal: Option<u64>,
    tail: [u8; TAIL_BYTES],
    tail_len: usize,
    /// The thread that was followed, and the other one that the file now holds.
    foreign: Option<(String, String)>,
}

impl Draft {
    fn begin(position: Position, resync: Option<Resync>) -> Self {
        Self {
            start: position.offset,
            events: Vec::new(),
            bad: BadLines::default(),
            unknown: BTreeMap::new(),
            gaps: Vec::new(),
            gap_count: 0,
            resync,
            lines: 0,
            seen_before: 0,
            ordinal: if resync.is_some() { None } else { position.last_ordinal },
            tail: [0; TAIL_BYTES],
            tail_len: 0,
            foreign: None,
            position,
        }
    }

    fn is_empty(&self) -> bool {
        self.lines == 0
    }

    fn take(&mut self, line: &[u8], offset: u64) {
        match crate::parse(line, offset) {
            Ok(event) => self.take_event(line, event),
            Err(why) => self.pass(line, why),
        }
    }

    fn take_event(&mut self, line: &[u8], event: Event) {
        self.keep_tail(line);
        if let Kind::SessionMeta(meta) = &event.kind {
            self.meet(meta, event.offset);
        }
        if self.position.was_read(event.ordinal, event.at) {
            self.seen_before += 1;
            self.ordinal = event.ordinal;
            return;
        }
        self.look_for_gap(event.ordinal);
        if event.kind == Kind::Unknown {
            let version = self.position.cli_version.as_deref().unwrap_or("unknown");
            *self.unknown.entry(version.to_owned()).or_default() += 1;
        }
        self.position.pass(event.ordinal, event.at);
        self.events.push(event);
    }

    /// The first record says who the thread is; a legacy fork repeats those of its base after it.
    fn meet(&mut self, meta: &SessionMeta, offset: u64) {
        if offset > 0 && self.position.thread_id.is_some() {
            return;
        }
        match (&self.position.thread_id, &meta.thread_id) {
            (Some(known), Some(found)) if known != found => {
                self.foreign = Some((known.clone(), found.clone()));
            }
            (_, Some(found)) => self.position.thread_id = Some(found.clone()),
            (_, None) => {}
        }
        self.position.cli_version = meta.cli_version.clone().or_else(|| self.position.cli_version.take());
    }

    fn look_for_gap(&mut self, ordinal: Option<u64>) {
        if let (Some(after), Some(found)) = (self.ordinal, ordinal)
            && after.checked_add(1) != Some(found)
        {
            self.gap_count += 1;
            if self.gaps.len() < GAPS_TOLD {
                self.gaps.push(Gap { after, found });
            }
        }
        self.ordinal = ordinal.or(self.ordinal);
    }

    /// Passes over a line that is no record.
    fn pass(&mut self, line: &[u8], why: BadLine) {
        self.keep_tail(line);
        if self.position.catching_up.is_none() {
            self.bad.add(why);
        }
    }

    fn keep_tail(&mut self, line: &[u8]) {
        self.lines += 1;
        let tail = &line[line.len().saturating_sub(TAIL_BYTES)..];
        self.tail[..tail.len()].copy_from_slice(tail);
        self.tail_len = tail.len();
    }

    fn finish(mut self, end: u64, sha256: String) -> Batch {
        self.position.offset = end;
        self.position.tail_len = self.tail_len as u32;
        self.position.tail_sha256 = hex(Sha256::digest(&self.tail[..self.tail_len]));
        Batch {
            events: self.events,
            range: self.start..end,
            sha256,
            position: self.position,
            bad: self.bad,
            unknown: self.unknown,
            gaps: self.gaps,
            gap_count: self.gap_count,
            resync: self.resync,
            seen_before: self.seen_before,
        }
    }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// An error of the kind rollout about `path`.
fn about(path: &Path, what: &str) -> Error {
    Error::rollout(format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests;
