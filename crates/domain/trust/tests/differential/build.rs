//! Chains of certificates, written by hand so that anything can be wrong with them.

use std::collections::BTreeSet;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use truc_model::Timestamp;
use truc_trust::Purpose;

/// 2026-11-21T12:00:00Z.
pub(crate) const NOW: u64 = 1_795_262_400;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(i64::try_from(NOW).unwrap() * 1000)
}

/// SplitMix64: the same chains from the same seed for ever.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x7472_7563)
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        n @ 0..=0x7f => out.push(u8::try_from(n).unwrap()),
        n @ 0x80..=0xff => out.extend([0x81, u8::try_from(n).unwrap()]),
        n => out.extend([0x82, u8::try_from(n >> 8).unwrap(), u8::try_from(n & 0xff).unwrap()]),
    }
    out.extend(content);
    out
}
pub(crate) fn seq(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}
pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, &[content])
}
pub(crate) fn int(content: &[u8]) -> Vec<u8> {
    tlv(0x02, &[content])
}
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content])
}
pub(crate) fn utc(text: &str) -> Vec<u8> {
    tlv(0x17, &[text.as_bytes()])
}
pub(crate) fn validity(from: &str, to: &str) -> Vec<u8> {
    seq(&[&utc(from), &utc(to)])
}
/// CN alone, in the string type given.
pub(crate) fn name_as(tag: u8, cn: &str) -> Vec<u8> {
    seq(&[&tlv(0x31, &[&seq(&[&oid(&[0x55, 4, 3]), &tlv(tag, &[cn.as_bytes()])])])])
}
pub(crate) fn name(cn: &str) -> Vec<u8> {
    name_as(0x0c, cn)
}

pub(crate) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
pub(crate) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

enum Key {
    Ec(EcdsaKeyPair, &'static [u8], &'static [u8]),
    Ed(Ed25519KeyPair),
}

/// Keys by place in the chain: the anchor's is 0, the next CA's 1 …; then spare ones.
pub(crate) struct Keys(Vec<Key>, SystemRandom);

/// Spare keys, which nobody in the chain has.
pub(crate) const STRANGER: usize = 6;
pub(crate) const OTHER: usize = 7;
pub(crate) const KEY_P384: usize = 8;
pub(crate) const KEY_ED25519: usize = 9;

impl Keys {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let ec = |p384: bool| {
            let (algorithm, curve, signature) = if p384 {
                (&ECDSA_P384_SHA384_ASN1_SIGNING, P384, ECDSA_SHA384)
            } else {
                (&ECDSA_P256_SHA256_ASN1_SIGNING, P256, ECDSA_SHA256)
            };
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Key::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap(), curve, signature)
        };
        let mut keys: Vec<Key> = (0..KEY_P384).map(|_| ec(false)).collect();
        keys.push(ec(true));
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        keys.push(Key::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()));
        Self(keys, random)
    }

    fn spki(&self, key: usize) -> Vec<u8> {
        match &self.0[key] {
            Key::Ec(pair, curve, _) => {
                seq(&[&seq(&[&oid(EC), &oid(curve)]), &bits(pair.public_key().as_ref())])
            }
            Key::Ed(pair) => seq(&[&seq(&[&oid(ED25519)]), &bits(pair.public_key().as_ref())]),
        }
    }

    fn algorithm(&self, key: usize) -> Vec<u8> {
        match &self.0[key] {
            Key::Ec(_, _, signature) => seq(&[&oid(signature)]),
            Key::Ed(_) => seq(&[&oid(ED25519)]),
        }
    }

    fn sign(&self, key: usize, bytes: &[u8]) -> Vec<u8> {
        match &self.0[key] {
            Key::Ec(pair, ..) => pair.sign(&self.1, bytes).unwrap().as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
        }
    }
}

