//! One open connection, and how a statement runs on it. SQLite answers on the caller's own thread: a statement takes
//! microseconds, and handing it and each of its rows to another thread took longer than the work (docs/ledger.md).

use std::ops::ControlFlow;

use conveyor_model::Result;
use futures::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use sqlx::PgConnection;
use tokio::task::coop;

use crate::cell::Args;
use crate::db::Sql;
use crate::engine::postgres;
use crate::engine::sqlite;
use crate::engine::trouble::Fault;

/// A connection to either engine.
#[derive(Debug)]
pub(crate) enum Conn {
    /// To a file.
    Sqlite(rusqlite::Connection),
    /// To a server.
    Postgres(Box<PgConnection>),
}

/// A row that an engine returns, before its columns are read.
pub(crate) enum RawRow<'r> {
    /// SQLite's, valid until the next step.
    Sqlite(&'r rusqlite::Row<'r>),
    /// PostgreSQL's.
    Postgres(&'r sqlx::postgres::PgRow),
}

impl Conn {
    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: Sql, args: Args) -> Result<u64, Fault> {
        match self {
            Self::Sqlite(conn) => {
                let changed = sqlite::execute(conn, &sql, &args)?;
                give_way().await;
                Ok(changed)
            }
            Self::Postgres(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), postgres::arguments(args));
                Ok(query.execute(&mut **conn).await?.rows_affected())
            }
        }
    }

    /// Runs a query and shows each row to `take`, until that has enough.
    pub(crate) async fn rows<F>(&mut self, sql: Sql, args: Args, mut take: F) -> Result<(), Fault>
    where
        F: FnMut(&RawRow<'_>) -> ControlFlow<()>,
    {
        match self {
            Self::Sqlite(conn) => {
                sqlite::rows(conn, &sql, &args, take)?;
                give_way().await;
            }
            Self::Postgres(conn) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), postgres::arguments(args));
                let mut rows = query.fetch(&mut **conn);
                while let Some(row) = rows.try_next().await? {
                    if take(&RawRow::Postgres(&row)).is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs statements without arguments, several at once if need be.
    pub(crate) async fn script(&mut self, sql: Sql) -> Result<(), Fault> {
        match self {
            Self::Sqlite(conn) => conn.execute_batch(&sql)?,
            Self::Postgres(conn) => {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **conn).await?;
            }
        }
        Ok(())
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin_write(&mut self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(conn) => Ok(sqlite::begin_write(conn)?),
            // The lock is that of the chain's head, which is read next.
            Self::Postgres(_) => self.script("BEGIN".into()).await,
        }
    }

    /// Rolls back what is open, if that needs nobody else. Whether it did.
    pub(crate) fn roll_back_at_once(&mut self) -> bool {
        match self {
            Self::Sqlite(conn) => {
                if let Err(error) = conn.execute_batch("ROLLBACK") {
                    tracing::debug!(%error, "nothing to roll back");
                }
                true
            }
            Self::Postgres(_) => false,
        }
    }

    /// Ends it in order.
    pub(crate) async fn close(self) -> Result<(), Fault> {
        match self {
            Self::Sqlite(conn) => conn.close().map_err(|(_, error)| error.into()),
            Self::Postgres(conn) => Ok(conn.close().await?),
        }
    }
}

/// Lets signals and other tasks of this thread be served, now and then, between statements that never wait.
async fn give_way() {
    coop::consume_budget().await;
}
