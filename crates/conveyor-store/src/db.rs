//! One connection and how statements run on it. Everything that reads takes `&mut Db`.

use std::borrow::Cow;
use std::sync::Arc;

use conveyor_model::Error;
use conveyor_model::Result;
use sqlx::AnyConnection;
use sqlx::AssertSqlSafe;

use crate::cell::Args;
use crate::cell::Cell;
use crate::cell::Row;
use crate::engine::Engine;
use crate::engine::trouble;
use crate::engine::trouble::Trouble;

/// A connection to a ledger, inside a transaction that a [`crate::Reader`] or a [`crate::Tx`] holds.
#[derive(Debug)]
pub struct Db {
    pub(crate) conn: AnyConnection,
    pub(crate) engine: Engine,
    /// How messages name the ledger.
    pub(crate) place: Arc<str>,
    /// A transaction was left open by somebody who was dropped; it is rolled back before the next one begins.
    pub(crate) unfinished: bool,
    /// A statement has failed: nothing of this transaction may be committed.
    ///
    /// PostgreSQL sees to that itself; SQLite would commit the rest.
    pub(crate) broken: bool,
    /// Queries that ran, from the moment in which a test asks for their plans.
    #[cfg(feature = "testing")]
    pub(crate) asked: Option<Vec<String>>,
}

/// A failed statement, with what sort of failure it was.
pub(crate) struct Failure {
    pub(crate) trouble: Trouble,
    pub(crate) error: Error,
}

/// SQL text: nearly always static, sometimes put together from a row type's columns.
pub(crate) type Sql = Cow<'static, str>;

impl Db {
    /// Runs a statement and returns the number of rows that it changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<Sql>, args: Args) -> Result<u64> {
        let done = sqlx::query_with(AssertSqlSafe(sql.into()), args.0).execute(&mut self.conn).await;
        Ok(done.map_err(|error| self.told(&error))?.rows_affected())
    }

    #[cfg(feature = "testing")]
    fn note(&mut self, sql: Sql) -> Sql {
        if let Some(asked) = &mut self.asked {
            asked.push(sql.clone().into_owned());
        }
        sql
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "the tests' twin keeps the text")]
    fn note(&mut self, sql: Sql) -> Sql {
        sql
    }

    /// Runs statements without arguments, several at once if need be, without keeping them prepared.
    pub(crate) async fn script(&mut self, sql: impl Into<Sql>) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut self.conn).await;
        done.map(drop).map_err(|error| self.told(&error))
    }

    /// All rows of a query.
    pub(crate) async fn all<R: Row>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Vec<R>> {
        let sql = self.note(sql.into());
        let rows = sqlx::query_with(AssertSqlSafe(sql), args.0).fetch_all(&mut self.conn).await;
        let rows = rows.map_err(|error| self.told(&error))?;
        rows.iter().map(|row| R::read_at(row, 0)).collect()
    }

    /// The first row of a query.
    pub(crate) async fn one<R: Row>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Option<R>> {
        let sql = self.note(sql.into());
        let row = sqlx::query_with(AssertSqlSafe(sql), args.0).fetch_optional(&mut self.conn).await;
        let row = row.map_err(|error| self.told(&error))?;
        row.as_ref().map(|row| R::read_at(row, 0)).transpose()
    }

    /// The first column of the first row.
    pub(crate) async fn value<C: Cell>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Option<C>> {
        Ok(self.one::<(C,)>(sql, args).await?.map(|(value,)| value))
    }

    /// All values of the first column.
    pub(crate) async fn values<C: Cell>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Vec<C>> {
        Ok(self.all::<(C,)>(sql, args).await?.into_iter().map(|(value,)| value).collect())
    }

    /// [`Db::script`], telling a lock that is held from any other failure.
    pub(crate) async fn try_script(&mut self, sql: &'static str) -> Result<(), Failure> {
        let done = sqlx::raw_sql(sql).execute(&mut self.conn).await;
        done.map(drop).map_err(|error| self.failure(&error))
    }

    /// [`Db::one`] without arguments, telling a lock that is held from any other failure.
    pub(crate) async fn try_one<R: Row>(&mut self, sql: &'static str) -> Result<Option<R>, Failure> {
        match sqlx::query(sql).fetch_optional(&mut self.conn).await {
            Ok(Some(row)) => {
                R::read_at(&row, 0).map(Some).map_err(|error| Failure { trouble: Trouble::Other, error })
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn told(&mut self, error: &sqlx::Error) -> Error {
        self.broken = true;
        trouble::told(error, self.engine, &self.place)
    }

    fn failure(&self, error: &sqlx::Error) -> Failure {
        Failure {
            trouble: trouble::read(error, self.engine),
            error: trouble::told(error, self.engine, &self.place),
        }
    }

    /// Which engine keeps this ledger.
    pub fn engine(&self) -> Engine {
        self.engine
    }
}
