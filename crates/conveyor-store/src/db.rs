//! One connection and how statements run on it. Everything that reads takes `&mut Db`.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use conveyor_model::Error;
use conveyor_model::Result;

use crate::cell::Args;
use crate::cell::Cell;
use crate::cell::Row;
use crate::engine::Engine;
use crate::engine::conn::Conn;
use crate::engine::conn::RawRow;
use crate::engine::trouble;
use crate::engine::trouble::Fault;
use crate::engine::trouble::Trouble;

/// A connection to a ledger, inside a transaction that a [`crate::Reader`] or a [`crate::Tx`] holds.
#[derive(Debug)]
pub struct Db {
    pub(crate) conn: Conn,
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
        self.conn.execute(sql.into(), args).await.map_err(|fault| self.told(&fault))
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
        self.conn.script(sql.into()).await.map_err(|fault| self.told(&fault))
    }

    /// All rows of a query.
    pub(crate) async fn all<R: Row>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Vec<R>> {
        let sql = self.note(sql.into());
        let mut all = Vec::new();
        let take = |row: &RawRow<'_>| {
            all.push(R::read_at(row, 0));
            ControlFlow::Continue(())
        };
        self.conn.rows(sql, args, take).await.map_err(|fault| self.told(&fault))?;
        all.into_iter().collect()
    }

    /// The first row of a query.
    pub(crate) async fn one<R: Row>(&mut self, sql: impl Into<Sql>, args: Args) -> Result<Option<R>> {
        let sql = self.note(sql.into());
        self.first(sql, args).await.map_err(|fault| self.told(&fault))?.transpose()
    }

    async fn first<R: Row>(&mut self, sql: Sql, args: Args) -> Result<Option<Result<R>>, Fault> {
        let mut first = None;
        let take = |row: &RawRow<'_>| {
            first = Some(R::read_at(row, 0));
            ControlFlow::Break(())
        };
        self.conn.rows(sql, args, take).await?;
        Ok(first)
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
        self.conn.script(sql.into()).await.map_err(|fault| self.failure(&fault))
    }

    /// Begins a transaction that takes the one write lock, at once: a plain BEGIN would take it at the first change, and
    /// would then fail instead of waiting, because what was read before may have changed.
    pub(crate) async fn try_begin_write(&mut self) -> Result<(), Failure> {
        self.conn.begin_write().await.map_err(|fault| self.failure(&fault))
    }

    /// [`Db::one`] without arguments, telling a lock that is held from any other failure.
    pub(crate) async fn try_one<R: Row>(&mut self, sql: &'static str) -> Result<Option<R>, Failure> {
        let first = self.first(sql.into(), Args::default()).await.map_err(|fault| self.failure(&fault))?;
        first.transpose().map_err(|error| Failure { trouble: Trouble::Other, error })
    }

    pub(crate) fn told(&mut self, fault: &Fault) -> Error {
        self.broken = true;
        trouble::told(fault, &self.place)
    }

    fn failure(&self, fault: &Fault) -> Failure {
        Failure { trouble: fault.trouble(), error: trouble::told(fault, &self.place) }
    }

    /// Which engine keeps this ledger.
    pub fn engine(&self) -> Engine {
        self.engine
    }
}
