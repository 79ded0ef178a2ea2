//! Everything that is done to a chain, and what must come of it.

use truc_trust::Purpose;

use crate::build::{
    AKI, BC, Chain, EC, EKU, EKU_ANY, EKU_CLIENT, EKU_MAIL, EKU_SERVER, EKU_STAMPING, Ext, KEY_ED25519,
    KEY_P384, KU, NC, OTHER, POLICIES, Place, RSA, Rng, SAN, SKI, STRANGER, Spec, UNKNOWN, bits, constraints,
    dns, eku, ext, int, key_usage, name, name_as, oid, seq, tlv, utc, validity,
};

/// What must come of a flaw.
pub(crate) enum Fate {
    /// webpki refuses it, so we must.
    Fatal,
    /// webpki lets it pass, in some chain at least; we never do, for this reason.
    Stricter(&'static str),
    /// Nobody minds, for this reason.
    Harmless(&'static str),
}

pub(crate) struct Flaw {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) fate: Fate,
    /// Makes it; false where this chain has no room for it.
    pub(crate) make: fn(&mut Chain, &mut Rng) -> bool,
}

const fn flaw(name: &'static str, place: Place, fate: Fate, make: fn(&mut Chain, &mut Rng) -> bool) -> Flaw {
    Flaw { name, place, fate, make }
}

/// Changes the leaf.
macro_rules! leaf {
    ($name:literal, $fate:expr, |$spec:ident| $change:expr) => {
        flaw($name, Place::Leaf, $fate, |chain, _| {
            let $spec = chain.leaf();
            $change;
            true
        })
    };
}

/// Changes one CA between leaf and anchor.
macro_rules! between {
    ($name:literal, $fate:expr, |$spec:ident| $change:expr) => {
        flaw($name, Place::Between, $fate, |chain, rng| {
            let Some($spec) = chain.between(rng) else { return false };
            $change;
            true
        })
    };
}

/// Changes the anchor.
macro_rules! anchor {
    ($name:literal, $fate:expr, |$spec:ident| $change:expr) => {
        flaw($name, Place::Anchor, $fate, |chain, _| {
            let $spec = &mut chain.certs[0];
            $change;
            true
        })
    };
}

/// Changes the leaf of a chain for one purpose.
macro_rules! leaf_for {
    ($purpose:ident, $name:literal, $fate:expr, |$spec:ident| $change:expr) => {
        flaw($name, Place::Leaf, $fate, |chain, _| {
            if chain.purpose != Purpose::$purpose {
                return false;
            }
            let $spec = chain.leaf();
            $change;
            true
        })
    };
}

/// Changes one CA between of a chain for one purpose.
macro_rules! between_for {
    ($purpose:ident, $name:literal, $fate:expr, |$spec:ident| $change:expr) => {
        flaw($name, Place::Between, $fate, |chain, rng| {
            if chain.purpose != Purpose::$purpose {
                return false;
            }
            let Some($spec) = chain.between(rng) else { return false };
            $change;
            true
        })
    };
}

use Fate::{Fatal, Harmless, Stricter};

const ANCHOR_JUDGED: &str = "webpki takes an anchor as a name and a key; the directory approves a CA's certificate, so its own word counts here";
const ONE_READING: &str =
    "P2 wants one reading of a certificate: what another reader may understand otherwise is refused";
const KEY_LIST: &str = "P2.2 has a closed list of keys; webpki leaves the end's key to whoever uses it";
const KEY_USAGE: &str =
    "webpki does not look at key usage; a key is used here for what its certificate says only";
const PROFILE: &str =
    "the profile wants the extended key usage stated; webpki asks only what is stated not to contradict";
const LENIENT: &str = "RFC 5280 asks readers to put up with it, and nothing is decided by it";

const SHA1_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

/// Name constraints: `[0]` permitted or `[1]` excluded, of one general name.
fn names(excluded: bool, general: &[u8], critical: bool) -> Ext {
    let tag = if excluded { 0xa1 } else { 0xa0 };
    ext(NC, critical, seq(&[&tlv(tag, &[&seq(&[general])])]))
}
fn rsa(bits_count: usize) -> Vec<u8> {
    let mut modulus = vec![0xc5; bits_count / 8];
    modulus.insert(0, 0);
    seq(&[&seq(&[&oid(RSA), &[5, 0]]), &bits(&seq(&[&int(&modulus), &int(&[1, 0, 1])]))])
}
fn flip_last(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}
fn broken(signature: Vec<u8>) -> Vec<u8> {
    tlv(0x03, &[&[0], &flip_last(signature)])
}
fn odd_bits(signature: Vec<u8>) -> Vec<u8> {
    tlv(0x03, &[&[1], &signature])
}
fn trailing(mut der: Vec<u8>) -> Vec<u8> {
    der.push(0);
    der
}
/// The outer length in one octet more than needed.
fn long_length(der: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0x30, 0x83, 0];
    out.extend(&der[2..]);
    out
}
fn indefinite(der: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0x30, 0x80];
    out.extend(&der[4..]);
    out.extend([0, 0]);
    out
}

