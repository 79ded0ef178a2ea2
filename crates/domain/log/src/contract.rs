//! The contract every [`HeadStore`] keeps; each adapter's tests run it.

use truc_keys::{KeyKind, KeyLabel, Signer};
use truc_model::{Digest, NodeId, Timestamp};

use crate::checkpoint::{Checkpoint, chain_line, log_origin};
use crate::head::Head;
use crate::heads::{HeadStore, HeadStoreError, LOGS_OF_A_NODE};
use crate::tree::{MemoryTree, consistency, root};
use crate::view::{LogView, NewHead, Noted, Why};

type Check = Result<(), String>;

fn ensure(holds: bool, clause: &str) -> Check {
    if holds { Ok(()) } else { Err(clause.to_owned()) }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A log of a node whose heads can be signed at any size.
struct Log<'s> {
    origin: String,
    tree: MemoryTree,
    signer: &'s dyn Signer,
    label: KeyLabel,
}

impl Log<'_> {
    /// The head of `size`, shown `minutes` after the beginning, with the proof from `known`.
    async fn head(&self, size: u64, known: u64, minutes: i64) -> Result<NewHead, String> {
        self.head_with(size, known, minutes, None).await
    }

    /// As [`Self::head`], with the hash chain that it speaks of.
    async fn head_with(
        &self,
        size: u64,
        known: u64,
        minutes: i64,
        chain: Option<&str>,
    ) -> Result<NewHead, String> {
        let root = root(&self.tree, size).map_err(text)?;
        let extensions = chain.map(|of| chain_line(Digest::of(of.as_bytes()))).into_iter().collect();
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root, extensions };
        let head = Head::sign(checkpoint, self.signer, &self.label).await.map_err(text)?;
        let proof = consistency(&self.tree, known, size).map_err(text)?;
        Ok(NewHead { head, known, proof, at: Timestamp::from_millis(1_790_000_000_000 + minutes * 60_000) })
    }
}

fn leaves(story: &str) -> MemoryTree {
    (0..40).map(|n: u32| Digest::of(format!("{story} {n}").as_bytes())).collect()
}

/// Runs the contract over an empty store; `signer` holds an Ed25519 key. [`head_store_reopened`] goes on with the same store.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn head_store(store: &dyn HeadStore, signer: &dyn Signer) -> Check {
    let key = signer.keys().into_iter().find(|key| key.kind == KeyKind::Ed25519);
    let label = key.ok_or("the signer must hold an Ed25519 key")?.label;
    let node: NodeId = "VN/GOV/H26/ss+1".parse().map_err(text)?;
    let origin = log_origin(&node, None);
    let log = Log { origin: origin.clone(), tree: leaves("true"), signer, label: label.clone() };
    ensure(store.view(&origin).await == Ok(None), "an empty store holds nothing")?;
    ensure(store.logs(None).await == Ok(vec![]), "an empty store names no log")?;

    let note = |new: NewHead| async { store.note(new).await.map_err(text) };
    ensure(note(log.head(7, 0, 0).await?).await? == Noted::Kept, "the first head is kept")?;
    ensure(note(log.head(7, 7, 1).await?).await? == Noted::Known, "the same head is known")?;
    ensure(
        note(log.head(9, 3, 2).await?).await? == Noted::Again(7),
        "a proof from elsewhere proves nothing",
    )?;
    ensure(
        note(log.head(9, 7, 3).await?).await? == Noted::Kept,
        "a head that continues the held one is kept",
    )?;
    ensure(
        note(log.head(20, 9, 24 * 60).await?).await? == Noted::Kept,
        "and so is the next day's, which is kept for that day too",
    )?;
    let view = held(store, &origin).await?;
    ensure(view.newest.size == 20 && view.alarms.is_empty(), "the newest head is held")?;
    let days: Vec<u64> = view.days.iter().map(|day| day.size).collect();
    ensure(days == [7, 20], "the first head of each day is held")?;

    let other = Log { origin: origin.clone(), tree: leaves("false"), signer, label: label.clone() };
    for (new, why) in [
        (other.head(20, 20, 1500).await?, Why::Fork),
        (other.head(7, 20, 1501).await?, Why::Fork),
        (log.head(19, 20, 1502).await?, Why::Shrunk),
        (other.head(30, 20, 1503).await?, Why::Inconsistent),
    ] {
        let noted = note(new).await?;
        let right = matches!(&noted, Noted::Alarm { alarm, first } if alarm.why == why && *first == (why == Why::Fork && alarm.shown.size == 20));
        ensure(right, &format!("{why:?} is an alarm, and the first is said to be the first: {noted:?}"))?;
    }
    note(other.head(30, 20, 1504).await?).await?;
    let view = held(store, &origin).await?;
    ensure(view.newest.size == 20, "an alarm does not replace the head that is held")?;
    ensure(view.alarms.len() == 4, "every alarm is kept once")?;

    let mut names = vec![origin];
    for n in 1..LOGS_OF_A_NODE {
        let id = format!("{n:032x}");
        names.push(log_origin(&node, Some(&id)));
        let log =
            Log { origin: log_origin(&node, Some(&id)), tree: leaves("new"), signer, label: label.clone() };
        note(log.head(1, 0, 2000).await?).await?;
    }
    let id = "f".repeat(32);
    let log = Log { origin: log_origin(&node, Some(&id)), tree: leaves("new"), signer, label: label.clone() };
    let one_more = store.note(log.head(1, 0, 2000).await?).await;
    ensure(one_more == Err(HeadStoreError::TooMany(node.clone())), "the logs of one node are bounded")?;
    let stranger = Log { origin: "example.com/log".into(), tree: leaves("x"), signer, label };
    let refused = store.note(stranger.head(1, 0, 2000).await?).await;
    ensure(matches!(refused, Err(HeadStoreError::Origin(_))), "only logs of nodes are held")?;
    names.sort();
    ensure(store.logs(Some(&node)).await == Ok(names), "the logs of a node are named, in order")?;
    let nobody = "VN/GOV/H26/ss".parse().map_err(text)?;
    ensure(store.logs(Some(&nobody)).await == Ok(vec![]), "and those of another node are not")
}

