//! The registry as a witness of nodes' logs (protocol P5.3, `docs/evidence.md` §2.3).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use truc_directory_sync::{HeadAnswer, WitnessDesk, WitnessRefusal};
use truc_governance::Published;
use truc_log::{Head, HeadStore, HeadStoreError, NewHead, NoteKey, Noted, Presentation, log_of};
use truc_model::{Clock, Digest, NodeId};

/// How far a node's clock may be off: what it signed before or after that is not shown now.
const FRESH: Duration = Duration::from_secs(600);

/// Takes in the heads that nodes show.
pub(crate) struct Witness {
    pub(crate) heads: Arc<dyn HeadStore>,
    pub(crate) published: watch::Receiver<Published>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Witness {
    /// The log's key is the one that the directory in force lists for its node; suspended nodes are heard, too.
    fn key(&self, head: &str) -> Result<NoteKey, WitnessRefusal> {
        let origin = Head::claimed_origin(head).map_err(|e| malformed(&e))?;
        let Some((node, _)) = log_of(&origin) else {
            return Err(WitnessRefusal::Malformed("the head's origin names no log of a node".into()));
        };
        let directory = Arc::clone(&self.published.borrow().directory);
        let entry = directory.node(&node).ok_or_else(|| {
            WitnessRefusal::Stranger(format!("nút {node} không có trong danh bạ / is not in the directory"))
        })?;
        NoteKey::new(&origin, &entry.log_key.0).map_err(|e| malformed(&e))
    }

    fn shown(&self, head: &[u8], presentation: &[u8]) -> Result<NewHead, WitnessRefusal> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|e| malformed(&e));
        let (note, presented) = (text(head)?, text(presentation)?);
        let key = self.key(note)?;
        let stranger = |e: &dyn ToString| WitnessRefusal::Stranger(e.to_string());
        let read = Head::verify(note, &key).map_err(|e| stranger(&e))?;
        let presented = Presentation::verify(presented, &key).map_err(|e| stranger(&e))?;
        let now = self.clock.now();
        if now > presented.at.plus(FRESH) || presented.at > now.plus(FRESH) {
            return Err(WitnessRefusal::Malformed(format!(
                "shown at {}, and it is {now}: set the node's clock right",
                presented.at
            )));
        }
        if presented.head != Digest::of(head) {
            return Err(WitnessRefusal::Malformed("the presentation is of another head".into()));
        }
        Ok(NewHead { head: read, known: presented.known, proof: presented.proof, at: now })
    }
}

fn malformed(error: &dyn ToString) -> WitnessRefusal {
    WitnessRefusal::Malformed(error.to_string())
}

fn not_kept(error: &HeadStoreError) -> WitnessRefusal {
    if matches!(error, HeadStoreError::TooMany(_)) {
        return WitnessRefusal::Stranger(error.to_string());
    }
    tracing::error!(%error, "a head was not kept, or not read");
    WitnessRefusal::Unavailable("the registry cannot keep or read heads now".into())
}

#[async_trait]
impl WitnessDesk for Witness {
    async fn witness(&self, head: Bytes, presentation: Bytes) -> Result<HeadAnswer, WitnessRefusal> {
        let new = self.shown(&head, &presentation)?;
        let log = new.head.checkpoint().origin.clone();
        let noted = self.heads.note(new).await.map_err(|e| not_kept(&e))?;
        let alarm = if let Noted::Alarm { alarm, first } = &noted {
            if *first {
                tracing::error!(log, why = ?alarm.why, held = alarm.held.size, shown = alarm.shown.size,
                    "ALARM: the node shows a log that is not the one it showed before; call its operator, and compare with what its peers hold");
            }
            true
        } else {
            false
        };
        let view = self.heads.view(&log).await.map_err(|e| not_kept(&e))?;
        let held = view.map(|view| Bytes::from(view.newest.note)).unwrap_or_default();
        Ok(HeadAnswer { held, alarm })
    }

