//! The fake as a stage.

use gantry::secret::Secret;

use super::{Kind, Stage};
use crate::fake::{FakeSwarm, millis, pinned, secs};

/// A fake swarm of three nodes.
pub(crate) struct Paused(FakeSwarm);

impl Paused {
    pub(crate) fn new() -> Self {
        let swarm = FakeSwarm::with_nodes(3);
        let stage = Self(swarm.clone());
        swarm.image(&stage.image(Kind::Crashes)).crashes_after(secs(1), 3).logging(&["boom"]);
        swarm.image(&stage.image(Kind::Exits)).exits_after(secs(1));
        swarm.image(&stage.image(Kind::Sick)).turns_unhealthy_and_completes_after(millis(1200));
        swarm.image(&stage.image(Kind::Unknown)).cannot_be_pulled();
        swarm.image(&stage.image(Kind::Private)).needs_account(stage.account(true).reveal());
        swarm.image(&stage.image(Kind::CannotStart)).cannot_start(
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
             container process: exec: \"/nonexistent\": stat /nonexistent: no such file or directory: unknown",
        );
        stage
    }
}

impl Stage for Paused {
    type Swarm = FakeSwarm;

    fn swarm(&self) -> &FakeSwarm {
        &self.0
    }

    fn image(&self, kind: Kind) -> String {
        pinned("r.test/fk:1", &format!("{kind:?}"))
    }

    fn kind(&self, image: &str) -> Option<Kind> {
        let kinds = [
            Kind::Good(1),
            Kind::Good(2),
            Kind::Good(3),
            Kind::Crashes,
            Kind::Exits,
            Kind::Sick,
            Kind::Unknown,
            Kind::CannotStart,
            Kind::Private,
        ];
        kinds.into_iter().find(|kind| self.image(*kind) == image)
    }

    fn name(&self, name: &str) -> String {
        format!("fk-{name}")
    }

    fn account(&self, is_right: bool) -> Secret {
        Secret::new(if is_right { "right" } else { "wrong" })
    }

    fn lose(&self, node: &str) {
        self.0.node_loses_power(node);
    }

    fn restore(&self, node: &str) {
        self.0.node_has_power_again(node);
    }

    fn change_leader(&self) {
        self.0.leader_changes();
    }

    fn pause(&self, node: &str) {
        self.0.node_is_paused(node, true);
    }

    fn drain(&self, node: &str, is_drained: bool) {
        self.0.node_is_active(node, !is_drained);
    }
}