/// Heads of one size that speak of one tree, with and without the journal's hash chain, over a store that holds nothing of the node
/// `VN/GOV/H27/ss1`; `signer` holds an Ed25519 key.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn head_store_chains(store: &dyn HeadStore, signer: &dyn Signer) -> Check {
    let key = signer.keys().into_iter().find(|key| key.kind == KeyKind::Ed25519);
    let label = key.ok_or("the signer must hold an Ed25519 key")?.label;
    let node: NodeId = "VN/GOV/H27/ss1".parse().map_err(text)?;
    let log = Log { origin: log_origin(&node, None), tree: leaves("true"), signer, label };
    let note = |new: NewHead| async { store.note(new).await.map_err(text) };
    ensure(note(log.head(7, 0, 0).await?).await? == Noted::Kept, "a head of before the chain is kept")?;
    let with = |chain| log.head_with(7, 7, 1, Some(chain));
    ensure(
        note(with("true").await?).await? == Noted::Known,
        "one that tells the chain is no news beside it",
    )?;
    let longer = log.head_with(9, 7, 2, Some("true")).await?;
    ensure(note(longer.clone()).await? == Noted::Kept, "a head that tells the chain is kept")?;
    ensure(note(longer).await? == Noted::Known, "and known")?;
    ensure(note(log.head(9, 9, 3).await?).await? == Noted::Known, "one that does not excludes nothing")?;
    let other = note(log.head_with(9, 9, 4, Some("false")).await?).await?;
    let fork = matches!(&other, Noted::Alarm { alarm, first: true } if alarm.why == Why::Fork);
    ensure(fork, "two chains of one size and root are a fork")?;
    let view = held(store, &log.origin).await?;
    ensure(view.newest.chain() == Some(Digest::of(b"true")) && view.alarms.len() == 1, "the first stays")
}

/// What [`head_store`] left must still be there when the store is opened again.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn head_store_reopened(store: &dyn HeadStore) -> Check {
    let node: NodeId = "VN/GOV/H26/ss+1".parse().map_err(text)?;
    let view = held(store, &log_origin(&node, None)).await?;
    let sizes = (view.newest.size, view.days.len(), view.alarms.len());
    ensure(sizes == (20, 2, 4), "heads and alarms are as they were")?;
    let logs = store.logs(None).await.map_err(text)?;
    ensure(logs.len() == LOGS_OF_A_NODE, "every log is still named")
}

async fn held(store: &dyn HeadStore, log: &str) -> Result<LogView, String> {
    store.view(log).await.map_err(text)?.ok_or_else(|| format!("{log} is held"))
}
