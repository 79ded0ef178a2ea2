//! The writer: one thread that turns what waits into one batch, one `fdatasync` per file, and receipts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use tokio::sync::oneshot;
use truc_evidence::{BodyClass, Receipt, Reservation, StoreError};
use truc_model::{Digest, Timestamp};

use super::content;
use super::format::{self, FrameType, SegmentHeader, SegmentKind, frame_length, next_chain, seed};
use super::handle::{Closed, Entry, EntryBody, Job, Setup, Shared, Sink, Written};
use super::pause::Pause;
use super::scan::{Place, Point, Segment, SegmentId, segment_path};
use super::segment::Active;
use super::space::Room;
use crate::bodies::{Bodies, BodyRef, Month};
use crate::files;
use crate::keys::RecordKey;
use crate::options::JournalOptions;

/// Most entries and most bytes of content in one batch.
const BATCH_ENTRIES: usize = 1024;
const BATCH_BYTES: usize = 16 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// An entry in the batch's buffers, with who waits for it.
type Pending<N> = (Written<N>, Receipt, Reply<Receipt>);

struct Open {
    segment: Segment,
    active: Active,
}

pub(super) struct Writer<N> {
    dir: PathBuf,
    stem: String,
    node_key: RecordKey,
    options: JournalOptions,
    shared: Shared,
    sink: Arc<dyn Sink<N>>,
    bodies: Bodies,
    open: Option<Open>,
    /// The sequence and chain of what is durable; with the batch's own entries added while it is built.
    sequence: u64,
    chain: Digest,
    artifacts: HashSet<Digest>,
    last_id: Option<SegmentId>,
    /// The month of the latest entry.
    month: Option<Month>,
    /// No segment is begun while it lasts.
    pause: Pause,
}

