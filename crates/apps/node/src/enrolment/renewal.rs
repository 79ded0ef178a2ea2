//! Renewal of keys, step by step, each durable in `DATA-FOLDER/requests/renewal.json` before the next:
//!
//! 1. *asked*: new keys, and the signed request for them;
//! 2. *granted*: the certificates that came, checked against the keys;
//! 3. *switched*: the certificate files say the new ones, and since when;
//! 4. over: the registry has deleted the old certificates, and the file is gone.
//!
//! Anybody may take the first two steps, also while the node is stopped. The others are the running node's (`renewing`).

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use truc_directory::{Der, Usage, V1};
use truc_governance::{GrantedCertificate, Request, SignedRequest};
use truc_keys::KeyLabel;
use truc_model::{Fingerprint, MemberId, Timestamp};
use truc_trust::Certificate;

use super::compose::renew_keys;
use super::errand::Office;
use super::error::EnrolmentError;
use super::folder::{Outbox, Pending, remove, replace};
use super::registrar::{Tell, approved};
use super::settle::fitting;
use super::slots::{Own, Slot};
use crate::error::NodeError;

/// What to renew; nothing named means everything.
#[derive(Debug, Clone, Default)]
pub struct RenewOptions {
    /// The node's TLS identity.
    pub auth: bool,
    /// The seals of these members.
    pub members: Vec<MemberId>,
    /// Certificates that an external CA has issued for the new keys, PEM files.
    pub certificates: Vec<PathBuf>,
}

/// A renewal under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Renewal {
    v: V1,
    /// The signed request's envelope.
    document: Der,
    pub(crate) keys: Vec<RenewedKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    granted: Vec<GrantedCertificate>,
    /// When the certificate files began to say the new ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) switched: Option<Timestamp>,
}

/// One key of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RenewedKey {
    pub(crate) holder: String,
    pub(crate) usage: Usage,
    pub(crate) label: KeyLabel,
    /// The certificate that was in use before.
    pub(crate) replaces: Fingerprint,
}

/// A granted certificate of a renewal, and what it replaces.
#[derive(Debug, Clone)]
pub(crate) struct Successor {
    pub(crate) slot: Slot,
    pub(crate) certificate: Certificate,
    pub(crate) intermediates: Vec<Certificate>,
    pub(crate) replaces: Fingerprint,
    pub(crate) fitting: super::settle::Fitting,
}

fn path(outbox: &Outbox) -> PathBuf {
    outbox.path("renewal.json")
}

impl Renewal {
    /// The one under way, if any. Blocks.
    pub(crate) fn load(outbox: &Outbox) -> Result<Option<Self>, NodeError> {
        let file = path(outbox);
        match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| NodeError::file(&file, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(NodeError::file(&file, e)),
        }
    }

    /// Blocks.
    pub(crate) fn save(&self, outbox: &Outbox) -> Result<(), NodeError> {
        let file = path(outbox);
        let text = serde_json::to_vec_pretty(self).map_err(|e| NodeError::file(&file, e))?;
        replace(&file, &text, 0o600)
    }

    /// It is over. Blocks.
    pub(crate) fn end(outbox: &Outbox) -> Result<(), NodeError> {
        remove(&path(outbox))
    }

    /// Whether the certificates have come.
    pub(crate) fn is_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    /// The step it is at, for people.
    pub(crate) fn step(&self) -> String {
        match (self.switched, self.is_granted()) {
            (Some(at), _) => format!("đã đổi sang khóa mới / switched at {at}"),
            (None, true) => "đã có chứng thư / certificates have come".to_owned(),
            (None, false) => "đã gửi yêu cầu / asked".to_owned(),
        }
    }

    fn request(&self) -> Result<Request, NodeError> {
        let parsed = SignedRequest::parse(self.document.as_bytes());
        parsed.map(|(_, request)| request).map_err(|e| NodeError::file(Path::new("renewal.json"), e))
    }

    /// The certificates that came, each with its slot. Blocks.
    pub(crate) fn successors(&self, own: &Own) -> Result<Vec<Successor>, EnrolmentError> {
        let mut all = vec![];
        for (usage, holder, fitting) in fitting(own, &self.request()?, &self.granted)? {
            let unfit =
                |why: &str| EnrolmentError::Certificate { holder: holder.clone(), why: why.to_owned() };
            let slot = own.slots().into_iter().find(|slot| slot.usage == usage && slot.holder == holder);
            let slot = slot.ok_or_else(|| unfit("the configuration does not name it any more"))?;
            let key = self.keys.iter().find(|key| key.usage == usage && key.holder == holder);
            let key = key.ok_or_else(|| unfit("it was not asked for"))?;
            let chain =
                Certificate::all_from_pem(fitting.pem.as_bytes()).map_err(|e| unfit(&e.to_string()))?;
            let intermediates = chain.into_iter().skip(1).collect();
            let certificate = fitting.certificate.clone();
            all.push(Successor { slot, certificate, intermediates, replaces: key.replaces, fitting });
        }
        Ok(all)
    }
}

