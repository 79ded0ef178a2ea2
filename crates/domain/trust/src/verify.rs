//! The five trust checks of a message (protocol P3), in the order of the protocol.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use truc_directory::{ApprovedAuthority, Directory, Freshness, NodeEntry, Profile, Usage};
use truc_message::{Header, Kind, Peer, Received};
use truc_model::{Digest, FaultCode, Fingerprint, MemberId, NodeId, SubsystemId, Timestamp};

use crate::certificate::{Certificate, CertificateError};
use crate::chain::{PathError, Purpose, VerifiedPath, check_path};
use crate::cms::{self, CmsError};
use crate::lists::KnownList;
use crate::standing::{ServiceState, Standing};
use crate::statuses::{Accepted, KnownStatus, StatusBook, StatusPolicy, StatusSource, Subject};
use crate::verified::{Answer, ReliedList, Request, TrustState, Verified};

/// Why a message or a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The directory is older than its expiry: nobody can be judged by it.
    #[error("the directory has expired; check the link to the registry")]
    DirectoryExpired,
    /// The message is not of the kind expected here.
    #[error("a {0} is not expected here")]
    Kind(&'static str),
    /// Addressed to another node.
    #[error("the message is addressed to {0}, not to this node")]
    NotForUs(NodeId),
    /// Of another instance than this node's.
    #[error("the message is of another instance")]
    Instance,
    /// The named node is not in the directory.
    #[error("node {0} is not in the directory")]
    UnknownNode(NodeId),
    /// The TLS peer's certificate is not registered to the named node.
    #[error("the TLS certificate {certificate} is not registered to node {node}")]
    WrongPeer {
        /// The node that the header names.
        node: NodeId,
        /// What the peer holds.
        certificate: Fingerprint,
    },
    /// The node may not speak for the subsystem.
    #[error("node {node} is not registered to speak for {subsystem}")]
    DoesNotSpeakFor {
        /// The node that the header names.
        node: NodeId,
        /// The subsystem that sends.
        subsystem: SubsystemId,
    },
    /// The sending member is unknown or not active.
    #[error("{0} is not an active member")]
    NotAMember(MemberId),
    /// The signer's certificate is not registered to the sending member.
    #[error("the sign certificate {certificate} is not registered to {member}")]
    NotTheirSeal {
        /// The member that the header names as sender.
        member: MemberId,
        /// The certificate in the signature.
        certificate: Fingerprint,
    },
    /// No approved CA allows this use, or its profile names somebody else.
    #[error("the certificate does not name {0} as its CA's profile prescribes")]
    Profile(String),
    /// No path to an approved CA.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] CmsError),
    /// The signature was made for another moment than the header says.
    #[error("the signing time is not the header's sent")]
    SigningTime,
    /// A certificate is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// The responder does not know the certificate.
    #[error("the responder does not know the certificate")]
    StatusIsUnknown,
    /// No status fresh enough, and the own query failed.
    #[error("no fresh status for certificate {0}, and the grace period has passed or never began")]
    StatusUnavailable(Fingerprint),
    /// A status response does not hold.
    #[error("certificate status: {0}")]
    Status(String),
    /// The answer is not the one to our request.
    #[error("the answer does not belong to the request: {0} differs")]
    NotOurAnswer(&'static str),
}

impl TrustError {
    /// The fault that the other end or the caller is told.
    pub const fn fault_code(&self) -> FaultCode {
        match self {
            Self::DirectoryExpired => FaultCode::DirectoryExpired,
            Self::Kind(_) => FaultCode::Malformed,
            Self::StatusUnavailable(_) => FaultCode::StatusUnknown,
            Self::NotOurAnswer(_) => FaultCode::InconsistentResponse,
            _ => FaultCode::Untrusted,
        }
    }
}

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

fn is_seal_of(
    signer: &Certificate,
    member: &MemberId,
    directory: &Directory,
    now: Timestamp,
) -> Result<(), TrustError> {
    let active = directory.member(member).is_some_and(|entry| entry.is_active(now));
    if !active {
        return Err(TrustError::NotAMember(member.clone()));
    }
    if directory.has_sign_certificate(member, &signer.fingerprint()) {
        Ok(())
    } else {
        Err(TrustError::NotTheirSeal { member: member.clone(), certificate: signer.fingerprint() })
    }
}

/// The CA's profile maps the subject to this member; with `node`, to this node of it. Where the profile names no nodes, the node is bound by
/// its registered fingerprint alone, which the caller has checked.
fn profile_names(
    certificate: &Certificate,
    profile: Profile,
    member: &MemberId,
    node: Option<&NodeId>,
) -> Result<(), TrustError> {
    let usage = if node.is_some() { Usage::Auth } else { Usage::Sign };
    let expected = node.map_or(member.as_str(), NodeId::as_str);
    match certificate.named(profile, usage) {
        Ok(named) if named.member == *member && named.node.as_ref().is_none_or(|n| Some(n) == node) => Ok(()),
        _ => Err(TrustError::Profile(expected.to_owned())),
    }
}

/// Looks for a path to any approved CA that allows `usage`; returns the authority's place in the directory.
pub fn find_path(
    certificate: &Certificate,
    intermediates: &[Certificate],
    usage: Usage,
    directory: &Directory,
    now: Timestamp,
) -> Result<(VerifiedPath, usize), TrustError> {
    let purpose = match usage {
        Usage::Auth => Purpose::Auth,
        Usage::Sign => Purpose::Sign,
    };
    let mut last = PathError::UnknownIssuer;
    for (index, authority) in directory.authorities().iter().enumerate().filter(|(_, a)| a.allows(usage)) {
        let anchor = Certificate::from_der(authority.certificate.as_bytes())?;
        let mut between: Vec<Certificate> = authority
            .intermediates
            .iter()
            .map(|der| Certificate::from_der(der.as_bytes()))
            .collect::<Result<_, _>>()?;
        between.extend_from_slice(intermediates);
        match check_path(certificate, &between, &[anchor], purpose, now) {
            Ok(path) => return Ok((path, index)),
            // What is wrong below the CA that issued it says more than that the other CAs did not.
            Err(error) if last == PathError::UnknownIssuer => last = error,
            Err(_) => {}
        }
    }
    Err(last.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    use rcgen::{DistinguishedName, DnType};
    use truc_keys::KeyKind;

    use crate::testing::{Party, seal};

    const UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
    const ORGANIZATION_IDENTIFIER: &[u64] = &[2, 5, 4, 97];

    fn certificate(id: &[u64], value: &str, common_name: &str) -> Certificate {
        let mut params = seal("thử");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CustomDnType(id.to_vec()), value);
        params.distinguished_name.push(DnType::CommonName, common_name);
        Party::root("CA").issue(KeyKind::EcP256, params, 1).certificate
    }

    /// A certificate counts for a node by its profile: by name where the profile names nodes, else by registration, which is checked before.
    #[test]
    fn profiles_bind_nodes_by_name_or_leave_it_to_registration() {
        let ours = certificate(ORGANIZATION_IDENTIFIER, "VN/COM/9901000019", "VN/COM/9901000019/ss1");
        let firm = certificate(UID, "MST:9901000019", "CÔNG TY GIẢ LẬP");
        let agency = certificate(UID, "MDD:000.00.00.H49", "UBND tỉnh");
        use Profile::{Truc1, VnEnterprise, VnState};
        for (certificate, profile, node, good) in [
            (&ours, Truc1, "VN/COM/9901000019/ss1", true),
            (&ours, Truc1, "VN/COM/9901000019/ss2", false),
            (&ours, Truc1, "VN/COM/9901002753/ss1", false),
            (&ours, VnEnterprise, "VN/COM/9901000019/ss1", false),
            (&firm, VnEnterprise, "VN/COM/9901000019/ss1", true),
            (&firm, VnEnterprise, "VN/COM/9901000019/ss2", true),
            (&firm, VnEnterprise, "VN/COM/9901002753/ss1", false),
            (&firm, VnEnterprise, "VN/GOV/9901000019/ss1", false),
            (&firm, Truc1, "VN/COM/9901000019/ss1", false),
            (&firm, VnState, "VN/COM/9901000019/ss1", false),
            (&agency, VnState, "VN/GOV/H49/ss1", true),
            (&agency, VnState, "VN/GOV/H26/ss1", false),
            (&agency, VnEnterprise, "VN/GOV/H49/ss1", false),
        ] {
            let node: NodeId = node.parse().unwrap();
            let named = profile_names(certificate, profile, &node.owner(), Some(&node));
            assert_eq!(named.is_ok(), good, "{node} under {profile:?}: {named:?}");
            // A seal is the member's wherever the node's name does not decide.
            let seal = profile_names(certificate, profile, &node.owner(), None).is_ok();
            assert!(seal || !good, "{node} under {profile:?}");
        }
    }
}
