//! The audit chain: what one link is, how its hash is made, and how a run of links is checked.
//!
//! `docs/chain.md` specifies the same byte by byte and holds the test vectors that this module's tests read. The chain
//! shows accidents and edits by others; it does not stop someone who owns the ledger and computes all hashes anew.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::Serializer;
use sha2::Digest as _;
use sha2::Sha256;

use crate::Error;
use crate::ids::BindingId;
use crate::ids::DeliveryId;
use crate::ids::SessionId;
use crate::ids::TaskId;
use crate::time::Timestamp;
use crate::wire::hex;

/// First line of every header. Another layout gets another number, so that no two layouts share a byte string.
const LAYOUT: &str = "conveyor-audit-1\n";

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands before the first link.
    pub const GENESIS: Self = Self([0; 32]);

    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::ledger(format!("`{}` is not a SHA-256", text.escape_debug()));
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// Who did it. Its text is stored with each audit row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Conveyor itself, where nobody asked for it: ingest, reconcile, a migration.
    Conveyor,
    /// A dispatcher, with its id.
    Dispatch(String),
    /// The manager of a task, by its session.
    Manager(SessionId),
    /// A person at a command line.
    Operator,
    /// The worker of a task, by its session.
    Worker(SessionId),
}

impl Actor {
    /// The contract's word for this sort of actor.
    pub const fn role(&self) -> &'static str {
        match self {
            Self::Conveyor => "conveyor",
            Self::Dispatch(_) => "dispatch",
            Self::Manager(_) => "manager",
            Self::Operator => "operator",
            Self::Worker(_) => "worker",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conveyor | Self::Operator => f.write_str(self.role()),
            Self::Dispatch(id) => write!(f, "dispatch:{id}"),
            Self::Manager(session) => write!(f, "manager:{session}"),
            Self::Worker(session) => write!(f, "worker:{session}"),
        }
    }
}

impl FromStr for Actor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            None if text == "conveyor" => Ok(Self::Conveyor),
            None if text == "operator" => Ok(Self::Operator),
            Some(("dispatch", id)) => Ok(Self::Dispatch(id.to_owned())),
            Some(("manager", id)) => Ok(Self::Manager(id.parse()?)),
            Some(("worker", id)) => Ok(Self::Worker(id.parse()?)),
            _ => Err(Error::usage(format!("`{}` is not an actor", text.escape_debug()))),
        }
    }
}

/// What a link says, except for its payload, which is known by its digest only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The place in the chain, from 1, without gaps.
    pub seq: i64,
    /// When, by the ledger's clock.
    pub at: Timestamp,
    /// Who, as text.
    pub actor: String,
    /// What sort of change: a word in snake_case that never changes its meaning.
    pub kind: String,
    /// The change, told in a sentence.
    pub sentence: String,
    /// The task that it belongs to.
    pub task: Option<TaskId>,
    /// The session that it belongs to.
    pub session: Option<SessionId>,
    /// The binding that it belongs to.
    pub binding: Option<BindingId>,
    /// The delivery that it belongs to.
    pub delivery: Option<DeliveryId>,
    /// What ties several rows of one undertaking together.
    pub correlation: Option<String>,
}

impl Header {
    /// The bytes that are hashed: the layout's name, then each field as `<length>:<bytes>\n`, or `-\n` when absent.
    ///
    /// Lengths make the encoding unambiguous: no text can pretend to be two fields.
    pub fn canonical(&self) -> Vec<u8> {
        let (seq, at) = (self.seq.to_string(), self.at.to_string());
        let fields = [
            Some(seq.as_str()),
            Some(at.as_str()),
            Some(self.actor.as_str()),
            Some(self.kind.as_str()),
            Some(self.sentence.as_str()),
            self.task.as_ref().map(TaskId::as_str),
            self.session.as_ref().map(SessionId::as_str),
            self.binding.as_ref().map(BindingId::as_str),
            self.delivery.as_ref().map(DeliveryId::as_str),
            self.correlation.as_deref(),
        ];
        let mut bytes = LAYOUT.to_owned();
        for field in fields {
            match field {
                Some(text) => bytes.extend([&text.len().to_string(), ":", text, "\n"]),
                None => bytes.push_str("-\n"),
            }
        }
        bytes.into_bytes()
    }

