//! What was sent once is sent again: to the same node, to it after a restart, by others, later, under a used id.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use truc_evidence::{IndexKey, Recorder};
use truc_exchange::ports::NoTimeStamps;
use truc_exchange::{Ground, Provider, Sealing};
use truc_message::CALL_LIFE;
use truc_model::FaultCode::{Expired, Malformed, Replayed, Untrusted};
use truc_peer::{Connections, PeerDoor, PeerDoorConfig};
use truc_testkit::{Bus, MemorySpool};
use truc_trust::{StatusPolicy, Verifier};

use crate::case::{full_draft, serve};
use crate::forge::Pen;
use crate::hostile::Hostile;
use crate::relay::{Relay, Way};
use crate::wire::{Said, request_of};
use crate::{CONSUMER, PROVIDER, SERVICE, STRANGER, federation};

/// The provider's node after a restart: everything anew over the same evidence, behind another door.
async fn restarted(bus: &Bus) -> (String, CancellationToken) {
    let node = bus.node(PROVIDER);
    let index = node.seals.keys().map(|m| (m.clone(), vec![IndexKey::new("index-1", &[7; 32])])).collect();
    let ground = Arc::new(Ground {
        me: node.id.clone(),
        clock: Arc::clone(&bus.clock),
        directory: Arc::clone(&node.directory) as _,
        verifier: Verifier::new(node.id.clone(), Arc::clone(&bus.responder) as _, StatusPolicy::default()),
        recorder: Recorder::new(Arc::clone(&node.store), Arc::clone(&bus.clock), index),
        sealing: Sealing::new(Arc::clone(&node.signer) as _, node.seals.clone(), Arc::clone(&node.own)),
        time_stamps: Arc::new(NoTimeStamps),
    });
    assert!(ground.recorder.restore().await.unwrap().is_empty(), "nothing was left open");
    let provider = Provider::new(ground, Arc::clone(&node.policy), Arc::clone(&node.services) as _);
    let door = PeerDoor::new(
        &node.identity,
        Arc::clone(&node.directory) as _,
        Arc::clone(&bus.clock),
        Arc::new(provider),
        Connections::default(),
        MemorySpool::for_tests(),
        PeerDoorConfig::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { door.unwrap().serve(listener, stopped).await.unwrap() });
    (address, stop)
}

#[tokio::test]
async fn a_message_again() {
    let bus = Arc::new(federation().start().await);
    serve(&bus);
    let (consumer, provider, stranger) = (bus.node(CONSUMER), bus.node(PROVIDER), bus.node(STRANGER));
    let address = provider.entry().address;
    let relay = Relay::between(&bus).await;
    let reply = consumer.call(full_draft()).await.unwrap();
    let honest = relay.heard(Way::Request).remove(0);
    let answer = relay.heard(Way::Answer).remove(0);
    let mut ours = Hostile::connect(&consumer.identity, &address).await.unwrap();
    let mut theirs = Hostile::connect(&stranger.identity, &address).await.unwrap();
    let mut rows = 0;
    let mut row = |name: &str, said: Said, expected: Said| {
        rows += 1;
        assert_eq!(said, expected, "{name}");
        assert_eq!(provider.services.count(), 1, "{name}: called again");
        assert_eq!(provider.memory.as_ref().unwrap().len(), 2, "{name}: recorded again");
    };
    let fault = Said::Fault;
    let mut again = ours.play(&honest).await;
    assert_eq!((again.cms().clone(), again.body()), (answer.clone().cms().clone(), answer.body()));
    assert!(again.open().secrets.is_empty(), "secrets are not evidence");
    row("the same message on another connection: the recorded answer", again.said(), Said::Response);
    row("and once more", ours.said(&honest).await, Said::Response);

    let pen = Pen::of(consumer, "VN/GOV/H26");
    let mut other = honest.clone();
    let length = other.body().len();
    other.set_body(&vec![b'x'; length]);
    other.sign(&pen);
    row("the same id, another body, sealed", ours.said(&other).await, fault(Replayed));
    let mut other = honest.clone();
    other.edit(|h| h.set("userId", "\"khac\""));
    other.sign(&pen);
    row("the same id, another officer, sealed", ours.said(&other).await, fault(Replayed));
    let mut neighbours = honest.clone();
    neighbours.edit(|h| h.set("client", "\"SUBSYSTEM:VN/GOV/H27/xa-1\""));
    neighbours.sign(&Pen::of(consumer, "VN/GOV/H27"));
    row("the same id, the neighbour's", ours.said(&neighbours).await, fault(Replayed));

    row("the same message by another node", theirs.said(&honest).await, fault(Untrusted));
    let mut posing = request_of(stranger, provider, "VN/GOV/H28/khac", SERVICE).await;
    let id = honest.clone().id();
    posing.edit(|h| h.set("id", &format!("\"{id}\"")));
    posing.sign(&Pen::of(stranger, "VN/GOV/H28"));
    row("another node's message under a used id", theirs.said(&posing).await, fault(Replayed));
    posing.edit(|h| h.set("from", &format!("\"NODE:{CONSUMER}\"")));
    posing.sign(&Pen::of(stranger, "VN/GOV/H28"));
    row("another node in this one's name", theirs.said(&posing).await, fault(Untrusted));
    row("the provider's answer to it", ours.said(&answer).await, fault(Malformed));

    // What the provider's node sealed as a consumer, sent back to it.
    let own = request_of(provider, consumer, "VN/GOV/G01/csdl-dancu", "VN/GOV/H26/mot-cua/thong-bao").await;
    row("the provider's own request, reflected", ours.said(&own).await, fault(Untrusted));
    let mut turned = own.clone();
    turned.edit(|h| {
        h.set("from", &format!("\"NODE:{CONSUMER}\""));
        h.set("to", &format!("\"NODE:{PROVIDER}\""));
    });
    row("the same with the nodes turned round", ours.said(&turned).await, fault(Untrusted));

    let (address, stop) = restarted(&bus).await;
    let mut after = Hostile::connect(&consumer.identity, &address).await.unwrap();
    row("after a restart: the recorded answer", after.said(&honest).await, Said::Response);
    row("after a restart: the same id, another officer", after.said(&other).await, fault(Replayed));
    bus.advance(CALL_LIFE + Duration::from_secs(59));
    row("six minutes later, within the skew: the recorded answer", ours.said(&honest).await, Said::Response);
    bus.advance(Duration::from_secs(2));
    row("after that: expired", ours.said(&honest).await, fault(Expired));
    row("after that, after a restart: expired", after.said(&honest).await, fault(Expired));
    let mut renewed = honest.clone();
    let now = bus.clock.now();
    renewed.edit(|h| {
        h.set("sent", &format!("\"{now}\""));
        h.set("expires", &format!("\"{}\"", now.plus(Duration::from_secs(60))));
    });
    renewed.sign(&pen);
    row("made young again under its old id", ours.said(&renewed).await, fault(Malformed));
    assert_eq!(provider.records(reply.request).await.len(), 2);
    eprintln!("a message again: {rows} of {rows} rows hold");
    stop.cancel();
    bus.close().await;
    relay.close().await;
}