    async fn witnessed(&self, node: NodeId) -> Result<Vec<Bytes>, WitnessRefusal> {
        let mut views = Vec::new();
        for log in self.heads.logs(Some(&node)).await.map_err(|e| not_kept(&e))? {
            if let Some(view) = self.heads.view(&log).await.map_err(|e| not_kept(&e))? {
                views.push(serde_json::to_vec(&view).map_err(|e| malformed(&e))?.into());
            }
        }
        Ok(views)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::Ed25519KeyPair;
    use truc_log::{Checkpoint, MemoryTree, SignedNote, consistency, root};
    use truc_model::{ManualClock, Timestamp};
    use truc_testkit::{Federation, MemoryHeads};

    use super::*;

    const NODE: &str = "VN/GOV/H26/ss1";
    const LOG: &str = "NODE:VN/GOV/H26/ss1";

    /// The registry with what it published last, and its clock.
    struct Ground {
        witness: Witness,
        clock: Arc<ManualClock>,
    }

    /// Every node of a federation in tests has the log key of the seed 9.
    async fn ground() -> Ground {
        let bus = Federation::new().member("VN/GOV/H26").subsystem("mot-cua").start().await;
        let directory = bus.node(NODE).ground.directory.current().unwrap();
        let published = Published { signed_head: Bytes::new(), directory };
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_790_000_000_000)));
        let (heads, published) =
            (Arc::new(MemoryHeads::default()), watch::Sender::new(published).subscribe());
        Ground { witness: Witness { heads, published, clock: Arc::clone(&clock) as _ }, clock }
    }

    fn note(text: String, name: &str, seed: u8) -> Bytes {
        use ring::signature::KeyPair as _;
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = NoteKey::new(name, pair.public_key().as_ref()).unwrap();
        let signature = pair.sign(text.as_bytes()).as_ref().to_vec();
        Bytes::from(SignedNote::assemble(text, &key, signature).unwrap().to_string())
    }

    fn tree(story: &str) -> MemoryTree {
        (0..30).map(|n: u32| Digest::of(format!("{story} {n}").as_bytes())).collect()
    }

    fn head(story: &str, size: u64, log: &str, seed: u8) -> Bytes {
        let root = root(&tree(story), size).unwrap();
        let checkpoint = Checkpoint { origin: log.to_owned(), size, root, extensions: Vec::new() };
        note(checkpoint.to_string(), log, seed)
    }

    impl Ground {
        fn presented(&self, story: &str, head: &Bytes, from: u64, to: u64) -> Presentation {
            let proof = consistency(&tree(story), from, to).unwrap();
            Presentation { head: Digest::of(head), at: self.clock.now(), known: from, proof }
        }

        /// Shows the head of `size` of a log with a proof from `from`.
        async fn show(&self, story: &str, from: u64, size: u64) -> HeadAnswer {
            let head = head(story, size, LOG, 9);
            let presented = note(self.presented(story, &head, from, size).to_string(), LOG, 9);
            self.witness.witness(head, presented).await.unwrap()
        }
    }

    #[tokio::test]
    async fn a_head_that_continues_the_held_one_is_kept_and_another_history_is_an_alarm() {
        let ground = ground().await;
        let first = ground.show("true", 0, 5).await;
        assert_eq!(first, HeadAnswer { held: head("true", 5, LOG, 9), alarm: false });
        let again = ground.show("true", 3, 8).await;
        assert_eq!(again, first, "the proof must begin at 5");
        let second = ground.show("true", 5, 8).await;
        assert_eq!(second, HeadAnswer { held: head("true", 8, LOG, 9), alarm: false });
        for (story, size) in [("false", 12), ("false", 8), ("true", 4)] {
            let alarm = ground.show(story, 8, size).await;
            assert_eq!(alarm, HeadAnswer { held: second.held.clone(), alarm: true }, "{story} {size}");
        }
        let told = ground.witness.witnessed(NODE.parse().unwrap()).await.unwrap();
        let view: truc_log::LogView = serde_json::from_slice(&told[0]).unwrap();
        assert_eq!((told.len(), view.newest.size, view.alarms.len()), (1, 8, 3));
        let other = ground.witness.witnessed("VN/GOV/H26/ss2".parse().unwrap()).await;
        assert_eq!(other, Ok(vec![]));
    }

    #[tokio::test]
    async fn nobody_but_the_logs_keeper_shows_its_head() {
        let ground = ground().await;
        ground.show("true", 0, 5).await;
        let true_head = head("true", 8, LOG, 9);
        let good = ground.presented("true", &true_head, 5, 8);
        let signed = |presented: &Presentation, seed| note(presented.to_string(), LOG, seed);
        let old =
            Presentation { at: ground.clock.now().minus(FRESH + Duration::from_secs(1)), ..good.clone() };
        let early =
            Presentation { at: ground.clock.now().plus(FRESH + Duration::from_secs(1)), ..good.clone() };
        let of_another = Presentation { head: Digest::of(b"another"), ..good.clone() };
        let unknown = "NODE:VN/GOV/H26/ss2";
        let stranger =
            |answer: &Result<HeadAnswer, WitnessRefusal>| matches!(answer, Err(WitnessRefusal::Stranger(_)));
        let malformed =
            |answer: &Result<HeadAnswer, WitnessRefusal>| matches!(answer, Err(WitnessRefusal::Malformed(_)));
        // Whoever has a true head cannot present it, so that no wrong proof raises an alarm.
        let forged = ground.witness.witness(true_head.clone(), signed(&good, 8)).await;
        assert!(stranger(&forged), "{forged:?}");
        let forged = ground.witness.witness(head("true", 8, LOG, 8), signed(&good, 9)).await;
        assert!(stranger(&forged), "{forged:?}");
        let forged = ground.witness.witness(head("true", 8, unknown, 9), signed(&good, 9)).await;
        assert!(stranger(&forged), "not in the directory: {forged:?}");
        for wrong in [&old, &early, &of_another] {
            let refused = ground.witness.witness(true_head.clone(), signed(wrong, 9)).await;
            assert!(malformed(&refused), "{refused:?}");
        }
        for (head, presented) in [
            (Bytes::from_static(b"\xff"), signed(&good, 9)),
            (true_head.clone(), Bytes::new()),
            (Bytes::new(), signed(&good, 9)),
            (head("true", 8, "example.com/log", 9), signed(&good, 9)),
        ] {
            assert!(ground.witness.witness(head, presented).await.is_err());
        }
        assert_eq!(ground.show("true", 5, 8).await.held, true_head, "and it goes on");
    }
}