/// One extension.
#[derive(Clone)]
pub(crate) struct Ext {
    pub(crate) id: Vec<u8>,
    /// The BOOLEAN's bytes; empty for the default.
    pub(crate) critical: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

pub(crate) fn ext(id: &[u8], critical: bool, value: Vec<u8>) -> Ext {
    Ext { id: id.to_vec(), critical: if critical { vec![1, 1, 0xff] } else { vec![] }, value }
}

pub(crate) const SKI: &[u8] = &[0x55, 0x1d, 14];
pub(crate) const KU: &[u8] = &[0x55, 0x1d, 15];
pub(crate) const SAN: &[u8] = &[0x55, 0x1d, 17];
pub(crate) const BC: &[u8] = &[0x55, 0x1d, 19];
pub(crate) const NC: &[u8] = &[0x55, 0x1d, 30];
pub(crate) const POLICIES: &[u8] = &[0x55, 0x1d, 32];
pub(crate) const AKI: &[u8] = &[0x55, 0x1d, 35];
pub(crate) const EKU: &[u8] = &[0x55, 0x1d, 37];
pub(crate) const UNKNOWN: &[u8] = &[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 1];

pub(crate) const EKU_SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
pub(crate) const EKU_CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
pub(crate) const EKU_MAIL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 4];
pub(crate) const EKU_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
pub(crate) const EKU_ANY: &[u8] = &[0x55, 0x1d, 0x25, 0];

pub(crate) fn eku(critical: bool, ids: &[&[u8]]) -> Ext {
    let ids: Vec<Vec<u8>> = ids.iter().map(|id| oid(id)).collect();
    ext(EKU, critical, tlv(0x30, &ids.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}
pub(crate) fn key_usage(octet: u8) -> Ext {
    ext(KU, true, tlv(0x03, &[&[u8::try_from(octet.trailing_zeros().min(7)).unwrap(), octet]]))
}
/// `length` are the content octets of the INTEGER.
pub(crate) fn constraints(ca: bool, length: Option<&[u8]>) -> Ext {
    let flag: &[u8] = if ca { &[1, 1, 0xff] } else { &[] };
    let length = length.map(int).unwrap_or_default();
    ext(BC, true, seq(&[flag, &length]))
}
pub(crate) fn dns(name: &str) -> Vec<u8> {
    tlv(0x82, &[name.as_bytes()])
}

/// What one certificate says. `None` means: as it follows from the chain.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) inner_algorithm: Option<Vec<u8>>,
    pub(crate) outer_algorithm: Option<Vec<u8>>,
    pub(crate) issuer: Option<Vec<u8>>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) key: usize,
    pub(crate) spki: Option<Vec<u8>>,
    /// Between key and extensions.
    pub(crate) unique: Vec<u8>,
    pub(crate) extensions: Vec<Ext>,
    /// After the extensions, inside what is signed.
    pub(crate) rest: Vec<u8>,
    pub(crate) signer: Option<usize>,
    /// Octets of what is signed (place modulo its length, new value) to be changed before it is signed.
    pub(crate) scramble: Vec<(usize, u8)>,
    /// Done to the signature's bytes.
    pub(crate) on_signature: fn(Vec<u8>) -> Vec<u8>,
    /// Done to the whole, after signing.
    pub(crate) on_whole: fn(Vec<u8>) -> Vec<u8>,
}

impl Spec {
    fn new(cn: &str, key: usize, extensions: Vec<Ext>) -> Self {
        Self {
            version: tlv(0xa0, &[&int(&[2])]),
            serial: int(&[u8::try_from(key).unwrap() + 1]),
            inner_algorithm: None,
            outer_algorithm: None,
            issuer: None,
            validity: validity("260101000000Z", "270101000000Z"),
            subject: name(cn),
            key,
            spki: None,
            unique: vec![],
            extensions,
            rest: vec![],
            signer: None,
            scramble: vec![],
            on_signature: |signature| tlv(0x03, &[&[0], &signature]),
            on_whole: |der| der,
        }
    }

    pub(crate) fn ca(cn: &str, key: usize) -> Self {
        Self::new(
            cn,
            key,
            vec![constraints(true, None), key_usage(0x06), ext(SKI, false, tlv(4, &[&[7; 20]]))],
        )
    }

    fn leaf(key: usize, purpose: Purpose) -> Self {
        let mut extensions = vec![key_usage(0xc0), ext(SAN, false, seq(&[&dns("ss1.h26.example.vn")]))];
        match purpose {
            Purpose::Auth => extensions.push(eku(false, &[EKU_CLIENT, EKU_SERVER])),
            Purpose::TimeStamping => extensions.push(eku(true, &[EKU_STAMPING])),
            Purpose::Sign => {}
        }
        Self::new("H26", key, extensions)
    }

    pub(crate) fn drop_ext(&mut self, id: &[u8]) {
        self.extensions.retain(|e| e.id != id);
    }
    pub(crate) fn set_ext(&mut self, new: Ext) {
        self.drop_ext(&new.id);
        self.extensions.push(new);
    }

