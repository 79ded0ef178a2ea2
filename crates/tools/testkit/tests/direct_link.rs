//! The link without sockets keeps the contract of every link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::sync::Arc;

use truc_exchange::contract;
use truc_testkit::Federation;

#[tokio::test]
async fn keeps_the_contract_of_links() {
    let bus = Federation::new()
        .member("VN/GOV/G01")
        .subsystem("csdl-dancu")
        .member("VN/GOV/H26")
        .subsystem("mot-cua")
        .start()
        .await;
    let (provider, consumer) = (bus.node("VN/GOV/G01/ss1"), bus.node("VN/GOV/H26/ss1"));
    let scripted = contract::Scripted::new();
    let side = Arc::clone(&scripted) as _;
    bus.board.seat(
        provider.id.clone(),
        side,
        provider.peer(),
        Arc::clone(&provider.own),
        Arc::clone(&bus.clock),
    );
    let mut absent = provider.entry();
    absent.id = "VN/GOV/G01/ss9".parse().unwrap();
    contract::peer_link(consumer.link.as_ref(), &provider.entry(), &absent, &scripted).await.unwrap();
}
