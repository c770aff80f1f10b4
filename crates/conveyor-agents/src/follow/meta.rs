//! Who a rollout belongs to.

use std::path::Path;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::rollout::BadLine;
use conveyor_model::rollout::Kind;
use conveyor_model::rollout::SessionMeta;
use sha2::Digest;
use sha2::Sha256;

use super::about;
use super::failure;
use super::lines::Lines;
use super::lines::Next;
use crate::log::AgentLog;

/// The first record of the rollout at `path`: thread id (always set), folder, version, source, time.
///
/// Fails with an [`conveyor_model::ErrorKind::Rollout`] that says what the file is instead, if it is no rollout.
pub fn read_meta(log: &dyn AgentLog, path: &Path) -> Result<SessionMeta> {
    let file = failure::open(log, path)?;
    failure::refuse_compressed(path, file.as_ref())?;
    let mut lines = Lines::default();
    let next = lines.next(file.as_ref(), &mut Sha256::new(), true);
    match next.map_err(|error| failure::read(path, &error))? {
        Next::Line(range) => meta_of(path, lines.line(range)),
        Next::TooLong(_) | Next::LongAhead => {
            Err(no_rollout(path, "its first line is longer than any record"))
        }
        Next::End if lines.read_to() == 0 => Err(about(path, "is still empty")
            .hint("Codex writes the first record with the first message; send one, then try again")),
        Next::End => Err(about(path, "its first record is not written to its end yet").hint("try again")),
    }
}

fn meta_of(path: &Path, line: &[u8]) -> Result<SessionMeta> {
    let event = crate::parse(line, 0).map_err(|why| no_rollout(path, describe(why)))?;
    match event.kind {
        Kind::SessionMeta(meta) if meta.thread_id.is_some() => Ok(*meta),
        Kind::SessionMeta(_) => Err(no_rollout(path, "its first record names no thread")),
        _ => Err(no_rollout(
            path,
            &format!("its first record is `{}`, not `session_meta`", event.record_type.escape_debug()),
        )),
    }
}

const fn describe(why: BadLine) -> &'static str {
    match why {
        BadLine::Blank => "its first line is blank",
        BadLine::NotUtf8 => "its first line is not UTF-8",
        BadLine::NotJson => "its first line is not JSON",
        BadLine::NotObject => "its first line is JSON but no object",
        BadLine::NoType => "its first record has no type",
        BadLine::TooLong => "its first line is longer than any record",
    }
}

fn no_rollout(path: &Path, why: &str) -> Error {
    about(path, &format!("is no Codex rollout: {why}")).hint(
        "name a file like sessions/YYYY/MM/DD/rollout-…-<thread id>.jsonl under CODEX_HOME; `conveyor discover` lists \
         them",
    )
}