    fn der(&self, keys: &Keys, issuer: &[u8], signer: usize) -> Vec<u8> {
        let signer = self.signer.unwrap_or(signer);
        let algorithm = keys.algorithm(signer);
        let one = |e: &Ext| seq(&[&oid(&e.id), &e.critical, &tlv(4, &[&e.value])]);
        let list: Vec<u8> = self.extensions.iter().flat_map(one).collect();
        let extensions = if self.extensions.is_empty() { vec![] } else { tlv(0xa3, &[&seq(&[&list])]) };
        let spki = self.spki.clone().unwrap_or_else(|| keys.spki(self.key));
        let mut tbs = seq(&[
            &self.version,
            &self.serial,
            self.inner_algorithm.as_ref().unwrap_or(&algorithm),
            self.issuer.as_deref().unwrap_or(issuer),
            &self.validity,
            &self.subject,
            &spki,
            &self.unique,
            &extensions,
            &self.rest,
        ]);
        for (at, value) in &self.scramble {
            let at = at % tbs.len();
            tbs[at] = *value;
        }
        let signature = (self.on_signature)(keys.sign(signer, &tbs));
        (self.on_whole)(seq(&[&tbs, self.outer_algorithm.as_ref().unwrap_or(&algorithm), &signature]))
    }
}

/// Where a flaw is; mixtures put one in each place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Leaf,
    Between,
    Anchor,
    /// The order and number of certificates.
    Chain,
}

/// A chain: `certs[0]` is the anchor, the last one the leaf.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) certs: Vec<Spec>,
    /// More intermediates, as finished specs with the place of their issuer in `certs`.
    pub(crate) beside: Vec<(Spec, usize)>,
    /// Bytes that are sent along as intermediates.
    pub(crate) raw: Vec<Vec<u8>>,
    /// Left out of what is sent.
    pub(crate) missing: Option<usize>,
    pub(crate) reversed: bool,
    /// The leaf stands among the anchors, in place of the root.
    pub(crate) leaf_is_anchor: bool,
    pub(crate) purpose: Purpose,
    touched: BTreeSet<Place>,
}

/// What is handed to a verifier.
pub(crate) struct Ders {
    pub(crate) end: Vec<u8>,
    pub(crate) between: Vec<Vec<u8>>,
    pub(crate) anchors: Vec<Vec<u8>>,
}

impl Chain {
    /// Nothing is wrong with it; `depth` certificates below the anchor.
    pub(crate) fn sound(depth: usize, purpose: Purpose) -> Self {
        let mut certs: Vec<Spec> = (0..depth).map(|i| Spec::ca(&format!("CA {i}"), i)).collect();
        certs.push(Spec::leaf(depth, purpose));
        Self {
            certs,
            beside: vec![],
            raw: vec![],
            missing: None,
            reversed: false,
            leaf_is_anchor: false,
            purpose,
            touched: BTreeSet::new(),
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.certs.len() - 1
    }
    pub(crate) fn leaf(&mut self) -> &mut Spec {
        self.certs.last_mut().unwrap()
    }
    /// One of the CAs between anchor and leaf, if there are any.
    pub(crate) fn between(&mut self, rng: &mut Rng) -> Option<&mut Spec> {
        let count = self.depth() - 1;
        (count > 0).then(|| &mut self.certs[1 + rng.below(count)])
    }
    pub(crate) fn touches(&self, place: Place) -> bool {
        self.touched.contains(&place)
    }
    pub(crate) fn touch(&mut self, place: Place) {
        self.touched.insert(place);
    }

    pub(crate) fn build(&self, keys: &Keys) -> Ders {
        let der = |spec: &Spec, parent: usize| {
            let parent = &self.certs[parent];
            spec.der(keys, &parent.subject, parent.key)
        };
        let all: Vec<Vec<u8>> =
            self.certs.iter().enumerate().map(|(i, s)| der(s, i.saturating_sub(1))).collect();
        let depth = self.depth();
        let mut between: Vec<Vec<u8>> =
            (1..depth).filter(|i| Some(*i) != self.missing).map(|i| all[i].clone()).collect();
        between.extend(self.beside.iter().map(|(spec, parent)| der(spec, *parent)));
        between.extend(self.raw.iter().cloned());
        if !self.reversed {
            between.reverse();
        }
        let anchors = vec![if self.leaf_is_anchor { all[depth].clone() } else { all[0].clone() }];
        Ders { end: all[depth].clone(), between, anchors }
    }
}
