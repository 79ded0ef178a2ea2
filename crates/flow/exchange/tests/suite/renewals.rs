//! Seals that are renewed while messages are under way: each message carries the status of the seal that signed it.

use std::collections::HashMap;
use std::sync::Arc;

use truc_exchange::{Seal, Sealing};
use truc_keys::KeyKind;
use truc_message::{Body, Sealed};
use truc_model::{FaultCode, MemberId, Side};
use truc_testkit::draft;
use truc_testkit::memory_signer::{MemorySigner, TestKey};
use truc_trust::{OwnStatuses, cms};

use crate::bus::{CLIENT, CONSUMER, PROVIDER, SERVICE, bus};

#[tokio::test]
async fn a_seal_and_its_status_change_together() {
    let bus = bus().await;
    let member: MemberId = "VN/GOV/H26".parse().unwrap();
    let mut signer = MemorySigner::default();
    let mut seal = |label: &str| {
        let key = TestKey::generate(KeyKind::EcP256);
        let certificate = bus.authority.seal(&member, &key);
        let (key, algorithm) = (signer.add(label, &key), certificate.key_kind().default_algorithm());
        Seal { key, certificate, intermediates: vec![], algorithm }
    };
    let (old, new) = (seal("old"), seal("new"));
    let status = |seal: &Seal| (seal.certificate.fingerprint(), bus.responder.answer(&seal.certificate));
    let (old_status, new_status) = (status(&old), status(&new));
    let seals = |seal: &Seal| HashMap::from([(member.clone(), seal.clone())]);
    let own = Arc::new(OwnStatuses::default());
    own.renew_seal(old_status.0, old_status.1.clone());
    let sealing = Sealing::new(Arc::new(signer), seals(&old), own);
    let begun = sealing.pen(&member, Side::ClientProxy).unwrap();
    sealing.replace(seals(&new), &HashMap::from([new_status.clone()]));
    let renewed = sealing.pen(&member, Side::ClientProxy).unwrap();
    for (pen, seal, status) in [(begun, &old, old_status), (renewed, &new, new_status)] {
        assert_eq!(pen.statuses(bus.clock.now()), [status.1]);
        let header = bus.node(CONSUMER).header(&draft(CLIENT, SERVICE), &bus.node(PROVIDER).id);
        let signed = pen.sign(Sealed::seal(header, Body::empty(), vec![]).unwrap()).await.unwrap();
        let signature = cms::read(signed.signature.cms()).unwrap();
        assert_eq!(signature.certificate().fingerprint(), seal.certificate.fingerprint());
    }
    // A member that has left this node signs nothing new.
    sealing.replace(HashMap::new(), &HashMap::new());
    let gone = sealing.pen(&member, Side::ClientProxy).map(drop).unwrap_err();
    assert_eq!(gone.code, FaultCode::SigningFailed);
}
