//! Which of the agent's threads a session has, from when to when, and how that was proved.

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::ids::SessionId;

use crate::cell::Row as _;
use crate::cell::Table as _;
use crate::cell::args;
use crate::cell::table;
use crate::db::Db;
use crate::filter::Filter;
use crate::sessions::Session;
use crate::tx::AuditRow;
use crate::tx::Counter;
use crate::tx::Tx;

table! {
    /// A thread of a session.
    SessionThread in "session_threads" {
        /// Small number, given by [`adopt`].
        number: i64,
        /// The session.
        session_id: SessionId,
        /// The agent's own id of the thread.
        thread_id: String,
        /// Its rollout, where it is known.
        rollout_path: Option<String>,
        /// How it was proved that the thread is the session's: `lock`, `open_file`, `title`, `thread_variable` …
        proof: String,
        /// From when.
        since_at: Timestamp,
        /// Until when; absent for a thread that the session still has.
        until_at: Option<Timestamp>,
    }
}

/// Gives a session another thread and keeps its earlier ones. The thread is another active session's: kind `conflict`.
pub async fn adopt(
    tx: &mut Tx,
    session: &SessionId,
    thread: &str,
    rollout: Option<&str>,
    proof: &str,
    audit: AuditRow,
) -> Result<SessionThread> {
    let adopted = SessionThread {
        number: tx.next_number(Counter::Thread).await?,
        session_id: session.clone(),
        thread_id: thread.to_owned(),
        rollout_path: rollout.map(str::to_owned),
        proof: proof.to_owned(),
        since_at: tx.now(),
        until_at: None,
    };
    tx.insert(&adopted).await?;
    tx.audit(audit.or_session(Some(session))).await?;
    Ok(adopted)
}

/// Notes where a thread's rollout lies.
pub async fn set_rollout(tx: &mut Tx, number: i64, rollout: &str, audit: AuditRow) -> Result<()> {
    let sql = "UPDATE session_threads SET rollout_path = $2 WHERE number = $1";
    if tx.change(sql, args![&number, &rollout.to_owned()]).await? > 0 {
        tx.audit(audit).await?;
    }
    Ok(())
}

/// Ends a session's hold on a thread. Whether it had it.
pub async fn release(tx: &mut Tx, session: &SessionId, thread: &str, audit: AuditRow) -> Result<bool> {
    let now = tx.now();
    let sql = "UPDATE session_threads SET until_at = $3 \
               WHERE session_id = $1 AND thread_id = $2 AND until_at IS NULL";
    let released = tx.change(sql, args![session, &thread.to_owned(), &now]).await? > 0;
    if released {
        tx.audit(audit.or_session(Some(session))).await?;
    }
    Ok(released)
}

/// All threads that a session has or had, oldest first.
pub async fn of_session(db: &mut Db, session: &SessionId) -> Result<Vec<SessionThread>> {
    db.all(SessionThread::select("WHERE session_id = $1 ORDER BY number"), args![session]).await
}

/// The threads that a session has now, newest first.
pub async fn current(db: &mut Db, session: &SessionId) -> Result<Vec<SessionThread>> {
    let rest = "WHERE session_id = $1 AND until_at IS NULL ORDER BY number DESC";
    db.all(SessionThread::select(rest), args![session]).await
}

table! {
    /// The newest thread of a session, which it may not have any more, and how far it was read.
    Newest in "session_threads" {
        /// The session.
        session_id: SessionId,
        /// The agent's own id of the thread.
        thread_id: String,
        /// Its rollout, where it is known.
        rollout_path: Option<String>,
        /// End of the last whole line that was read, in bytes; absent before the first.
        position: Option<i64>,
    }
}

/// The newest thread of each of these sessions; nothing of one that never had any.
pub async fn newest_of(db: &mut Db, sessions: &[SessionId]) -> Result<Vec<Newest>> {
    /// Each id is a parameter of its own.
    const AT_ONCE: usize = 500;
    let mut newest = Vec::with_capacity(sessions.len());
    for sessions in sessions.chunks(AT_ONCE) {
        let (rest, args) = Filter::new()
            .one_of("t.session_id", sessions)
            .must(
                "t.number = (SELECT max(l.number) FROM session_threads l WHERE l.session_id = t.session_id)",
            )
            .build();
        let sql = format!(
            "SELECT t.session_id, t.thread_id, t.rollout_path, f.position \
             FROM session_threads t LEFT JOIN follows f ON f.thread_id = t.thread_id {rest}"
        );
        newest.extend(db.all::<Newest>(sql, args).await?);
    }
    Ok(newest)
}

/// All threads of active sessions on a host: what an ingester follows.
pub async fn followed_on(db: &mut Db, host: &str) -> Result<Vec<SessionThread>> {
    let sql = format!(
        "SELECT {} FROM session_threads t JOIN sessions s ON s.id = t.session_id \
         WHERE t.until_at IS NULL AND s.state = 'active' AND s.host = $1 ORDER BY t.number",
        SessionThread::columns("t.")
    );
    db.all(sql, args![&host.to_owned()]).await
}

/// The active session that has a thread now. This is how a caller is known by its thread.
pub async fn session_of(db: &mut Db, thread: &str) -> Result<Option<Session>> {
    let sql = format!(
        "SELECT {} FROM session_threads t JOIN sessions s ON s.id = t.session_id \
         WHERE t.thread_id = $1 AND t.until_at IS NULL AND s.state = 'active'",
        Session::columns("s.")
    );
    db.one(sql, args![&thread.to_owned()]).await
}
