//! Conditions that are put together from what a caller asks for.

use crate::cell::Args;
use crate::cell::Cell;

/// A `WHERE` clause that grows, with its arguments. All conditions must hold.
#[derive(Default)]
pub(crate) struct Filter {
    conditions: Vec<String>,
    args: Args,
    count: usize,
}

impl Filter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A condition without an argument.
    pub(crate) fn must(mut self, condition: &'static str) -> Self {
        self.conditions.push(condition.to_owned());
        self
    }

    /// The same, only when `wanted`.
    pub(crate) fn must_if(self, wanted: bool, condition: &'static str) -> Self {
        if wanted { self.must(condition) } else { self }
    }

    /// A condition with one argument, `?` in its text, unless the argument is absent.
    pub(crate) fn given<C: Cell>(mut self, condition: &'static str, value: Option<&C>) -> Self {
        if let Some(value) = value {
            let place = self.place(value);
            self.conditions.push(condition.replace('?', &place));
        }
        self
    }

    /// `column IN (…)`; nothing at all when no value is given.
    pub(crate) fn one_of<C: Cell>(mut self, column: &'static str, values: &[C]) -> Self {
        if !values.is_empty() {
            let places: Vec<String> = values.iter().map(|value| self.place(value)).collect();
            self.conditions.push(format!("{column} IN ({})", places.join(", ")));
        }
        self
    }

    fn place<C: Cell>(&mut self, value: &C) -> String {
        value.bind(&mut self.args);
        self.count += 1;
        format!("${}", self.count)
    }

    /// The clause followed by `rest` (an order) and a limit, with all arguments.
    pub(crate) fn limited(mut self, rest: &'static str, limit: u32) -> (String, Args) {
        let place = self.place(&i64::from(limit));
        let (clause, args) = self.build();
        (format!("{clause} {rest} LIMIT {place}"), args)
    }

    /// The clause with its arguments.
    pub(crate) fn build(self) -> (String, Args) {
        let clause = match self.conditions.as_slice() {
            [] => String::new(),
            conditions => format!("WHERE {}", conditions.join(" AND ")),
        };
        (clause, self.args)
    }
}
