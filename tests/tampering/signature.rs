//! The signature, the certificate under it, and what vouches for the certificate.

use bytes::Bytes;
use truc_directory::MemberStatus;
use truc_keys::KeyKind;
use truc_model::FaultCode::{
    InconsistentResponse, Malformed, Moved, OutcomeUnknown, StatusUnknown, Suspended, Untrusted,
};
use truc_model::{MemberId, Timestamp};
use truc_testkit::authority::Authority;
use truc_trust::{Certificate, Verdict};

use crate::case::{Case, all, answer, doubted, harmless, request, told};
use crate::forge::{Cms, DATA, ECDSA_SHA1, ECDSA_SHA384, ED25519, Pen, SHA1, SHA384, tlv};
use crate::relay::Scene;
use crate::wire::{Tape, digest_bytes, flip};
use crate::{CONSUMER, PROVIDER, STRANGER};

fn client(scene: &Scene) -> Pen {
    Pen::of(scene.bus.node(CONSUMER), "VN/GOV/H26")
}

fn service(scene: &Scene) -> Pen {
    Pen::of(scene.bus.node(PROVIDER), "VN/GOV/G01")
}

fn neighbour(scene: &Scene) -> Pen {
    Pen::of(scene.bus.node(CONSUMER), "VN/GOV/H27")
}

fn h26() -> MemberId {
    "VN/GOV/H26".parse().unwrap()
}

/// Everything in the CMS that can be another thing, signed by the rightful key.
#[rustfmt::skip]
const FORMS: &[(&str, fn(&mut Cms, &Scene), bool)] = &[
    ("as honest code writes it", |_, _| {}, true),
    ("without content-type", |c, _| c.content_type = None, false),
    ("without message-digest", |c, _| c.message_digest = None, false),
    ("without signing-time", |c, _| c.signing_time = None, false),
    ("without signing-certificate-v2", |c, _| c.signing_certificate = None, false),
    ("without any attribute", |c, _| { c.content_type = None; c.message_digest = None; c.signing_time = None; c.signing_certificate = None }, false),
    ("another content-type", |c, _| c.content_type = Some(Cms::other_content_type()), false),
    ("the digest of something else", |c, _| c.message_digest = Some(Cms::digest_of(&[7; 32])), false),
    ("a short digest", |c, _| c.message_digest = Some(Cms::digest_of(&[7; 20])), false),
    ("signed a second later", |c, _| c.signing_time = Some(Cms::time("2026-11-21T03:04:06.000Z".parse().unwrap())), false),
    ("signed a second earlier", |c, _| c.signing_time = Some(Cms::time("2026-11-21T03:04:04.000Z".parse().unwrap())), false),
    ("signed a year earlier", |c, _| c.signing_time = Some(Cms::time("2025-11-21T03:04:05.000Z".parse().unwrap())), false),
    ("ESSCertID of the neighbour's", |c, s| c.signing_certificate = Some(Cms::names(&neighbour(s).certificate)), false),
    ("ESSCertID of nothing", |c, s| { let n = client(s).certificate; c.signing_certificate = Some(Cms::names_with(&[0; 32], n.issuer_raw(), n.serial())) }, false),
    ("ESSCertID with another serial", |c, s| { let n = client(s).certificate; c.signing_certificate = Some(Cms::names_with(n.fingerprint().as_bytes(), n.issuer_raw(), &[9])) }, false),
    ("ESSCertID with another issuer", |c, s| { let n = client(s).certificate; c.signing_certificate = Some(Cms::names_with(n.fingerprint().as_bytes(), n.subject_raw(), n.serial())) }, false),
    ("one attribute more", |c, _| c.more_attributes.push(Cms::content_hints()), false),
    ("signing-time twice", |c, _| c.more_attributes.push(c.signing_time.clone().unwrap()), false),
    ("two signing-times", |c, _| c.more_attributes.push(Cms::time("2026-11-21T03:04:09.000Z".parse().unwrap())), false),
    ("attributes out of order", |c, _| c.sorted = false, false),
    ("ECDSA with SHA-1", |c, _| c.signature_algorithm = Cms::algorithm(ECDSA_SHA1), false),
    ("ECDSA with SHA-384 under P-256", |c, _| c.signature_algorithm = Cms::algorithm(ECDSA_SHA384), false),
    ("Ed25519", |c, _| c.signature_algorithm = Cms::algorithm(ED25519), false),
    ("SHA-1 as digest", |c, _| { c.digest_algorithm = Cms::algorithm(SHA1); c.digest_algorithms = vec![Cms::algorithm(SHA1)] }, false),
    ("SHA-384 as digest", |c, _| { c.digest_algorithm = Cms::algorithm(SHA384); c.digest_algorithms = vec![Cms::algorithm(SHA384)] }, false),
    ("two digest algorithms", |c, _| c.digest_algorithms.push(Cms::algorithm(SHA384)), false),
    ("another digest algorithm outside", |c, _| c.digest_algorithms = vec![Cms::algorithm(SHA384)], false),
    ("no digest algorithm", |c, _| c.digest_algorithms.clear(), false),
    ("two signers", |c, _| c.signers = 2, false),
    ("no signer", |c, _| c.signers = 0, false),
    ("the content inside", |c, _| c.content = tlv(0x30, &[&tlv(6, &[DATA]), &tlv(0xa0, &[&tlv(4, &[b"x"])])]), false),
    ("no certificate", |c, _| c.certificates.clear(), false),
    ("the neighbour's certificate instead", |c, s| c.certificates = vec![neighbour(s).certificate.der().to_vec()], false),
    ("the neighbour's certificate beside it", |c, s| c.certificates.push(neighbour(s).certificate.der().to_vec()), true),
    ("the certificate twice", |c, _| c.certificates.push(c.certificates[0].clone()), false),
    ("five certificates", |c, s| for _ in 0..4 { let pen = Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&h26(), k)); c.certificates.push(pen.certificate.der().to_vec()) }, false),
    ("a revocation list inside", |c, _| c.revocation = tlv(0xa1, &[&tlv(0x30, &[])]), false),
    ("an unsigned attribute", |c, _| c.unsigned = tlv(0xa1, &[&Cms::content_hints()]), false),
    ("version 3", |c, _| c.version = 3, false),
    ("signer's version 3", |c, _| c.signer_version = 3, false),
    ("both versions 3", |c, _| { c.version = 3; c.signer_version = 3 }, false),
    ("an octet behind it", |c, _| c.tail = vec![0], false),
    ("longer than 32 KiB", |c, _| c.tail = vec![0; 33 * 1024], false),
];

