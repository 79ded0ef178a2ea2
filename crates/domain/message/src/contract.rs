//! The contract every [`Spool`] keeps; each adapter's tests run it.

use bytes::Bytes;
use futures::StreamExt as _;
use truc_model::{Digest, Digester};

use crate::body::{BodyStream, WHOLE_BODY};
use crate::spool::{Spool, SpoolError};

type Check = Result<(), String>;

fn ensure(holds: bool, clause: &str) -> Check {
    if holds { Ok(()) } else { Err(clause.to_owned()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `length` bytes in pieces of odd sizes.
pub fn pieces(length: u64) -> BodyStream {
    let sizes = [1_u64, 70_000, 300_000, 17, 262_144].into_iter().cycle();
    let cut = |left: &mut u64, size: u64| {
        let size = size.min(*left);
        *left -= size;
        let byte = u8::try_from(*left % 251).unwrap_or_default();
        (size > 0).then(|| Ok(Bytes::from(vec![byte; usize::try_from(size).unwrap_or_default()])))
    };
    futures::stream::iter(sizes.scan(length, cut)).boxed()
}

/// Length and digest of what comes.
///
/// # Errors
/// What the stream ended in.
pub async fn digest_of(mut pieces: BodyStream) -> Result<(u64, Digest), String> {
    let mut digester = Digester::default();
    while let Some(piece) = pieces.next().await {
        digester.update(&piece.map_err(text)?);
    }
    Ok((digester.length(), digester.finish()))
}

/// Runs the contract of a spool; `room` is about how many bytes it has.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn spool(spool: &dyn Spool, room: u64) -> Check {
    for length in [0, 1, 262_144, WHOLE_BODY + 5] {
        let mut writer = spool.begin(Some(length)).await.map_err(text)?;
        let mut source = pieces(length);
        while let Some(piece) = source.next().await {
            writer.write(piece.map_err(text)?).await.map_err(text)?;
        }
        let kept = writer.finish().await.map_err(text)?;
        for _ in 0..2 {
            ensure(
                digest_of(kept.read()).await? == digest_of(pieces(length)).await?,
                "a body reads as it was written, as often as wanted",
            )?;
        }
    }
    let announced = spool.begin(Some(room + 1)).await.map(drop);
    ensure(announced == Err(SpoolError::Full), "a body that is announced too long is not begun")?;
    for _ in 0..3 {
        let mut writer = spool.begin(None).await.map_err(text)?;
        let mut full = Ok(());
        for _ in 0..=room / (1024 * 1024) {
            full = writer.write(Bytes::from(vec![7; 1024 * 1024])).await;
            if full.is_err() {
                break;
            }
        }
        ensure(full == Err(SpoolError::Full), "a body that becomes too long is ended; its room comes back")?;
    }
    Ok(())
}
