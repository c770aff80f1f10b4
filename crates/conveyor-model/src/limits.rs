//! Every limit of the product, with its reason and where it was measured.

use std::time::Duration;

/// Longest name, in characters: tmux session names and columns of a listing stay readable.
pub const NAME_CHARS: usize = 64;

/// Longest text that is typed into an agent, in bytes. Codex accepted 5 kB in every try; more belongs in a file.
pub const WIRE_BYTES: usize = 64 * 1024;

/// Rows of a body that Codex's composer surely shows together with the label. Measured on screens of 40 rows.
pub const COMPOSER_ROWS: usize = 8;

/// A paste of more characters than this is shown as `[Pasted Content N chars]`. Measured on 0.99 to 0.169.
pub const PASTE_SHOWN_CHARS: usize = 1_000;

/// Rows that a listing returns to an agent unless it asks for another number.
pub const LIST_ROWS: u32 = 100;

/// Bytes of a rollout record's text that the ledger keeps when it is not a message; the rollout keeps the rest.
pub const EVENT_TEXT_BYTES: usize = 4 * 1024;

/// Bytes of a message that the ledger keeps. Whole messages, but never a whole disk.
pub const MESSAGE_TEXT_BYTES: usize = 256 * 1024;

/// Longest rollout line that is parsed. `session_meta` reaches 22 kB; a tool's output once reached megabytes. A longer
/// line is counted as bad and passed over in bounded memory.
pub const ROLLOUT_LINE_BYTES: usize = 8 * 1024 * 1024;

/// Rollout lines that are stored in one transaction, so that the offset moves often and memory stays bounded.
pub const INGEST_BATCH_LINES: usize = 5_000;

/// Tool calls of a turn that are followed by id; more are only counted.
pub const OPEN_CALLS: usize = 64;

/// How long a lease lasts by default. A step takes milliseconds; a minute survives a suspended laptop lid.
pub const LEASE: Duration = Duration::from_mins(1);

/// How long a single tmux call may take before the server counts as hung. Measured: 2 to 3 ms.
pub const TMUX_CALL: Duration = Duration::from_secs(5);

/// How long the composer is given to show a paste before the submit key. Measured: 1 to 30 ms on 0.99 to 0.169.
pub const PASTE_SHOWN: Duration = Duration::from_millis(1_500);

/// How long the screen is given to show that a key was taken, before it counts as swallowed. Measured: one of 80 was.
pub const KEY_SHOWN: Duration = Duration::from_millis(500);

/// Between two looks at a screen that is about to change, within one attempt.
pub const LOOK_AGAIN: Duration = Duration::from_millis(15);

/// How often a caller that follows a delivery looks although nobody rang.
pub const SEE_AGAIN: Duration = Duration::from_secs(1);

/// How long an attempt waits for another process that types into the same pane.
pub const PANE_LOCK: Duration = Duration::from_secs(10);

/// How long after the submit key the record is expected of an idle agent. Measured: median 74 ms, at most 251 ms.
pub const RECORD_EXPECTED: Duration = Duration::from_secs(3);

/// Between the two looks that must both find a message nowhere before it counts as unproved.
pub const UNPROVED_LOOKS_APART: Duration = Duration::from_secs(2);

/// How long our own text beside a person's draft waits before the delivery is reported as blocked.
pub const DRAFT_PATIENCE: Duration = Duration::from_mins(10);

/// A busy turn with an open tool call and no growth for this long is looked at on the screen.
pub const LOOK_AFTER: Duration = Duration::from_secs(2);

/// The longest gap between two looks at the same silent pane.
pub const LOOK_GAP_MAX: Duration = Duration::from_secs(30);

/// How often the dispatcher re-evaluates everything although nobody rang: for a writer killed between commit and bell.
pub const SWEEP: Duration = Duration::from_secs(5);

/// How often a dispatcher refreshes its row. Liveness itself is an operating-system lock, not this.
pub const HEARTBEAT: Duration = Duration::from_mins(1);

/// How long a process stays quiet before it counts as stopped.
pub const STOPPED_QUIET: Duration = Duration::from_secs(2);

