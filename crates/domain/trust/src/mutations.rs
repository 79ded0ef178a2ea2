//! 10,000 random mutations of an OCSP response and of a revocation list, taken in as from a responder: no panic, and nothing is
//! believed but what was signed.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_keys::KeyKind;
use truc_model::Digest;

use crate::asn1::{OCTET_STRING, SEQUENCE, Tlv};
use crate::ocsp::Verdict;
use crate::statuses_tests::{list, response};
use crate::testing::{Party, noon, seal};
use crate::{
    Accepted, Certificate, StatusBook, StatusPolicy, StatusSource, StatusSourceError, Subject, TrustError,
};

const ROUNDS: usize = 10_000;

/// splitmix64: the same mutations every time.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// One to four changes: bits, octets, pieces cut out, doubled, moved or swapped with pieces of `other`.
pub(crate) fn mutated(good: &[u8], other: &[u8], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=draw.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = draw.below(bytes.len());
        let to = (at + 1 + draw.below(32)).min(bytes.len());
        match draw.below(8) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.octet(),
            2 => drop(bytes.drain(at..to)),
            3 => bytes.insert(at, draw.octet()),
            4 => {
                let piece = bytes[at..to].to_vec();
                let place = draw.below(bytes.len());
                bytes.splice(place..place, piece);
            }
            5 => bytes.truncate(at),
            6 => {
                let from = draw.below(other.len());
                let piece = other[from..(from + to - at).min(other.len())].to_vec();
                bytes.splice(at..to, piece);
            }
            _ => bytes.extend(std::iter::repeat_n(draw.octet(), to - at)),
        }
    }
    bytes
}

/// Everybody answers with the same bytes.
struct Answers {
    ocsp: Option<Bytes>,
    list: Option<Bytes>,
}

#[async_trait]
impl StatusSource for Answers {
    async fn ocsp(&self, _: &str, _: &Certificate, _: &Certificate) -> Result<Bytes, StatusSourceError> {
        self.ocsp.clone().ok_or_else(|| StatusSourceError("away".into()))
    }
    async fn revocation_list(&self, _: &str) -> Result<Bytes, StatusSourceError> {
        self.list.clone().ok_or_else(|| StatusSourceError("away".into()))
    }
}

struct Node {
    ca: Party,
    leaf: Party,
    authority: ApprovedAuthority,
}

impl Node {
    fn new() -> Self {
        let ca = Party::root("CA");
        let leaf = ca.issue(KeyKind::EcP256, seal("G01"), 4711);
        let authority = ApprovedAuthority {
            name: "CA".into(),
            certificate: Der(Bytes::copy_from_slice(ca.certificate.der())),
            intermediates: vec![],
            usages: vec![Usage::Sign],
            profile: Profile::Truc1,
            ocsp: vec!["http://ocsp/".into()],
            crl: Some("http://list/".into()),
        };
        Self { ca, leaf, authority }
    }

    /// What a node that knows nothing yet makes of these answers.
    fn judge(&self, ocsp: Option<Bytes>, list: Option<Bytes>) -> Result<Accepted, TrustError> {
        let source = Arc::new(Answers { ocsp, list });
        let book = StatusBook::new(source, StatusPolicy::default(), Digest([0; 32]));
        let (certificate, issuer) = (&self.leaf.certificate, &self.ca.certificate);
        let subject = Subject { certificate, issuer, authority: &self.authority };
        let judged = book.establish(&subject, &[], noon());
        judged.now_or_never().unwrap()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_changed_response_is_never_believed() {
    let node = Node::new();
    let good = response(&node.ca, &node.leaf.certificate, Verdict::Good, noon());
    let bad = response(&node.ca, &node.leaf.certificate, Verdict::Revoked { at: noon() }, noon());
    let other = node.ca.issue(KeyKind::EcP256, seal("G02"), 4712);
    let of_other = response(&node.ca, &other.certificate, Verdict::Good, noon());
    let signed = |response: &[u8]| {
        let mut outer = Tlv::only(response, SEQUENCE, "").unwrap().open();
        outer.any("").unwrap();
        let mut wrapped = outer.explicit(0, SEQUENCE, "").unwrap().unwrap().open();
        wrapped.any("").unwrap();
        let basic = wrapped.take(OCTET_STRING, "").unwrap().value.to_vec();
        let mut basic = Tlv::only(&basic, SEQUENCE, "").unwrap().open();
        basic.take(SEQUENCE, "").unwrap().raw.to_vec()
    };
    let (signed_good, signed_bad) = (signed(&good), signed(&bad));
    assert!(node.judge(Some(good.clone()), None).is_ok());
    assert_eq!(node.judge(Some(bad.clone()), None).unwrap_err(), TrustError::Revoked);
    let mut draw = Draw(1);
    for round in 0..ROUNDS {
        let changed = Bytes::from(mutated(&good, [&of_other, &bad][round % 2], &mut draw));
        match node.judge(Some(changed.clone()), None) {
            Ok(_) => assert!(contains(&changed, &signed_good), "{round}: {}", hex::encode(&changed)),
            Err(error) => assert!(matches!(error, TrustError::StatusUnavailable(_)), "{round}: {error}"),
        }
        // And nobody makes "good" of "revoked".
        let changed = Bytes::from(mutated(&bad, &good, &mut draw));
        match node.judge(Some(changed.clone()), None) {
            Err(TrustError::Revoked) => assert!(contains(&changed, &signed_bad), "{round}"),
            Err(TrustError::StatusUnavailable(_)) => {}
            Ok(_) => panic!("{round}: {}", hex::encode(&changed)),
            Err(error) => panic!("{round}: {error}"),
        }
    }
}

#[test]
fn a_changed_list_is_never_believed() {
    let node = Node::new();
    let next = noon().plus(std::time::Duration::from_secs(86_400));
    let silent = list(&node.ca, &[1, 2, 3], noon(), next);
    let naming = list(&node.ca, &[1, 4711, 3], noon(), next);
    let signed = |list: &[u8]| {
        let mut outer = Tlv::only(list, SEQUENCE, "").unwrap().open();
        outer.take(SEQUENCE, "").unwrap().raw.to_vec()
    };
    let (signed_silent, signed_naming) = (signed(&silent), signed(&naming));
    assert!(node.judge(None, Some(silent.clone())).is_ok());
    assert_eq!(node.judge(None, Some(naming.clone())).unwrap_err(), TrustError::Revoked);
    let mut draw = Draw(2);
    for round in 0..ROUNDS {
        let changed = Bytes::from(mutated(&silent, &naming, &mut draw));
        match node.judge(None, Some(changed.clone())) {
            Ok(_) => assert!(contains(&changed, &signed_silent), "{round}: {}", hex::encode(&changed)),
            Err(error) => assert!(matches!(error, TrustError::StatusUnavailable(_)), "{round}: {error}"),
        }
        let changed = Bytes::from(mutated(&naming, &silent, &mut draw));
        match node.judge(None, Some(changed.clone())) {
            Err(TrustError::Revoked) => assert!(contains(&changed, &signed_naming), "{round}"),
            Err(TrustError::StatusUnavailable(_)) => {}
            Ok(_) => panic!("{round}: {}", hex::encode(&changed)),
            Err(error) => panic!("{round}: {error}"),
        }
    }
}
