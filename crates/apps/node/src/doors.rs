//! Where a node listens.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::NodeConfig;
use crate::error::NodeError;

/// Where a running node can be reached.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Other nodes.
    pub peer: SocketAddr,
    /// Information systems over plain HTTP, unless that is off.
    pub edge: Option<SocketAddr>,
    /// Information systems over HTTPS, if they can.
    pub edge_https: Option<SocketAddr>,
    /// Operators.
    pub admin: SocketAddr,
    /// Health and metrics, where they have a door of their own.
    pub health: Option<SocketAddr>,
}

/// The listening sockets, bound before anything is served.
pub(crate) struct Doors {
    pub(crate) peer: TcpListener,
    pub(crate) edge: Option<TcpListener>,
    pub(crate) edge_https: Option<TcpListener>,
    pub(crate) admin: TcpListener,
    pub(crate) health: Option<TcpListener>,
    pub(crate) addresses: Addresses,
}

impl Doors {
    pub(crate) async fn bind(config: &NodeConfig) -> Result<Self, NodeError> {
        let (peer, peer_address) = bind("the peer door", config.peer.listen).await?;
        let (edge, edge_address) = bind_if("the edge", config.edge.listen).await?;
        let https = config.edge.https.as_ref().map(|https| https.listen);
        let (edge_https, https_address) = bind_if("the edge's HTTPS", https).await?;
        let (admin, admin_address) = bind("the admin API", config.admin.listen).await?;
        let (health, health_address) = bind_if("health and metrics", config.health.listen).await?;
        let addresses = Addresses {
            peer: peer_address,
            edge: edge_address,
            edge_https: https_address,
            admin: admin_address,
            health: health_address,
        };
        Ok(Self { peer, edge, edge_https, admin, health, addresses })
    }
}

async fn bind_if(
    door: &'static str,
    address: Option<SocketAddr>,
) -> Result<(Option<TcpListener>, Option<SocketAddr>), NodeError> {
    let Some(address) = address else { return Ok((None, None)) };
    let (listener, bound) = bind(door, address).await?;
    Ok((Some(listener), Some(bound)))
}

async fn bind(door: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), NodeError> {
    let failed = |e: std::io::Error| NodeError::Listen { door, address, reason: e.to_string() };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
