//! Bodies over 64 KiB, their tickets, and the RPCs that carry them.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Code;
use truc_model::Digest;
use truc_model::FaultCode::{InconsistentResponse, Malformed, OutcomeUnknown, Unavailable, Untrusted};
use truc_wire::peer::frame::Kind;
use truc_wire::peer::{BodyChunk, Ticket, outcome_reply};

use crate::case::{Case, all, big_draft, doubted, fetched, harmless, request, seconds_pass, serve, told};
use crate::hostile::Hostile;
use crate::relay::{Relay, Way};
use crate::wire::{Said, Tape, flip};
use crate::{CONSUMER, PROVIDER, STRANGER, federation};

#[tokio::test]
#[rustfmt::skip]
async fn chunks_of_a_request() {
    type Change = fn(&mut Vec<BodyChunk>);
    let forms: [(&str, Change, _); 8] = [
        ("a bit", |c| flip(&mut c[1].bytes, 99), Untrusted),
        ("two chunks swapped", |c| { let (a, b) = (c[1].bytes.clone(), c[2].bytes.clone()); assert!(!a.is_empty() && a != b); (c[1].bytes, c[2].bytes) = (b, a) }, Untrusted),
        ("a chunk twice instead of the next", |c| c[2].bytes = c[1].bytes.clone(), Untrusted),
        ("a chunk missing", |c| drop(c.remove(1)), Malformed),
        ("the last one missing", |c| c.truncate(2), Malformed),
        ("a chunk twice", |c| c.insert(1, BodyChunk { ticket: Bytes::new(), ..c[1].clone() }), Malformed),
        ("one octet less", |c| { let l = c[2].bytes.len(); c[2].bytes.truncate(l - 1) }, Malformed),
        ("one octet more", |c| c.push(BodyChunk { bytes: Bytes::from_static(b"x"), ticket: Bytes::new() }), Malformed),
    ];
    let mut rows: Vec<Case> = vec![request("nothing changed", |_, _| {}, harmless()).of(big_draft)];
    for (name, change, code) in forms {
        rows.push(request(name, move |t, _| change(&mut t.chunks), told(code)).of(big_draft));
    }
    rows.push(request("no ticket frame", |t, _| t.drop_frame("ticket"), told(Malformed)).of(big_draft));
    rows.push(request("a ticket of 31 octets", |t, _| { *t.kind("ticket") = Kind::Ticket(Ticket { ticket: vec![1; 31].into() }); t.chunks.clear() }, told(Malformed)).of(big_draft));
    rows.push(request("two ticket frames", |t, _| { t.chunks.clear(); let at = t.at("ticket"); t.frames.insert(at, t.frames[at].clone()) }, told(Malformed)).of(big_draft));
    rows.push(request("the signature instead of the body", |t, _| t.chunks.clear(), told(Malformed)).of(big_draft));
    all("chunks of a request", rows).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn chunks_of_an_answer() {
    let rows = vec![
        fetched("nothing changed", |_| {}, harmless()).of(big_draft),
        fetched("a bit", |c| flip(&mut c[1].bytes, 99), doubted(InconsistentResponse)).of(big_draft),
        fetched("two chunks swapped", |c| c.swap(0, 1), doubted(InconsistentResponse)).of(big_draft),
    ];
    all("chunks of an answer", rows).await;
}

/// A body that never becomes whole is asked for ten times, half a second apart.
#[tokio::test]
#[rustfmt::skip]
async fn an_answer_that_is_never_whole() {
    let row = fetched("a chunk missing", |c| drop(c.remove(1)), doubted(OutcomeUnknown)).of(big_draft);
    all("a body with a hole", vec![row]).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn an_answer_that_is_too_long() {
    let row = fetched("a chunk twice", |c| c.push(c[0].clone()), doubted(OutcomeUnknown)).of(big_draft);
    all("a body with more", vec![row]).await;
}

/// Lets the honest side's deadlines pass while something is awaited.
async fn hurry<T>(what: impl Future<Output = T>) -> T {
    let mut what = std::pin::pin!(what);
    loop {
        tokio::select! {
            done = &mut what => return done,
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => seconds_pass(11).await,
        }
    }
}

/// Who may send and fetch under a ticket, how often, and who may ask what became of a request.
#[tokio::test]
#[rustfmt::skip]
async fn tickets_and_outcomes() {
    let bus = Arc::new(federation().start().await);
    serve(&bus);
    let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
    let address = provider.entry().address;
    let relay = Relay::between(&bus).await;
    assert_eq!(consumer.call(big_draft()).await.unwrap().status, 200);
    let mut honest = relay.heard(Way::Request).remove(0);
    let mut ours = Hostile::connect(&consumer.identity, &address).await.unwrap();
    let mut stranger = Hostile::connect(&bus.node(STRANGER).identity, &address).await.unwrap();
    let ticket = honest.ticket().unwrap();
    let mut rows = 0;
    let mut row = |name: &str, holds: bool| {
        rows += 1;
        assert!(holds, "{name}");
    };
    // The repeated message is announced again; its body is brought by somebody else, under its own ticket.
    let number = ours.fresh_number();
    let mut begun = honest.numbered(number);
    begun.frames.truncate(2);
    ours.say(&begun).await;
    ours.barrier().await;
    let theirs = hurry(stranger.send(honest.chunks.clone())).await;
    row("Send: another peer's ticket", theirs == Err(Code::NotFound));
    let ended = hurry(ours.hear(number)).await.said();
    row("Send: the body did not come", ended == Said::Fault(Unavailable));
    let late = hurry(ours.send(honest.chunks.clone())).await;
    row("Send: a ticket nobody waits for any more", late == Err(Code::NotFound));
    let mut short = honest.chunks.clone();
    short[0].ticket = ticket.slice(1..);
    row("Send: a ticket of 31 octets", ours.send(short).await == Err(Code::InvalidArgument));
    row("Send: no chunk", ours.send(vec![]).await == Err(Code::InvalidArgument));

    let answer_to = async |ours: &mut Hostile| -> Tape {
        let number = ours.fresh_number();
        let all = honest.numbered(number);
        let mut first = all.clone();
        first.frames.truncate(2);
        ours.say(&first).await;
        ours.send(all.chunks.clone()).await.unwrap();
        let rest = Tape { frames: all.frames[2..].to_vec(), ..Tape::default() };
        ours.say(&rest).await;
        ours.hear(number).await
    };
    let reply = answer_to(&mut ours).await;
    let offered = reply.ticket().unwrap();
    row("Fetch: a ticket that nobody gave", ours.fetch(&[7; 32]).await == Err(Code::NotFound));
    row("Fetch: a ticket of 31 octets", ours.fetch(&offered[1..]).await == Err(Code::InvalidArgument));
    row("Fetch: another peer's ticket", stranger.fetch(&offered).await == Err(Code::NotFound));
    row("Fetch: the own ticket, unharmed by that", ours.fetch(&offered).await.unwrap().len() == 600 * 1024);
    row("Fetch: a ticket used before", ours.fetch(&offered).await == Err(Code::NotFound));
    row("Fetch: the ticket of a Send", ours.fetch(&ticket).await == Err(Code::NotFound));
    let reply = answer_to(&mut ours).await;
    let offered = reply.ticket().unwrap();
    seconds_pass(61).await;
    row("Fetch: a ticket older than a minute", ours.fetch(&offered).await == Err(Code::NotFound));

    let (id, digest) = (honest.id(), honest.digest());
    let asked = ours.outcome(id, digest).await;
    row("Outcome: one's own request", matches!(asked, Ok(outcome_reply::Kind::Answered(_))));
    let never = Ok(outcome_reply::Kind::Never(true));
    // Of an id that the node has brought, "never" would be a promise about a claim that is there.
    let open = Ok(outcome_reply::Kind::Open(true));
    row("Outcome: another digest", ours.outcome(id, Digest([1; 32])).await == open);
    row("Outcome: another node's request", stranger.outcome(id, digest).await == never);
    row("the service was called once", provider.services.count() == 1);
    row("and two records were made", provider.memory.as_ref().unwrap().len() == 2);
    eprintln!("tickets and outcomes: {rows} of {rows} rows hold");
    bus.close().await;
    relay.close().await;
}
