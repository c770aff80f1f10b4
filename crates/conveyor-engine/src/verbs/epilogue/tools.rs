//! `run-tools`: a tool is a word of a configuration, which an agent may have written, so it runs confined.

use std::path::Path;
use std::path::PathBuf;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::limits;
use conveyor_store::Db;
use conveyor_store::bindings;
use conveyor_store::configs;
use conveyor_store::tasks::Task;
use serde_json::Value;
use serde_json::json;

use super::step::Outcome;
use crate::Plane;
use crate::confine;
use crate::confine::Reach;
use crate::confine::Spec;
use crate::resolve;
use crate::verify;

/// The tools of a task, and where they are to run.
pub(super) struct Wanted {
    tools: Vec<String>,
    /// The worker's folder, once the task was bound.
    folder: Option<PathBuf>,
}

/// Looks up what is to be run.
pub(super) async fn wanted(db: &mut Db, task: &Task) -> Result<Wanted> {
    let config = configs::get(db, &task.id).await?;
    let all = config.iter().filter_map(|config| config.tools_json.as_array()).flatten();
    let tools = all.filter_map(|tool| tool.as_str().map(ToOwned::to_owned)).collect();
    let folder = match bindings::of_task(db, &task.id).await?.pop() {
        Some(binding) => Some(PathBuf::from(resolve::by_id(db, &binding.worker_session_id).await?.cwd)),
        None => None,
    };
    Ok(Wanted { tools, folder })
}

/// Asks one tool after the other for its version; the first that does not answer ends it.
pub(super) async fn run(plane: &Plane, wanted: Wanted) -> Result<Outcome> {
    let mut told = Vec::new();
    let Some(folder) = &wanted.folder else {
        return Ok(Outcome::failed(
            json!({ "tools": told }),
            "the task was never bound, so it has no folder",
        ));
    };
    if wanted.tools.is_empty() {
        return Ok(Outcome::failed(json!({ "tools": told }), "no tool is configured"));
    }
    for tool in &wanted.tools {
        let (one, error) = ask(plane, tool, folder).await?;
        told.push(one);
        if let Some(error) = error {
            return Ok(Outcome::failed(json!({ "tools": told }), error));
        }
    }
    Ok(Outcome::found(json!({ "tool_count": told.len(), "tools": told })))
}

/// What one tool says, and what is wrong with that.
async fn ask(plane: &Plane, tool: &str, folder: &Path) -> Result<(Value, Option<String>)> {
    let shown = tool.escape_debug();
    let nothing = |why: String| Ok((json!({ "tool": tool, "returncode": null }), Some(why)));
    if tool.contains('/') || tool.starts_with('-') {
        return nothing(format!("`{shown}` is not the name of a program"));
    }
    let Some(program) = plane.environment.find_program(tool) else {
        return nothing(format!("`{shown}` is not on PATH"));
    };
    let own = tempfile::Builder::new().prefix("conveyor-tool").tempdir();
    let own = own.map_err(|error| Error::environment(format!("no temporary folder: {error}")))?;
    let spec = Spec {
        argv: vec![program.to_string_lossy().into_owned(), "--version".to_owned()],
        cwd: folder.to_owned(),
        env: verify::environment(plane, own.path(), own.path()),
        stdin: None,
        limit_ms: limits::TOOL_MS,
        output_bytes: limits::TOOL_OUTPUT_BYTES,
        reach: Some(
            Reach::system()
                .reading(verify::tools(plane))
                .reading([folder.to_owned()])
                .writing([own.path().to_owned()]),
        ),
    };
    match confine::run(&plane.environment.executable, spec).await {
        Err(error) => nothing(format!("`{shown}`: {}", error.message)),
        Ok(ran) => {
            let error =
                (!ran.ended.is_success()).then(|| format!("`{shown} --version` does not answer with 0"));
            let one = json!({
                "tool": tool,
                "returncode": ran.ended.code(),
                "stdout": ran.stdout.text,
                "stderr": ran.stderr.text,
            });
            Ok((one, error))
        }
    }
}