/// How long a write waits for another writer of the ledger.
pub const LEDGER_BUSY: Duration = Duration::from_secs(30);

/// Deliveries that one dispatcher transaction moves at most.
pub const DISPATCH_BATCH: u32 = 50;

/// Longest key that a caller may choose (idempotency, dedupe, correlation), in bytes. PostgreSQL indexes at most 2.7 kB.
pub const KEY_BYTES: usize = 512;

/// How long calls may go on after an MCP client left. Small calls take milliseconds, and an answer that is ready within
/// this time still reaches a script that closed only its own end.
pub const MCP_GRACE: Duration = Duration::from_secs(1);

/// Ledgers that an MCP server keeps open. A server has one thread and hence one ledger, rarely a second.
pub const MCP_LEDGERS: usize = 4;

/// How long an MCP server keeps a ledger open that nobody asks for. There is a server for each agent, and PostgreSQL
/// by default has 100 connections.
pub const MCP_LEDGER_IDLE: Duration = Duration::from_mins(1);

/// How long a dispatcher works on one target before it turns to others; never longer than its lease. Each step inside has
/// a limit of its own; this is for what hangs all the same.
pub const TARGET_TIME: Duration = Duration::from_secs(30);

/// Before a dispatcher tries again what failed for a reason outside of the delivery, such as a busy ledger.
pub const DISPATCH_PAUSE: Duration = Duration::from_secs(1);

/// The longest gap between two searches for a rollout that does not exist yet: a search reads whole folders.
pub const ROLLOUT_SEARCH_MAX: Duration = Duration::from_mins(1);

/// Sessions that one dispatcher follows at most.
pub const FOLLOWED_SESSIONS: u32 = 10_000;

/// Size of a detached dispatcher's log at which it is turned over, in bytes; one older log is kept.
pub const DISPATCH_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// How long a detached dispatcher is given to prove that it lives, or to end when it is asked to.
pub const DISPATCH_PROOF: Duration = Duration::from_secs(10);

/// How long a pane and a rollout may disagree before that is a contradiction: a record follows what the screen shows
/// within 0.25 s (measured), and a loaded machine needs more.
pub const CONTRADICTION_AFTER: Duration = Duration::from_secs(2);

/// Busy-wait times of silence after which a turn is advised to be interrupted rather than asked.
pub const SILENCE_BEFORE_INTERRUPT: u32 = 5;

/// Criteria of one status that `cycle` lists; more are counted, and `criteria --list` has them.
pub const CYCLE_CRITERIA: u32 = 100;

/// Bytes of an agent's words that the stored row of a cycle keeps; the report itself has them whole.
pub const CYCLE_WORDS_BYTES: usize = 400;

/// How long after its name was taken a start that was cut off may still bring forth its program: a terminal that was
/// asked for one carries the mark only when it has become that program.
pub const START_SETTLES: Duration = Duration::from_secs(2);

/// How long a Codex that is there is given to show its thread to whoever registers it. Measured on 0.169 on a loaded
/// machine: it takes its thread's lock up to 0.1 s after its composer is ready.
pub const THREAD_APPEARS: Duration = Duration::from_secs(2);

/// Between two looks at the screen of a session that starts. Each costs a process of 2 to 3 ms.
pub const START_LOOK: Duration = Duration::from_millis(100);

/// How long `codex --help` may take. Measured: 0.2 to 0.3 s; on a cold disk node alone takes seconds.
pub const CODEX_ANSWERS: Duration = Duration::from_secs(20);

/// How long an interrupted turn is given to end in the record. Measured: 15 ms while it streams; a tool call takes longer.
pub const TURN_ENDS: Duration = Duration::from_secs(10);

/// How long a program is given to end after its own command to quit, and its children after it.
pub const PROGRAM_QUITS: Duration = Duration::from_secs(5);

/// How long a worker is given to answer the last text before it is stopped.
pub const LAST_WORDS: Duration = Duration::from_secs(30);

