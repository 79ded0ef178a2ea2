//! Ten thousand mutations of an enrolment, as a registry takes it: none is accepted as anything but what was signed, and none
//! makes it panic.

use std::time::Duration;

use bytes::Bytes;
use ring::rand::SecureRandom as _;
use truc_directory::V1;
use truc_governance::*;
use truc_keys::SignatureAlgorithm;
use truc_model::{Clock as _, MessageId};
use zeroize::Zeroizing;

use crate::office::{Office, certificate, public, sign};

const NODE: &str = "VN/GOV/H49/ss1";
const MEMBER: &str = "VN/GOV/H49";
const ROUNDS: usize = 10_000;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

async fn inviting() -> (Office, InvitationCode) {
    let mut office = Office::initialised().await;
    let add = Command::AddMember {
        id: MEMBER.parse().unwrap(),
        name_vi: "Quảng Ninh".into(),
        name_en: "QN".into(),
    };
    office.run(add).await.unwrap();
    let code = InvitationCode::new(&Zeroizing::new([7; 25]));
    let (id, key, node) = (code.id().clone(), code.key(), NODE.parse().unwrap());
    let expires = office.clock.now().plus(Duration::from_secs(3600));
    office.run(Command::Invite { id, key, node, expires, level: None }).await.unwrap();
    (office, code)
}

fn request(office: &Office) -> Request {
    let asked = |holder: &str, seed: u8| RequestedCertificate {
        request: certificate(&format!("csr:{holder}#{seed}")),
        certificate: None,
    };
    let subsystem =
        NamedSubsystem { id: format!("{MEMBER}/mot-cua").parse().unwrap(), name: "Một cửa".into() };
    let members = vec![EnrolledMember {
        id: MEMBER.parse().unwrap(),
        seal: asked(MEMBER, 21),
        subsystems: vec![subsystem],
    }];
    let address = "ss1.quangninh.gov.vn:5500".into();
    let (log_key, auth) = (public(22), asked(NODE, 20));
    Request {
        v: V1,
        id: MessageId::new(office.clock.now(), [3; 10]),
        instance: "VN".into(),
        node: NODE.parse().unwrap(),
        made: office.clock.now(),
        ask: Ask::EnrolNode { address, log_key, versions: vec![1], auth, members },
    }
}

fn signed(request: Bytes, code: &InvitationCode) -> SignedRequest {
    let text = signed_text(&request);
    let by = |role, holder: &str, seed| RequestSignature {
        role,
        holder: holder.to_owned(),
        algorithm: SignatureAlgorithm::Ed25519,
        certificate: None,
        signature: sign(seed, &text),
    };
    let signatures = vec![
        by(SigningRole::NewKey, NODE, 20),
        by(SigningRole::NewKey, MEMBER, 21),
        by(SigningRole::LogKey, NODE, 22),
    ];
    SignedRequest { v: V1, invitation: Some(code.mac(&text)), request, signatures }
}

/// One change of bytes, or several.
fn bent(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    for _ in 0..=numbers.below(3) {
        let (at, other) = (numbers.below(bent.len()), numbers.below(bent.len()));
        match numbers.below(8) {
            0 => bent[at] = numbers.byte(),
            1 => bent[at] ^= 1 << numbers.below(8),
            2 => bent.insert(at, numbers.byte()),
            3 => drop(bent.remove(at)),
            4 => bent.swap(at, other),
            5 => bent.truncate(at.max(1)),
            6 => {
                // A piece twice: fields, entries, whole objects.
                let end = (at + numbers.below(300)).min(bent.len());
                let piece = bent[at..end].to_vec();
                bent.splice(other..other, piece);
            }
            _ => {
                let end = (at + numbers.below(300)).min(bent.len());
                bent.drain(at..end);
                bent.extend(b"}");
            }
        }
    }
    bent
}

