//! The frames: every kind dropped, repeated, moved, taken from another exchange, cut short; and what lies beside the header.

use bytes::Bytes;
use truc_model::FaultCode::{
    InconsistentResponse, Internal, Malformed, NoRight, OutcomeUnknown, TooLarge, Unavailable,
    UnsupportedVersion, Untrusted,
};
use truc_model::Side;
use truc_wire::peer::frame::Kind;
use truc_wire::peer::{
    BatchSignature, Cancel, Data, Fault, Open, Recorded, Refusal, Secret, Signature, Ticket, outcome_reply,
    signature,
};

use crate::case::{
    Case, Outcome, all, another, answer, believed, doubted, empty_draft, harmless, outcome, refused, request,
    told, unheard,
};
use crate::relay::Scene;
use crate::wire::{Said, Tape, flip};

fn drop_of(frame: &'static str) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| t.drop_frame(frame)
}

fn twice(frame: &'static str) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| {
        let at = t.at(frame);
        t.frames.insert(at, t.frames[at].clone());
    }
}

fn swap(one: &'static str, other: &'static str) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| {
        let (one, other) = (t.at(one), t.at(other));
        t.frames.swap(one, other);
    }
}

/// The frame of the exchange before takes the place of this one's.
fn from_before(frame: &'static str) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, s| {
        let (mut request, mut reply) = s.before.clone().unwrap();
        let old = if t.field("kind") == "request" { request.kind(frame) } else { reply.kind(frame) };
        *t.kind(frame) = old.clone();
    }
}

fn put(before: &'static str, kind: fn() -> Kind) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| {
        let at = t.at(before);
        t.insert(at, kind());
    }
}

fn behind(kind: fn() -> Kind) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| t.insert(t.frames.len(), kind())
}

fn cancel() -> Kind {
    Kind::Cancel(Cancel {})
}

fn fault(code: &str) -> Kind {
    Kind::Fault(Fault { code: code.into(), detail: "x".into(), ..Fault::default() })
}

fn ticket() -> Kind {
    Kind::Ticket(Ticket { ticket: vec![7; 32].into() })
}

fn recorded() -> Kind {
    Kind::Recorded(Recorded { leaf_index: 9, leaf_hash: vec![9; 32].into() })
}

/// The whole message in one refusal frame.
fn as_refusal(t: &mut Tape) {
    let body = t.body().into();
    let Kind::Signature(signature) = t.kind("signature").clone() else { unreachable!() };
    let refusal = Refusal { open: Some(t.open().clone()), body, signature: Some(signature) };
    let exchange = t.frames[0].exchange;
    t.frames.drain(..t.at("recorded"));
    t.frames.insert(0, truc_wire::peer::Frame { exchange, kind: Some(Kind::Refusal(refusal)) });
}

