//! Typed ids: a prefix that says what it names, and a UUIDv7. None converts into another.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::Error;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What each id of this type begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id of a fresh UUID.
            pub fn new(uuid: Uuid) -> Self {
                Self(format!("{}{uuid}", $prefix))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text.strip_prefix($prefix).map(Uuid::try_parse) {
                    Some(Ok(_)) => Ok(Self(text.to_owned())),
                    _ => Err(Error::usage(format!(
                        "`{}` is not an id of the form {}<uuid>",
                        text.chars().take(80).collect::<String>().escape_debug(),
                        $prefix,
                    ))),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": concat!("^", $prefix) })
            }
        }
    )* };
}

ids! {
    /// A worker and a manager tied to a task, from bind to unbind.
    BindingId = "binding-",
    /// One message or one action on an agent. The contract calls it a command.
    DeliveryId = "command-",
    /// A span of work on a task, for telemetry and export.
    RunId = "run-",
    /// A registered agent session.
    SessionId = "session-",
    /// A unit of supervised work.
    TaskId = "task-",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_its_prefix() {
        let id = TaskId::new(Uuid::nil());
        assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
        assert!(id.as_str().parse::<SessionId>().is_err());
        assert!("task-1".parse::<TaskId>().is_err());
    }
}