#[tokio::test]
#[rustfmt::skip]
async fn forms_of_a_requests_signature() {
    let rows = FORMS.iter().map(|(name, form, good)| {
        let expected = if *good { harmless() } else { told(Untrusted) };
        request(name, |t, s| t.forge(&client(s), |c| form(c, s)), expected)
    });
    all("forms of a request's signature", rows.collect()).await;
}

#[tokio::test]
#[rustfmt::skip]
async fn forms_of_an_answers_signature() {
    let rows = FORMS.iter().filter(|(name, ..)| !name.contains("ESSCertID with")).map(|(name, form, good)| {
        let expected = if *good { harmless() } else { doubted(InconsistentResponse) };
        answer(name, |t, s| t.forge(&service(s), |c| form(c, s)), expected)
    });
    all("forms of an answer's signature", rows.collect()).await;
}

/// The bytes of the CMS, and what else was signed by the right key.
#[tokio::test]
#[rustfmt::skip]
async fn what_was_signed() {
    type Other = fn(&mut Tape, &Scene) -> Vec<u8>;
    let contents: [(&str, Other); 6] = [
        ("the header alone", |t, _| t.open().header.to_vec()),
        ("the body alone", |t, _| t.body()),
        ("the manifest's digest", |t, _| t.digest().as_bytes().to_vec()),
        ("the manifest of another kind", |t, _| String::from_utf8(t.manifest()).unwrap().replace("request-", "response-").into()),
        ("the manifest of another id", |t, _| { let id = t.id().to_string(); String::from_utf8(t.manifest()).unwrap().replace(&id, "019aa444-d27e-7000-8000-000000000001").into() }),
        ("nothing", |_, _| vec![]),
    ];
    let mut rows: Vec<Case> = contents
        .into_iter()
        .map(|(name, other)| {
            let change = move |t: &mut Tape, s: &Scene| {
                let (content, sent) = (other(t, s), t.sent());
                *t.cms() = client(s).cms(&content, sent);
            };
            request(name, change, told(Untrusted))
        })
        .collect();
    for eighth in 1..8 {
        let cut = move |t: &mut Tape, _: &Scene| {
            let at = t.cms().len() * eighth / 8;
            t.cms().truncate(at);
        };
        rows.push(request(&format!("cut at {eighth}/8"), cut, told(Untrusted)));
        rows.push(answer(&format!("answer: cut at {eighth}/8"), cut, doubted(InconsistentResponse)));
    }
    rows.push(request("random octets", |t, _| *t.cms() = vec![0x5a; 900].into(), told(Untrusted)));
    rows.push(request("empty", |t, _| *t.cms() = Bytes::new(), told(Malformed)));
    all("what was signed", rows).await;
}