#[tokio::test]
async fn nothing_but_what_was_signed_is_accepted() {
    let (mut office, code) = inviting().await;
    let request = request(&office).to_bytes();
    let original = signed(request.clone(), &code);
    let document = original.to_bytes();
    office.governance.examine(&document).expect("the original is taken");
    let mut seed = [0; 8];
    ring::rand::SystemRandom::new().fill(&mut seed).unwrap();
    let seed = std::env::var("TRUC_SEED").map_or(u64::from_le_bytes(seed) | 1, |text| text.parse().unwrap());
    let mut numbers = Numbers(seed);
    for round in 0..ROUNDS {
        // The envelope is bent, or the request inside it, whose envelope is whole then.
        let mutated = if round % 2 == 0 {
            bent(&document, &mut numbers)
        } else {
            let inside = Bytes::from(bent(&request, &mut numbers));
            SignedRequest { request: inside, ..original.clone() }.to_bytes().to_vec()
        };
        let mutated = Bytes::from(mutated);
        if office.governance.examine(&mutated).is_ok() {
            // Another spelling of the same, as a space between two fields, is no other request.
            let (read, _) = SignedRequest::parse(&mutated).unwrap();
            assert_eq!(read, original, "TRUC_SEED={seed} round {round}");
        }
        let submitted = Command::Submit { document: mutated.clone(), issued: vec![] };
        let parsed = SignedRequest::parse(&mutated).map(|(read, _)| read);
        if parsed.as_ref() != Ok(&original) {
            let before = office.governance.decisions();
            assert!(office.run(submitted).await.is_err(), "TRUC_SEED={seed} round {round}");
            assert_eq!(office.governance.decisions(), before);
        }
    }
}

#[tokio::test]
async fn parts_of_a_good_request_make_no_other() {
    let (office, code) = inviting().await;
    let request = request(&office);
    let original = signed(request.to_bytes(), &code);
    let taken = |signed: &SignedRequest| office.governance.examine(&signed.to_bytes()).is_ok();
    assert!(taken(&original));
    let count = original.signatures.len();
    for (one, other) in (0..count).flat_map(|one| (0..count).map(move |other| (one, other))) {
        let mut bent = original.clone();
        if one == other {
            bent.signatures.remove(one);
            assert!(!taken(&bent), "signature {one} is missing");
            let mut bent = original.clone();
            bent.signatures.push(bent.signatures[one].clone());
            assert!(!taken(&bent), "signature {one} stands there twice");
            continue;
        }
        bent.signatures[one].signature = bent.signatures[other].signature.clone();
        assert!(!taken(&bent), "signature {one} is that of {other}");
        let mut bent = original.clone();
        bent.signatures[one].role = SigningRole::Node;
        bent.signatures[other].holder = NODE.to_owned() + "x";
        assert!(!taken(&bent));
    }
    assert!(!taken(&SignedRequest { invitation: None, ..original.clone() }));
    let stranger = InvitationCode::new(&Zeroizing::new([8; 25]));
    let mac = stranger.mac(&signed_text(&original.request));
    assert!(!taken(&SignedRequest { invitation: Some(mac.clone()), ..original.clone() }));
    let named = InvitationMac { id: code.id().clone(), mac: mac.mac };
    assert!(!taken(&SignedRequest { invitation: Some(named), ..original.clone() }));
    // Whoever changes the request and has no key cannot have it signed.
    let moved = |change: &dyn Fn(&mut Request)| {
        let mut request = request.clone();
        change(&mut request);
        SignedRequest { request: request.to_bytes(), ..original.clone() }
    };
    let changes: [&dyn Fn(&mut Request); 4] = [
        &|request| request.made = request.made.plus(Duration::from_millis(1)),
        &|request| request.id = MessageId::new(request.made, [4; 10]),
        &|request| request.node = "VN/GOV/H49/ss2".parse().unwrap(),
        &|request| {
            if let Ask::EnrolNode { address, .. } = &mut request.ask {
                *address = "evil.example:5500".into();
            }
        },
    ];
    assert!(changes.iter().all(|change| !taken(&moved(change))));
}
