//! Links over TLS keep the contract of every link.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_exchange::contract;
use truc_peer::{Connections, PeerDoor, PeerDoorConfig};
use truc_testkit::Federation;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_of_links() {
    let bus = Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .over_tls()
        .start()
        .await;
    let (provider, consumer) = (bus.node("VN/GOV/G01/ss1"), bus.node("VN/GOV/H26/ss1"));
    let scripted = contract::Scripted::new();
    let door = PeerDoor::new(
        &provider.identity,
        Arc::clone(&provider.directory) as _,
        Arc::clone(&bus.clock),
        Arc::clone(&scripted) as _,
        Connections::default(),
        truc_testkit::MemorySpool::for_tests(),
        PeerDoorConfig::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut entry = provider.entry();
    entry.address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = tokio::spawn(async move { door.unwrap().serve(listener, stopped).await.unwrap() });
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut absent = entry.clone();
    absent.id = "VN/GOV/G01/ss9".parse().unwrap();
    absent.address = closed.local_addr().unwrap().to_string();
    drop(closed);
    contract::peer_link(consumer.link.as_ref(), &entry, &absent, &scripted).await.unwrap();
    stop.cancel();
    serving.await.unwrap();
    bus.close().await;
}
