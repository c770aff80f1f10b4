//! The schema: its versions, how each is written for an engine, and how a ledger is brought up to date.

use std::path::Path;

use conveyor_model::Error;
use conveyor_model::Result;
use conveyor_model::Timestamp;

use crate::cell::args;
use crate::db::Db;
use crate::engine;
use crate::engine::Engine;
use crate::engine::patience::Patience;
use crate::engine::postgres;
use crate::engine::sqlite;
use crate::engine::trouble::Trouble;

/// One step of the schema. Released steps are never changed; a change is another step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// The version that the ledger has afterwards.
    pub(crate) version: i64,
    /// What both engines run, in the words that [`translate`] knows.
    pub(crate) common: &'static str,
    /// What only SQLite runs, behind the common part.
    pub(crate) sqlite: &'static str,
    /// What only PostgreSQL runs, behind the common part.
    pub(crate) postgres: &'static str,
}

/// All steps, oldest first.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        common: include_str!("../migrations/0001.sql"),
        sqlite: include_str!("../migrations/0001.sqlite.sql"),
        postgres: include_str!("../migrations/0001.postgres.sql"),
    },
    Migration {
        version: 2,
        common: include_str!("../migrations/0002.sql"),
        sqlite: include_str!("../migrations/0002.sqlite.sql"),
        postgres: include_str!("../migrations/0002.postgres.sql"),
    },
    Migration {
        version: 3,
        common: include_str!("../migrations/0003.sql"),
        sqlite: include_str!("../migrations/0003.sqlite.sql"),
        postgres: include_str!("../migrations/0003.postgres.sql"),
    },
];

/// The version that this program writes.
pub const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

impl Migration {
    /// The whole step as `engine` runs it.
    pub(crate) fn script(&self, engine: Engine) -> String {
        let own = match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        };
        format!("{}\n{own}", translate(self.common, engine))
    }
}

/// The common text in an engine's words.
///
/// On SQLite only `INTEGER PRIMARY KEY` is the row's own id; any other integer key costs a second index. On PostgreSQL
/// text sorts by bytes, as it does on SQLite, whatever the database's locale is.
fn translate(common: &str, engine: Engine) -> String {
    let (identity, text) = match engine {
        Engine::Sqlite => ("INTEGER NOT NULL PRIMARY KEY", "TEXT"),
        Engine::Postgres => ("BIGINT NOT NULL PRIMARY KEY", "TEXT COLLATE \"C\""),
    };
    let mut translated = String::with_capacity(common.len() * 5 / 4);
    for line in common.lines().filter(|line| !line.trim_start().starts_with("--")) {
        for (place, word) in line.split(' ').enumerate() {
            if place > 0 {
                translated.push(' ');
            }
            let bare = word.trim_end_matches([',', ';']);
            translated.push_str(match bare {
                "IDENTITY" => identity,
                "TEXT" => text,
                _ => bare,
            });
            translated.push_str(&word[bare.len()..]);
        }
        translated.push('\n');
    }
    translated
}

/// Names of everything that the schema consists of, by sort: `table`, `index`, `trigger`.
pub(crate) fn objects(engine: Engine, sort: &str) -> Vec<String> {
    let script: String = MIGRATIONS.iter().map(|step| step.script(engine)).collect();
    let mut names: Vec<String> = script
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("CREATE ")?;
            let rest = rest.strip_prefix("UNIQUE ").unwrap_or(rest);
            let name = rest.strip_prefix(&sort.to_uppercase())?.split_whitespace().next()?;
            Some(name.trim_end_matches('(').to_owned())
        })
        .collect();
    names.sort();
    names
}

/// Which version a ledger holds: `None` when it is empty. Refuses what another program made, or a conveyor that knows
/// more than `newest`.
pub(crate) async fn version(db: &mut Db, newest: i64) -> Result<Option<i64>> {
    let found = match db.engine {
        Engine::Sqlite => sqlite::schema_version(db).await?,
        Engine::Postgres => postgres::schema_version(db).await?,
    };
    match found {
        Some(version) if version > newest => Err(Error::ledger(format!(
            "the ledger {} was written by a newer conveyor (its schema is version {version}, this program knows {newest})",
            db.place
        ))
        .hint("install the newer conveyor, or give another ledger with --db")),
        other => Ok(other),
    }
}

/// Brings a ledger up to the last of `steps`. Nothing is written when it is there already.
///
/// An existing file is copied first; all missing steps run in one transaction, and whoever comes second finds them done.
pub(crate) async fn migrate(
    db: &mut Db,
    path: Option<&Path>,
    steps: &[Migration],
    now: Timestamp,
) -> Result<()> {
    let newest = steps.last().map_or(0, |step| step.version);
    let found = version(db, newest).await?;
    if found == Some(newest) {
        return Ok(());
    }
    if let (Some(version), Some(path)) = (found, path) {
        let copy = sqlite::copy(db, path, version, &now.to_string()).await?;
        tracing::info!(copy = %copy.display(), "the ledger was copied before its schema is brought up to date");
    }
    if db.engine == Engine::Sqlite && found.is_none() {
        sqlite::prepare_new(db).await?;
    }
    begin(db).await?;
    let done = run(db, steps, now).await;
    match done {
        Ok(()) => db.script("COMMIT").await,
        Err(error) => {
            engine::roll_back(db).await;
            Err(error.during("bringing the ledger's schema up to date"))
        }
    }
}

/// Begins the one transaction of a migration, waiting for whoever does the same.
async fn begin(db: &mut Db) -> Result<()> {
    match db.engine {
        Engine::Sqlite => {
            let mut patience = Patience::new();
            loop {
                match db.try_begin_write().await {
                    Ok(()) => return Ok(()),
                    Err(failure) if failure.trouble == Trouble::Busy && patience.lasts().await => {}
                    Err(failure) => return Err(failure.error),
                }
            }
        }
        Engine::Postgres => {
            db.script("BEGIN").await?;
            postgres::lock_migration(db).await
        }
    }
}

async fn run(db: &mut Db, steps: &[Migration], now: Timestamp) -> Result<()> {
    let newest = steps.last().map_or(0, |step| step.version);
    let found = version(db, newest).await?.unwrap_or(0);
    for step in steps.iter().filter(|step| step.version > found) {
        db.script(step.script(db.engine)).await?;
        let sql = "INSERT INTO conveyor_schema (version, applied_at) VALUES ($1, $2)";
        db.execute(sql, args![&step.version, &now]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_reads_its_own_words() {
        let common = "-- TEXT in a comment\nCREATE TABLE t (\n    id IDENTITY,\n    name TEXT NOT NULL,\n    note TEXT\n);";
        assert_eq!(
            translate(common, Engine::Postgres),
            "CREATE TABLE t (\n    id BIGINT NOT NULL PRIMARY KEY,\n    name TEXT COLLATE \"C\" NOT NULL,\n    \
             note TEXT COLLATE \"C\"\n);\n"
        );
        assert!(
            translate(common, Engine::Sqlite)
                .contains("id INTEGER NOT NULL PRIMARY KEY,\n    name TEXT NOT NULL")
        );
    }

    #[test]
    fn the_objects_of_the_schema_are_known_by_name() {
        let tables = objects(Engine::Sqlite, "table");
        assert!(tables.contains(&"chain_head".to_owned()) && tables.contains(&"dispatchers".to_owned()));
        assert!(objects(Engine::Sqlite, "index").contains(&"events_place".to_owned()));
        assert!(objects(Engine::Postgres, "trigger").contains(&"audit_events_no_truncate".to_owned()));
        assert_eq!(tables, objects(Engine::Postgres, "table"));
    }
}