impl<N: Send + 'static> Writer<N> {
    pub(super) fn new(setup: Setup, shared: Shared, sink: Arc<dyn Sink<N>>) -> Self {
        let (sequence, chain) = setup.end.map_or((0, seed(&setup.stem)), |end| (end.sequence, end.chain));
        Self {
            node_key: setup.keys.node_key(),
            bodies: Bodies::new(setup.bodies, setup.keys, setup.options.clone()),
            dir: setup.dir,
            stem: setup.stem,
            options: setup.options,
            shared,
            sink,
            open: None,
            sequence,
            chain,
            artifacts: setup.artifacts,
            last_id: None,
            month: None,
            pause: Pause::default(),
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self, jobs: &Receiver<Job<N>>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            let mut bytes = 0;
            while batch.len() < BATCH_ENTRIES && bytes < BATCH_BYTES {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += size(&job);
                batch.push(job);
            }
            self.commit(batch);
        }
        if let Some(open) = self.open {
            open.active.finish();
        }
        self.bodies.finish();
    }

    fn commit(&mut self, batch: Vec<Job<N>>) {
        let batch = self.tell_closed(batch);
        if let Err(error) = self.turn() {
            for job in batch {
                refuse(job, &error);
            }
            return;
        }
        let before = (self.sequence, self.chain);
        let mut pending = Vec::with_capacity(batch.len());
        let mut new_artifacts = HashSet::new();
        let mut broken = None;
        for job in batch {
            if let Some(error) = &broken {
                refuse(job, error);
                continue;
            }
            let (mut entry, reply) = match job {
                Job::Append(entry, reply) => (entry, reply),
                Job::Reserve(room, reply) => {
                    answer(reply, self.reserve(room));
                    continue;
                }
                // Answered before.
                Job::Closed(..) | Job::Leave(..) => continue,
            };
            if let Err(error) = self.make_room(&mut entry, &new_artifacts) {
                answer(reply, Err(error));
                continue;
            }
            match self.add(*entry, &mut new_artifacts) {
                Ok((written, receipt)) => pending.push((written, receipt, reply)),
                // The buffers may hold half an entry now: the whole batch is lost.
                Err(error) => {
                    answer(reply, Err(error.clone()));
                    broken = Some(error);
                }
            }
        }
        match broken.map_or_else(|| self.flush(), Err) {
            Ok(()) => self.publish(pending, new_artifacts),
            Err(error) => self.give_up(pending, before, &error),
        }
    }

    /// Answers who keeps the segments, between two batches and also when the disk is full: nothing waits to be written now.
    fn tell_closed(&mut self, batch: Vec<Job<N>>) -> Vec<Job<N>> {
        let mut rest = Vec::with_capacity(batch.len());
        for job in batch {
            match job {
                Job::Closed(reply) => {
                    let journal = self.shared.extent().segments.clone();
                    answer(reply, Ok(Closed { journal, open_bodies: self.bodies.open_paths() }));
                }
                Job::Leave(folder, reply) => {
                    self.bodies.leave(&folder);
                    self.tell_free();
                    answer(reply, Ok(()));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// Bodies first: a record that can be read has its body.
    fn flush(&mut self) -> Result<(), StoreError> {
        self.bodies.flush()?;
        self.open.as_mut().map_or(Ok(()), |o| o.active.flush())
    }

    fn publish(&mut self, pending: Vec<Pending<N>>, new_artifacts: HashSet<Digest>) {
        if let Some((last, ..)) = pending.last() {
            self.shared.extent().end = Some(last.after);
            self.pause.end();
        }
        self.artifacts.extend(new_artifacts);
        let mut written = Vec::with_capacity(pending.len());
        let mut replies = Vec::with_capacity(pending.len());
        for (entry, receipt, reply) in pending {
            written.push(entry);
            replies.push((receipt, reply));
        }
        if !written.is_empty() {
            self.sink.durable(written);
        }
        for (receipt, reply) in replies {
            answer(reply, Ok(receipt));
        }
        self.tell_free();
    }

    /// Leaves the segments for ever: after a failed sync nobody knows what is in them behind what was acknowledged. The next one
    /// says where it goes on, and what lies behind that point never counts. It is begun by whoever appends after the pause.
    fn give_up(&mut self, pending: Vec<Pending<N>>, before: (u64, Digest), error: &StoreError) {
        if let Some(open) = self.open.take() {
            tracing::error!(stem = %self.stem, %error, "a batch could not be written; a new segment follows");
            open.active.abandon();
        }
        self.bodies.abandon();
        (self.sequence, self.chain) = before;
        self.pause.begin(self.options.hooks.now(), error);
        self.tell_free();
        for (_, _, reply) in pending {
            answer(reply, Err(error.clone()));
        }
    }

    fn tell_free(&self) {
        let free =
            Room { journal: self.open.as_ref().map_or(0, |o| o.active.free()), body: self.bodies.free() };
        *self.shared.space.lock() = free;
    }

    /// Opens a segment when there is none or the current one is long enough. When the disk has no room for a new one, the
    /// current one goes on: what was promised lies there.
    fn turn(&mut self) -> Result<(), StoreError> {
        if self.open.as_ref().is_some_and(|o| o.active.end() < self.options.segment_limit) {
            return Ok(());
        }
        self.pause.over(self.options.hooks.now())?;
        match self.create() {
            Ok(open) => {
                self.shared.extent().segments.push(open.segment.clone());
                if let Some(old) = self.open.replace(open) {
                    old.active.finish();
                }
                self.tell_free();
                Ok(())
            }
            Err(StoreError::Full) if self.open.is_some() => Ok(()),
            Err(StoreError::Full) => Err(StoreError::Full),
            Err(error) => {
                self.pause.begin(self.options.hooks.now(), &error);
                Err(error)
            }
        }
    }

    fn create(&mut self) -> Result<Open, StoreError> {
        let mut taken = super::scan::list_names(&self.dir, &self.stem)?;
        taken.extend(super::scan::list_away(&self.dir, &self.stem)?);
        let same = taken.iter().map(|(id, _)| *id).chain(self.last_id).filter(|id| id.first == self.sequence);
        let n = same.map(|id| id.n).max().map_or(1, |n| n + 1);
        let id = SegmentId { first: self.sequence, n };
        self.last_id = Some(id);
        let salt = self.options.hooks.random32()?;
        let (version, kind) = (format::VERSION, SegmentKind::Journal);
        let header = SegmentHeader { version, kind, salt, first: id.first, chain: self.chain };
        let path = segment_path(&self.dir, &self.stem, id);
        let ask = self.options.ask(self.shared.space.promised().journal);
        let active = Active::create(&path, &header, ask, &self.options)?;
        Ok(Open { segment: Segment { id, path, header, shelf: None }, active })
    }

    fn reserve(&mut self, room: Room) -> Result<Reservation, StoreError> {
        loop {
            if let Some(promise) = self.shared.promise(room) {
                return Ok(promise);
            }
            let missing = self.shared.space.missing(&self.shared.space.lock(), room);
            let class = self.bodies.last_class().cloned().unwrap_or_default();
            self.grow(missing, &class, room.body)?;
        }
    }

    /// Takes the room that `entry` needs, from its own promise or from the disk.
    fn make_room(&mut self, entry: &mut Entry<N>, new_artifacts: &HashSet<Digest>) -> Result<(), StoreError> {
        let need = self.need(entry, new_artifacts);
        if entry.kind.counts() {
            self.month = Some(entry.month);
        }
        let class = match &entry.body {
            EntryBody::Bytes(body) => body.class.clone(),
            EntryBody::None | EntryBody::Empty => BodyClass::default(),
        };
        if need.body > 0 {
            let outcome = self.room_of_class(&class, entry, need.body);
            self.tell_free();
            outcome?;
        }
        let mut promise = entry.room.take();
        loop {
            let missing = {
                let mut free = self.shared.space.lock();
                drop(promise.take());
                let missing = self.shared.space.missing(&free, need);
                if missing == Room::default() {
                    free.journal -= need.journal;
                    free.body -= need.body;
                }
                missing
            };
            if missing == Room::default() {
                self.bodies.claim(&class, need.body);
                self.open.iter_mut().for_each(|o| o.active.claim(need.journal));
                return Ok(());
            }
            self.grow(missing, &class, need.body)?;
        }
    }

    /// Room for one body in its own class's segment; from the other classes' segments when the disk is full and it was promised.
    fn room_of_class(&mut self, class: &BodyClass, entry: &Entry<N>, need: u64) -> Result<(), StoreError> {
        let promised = self.shared.space.promised().body;
        let taken = self.bodies.turn(class, entry.month, need, promised).and_then(|()| {
            let missing = need.saturating_sub(self.bodies.free_of(class));
            if missing == 0 { Ok(()) } else { self.bodies.grow(class, missing) }
        });
        match taken {
            Err(StoreError::Full) if entry.room.is_some() => self.bodies.shift(class, entry.month, need),
            other => other,
        }
    }

    /// Bytes of the frames that the entry will make; of an artifact the most there can be.
    fn need(&self, entry: &Entry<N>, new_artifacts: &HashSet<Digest>) -> Room {
        let (reference, body) = match (&entry.body, entry.kind) {
            (EntryBody::Bytes(body), _) => (body.reference_length(), body.frame_length()),
            (_, FrameType::Record) => (1, 0),
            _ => (0, 0),
        };
        let mut journal = frame_length(entry.key.id().len(), reference + entry.payload.len());
        let mut seen = HashSet::new();
        for (digest, bytes) in &entry.artifacts {
            if !self.artifacts.contains(digest) && !new_artifacts.contains(digest) && seen.insert(digest) {
                journal += frame_length(self.node_key.id().len(), bytes.len() + content::ENCODING);
            }
        }
        Room { journal, body }
    }

    fn grow(&mut self, missing: Room, class: &BodyClass, body: u64) -> Result<(), StoreError> {
        let outcome = (|| {
            if missing.journal > 0 {
                let open = self.open.as_mut().ok_or(StoreError::Full)?;
                open.active.grow(missing.journal)?;
            }
            if missing.body > 0 && self.bodies.is_open(class) {
                self.bodies.grow(class, missing.body)?;
            } else if missing.body > 0 {
                let month = self.month.map_or_else(|| self.month_by_file(), Ok)?;
                self.bodies.turn(class, month, body, self.shared.space.promised().body)?;
            }
            Ok(())
        })();
        self.tell_free();
        outcome
    }

    /// The month, as the file system has it: for room that is kept before any entry has told its time. Bodies of another month
    /// begin a segment of their own.
    fn month_by_file(&self) -> Result<Month, StoreError> {
        let path = self.open.as_ref().map(|o| o.active.path()).ok_or(StoreError::Full)?;
        let modified = std::fs::metadata(path).and_then(|m| m.modified()).map_err(|e| files::io(path, e))?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Month::of(Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(0))))
    }

    /// Puts the entry's frames into the buffers.
    fn add(
        &mut self,
        entry: Entry<N>,
        new_artifacts: &mut HashSet<Digest>,
    ) -> Result<(Written<N>, Receipt), StoreError> {
        let sequence = self.sequence;
        let reference = match &entry.body {
            EntryBody::None => BodyRef::None,
            EntryBody::Empty => BodyRef::Empty,
            EntryBody::Bytes(body) => self.bodies.push(sequence, body)?,
        };
        let node_key = self.node_key.clone();
        let mut artifacts = Vec::new();
        for (digest, bytes) in &entry.artifacts {
            if !self.artifacts.contains(digest) && new_artifacts.insert(*digest) {
                let place = self.push(FrameType::Artifact, &node_key, &[&content::encode(bytes)])?;
                artifacts.push((*digest, place));
            }
        }
        let reference = if entry.kind == FrameType::Record { reference.encode() } else { Vec::new() };
        let place = self.push(entry.kind, &entry.key, &[&reference, &entry.payload])?;
        self.sequence += u64::from(entry.kind.counts());
        let (after, leaf) = (self.point()?, (entry.leaf)(sequence));
        let receipt = Receipt { sequence, chain: self.chain, leaf };
        Ok((Written { sequence, place, artifacts, after, leaf, note: entry.note }, receipt))
    }

    fn push(&mut self, kind: FrameType, key: &RecordKey, parts: &[&[u8]]) -> Result<Place, StoreError> {
        let open = self.open.as_mut().ok_or(StoreError::Full)?;
        let (offset, frame) = open.active.push(kind, self.sequence, key, parts)?;
        self.chain = next_chain(self.chain, frame);
        Ok(Place { segment: open.segment.id, offset })
    }

    fn point(&self) -> Result<Point, StoreError> {
        let open = self.open.as_ref().ok_or(StoreError::Full)?;
        let place = Place { segment: open.segment.id, offset: open.active.end() };
        Ok(Point { place, frame: open.active.next_frame(), sequence: self.sequence, chain: self.chain })
    }
}

fn size<N>(job: &Job<N>) -> usize {
    match job {
        Job::Reserve(..) | Job::Closed(..) | Job::Leave(..) => 0,
        Job::Append(entry, _) => {
            let body = match &entry.body {
                EntryBody::Bytes(body) => body.len(),
                EntryBody::None | EntryBody::Empty => 0,
            };
            entry.payload.len()
                + body
                + entry.artifacts.iter().map(|(_, b): &(Digest, Bytes)| b.len()).sum::<usize>()
        }
    }
}

fn refuse<N>(job: Job<N>, error: &StoreError) {
    match job {
        Job::Append(_, reply) => answer(reply, Err(error.clone())),
        Job::Reserve(_, reply) => answer(reply, Err(error.clone())),
        Job::Closed(reply) => answer(reply, Err(error.clone())),
        Job::Leave(_, reply) => answer(reply, Err(error.clone())),
    }
}

/// Whoever asked may have gone; the entry stays.
fn answer<T>(reply: Reply<T>, outcome: Result<T, StoreError>) {
    let _ = reply.send(outcome);
}
