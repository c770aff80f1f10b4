//! Whole lines of a growing file, in bounded memory.

use std::io;
use std::ops::Range;

use conveyor_model::limits;
use sha2::Digest;
use sha2::Sha256;

use crate::log::LogFile;

/// Bytes that are asked of the file at once.
const CHUNK: usize = 256 * 1024;

/// What comes next in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole line; [`Lines::line`] has its bytes until the next call.
    Line(Range<usize>),
    /// A whole line above the limit; this is its last part.
    TooLong(Range<usize>),
    /// The line that comes is above the limit and was not touched.
    LongAhead,
    /// No further whole line.
    End,
}

/// The bytes that were read but not yet passed on.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Where in the buffer the next line begins.
    begin: usize,
    /// How many bytes from there are known to hold no line end.
    scanned: usize,
    /// Where the buffer's byte `begin` lies in the file.
    offset: u64,
    /// Bytes of the line at `offset` that lie before `offset`: it is above the limit, and they are gone.
    dropped: u64,
}

impl Lines {
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, ..Self::default() }
    }

    /// Where the next line begins in the file.
    pub(super) fn line_offset(&self) -> u64 {
        self.offset - self.dropped
    }

    /// End of what was read of the file.
    pub(super) fn read_to(&self) -> u64 {
        self.offset + (self.buffer.len() - self.begin) as u64
    }

    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    pub(super) fn line(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// The next whole line. Parts of a line above the limit are hashed and dropped, if `may_drop`.
    pub(super) fn next(
        &mut self,
        file: &dyn LogFile,
        digest: &mut Sha256,
        may_drop: bool,
    ) -> io::Result<Next> {
        loop {
            let unscanned = &self.buffer[self.begin + self.scanned..];
            if let Some(index) = memchr::memchr(b'\n', unscanned) {
                return Ok(self.take(self.scanned + index + 1, digest));
            }
            self.scanned = self.buffer.len() - self.begin;
            if self.scanned > limits::ROLLOUT_LINE_BYTES {
                if !may_drop {
                    return Ok(Next::LongAhead);
                }
                self.drop_scanned(digest);
            }
            if self.fill(file)? == 0 {
                return Ok(Next::End);
            }
        }
    }

    fn take(&mut self, len: usize, digest: &mut Sha256) -> Next {
        let range = self.begin..self.begin + len;
        digest.update(&self.buffer[range.clone()]);
        let too_long = self.dropped > 0 || len > limits::ROLLOUT_LINE_BYTES;
        self.begin = range.end;
        self.offset += len as u64;
        self.scanned = 0;
        self.dropped = 0;
        if too_long { Next::TooLong(range) } else { Next::Line(range) }
    }

    fn drop_scanned(&mut self, digest: &mut Sha256) {
        digest.update(&self.buffer[self.begin..]);
        self.dropped += self.scanned as u64;
        self.offset += self.scanned as u64;
        self.buffer.clear();
        self.begin = 0;
        self.scanned = 0;
    }

    fn fill(&mut self, file: &dyn LogFile) -> io::Result<usize> {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        let held = self.buffer.len();
        self.buffer.reserve_exact(CHUNK);
        self.buffer.resize(held + CHUNK, 0);
        let read = read_some(file, self.offset + held as u64, &mut self.buffer[held..]);
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        read
    }
}

fn read_some(file: &dyn LogFile, offset: u64, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read_at(offset, into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Exactly the `len` bytes before `end`, or nothing if the file does not have them.
pub(super) fn bytes_before(file: &dyn LogFile, end: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
    let Some(start) = end.checked_sub(u64::from(len)) else { return Ok(None) };
    let mut bytes = vec![0; len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match read_some(file, start + filled as u64, &mut bytes[filled..])? {
            0 => return Ok(None),
            read => filled += read,
        }
    }
    Ok(Some(bytes))
}