pub(crate) static FLAWS: &[Flaw] = &[
    // Time, at each level.
    leaf!("leaf expired", Fatal, |s| s.validity = validity("250101000000Z", "251231235959Z")),
    leaf!("leaf expired a second ago", Fatal, |s| s.validity = validity("260101000000Z", "261121115959Z")),
    leaf!("leaf ends this second", Harmless("both ends count"), |s| s.validity =
        validity("260101000000Z", "261121120000Z")),
    leaf!("leaf begins this second", Harmless("both ends count"), |s| s.validity =
        validity("261121120000Z", "270101000000Z")),
    leaf!("leaf begins in a second", Fatal, |s| s.validity = validity("261121120001Z", "270101000000Z")),
    leaf!("leaf ends before it begins", Fatal, |s| s.validity = validity("270101000000Z", "260101000000Z")),
    leaf!("leaf time in GeneralizedTime before 2050", Harmless(LENIENT), |s| {
        s.validity = seq(&[&tlv(0x18, &[b"20260101000000Z"]), &tlv(0x18, &[b"20270101000000Z"])]);
    }),
    leaf!("leaf time with fractions", Fatal, |s| {
        s.validity = seq(&[&tlv(0x18, &[b"20260101000000.5Z"]), &utc("270101000000Z")]);
    }),
    leaf!("leaf time with an offset", Fatal, |s| s.validity =
        validity("260101000000+0700", "270101000000+0700")),
    leaf!("leaf time without seconds", Fatal, |s| s.validity = validity("2601010000Z", "2701010000Z")),
    leaf!("leaf time on 31 February", Fatal, |s| s.validity = validity("260231000000Z", "270101000000Z")),
    leaf!("leaf validity with a third time", Fatal, |s| {
        s.validity = seq(&[&utc("260101000000Z"), &utc("270101000000Z"), &utc("280101000000Z")]);
    }),
    between!("CA expired", Fatal, |s| s.validity = validity("250101000000Z", "251231235959Z")),
    between!("CA not yet valid", Fatal, |s| s.validity = validity("270101000000Z", "280101000000Z")),
    anchor!("anchor expired", Stricter(ANCHOR_JUDGED), |s| s.validity =
        validity("250101000000Z", "251231235959Z")),
    anchor!("anchor not yet valid", Stricter(ANCHOR_JUDGED), |s| s.validity =
        validity("270101000000Z", "280101000000Z")),
    // Names and key identifiers.
    leaf!("leaf names another issuer", Fatal, |s| s.issuer = Some(name("Kẻ lạ"))),
    leaf!("leaf names its issuer in another string type", Fatal, |s| s.issuer = Some(name_as(0x13, "CA 0"))),
    leaf!("leaf names its issuer in other capitals", Fatal, |s| s.issuer = Some(name("ca 0"))),
    between!("CA names another issuer", Fatal, |s| s.issuer = Some(name("Kẻ lạ"))),
    leaf!(
        "leaf with an empty subject",
        Harmless("who it is, is judged by attributes that are then missing"),
        |s| s.subject = seq(&[])
    ),
    leaf!("leaf with an empty subject and critical names", Harmless("RFC 5280 wants it so"), |s| {
        s.subject = seq(&[]);
        s.set_ext(ext(SAN, true, seq(&[&dns("ss1.h26.example.vn")])));
    }),
    leaf!("leaf subject is no name", Stricter(ONE_READING), |s| s.subject = seq(&[&int(&[1])])),
    leaf!("leaf subject not UTF-8", Stricter(ONE_READING), |s| {
        s.subject = seq(&[&tlv(0x31, &[&seq(&[&oid(&[0x55, 4, 3]), &tlv(0x0c, &[&[0xff, 0xfe]])])])]);
    }),
    leaf!("leaf subject of an empty set", Stricter(ONE_READING), |s| s.subject = seq(&[&tlv(0x31, &[])])),
    between!("CA with an empty subject", Harmless("names are compared byte by byte, empty ones too"), |s| {
        s.subject = seq(&[])
    }),
    leaf!(
        "leaf with a wrong key identifier",
        Harmless("key identifiers are hints for finding, not for believing"),
        |s| {
            s.set_ext(ext(AKI, false, seq(&[&tlv(0x80, &[&[9; 20]])])));
        }
    ),
    between!(
        "CA with a wrong key identifier",
        Harmless("key identifiers are hints for finding, not for believing"),
        |s| {
            s.set_ext(ext(SKI, false, tlv(4, &[&[9; 20]])));
        }
    ),
    leaf!("leaf key identifier is no octets", Stricter(ONE_READING), |s| s.set_ext(ext(
        SKI,
        false,
        int(&[1])
    ))),
    // Signatures and algorithms.
    leaf!("leaf signature broken", Fatal, |s| s.on_signature = broken),
    leaf!("leaf signed by a stranger", Fatal, |s| s.signer = Some(STRANGER)),
    leaf!("leaf signed by its own key", Fatal, |s| s.signer = Some(s.key)),
    leaf!("leaf signature with unused bits", Fatal, |s| s.on_signature = odd_bits),
    leaf!("leaf signature empty", Fatal, |s| s.on_signature = |_| tlv(0x03, &[&[0]])),
    leaf!("leaf's two algorithms differ", Fatal, |s| s.outer_algorithm = Some(seq(&[&oid(SHA1_ECDSA)]))),
    leaf!("leaf signed with SHA-1, it says", Fatal, |s| {
        s.inner_algorithm = Some(seq(&[&oid(SHA1_ECDSA)]));
        s.outer_algorithm = s.inner_algorithm.clone();
    }),
    leaf!("leaf signed with an unknown algorithm", Fatal, |s| {
        s.inner_algorithm = Some(seq(&[&oid(UNKNOWN)]));
        s.outer_algorithm = s.inner_algorithm.clone();
    }),
    leaf!("leaf says RSA of an ECDSA signature", Fatal, |s| {
        s.inner_algorithm = Some(seq(&[&oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11]), &[5, 0]]));
        s.outer_algorithm = s.inner_algorithm.clone();
    }),
    leaf!("leaf algorithm with NULL parameters", Fatal, |s| {
        s.inner_algorithm = Some(seq(&[&oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]), &[5, 0]]));
        s.outer_algorithm = s.inner_algorithm.clone();
    }),
    between!("CA signature broken", Fatal, |s| s.on_signature = broken),
    between!("CA signed by a stranger", Fatal, |s| s.signer = Some(STRANGER)),
    between!("CA says another key than signs below it", Fatal, |s| s.spki = Some(rsa(2048))),
    between!("CA with a P-384 key", Harmless("P2.2 has it"), |s| s.key = KEY_P384),
    between!("CA with an Ed25519 key", Stricter(KEY_LIST), |s| s.key = KEY_ED25519),
    anchor!(
        "anchor's own signature broken",
        Harmless("an anchor is believed for being approved, not for signing itself"),
        |s| s.on_signature = broken
    ),
    anchor!("anchor with a P-384 key", Harmless("P2.2 has it"), |s| s.key = KEY_P384),
    anchor!("anchor with an Ed25519 key", Stricter(KEY_LIST), |s| s.key = KEY_ED25519),
    // The end's own key, which webpki does not look at.
    leaf!("leaf with a P-384 key", Harmless("P2.2 has it"), |s| s.key = KEY_P384),
    leaf!("leaf with an RSA key of 2048 bits", Harmless("P2.2 has it"), |s| s.spki = Some(rsa(2048))),
    leaf!("leaf with an RSA key of 4096 bits", Harmless("P2.2 has it"), |s| s.spki = Some(rsa(4096))),
    leaf!("leaf with an RSA key of 1024 bits", Stricter(KEY_LIST), |s| s.spki = Some(rsa(1024))),
    leaf!("leaf with an RSA key of 8192 bits", Stricter(KEY_LIST), |s| s.spki = Some(rsa(8192))),
    leaf!("leaf with an Ed25519 key", Stricter(KEY_LIST), |s| s.key = KEY_ED25519),
    leaf!("leaf with a key on P-521", Stricter(KEY_LIST), |s| {
        s.spki = Some(seq(&[&seq(&[&oid(EC), &oid(&[0x2b, 0x81, 4, 0, 0x23])]), &bits(&[4; 133])]));
    }),
    leaf!("leaf with a compressed point", Stricter(KEY_LIST), |s| {
        s.spki =
            Some(seq(&[&seq(&[&oid(EC), &oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])]), &bits(&[2; 33])]));
    }),
    leaf!("leaf key with bytes after it", Stricter(ONE_READING), |s| {
        s.spki = Some(seq(&[&seq(&[&oid(RSA), &[5, 0]]), &bits(&[1]), &[5, 0]]));
    }),
    // Basic constraints and path length.
    leaf!("leaf is a CA", Fatal, |s| s.set_ext(constraints(true, None))),
    leaf!("leaf states that it is no CA", Harmless("so it is"), |s| s.set_ext(constraints(false, None))),
    leaf!("leaf states no CA in words", Harmless("the default written out; real CAs do it"), |s| {
        s.set_ext(ext(BC, true, seq(&[&[1, 1, 0]])));
    }),
    leaf!("leaf constraints hold a third truth", Fatal, |s| s.set_ext(ext(BC, true, seq(&[&[1, 1, 1]])))),
    leaf!("leaf with a path length", Harmless("meaningless on an end certificate"), |s| s
        .set_ext(constraints(false, Some(&[0])))),
    between!("CA without basic constraints", Fatal, |s| s.drop_ext(BC)),
    between!("CA that is none", Fatal, |s| s.set_ext(constraints(false, None))),
    between!("CA constraints hold a third truth", Fatal, |s| s.set_ext(ext(BC, true, seq(&[&[1, 1, 1]])))),
    between!("CA constraints not critical", Harmless("what they say counts all the same"), |s| {
        s.set_ext(ext(BC, false, seq(&[&[1, 1, 0xff]])));
    }),
    between!("CA constraints with something after them", Fatal, |s| {
        s.set_ext(ext(BC, true, seq(&[&[1, 1, 0xff], &int(&[9]), &int(&[1])])));
    }),
    between!("CA path length negative", Fatal, |s| s.set_ext(constraints(true, Some(&[0xff])))),
    between!("CA path length of two octets", Fatal, |s| s.set_ext(constraints(true, Some(&[1, 0])))),
    between!("CA without any extension", Fatal, |s| s.extensions.clear()),
    flaw("CA path length just enough", Place::Between, Harmless("so many are below it"), |chain, rng| {
        let depth = chain.depth();
        if depth < 2 {
            return false;
        }
        let at = 1 + rng.below(depth - 1);
        let below = u8::try_from(depth - 1 - at).unwrap();
        chain.certs[at].set_ext(constraints(true, Some(&[below])));
        true
    }),
    flaw("CA path length exceeded", Place::Between, Fatal, |chain, rng| {
        let depth = chain.depth();
        if depth < 3 {
            return false;
        }
        let at = 1 + rng.below(depth - 2);
        let below = u8::try_from(depth - 2 - at).unwrap();
        chain.certs[at].set_ext(constraints(true, Some(&[below])));
        true
    }),
    flaw("anchor path length just enough", Place::Anchor, Harmless("so many are below it"), |chain, _| {
        let below = u8::try_from(chain.depth() - 1).unwrap();
        chain.certs[0].set_ext(constraints(true, Some(&[below])));
        true
    }),
    flaw("anchor path length exceeded", Place::Anchor, Stricter(ANCHOR_JUDGED), |chain, _| {
        let Some(below) = chain.depth().checked_sub(2) else { return false };
        chain.certs[0].set_ext(constraints(true, Some(&[u8::try_from(below).unwrap()])));
        true
    }),
    anchor!("anchor is no CA", Stricter(ANCHOR_JUDGED), |s| s.set_ext(constraints(false, None))),
    anchor!("anchor without extensions", Stricter(ANCHOR_JUDGED), |s| s.extensions.clear()),
    // Key usage.
    leaf!("leaf without key usage", Harmless("absent means unrestricted (RFC 5280 §4.2.1.3)"), |s| s
        .drop_ext(KU)),
    leaf!("leaf may only agree on keys", Stricter(KEY_USAGE), |s| s.set_ext(key_usage(0x08))),
    leaf!("leaf key usage of no bits", Stricter(ONE_READING), |s| s.set_ext(ext(KU, true, tlv(3, &[&[0]])))),
    leaf!("leaf key usage is no bit string", Stricter(ONE_READING), |s| s.set_ext(ext(KU, true, int(&[1])))),
    between!("CA without key usage", Harmless("absent means unrestricted (RFC 5280 §4.2.1.3)"), |s| s
        .drop_ext(KU)),
    between!("CA may not sign certificates", Stricter(KEY_USAGE), |s| s.set_ext(key_usage(0x82))),
    anchor!("anchor may not sign certificates", Stricter(KEY_USAGE), |s| s.set_ext(key_usage(0x82))),
    // Extended key usage.
    leaf_for!(Auth, "auth leaf for mail", Fatal, |s| s.set_ext(eku(false, &[EKU_MAIL]))),
    leaf_for!(Auth, "auth leaf for clients only", Fatal, |s| s.set_ext(eku(false, &[EKU_CLIENT]))),
    leaf_for!(Auth, "auth leaf for servers only", Fatal, |s| s.set_ext(eku(false, &[EKU_SERVER]))),
    leaf_for!(Auth, "auth leaf for anything", Fatal, |s| s.set_ext(eku(false, &[EKU_ANY]))),
    leaf_for!(Auth, "auth leaf for more besides", Harmless("both usages are stated"), |s| {
        s.set_ext(eku(true, &[EKU_MAIL, EKU_SERVER, EKU_CLIENT]));
    }),
    leaf_for!(Auth, "auth leaf without usage", Stricter(PROFILE), |s| s.drop_ext(EKU)),
    leaf_for!(Sign, "seal with a usage", Harmless("the profile asks for none, and CAs state various"), |s| s
        .set_ext(eku(false, &[EKU_MAIL]))),
    leaf_for!(TimeStamping, "stamping leaf for mail", Fatal, |s| s.set_ext(eku(true, &[EKU_MAIL]))),
    leaf_for!(TimeStamping, "stamping leaf without usage", Stricter(PROFILE), |s| s.drop_ext(EKU)),
    leaf_for!(TimeStamping, "stamping usage not critical", Stricter(PROFILE), |s| s
        .set_ext(eku(false, &[EKU_STAMPING]))),
    leaf_for!(TimeStamping, "stamping leaf for more besides", Stricter(PROFILE), |s| s
        .set_ext(eku(true, &[EKU_STAMPING, EKU_MAIL]))),
    leaf!("leaf with an empty list of usages", Fatal, |s| s.set_ext(eku(false, &[]))),
    between!("CA with an empty list of usages", Fatal, |s| s.set_ext(eku(false, &[]))),
    between_for!(Auth, "auth CA for mail", Fatal, |s| s.set_ext(eku(false, &[EKU_MAIL]))),
    between_for!(Auth, "auth CA for servers only", Fatal, |s| s.set_ext(eku(false, &[EKU_SERVER]))),
    between_for!(Auth, "auth CA for anything", Fatal, |s| s.set_ext(eku(false, &[EKU_ANY]))),
    between_for!(Auth, "auth CA for clients and servers", Harmless("both usages are stated"), |s| s
        .set_ext(eku(false, &[EKU_CLIENT, EKU_SERVER]))),
    between_for!(Sign, "seal CA with a usage", Harmless("a seal needs none"), |s| s
        .set_ext(eku(false, &[EKU_MAIL]))),
    between_for!(TimeStamping, "stamping CA for mail", Fatal, |s| s.set_ext(eku(false, &[EKU_MAIL]))),
    between_for!(TimeStamping, "stamping CA for anything", Fatal, |s| s.set_ext(eku(false, &[EKU_ANY]))),
    // Critical and unknown, doubled, damaged extensions.
    leaf!("leaf with an unknown critical extension", Fatal, |s| s.set_ext(ext(UNKNOWN, true, vec![5, 0]))),
    leaf!("leaf with a critical id-ce extension nobody knows", Fatal, |s| s.set_ext(ext(
        &[0x55, 0x1d, 99],
        true,
        vec![5, 0]
    ))),
    leaf!("leaf with a critical policy", Fatal, |s| s.set_ext(ext(
        POLICIES,
        true,
        seq(&[&seq(&[&oid(UNKNOWN)])])
    ))),
    leaf!("leaf with a policy", Harmless("policies are not looked at, save that of certs-example"), |s| {
        s.set_ext(ext(POLICIES, false, seq(&[&seq(&[&oid(UNKNOWN)])])));
    }),
    leaf!(
        "leaf with the policy of certs-example",
        Stricter("its private key lies open in the repository: never to be trusted"),
        |s| {
            s.set_ext(ext(
                POLICIES,
                false,
                seq(&[&seq(&[&oid(&[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 2, 1])])]),
            ));
        }
    ),
    between!(
        "CA with the policy of certs-example",
        Stricter("its private key lies open in the repository: never to be trusted"),
        |s| {
            s.set_ext(ext(
                POLICIES,
                false,
                seq(&[&seq(&[&oid(&[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 2, 1])])]),
            ));
        }
    ),
    anchor!(
        "anchor with the policy of certs-example",
        Stricter("its private key lies open in the repository: never to be trusted"),
        |s| {
            s.set_ext(ext(
                POLICIES,
                true,
                seq(&[&seq(&[&oid(&[0x2b, 6, 1, 4, 1, 0x81, 0xfd, 0x59, 2, 1])])]),
            ));
        }
    ),
    leaf!("leaf policies are no list", Stricter(ONE_READING), |s| s.set_ext(ext(POLICIES, false, int(&[1])))),
    leaf!("leaf with an unknown extension", Harmless("not critical, so not to be understood"), |s| s
        .set_ext(ext(UNKNOWN, false, vec![5, 0]))),
    leaf!("leaf extension states critical with a third truth", Fatal, |s| {
        s.set_ext(Ext { id: UNKNOWN.to_vec(), critical: vec![1, 1, 1], value: vec![5, 0] });
    }),
    leaf!(
        "leaf extension states not critical in words",
        Harmless("the default written out; real CAs do it"),
        |s| {
            s.set_ext(Ext { id: UNKNOWN.to_vec(), critical: vec![1, 1, 0], value: vec![5, 0] });
        }
    ),
    between!("CA with an unknown critical extension", Fatal, |s| s.set_ext(ext(UNKNOWN, true, vec![5, 0]))),
    anchor!(
        "anchor with an unknown critical extension",
        Harmless("RFC 5280 §6.1.1: an anchor is a name and a key, approved by people"),
        |s| {
            s.set_ext(ext(UNKNOWN, true, vec![5, 0]));
        }
    ),
    leaf!("leaf with key usage twice", Fatal, |s| s.extensions.push(key_usage(0x80))),
    leaf!("leaf with an unknown extension twice", Stricter(ONE_READING), |s| {
        s.extensions.extend([ext(UNKNOWN, false, vec![5, 0]), ext(UNKNOWN, false, vec![5, 0])]);
    }),
    between!("CA with constraints twice", Fatal, |s| s
        .extensions
        .extend([constraints(true, None), constraints(false, None)])),
    between!("CA with a key identifier twice", Stricter(ONE_READING), |s| {
        s.extensions.extend([ext(SKI, false, tlv(4, &[&[1; 20]])), ext(SKI, false, tlv(4, &[&[2; 20]]))]);
    }),
    leaf!("leaf alternative names damaged", Stricter(ONE_READING), |s| s.set_ext(ext(
        SAN,
        false,
        seq(&[&[0x82, 9, b'a']])
    ))),
    leaf!("leaf alternative names of none", Stricter(ONE_READING), |s| s.set_ext(ext(SAN, false, seq(&[])))),
    leaf!("leaf with a DNS name holding NUL", Stricter(ONE_READING), |s| s.set_ext(ext(
        SAN,
        false,
        seq(&[&dns("h26.vn\0.example")])
    ))),
    // Name constraints.
    between!("CA permits the leaf's DNS name", Harmless("the name is inside"), |s| s.set_ext(names(
        false,
        &dns("example.vn"),
        true
    ))),
    between!(
        "CA permits it, not critical",
        Harmless("constraints count critical or not, and the name is inside"),
        |s| s.set_ext(names(false, &dns("example.vn"), false))
    ),
    between!("CA permits other DNS names", Fatal, |s| s.set_ext(names(false, &dns("example.com"), true))),
    between!("CA permits other DNS names, not critical", Fatal, |s| s.set_ext(names(
        false,
        &dns("example.com"),
        false
    ))),
    between!("CA excludes the leaf's DNS name", Fatal, |s| s.set_ext(names(
        true,
        &dns("h26.example.vn"),
        true
    ))),
    between!("CA excludes it, not critical", Fatal, |s| s.set_ext(names(
        true,
        &dns("h26.example.vn"),
        false
    ))),
    between!("CA excludes other DNS names", Harmless("the name is outside"), |s| s.set_ext(names(
        true,
        &dns("example.com"),
        true
    ))),
    between!("CA permits a directory name", Fatal, |s| s.set_ext(names(
        false,
        &tlv(0xa4, &[&name("H26")]),
        true
    ))),
    between!("CA excludes a directory name", Fatal, |s| s.set_ext(names(
        true,
        &tlv(0xa4, &[&name("Kẻ lạ")]),
        false
    ))),
    between!("CA constraints on names damaged", Fatal, |s| s.set_ext(ext(
        NC,
        true,
        seq(&[&[0xa0, 3, 0x30, 9, 1]])
    ))),
    between!("CA constraints on names of none", Harmless("a list of nothing constrains nothing"), |s| s
        .set_ext(ext(NC, true, seq(&[])))),
    anchor!("anchor permits other DNS names", Fatal, |s| s.set_ext(names(false, &dns("example.com"), true))),
    anchor!("anchor excludes the leaf's DNS name", Fatal, |s| s.set_ext(names(
        true,
        &dns("example.vn"),
        false
    ))),
    anchor!("anchor permits a directory name", Fatal, |s| s.set_ext(names(
        false,
        &tlv(0xa4, &[&name("H26")]),
        true
    ))),
    // Versions, serial numbers, odd encodings.
    leaf!("leaf of version 1", Fatal, |s| s.version = vec![]),
    leaf!("leaf of version 2", Fatal, |s| s.version = tlv(0xa0, &[&int(&[1])])),
    leaf!("leaf of version 4", Fatal, |s| s.version = tlv(0xa0, &[&int(&[3])])),
    between!("CA of version 1", Fatal, |s| {
        s.version = vec![];
        s.extensions.clear();
    }),
    anchor!("anchor of version 1", Stricter(ANCHOR_JUDGED), |s| {
        s.version = vec![];
        s.extensions.clear();
    }),
    leaf!("leaf with serial 0", Harmless(LENIENT), |s| s.serial = int(&[0])),
    leaf!("leaf with a negative serial", Harmless(LENIENT), |s| s.serial = int(&[0x85, 1])),
    leaf!("leaf with a serial of 20 octets", Harmless("RFC 5280 §4.1.2.2"), |s| s.serial = int(&[0x7f; 20])),
    leaf!("leaf with a serial too long", Stricter(ONE_READING), |s| s.serial = int(&[0x7f; 40])),
    leaf!("leaf with an empty serial", Stricter(ONE_READING), |s| s.serial = int(&[])),
    leaf!("leaf with a padded serial", Stricter(ONE_READING), |s| s.serial = int(&[0, 0, 1])),
    leaf!("leaf with unique identifiers", Fatal, |s| s.unique =
        [tlv(0x81, &[&[0, 1]]), tlv(0x82, &[&[0, 2]])].concat()),
    leaf!("leaf with bytes after it", Fatal, |s| s.on_whole = trailing),
    leaf!("leaf with bytes after its extensions", Fatal, |s| s.rest = vec![5, 0]),
    leaf!("leaf length in more octets than needed", Fatal, |s| s.on_whole = long_length),
    leaf!("leaf of indefinite length", Fatal, |s| s.on_whole = indefinite),
    leaf!("leaf cut off", Fatal, |s| s.on_whole = |mut der| {
        der.truncate(der.len() / 2);
        der
    }),
    leaf!("leaf of nothing", Fatal, |s| s.on_whole = |_| vec![]),
    between!("CA with bytes after it", Fatal, |s| s.on_whole = trailing),
    between!("CA of indefinite length", Fatal, |s| s.on_whole = indefinite),
    between!("CA with unique identifiers", Fatal, |s| s.unique = tlv(0x81, &[&[0, 1]])),
    // The chain as a whole.
    flaw("an intermediate is missing", Place::Chain, Fatal, |chain, rng| {
        let depth = chain.depth();
        chain.missing = (depth > 1).then(|| 1 + rng.below(depth.max(2) - 1));
        depth > 1
    }),
    flaw("intermediates in the other order", Place::Chain, Harmless("order means nothing"), |chain, _| {
        chain.reversed = true;
        chain.depth() > 2
    }),
    flaw("issued by another leaf", Place::Chain, Fatal, |chain, _| {
        // The leaf becomes the issuer of one more leaf, under its own key and name.
        let mut child = chain.leaf().clone();
        child.subject = name("Con");
        child.key = OTHER;
        chain.certs.push(child);
        true
    }),
    flaw("self-signed leaf", Place::Chain, Fatal, |chain, _| {
        let leaf = chain.leaf();
        leaf.issuer = Some(leaf.subject.clone());
        leaf.signer = Some(leaf.key);
        true
    }),
    flaw("self-signed leaf as anchor", Place::Chain, Stricter(ANCHOR_JUDGED), |chain, _| {
        let leaf = chain.leaf();
        leaf.issuer = Some(leaf.subject.clone());
        leaf.signer = Some(leaf.key);
        chain.leaf_is_anchor = true;
        true
    }),
    flaw(
        "two CAs that certify each other",
        Place::Chain,
        Harmless("the way to the anchor is there beside the loop"),
        |chain, _| {
            if chain.depth() < 3 {
                return false;
            }
            let mut looped = Spec::ca("CA 1", 1);
            looped.subject = chain.certs[1].subject.clone();
            looped.key = chain.certs[1].key;
            chain.beside.push((looped, 2));
            true
        },
    ),
    flaw("two CAs that certify each other and nobody else", Place::Chain, Fatal, |chain, _| {
        if chain.depth() < 3 {
            return false;
        }
        let mut looped = Spec::ca("CA 1", 1);
        looped.subject = chain.certs[1].subject.clone();
        looped.key = chain.certs[1].key;
        chain.beside.push((looped, 2));
        chain.missing = Some(1);
        true
    }),
    flaw(
        "an expired CA and its renewed twin",
        Place::Chain,
        Harmless("one of the paths holds"),
        |chain, _| {
            if chain.depth() != 2 || chain.touches(Place::Between) {
                return false;
            }
            chain.touch(Place::Between);
            let twin = chain.certs[1].clone();
            chain.certs[1].validity = validity("250101000000Z", "251231235959Z");
            chain.beside.push((twin, 0));
            true
        },
    ),
    flaw("strangers sent along", Place::Chain, Harmless("what is not needed is not used"), |chain, _| {
        let mut stranger = Spec::ca("Kẻ lạ", STRANGER);
        stranger.issuer = Some(name("Kẻ lạ khác"));
        chain.beside.push((stranger, 0));
        true
    }),
    flaw("garbage sent along", Place::Chain, Stricter(ONE_READING), |chain, _| {
        chain.raw.push(vec![0x30, 3, 1, 2, 3]);
        true
    }),
    flaw(
        "nine intermediates",
        Place::Chain,
        Stricter("a bound against work that nobody needs (P3.1)"),
        |chain, _| {
            let stranger = Spec::ca("Kẻ lạ", STRANGER);
            chain.beside.extend((0..9).map(|_| (stranger.clone(), 0)));
            true
        },
    ),
    flaw("a chain of eight", Place::Chain, Fatal, |chain, _| {
        if chain.depth() != 1 {
            return false;
        }
        let leaf = chain.certs.pop().unwrap();
        // The same few keys under new names.
        chain.certs.extend((1..8).map(|i| Spec::ca(&format!("CA {i}"), i % 6)));
        chain.certs.push(leaf);
        true
    }),
];
