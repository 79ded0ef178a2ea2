//! What one node may have waiting, may change in an hour, and may pile up: everything stays in the journal for good.

use std::time::Duration;

use truc_model::NodeId;

use crate::decide::Desk;
use crate::error::GovernanceError as Refusal;
use crate::filed::Filed;
use crate::request::{Ask, Request};

/// Requests of one node that may wait at once.
const OPEN_LIMIT: usize = 20;
/// Requests of one node within an hour that can be made again and again.
const HOURLY_LIMIT: usize = 60;
const HOUR: Duration = Duration::from_secs(3600);
/// Registered TLS identities of one node, and seals of one member for each node that speaks for it.
const CERTIFICATES_LIMIT: usize = 8;

impl Desk<'_> {
    /// What one node may have waiting, may change in an hour, and may pile up: everything stays in the journal for good.
    pub(super) fn not_too_many(&self, request: &Request) -> Result<(), Refusal> {
        let of_node = |filed: &&Filed| filed.request.node == request.node;
        let all = || self.state.files.requests().filter(of_node);
        if all().filter(|filed| filed.state.is_open()).count() >= OPEN_LIMIT {
            return Err(Refusal::Invalid(format!(
                "nút đã có {OPEN_LIMIT} yêu cầu đang chờ / the node has {OPEN_LIMIT} requests waiting already"
            )));
        }
        let lately = |filed: &&Filed| filed.request.made.plus(HOUR) > self.now && repeats(&filed.request.ask);
        if repeats(&request.ask) && all().filter(lately).count() >= HOURLY_LIMIT {
            return Err(Refusal::Invalid(format!(
                "nút đã đổi {HOURLY_LIMIT} lần trong một giờ; thử lại sau / the node has changed {HOURLY_LIMIT} things within an hour; try again later"
            )));
        }
        self.room_for_certificates(request)
    }

    fn room_for_certificates(&self, request: &Request) -> Result<(), Refusal> {
        let full = |holder: &str| {
            Refusal::Invalid(format!(
                "{holder} đã có quá nhiều chứng thư; hãy xóa chứng thư cũ / {holder} has too many certificates; delete old ones first"
            ))
        };
        let (auth, members) = request.ask.certificates(&request.node);
        let held = |node: &NodeId| self.state.node(node).map_or(0, |node| node.auth_certificates.len());
        if auth.is_some_and(|(node, _)| held(node) >= CERTIFICATES_LIMIT) {
            return Err(full(request.node.as_str()));
        }
        for member in members {
            let seals = self.state.member(&member.id).map_or(0, |m| m.sign_certificates.len());
            if seals >= CERTIFICATES_LIMIT
                && seals >= CERTIFICATES_LIMIT * self.state.nodes_speaking_for(&member.id)
            {
                return Err(full(member.id.as_str()));
            }
        }
        Ok(())
    }
}

/// Whether a node can ask it for ever, with nothing in between that ends: deleting ends by itself.
const fn repeats(ask: &Ask) -> bool {
    !ask.needs_approval() && !matches!(ask, Ask::DeleteCertificate { .. } | Ask::DeleteSubsystem { .. })
}