/// How long whoever stops a session waits for a dispatcher that was faster. A stop has limits of its own: the turn's end,
/// the program's, that of its children.
pub const STOP_ENDS: Duration = Duration::from_secs(30);

/// Longest JSON object that a caller may hand over, in bytes: an acknowledgement or a handoff is some hundred words.
pub const OBJECT_BYTES: usize = 64 * 1024;

/// Longest text of a handoff, a decision or a report, in bytes. It is shown whole by `cycle`.
pub const STATEMENT_BYTES: usize = 16 * 1024;

/// Steps, questions or other lines that one statement lists at most.
pub const STATEMENT_LINES: usize = 100;

/// Characters of somebody's words that a sentence of the audit chain quotes; the row that it tells of has them whole.
pub const TOLD_CHARS: usize = 200;

/// Longest letter that is taken out of an outbox, in bytes.
pub const OUTBOX_BYTES: usize = 64 * 1024;

/// Letters of one worker that one pass takes; the rest waits for the next pass.
pub const OUTBOX_LETTERS: usize = 64;

/// Names of an outbox that one pass reads: its owner may have filled it with anything.
pub const OUTBOX_ENTRIES: usize = 4_096;

/// How long a letter that is no JSON may still be half written, before it is refused.
pub const OUTBOX_SETTLES: Duration = Duration::from_secs(2);

/// How long one of Codex's own commands, once submitted, is given to begin its effect before nothing proves it. Measured on
/// an idle 0.169, 0.144 and 0.99: 50 ms to the new thread, 100 ms to the turn that compacts; the turn itself may take minutes.
pub const SLASH_BEGINS: Duration = Duration::from_secs(10);

/// Longest text of a criterion, its proof or its rationale, in bytes. A criterion is a sentence; a page belongs in a file.
pub const CRITERION_BYTES: usize = 8 * 1024;

/// Longest answer of a worker that criteria are read from, in bytes.
pub const PLAN_BYTES: usize = 256 * 1024;

/// How long a killed tree of processes is given to be gone. A process in an uninterruptible call may take seconds.
pub const CONFINED_KILL: Duration = Duration::from_secs(10);

/// How long a confined command's pipe is read after all its processes are dead.
pub const CONFINED_PIPE: Duration = Duration::from_secs(2);

/// How much longer than its own limit a confined command's helper is waited for: its kill and its pipes have theirs.
pub const CONFINED_ENDS: Duration = Duration::from_secs(20);

/// Longest description of what is to be run in confinement, in bytes: command, environment and standard input.
pub const CONFINED_SPEC_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes that are kept of what a check prints; the digest is of all.
pub const CHECK_OUTPUT_BYTES: usize = 64 * 1024;

/// Longest command line of a check, in bytes. More belongs in a script of the repository.
pub const CHECK_BYTES: usize = 8 * 1024;

/// Longest revision that git is asked for, in bytes.
pub const REVISION_BYTES: usize = 256;

/// How long a git command may take, in milliseconds. A working tree of a large repository takes a minute on a slow disk.
pub const GIT_MS: u64 = 300_000;

/// How long a check may take by default, in seconds.
pub const CHECK_SECONDS: u32 = 600;

/// Bytes that are kept of a reviewer's answer: the longest rationale and addendum, each character of them escaped.
pub const REVIEW_OUTPUT_BYTES: usize = 256 * 1024;

/// Criteria that a reviewer is told of at most.
pub const REVIEW_CRITERIA: usize = 200;

/// The longest time that a reviewer may be given, in seconds.
pub const REVIEW_SECONDS_MAX: f64 = 3_600.0;

/// How long a tool may take to say its version, in milliseconds.
pub const TOOL_MS: u64 = 30_000;

/// Bytes that are kept of what a tool says.
pub const TOOL_OUTPUT_BYTES: usize = 2_048;

/// The longest time that a check may be given, in seconds.
pub const CHECK_SECONDS_MAX: u32 = 6 * 3_600;

/// Largest file whose digest is taken as evidence: a video of a test run fits; a second of reading at most.
pub const ARTIFACT_BYTES: u64 = 128 * 1024 * 1024;
