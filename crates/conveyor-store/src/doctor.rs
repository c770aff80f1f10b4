//! Is this ledger sound? Looks before anything is repaired, and never creates.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use conveyor_model::Result;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use crate::Clock;
use crate::Engine;
use crate::Location;
use crate::audit;
use crate::cell::args;
use crate::db::Db;
use crate::engine::postgres;
use crate::engine::sqlite;
use crate::ledger;
use crate::schema;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub found: Value,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Findings {
    /// Where it was looked.
    pub location: String,
    /// Whether a ledger is there. Without one nothing else was looked at.
    pub exists: bool,
    /// Version of its schema.
    pub schema_version: Option<i64>,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
}

impl Findings {
    /// Whether everything that was looked at is as it should be.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

fn check(name: impl Into<String>, ok: bool, found: Value) -> Check {
    Check { name: name.into(), ok, found }
}

/// Looks at a ledger without changing anything. `chain` bounds how many of the last audit rows are checked; `None`
/// checks all.
///
/// What is wrong with the ledger is a finding; an error means that it could not be looked at.
pub async fn examine(location: &Location, clock: Arc<dyn Clock>, chain: Option<i64>) -> Result<Findings> {
    let mut findings =
        Findings { location: location.to_string(), exists: false, schema_version: None, checks: Vec::new() };
    let Some(mut db) = ledger::connect_to_look(location).await? else { return Ok(findings) };
    findings.exists = true;
    if let Some(path) = location.path() {
        findings.checks.extend(modes(&sqlite::resolved(path)));
    }
    match schema::version(&mut db, schema::VERSION).await {
        // Whoever was to make it ended before that; the next writer makes it.
        Ok(None) => return Ok(Findings { exists: false, checks: Vec::new(), ..findings }),
        Ok(version) => {
            findings.schema_version = version;
            findings.checks.push(check("schema_version", version == Some(schema::VERSION), json!(version)));
        }
        Err(error) => {
            findings.checks.push(check("schema_version", false, json!(error.message)));
            return Ok(findings);
        }
    }
    crate::engine::begin_read(&mut db, &*clock).await?;
    content(&mut db, chain, &mut findings.checks).await;
    crate::engine::roll_back(&mut db).await;
    Ok(findings)
}

/// Everything that is looked at inside. A look that fails is a finding: a damaged file is what the doctor is for.
async fn content(db: &mut Db, chain: Option<i64>, checks: &mut Vec<Check>) {
    if db.engine() == Engine::Sqlite {
        checks.push(look("integrity_check", rows(db, "PRAGMA integrity_check(20)").await, |rows| {
            rows == ["ok"]
        }));
        let sql = "SELECT \"table\" || ' ' || coalesce(rowid, 0) || ' misses ' || parent FROM pragma_foreign_key_check";
        checks.push(look("foreign_key_check", rows(db, sql).await, <[String]>::is_empty));
    }
    for (name, sort) in
        [("required_tables", "table"), ("required_indexes", "index"), ("required_triggers", "trigger")]
    {
        checks.push(look(name, missing(db, sort).await, <[String]>::is_empty));
    }
    checks.push(match audit::check(db, chain).await {
        Ok(Ok(checked)) => check("audit_chain", true, json!({ "checked": checked })),
        Ok(Err(broken)) => check("audit_chain", false, json!(broken.to_string())),
        Err(error) => check("audit_chain", false, json!(error.message)),
    });
}

fn look(name: &str, rows: Result<Vec<String>>, ok: impl Fn(&[String]) -> bool) -> Check {
    match rows {
        Ok(rows) => check(name, ok(&rows), json!(rows)),
        Err(error) => check(name, false, json!(error.message)),
    }
}

async fn rows(db: &mut Db, sql: &'static str) -> Result<Vec<String>> {
    db.values(sql, args![]).await
}

/// What the schema should have and has not.
async fn missing(db: &mut Db, sort: &str) -> Result<Vec<String>> {
    let sql = match db.engine() {
        Engine::Sqlite => sqlite::OBJECTS,
        Engine::Postgres => postgres::OBJECTS,
    };
    let present: Vec<String> = db.values(sql, args![&sort.to_owned()]).await?;
    Ok(schema::objects(db.engine(), sort).into_iter().filter(|name| !present.contains(name)).collect())
}

/// Who can use the ledger's files.
fn modes(path: &Path) -> Vec<Check> {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    let files = ["", "-wal", "-shm", ".bell"].map(|suffix| sqlite::beside(path, suffix));
    let mut checks = vec![mode("folder_mode", &folder, 0o022)];
    checks.extend(files.iter().map(|file: &PathBuf| mode("file_mode", file, 0o077)));
    checks.into_iter().flatten().collect()
}

fn mode(name: &str, path: &Path, forbidden: u32) -> Option<Check> {
    let meta = std::fs::metadata(path).ok()?;
    let ours = meta.uid() == rustix::process::geteuid().as_raw();
    let found = json!({ "path": path, "mode": format!("{:04o}", meta.mode() & 0o7777), "ours": ours });
    Some(check(name, ours && meta.mode() & forbidden == 0, found))
}