    /// The link's hash: SHA-256 over the hash before it, the canonical header and the payload's digest.
    pub fn hash(&self, prev: Hash, payload: Hash) -> Hash {
        let mut sha = Sha256::new();
        sha.update(prev.0);
        sha.update(self.canonical());
        sha.update(payload.0);
        Hash(sha.finalize().into())
    }
}

/// A link as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub header: Header,
    /// Digest of the payload's text.
    pub payload_digest: Hash,
    /// The payload's text; absent once it was pruned.
    pub payload: Option<String>,
    /// The hash that was stored.
    pub hash: Hash,
}

/// Where a chain stands: the last link's place and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Place of the last link; 0 for an empty chain.
    pub seq: i64,
    /// Hash of the last link.
    pub hash: Hash,
}

impl Head {
    /// The head of an empty chain.
    pub const EMPTY: Self = Self { seq: 0, hash: Hash::GENESIS };
}

/// What is wrong with a chain, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A link is missing or stands twice.
    #[error("audit row {expected} is missing: {found} stands in its place")]
    Gap {
        /// The place that was due.
        expected: i64,
        /// The place that was found.
        found: i64,
    },
    /// Header, payload digest or an earlier hash was changed.
    #[error("audit row {seq} does not have the hash that its content gives")]
    Hash {
        /// The link's place.
        seq: i64,
    },
    /// The payload was changed.
    #[error("the payload of audit row {seq} does not have the digest that the row holds")]
    Payload {
        /// The link's place.
        seq: i64,
    },
    /// The links end before the head, or the head's hash is another one.
    #[error("the chain's head says row {head}, the rows end with {last}")]
    Head {
        /// The place that the head names.
        head: i64,
        /// The last link that was found.
        last: i64,
    },
}

/// Checks that `link` follows `head`, and returns the head behind it.
pub fn follow(head: Head, link: &Link) -> Result<Head, Broken> {
    let seq = link.header.seq;
    if seq != head.seq + 1 {
        return Err(Broken::Gap { expected: head.seq + 1, found: seq });
    }
    if link.payload.as_ref().is_some_and(|text| Hash::of(text.as_bytes()) != link.payload_digest) {
        return Err(Broken::Payload { seq });
    }
    if link.header.hash(head.hash, link.payload_digest) != link.hash {
        return Err(Broken::Hash { seq });
    }
    Ok(Head { seq, hash: link.hash })
}

