//! The contract every [`PartStore`] keeps; each adapter's tests run it.

use bytes::Bytes;
use truc_directory::{AuditLogHead, HEAD_LIFETIME, Head, SignedHead, V1};
use truc_model::{Digest, Timestamp};

use crate::PartStore;

/// Runs the contract over an empty store.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn part_store(store: &dyn PartStore) -> Result<(), String> {
    let text = |e: crate::PartStoreError| e.to_string();
    let check = |holds: bool, clause: &str| if holds { Ok(()) } else { Err(clause.to_owned()) };
    check(store.head().await.map_err(text)?.is_none(), "an empty store has no head")?;
    let (one, two) = (Bytes::from_static(b"{\"part\":1}"), Bytes::from_static(b""));
    for part in [&one, &two, &one] {
        let digest = store.put(part.clone()).await.map_err(text)?;
        check(digest == Digest::of(part), "put answers with the SHA-256 of what it keeps")?;
    }
    for part in [&one, &two] {
        let kept = store.get(&Digest::of(part)).await.map_err(text)?;
        check(kept.as_ref() == Some(part), "get gives back the bytes put")?;
    }
    check(store.get(&Digest([7; 32])).await.map_err(text)?.is_none(), "an unknown digest is None")?;
    for version in [1, 2, 2] {
        let head = head(version);
        store.set_head(head.clone()).await.map_err(text)?;
        check(store.head().await.map_err(text)? == Some(head), "head is the last one set")?;
    }
    check(store.get(&Digest::of(&one)).await.map_err(text)?.is_some(), "a new head takes no part away")
}

/// A head that can be read; stores do not judge signatures.
fn head(version: u64) -> Bytes {
    let issued = Timestamp::from_millis(0);
    let head = Head {
        v: V1,
        instance: "VN".into(),
        epoch: 1,
        version,
        previous: None,
        parts: vec![],
        audit_log: AuditLogHead { sequence: version, chain: Digest([0; 32]) },
        issued,
        expires: issued.plus(HEAD_LIFETIME),
    };
    SignedHead { v: V1, head: head.to_bytes(), key: Digest([1; 32]), signature: Bytes::new() }.to_bytes()
}
