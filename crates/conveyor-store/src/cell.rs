//! How a column's value is bound and read, and the two macros that make row types and words of them.
//!
//! Only what both engines agree on is kept: TEXT, BIGINT, DOUBLE PRECISION. A [`Stored`] type says which of the three it
//! is kept as; a truth value is a BIGINT, an id is a TEXT, and no other code knows.

use std::borrow::Cow;

use conveyor_model::Error;
use conveyor_model::Name;
use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::BindingId;
use conveyor_model::ids::DeliveryId;
use conveyor_model::ids::RunId;
use conveyor_model::ids::SessionId;
use conveyor_model::ids::TaskId;
use serde_json::Value;

use crate::engine::conn::RawRow;
use crate::engine::postgres;

/// What a statement is bound with. An absent value too has its column's type: PostgreSQL refuses an untyped one.
#[derive(Clone, Debug)]
pub(crate) enum Bound {
    /// TEXT.
    Text(Option<String>),
    /// BIGINT.
    Int(Option<i64>),
    /// DOUBLE PRECISION.
    Real(Option<f64>),
}

/// One of the three types that a column has.
pub(crate) trait Column: Sized {
    /// The value, to be bound.
    fn bound(value: Option<Self>) -> Bound;

    /// The value of column `index`, or why there is none to read.
    fn get(row: &RawRow<'_>, index: usize) -> Result<Option<Self>, String>;
}

macro_rules! column {
    ($type:ty, $bound:ident, $postgres:path) => {
        impl Column for $type {
            fn bound(value: Option<Self>) -> Bound {
                Bound::$bound(value)
            }

            fn get(row: &RawRow<'_>, index: usize) -> Result<Option<Self>, String> {
                match row {
                    RawRow::Sqlite(row) => row.get(index).map_err(|error| error.to_string()),
                    RawRow::Postgres(row) => $postgres(row, index).map_err(|error| error.to_string()),
                }
            }
        }
    };
}
column!(String, Text, postgres::text);
column!(i64, Int, postgres::int);
column!(f64, Real, postgres::real);

/// A type that is kept in one column.
pub(crate) trait Stored: Sized {
    /// What the engine sees.
    type Column: Column;

    /// The value as it is stored.
    fn store(&self) -> Self::Column;

    /// The value that was stored, or why it can't be one.
    fn load(column: Self::Column) -> Result<Self, String>;
}

/// A type that a row is read from and a statement is bound with: a [`Stored`] one, or an `Option` of one.
pub(crate) trait Cell: Sized {
    /// Appends the value to a statement's arguments.
    fn bind(&self, args: &mut Args);

    /// Reads column `index`.
    fn read(row: &RawRow<'_>, index: usize) -> Result<Self>;
}

impl<T: Stored> Cell for T {
    fn bind(&self, args: &mut Args) {
        args.0.push(T::Column::bound(Some(self.store())));
    }

    fn read(row: &RawRow<'_>, index: usize) -> Result<Self> {
        let present = Option::<T>::read(row, index)?;
        present.ok_or_else(|| unreadable(index, &"nothing stands there"))
    }
}

impl<T: Stored> Cell for Option<T> {
    fn bind(&self, args: &mut Args) {
        args.0.push(T::Column::bound(self.as_ref().map(Stored::store)));
    }

    fn read(row: &RawRow<'_>, index: usize) -> Result<Self> {
        let column = T::Column::get(row, index).map_err(|why| unreadable(index, &why))?;
        column.map(T::load).transpose().map_err(|why| unreadable(index, &why))
    }
}

fn unreadable(index: usize, why: &dyn std::fmt::Display) -> Error {
    Error::ledger(format!("the ledger holds a value that cannot be read in column {index}: {why}"))
        .hint("conveyor db-doctor")
}

/// A statement's arguments.
#[derive(Debug, Default)]
pub(crate) struct Args(pub(crate) Vec<Bound>);

impl Args {
    /// These arguments and one more.
    pub(crate) fn and(mut self, cell: &impl Cell) -> Self {
        cell.bind(&mut self);
        self
    }
}

/// `args![a, b]`: the arguments of `$1`, `$2`, each a reference to a cell.
macro_rules! args {
    ($($cell:expr),* $(,)?) => { $crate::cell::Args::default()$(.and($cell))* };
}
pub(crate) use args;

/// Text as it may be stored: U+0000, which PostgreSQL refuses, becomes U+FFFD on both engines.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

impl Stored for String {
    type Column = String;

    fn store(&self) -> String {
        storable(self).into_owned()
    }

    fn load(column: String) -> Result<Self, String> {
        Ok(column)
    }
}

impl Stored for i64 {
    type Column = Self;

    fn store(&self) -> Self {
        *self
    }

    fn load(column: Self) -> Result<Self, String> {
        Ok(column)
    }
}

impl Stored for f64 {
    type Column = Self;

    fn store(&self) -> Self {
        *self
    }

    fn load(column: Self) -> Result<Self, String> {
        Ok(column)
    }
}

impl Stored for bool {
    type Column = i64;

