//! A bit of every octet: of the header, the body, the signature and the secrets, one after the other on one stream.

use crate::case::{full_draft, serve};
use crate::hostile::Hostile;
use crate::relay::{Relay, Way};
use crate::wire::{Said, Tape, flip};
use crate::{CONSUMER, PROVIDER, federation};
use std::sync::Arc;
use truc_model::FaultCode::{Expired, Malformed, Replayed, UnsupportedVersion, Untrusted};

async fn swept(name: &str, place: impl Fn(&mut Tape, usize) -> bool) {
    let bus = Arc::new(federation().start().await);
    serve(&bus);
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let address = provider.entry().address;
    let relay = Relay::between(&bus).await;
    assert_eq!(consumer.call(full_draft()).await.unwrap().status, 200);
    let honest = relay.heard(Way::Request).remove(0);
    let mut hostile = Hostile::connect(&consumer.identity, &address).await.unwrap();
    let mut at = 0;
    loop {
        let mut tape = honest.clone();
        if !place(&mut tape, at) {
            break;
        }
        let said = hostile.said(&tape).await;
        let refused = [Untrusted, Malformed, Expired, UnsupportedVersion, Replayed].map(Said::Fault);
        assert!(refused.contains(&said), "{name}: octet {at}: {said:?}");
        at += 1;
    }
    // The honest one, again: the recorded answer, and no second call.
    assert_eq!(hostile.said(&honest).await, Said::Response);
    assert_eq!(provider.services.count(), 1, "{name}");
    assert_eq!(provider.memory.as_ref().unwrap().len(), 2, "{name}");
    eprintln!("a bit of every octet of {name}: {at} of {at} rows hold");
    drop(hostile);
    bus.close().await;
    relay.close().await;
}

fn one(bytes: &mut bytes::Bytes, at: usize) -> bool {
    if at < bytes.len() {
        flip(bytes, at);
    }
    at < bytes.len()
}

#[tokio::test]
async fn the_header() {
    swept("the header", |t, at| one(&mut t.open().header, at)).await;
}

#[tokio::test]
async fn the_signature() {
    swept("the signature", |t, at| one(t.cms(), at)).await;
}

#[tokio::test]
async fn the_body() {
    swept("the body", |t, at| {
        let mut body = t.body().into();
        let there = one(&mut body, at);
        t.set_body(&body);
        there
    })
    .await;
}

#[tokio::test]
async fn the_secrets() {
    swept("the salt", |t, at| one(&mut t.open().secrets[0].salt, at)).await;
    swept("the secret value", |t, at| one(&mut t.open().secrets[1].value, at)).await;
}
