//! One pass: everything that is due now, and what would be (dry run).

use conveyor_model::Result;
use conveyor_model::delivery::Stage;
use conveyor_store::deliveries;
use futures::future::join_all;

use super::Dispatch;
use super::Item;
use super::ItemState;
use super::observe;
use super::panes::Panes;
use super::push;
use super::push::Budget;
use super::route;
use super::route::Names;
use crate::outbox;
use crate::start::orphans;

/// Reads all rollouts, looks at silent panes, fills the inboxes, and works on all targets at once. A signal lets it begin
/// nothing more.
///
/// Errors: those of the ledger. Trouble with one rollout or one target is noted and stops nothing.
pub async fn once(d: &Dispatch<'_>) -> Result<()> {
    orphans::reconcile(d.plane).await?;
    observe::all(d).await?;
    outbox::all(d.plane).await?;
    Panes::default().look(d).await?;
    route::all(d).await?;
    let scan = push::scan(d).await?;
    let budget = Budget::new(d.settings.limit);
    let work = scan.targets.iter().map(|(target, looks)| push::target(d, target, looks, &budget));
    let mut work = std::pin::pin!(join_all(work));
    let mut stop = d.plane.end_gracefully();
    // An error means that nobody can ask any more.
    let asked = async { drop(stop.wait_for(|asked| *asked).await) };
    let done = tokio::select! {
        done = &mut work => Some(done),
        () = asked => None,
    };
    let done = match done {
        Some(done) => done,
        // Nothing more is begun; what was begun is brought to its next safe state.
        None => {
            budget.close();
            work.await
        }
    };
    done.into_iter().collect::<Result<Vec<bool>>>()?;
    Ok(())
}

/// Notes what a pass would carry out now. Nothing is written, not even a ledger that is missing.
pub async fn plan(d: &Dispatch<'_>) -> Result<()> {
    let Some(ledger) = d.plane.ledger_to_read().await? else { return Ok(()) };
    let mut reader = ledger.read().await?;
    let now = reader.now();
    for kinds in route::classes(d) {
        let wanted =
            deliveries::Wanted { kinds, states: vec![Stage::Pending], ..deliveries::Wanted::default() };
        let limit = d.settings.limit.unwrap_or(conveyor_model::limits::LIST_ROWS);
        let mut names = Names::default();
        for delivery in deliveries::list(&mut reader, &wanted, limit).await? {
            let is_due =
                delivery.available_at <= now && delivery.inbox_at.is_none() && delivery.host == d.host();
            if is_due {
                let target = names.of(&mut reader, delivery.target_session_id.as_ref()).await?;
                let item = Item::of(&delivery, d.settings.id.as_str(), target);
                d.note(Item { state: ItemState::Planned, dry_run: true, ..item });
            }
        }
    }
    Ok(())
}