/// Checks a run of links that begins behind `head`, and returns the head at its end.
pub fn verify<'a>(head: Head, links: impl IntoIterator<Item = &'a Link>) -> Result<Head, Broken> {
    links.into_iter().try_fold(head, follow)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIFICATION: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/chain.md"));

    /// The two links that `docs/chain.md` gives as test vectors.
    fn vectors() -> [Link; 2] {
        let first = Header {
            seq: 1,
            at: Timestamp::from_millis(1_795_358_967_172),
            actor: "operator".to_owned(),
            kind: "task_created".to_owned(),
            sentence: "task überblick was created".to_owned(),
            task: Some("task-0197a1d0-0000-7000-8000-000000000001".parse().unwrap()),
            session: None,
            binding: None,
            delivery: None,
            correlation: None,
        };
        let second = Header {
            seq: 2,
            at: Timestamp::from_millis(1_795_358_968_000),
            actor: "manager:session-0197a1d0-0000-7000-8000-000000000002".to_owned(),
            kind: "delivery_enqueued".to_owned(),
            sentence: "a nudge\nof two lines".to_owned(),
            task: first.task.clone(),
            session: Some("session-0197a1d0-0000-7000-8000-000000000002".parse().unwrap()),
            binding: Some("binding-0197a1d0-0000-7000-8000-000000000003".parse().unwrap()),
            delivery: Some("command-0197a1d0-0000-7000-8000-000000000004".parse().unwrap()),
            correlation: Some(String::new()),
        };
        let mut head = Head::EMPTY;
        [(first, r#"{"goal":"see it"}"#), (second, "{}")].map(|(header, payload)| {
            let digest = Hash::of(payload.as_bytes());
            let hash = header.hash(head.hash, digest);
            head = Head { seq: header.seq, hash };
            Link { header, payload_digest: digest, payload: Some(payload.to_owned()), hash }
        })
    }

    /// The fenced blocks of the page whose information string is `name`.
    fn blocks(name: &str) -> Vec<&'static str> {
        let fence = format!("```{name}\n");
        SPECIFICATION
            .split(fence.as_str())
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default())
            .collect()
    }

    #[test]
    fn the_specification_holds_these_headers_and_hashes() {
        let (headers, hashes, payloads) = (blocks("header"), blocks("hashes"), blocks("payload"));
        assert_eq!((headers.len(), hashes.len(), payloads.len()), (2, 2, 2));
        for (place, link) in vectors().iter().enumerate() {
            let header = String::from_utf8(link.header.canonical()).unwrap();
            assert_eq!(header, headers[place]);
            assert_eq!(link.payload.as_deref(), Some(payloads[place].trim_end_matches('\n')));
            assert_eq!(format!("payload {}\nlink    {}\n", link.payload_digest, link.hash), hashes[place]);
        }
    }

    #[test]
    fn a_whole_chain_is_accepted_also_without_its_payloads() {
        let mut links = vectors();
        let head = verify(Head::EMPTY, &links).unwrap();
        assert_eq!(head, Head { seq: 2, hash: links[1].hash });
        links[0].payload = None;
        assert_eq!(verify(Head::EMPTY, &links), Ok(head));
    }

    #[test]
    fn each_changed_field_breaks_the_chain() {
        type Edit = fn(&mut Link);
        let edits: [Edit; 11] = [
            |link| link.header.at = link.header.at.plus(std::time::Duration::from_millis(1)),
            |link| link.header.actor.push('x'),
            |link| link.header.kind.push('x'),
            |link| link.header.sentence.push('x'),
            |link| link.header.task = None,
            |link| link.header.session = Some(SessionId::new(uuid::Uuid::nil())),
            |link| link.header.binding = Some(BindingId::new(uuid::Uuid::nil())),
            |link| link.header.delivery = Some(DeliveryId::new(uuid::Uuid::nil())),
            |link| link.header.correlation = Some(String::new()),
            |link| link.payload_digest = Hash::GENESIS,
            |link| link.hash = Hash::GENESIS,
        ];
        for edit in edits {
            let mut links = vectors();
            edit(&mut links[0]);
            assert!(verify(Head::EMPTY, &links).is_err());
        }
        let mut links = vectors();
        links[0].payload = Some("{}".to_owned());
        assert_eq!(verify(Head::EMPTY, &links), Err(Broken::Payload { seq: 1 }));
    }

    #[test]
    fn a_missing_doubled_or_swapped_link_is_a_gap() {
        let [first, second] = vectors();
        assert_eq!(verify(Head::EMPTY, [&second]), Err(Broken::Gap { expected: 1, found: 2 }));
        assert_eq!(verify(Head::EMPTY, [&first, &first]), Err(Broken::Gap { expected: 2, found: 1 }));
    }

    #[test]
    fn an_absent_field_differs_from_an_empty_one_and_from_its_neighbour() {
        let [link, _] = vectors();
        let with = |edit: fn(&mut Header)| {
            let mut header = link.header.clone();
            edit(&mut header);
            header.canonical()
        };
        let absent = with(|_| ());
        let empty = with(|header| header.correlation = Some(String::new()));
        assert_ne!(absent, empty);
        let shifted = with(|header| {
            header.kind = "task_createdtask".to_owned();
            header.sentence = " überblick was created".to_owned();
        });
        assert_ne!(absent, shifted);
    }

    #[test]
    fn actors_and_hashes_are_read_as_they_are_written() {
        let session = SessionId::new(uuid::Uuid::nil());
        let actors = [
            Actor::Conveyor,
            Actor::Operator,
            Actor::Dispatch("d:1".to_owned()),
            Actor::Manager(session.clone()),
            Actor::Worker(session),
        ];
        for actor in actors {
            assert_eq!(actor.to_string().parse::<Actor>().unwrap(), actor);
        }
        assert!("someone".parse::<Actor>().is_err());
        let hash = Hash::of(b"x");
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        assert!("é".repeat(32).parse::<Hash>().is_err());
        assert!("zz".repeat(32).parse::<Hash>().is_err());
    }
}
