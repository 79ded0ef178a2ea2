//! Whole exchanges: evidence on disk, many at once, big bodies, closing.

use futures::future::join_all;
use truc_evidence::{Outcome, Query, RecordKind};
use truc_message::{Body, Header};
use truc_model::FaultCode;
use truc_testkit::draft;
use truc_testkit::services::json;

use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, SIBLING, bus, federation, open_connections};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_over_tls_is_in_both_journals() {
    let bus = federation().on_disk().in_real_time().start().await;
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let reply = consumer.call(draft(CLIENT, SERVICE)).await.unwrap();
    assert_eq!(reply.status, 200);
    let (ours, theirs) = (consumer.records(reply.request).await, provider.records(reply.request).await);
    assert_eq!(Header::parse(&ours[1].header).unwrap().leaf, Some(theirs[0].leaf()));
    let failed = consumer.call(draft(SIBLING, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::NoRight);
    for node in [consumer, provider] {
        let listed = node.store.list(Query::default()).await.unwrap();
        let outcomes: Vec<Outcome> = listed.exchanges.iter().map(|exchange| exchange.outcome).collect();
        assert_eq!(outcomes, [Outcome::Refused, Outcome::Ok]);
    }
    assert_eq!(bus.responder.queries(), 0, "statuses are stapled and carried");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_one_connection() {
    let bus = bus().await;
    let calls = join_all((0..200).map(|_| bus.node(CONSUMER).call(draft(CLIENT, SERVICE)))).await;
    let failed: Vec<_> = calls.iter().filter_map(|call| call.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(bus.node(PROVIDER).services.count(), 200);
    assert_eq!(open_connections(&bus, PROVIDER), [bus.node(CONSUMER).auth.fingerprint()]);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_every_size_go_both_ways() {
    let bus = bus().await;
    for length in [0, 1, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 10 * 1024 * 1024] {
        let body: Vec<u8> = (0_u8..251).cycle().take(length).collect();
        let mut asked = draft(CLIENT, SERVICE);
        (asked.method, asked.body) = ("POST".into(), Body::new(body.clone().into()).into());
        let reply = bus.node(CONSUMER).call(asked).await.unwrap();
        assert!(reply.body.bytes().unwrap() == &body, "{length}");
        let records = bus.node(CONSUMER).records(reply.request).await;
        assert_eq!(records[1].kind, RecordKind::Response);
    }
    bus.close().await;
}

/// More bodies at once than their door lets wait for their tickets: the ticket of each must get past the bodies of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_bodies_does_not_stand_in_its_own_way() {
    let bus = bus().await;
    let calls = (0..150).map(|_| {
        let mut asked = draft(CLIENT, SERVICE);
        (asked.method, asked.body) = ("POST".into(), Body::new(vec![7; 700 * 1024].into()).into());
        bus.node(CONSUMER).call(asked)
    });
    let failed: Vec<_> = join_all(calls).await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of 150: {:?}", failed.len(), failed[0]);
    bus.close().await;
}

/// A big answer in the middle of many small ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn big_and_small_go_side_by_side() {
    let bus = bus().await;
    bus.node(PROVIDER).services.on(SERVICE, |asked| async move {
        let big = asked.body.as_ref() == b"big";
        Ok(truc_exchange::ports::ServiceAnswer {
            body: if big { vec![b'x'; 2 * 1024 * 1024].into() } else { "small".into() },
            ..json(200, "")
        })
    });
    let calls = (0..40).map(|n| {
        let mut asked = draft(CLIENT, SERVICE);
        asked.body = Body::new(if n % 4 == 0 { "big".into() } else { "small".into() }).into();
        bus.node(CONSUMER).call(asked)
    });
    for (n, reply) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply.unwrap().body.len(), if n % 4 == 0 { 2 * 1024 * 1024 } else { 5 });
    }
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_body_that_nobody_wants_is_refused_at_once() {
    let bus = bus().await;
    let mut asked = draft(SIBLING, SERVICE);
    (asked.method, asked.body) = ("POST".into(), Body::new(vec![7; 8 * 1024 * 1024].into()).into());
    let failed = bus.node(CONSUMER).call(asked).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::NoRight);
    assert!(bus.node(PROVIDER).records(failed.request.unwrap()).await.is_empty());
    assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_leaves_no_connection() {
    let bus = bus().await;
    for _ in 0..3 {
        assert_eq!(bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap().status, 200);
    }
    let held = bus.node(CONSUMER).open(bus.node(PROVIDER)).await;
    bus.close().await;
    drop(held);
    for node in [CONSUMER, PROVIDER] {
        // The HTTP/2 task of a cut connection ends by itself.
        while bus.node(node).connections.count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let failed = bus.node(CONSUMER).call(draft(CLIENT, SERVICE)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::Unavailable);
}
