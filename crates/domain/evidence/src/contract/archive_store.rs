//! What every archive keeps.

use bytes::Bytes;

use super::{Check, ensure, text};
use crate::archive_store::{ArchiveError, ArchiveStore, ArchivedObject, Content, fetch};

const JOURNAL: &str = "journal/evidence-00000000000000000000-1.seg";
const BODIES: &str = "bodies/default/202611/00000001.seg";

fn object(name: &str, bytes: &[u8]) -> ArchivedObject {
    ArchivedObject { name: name.to_owned(), length: bytes.len() as u64 }
}

/// Fills an empty archive, checks all that it promises, and leaves it empty.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn archive(store: &dyn ArchiveStore) -> Check {
    let list = |prefix: &'static str| async move { store.list(prefix).await.map_err(text) };
    ensure(list("").await?.is_empty(), "the archive under test must be empty")?;
    let missing = store.get(JOURNAL).await;
    ensure(matches!(missing, Err(ArchiveError::Missing(_))), "what was never put is Missing")?;

    let big: Bytes = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect::<Vec<_>>().into();
    let small = Bytes::from_static(b"\x00\xff\r\n a body");
    store.put(JOURNAL, big.clone()).await.map_err(text)?;
    store.put(BODIES, small.clone()).await.map_err(text)?;
    store.put("empty.seg", Bytes::new()).await.map_err(text)?;
    for (name, bytes) in [(JOURNAL, &big), (BODIES, &small), ("empty.seg", &Bytes::new())] {
        let content = Content::of(bytes);
        let read = fetch(store, name, &content).await.map_err(text)?;
        ensure(read == *bytes, "an object is read back as it was put")?;
    }

    store.put(BODIES, small.clone()).await.map_err(|e| format!("the same bytes again are no error: {e}"))?;
    for other in [&b"other bytes"[..], b""] {
        let put = store.put(BODIES, Bytes::copy_from_slice(other)).await;
        ensure(matches!(put, Err(ArchiveError::Refused(_))), "other bytes are refused")?;
        let kept = store.get(BODIES).await.map_err(text)?;
        ensure(kept == small, "what is refused changes nothing")?;
    }
    for bad in ["", "../outside", "/etc/truc", "a//b", "a/.hidden"] {
        let put = store.put(bad, small.clone()).await;
        ensure(matches!(put, Err(ArchiveError::Refused(_))), "a name that is no plain path is refused")?;
    }

    let all = [object(BODIES, &small), object("empty.seg", b""), object(JOURNAL, &big)];
    ensure(list("").await? == all, "a list has every object, by name, with its length")?;
    ensure(list("bodies").await? == [object(BODIES, &small)], "a list of a folder has what is below it")?;
    ensure(list("bodies/default/202611").await?.len() == 1, "also of a folder in a folder")?;
    ensure(list("bodies/def").await?.is_empty(), "a part of a folder's name is no folder")?;
    ensure(list("nothing").await?.is_empty(), "a folder that is not there is empty")?;

    for name in [BODIES, JOURNAL, "empty.seg", "never-put.seg"] {
        store.delete(name).await.map_err(|e| format!("{name} can be removed, there or not: {e}"))?;
    }
    let gone = store.get(BODIES).await;
    ensure(matches!(gone, Err(ArchiveError::Missing(_))), "what was removed is Missing")?;
    ensure(list("").await?.is_empty(), "and in no list")?;
    store.put(BODIES, Bytes::from_static(b"anew")).await.map_err(text)?;
    store.delete(BODIES).await.map_err(text)
}
