//! The callers' side of a journal.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::oneshot;
use truc_evidence::{Receipt, Reservation, StoreError};
use truc_message::Leaf;
use truc_model::Digest;

use super::format::FrameType;
use super::scan::{Place, Point, Segment};
use super::space::{Room, Space};
use super::writer::Writer;
use crate::bodies::{Month, Packed};
use crate::keys::{RecordKey, RecordKeys};
use crate::options::JournalOptions;

/// One entry to be appended.
pub(crate) struct Entry<N> {
    pub(crate) kind: FrameType,
    pub(crate) key: RecordKey,
    /// The content; for a record a reference to its body is put before it.
    pub(crate) payload: Vec<u8>,
    pub(crate) month: Month,
    pub(crate) body: EntryBody,
    /// Stored before the entry unless they are there already.
    pub(crate) artifacts: Vec<(Digest, Bytes)>,
    /// The leaf at a sequence.
    pub(crate) leaf: Box<dyn FnOnce(u64) -> Leaf + Send>,
    pub(crate) room: Option<Reservation>,
    /// Handed to the sink when the entry is durable.
    pub(crate) note: N,
}

pub(crate) enum EntryBody {
    None,
    Empty,
    Bytes(Packed),
}

/// An entry that is durable.
pub(crate) struct Written<N> {
    pub(crate) sequence: u64,
    pub(crate) place: Place,
    pub(crate) artifacts: Vec<(Digest, Place)>,
    /// The point after it.
    pub(crate) after: Point,
    /// What the tree has of it; of a frame that does not count nothing.
    pub(crate) leaf: Leaf,
    pub(crate) note: N,
}

/// Learns of durable entries before whoever appended them does. Called on the writer's thread: must be quick.
pub(crate) trait Sink<N>: Send + Sync {
    fn durable(&self, entries: Vec<Written<N>>);
    /// False while no more entries can be taken.
    fn ready(&self) -> bool {
        true
    }
}

pub(super) enum Job<N> {
    Append(Box<Entry<N>>, oneshot::Sender<Result<Receipt, StoreError>>),
    Reserve(Room, oneshot::Sender<Result<Reservation, StoreError>>),
    Closed(oneshot::Sender<Result<Closed, StoreError>>),
    /// Writes no more into the body segments of this folder.
    Leave(String, oneshot::Sender<Result<(), StoreError>>),
}

/// What is not written any more.
pub(crate) struct Closed {
    /// Every segment of the journal; the last may be written.
    pub(crate) journal: Vec<Segment>,
    /// The body segments that may be written; all others are closed.
    pub(crate) open_bodies: Vec<PathBuf>,
}

/// Where a journal lies and what was found there.
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) bodies: PathBuf,
    pub(crate) stem: String,
    pub(crate) keys: Arc<dyn RecordKeys>,
    pub(crate) options: JournalOptions,
    pub(crate) segments: Vec<Segment>,
    /// Where the last one was left; `None` in an empty journal.
    pub(crate) end: Option<Point>,
    /// Artifacts that are stored already.
    pub(crate) artifacts: HashSet<Digest>,
}

/// The segments and how far they are durable.
pub(super) struct Extent {
    pub(super) segments: Vec<Segment>,
    pub(super) end: Option<Point>,
}

/// What writer and readers share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) space: Arc<Space>,
    extent: Arc<Mutex<Extent>>,
}

impl Shared {
    pub(super) fn extent(&self) -> MutexGuard<'_, Extent> {
        self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Promises room if it is there.
    pub(super) fn promise(&self, room: Room) -> Option<Reservation> {
        let space = Arc::clone(&self.space);
        space.promise(room).then(|| Reservation::new(move || space.take_back(room)))
    }
}

/// A journal being written. Dropping it writes what waits and joins the writer.
pub(crate) struct Journal<N> {
    queue: Option<SyncSender<Job<N>>>,
    shared: Shared,
    sink: Arc<dyn Sink<N>>,
    thread: Option<JoinHandle<()>>,
}

const STOPPED: &str = "the journal's writer has stopped: restart the node";

impl<N: Send + 'static> Journal<N> {
    /// Starts the writer.
    pub(crate) fn start(mut setup: Setup, sink: Arc<dyn Sink<N>>) -> Result<Self, StoreError> {
        if let Some(last) = setup.segments.last() {
            // What was read may so far be in the page cache only; the next segment's header will vouch for it.
            let synced = std::fs::File::open(&last.path).and_then(|f| f.sync_all());
            synced.map_err(|e| crate::files::io(&last.path, e))?;
        }
        super::unused::give_back_journal(&setup.dir, &setup.stem, &setup.options.hooks);
        let (queue, jobs) = sync_channel(setup.options.queue);
        let extent = Extent { segments: std::mem::take(&mut setup.segments), end: setup.end };
        let shared = Shared { space: Arc::default(), extent: Arc::new(Mutex::new(extent)) };
        let name = format!("{}-writer", setup.stem);
        let writer = Writer::new(setup, shared.clone(), Arc::clone(&sink));
        let thread = std::thread::Builder::new().name(name).spawn(move || writer.run(&jobs));
        let thread =
            thread.map_err(|e| StoreError::Failed(format!("no thread for the journal's writer: {e}")))?;
        Ok(Self { queue: Some(queue), shared, sink, thread: Some(thread) })
    }

    /// The segments, and the point up to which they are durable.
    pub(crate) fn extent(&self) -> (Vec<Segment>, Option<Point>) {
        let extent = self.shared.extent();
        (extent.segments.clone(), extent.end)
    }

    /// A function that tells the same without holding the journal.
    pub(crate) fn extent_reader(&self) -> impl Fn() -> (Vec<Segment>, Option<Point>) + Send + Sync + use<N> {
        let shared = self.shared.clone();
        move || {
            let extent = shared.extent();
            (extent.segments.clone(), extent.end)
        }
    }

    /// Keeps room; takes it from the disk when the segments have none.
    pub(crate) async fn reserve(&self, journal: u64, body: u64) -> Result<Reservation, StoreError> {
        let room = Room { journal, body };
        if let Some(promise) = self.shared.promise(room) {
            return Ok(promise);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Reserve(room, reply))?;
        answer.await.map_err(|_| StoreError::Failed(STOPPED.into()))?
    }

    pub(crate) async fn append(&self, entry: Entry<N>) -> Result<Receipt, StoreError> {
        if !self.sink.ready() {
            return Err(StoreError::Busy);
        }
        let (reply, answer) = oneshot::channel();
        self.send(Job::Append(Box::new(entry), reply))?;
        answer.await.map_err(|_| StoreError::Failed(STOPPED.into()))?
    }

    /// What is not written any more.
    pub(crate) async fn closed(&self) -> Result<Closed, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Closed(reply))?;
        answer.await.map_err(|_| StoreError::Failed(STOPPED.into()))?
    }

    /// Writes no more into the body segments of this folder below `bodies/`.
    pub(crate) async fn leave(&self, folder: String) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Leave(folder, reply))?;
        answer.await.map_err(|_| StoreError::Failed(STOPPED.into()))?
    }

    fn send(&self, job: Job<N>) -> Result<(), StoreError> {
        let queue = self.queue.as_ref().ok_or_else(|| StoreError::Failed(STOPPED.into()))?;
        queue.try_send(job).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Failed(STOPPED.into()),
        })
    }
}

impl<N> Drop for Journal<N> {
    fn drop(&mut self) {
        self.queue = None;
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the journal's writer had panicked");
        }
    }
}
