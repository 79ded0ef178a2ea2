//! The five trust checks of a message (protocol P3), in the order of the protocol.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use truc_directory::{ApprovedAuthority, Directory, Freshness, NodeEntry, Usage};
use truc_message::{Header, Kind, Peer, Received};
use truc_model::{Digest, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::belonging::{find_path, is_seal_of, profile_names};
use crate::certificate::Certificate;
use crate::chain::{PathError, VerifiedPath};
use crate::cms;
use crate::lists::KnownList;
use crate::standing::{ServiceState, Standing};
use crate::statuses::{Accepted, KnownStatus, StatusBook, StatusPolicy, StatusSource, Subject};
use crate::trust_error::TrustError;
use crate::verified::{Answer, ReliedList, Request, TrustState, Verified};

/// A path once found, good for one directory head.
#[derive(Clone)]
struct CachedPath {
    head: Digest,
    path: Arc<VerifiedPath>,
    authority: usize,
}

const PATH_CACHE_LIMIT: usize = 20_000;

/// Judges messages and peers. Certificate paths and statuses are remembered by fingerprint, directory head and freshness.
pub struct Verifier {
    me: NodeId,
    book: StatusBook,
    policy: StatusPolicy,
    paths: Mutex<HashMap<(Fingerprint, Usage), CachedPath>>,
}

/// How an approved CA's responders have answered this node's own queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityState {
    /// The authority's name in the directory.
    pub name: String,
    /// Fresh, degraded or expired.
    pub state: ServiceState,
    /// What that is judged by.
    pub standing: Standing,
}

/// The request that an answer must answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its header.
    pub header: &'a Header,
    /// Its digest.
    pub digest: Digest,
}

/// Who must have sent a message.
struct Sender<'a> {
    member: MemberId,
    subsystem: &'a SubsystemId,
}

impl Verifier {
    /// A verifier for the node `me`.
    pub fn new(me: NodeId, source: Arc<dyn StatusSource>, policy: StatusPolicy) -> Self {
        let seed = Digest::of(me.as_str().as_bytes());
        Self { me, book: StatusBook::new(source, policy, seed), policy, paths: Mutex::default() }
    }

    /// The newest status of every certificate seen, for whoever keeps them over a restart.
    pub fn statuses(&self) -> Vec<Arc<KnownStatus>> {
        self.book.all()
    }

