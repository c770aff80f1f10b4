//! Writing a letter, from inside a sandbox that keeps the caller from the ledger.

use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_store::sessions::Session;
use conveyor_store::threads;
use serde_json::json;

use super::Letter;
use super::folder::Folder;
use super::shared;
use crate::Plane;
use crate::verb::Answer;

/// Leaves a letter in the outbox of the caller's working directory.
///
/// Errors: those of the verb's own checks; environment, when nothing can be written there either.
pub(crate) async fn leave(plane: &Plane, letter: &Letter) -> Result<Answer> {
    letter.check()?;
    let session = session(plane).await.unwrap_or_default();
    let workspace = workspace(plane, session.as_ref());
    if session.is_some() {
        alone(plane, &workspace, letter).await?;
    }
    let mut value = serde_json::to_value(letter)
        .map_err(|error| Error::environment(format!("the letter cannot be written: {error}")))?;
    if let (Some(session), Some(map)) = (&session, value.as_object_mut()) {
        map.insert("from".to_owned(), json!(session.name));
    }
    let text = format!("{value:#}\n");
    let name = format!("{}-{}.json", plane.clock.uuid_v7(), letter.verb());
    let failed = |error: std::io::Error| {
        let tool = letter.verb().replace('-', "_");
        Error::environment(format!("{} has no outbox that can be written: {error}", workspace.display()))
            .hint(format!("call the MCP tool `{tool}` of the server `conveyor`"))
    };
    let folder = Folder::make(&workspace).map_err(failed)?;
    folder.put(&name, text.as_bytes()).map_err(failed)?;
    let file = workspace.join(".conveyor/outbox").join(&name);
    let fate = "queued in outbox; a running dispatcher takes it";
    Ok(Answer {
        text: Some(format!("{}: {fate} ({})\n", letter.verb(), file.display())),
        json: json!({ "queued": "outbox", "verb": letter.verb(), "file": file, "fate": fate }),
        exit_code: 0,
    })
}

/// Refuses at once what a dispatcher would refuse later: where several workers can write, nobody knows whose it is.
async fn alone(plane: &Plane, workspace: &Path, letter: &Letter) -> Result<()> {
    let Some(ledger) = plane.ledger_to_read().await? else { return Ok(()) };
    let workers = shared::workers(ledger, &plane.environment.host).await?;
    let writers = shared::writers(&shared::real(workspace), &workers);
    if writers.len() < 2 {
        return Ok(());
    }
    let tool = letter.verb().replace('-', "_");
    Err(Error::refused(format!(
        "{} can all write into this outbox, so no letter counts",
        shared::names(&writers)
    ))
    .hint(format!("call the MCP tool `{tool}` of the server `conveyor`, or work in a folder of your own")))
}

/// The working directory that a dispatcher looks into: the session's, as far as it can be known from here.
fn workspace(plane: &Plane, session: Option<&Session>) -> PathBuf {
    let here = &plane.environment.cwd;
    match session.map(|session| PathBuf::from(&session.cwd)) {
        Some(cwd) if here.starts_with(&cwd) => cwd,
        // The ledger may lie out of reach: then the folder that already has an outbox, else the one of the call.
        Some(_) | None => {
            let has_outbox = |folder: &&Path| folder.join(".conveyor/outbox").is_dir();
            here.ancestors().find(has_outbox).unwrap_or(here).to_owned()
        }
    }
}

/// The caller's session, as far as the ledger can be read from here.
async fn session(plane: &Plane) -> Result<Option<Session>> {
    let (Some(thread), Some(ledger)) = (plane.caller.thread(), plane.ledger_to_read().await?) else {
        return Ok(None);
    };
    threads::session_of(&mut *ledger.read().await?, thread).await
}
