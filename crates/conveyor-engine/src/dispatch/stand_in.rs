//! Where no dispatcher lives, whoever waits for a message does what needs no terminal itself: it reads rollouts and puts
//! messages into inboxes. What has to be typed waits for a dispatcher.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use conveyor_model::Result;
use conveyor_model::limits;

use super::Dispatch;
use super::Settings;
use super::alive;
use super::rollouts::Rollouts;
use super::route;
use crate::Plane;

/// Whoever waits, at a dispatcher's work.
pub(crate) struct StandIn<'a> {
    dispatch: Dispatch<'a>,
    rollouts: Rollouts,
}

impl<'a> StandIn<'a> {
    /// Nothing where a dispatcher lives.
    pub(crate) async fn unless_alive(plane: &'a Plane) -> Result<Option<Self>> {
        if alive(plane).await?.is_some() {
            return Ok(None);
        }
        let settings = Settings {
            id: "inbox-reader".parse()?,
            lease: limits::LEASE,
            limit: None,
            kind: None,
            patience: Duration::ZERO,
            streams: false,
        };
        Ok(Some(Self { dispatch: Dispatch::new(plane, settings), rollouts: Rollouts::new(plane).await? }))
    }

    /// Reads and routes whatever is new.
    pub(crate) async fn catch_up(&mut self) -> Result<()> {
        self.rollouts.refresh(self.dispatch.plane).await?;
        route::all(&self.dispatch).await
    }

    /// The rollouts that have grown. Safe to drop and call again.
    pub(crate) async fn grown(&mut self) -> Result<BTreeSet<PathBuf>> {
        self.rollouts.grown().await
    }

    /// Reads what has grown.
    pub(crate) async fn read(&mut self, grown: BTreeSet<PathBuf>) -> Result<()> {
        self.rollouts.read(self.dispatch.plane, &grown).await?;
        route::all(&self.dispatch).await
    }
}