#[tokio::test]
#[rustfmt::skip]
async fn frames_of_a_request() {
    let rows: Vec<Case> = vec![
        request("no open", drop_of("open"), unheard()).silent_request(301),
        request("no data", drop_of("data"), told(Malformed)),
        request("no signature", drop_of("signature"), told(Malformed)),
        request("no recorded", drop_of("recorded"), refused(Unavailable)).silent_request(31),
        request("no frame at all", |t, _| t.frames.clear(), unheard()).silent_request(301),
        request("only open", |t, _| t.frames.truncate(1), told(Malformed)).silent_request(31),
        request("only open and data", |t, _| t.frames.truncate(2), told(Malformed)).silent_request(31),
        request("open twice", twice("open"), told(Malformed)),
        request("data twice", twice("data"), told(Malformed)),
        request("signature twice", twice("signature"), refused(Unavailable)),
        request("recorded twice", twice("recorded"), harmless()),
        request("data before open", swap("open", "data"), told(Malformed)),
        request("signature before data", swap("data", "signature"), told(Malformed)),
        request("recorded before signature", swap("signature", "recorded"), told(Malformed)),
        request("recorded before everything", |t, _| t.frames.rotate_right(1), refused(Unavailable)).silent_request(31),
        request("all frames turned round", |t, _| t.frames.reverse(), told(Malformed)).silent_request(31),
        request("another exchange's open", from_before("open"), told(Untrusted)).after_one(),
        request("another exchange's signature", from_before("signature"), told(Untrusted)).after_one(),
        request("another exchange's recorded", from_before("recorded"), harmless()).after_one(),
        request("another exchange's data, the same body", from_before("data"), harmless()).after_one(),
        request("another exchange's data, another body", |t, s| {
            from_before("data")(t, s);
            if let Kind::Data(data) = t.kind("data") { flip(&mut data.bytes, 3) }
        }, told(Untrusted)).after_one(),
        request("data under another number", |t, _| { let at = t.at("data"); t.frames[at].exchange += 7; }, told(Malformed)),
        request("signature under another number", |t, _| { let at = t.at("signature"); t.frames[at].exchange += 7; }, told(Malformed)),
        request("recorded under another number", |t, _| { let at = t.at("recorded"); t.frames[at].exchange += 7; }, refused(Unavailable)).silent_request(31),
        request("all under number 0", |t, _| *t = t.numbered(0), unheard()).silent_request(301),
        request("a frame without a kind", |t, _| { let f = truc_wire::peer::Frame { kind: None, ..t.frames[0].clone() }; t.frames.insert(1, f); }, harmless()),
        request("cancel first", put("open", cancel), harmless()),
        request("cancel after open", put("data", cancel), told(Malformed)),
        request("cancel instead of recorded", |t, _| *t.kind("recorded") = cancel(), refused(Unavailable)),
        request("cancel before recorded", put("recorded", cancel), refused(Unavailable)),
        request("cancel behind it all", behind(cancel), harmless()),
        request("a fault instead of recorded", |t, _| *t.kind("recorded") = fault("NO_RIGHT"), refused(Unavailable)),
        request("a fault in the middle", put("signature", || fault("NO_RIGHT")), told(Malformed)),
        request("a ticket for a small body", put("data", ticket), told(Malformed)),
        request("a ticket instead of the data", |t, _| *t.kind("data") = ticket(), told(Malformed)),
        request("a ticket before recorded", put("recorded", ticket), refused(Unavailable)),
        request("recorded in the middle", put("data", recorded), told(Malformed)),
        request("recorded with a short digest", |t, _| *t.kind("recorded") = Kind::Recorded(Recorded::default()), refused(Unavailable)),
        request("the whole as a refusal frame", |t, _| as_refusal(t), unheard()).silent_request(301),
        request("a refusal frame in the middle", put("data", || Kind::Refusal(Refusal::default())), told(Malformed)),
        request("an empty open", |t, _| *t.kind("open") = Kind::Open(Open::default()), told(Malformed)),
        request("data of no body", |t, _| { let at = t.at("signature"); t.insert(at, Kind::Data(Data { bytes: Bytes::from_static(b"x") })) }, told(Malformed)).of(empty_draft),
    ];
    all("frames of a request", rows).await;
}

