//! The life of a node: open what it holds, close what a crash left open, open its doors, and shut them again.

mod held;
mod node;
mod serving;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use truc_directory_sync::{DirectoryHandle, DirectorySync, SyncConfig};
use truc_model::{Clock, SubsystemId};

use self::held::Held;
use self::node::Node;
use self::serving::Serving;
use crate::config::NodeConfig;
use crate::doors::{Addresses, Doors};
use crate::edge_tls::EdgeTls;
use crate::error::NodeError;
use crate::status_shelf::StatusShelf;

/// Runs a node until `shutdown`; calls `ready` once every door is open.
///
/// # Errors
/// [`NodeError`] when it cannot start, or a door fails.
pub async fn run(
    config: NodeConfig,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(Addresses) + Send,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let held = Held::open(&config, &clock).await?;
    let (directory, sync) = follow_registry(&config, &held, &clock).await?;
    let edge_tls = EdgeTls::open(&config, &clock).await?;
    let (node, certificates) = Node::build(&config, &held, &directory, sync.offers(), &clock)?;
    let shelf = StatusShelf {
        file: config.data_folder.join("directory/statuses.json"),
        ground: Arc::clone(&node.ground),
    };
    shelf.load().await;
    certificates.statuses.take_kept();
    held.desk.restored().into_iter().for_each(|at| node.ground.recorder.restored(at));
    let open = node.ground.recorder.restore().await.map_err(NodeError::store("evidence"))?;
    let open = node.close_interrupted(open).await;
    node.stamper.look().await.map_err(NodeError::store("evidence"))?;
    let doors = Doors::bind(&config).await?;
    ready(doors.addresses);
    let kept = tokio::spawn(shelf.run(shutdown.clone()));
    // Until the doors are shut: exchanges under way may wait for a stamp, and hear acknowledgements.
    let (stamper, unstamped) = (Arc::clone(&node.stamper), CancellationToken::new());
    let stamping = {
        let stop = unstamped.clone();
        tokio::spawn(async move { stamper.run(stop).await })
    };
    let serving = Serving { node, held: &held, config: &config, directory, shutdown: shutdown.clone() };
    let result = serving.run(doors, certificates, edge_tls, open).await;
    shutdown.cancel();
    unstamped.cancel();
    stamping.await?;
    kept.await?;
    sync.stop().await;
    result
}

async fn follow_registry(
    config: &NodeConfig,
    held: &Held,
    clock: &Arc<dyn Clock>,
) -> Result<(DirectoryHandle, DirectorySync), NodeError> {
    let sync = SyncConfig::new(config.data_folder.join("directory"), held.anchor.clone());
    Ok(DirectorySync::start(sync, Arc::clone(&held.desk) as _, Arc::clone(clock)).await?)
}

/// The subsystems whose seals are here.
fn hosted(config: &NodeConfig) -> Vec<SubsystemId> {
    config.members.iter().flat_map(|member| member.subsystems.iter().cloned()).collect()
}