    /// Takes in a status from elsewhere: fetched for this node's own certificate, or kept over a restart. It counts as any
    /// other does, by what it says and when.
    ///
    /// # Errors
    /// [`TrustError`] when no approved CA stands behind the certificate, or the response does not hold for it.
    pub fn remember(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        usage: Usage,
        response: &bytes::Bytes,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<(), TrustError> {
        let (path, authority) = self.path(certificate, intermediates, usage, directory, now)?;
        let subject = Subject { certificate, issuer: &path.issuer, authority };
        self.book.offer(&subject, response, now)
    }

    /// The newest revocation list of every CA whose responders were away, for whoever keeps them over a restart.
    pub fn lists(&self) -> Vec<Arc<KnownList>> {
        self.book.lists()
    }

    /// The newest status of one certificate.
    pub fn status_of(&self, certificate: &Fingerprint) -> Option<Arc<KnownStatus>> {
        self.book.newest(certificate)
    }

    /// Takes in a revocation list that was kept over a restart, of the CA with the certificate `issuer`.
    ///
    /// # Errors
    /// [`TrustError`] when the directory approves no such CA, or the list does not hold or is not in force.
    pub fn remember_list(
        &self,
        issuer: &[u8],
        list: &bytes::Bytes,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<(), TrustError> {
        let of = |authority: &ApprovedAuthority| {
            std::iter::once(&authority.certificate)
                .chain(&authority.intermediates)
                .any(|der| der.as_bytes() == issuer)
        };
        if !directory.authorities().iter().any(of) {
            return Err(PathError::UnknownIssuer.into());
        }
        self.book.offer_list(&Certificate::from_der(issuer)?, list, now)
    }

    /// Asks the responders for the status of one of this node's own certificates, however fresh what is known.
    ///
    /// # Errors
    /// [`TrustError`] when no approved CA stands behind it, or no responder gave an answer that holds and is fresh.
    pub async fn renew(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        usage: Usage,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Arc<KnownStatus>, TrustError> {
        let (path, authority) = self.path(certificate, intermediates, usage, directory, now)?;
        let subject = Subject { certificate, issuer: &path.issuer, authority };
        self.book.renew(&subject, now).await
    }

    /// How the responders of each approved CA have answered this node's own queries.
    pub fn authority_states(&self, directory: &Directory, now: Timestamp) -> Vec<AuthorityState> {
        let state = |authority: &ApprovedAuthority| {
            let standing = self.book.inner.authorities.of(&authority.name);
            let state = standing.state(self.policy.grace, now);
            AuthorityState { name: authority.name.clone(), state, standing }
        };
        directory.authorities().iter().map(state).collect()
    }

    /// The policy by which statuses are judged.
    pub const fn status_policy(&self) -> StatusPolicy {
        self.policy
    }

    /// Verifies a request by the five checks of protocol P3.
    ///
    /// # Errors
    /// [`TrustError`] names the first check that fails.
    pub async fn request(
        &self,
        received: Received,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Verified<Request>, TrustError> {
        let header = received.header();
        if header.kind != Kind::Request {
            return Err(TrustError::Kind(header.kind.as_str()));
        }
        let subsystem = header.client.clone();
        let sender = Sender { member: subsystem.member(), subsystem: &subsystem };
        let state = self.check(&received, &sender, directory, now).await?;
        Ok(Verified::new(Request::new(received), state))
    }

    /// Verifies an answer by the five checks of protocol P3, and that it is the answer to `request`.
    ///
    /// # Errors
    /// [`TrustError`] names the first check that fails.
    pub async fn answer(
        &self,
        received: Received,
        request: Asked<'_>,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Verified<Answer>, TrustError> {
        let header = received.header();
        if !header.kind.is_answer() {
            return Err(TrustError::Kind(header.kind.as_str()));
        }
        belongs_to(header, request)?;
        let subsystem = header.service.subsystem();
        let sender = Sender { member: subsystem.member(), subsystem: &subsystem };
        let state = self.check(&received, &sender, directory, now).await?;
        Ok(Verified::new(Answer::new(received), state))
    }

    /// Checks that the TLS peer is `node`, with a path, a registration and a status that hold: checks 3 and 5 for the
    /// node alone, as a consumer does before it sends anything.
    ///
    /// # Errors
    /// [`TrustError`] names the first check that fails.
    pub async fn peer(
        &self,
        peer: &Peer,
        node: &NodeEntry,
        carried: &[bytes::Bytes],
        directory: &Directory,
        now: Timestamp,
    ) -> Result<Accepted, TrustError> {
        fresh_enough(directory, now)?;
        if !node.auth_certificates.contains(&peer.fingerprint()) {
            return Err(TrustError::WrongPeer { node: node.id.clone(), certificate: peer.fingerprint() });
        }
        let certificate = Certificate::from_der(peer.certificate())?;
        let intermediates: Vec<Certificate> =
            peer.intermediates().iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>()?;
        let (path, authority) = self.path(&certificate, &intermediates, Usage::Auth, directory, now)?;
        profile_names(&certificate, authority.profile, &node.id.owner(), Some(&node.id))?;
        self.status(&certificate, &path, authority, carried, now).await
    }

    async fn check(
        &self,
        received: &Received,
        sender: &Sender<'_>,
        directory: &Directory,
        now: Timestamp,
    ) -> Result<TrustState, TrustError> {
        let header = received.header();
        let freshness = fresh_enough(directory, now)?;
        if header.instance != directory.instance() {
            return Err(TrustError::Instance);
        }
        if header.to != self.me {
            return Err(TrustError::NotForUs(header.to.clone()));
        }
        // 3, 4: the peer is the node the header names, and that node speaks for the sender.
        let node =
            directory.node(&header.from).ok_or_else(|| TrustError::UnknownNode(header.from.clone()))?;
        let peer_status = self.peer(received.peer(), node, received.statuses(), directory, now).await?;
        if !directory.speaks_for(&header.from, sender.subsystem) {
            let (node, subsystem) = (header.from.clone(), sender.subsystem.clone());
            return Err(TrustError::DoesNotSpeakFor { node, subsystem });
        }
        // 1, 2: the signature holds under a certificate of that member, from an approved CA.
        let signature = cms::read(received.message().signature.cms())?;
        let signer = signature.certificate();
        is_seal_of(signer, &sender.member, directory, now)?;
        let (path, authority) = self.path(signer, signature.intermediates(), Usage::Sign, directory, now)?;
        profile_names(signer, authority.profile, &sender.member, None)?;
        signature.verify(received.message().sealed.manifest())?;
        if signature.signing_time() != header.sent.whole_second() {
            return Err(TrustError::SigningTime);
        }
        // 5: status.
        let status = self.status(signer, &path, authority, received.statuses(), now).await?;
        let both = [&status, &peer_status];
        let response = |accepted: &&Accepted| accepted.known.as_ref().map(|known| known.response.clone());
        Ok(TrustState {
            signer: signer.fingerprint(),
            status_this_update: status.this_update,
            statuses: both.iter().filter_map(response).collect(),
            lists: relied_lists(&both),
            status_graced: status.graced || peer_status.graced,
            directory_degraded: freshness == Freshness::Degraded,
            peer: header.from.clone(),
        })
    }

    /// Check 1, remembered per certificate and directory head.
    fn path<'d>(
        &self,
        certificate: &Certificate,
        intermediates: &[Certificate],
        usage: Usage,
        directory: &'d Directory,
        now: Timestamp,
    ) -> Result<(Arc<VerifiedPath>, &'d ApprovedAuthority), TrustError> {
        let key = (certificate.fingerprint(), usage);
        let head = directory.head().content_digest();
        let cached = self.paths.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(cached) = cached
            && cached.head == head
            && [certificate, &cached.path.issuer, &cached.path.anchor].iter().all(|c| c.valid_at(now))
            && let Some(authority) = directory.authorities().get(cached.authority)
        {
            return Ok((cached.path, authority));
        }
        let (path, index) = find_path(certificate, intermediates, usage, directory, now)?;
        let path = Arc::new(path);
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.len() >= PATH_CACHE_LIMIT {
            paths.clear();
        }
        paths.insert(key, CachedPath { head, path: Arc::clone(&path), authority: index });
        let authority = directory.authorities().get(index).ok_or(PathError::UnknownIssuer)?;
        Ok((path, authority))
    }

    async fn status(
        &self,
        certificate: &Certificate,
        path: &VerifiedPath,
        authority: &ApprovedAuthority,
        carried: &[bytes::Bytes],
        now: Timestamp,
    ) -> Result<Accepted, TrustError> {
        let subject = Subject { certificate, issuer: &path.issuer, authority };
        self.book.establish(&subject, carried, now).await
    }
}

/// Each list once: seals and nodes mostly have one CA.
fn relied_lists(accepted: &[&Accepted]) -> Vec<ReliedList> {
    let mut lists: Vec<ReliedList> = Vec::new();
    for known in accepted.iter().filter_map(|accepted| accepted.list.as_ref()) {
        if lists.iter().all(|list| list.digest != known.digest) {
            lists.push(ReliedList {
                bytes: known.bytes.clone(),
                digest: known.digest,
                this_update: known.list.this_update(),
                next_update: known.list.next_update(),
            });
        }
    }
    lists
}

fn fresh_enough(directory: &Directory, now: Timestamp) -> Result<Freshness, TrustError> {
    match directory.freshness(now) {
        Freshness::Expired => Err(TrustError::DirectoryExpired),
        freshness => Ok(freshness),
    }
}

/// Whether an answer's header is the counterpart of the request's.
fn belongs_to(answer: &Header, request: Asked<'_>) -> Result<(), TrustError> {
    let asked = request.header;
    let reply = answer.in_reply_to.ok_or(TrustError::NotOurAnswer("inReplyTo"))?;
    let pairs = [
        ("inReplyTo.id", reply.id == asked.id),
        ("inReplyTo.digest", reply.digest == request.digest),
        ("instance", answer.instance == asked.instance),
        ("client", answer.client == asked.client),
        ("service", answer.service == asked.service),
        ("from", answer.from == asked.to),
        ("to", answer.to == asked.from),
        ("clientMessageId", answer.client_message_id == asked.client_message_id),
        ("userId", answer.user_id == asked.user_id),
        ("issue", answer.issue == asked.issue),
        ("representedParty", answer.represented_party == asked.represented_party),
        ("trace", answer.trace == asked.trace),
    ];
    match pairs.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(TrustError::NotOurAnswer(field)),
        None => Ok(()),
    }
}
