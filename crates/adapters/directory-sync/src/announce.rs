//! What a new head brings along for those who hold the version before: the changed parts, so that a revocation needs no
//! second question.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use truc_directory::{Head, PartRef, SignedHead, listed_in};
use truc_model::Digest;
use truc_wire::registry::{HeadUpdate, Part};

use crate::server::Publication;

/// Most parts sent along.
const PARTS: usize = 64;
/// Most bytes sent along.
const BYTES: u64 = 256 * 1024;
/// How long a head waits for the parts that go with it.
const PATIENCE: Duration = Duration::from_millis(500);

/// One head as it goes to watchers.
#[derive(Debug, Default)]
pub(crate) struct News {
    signed_head: Bytes,
    number: (u64, u64),
    /// The version that `parts` lead on from.
    base: Option<(u64, u64)>,
    parts: Vec<Part>,
}

impl News {
    /// For a watcher that holds version `held`, which then holds this one.
    pub(crate) fn update_for(&self, held: &mut (u64, u64)) -> HeadUpdate {
        let parts = if self.base == Some(*held) { self.parts.clone() } else { Vec::new() };
        *held = self.number;
        HeadUpdate { signed_head: self.signed_head.clone(), parts }
    }
}

/// Prepares the news once for all watchers.
pub(crate) struct Announcer {
    publication: Arc<dyn Publication>,
    heads: watch::Receiver<Bytes>,
    before: Option<Head>,
    news: watch::Sender<Arc<News>>,
}

impl Announcer {
    /// The head in force is the first news.
    pub(crate) fn new(publication: Arc<dyn Publication>) -> (Self, watch::Receiver<Arc<News>>) {
        let mut heads = publication.heads();
        let (first, before) = read(heads.borrow_and_update().clone());
        let (news, receiver) = watch::channel(Arc::new(first));
        (Self { publication, heads, before, news }, receiver)
    }

    /// Announces every further one until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                more = self.heads.changed() => if more.is_err() { return },
            }
            let (mut next, head) = read(self.heads.borrow_and_update().clone());
            if let (Some(before), Some(head)) = (&self.before, &head) {
                let base = (before.epoch, before.version);
                let gathering = changed(self.publication.as_ref(), before, head);
                if base != next.number
                    && let Ok(Some(parts)) = timeout(PATIENCE, gathering).await
                {
                    (next.base, next.parts) = (Some(base), parts);
                }
            }
            self.before = head;
            self.news.send_replace(Arc::new(next));
        }
    }
}

fn read(signed_head: Bytes) -> (News, Option<Head>) {
    let head = SignedHead::parse(&signed_head).and_then(|signed| signed.unverified()).ok();
    let number = head.as_ref().map(|h| (h.epoch, h.version)).unwrap_or_default();
    (News { signed_head, number, ..News::default() }, head)
}

/// The parts of `now` that `before` had not; none when they are too many, or cannot be read.
async fn changed(publication: &dyn Publication, before: &Head, now: &Head) -> Option<Vec<Part>> {
    let mut found = Found { publication, parts: Vec::new(), bytes: 0 };
    for listed in now.parts.iter().filter(|p| before.part(&p.name).is_none_or(|b| b.digest != p.digest)) {
        let content = found.take(listed).await?;
        let new = listed_in(&listed.name, &content).ok()?;
        let old = match before.part(&listed.name) {
            Some(old) if !new.is_empty() => {
                let old = publication.part(&old.digest).await.ok()??;
                listed_in(&listed.name, &old).ok()?
            }
            _ => Vec::new(),
        };
        let old: HashSet<Digest> = old.into_iter().map(|p| p.digest).collect();
        for part in new.iter().filter(|p| !old.contains(&p.digest)) {
            found.take(part).await?;
        }
    }
    Some(found.parts)
}

struct Found<'a> {
    publication: &'a dyn Publication,
    parts: Vec<Part>,
    bytes: u64,
}

impl Found<'_> {
    async fn take(&mut self, listed: &PartRef) -> Option<Bytes> {
        self.bytes = self.bytes.saturating_add(listed.size);
        if self.parts.len() >= PARTS || self.bytes > BYTES {
            return None;
        }
        let content = self.publication.part(&listed.digest).await.ok()??;
        let digest = Bytes::copy_from_slice(listed.digest.as_bytes());
        self.parts.push(Part { digest, content: content.clone() });
        Some(content)
    }
}
