//! Whether the checks of a task's criteria speak for the work as it is now.

use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::finish::Named;
use conveyor_model::finish::Unverified;
use conveyor_model::finish::unverified;
use conveyor_model::limits;
use conveyor_store::Db;
use conveyor_store::criteria;
use conveyor_store::criteria::Criterion;
use conveyor_store::criteria::CriterionStatus;
use conveyor_store::evidence;
use conveyor_store::evidence::Check;
use conveyor_store::evidence::Evidence;
use conveyor_store::evidence::EvidenceKind;
use conveyor_store::tasks::Task;

use super::Pair;
use crate::Plane;
use crate::verify;
use crate::verify::Bounds;
use crate::verify::Repository;

/// A criterion that must hold, with its check and the latest verdict.
pub(super) struct Wanted {
    criterion: Criterion,
    check: Check,
    latest: Option<Evidence>,
}

/// How a check stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The criterion.
    pub(super) criterion: Named,
    /// Why it does not speak for the work; `None` when it does.
    pub(super) unverified: Option<Unverified>,
}

/// The criteria of a task that must hold and carry a check. Three queries, however many criteria there are.
pub(super) async fn of(db: &mut Db, task: &Task) -> Result<Vec<Wanted>> {
    let checks = evidence::checks(db, &task.id).await?;
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let must = [CriterionStatus::Accepted, CriterionStatus::Satisfied];
    let mut criteria = criteria::list(db, &task.id, &must).await?;
    let mut latest = evidence::latest(db, &task.id).await?;
    let mut wanted = Vec::new();
    for check in checks {
        let Some(place) = criteria.iter().position(|one| one.id == check.criterion_id) else { continue };
        let criterion = criteria.swap_remove(place);
        let found = latest.iter().position(|one| one.criterion_id == criterion.id);
        let latest = found.map(|place| latest.swap_remove(place));
        let latest = latest.filter(|one| one.kind == EvidenceKind::Verified);
        wanted.push(Wanted { criterion, check, latest });
    }
    Ok(wanted)
}

/// Runs what did not run on the commit that is there now, unless this is only a rehearsal.
pub(super) async fn bring_up_to_date(
    plane: &Plane,
    pair: &Pair,
    wanted: Vec<Wanted>,
    rehearsal: bool,
) -> Result<Vec<Standing>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let repository = Repository::of(verify::folder(plane, pair.worker.as_ref()))?;
    let commit = repository.commit(plane, "HEAD").await?;
    let dirty = repository.is_dirty(plane).await?;
    let bounds = Bounds { limit: Duration::from_secs(u64::from(limits::CHECK_SECONDS)) };
    let mut standings = Vec::new();
    for one in wanted {
        let passed = one.latest.as_ref().map(|latest| latest.passed);
        let tree = one.latest.as_ref().and_then(|latest| latest.tree_id.as_deref());
        let mut standing = unverified(passed, tree, &commit.tree, dirty);
        let again = match standing {
            Some(Unverified::Never | Unverified::Failed | Unverified::Moved) => !rehearsal,
            Some(Unverified::Dirty) | None => false,
        };
        if again {
            let result = verify::run(plane, &repository, &commit, &one.check, bounds).await?;
            let mut tx = plane.ledger().await?.write(&plane.actor().await?).await?;
            if let Some(now) = criteria::get(&mut tx, &pair.task.id, one.criterion.id).await? {
                verify::store(&mut tx, &now, &result).await?;
            }
            tx.commit().await?;
            standing = unverified(Some(result.passed), Some(&result.tree), &commit.tree, dirty);
        }
        let criterion = Named { id: one.criterion.id, text: one.criterion.criterion };
        standings.push(Standing { criterion, unverified: standing });
    }
    Ok(standings)
}
