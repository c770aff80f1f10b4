//! Taking letters out of outboxes as they appear. It waits for no other work, and none waits for it.

use std::path::Path;

use conveyor_agents::Folders;
use conveyor_model::Result;
use conveyor_model::limits;
use tokio::sync::watch::Receiver;

use super::Dispatch;
use crate::outbox;

/// Takes letters until the watch ends: when one appears, when a worker is new, and when one that was half written may be
/// whole.
pub(super) async fn watch(d: &Dispatch<'_>, mut woken: Receiver<u64>, mut ending: Receiver<bool>) {
    let mut folders = match Folders::new(concerns) {
        Ok(folders) => folders,
        Err(error) => {
            tracing::warn!(%error, "letters are taken with each pass only");
            return;
        }
    };
    let mut look = true;
    let mut again = false;
    while !*ending.borrow_and_update() {
        match taken(d, &mut folders, look).await {
            Ok(unfinished) => again = unfinished || (again && !look),
            Err(error) => {
                tracing::warn!(%error, "the outboxes are looked at again");
                again = true;
            }
        }
        tokio::select! {
            _ = ending.changed() => {}
            _ = woken.changed() => look = again,
            () = folders.changed() => look = true,
            () = d.plane.clock.sleep(limits::OUTBOX_SETTLES), if again => look = true,
        }
    }
}

/// Subscribe first, then look. Whether a letter is half written.
async fn taken(d: &Dispatch<'_>, folders: &mut Folders, mut look: bool) -> Result<bool> {
    // A new outbox lies in a folder that was not watched before.
    while folders.watch(&outbox::folders(d.plane).await?)? {
        look = true;
    }
    if look { Ok(outbox::all(d.plane).await?.1) } else { Ok(false) }
}

/// A letter, or a folder on the way to one.
fn concerns(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name == ".conveyor" || name == "outbox" || path.extension().is_some_and(|extension| extension == "json")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use conveyor_store::letters;
    use serde_json::json;
    use tokio::sync::watch;

    use super::super::Settings;
    use super::*;
    use crate::testing::World;

    #[tokio::test]
    async fn a_letter_is_taken_when_it_appears_and_nothing_else_wakes_for_it() {
        let world = World::new();
        let (_, worker, _) = world.bound().await;
        let settings = Settings {
            id: "d".parse().unwrap(),
            lease: limits::LEASE,
            limit: None,
            kind: None,
            patience: Duration::ZERO,
            streams: false,
        };
        let d = Dispatch::new(&world.plane, settings);
        let (_woken, woken) = watch::channel(0);
        let (end, ending) = watch::channel(false);
        let writer = async {
            let outbox = Path::new(&worker.cwd).join(".conveyor/outbox");
            // The folder itself comes after the watch has begun.
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::fs::create_dir_all(&outbox).unwrap();
            for (count, message) in [(1, "one"), (2, "two")] {
                let letter =
                    json!({ "verb": "report", "request": { "status": "progress", "message": message } });
                std::fs::write(outbox.join(".tmp"), letter.to_string()).unwrap();
                std::fs::rename(outbox.join(".tmp"), outbox.join(format!("{message}.json"))).unwrap();
                let taken = async || {
                    let mut reader = world.plane.ledger().await.unwrap().read().await.unwrap();
                    letters::count(&mut reader, &worker.id).await.unwrap()
                };
                for _ in 0..200 {
                    if taken().await == count {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(25)).await;
                }
                assert_eq!(taken().await, count, "{message}");
            }
            end.send_replace(true);
        };
        tokio::join!(super::watch(&d, woken, ending), writer);
    }
}
