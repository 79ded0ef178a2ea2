//! The header: every field, in requests and answers, changed by somebody without a key and by somebody with one.

use truc_model::FaultCode::{
    self, Expired, InconsistentResponse, Malformed, NoRight, UnknownService, UnsupportedVersion, Untrusted,
};

use crate::case::{
    Case, Outcome, all, another, answer, doubted, harmless, refused, request, sibling_draft, told,
};
use crate::forge::Pen;
use crate::relay::Scene;
use crate::wire::{Object, Said, Tape};
use crate::{CONSUMER, PROVIDER};

/// The client's own seal.
fn client(scene: &Scene) -> Pen {
    Pen::of(scene.bus.node(CONSUMER), "VN/GOV/H26")
}

/// The service's own seal.
fn service(scene: &Scene) -> Pen {
    Pen::of(scene.bus.node(PROVIDER), "VN/GOV/G01")
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[tokio::test]
#[rustfmt::skip]
async fn nothing_changed() {
    all(
        "control",
        vec![
            request("nothing is changed", |_, _| {}, harmless()),
            request("nothing is changed, second on its streams", |_, _| {}, harmless()).after_one(),
            request("no right", |_, _| {}, refused(NoRight)).of(sibling_draft),
            request("sealed again by the same member", |t, s| t.sign(&client(s)), harmless()),
            answer("the answer is not changed", |_, _| {}, harmless()),
            answer("the answer is sealed again", |t, s| t.sign(&service(s)), harmless()),
        ],
    )
    .await;
}

/// Key, another value, and what the provider's node says: when the signature stays, and when the client's own member signs
/// the changed header.
#[rustfmt::skip]
const REQUEST: &[(&str, &str, FaultCode, Option<FaultCode>)] = &[
    ("v", "0", UnsupportedVersion, Some(UnsupportedVersion)),
    ("v", "2", UnsupportedVersion, Some(UnsupportedVersion)),
    ("v", "\"1\"", Malformed, Some(Malformed)),
    ("v", "1.0", Malformed, Some(Malformed)),
    ("kind", "\"response\"", Malformed, Some(Malformed)),
    ("kind", "\"refusal\"", Malformed, Some(Malformed)),
    ("kind", "\"document\"", Malformed, Some(Malformed)),
    ("kind", "\"event\"", Malformed, Some(Malformed)),
    ("kind", "\"Request\"", Malformed, Some(Malformed)),
    ("id", "\"019aa444-d27e-7000-8000-000000000001\"", Malformed, Some(Malformed)),
    ("instance", "\"XX\"", Malformed, Some(Malformed)),
    ("instance", "\"vn\"", Malformed, Some(Malformed)),
    ("client", "\"SUBSYSTEM:VN/GOV/H27/xa-1\"", Untrusted, Some(Untrusted)),
    ("client", "\"SUBSYSTEM:VN/GOV/H28/khac\"", Untrusted, Some(Untrusted)),
    ("client", "\"SUBSYSTEM:VN/GOV/H26/khac\"", Untrusted, Some(Untrusted)),
    ("client", "\"SUBSYSTEM:VN/GOV/H99/khac\"", Untrusted, Some(Untrusted)),
    ("client", "\"SUBSYSTEM:VN/GOV/h26/mot-cua\"", Untrusted, Some(Untrusted)),
    ("client", "\"SUBSYSTEM:XX/GOV/H26/mot-cua\"", Malformed, Some(Malformed)),
    ("client", "\"NODE:VN/GOV/H26/mot-cua\"", Malformed, Some(Malformed)),
    ("service", "\"SERVICE:VN/GOV/G01/csdl-dancu/khac\"", Untrusted, Some(UnknownService)),
    ("service", "\"SERVICE:VN/GOV/G02/dat-dai/tra-cuu\"", Untrusted, Some(UnknownService)),
    ("service", "\"SERVICE:VN/GOV/H26/mot-cua/thong-bao\"", Untrusted, Some(UnknownService)),
    ("service", "\"SERVICE:XX/GOV/G01/csdl-dancu/tra-cuu\"", Malformed, Some(Malformed)),
    ("from", "\"NODE:VN/GOV/H28/ss1\"", Untrusted, Some(Untrusted)),
    ("from", "\"NODE:VN/GOV/H26/ss9\"", Untrusted, Some(Untrusted)),
    ("from", "\"NODE:VN/GOV/G01/ss1\"", Untrusted, Some(Untrusted)),
    ("from", "\"NODE:XX/GOV/H26/ss1\"", Malformed, Some(Malformed)),
    ("to", "\"NODE:VN/GOV/H28/ss1\"", Untrusted, Some(Untrusted)),
    ("to", "\"NODE:VN/GOV/H26/ss1\"", Untrusted, Some(Untrusted)),
    ("to", "\"NODE:VN/GOV/G01/ss9\"", Untrusted, Some(Untrusted)),
    ("directory", "{\"epoch\":9,\"version\":999}", Untrusted, None),
    ("directory", "7", Malformed, Some(Malformed)),
    ("sent", "\"2026-11-21T03:04:06.678Z\"", Untrusted, None),
    ("sent", "\"2026-11-21T03:05:05.678Z\"", Untrusted, None),
    ("sent", "\"2026-11-21T03:05:06.678Z\"", Expired, Some(Expired)),
    ("sent", "\"2026-11-21T03:03:04.678Z\"", Malformed, Some(Malformed)),
    ("sent", "\"2026-11-21T02:04:05.678Z\"", Expired, Some(Expired)),
    ("sent", "\"2026-11-21T03:04:05Z\"", Malformed, Some(Malformed)),
    ("expires", "\"2026-11-21T03:04:06.678Z\"", Untrusted, None),
    ("expires", "\"2026-11-21T03:04:05.678Z\"", Expired, Some(Expired)),
    ("expires", "\"2026-11-21T03:04:04.678Z\"", Expired, Some(Expired)),
    ("expires", "\"2036-11-21T03:04:05.678Z\"", Untrusted, None),
    ("method", "\"DELETE\"", Untrusted, None),
    ("method", "\"post\"", Malformed, Some(Malformed)),
    ("method", "\"\"", Malformed, Some(Malformed)),
    ("path", "\"/khac\"", Untrusted, None),
    ("path", "\"\"", Untrusted, None),
    ("path", "\"/a/../b\"", Malformed, Some(Malformed)),
    ("path", "\"/%2e%2e/b\"", Malformed, Some(Malformed)),
    ("query", "\"nam=2027\"", Untrusted, None),
    ("query", "\"\"", Untrusted, None),
    ("userId", "\"cb-0124\"", Untrusted, None),
    ("userId", "\"\"", Malformed, Some(Malformed)),
    ("userId", "null", Malformed, Some(Malformed)),
    ("agency", "\"khac\"", Untrusted, None),
    ("purpose", "\"khac\"", Untrusted, None),
    ("legalBasis", "\"khac\"", Untrusted, None),
    ("consent", "\"khac\"", Untrusted, None),
    ("representedParty", "\"khac\"", Untrusted, None),
    ("issue", "\"khac\"", Untrusted, None),
    ("clientMessageId", "\"khac\"", Untrusted, None),
    ("idempotencyKey", "\"khac\"", Untrusted, None),
    ("trace", "\"khac\"", Untrusted, None),
    ("body", "{\"mediaType\":\"text/html\",\"length\":26}", Malformed, Some(Malformed)),
    ("body", "{\"mediaType\":\"text/html\"}", Untrusted, None),
    ("body", "{\"mediaType\":\"text/plain\",\"length\":0}", Malformed, Some(Malformed)),
    ("body", "null", Malformed, Some(Malformed)),
    ("status", "200", Malformed, Some(Malformed)),
    ("inReplyTo", "{\"id\":\"019aa444-d27e-7000-8000-000000000001\",\"digest\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", Malformed, Some(Malformed)),
    ("leaf", "{\"index\":0,\"hash\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", Malformed, Some(Malformed)),
];

#[tokio::test]
#[rustfmt::skip]
async fn a_request_that_somebody_without_a_key_changed() {
    let rows = REQUEST.iter().map(|(key, value, code, _)| {
        request(&format!("{key}: {value}"), |t, _| t.edit(|h| h.set(key, value)), told(*code))
    });
    all("request header, signature kept", rows.collect()).await;
}

/// What a member may say under its own seal is another message of its own; everything else is refused all the same.
#[tokio::test]
#[rustfmt::skip]
async fn a_request_that_its_own_member_sealed_so() {
    let rows = REQUEST.iter().map(|(key, value, _, code)| {
        let change = |t: &mut Tape, s: &Scene| {
            t.edit(|h| h.set(key, value));
            t.sign_raw(&client(s));
        };
        let expected = code.map_or_else(|| another(Said::Response), told);
        request(&format!("{key}: {value}"), change, expected)
    });
    all("request header, sealed by the client's member", rows.collect()).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn the_neighbour_on_the_same_node() {
    let as_neighbour = |t: &mut Tape| t.edit(|h| h.set("client", "\"SUBSYSTEM:VN/GOV/H27/xa-1\""));
    let neighbour = |s: &Scene| Pen::of(s.bus.node(CONSUMER), "VN/GOV/H27");
    all(
        "hosted neighbours",
        vec![
            request("H27's seal under H26's request", move |t, s| t.sign(&neighbour(s)), told(Untrusted)),
            request(
                "H26's seal under H27's name",
                move |t, s| {
                    as_neighbour(t);
                    t.sign(&client(s));
                },
                told(Untrusted),
            ),
            request(
                "H27 for itself, which has no right",
                move |t, s| {
                    as_neighbour(t);
                    t.sign(&neighbour(s));
                },
                another(Said::Refusal(NoRight)),
            ),
            answer(
                "G02's seal under G01's answer",
                |t, s| t.sign(&Pen::of(s.bus.node(PROVIDER), "VN/GOV/G02")),
                doubted(InconsistentResponse),
            ),
            answer(
                "G02 answers in its own name",
                |t, s| {
                    t.edit(|h| h.set("service", "\"SERVICE:VN/GOV/G02/dat-dai/tra-cuu\""));
                    t.sign(&Pen::of(s.bus.node(PROVIDER), "VN/GOV/G02"));
                },
                doubted(InconsistentResponse),
            ),
            answer("the client's own seal", |t, s| t.sign(&client(s)), doubted(InconsistentResponse)),
        ],
    )
    .await;
}

/// Another instance throughout, sealed: nobody here is of it.
#[tokio::test]
#[rustfmt::skip]
async fn another_instance() {
    let abroad = |h: &mut Object| {
        for (key, value) in &mut h.0 {
            if ["instance", "client", "service", "from", "to"].contains(&key.as_str()) {
                *value = value.replace("VN", "XX");
            }
        }
    };
    all(
        "another instance",
        vec![
            request("every name, signature kept", move |t, _| t.edit(abroad), told(Untrusted)),
            request(
                "every name, sealed",
                move |t, s| {
                    t.edit(abroad);
                    t.sign(&client(s));
                },
                told(Untrusted),
            ),
            answer("every name, signature kept", move |t, _| t.edit(abroad), doubted(InconsistentResponse)),
            answer(
                "every name, sealed",
                move |t, s| {
                    t.edit(abroad);
                    t.sign(&service(s));
                },
                doubted(InconsistentResponse),
            ),
        ],
    )
    .await;
}

/// Keys that must be there, and keys that may be missing but are signed.
#[tokio::test]
#[rustfmt::skip]
async fn a_key_is_missing() {
    const NEEDED: [&str; 13] = [
        "v", "kind", "id", "instance", "client", "service", "from", "to", "directory", "sent", "expires",
        "method", "path",
    ];
    const OPTIONAL: [&str; 12] = [
        "query", "userId", "agency", "purpose", "legalBasis", "consent", "representedParty", "issue",
        "clientMessageId", "idempotencyKey", "trace", "body",
    ];
    let missing = |key: &'static str, code| {
        request(&format!("without {key}"), move |t, _| t.edit(|h| h.remove(key)), told(code))
    };
    let mut rows: Vec<Case> = NEEDED.into_iter().map(|key| missing(key, Malformed)).collect();
    rows.extend(OPTIONAL.into_iter().map(|key| missing(key, Untrusted)));
    rows.push(missing("headers", Malformed));
    rows.extend(
        [
            "v", "kind", "id", "instance", "client", "service", "from", "to", "directory", "sent", "expires",
            "status", "inReplyTo", "leaf", "headers", "body", "userId", "issue",
        ]
        .into_iter()
        .map(|key| {
            let name = format!("answer without {key}");
            answer(&name, move |t, _| t.edit(|h| h.remove(key)), doubted(InconsistentResponse))
        }),
    );
    all("missing keys", rows).await;
}

/// Two spellings of one meaning are two messages, and only the signed one counts.
#[tokio::test]
#[rustfmt::skip]
async fn the_spelling() {
    type Spell = fn(&mut Object);
    let forms: [(&str, Spell, FaultCode, Option<FaultCode>); 9] = [
        ("an unknown key", |h| h.add("moi", "1"), Malformed, Some(Malformed)),
        ("a key twice, alike", |h| h.add("userId", "\"cb-0123\""), Malformed, Some(Malformed)),
        ("a key twice, different", |h| h.0.insert(0, ("userId".into(), "\"x\"".into())), Malformed, Some(Malformed)),
        ("a key in upper case", |h| { h.remove("userId"); h.add("USERID", "\"x\"") }, Malformed, Some(Malformed)),
        ("the keys turned round", |h| h.0.reverse(), Untrusted, None),
        ("two keys swapped", |h| h.0.swap(3, 4), Untrusted, None),
        ("a space in a value's place", |h| { let v = format!(" {}", h.get("userId").unwrap()); h.set("userId", &v) }, Untrusted, None),
        ("a letter escaped", |h| h.set("userId", "\"\\u0063b-0123\""), Untrusted, None),
        ("an escaped key", |h| { h.remove("userId"); h.add("user\\u0049d", "\"cb-0123\"") }, Untrusted, None),
    ];
    let mut rows = Vec::new();
    for (name, spell, kept, sealed) in forms {
        rows.push(request(name, move |t, _| t.edit(spell), told(kept)));
        let change = move |t: &mut Tape, s: &Scene| {
            t.edit(spell);
            t.sign_raw(&client(s));
        };
        let expected = sealed.map_or_else(|| another(Said::Response), told);
        rows.push(request(&format!("{name}, sealed"), change, expected));
        rows.push(answer(
            &format!("answer: {name}"),
            move |t, _| {
                if t.header().get("userId").is_some() {
                    t.edit(spell);
                }
            },
            doubted(InconsistentResponse),
        ));
    }
    let raw: [(&str, fn(&[u8]) -> Vec<u8>, FaultCode); 10] = [
        ("no header at all", |_| vec![], Malformed),
        ("cut short by one octet", |h| h[..h.len() - 1].to_vec(), Malformed),
        ("half of it", |h| h[..h.len() / 2].to_vec(), Malformed),
        ("one octet more", |h| [h, b"}"].concat(), Malformed),
        ("a space behind it", |h| [h, b" "].concat(), Untrusted),
        ("twice", |h| [h, h].concat(), Malformed),
        ("a byte order mark", |h| [b"\xef\xbb\xbf", h].concat(), Malformed),
        ("in a list", |h| [b"[", h, b"]"].concat(), Malformed),
        ("not UTF-8", |h| { let mut o = h.to_vec(); let at = o.len() - 5; o[at] = 0xff; o }, Malformed),
        ("longer than 64 KiB", |h| [h, " ".repeat(64 * 1024).as_bytes()].concat(), Malformed),
    ];
    for (name, spell, code) in raw {
        let change = move |t: &mut Tape, _: &Scene| t.open().header = spell(&t.open().header).into();
        rows.push(request(name, change, told(code)));
        rows.push(answer(&format!("answer: {name}"), change, doubted(InconsistentResponse)));
    }
    all("spelling of the header", rows).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn the_list_of_fields() {
    type Edit = fn(&mut Object);
    let forms: [(&str, Edit, FaultCode); 9] = [
        ("another value", |h| h.replace("headers", "application/json", "text/html"), Untrusted),
        ("another name", |h| h.replace("headers", "accept", "accepz"), Untrusted),
        ("a name in upper case", |h| h.replace("headers", "accept", "Accept"), Malformed),
        ("one field less", |h| h.replace("headers", "{\"name\":\"accept\",\"value\":\"application/json\"},", ""), Untrusted),
        ("one field more", |h| h.replace("headers", "[", "[{\"name\":\"x-a\",\"value\":\"1\"},"), Untrusted),
        ("a hidden one more", |h| h.replace("headers", "[", "[{\"name\":\"x-a\",\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"},"), Malformed),
        ("a line break in a value", |h| h.replace("headers", "application/json", "a\\r\\nb: c"), Malformed),
        ("a secret in clear", |h| h.replace("headers", "[", "[{\"name\":\"authorization\",\"value\":\"x\"},"), Malformed),
        ("value and base64 at once", |h| h.replace("headers", "\"value\"", "\"base64\":\"eA==\",\"value\""), Malformed),
    ];
    let mut rows: Vec<Case> = forms
        .into_iter()
        .map(|(name, edit, code)| request(name, move |t, _| t.edit(edit), told(code)))
        .collect();
    rows.push(answer("answer: another value", |t, _| t.edit(|h| h.replace("headers", "etag", "etah")), doubted(InconsistentResponse)));
    all("fields of the header", rows).await;
}

/// Key, another value, and whether the caller is told INCONSISTENT_RESPONSE even when the service's own member seals it.
/// What is not is that member's own word: its leaf, its clock, the number of its directory, its status.
#[rustfmt::skip]
const ANSWER: &[(&str, &str, bool)] = &[
    ("v", "0", true),
    ("v", "2", true),
    ("kind", "\"request\"", true),
    ("kind", "\"refusal\"", false),
    ("kind", "\"document\"", true),
    ("kind", "\"receipt\"", true),
    ("id", "\"019aa444-d27e-7000-8000-000000000001\"", false),
    ("instance", "\"XX\"", true),
    ("client", "\"SUBSYSTEM:VN/GOV/H27/xa-1\"", true),
    ("client", "\"SUBSYSTEM:VN/GOV/H28/khac\"", true),
    ("service", "\"SERVICE:VN/GOV/G01/csdl-dancu/khac\"", true),
    ("service", "\"SERVICE:VN/GOV/G02/dat-dai/tra-cuu\"", true),
    ("from", "\"NODE:VN/GOV/H26/ss1\"", true),
    ("from", "\"NODE:VN/GOV/H28/ss1\"", true),
    ("to", "\"NODE:VN/GOV/G01/ss1\"", true),
    ("to", "\"NODE:VN/GOV/H28/ss1\"", true),
    ("directory", "{\"epoch\":9,\"version\":999}", false),
    ("sent", "\"2026-11-21T03:04:06.678Z\"", false),
    ("sent", "\"2026-11-21T03:10:05.678Z\"", false),
    ("sent", "\"2026-11-21T03:12:05.678Z\"", true),
    ("expires", "\"2026-11-21T03:04:06.678Z\"", false),
    ("status", "199", true),
    ("status", "600", true),
    ("status", "201", false),
    ("inReplyTo", "{\"id\":\"019aa444-d27e-7000-8000-000000000001\",\"digest\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", true),
    ("leaf", "{\"index\":7,\"hash\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", false),
    ("method", "\"GET\"", true),
    ("path", "\"/x\"", true),
    ("query", "\"x\"", true),
    ("body", "{\"mediaType\":\"text/html\",\"length\":1}", true),
    ("userId", "\"khac\"", true),
    ("issue", "\"khac\"", true),
    ("representedParty", "\"khac\"", true),
    ("clientMessageId", "\"khac\"", true),
    ("trace", "\"00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\"", true),
];

#[tokio::test]
#[rustfmt::skip]
async fn an_answer_that_somebody_without_a_key_changed() {
    let rows = ANSWER.iter().map(|(key, value, _)| {
        let name = format!("{key}: {value}");
        answer(&name, |t, _| t.edit(|h| h.set(key, value)), doubted(InconsistentResponse))
    });
    all("answer header, signature kept", rows.collect()).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn an_answer_that_its_own_member_sealed_so() {
    let rows = ANSWER.iter().map(|(key, value, doubtful)| {
        let change = |t: &mut Tape, s: &Scene| {
            t.edit(|h| h.set(key, value));
            t.sign_raw(&service(s));
        };
        answer(&format!("{key}: {value}"), change, own_word(key, value, *doubtful))
    });
    all("answer header, sealed by the service's member", rows.collect()).await;
}

fn own_word(key: &str, value: &str, doubtful: bool) -> Outcome {
    use truc_evidence::RecordKind::{Refusal, Request};
    use truc_model::{FaultCode::Internal, Side};
    match (key, value, doubtful) {
        (.., true) => doubted(InconsistentResponse),
        ("status", ..) => Outcome { caller: Ok(201), ..harmless() },
        // A refusal whose body is not the JSON of one.
        ("kind", ..) => {
            Outcome { caller: Err((Side::ServerProxy, Internal)), here: vec![Request, Refusal], ..harmless() }
        }
        _ => harmless(),
    }
}

/// What an answer answers: id and digest, each of another request.
#[tokio::test]
#[rustfmt::skip]
async fn an_answer_to_another_request() {
    let reply_to = |id: String, digest: String| {
        move |h: &mut Object| h.set("inReplyTo", &format!("{{\"id\":{},\"digest\":{}}}", quoted(&id), quoted(&digest)))
    };
    let ids = |s: &Scene| {
        let (mut old, mut new) = (s.before.clone().unwrap().0, s.asked.clone().unwrap());
        (old.id().to_string(), old.digest().to_string(), new.id().to_string(), new.digest().to_string())
    };
    let of = |pick: fn((String, String, String, String)) -> (String, String)| {
        move |t: &mut Tape, s: &Scene| {
            let (id, digest) = pick(ids(s));
            t.edit(reply_to(id, digest));
            t.sign(&service(s));
        }
    };
    all(
        "answers to other requests",
        vec![
            answer("id and digest of this request", of(|(_, _, id, digest)| (id, digest)), harmless()).after_one(),
            answer("the id of another", of(|(old, _, _, digest)| (old, digest)), doubted(InconsistentResponse)).after_one(),
            answer("the digest of another", of(|(_, old, id, _)| (id, old)), doubted(InconsistentResponse)).after_one(),
            answer("both of another", of(|(id, digest, ..)| (id, digest)), doubted(InconsistentResponse)).after_one(),
            answer(
                "the whole answer to another",
                |t, s| {
                    let number = t.frames[0].exchange;
                    *t = s.before.clone().unwrap().1.numbered(number);
                },
                doubted(InconsistentResponse),
            )
            .after_one(),
            answer(
                "the request itself, sent back",
                |t, s| {
                    let number = t.frames[0].exchange;
                    *t = s.asked.clone().unwrap().numbered(number);
                },
                doubted(InconsistentResponse),
            ),
        ],
    )
    .await;
}
