//! One evidence record, written and read.

use std::ops::Range;

use der::asn1::{Any, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Sequence};
use truc_model::Digest;

use super::{ErsError, GROUP_LIMIT, PATH_LIMIT, SIZE_LIMIT, hash_sorted};

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Tag, length and 32 bytes.
const HASH_ELEMENT: usize = 34;

/// EvidenceRecord (RFC 4998 §3.1) without cryptoInfos and encryptionInfo.
#[derive(Sequence)]
struct Written {
    version: u8,
    digest_algorithms: Vec<AlgorithmIdentifier>,
    /// ArchiveTimeStampSequence of one ArchiveTimeStampChain of one ArchiveTimeStamp.
    sequence: Vec<Vec<ArchiveTimeStamp>>,
}

/// Without parameters, as RFC 5754 §2 asks for.
#[derive(Sequence)]
struct AlgorithmIdentifier {
    algorithm: ObjectIdentifier,
}

/// ArchiveTimeStamp (RFC 4998 §4.1) without digestAlgorithm, which is then the token's, and without attributes.
#[derive(Sequence)]
struct ArchiveTimeStamp {
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    reduced_hash_tree: Vec<Vec<OctetString>>,
    time_stamp: Any,
}

/// That the data of a few digests existed when a token was made: their group, the way to the token's imprint, the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// PartialHashtrees; the first holds the group, each other what joins on the way up.
    lists: Vec<Vec<Digest>>,
    token: Vec<u8>,
}

/// Where the parts of an evidence record lie in its DER, in bytes from its start, for checking it by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The digests of each list, in order: first the group's, then one list for each sibling on the way up.
    pub lists: Vec<Vec<Range<usize>>>,
    /// The token: a ContentInfo.
    pub token: Range<usize>,
}

impl EvidenceRecord {
    /// An evidence record for the data with the digests of `group`, whose group hash (the digest itself where there is
    /// only one) meets `path` on its way to the imprint of `token` (RFC 3161 TimeStampToken, DER).
    ///
    /// # Errors
    /// [`ErsError`] when it could not be written or read again.
    pub fn new(group: &[Digest], path: &[Digest], token: &[u8]) -> Result<Self, ErsError> {
        let mut first = group.to_vec();
        // A single object is no group: its digest is a leaf itself and stands beside its first sibling.
        let path = match (group, path) {
            ([_], [sibling, rest @ ..]) => {
                first.push(*sibling);
                rest
            }
            _ => path,
        };
        first.sort_unstable();
        let siblings = path.iter().map(|sibling| vec![*sibling]);
        let lists = std::iter::once(first).chain(siblings).collect();
        Self::checked(lists, token.to_vec())
    }

    fn checked(lists: Vec<Vec<Digest>>, token: Vec<u8>) -> Result<Self, ErsError> {
        let [first, siblings @ ..] = lists.as_slice() else { return Err(ErsError::Group(0)) };
        if !(2..=GROUP_LIMIT).contains(&first.len()) || !first.is_sorted() {
            return Err(ErsError::Group(first.len()));
        }
        if siblings.len() > PATH_LIMIT {
            return Err(ErsError::Path(siblings.len()));
        }
        if siblings.iter().any(|list| list.len() != 1) {
            return Err(ErsError::Malformed("a list beside the first does not hold one digest".into()));
        }
        Any::from_der(&token).map_err(|_| ErsError::Token)?;
        if token.len() > SIZE_LIMIT / 2 {
            return Err(ErsError::TooLong(token.len()));
        }
        Ok(Self { lists, token })
    }

    /// The bytes of a `.ers` file.
    ///
    /// # Errors
    /// [`ErsError::Malformed`]; an evidence record that was made or read can be written.
    pub fn to_der(&self) -> Result<Vec<u8>, ErsError> {
        let octets = |digest: &Digest| OctetString::new(digest.as_bytes().as_slice());
        let list = |digests: &Vec<Digest>| digests.iter().map(octets).collect::<der::Result<Vec<_>>>();
        let lists = self.lists.iter().map(list).collect::<der::Result<Vec<_>>>().map_err(malformed)?;
        let time_stamp = Any::from_der(&self.token).map_err(|_| ErsError::Token)?;
        let written = Written {
            version: 1,
            digest_algorithms: vec![AlgorithmIdentifier { algorithm: SHA256 }],
            sequence: vec![vec![ArchiveTimeStamp { reduced_hash_tree: lists, time_stamp }]],
        };
        written.to_der().map_err(malformed)
    }

