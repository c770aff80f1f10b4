//! What comes next on a task: each side proposes, somebody independent compares.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::Result;

/// Longest rationale or addendum of a review, in bytes: it is read, not archived.
pub const WORDS_BYTES: usize = 16 * 1024;

/// How far two proposals agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// They say the same.
    Match,
    /// Both can be done.
    Compatible,
    /// One excludes the other.
    Divergent,
}

impl Agreement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Match, Self::Compatible, Self::Divergent];

    /// The word that the ledger stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Compatible => "compatible",
            Self::Divergent => "divergent",
        }
    }
}

/// What is to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Go on as proposed.
    Proceed,
    /// Go on with what the addendum says.
    Amend,
    /// Do not go on.
    Stop,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Proceed, Self::Amend, Self::Stop];

    /// The word that the ledger stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proceed => "proceed",
            Self::Amend => "amend",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Agreement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| Error::usage("`agreement` has to be match, compatible or divergent"))
    }
}

impl FromStr for Verdict {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| Error::usage("`verdict` has to be proceed, amend or stop"))
    }
}

/// What a reviewer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// How far the proposals agree.
    pub agreement: Agreement,
    /// What is to follow.
    pub verdict: Verdict,
    /// Why.
    pub rationale: String,
    /// What is to be added.
    pub addendum: Option<String>,
}

impl Opinion {
    /// Reads an opinion out of JSON. It is somebody else's text: whatever is not an opinion is refused.
    ///
    /// Errors: usage.
    pub fn of(json: &Value) -> Result<Self> {
        let Some(object) = json.as_object() else { return Err(Error::usage("a review is a JSON object")) };
        let text = |key: &str| match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() > WORDS_BYTES => {
                Err(Error::usage(format!("`{key}` is longer than {WORDS_BYTES} bytes")))
            }
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Error::usage(format!("`{key}` has to be a text"))),
        };
        let needed = |key: &str| {
            text(key)?
                .filter(|text| !text.trim().is_empty())
                .ok_or_else(|| Error::usage(format!("`{key}` is missing")))
        };
        Ok(Self {
            agreement: needed("agreement")?.parse()?,
            verdict: needed("verdict")?.parse()?,
            rationale: needed("rationale")?,
            addendum: text("addendum")?,
        })
    }

    /// What is stored where no opinion was got: nobody goes on because a reviewer failed.
    pub fn of_failure(why: &str) -> Self {
        Self {
            agreement: Agreement::Divergent,
            verdict: Verdict::Stop,
            rationale: why.chars().take(2_000).collect(),
            addendum: None,
        }
    }
}

/// Whether a person has to decide: the reviewer failed, or the proposals exclude each other and nobody said that this may
/// pass.
pub fn needs_person(opinion: &Opinion, reviewer_failed: bool, proceeds_by_itself: bool) -> bool {
    (opinion.verdict == Verdict::Stop && reviewer_failed)
        || (opinion.agreement == Agreement::Divergent && !proceeds_by_itself)
}

/// From which side somebody looks at proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Viewer {
    /// A person: everything.
    All,
    /// The worker.
    Worker,
    /// The manager.
    Manager,
    /// Whoever reviews.
    Reviewer,
}

/// Whether a viewer sees a proposal before the sides are compared: a manager sees the worker's only once it has made its
/// own, and a worker never the manager's; else one would copy the other and a comparison would show nothing.
pub const fn is_open(viewer: Viewer, of_worker: bool, manager_has_proposed: bool) -> bool {
    match (viewer, of_worker) {
        (Viewer::All | Viewer::Reviewer, _) | (Viewer::Worker, true) | (Viewer::Manager, false) => true,
        (Viewer::Manager, true) => manager_has_proposed,
        (Viewer::Worker, false) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_convert_both_ways() {
        for one in Agreement::ALL {
            assert_eq!(one.as_str().parse::<Agreement>(), Ok(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        for one in Verdict::ALL {
            assert_eq!(one.as_str().parse::<Verdict>(), Ok(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
    }

    #[test]
    fn what_is_no_opinion_is_refused() {
        let good = json!({ "agreement": "match", "verdict": "proceed", "rationale": "same", "more": 1 });
        assert_eq!(Opinion::of(&good).unwrap().addendum, None);
        let with = |key: &str, value: Value| {
            let mut changed = good.clone();
            changed[key] = value;
            Opinion::of(&changed).map(|_| ()).map_err(|error| error.message)
        };
        assert_eq!(
            with("agreement", json!("yes")),
            Err("`agreement` has to be match, compatible or divergent".into())
        );
        assert_eq!(with("verdict", json!(true)), Err("`verdict` has to be a text".into()));
        assert_eq!(with("rationale", json!("  ")), Err("`rationale` is missing".into()));
        assert_eq!(with("addendum", json!(["x"])), Err("`addendum` has to be a text".into()));
        assert!(with("rationale", json!("x".repeat(WORDS_BYTES + 1))).is_err());
        assert_eq!(with("addendum", json!("and this")), Ok(()));
        for other in [json!([]), json!("proceed"), json!(null)] {
            assert!(Opinion::of(&other).is_err());
        }
    }

    #[test]
    fn nobody_goes_on_because_a_reviewer_failed() {
        let failed = Opinion::of_failure("it hung");
        assert!(needs_person(&failed, true, true) && needs_person(&failed, false, false));
        let of = |agreement, verdict| Opinion { agreement, verdict, ..failed.clone() };
        assert!(!needs_person(&of(Agreement::Match, Verdict::Stop), false, false), "a stop needs nobody");
        assert!(needs_person(&of(Agreement::Divergent, Verdict::Proceed), false, false));
        assert!(!needs_person(&of(Agreement::Divergent, Verdict::Proceed), false, true));
    }

    #[test]
    fn no_side_can_copy_the_other() {
        let table = [
            (Viewer::All, [true, true], [true, true]),
            (Viewer::Reviewer, [true, true], [true, true]),
            (Viewer::Worker, [true, false], [true, false]),
            (Viewer::Manager, [false, true], [true, true]),
        ];
        for (viewer, before, after) in table {
            for (has_proposed, wanted) in [(false, before), (true, after)] {
                let seen = [is_open(viewer, true, has_proposed), is_open(viewer, false, has_proposed)];
                assert_eq!(seen, wanted, "{viewer:?}, the manager has proposed: {has_proposed}");
            }
        }
    }
}