    fn store(&self) -> i64 {
        i64::from(*self)
    }

    fn load(column: i64) -> Result<Self, String> {
        Ok(column != 0)
    }
}

impl Stored for Value {
    type Column = String;

    fn store(&self) -> String {
        // `to_string` escapes U+0000, so that JSON text never holds it.
        self.to_string()
    }

    fn load(column: String) -> Result<Self, String> {
        serde_json::from_str(&column).map_err(|error| error.to_string())
    }
}

/// Types that are kept as the text that they display and parse.
macro_rules! stored_as_text {
    ($($type:ty),* $(,)?) => { $(
        impl $crate::cell::Stored for $type {
            type Column = String;

            fn store(&self) -> String {
                self.to_string()
            }

            fn load(column: String) -> Result<Self, String> {
                column.parse().map_err(|error| format!("{error}"))
            }
        }
    )* };
}
pub(crate) use stored_as_text;

stored_as_text!(
    BindingId,
    DeliveryId,
    Name,
    RunId,
    SessionId,
    TaskId,
    Timestamp,
    conveyor_model::audit::Hash,
    conveyor_model::continuation::Agreement,
    conveyor_model::continuation::Verdict,
    conveyor_model::delivery::Stage,
    conveyor_model::delivery::Transport,
);

/// A row that is read from a table by name.
pub(crate) trait Row: Sized {
    /// Its columns, in the order in which they are read.
    const COLUMNS: &'static [&'static str];

    /// The row, from columns that begin at `first`.
    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self>;

    /// The same as SQL.
    const LIST: &'static str = "";

    /// Its columns as SQL, each led by `prefix`, an alias and a dot.
    fn columns(prefix: &str) -> String {
        let columns: Vec<String> = Self::COLUMNS.iter().map(|column| format!("{prefix}{column}")).collect();
        columns.join(", ")
    }
}

/// A row type that is one table: what is needed to write it.
pub(crate) trait Table: Row {
    /// The table's name.
    const TABLE: &'static str;

    /// All columns in order.
    fn args(&self) -> Args;

    /// `SELECT` all columns, followed by `rest`.
    fn select(rest: &str) -> String {
        format!("SELECT {} FROM {} {rest}", Self::LIST, Self::TABLE)
    }

    /// `INSERT` of all columns.
    fn insert() -> String {
        let places: Vec<String> = (1..=Self::COLUMNS.len()).map(|place| format!("${place}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", Self::TABLE, Self::LIST, places.join(", "))
    }

    /// `UPDATE` of all columns of the row with this one's first column, its key.
    fn update() -> String {
        let sets: Vec<String> = Self::COLUMNS
            .iter()
            .zip(1..)
            .skip(1)
            .map(|(column, place)| format!("{column} = ${place}"))
            .collect();
        format!("UPDATE {} SET {} WHERE {} = $1", Self::TABLE, sets.join(", "), Self::COLUMNS[0])
    }
}

impl<C: Cell> Row for (C,) {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        Ok((C::read(row, first)?,))
    }
}

impl<A: Cell, B: Cell> Row for (A, B) {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        Ok((A::read(row, first)?, B::read(row, first + 1)?))
    }
}

impl<A: Cell, B: Cell, C: Cell> Row for (A, B, C) {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        Ok((A::read(row, first)?, B::read(row, first + 1)?, C::read(row, first + 2)?))
    }
}

impl<A: Cell, B: Cell, C: Cell, D: Cell> Row for (A, B, C, D) {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_at(row: &RawRow<'_>, first: usize) -> Result<Self> {
        let (a, b, c) = Row::read_at(row, first)?;
        Ok((a, b, c, D::read(row, first + 3)?))
    }
}

/// Declares a row type: a plain struct whose fields are named as the columns, in the columns' order.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident in $table:literal {
            $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::cell::Row for $name {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];
            const LIST: &'static str = {
                let list = concat!($(stringify!($field), ", ",)*);
                list.split_at(list.len() - ", ".len()).0
            };

            fn read_at(row: &$crate::engine::conn::RawRow<'_>, first: usize) -> conveyor_model::Result<Self> {
                let mut places = first..;
                let mut place = || places.next().unwrap_or_default();
                Ok(Self { $($field: $crate::cell::Cell::read(row, place())?,)* })
            }
        }

        impl $crate::cell::Table for $name {
            const TABLE: &'static str = $table;

            fn args(&self) -> $crate::cell::Args {
                $crate::cell::args![$(&self.$field),*]
            }
        }
    };
}
pub(crate) use table;

/// Declares an enum whose variants are words in a column, in JSON and in messages.
macro_rules! words {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = conveyor_model::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().copied().find(|word| word.as_str() == text);
                known.ok_or_else(|| {
                    let all: Vec<&str> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    conveyor_model::Error::usage(format!("`{}` is not {}", text.escape_debug(), $what))
                        .hint(format!("one of {}", all.join(", ")))
                })
            }
        }

        $crate::cell::stored_as_text!($name);
    };
}
pub(crate) use words;