    /// Reads a `.ers` file of the one form that [`Self::to_der`] writes.
    ///
    /// # Errors
    /// [`ErsError`]; whatever is not byte for byte that form.
    pub fn from_der(der: &[u8]) -> Result<Self, ErsError> {
        if der.len() > SIZE_LIMIT {
            return Err(ErsError::TooLong(der.len()));
        }
        let mut written = Written::from_der(der).map_err(malformed)?;
        let one = written.sequence.pop().filter(|_| written.sequence.is_empty());
        let one = one.and_then(|mut chain| chain.pop().filter(|_| chain.is_empty()));
        let one = one.ok_or_else(|| ErsError::Malformed("not exactly one time-stamp".into()))?;
        let digest = |octets: &OctetString| Digest::from_slice(octets.as_bytes());
        let list = |octets: &Vec<OctetString>| octets.iter().map(digest).collect::<Option<Vec<_>>>();
        let lists = one.reduced_hash_tree.iter().map(list).collect::<Option<Vec<_>>>();
        let lists = lists.ok_or_else(|| ErsError::Malformed("a hash is not of 32 bytes".into()))?;
        let token = one.time_stamp.to_der().map_err(malformed)?;
        let read = Self::checked(lists, token)?;
        // Version, algorithm and every length in their only form.
        if read.to_der()? == der { Ok(read) } else { Err(ErsError::Malformed("not the one form".into())) }
    }

    /// Checks that this evidence record is about exactly the data with these digests (in any order), and gives the digest
    /// that its token must name (RFC 4998 §4.3).
    ///
    /// # Errors
    /// [`ErsError::OtherData`].
    pub fn verify(&self, group: &[Digest]) -> Result<Digest, ErsError> {
        let [first, siblings @ ..] = self.lists.as_slice() else { return Err(ErsError::OtherData) };
        let mut asked = group.to_vec();
        asked.sort_unstable();
        let same = match asked.as_slice() {
            // A single object stands beside its first sibling.
            [one] => first.len() == 2 && first.contains(one),
            all => all == first.as_slice(),
        };
        if !same {
            return Err(ErsError::OtherData);
        }
        let leaf = hash_sorted(&mut first.clone());
        Ok(siblings.iter().flatten().fold(leaf, |below, sibling| hash_sorted(&mut [below, *sibling])))
    }

    /// The digests of the first list, in ascending order.
    pub fn group(&self) -> &[Digest] {
        self.lists.first().map_or(&[], Vec::as_slice)
    }

    /// What joins on the way up from the group, lowest first.
    pub fn siblings(&self) -> impl Iterator<Item = Digest> + '_ {
        self.lists.iter().skip(1).flatten().copied()
    }

    /// The time-stamp token, DER.
    pub fn token(&self) -> &[u8] {
        &self.token
    }

    /// Where each hash and the token lie in [`Self::to_der`].
    ///
    /// # Errors
    /// As [`Self::to_der`].
    pub fn layout(&self) -> Result<Layout, ErsError> {
        let end = self.to_der()?.len();
        // The token is the last thing inside, and the lists stand right before it.
        let token = end - self.token.len()..end;
        let length: usize = self.lists.iter().map(|list| list_length(list)).sum();
        let mut at = token.start - length;
        let mut lists = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            let end = at + list_length(list);
            let start = end - list.len() * HASH_ELEMENT;
            let value = |n: usize| start + n * HASH_ELEMENT + 2..start + (n + 1) * HASH_ELEMENT;
            lists.push((0..list.len()).map(value).collect());
            at = end;
        }
        Ok(Layout { lists, token })
    }
}

/// Bytes of a PartialHashtree's element.
fn list_length(list: &[Digest]) -> usize {
    let content = list.len() * HASH_ELEMENT;
    let length_octets = match content {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        _ => 3,
    };
    1 + length_octets + content
}

fn malformed(error: der::Error) -> ErsError {
    ErsError::Malformed(error.to_string())
}