/// Puts a seal in the directory, as a registry would that was told so.
fn register(scene: &Scene, certificate: &Certificate) {
    let fingerprint = certificate.fingerprint();
    scene.bus.change(|members| {
        let h26 = members.get_mut(&h26()).unwrap();
        h26.sign_certificates.push(truc_directory::SignCertificate { fingerprint, der: None });
    });
}

fn vouch(t: &mut Tape, scene: &Scene, certificate: &Certificate) {
    let auth = scene.bus.responder.answer(&scene.bus.node(CONSUMER).auth);
    statuses(t, vec![scene.bus.responder.answer(certificate), auth]);
}

fn statuses(t: &mut Tape, carried: Vec<Bytes>) {
    t.open().status_digests = carried.iter().map(|s| digest_bytes(s)).collect();
    t.open().statuses = carried;
}

/// Signs with a certificate of one's own, which may be registered.
fn under(registered: bool, pen: fn(&Scene) -> Pen) -> impl Fn(&mut Tape, &Scene) + Send + Sync {
    move |t, s| {
        let pen = pen(s);
        if registered {
            register(s, &pen.certificate);
        }
        t.sign(&pen);
        vouch(t, s, &pen.certificate);
    }
}

#[tokio::test]
#[rustfmt::skip]
async fn the_certificate() {
    let rows = vec![
        request("renewed and registered", under(true, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&h26(), k))), harmless()),
        request("not registered", under(false, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&h26(), k))), told(Untrusted)),
        request("expired", under(true, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal_of_years(&h26(), k, (2020, 2026)))), told(Untrusted)),
        request("not yet valid", under(true, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal_of_years(&h26(), k, (2027, 2030)))), told(Untrusted)),
        request("of another CA", under(true, |_| Pen::fresh(KeyKind::EcP256, |k| Authority::new("CA lạ").seal(&h26(), k))), told(Untrusted)),
        request("of another CA with the same name", under(true, |_| Pen::fresh(KeyKind::EcP256, |k| Authority::new("CA thử nghiệm").seal(&h26(), k))), told(Untrusted)),
        request("made out to another member", under(true, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&"VN/GOV/H28".parse().unwrap(), k))), told(Untrusted)),
        request("of another instance", under(true, |s| Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&"XX/GOV/H26".parse().unwrap(), k))), told(Untrusted)),
        request("the node's auth certificate", under(false, |s| { let n = s.bus.node(CONSUMER); Pen::with(&n.auth_key, n.auth.clone()) }), told(Untrusted)),
        request("the member's certificate over another key", under(false, |s| Pen::fresh(KeyKind::EcP256, |_| client(s).certificate)), told(Untrusted)),
        request("another member's certificate over the member's key", under(false, |s| client(s).shown_as(neighbour(s).certificate)), told(Untrusted)),
        request("the stranger's own", under(false, |s| Pen::of(s.bus.node(STRANGER), "VN/GOV/H28")), told(Untrusted)),
        request("the service's own", under(false, service), told(Untrusted)),
        request("no longer registered", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().sign_certificates.clear()), told(Untrusted)).and_no_more(),
        request("of a closed member", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().status = MemberStatus::Closed), told(Moved)).and_no_more(),
        request("of a suspended member", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().status = MemberStatus::Suspended), told(Suspended)).and_no_more(),
        request("of a suspended node", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().nodes[0].suspended = true), told(Suspended)).and_no_more(),
        request("of a node that is no longer registered", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().nodes[0].auth_certificates.clear()), told(Untrusted)).and_no_more(),
        request("of a node that no longer speaks for it", |_, s| s.bus.change(|m| m.get_mut(&h26()).unwrap().nodes[0].serves.clear()), told(Untrusted)).and_no_more(),
        answer("answer: not registered", |t, s| t.sign(&Pen::fresh(KeyKind::EcP256, |k| s.bus.authority.seal(&"VN/GOV/G01".parse().unwrap(), k))), doubted(InconsistentResponse)),
        answer("answer: the node's auth certificate", |t, s| { let n = s.bus.node(PROVIDER); t.sign(&Pen::with(&n.auth_key, n.auth.clone())) }, doubted(InconsistentResponse)),
        answer("answer: of another CA", |t, _| t.sign(&Pen::fresh(KeyKind::EcP256, |k| Authority::new("CA lạ").seal(&"VN/GOV/G01".parse().unwrap(), k))), doubted(InconsistentResponse)),
    ];
    all("the certificate", rows).await;
}

