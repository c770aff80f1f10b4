//! PostgreSQL: opening, the schema's version, and rows that come in bulk.

use std::str::FromStr;

use conveyor_model::Error;
use conveyor_model::Result;
use sqlx::Arguments as _;
use sqlx::ConnectOptions as _;
use sqlx::PgConnection;
use sqlx::Row as _;
use sqlx::TypeInfo as _;
use sqlx::ValueRef as _;
use sqlx::postgres::PgArguments;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgRow;

use crate::cell::Args;
use crate::cell::Bound;
use crate::cell::args;
use crate::db::Db;
use crate::engine::LOCK_SLICE;
use crate::engine::trouble;

/// The channel of the doorbell. Channels belong to one database.
pub(crate) const CHANNEL: &str = "conveyor_bell";

/// First half of each advisory lock's key, so that conveyor's locks are not another program's: "conv".
pub(crate) const LOCK_CLASS: i32 = 0x636f_6e76;

/// Key of the lock under which a schema is made or migrated.
const MIGRATION: i32 = 1;

/// Connects to a database.
pub(crate) async fn open(url: &str, place: &str) -> Result<Box<PgConnection>> {
    connect(url).await.map(Box::new).map_err(|error| trouble::told(&error.into(), place))
}

async fn connect(url: &str) -> sqlx::Result<PgConnection> {
    PgConnectOptions::from_str(url)?.disable_statement_logging().connect().await
}

/// A statement's arguments as the driver takes them.
pub(crate) fn arguments(args: Args) -> PgArguments {
    let mut arguments = PgArguments::default();
    for bound in args.0 {
        let added = match bound {
            Bound::Text(text) => arguments.add(text),
            Bound::Int(number) => arguments.add(number),
            Bound::Real(number) => arguments.add(number),
        };
        // Texts and numbers are written into a buffer, which cannot fail.
        debug_assert!(added.is_ok());
    }
    arguments
}

/// Reads a column of text.
pub(crate) fn text(row: &PgRow, index: usize) -> sqlx::Result<Option<String>> {
    row.try_get(index)
}

/// Reads a column of whole numbers. A literal in a query is a narrower one than a table's.
pub(crate) fn int(row: &PgRow, index: usize) -> sqlx::Result<Option<i64>> {
    let narrow = row.try_get_raw(index)?.type_info().name() == "INT4";
    if narrow { Ok(row.try_get::<Option<i32>, _>(index)?.map(i64::from)) } else { row.try_get(index) }
}

/// Reads a column of numbers.
pub(crate) fn real(row: &PgRow, index: usize) -> sqlx::Result<Option<f64>> {
    row.try_get(index)
}

/// What a connection that writes needs.
pub(crate) async fn prepare_writer(db: &mut Db) -> Result<()> {
    db.script(format!("SET lock_timeout = {}", LOCK_SLICE.as_millis())).await
}

/// Waits until nobody else makes or migrates the schema. The lock ends with the transaction.
pub(crate) async fn lock_migration(db: &mut Db) -> Result<()> {
    db.script(format!("SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {MIGRATION})"))
        .await
}

/// Names of the tables, indexes or triggers that exist in the schema in use.
pub(crate) const OBJECTS: &str = "SELECT CAST(name AS TEXT) FROM (\
     SELECT 'table' AS type, tablename AS name FROM pg_tables WHERE schemaname = current_schema() \
     UNION ALL SELECT 'index', indexname FROM pg_indexes WHERE schemaname = current_schema() \
     UNION ALL SELECT 'trigger', tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
        WHERE NOT tgisinternal AND c.relnamespace = CAST(current_schema() AS regnamespace)) objects \
     WHERE type = $1 ORDER BY name";

/// Which version of the schema the database holds: `None` when it holds nothing of conveyor's.
pub(crate) async fn schema_version(db: &mut Db) -> Result<Option<i64>> {
    let tables: Vec<String> = db.values(OBJECTS, args![&"table".to_owned()]).await?;
    if tables.iter().any(|table| table == "conveyor_schema") {
        return db.value("SELECT max(version) FROM conveyor_schema", args![]).await;
    }
    let ours = ["audit_events", "chain_head", "sessions", "tasks"];
    if tables.iter().any(|table| ours.contains(&table.as_str())) {
        return Err(Error::ledger(format!("{} holds tables of another program", db.place))
            .hint("give conveyor a database or a schema of its own"));
    }
    Ok(None)
}
