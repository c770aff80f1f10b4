//! What git says of the worker's folder.

use std::path::Path;

use conveyor_model::Result;
use serde_json::Value;
use serde_json::json;

use crate::Plane;
use crate::verify::Repository;

/// What a branch is compared with: the first of these that is there.
const BASES: [&str; 4] = ["@{upstream}", "origin/HEAD", "main", "master"];

/// The names and sizes of what is changed, not the text. Whatever cannot be told is null, and `error` says why.
pub(super) async fn of(plane: &Plane, folder: &Path) -> Value {
    let mut found = json!({
        "branch_base": null,
        "branch_diff_name_only": null,
        "branch_diff_stat": null,
        "error": null,
        "working_tree_diff_name_only": null,
        "working_tree_diff_stat": null,
    });
    if let Err(error) = look(plane, folder, &mut found).await {
        found["error"] = json!(error.message);
    }
    found
}

async fn look(plane: &Plane, folder: &Path, found: &mut Value) -> Result<()> {
    let repository = Repository::of(folder)?;
    for (key, form) in [("working_tree_diff_stat", "--stat"), ("working_tree_diff_name_only", "--name-only")]
    {
        found[key] = json!(diff(plane, &repository, form, "HEAD").await?);
    }
    let Some(base) = base(plane, &repository).await else { return Ok(()) };
    let range = format!("{base}...HEAD");
    found["branch_base"] = json!(base);
    for (key, form) in [("branch_diff_stat", "--stat"), ("branch_diff_name_only", "--name-only")] {
        found[key] = json!(diff(plane, &repository, form, &range).await?);
    }
    Ok(())
}

async fn base(plane: &Plane, repository: &Repository) -> Option<&'static str> {
    for one in BASES {
        if repository.commit(plane, one).await.is_ok() {
            return Some(one);
        }
    }
    None
}

async fn diff(plane: &Plane, repository: &Repository, form: &str, range: &str) -> Result<String> {
    // A repository can name programs that show its differences.
    repository.git(plane, &["diff", "--no-ext-diff", "--no-textconv", form, range, "--"], &[]).await
}
