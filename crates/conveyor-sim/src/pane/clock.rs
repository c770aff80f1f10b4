//! Time of a world.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use conveyor_model::Timestamp;
use conveyor_store::Clock;
use uuid::Uuid;

use super::World;
use crate::agent::Millis;

/// The clock of a world. It stands still while anything runs.
///
/// With one participant, the default, a sleep moves time at once. With several, time moves to the earliest end of a
/// sleep when all of them sleep: each holds a [`Participant`] and sleeps one sleep at a time.
#[derive(Clone)]
pub struct VirtualClock {
    world: World,
}

/// One of several processes that share a world's time; it leaves when dropped, as a killed process does.
pub struct Participant(World);

impl VirtualClock {
    pub(super) fn new(world: World) -> Self {
        Self { world }
    }

    /// Takes part: time does not move before this one sleeps too.
    pub fn join(&self) -> Participant {
        self.world.with_sleepers(|sleepers| sleepers.participants += 1);
        Participant(self.world.clone())
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.0.with_sleepers(|sleepers| sleepers.participants -= 1);
        self.0.move_time();
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.world.now()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, duration: Duration) {
        let ms = Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX);
        // A sleep of less than a millisecond must not make a loop that never ends.
        let until = self.world.now().saturating_add(ms.max(1));
        let id = self.world.with_sleepers(|sleepers| sleepers.add(until));
        Sleep { world: self.world.clone(), id, asked: false }.await;
    }

    fn uuid_v7(&self) -> Uuid {
        let now = self.world.now();
        self.world.with_ids(|ids| Uuid::parse_str(&ids.uuid(now)).unwrap_or_default())
    }

    fn random(&self) -> u128 {
        self.world.with_ids(|ids| (u128::from(ids.number()) << 64) | u128::from(ids.number()))
    }

    fn rules_the_ledger(&self) -> bool {
        true
    }
}

/// A sleep; dropping it gives it up.
struct Sleep {
    world: World,
    id: u64,
    asked: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.asked, true) {
            // Whatever else is ready goes first: a time-out must not win against something that is there.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.world.move_time();
        let over = self.world.with_sleepers(|sleepers| sleepers.is_over(self.id, context.waker()));
        if over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.world.with_sleepers(|sleepers| sleepers.remove(self.id));
    }
}
