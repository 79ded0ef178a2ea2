//! What comes after a stamp: certificate statuses, and what peers acknowledged.

use std::sync::Arc;

use bytes::Bytes;
use truc_evidence::contract::Sample;
use truc_evidence::{EvidenceStore as _, LaterStatus, Proof, ProofStore as _};
use truc_keys::{KeyKind, SignatureAlgorithm, Signer as _};
use truc_message::Leaf;
use truc_model::{Digest, NodeId, Timestamp};
use truc_testkit::authority::Authority;
use truc_testkit::memory_signer::{MemorySigner, TestKey};
use truc_trust::{Certificate, KnownStatus, Verdict, cms, ocsp};

use crate::bench::{Bench, millis, seconds};

struct Seal {
    ca: Authority,
    certificate: Certificate,
    cms: Bytes,
}

impl Seal {
    async fn new(at: Timestamp) -> Self {
        let (ca, key) = (Authority::new("CA"), TestKey::generate(KeyKind::EcP256));
        let certificate = ca.seal(&"VN/GOV/H26".parse().unwrap(), &key);
        let mut signer = MemorySigner::default();
        let label = signer.add("seal", &key);
        let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
        let made = cms::prepare(b"manifest", &certificate, algorithm, at).unwrap();
        let value = signer.sign(&label, algorithm, made.bytes().to_vec().into()).await.unwrap();
        Self { ca, certificate, cms: made.assemble(&value).unwrap().into() }
    }

    fn status(&self, verdict: Verdict, at: Timestamp) -> Arc<KnownStatus> {
        let response = self.ca.status(&self.certificate, verdict, at);
        let read = ocsp::read(&response).unwrap();
        let status = read.judge(&self.certificate, self.ca.certificate(), at).unwrap();
        let (certificate, digest) = (self.certificate.clone(), Digest::of(&response));
        Arc::new(KnownStatus { certificate, response, digest, status })
    }

    /// Appends a record that this seal signed.
    async fn signs(&self, bench: &Bench) {
        let mut record = Sample::new(bench.store.len() as u64).unwrap().request(b"").unwrap();
        record.cms = self.cms.clone();
        record.local.trust = None;
        record.local.at = bench.clock.right();
        bench.store.append(record, None).await.unwrap();
    }
}

fn statuses(bench: &Bench) -> Vec<LaterStatus> {
    let status = |proof| if let Proof::Status(status) = proof { Some(status) } else { None };
    bench.store.proofs().into_iter().filter_map(status).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_status_after_the_token_is_kept_as_traffic_brings_it() {
    let bench = Bench::new(&["tsa"]);
    let seal = Seal::new(bench.clock.right()).await;
    let fingerprint = seal.certificate.fingerprint();
    let bring = |status: Arc<KnownStatus>| bench.known.newest.lock().unwrap().insert(fingerprint, status);
    bring(seal.status(Verdict::Good, bench.clock.right()));
    seconds(10).await;
    seal.signs(&bench).await;
    let running = bench.run().await;
    seconds(121).await;
    assert_eq!(statuses(&bench), [], "the status of before says nothing about the time of the token");
    let after = seal.status(Verdict::Good, bench.clock.right());
    bring(Arc::clone(&after));
    seconds(61).await;
    let kept = statuses(&bench);
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].certificate, kept[0].this_update), (fingerprint, after.status.this_update));
    assert_eq!(kept[0].response, after.response);
    let token = bench.batches()[0].gen_time;
    assert_eq!(bench.store.status_after(fingerprint, token).await.unwrap().as_ref(), Some(&kept[0]));
    // One is enough, whatever comes.
    bring(seal.status(Verdict::Good, bench.clock.right()));
    seconds(1200).await;
    assert_eq!((statuses(&bench).len(), *bench.known.asked.lock().unwrap()), (1, 0));
    // Until the next token.
    seal.signs(&bench).await;
    seconds(61).await;
    bring(seal.status(Verdict::Revoked { at: bench.clock.right() }, bench.clock.right()));
    seconds(61).await;
    assert_eq!(statuses(&bench).len(), 2, "also one that says revoked");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_node_asks_when_traffic_brings_none() {
    let bench = Bench::new(&["tsa"]);
    let seal = Seal::new(bench.clock.right()).await;
    let fingerprint = seal.certificate.fingerprint();
    let asked = || *bench.known.asked.lock().unwrap();
    seal.signs(&bench).await;
    let running = bench.run().await;
    seconds(590).await;
    assert_eq!(asked(), 0);
    seconds(80).await;
    assert_eq!(asked(), 1, "after ten minutes");
    seconds(500).await;
    assert_eq!((asked(), statuses(&bench).len()), (1, 0));
    seconds(120).await;
    assert_eq!(asked(), 2, "the responder was away; it is asked again ten minutes later");
    running.stop().await;
    // What was not kept before the stop is awaited again.
    let answer = seal.status(Verdict::Good, bench.clock.right());
    bench.known.answers.lock().unwrap().insert(fingerprint, answer);
    let running = bench.run().await;
    seconds(61).await;
    assert_eq!((asked(), statuses(&bench).len()), (3, 1));
    running.stop().await;
    let running = bench.run().await;
    seconds(3600).await;
    assert_eq!((asked(), statuses(&bench).len()), (3, 1), "and no more once it is kept");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_peers_acknowledge_is_kept_each_minute() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    millis(10).await;
    let peers: [NodeId; 2] = ["VN/GOV/G01/ss1", "VN/GOV/G10/ss1"].map(|id| id.parse().unwrap());
    let leaf = |index: u64| Leaf { index, hash: Digest::of(&index.to_be_bytes()) };
    for own in (0..5000).rev() {
        running.stamper.note_acknowledged(&peers[0], own, leaf(own + 7));
    }
    running.stamper.note_acknowledged(&peers[1], 3, leaf(1));
    bench.store.set_full(true);
    seconds(61).await;
    assert_eq!(bench.store.proofs(), []);
    bench.store.set_full(false);
    seconds(60).await;
    let kept = bench.store.acknowledged(&peers[0], 0, 10_000).await.unwrap();
    assert_eq!(kept.len(), 5000, "nothing is lost over a full disk, nothing is there twice");
    assert!((0..).zip(&kept).all(|(own, kept)| kept.own == own && kept.leaf == leaf(own + 7)));
    assert_eq!(bench.store.acknowledged(&peers[1], 0, 10).await.unwrap().len(), 1);
    // What waits at the stop is kept then.
    running.stamper.note_acknowledged(&peers[1], 4, leaf(2));
    running.stop().await;
    assert_eq!(bench.store.acknowledged(&peers[1], 0, 10).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_have_a_bound() {
    let bench = Bench::new(&["tsa"]);
    let running = bench.run().await;
    let peer: NodeId = "VN/GOV/G01/ss1".parse().unwrap();
    for own in 0..100_010 {
        running.stamper.note_acknowledged(&peer, own, Leaf { index: own, hash: Digest([0; 32]) });
    }
    assert_eq!(running.stamper.state(bench.clock.right()).forgotten, 10);
    seconds(61).await;
    assert_eq!(bench.store.acknowledged(&peer, 0, 200_000).await.unwrap().len(), 100_000);
    running.stamper.note_acknowledged(&peer, 100_000, Leaf { index: 1, hash: Digest([0; 32]) });
    assert_eq!(running.stamper.state(bench.clock.right()).forgotten, 10);
    running.stop().await;
}
