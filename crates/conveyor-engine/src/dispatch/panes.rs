//! Looking at the panes of sessions that are busy and silent: a rollout does not tell a tool that runs from one that
//! waits for an approval. When a pane is looked at is decided by `conveyor_model::shadow::next_look`.

use std::collections::HashMap;

use conveyor_model::Result;
use conveyor_model::Timestamp;
use conveyor_model::delivery::Kind;
use conveyor_model::ids::SessionId;
use conveyor_model::shadow::Looks;
use conveyor_model::shadow::next_look;
use conveyor_model::turn::Turn;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::bindings;
use conveyor_store::bindings::Binding;
use conveyor_store::deliveries;
use conveyor_store::sessions;
use conveyor_store::sessions::Session;
use conveyor_store::tasks;
use conveyor_store::turns;
use futures::future::join_all;
use serde_json::json;

use super::Dispatch;
use crate::ingest;
use crate::message;
use crate::shadow;
use crate::shadow::Raised;

/// The looks that were taken at the panes of busy sessions. A dispatcher that begins anew looks once more.
#[derive(Default)]
pub(super) struct Panes {
    looks: HashMap<SessionId, Looks>,
}

/// A session whose turn runs, with the moment at which its rollout last grew.
struct Busy {
    id: SessionId,
    turn: Turn,
    grew_at: Timestamp,
}

impl Panes {
    /// Looks at each pane whose time has come, all at once. Returns when the next one is due.
    pub(super) async fn look(&mut self, d: &Dispatch<'_>) -> Result<Option<Timestamp>> {
        let now = d.plane.clock.now();
        let busy = busy(d).await?;
        self.looks.retain(|known, _| busy.iter().any(|busy| busy.id == *known));
        let mut due = Vec::new();
        for one in &busy {
            let looks = self.looks.entry(one.id.clone()).or_default();
            if next_look(&one.turn, one.grew_at, *looks).is_some_and(|next| next <= now) {
                *looks = looks.after(now, one.grew_at);
                due.push(look_at(d, &one.id));
            }
        }
        join_all(due).await.into_iter().collect::<Result<Vec<()>>>()?;
        let looks = |one: &Busy| self.looks.get(&one.id).copied().unwrap_or_default();
        Ok(busy.iter().filter_map(|one| next_look(&one.turn, one.grew_at, looks(one))).min())
    }
}

async fn busy(d: &Dispatch<'_>) -> Result<Vec<Busy>> {
    let mut reader = d.plane.ledger().await?.read().await?;
    let rows = turns::in_state(&mut reader, d.host(), "busy").await?;
    let busy = |row: turns::TurnRow| Busy {
        turn: ingest::turn_of(&row),
        grew_at: row.updated_at,
        id: row.session_id,
    };
    Ok(rows.into_iter().map(busy).collect())
}

/// Looks at one pane, and notes what is new: attention, a contradiction, and for the bound manager a message.
async fn look_at(d: &Dispatch<'_>, id: &SessionId) -> Result<()> {
    let ledger = d.plane.ledger().await?;
    let Some(session) = sessions::get(&mut *ledger.read().await?, id).await? else { return Ok(()) };
    let seen = shadow::look(d.plane, &session).await;
    let alive = shadow::process_alive(d.plane, &session);
    {
        let mut reader = ledger.read().await?;
        let turn = turn(&mut reader, id).await?;
        if !shadow::is_news(&mut reader, &session, &turn, &seen, alive, d.plane.clock.now()).await? {
            return Ok(());
        }
    }
    let mut tx = ledger.write(&d.actor()).await?;
    let turn = turn(&mut tx, id).await?;
    let binding = bindings::active_of_worker(&mut tx, id).await?;
    let task = binding.as_ref().map(|binding| &binding.task_id);
    let noted = shadow::note(&mut tx, &session, task, &turn, &seen, alive).await?;
    if let Some(binding) = &binding {
        for raised in &noted.raised {
            tell(d, &mut tx, &session, binding, raised).await?;
        }
    }
    tx.commit().await
}

async fn turn(db: &mut conveyor_store::Db, id: &SessionId) -> Result<Turn> {
    Ok(turns::get(db, id).await?.map(|row| ingest::turn_of(&row)).unwrap_or_default())
}

/// Wakes the bound manager, once for each time that it is raised. What the screen says is read by the command.
async fn tell(
    d: &Dispatch<'_>,
    tx: &mut Tx,
    worker: &Session,
    binding: &Binding,
    raised: &Raised,
) -> Result<()> {
    let (Some(task), Some(manager)) =
        (tasks::get(tx, &binding.task_id).await?, sessions::get(tx, &binding.manager_session_id).await?)
    else {
        return Ok(());
    };
    let text = format!(
        "Worker {} {} on task {}. See it: {} Decide whether it is for you to answer or for a person.",
        worker.name,
        shadow::matter(raised.trouble),
        task.name,
        d.plane.command_line(&["cycle", task.name.as_str()]),
    );
    let mut new = message::new(d.plane, Kind::NotifyManager, &manager, &text);
    new.task = Some(task.id.clone());
    new.binding = Some(binding.id.clone());
    new.source = Some(worker.id.clone());
    new.dedupe_key = Some(format!("{}:worker_attention:{}", binding.id, raised.attention));
    new.payload = json!({
        "signal": "worker_attention",
        "attention": raised.trouble.as_str(),
        "attention_id": raised.attention,
        "message": text,
        "task": task.name,
        "source_session": worker.name,
        "target_session": manager.name,
    });
    let sentence =
        format!("{} wants attention ({}); {} is told.", worker.name, raised.trouble.as_str(), manager.name);
    deliveries::insert(tx, new, AuditRow::new("worker_attention_routed", sentence)).await.map(drop)
}