/// The slots that were named, or all. Blocks.
pub(crate) fn chosen(own: &Own, options: &RenewOptions) -> Result<Vec<Slot>, EnrolmentError> {
    if !options.auth && options.members.is_empty() {
        return Ok(own.slots());
    }
    let seals: Result<Vec<Slot>, _> = options.members.iter().map(|member| own.seal(member)).collect();
    Ok(options.auth.then(|| own.auth()).into_iter().chain(seals?).collect())
}

/// Seals in one renewal: two signatures, a certificate request and a certificate each, within the registry's 256 KiB.
pub(crate) const AT_A_TIME: usize = 50;

/// New keys, and for each a certificate request in `requests/` for an external CA; nothing is sent. Blocks.
pub(crate) fn prepare(own: &Own, slots: &[Slot]) -> Result<Vec<PathBuf>, EnrolmentError> {
    slots.iter().map(|slot| own.request_file(&own.next_key(slot)?.label, slot)).collect()
}

impl Office {
    /// The first two steps: keys, request, and the answer of the registry, which decides renewals at once. What was begun is
    /// gone on with.
    pub(crate) async fn renew(
        &self,
        options: RenewOptions,
        wait: bool,
        tell: Tell<'_>,
    ) -> Result<Renewal, EnrolmentError> {
        let renewal = match self.blocking(|office| Ok(Renewal::load(&office.outbox)?)).await? {
            Some(renewal) if renewal.is_granted() => return Err(EnrolmentError::UnderWay(renewal.step())),
            Some(renewal) => renewal,
            None => self.begin_renewal(options).await?,
        };
        self.pursue_renewal(renewal, wait, tell).await
    }

    async fn begin_renewal(&self, options: RenewOptions) -> Result<Renewal, EnrolmentError> {
        let (draft, keys) = self.blocking(move |office| begin(&office.own, &options)).await?;
        let signed = draft.sign(&self.own, self.clock.now(), None).await?;
        let renewal =
            Renewal { v: V1, document: Der(signed.to_bytes()), keys, granted: vec![], switched: None };
        let saved = renewal.clone();
        self.blocking(move |office| Ok(saved.save(&office.outbox)?)).await?;
        Ok(renewal)
    }

    /// The second step.
    pub(crate) async fn pursue_renewal(
        &self,
        mut renewal: Renewal,
        wait: bool,
        tell: Tell<'_>,
    ) -> Result<Renewal, EnrolmentError> {
        let document = Bytes::copy_from_slice(renewal.document.as_bytes());
        let pending = Pending::of(document)?;
        let pursued = self.registrar.pursue(&pending, wait, tell).await;
        let decided = pursued.and_then(|standing| approved(&standing).map(|()| standing));
        match decided {
            Ok(standing) if standing.state.is_open() => Ok(renewal),
            Ok(standing) => {
                renewal.granted = standing.certificates;
                self.blocking(move |office| {
                    renewal.successors(&office.own)?;
                    renewal.save(&office.outbox)?;
                    Ok(renewal)
                })
                .await
            }
            Err(error @ (EnrolmentError::Refused(_) | EnrolmentError::Declined { .. })) => {
                self.blocking(|office| Ok(Renewal::end(&office.outbox)?)).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

fn begin(
    own: &Own,
    options: &RenewOptions,
) -> Result<(super::compose::Draft, Vec<RenewedKey>), EnrolmentError> {
    let mut brought = vec![];
    for file in &options.certificates {
        brought.push(super::slots::leaf(file)?);
    }
    let chosen = chosen(own, options)?;
    // Told before any key is made, and before a document is kept that no registry would take.
    if brought.is_empty() && chosen.len() > AT_A_TIME + 1 || brought.len() > AT_A_TIME + 1 {
        return Err(EnrolmentError::Invalid(format!(
            "mỗi lần thay tối đa {AT_A_TIME} con dấu; nêu tên bằng --member / at most {AT_A_TIME} seals at a time: name them with --member"
        )));
    }
    let (mut slots, mut keys) = (vec![], vec![]);
    for slot in chosen {
        let replaces = own.in_use(&slot)?.certificate.fingerprint();
        let its = |c: &&Certificate| super::slots::key_of(&own.store, &slot.base, c.public_key()).is_some();
        let label = match brought.iter().find(its) {
            Some(c) => super::slots::key_of(&own.store, &slot.base, c.public_key()),
            // Some were brought: what has none is not renewed now.
            None if !brought.is_empty() => continue,
            None => Some(own.next_key(&slot)?.label),
        };
        let Some(label) = label else { continue };
        // For an external CA, should the registry have none that issues by itself.
        own.request_file(&label, &slot)?;
        keys.push(RenewedKey {
            holder: slot.holder.clone(),
            usage: slot.usage,
            label: label.clone(),
            replaces,
        });
        slots.push((slot, label));
    }
    if slots.is_empty() {
        let told = "no certificate given is for a new key of this node; truc node renew --csr makes keys and requests";
        return Err(EnrolmentError::Invalid(told.to_owned()));
    }
    let brought: Vec<Der> = brought.iter().map(|c| Der::from(c.der().to_vec())).collect();
    Ok((renew_keys(own, &slots, &brought)?, keys))
}
