//! What a reader's own record confirms.

use conveyor_model::Result;
use conveyor_model::ids::DeliveryId;
use conveyor_store::AuditRow;
use conveyor_store::Tx;
use conveyor_store::deliveries;
use conveyor_store::sessions::Session;

/// Confirms what a reader's own record shows that it has read: a tool's output that holds an item's id and its
/// confirmation, which stands nowhere but in what the reader was given.
pub(crate) async fn confirm_by_record(tx: &mut Tx, session: &Session, output: &str) -> Result<()> {
    for id in named(output) {
        let Some(item) = deliveries::get(tx, &id).await? else { continue };
        let ours = item.target_session_id.as_ref() == Some(&session.id) && item.consumed_at.is_none();
        if let (true, Some(reader)) = (ours && output.contains(&item.token), &item.offered_to) {
            let audit =
                AuditRow::new("inbox_consumed", format!("The record of {} shows {}.", session.name, item.id));
            deliveries::consume(tx, &item.id, reader, "record", audit).await?;
        }
    }
    Ok(())
}

/// The ids of deliveries that a text names, each once.
fn named(text: &str) -> Vec<DeliveryId> {
    const UUID_CHARS: usize = 36;
    let mut found: Vec<DeliveryId> = Vec::new();
    for (at, _) in text.match_indices(DeliveryId::PREFIX) {
        let id = text.get(at..at + DeliveryId::PREFIX.len() + UUID_CHARS).and_then(|id| id.parse().ok());
        found.extend(id.filter(|id| !found.contains(id)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_any_text() {
        let id = "command-01a203ae-04ca-7370-9952-c3bf08534c3d";
        assert_eq!(named(&format!("é{id}\\\" {id} command-x command-")).len(), 1);
    }
}