/// What the consumer's node cannot believe or did not hear, it asks for: the recorded answer comes by `Outcome`.
#[tokio::test]
#[rustfmt::skip]
async fn frames_of_an_answer() {
    let unknown = || Outcome { caller: Err((Side::ClientProxy, OutcomeUnknown)), ..harmless() };
    let rows: Vec<Case> = vec![
        answer("no open", drop_of("open"), harmless()),
        answer("no data", drop_of("data"), harmless()),
        answer("no signature", drop_of("signature"), harmless()),
        answer("no recorded", drop_of("recorded"), unknown()).silent_answer(301),
        answer("no frame at all", |t, _| t.frames.clear(), doubted(OutcomeUnknown)).silent_answer(301),
        answer("only open", |t, _| t.frames.truncate(1), harmless()).silent_answer(31),
        answer("nothing, and the stream ends", |t, _| { t.frames.clear(); t.cut = true }, harmless()),
        answer("only open, and the stream ends", |t, _| { t.frames.truncate(1); t.cut = true }, harmless()),
        answer("no recorded, and the stream ends", |t, _| { t.drop_frame("recorded"); t.cut = true }, harmless()),
        answer("open twice", twice("open"), harmless()),
        answer("data twice", twice("data"), harmless()),
        answer("signature twice", twice("signature"), harmless()),
        answer("recorded twice", twice("recorded"), harmless()),
        answer("data before open", swap("open", "data"), harmless()),
        answer("signature before data", swap("data", "signature"), harmless()),
        answer("recorded before everything", |t, _| t.frames.rotate_right(1), doubted(InconsistentResponse)),
        answer("another exchange's open", from_before("open"), doubted(InconsistentResponse)).after_one(),
        answer("another exchange's signature", from_before("signature"), doubted(InconsistentResponse)).after_one(),
        answer("another exchange's recorded", from_before("recorded"), harmless()).after_one(),
        answer("data under another number", |t, _| { let at = t.at("data"); t.frames[at].exchange += 7; }, harmless()),
        answer("all under another number", |t, _| *t = t.numbered(t.frames[0].exchange + 70), doubted(OutcomeUnknown)).silent_answer(301),
        answer("a frame without a kind", |t, _| { let f = truc_wire::peer::Frame { kind: None, ..t.frames[0].clone() }; t.frames.insert(0, f); }, harmless()),
        answer("cancel instead", |t, _| { t.frames.truncate(1); *t.kind("open") = cancel() }, doubted(InconsistentResponse)),
        answer("a ticket for a small body", put("data", ticket), harmless()),
        answer("a ticket first", put("open", ticket), harmless()),
        answer("an empty open", |t, _| *t.kind("open") = Kind::Open(Open::default()), harmless()),
        answer("a response in a refusal's frame", |t, _| as_refusal(t), harmless()),
        answer("a refusal's frame without anything", |t, _| { t.frames.truncate(1); *t.kind("open") = Kind::Refusal(Refusal::default()) }, harmless()),
        answer("a fault behind the message", put("recorded", || fault("NO_RIGHT")), harmless()),
        // An unsigned fault is the provider's node's own word (docs/protocol.md): it can lie about itself, and is on record with it.
        answer("an unsigned fault instead", |t, _| { t.frames.truncate(1); *t.kind("open") = fault("NO_RIGHT") }, believed(NoRight)),
        answer("an unsigned fault that nobody knows", |t, _| { t.frames.truncate(1); *t.kind("open") = fault("ABC") }, believed(Internal)),
        answer("an unsigned OUTCOME_UNKNOWN instead", |t, _| { t.frames.truncate(1); *t.kind("open") = fault("OUTCOME_UNKNOWN") }, harmless()),
        answer("recorded with a short digest", |t, _| *t.kind("recorded") = Kind::Recorded(Recorded::default()), harmless()),
    ];
    all("frames of an answer", rows).await;
}

fn announced(length: fn(u64) -> u64) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| t.open().body_length = length(t.open().body_length)
}

