//! Terminals whose user stops for a while before one step: a process that was suspended, or a machine that slept.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use conveyor_model::Result;
use conveyor_model::pane::Screen;
use conveyor_mux::Acted;
use conveyor_mux::BufferName;
use conveyor_mux::Key;
use conveyor_mux::Mux;
use conveyor_mux::PaneInfo;
use conveyor_mux::Pin;
use conveyor_mux::PinCheck;
use conveyor_mux::Server;
use conveyor_mux::SpawnSpec;
use conveyor_mux::Target;
use conveyor_sim::pane::SimMux;
use conveyor_sim::pane::World;
use tokio::sync::Notify;

/// Counts what one process does to terminals, and stops it before one step until it is told to go on.
pub(crate) struct Slow {
    real: SimMux,
    world: World,
    at: u64,
    steps: AtomicU64,
    /// Until when somebody else holds the lease; 0 while it has not gone on.
    until: AtomicU64,
    typed: AtomicU64,
    stopped: Notify,
    go: Notify,
}

impl Slow {
    pub(crate) fn new(world: &World, at: u64) -> Arc<Self> {
        let (real, world) = (world.mux(), world.clone());
        let (stopped, go) = (Notify::new(), Notify::new());
        let (steps, typed) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { real, world, at, steps, until: AtomicU64::new(0), typed, stopped, go })
    }

    /// Resolves when it has stopped.
    pub(crate) async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Lets it go on, while somebody else holds the lease until then.
    pub(crate) fn go_on(&self, until: u64) {
        self.until.store(until, Ordering::SeqCst);
        self.go.notify_one();
    }

    /// How often it has pasted or pressed a key in that time, the step aside before which it had stopped.
    pub(crate) fn typed_afterwards(&self) -> u64 {
        self.typed.load(Ordering::SeqCst)
    }

    async fn step(&self, types: bool) {
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        if step == self.at {
            self.stopped.notify_one();
            self.go.notified().await;
        } else if types && self.world.now() < self.until.load(Ordering::SeqCst) {
            self.typed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Mux for Slow {
    async fn panes(&self, server: &Server) -> Result<Vec<PaneInfo>> {
        self.step(false).await;
        self.real.panes(server).await
    }

    async fn pin(&self, server: &Server, target: &Target) -> Result<Pin> {
        self.step(false).await;
        self.real.pin(server, target).await
    }

    async fn check(&self, pin: &Pin) -> Result<PinCheck> {
        self.step(false).await;
        self.real.check(pin).await
    }

    async fn capture(&self, pin: &Pin) -> Result<Screen> {
        self.step(false).await;
        self.real.capture(pin).await
    }

    async fn load_buffer(&self, pin: &Pin, name: &BufferName, bytes: &[u8]) -> Result<()> {
        self.step(false).await;
        self.real.load_buffer(pin, name, bytes).await
    }

    async fn delete_buffer(&self, pin: &Pin, name: &BufferName) -> Result<bool> {
        self.step(false).await;
        self.real.delete_buffer(pin, name).await
    }

    async fn list_buffers(&self, pin: &Pin, prefix: &str) -> Result<Vec<BufferName>> {
        self.step(false).await;
        self.real.list_buffers(pin, prefix).await
    }

    async fn paste(&self, pin: &Pin, names: &[BufferName]) -> Result<Acted> {
        self.step(true).await;
        self.real.paste(pin, names).await
    }

    async fn press(&self, pin: &Pin, key: Key) -> Result<Acted> {
        self.step(true).await;
        self.real.press(pin, key).await
    }

    async fn spawn(&self, server: &Server, spec: &SpawnSpec) -> Result<Pin> {
        self.step(true).await;
        self.real.spawn(server, spec).await
    }

    async fn kill_pane(&self, pin: &Pin) -> Result<bool> {
        self.step(true).await;
        self.real.kill_pane(pin).await
    }

    async fn kill_session(&self, pin: &Pin) -> Result<bool> {
        self.step(true).await;
        self.real.kill_session(pin).await
    }
}