fn at(t: &str) -> Timestamp {
    t.parse().unwrap()
}

fn seal_status(s: &Scene, verdict: Verdict, this_update: &str) -> Vec<Bytes> {
    let bus = &s.bus;
    let seal = bus.authority.status(&client(s).certificate, verdict, at(this_update));
    vec![seal, bus.responder.answer(&bus.node(CONSUMER).auth)]
}

/// With the responder away, only what is carried counts: the seal's status first, then the node's. A status goes over a stream
/// once, so that one which the hostile node kept back is not there for the next honest call either.
#[tokio::test]
#[rustfmt::skip]
async fn the_status() {
    const NOW: &str = "2026-11-21T03:04:05.000Z";
    let revoked = || Verdict::Revoked { at: at("2026-11-01T00:00:00.000Z") };
    let away = |case: Case| case.when(|bus| bus.responder.set_down(true));
    let carried = |name: &str, make: fn(&Scene) -> Vec<Bytes>, expected| {
        away(request(name, move |t, s| statuses(t, make(s)), expected)).and_no_more()
    };
    let mut rows = vec![
        request("none carried, the responder is there", |t, _| statuses(t, vec![]), harmless()),
        request("junk carried, the responder is there", |t, _| statuses(t, vec![Bytes::from_static(b"x"); 9]), harmless()),
        carried("none carried", |_| vec![], told(StatusUnknown)),
        carried("only the seal's", |s| seal_status(s, Verdict::Good, NOW)[..1].to_vec(), told(StatusUnknown)),
        carried("only the node's", |s| seal_status(s, Verdict::Good, NOW)[1..].to_vec(), told(StatusUnknown)),
        carried("in the other order", |s| seal_status(s, Verdict::Good, NOW).into_iter().rev().collect(), harmless()),
        carried("two hours old", |s| seal_status(s, Verdict::Good, "2026-11-21T01:04:05.000Z"), harmless()),
        carried("thirteen hours old", |s| seal_status(s, Verdict::Good, "2026-11-20T14:04:04.000Z"), told(StatusUnknown)),
        carried("two hours ahead", |s| seal_status(s, Verdict::Good, "2026-11-21T05:04:05.000Z"), told(StatusUnknown)),
        carried("unknown", |s| seal_status(s, Verdict::Unknown, NOW), told(Untrusted)),
        carried("the neighbour's", |s| { let mut all = seal_status(s, Verdict::Good, NOW); all[0] = s.bus.responder.answer(&neighbour(s).certificate); all }, told(StatusUnknown)),
        carried("signed by a stranger", |s| { let mut all = seal_status(s, Verdict::Good, NOW); all[0] = Authority::new("CA thử nghiệm").status(&client(s).certificate, Verdict::Good, at(NOW)); all }, told(StatusUnknown)),
        carried("cut short", |s| { let mut all = seal_status(s, Verdict::Good, NOW); all[0].truncate(200); all }, told(StatusUnknown)),
        carried("longer than 16 KiB", |s| { let mut all = seal_status(s, Verdict::Good, NOW); all[0] = [&all[0][..], &[0; 17 * 1024]].concat().into(); all }, told(StatusUnknown)),
        carried("ninth of nine", |s| { let mut all = vec![Bytes::from_static(b"x"); 8]; all.extend(seal_status(s, Verdict::Good, NOW)); all }, told(StatusUnknown)),
        away(request("named, but not there", |t, _| t.open().statuses.clear(), told(StatusUnknown))).and_no_more(),
        away(request("there, but not named", |t, _| t.open().status_digests.clear(), told(StatusUnknown))).and_no_more(),
        away(request("named by 31 octets", |t, _| t.open().status_digests.iter_mut().for_each(|d| d.truncate(31)), told(StatusUnknown))).and_no_more(),
        away(answer("answer: none carried", |t, _| statuses(t, vec![]), doubted(OutcomeUnknown))).and_no_more(),
        away(answer("answer: the client's", |t, s| statuses(t, vec![s.bus.responder.answer(&client(s).certificate)]), doubted(OutcomeUnknown))).and_no_more(),
        away(answer("answer: cut short", |t, _| { let mut all = t.open().statuses.clone(); all[0].truncate(200); statuses(t, all) }, doubted(OutcomeUnknown))).and_no_more(),
        answer("answer: revoked", |t, s| {
            let seal = service(s).certificate;
            statuses(t, vec![s.bus.authority.status(&seal, Verdict::Revoked { at: at("2026-11-01T00:00:00.000Z") }, at(NOW))]);
        }, doubted(InconsistentResponse)).and_no_more(),
        answer("answer: the responder says revoked", |t, s| { s.bus.responder.revoke(&service(s).certificate); statuses(t, vec![]) }, doubted(InconsistentResponse)).and_no_more(),
        request("revoked", move |t, s| statuses(t, seal_status(s, revoked(), NOW)), told(Untrusted)).and_no_more(),
        request("revoked, with a good one of the same moment behind", move |t, s| {
            let all = [seal_status(s, revoked(), NOW), seal_status(s, Verdict::Good, NOW)].concat();
            statuses(t, all);
        }, told(Untrusted)).and_no_more(),
        request("left out, the responder says revoked", |t, s| { s.bus.responder.revoke(&client(s).certificate); statuses(t, vec![]) }, told(Untrusted)).and_no_more(),
        request("the node's is revoked", |t, s| {
            let node = &s.bus.node(CONSUMER).auth;
            s.bus.responder.revoke(node);
            let mut all = seal_status(s, Verdict::Good, NOW);
            all[1] = s.bus.responder.answer(node);
            statuses(t, all);
        }, told(Untrusted)).and_no_more(),
    ];
    // Every place of the response: its frame, what it says of whom, and the signature.
    for sixteenth in 0..12 {
        let change = move |t: &mut Tape, s: &Scene| {
            let mut all = seal_status(s, Verdict::Good, NOW);
            // What the responder's certificate says beside its key is not what vouches here.
            let end = all[0].len() - s.bus.authority.certificate().der().len();
            let place = (end - 1) * sixteenth / 11;
            flip(&mut all[0], place);
            statuses(t, all);
        };
        rows.push(away(request(&format!("a bit at {sixteenth}/11"), change, told(StatusUnknown))).and_no_more());
    }
    all("the status", rows).await;
}