fn body(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, _| {
        let mut body = t.body();
        change(&mut body);
        t.set_body(&body);
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn the_body() {
    let mut rows: Vec<Case> = Vec::new();
    let forms: [(&str, fn(&mut Vec<u8>), _); 7] = [
        ("the first bit", |b| b[0] ^= 1, Untrusted),
        ("the last bit", |b| *b.last_mut().unwrap() ^= 0x80, Untrusted),
        ("two octets swapped", |b| b.swap(0, 1), Untrusted),
        ("one octet less", |b| b.truncate(b.len() - 1), Malformed),
        ("one octet more", |b| b.push(0), Malformed),
        ("twice", |b| b.extend(b.clone()), Malformed),
        ("none", Vec::clear, Malformed),
    ];
    for (name, change, code) in forms {
        rows.push(request(name, body(change), told(code)));
        // An answer's header announces no length: only the signature holds it. Frames that do not fit are no message at all.
        let expected = if name == "none" { harmless() } else { doubted(InconsistentResponse) };
        rows.push(answer(&format!("answer: {name}"), body(change), expected));
    }
    rows.extend([
        request("announced longer", announced(|l| l + 1), told(Malformed)),
        request("announced shorter", announced(|l| l - 1), told(Malformed)),
        request("announced as none", announced(|_| 0), told(Malformed)),
        request("announced as big", announced(|_| 64 * 1024 + 1), told(Malformed)),
        request("announced as endless", announced(|_| 1 << 50), told(TooLarge)),
        request("data in two frames", |t, _| {
            let Kind::Data(data) = t.kind("data").clone() else { unreachable!() };
            let at = t.at("data");
            *t.kind("data") = Kind::Data(Data { bytes: data.bytes.slice(..5) });
            t.insert(at + 1, Kind::Data(Data { bytes: data.bytes.slice(5..) }));
        }, told(Malformed)),
        request("an empty data frame before it", |t, _| { let at = t.at("data"); t.insert(at, Kind::Data(Data::default())) }, told(Malformed)),
        request("a body where there is none", |t, _| {
            t.open().body_length = 1;
            let at = t.at("signature");
            t.insert(at, Kind::Data(Data { bytes: Bytes::from_static(b"x") }));
        }, told(Malformed)).of(empty_draft),
        answer("answer: announced longer", announced(|l| l + 1), harmless()),
        answer("answer: announced as endless", announced(|_| 1 << 50), harmless()),
    ]);
    all("the body", rows).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn the_secrets() {
    type Change = fn(&mut Vec<Secret>);
    let forms: [(&str, Change); 8] = [
        ("one missing", |s| drop(s.pop())),
        ("all missing", Vec::clear),
        ("one too many", |s| s.push(s[0].clone())),
        ("swapped", |s| s.swap(0, 1)),
        ("the first one twice", |s| s[1] = s[0].clone()),
        ("another salt", |s| flip(&mut s[0].salt, 0)),
        ("another value", |s| flip(&mut s[0].value, 0)),
        ("an octet moved from value to salt", |s| {
            s[0].salt = [&s[0].salt[1..], &s[0].value[..1]].concat().into();
            s[0].value = s[0].value.slice(1..);
        }),
    ];
    let mut rows: Vec<Case> = Vec::new();
    for (name, change) in forms {
        rows.push(request(name, move |t, _| change(&mut t.open().secrets), told(Malformed)));
        let change = move |t: &mut Tape, _: &Scene| change(&mut t.open().secrets);
        rows.push(answer(&format!("answer: {name}"), change, doubted(InconsistentResponse)));
    }
    rows.extend([
        request("a salt of 15 octets", |t, _| t.open().secrets[0].salt = vec![1; 15].into(), told(Malformed)),
        request("a salt of 17 octets", |t, _| t.open().secrets[0].salt = vec![1; 17].into(), told(Malformed)),
        request("no salt", |t, _| t.open().secrets[0].salt = Bytes::new(), told(Malformed)),
        request("another exchange's", |t, s| t.open().secrets = s.before.clone().unwrap().0.open().secrets.clone(), told(Malformed)).after_one(),
        answer("answer: another exchange's", |t, s| t.open().secrets = s.before.clone().unwrap().1.open().secrets.clone(), doubted(InconsistentResponse)).after_one(),
        answer("answer: a salt of 15 octets", |t, _| t.open().secrets[0].salt = vec![1; 15].into(), harmless()),
    ]);
    all("the secrets", rows).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn the_signature_frame() {
    type Change = fn(&mut Signature);
    let forms: [(&str, Change, _, _); 4] = [
        ("empty", |s| s.kind = Some(signature::Kind::Single(Bytes::new())), Malformed, false),
        ("of no kind", |s| s.kind = None, Malformed, true),
        ("a batch", |s| s.kind = Some(signature::Kind::Batch(BatchSignature::default())), UnsupportedVersion, true),
        ("the same as a batch of one", |s| {
            let Some(signature::Kind::Single(cms)) = s.kind.take() else { unreachable!() };
            s.kind = Some(signature::Kind::Batch(BatchSignature { cms, index: 0, path: vec![] }));
        }, UnsupportedVersion, true),
    ];
    let mut rows: Vec<Case> = Vec::new();
    for (name, change, code, asked) in forms {
        let apply = move |t: &mut Tape, _: &Scene| {
            let Kind::Signature(signature) = t.kind("signature") else { unreachable!() };
            change(signature);
        };
        rows.push(request(name, apply, told(code)));
        let expected = if asked { harmless() } else { doubted(InconsistentResponse) };
        rows.push(answer(&format!("answer: {name}"), apply, expected));
    }
    all("the signature frame", rows).await;
}

/// Whole messages sent again or back.
#[tokio::test]
#[rustfmt::skip]
async fn repeated_and_reflected() {
    let rows = vec![
        request("the message twice, under two numbers", |t, _| {
            let again = t.numbered(t.frames[0].exchange + 1000);
            t.frames.extend(again.frames);
        }, harmless()),
        request("the message twice, under one number", |t, _| {
            let again = t.clone();
            t.frames.extend(again.frames);
        }, harmless()),
        request("an answered message instead", |t, s| {
            let number = t.frames[0].exchange;
            *t = s.before.clone().unwrap().0.numbered(number);
        }, Outcome { calls: 0, there: vec![], ..another(Said::Response) }).after_one(),
        request("the provider's own answer instead", |t, s| {
            let number = t.frames[0].exchange;
            *t = s.before.clone().unwrap().1.numbered(number);
        }, told(Malformed)).after_one(),
        request("the provider's own answer, called a request", |t, s| {
            let number = t.frames[0].exchange;
            *t = s.before.clone().unwrap().1.numbered(number);
            t.edit(|h| {
                h.set("kind", "\"request\"");
                for key in ["status", "inReplyTo", "leaf"] { h.remove(key) }
                h.add("method", "\"GET\"");
                h.add("path", "\"\"");
            });
        }, told(Untrusted)).after_one(),
    ];
    all("repeated and reflected", rows).await;
}

/// `Outcome` as a hostile provider's node answers it, when the answer itself never came.
#[tokio::test]
#[rustfmt::skip]
async fn the_outcome() {
    use outcome_reply::Kind as Past;
    fn answered(change: impl Fn(&mut Refusal, &Scene) + Send + Sync + 'static) -> impl Fn(&mut truc_wire::peer::OutcomeReply, &Scene) + Send + Sync {
        move |reply, scene| {
            let Some(Past::Answered(answered)) = reply.kind.as_mut() else { unreachable!() };
            change(answered.message.as_mut().unwrap(), scene);
        }
    }
    fn cms(refusal: &mut Refusal) -> &mut Bytes {
        match refusal.signature.as_mut().unwrap().kind.as_mut().unwrap() {
            signature::Kind::Single(cms) => cms,
            signature::Kind::Batch(_) => unreachable!(),
        }
    }
    let rows = vec![
        outcome("nothing changed", |_, _| {}, harmless()),
        outcome("another body", answered(|r, _| flip(&mut r.body, 1)), doubted(InconsistentResponse)),
        outcome("another header", answered(|r, _| { let h = r.open.as_mut().unwrap(); let at = h.header.len() - 3; flip(&mut h.header, at) }), doubted(InconsistentResponse)),
        outcome("another signature", answered(|r, _| { let at = cms(r).len() - 1; flip(cms(r), at) }), doubted(InconsistentResponse)),
        outcome("the answer to another request", answered(|r, s| {
            let mut old = s.before.clone().unwrap().1;
            (r.open, r.body, *cms(r)) = (Some(old.open().clone()), old.body().into(), old.cms().clone());
        }), doubted(InconsistentResponse)).after_one(),
        outcome("a lie: never", |r, _| r.kind = Some(Past::Never(true)), Outcome {
            caller: Err((Side::ClientProxy, Unavailable)), ..doubted(Unavailable)
        }),
        outcome("a secret that was not stored", answered(|r, _| r.open.as_mut().unwrap().secrets.push(Secret { salt: vec![1; 16].into(), value: Bytes::new() })), doubted(InconsistentResponse)),
    ];
    all("the word on the outcome", rows).await;
}

/// Each of these makes the consumer's node ask ten times, half a second apart.
#[tokio::test]
#[rustfmt::skip]
async fn an_outcome_that_never_comes() {
    use outcome_reply::Kind as Past;
    let rows = vec![
        outcome("open for ever", |r, _| r.kind = Some(Past::Open(true)), doubted(OutcomeUnknown)),
        outcome("nothing inside", |r, _| r.kind = None, doubted(OutcomeUnknown)),
    ];
    all("no word on the outcome", rows).await;
}
