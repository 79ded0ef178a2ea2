//! The registry's folder at work: decisions and publishing, whether it serves nodes or not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use truc_directory::{PublicKey, Root};
use truc_evidence::Receipt;
use truc_governance::{
    CertificateIssuer, Command, Governance, GrantedCertificate, Officer, Permission, Published, Publisher,
    Rules, Standing, State, WantedCertificate,
};
use truc_keys::{KeyLabel, Signer as _};
use truc_keystores::{FileKeyStore, Passphrase};
use truc_model::Clock;
use truc_stores::DataFolder;

use crate::ceremony::off_runtime;
use crate::closed::Mark;
use crate::config::RegistryConfig;
use crate::error::RegistryError;
use crate::files::{self, Places, Shelf};
use crate::inspector::CaInspector;
use crate::issuing;

/// Limit for all certificates of one request.
const ISSUING: Duration = Duration::from_secs(20);

/// Label of the publishing key; later ones are `publishing-2`, `publishing-3` …
pub(crate) const PUBLISHING: &str = "publishing";

/// An open registry. The folder is locked while this lives, so there is one at a time.
pub struct Office {
    governance: Governance,
    issuer: Option<Arc<dyn CertificateIssuer>>,
    publisher: Publisher,
    /// The publishing key that signs.
    signing: KeyLabel,
    passphrase: Passphrase,
    clock: Arc<dyn Clock>,
    pub(crate) places: Places,
    pub(crate) keys: Arc<FileKeyStore>,
    pub(crate) parts: Arc<Shelf>,
    // Declared last: the lock is given back when everything else is closed.
    _folder: DataFolder,
}

impl Office {
    /// Opens the folder that `config` names.
    ///
    /// # Errors
    /// [`RegistryError`], e.g. when a registry is running on it or there is none.
    pub async fn open(config: &RegistryConfig, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        let (data, passphrase) = (config.data.clone(), config.passphrase_file.clone());
        if !data.join("FORMAT").exists() {
            return Err(RegistryError::NoRegistry(data));
        }
        let opened = spawn_blocking(move || files::open(&data, &Passphrase::from_file(&passphrase)?));
        let opened = opened.await.map_err(|e| RegistryError::Stopped(e.to_string()))??;
        let mut office = Self::over(opened, clock).await?;
        office.governance = office.governance.with_rules(Rules { four_eyes: config.four_eyes });
        if let Some(settings) = &config.issuing {
            office.issuer = Some(issuing::open(settings).await?);
        }
        Ok(office)
    }

    pub(crate) async fn over(opened: files::Opened, clock: Arc<dyn Clock>) -> Result<Self, RegistryError> {
        let files::Opened { places, keys, log, parts, passphrase, folder } = opened;
        let governance = Governance::open(log, Arc::new(CaInspector), Arc::clone(&clock)).await?;
        let signing = match governance.state() {
            Ok(state) => signing_key(&keys, state.root()).ok_or(RegistryError::NoPublishingKey)?,
            Err(_) => files::label(PUBLISHING)?,
        };
        let publisher =
            Publisher::open(keys.clone(), signing.clone(), parts.clone(), Arc::clone(&clock)).await?;
        Ok(Self {
            governance,
            issuer: None,
            publisher,
            signing,
            passphrase,
            clock,
            places,
            keys,
            parts,
            _folder: folder,
        })
    }

    /// Takes one decision. It is durable when this returns; publish afterwards.
    ///
    /// # Errors
    /// [`RegistryError::Refused`].
    pub async fn execute(&mut self, command: Command, actor: &str) -> Result<Receipt, RegistryError> {
        self.execute_as(command, &Officer::machine(actor)).await
    }

    /// As [`Office::execute`], for an officer whose role must cover the command. An approval first has the pilot CA issue what is
    /// missing; what it issued for an approval that is then refused is registered nowhere.
    ///
    /// # Errors
    /// [`RegistryError::Refused`].
    pub async fn execute_as(
        &mut self,
        command: Command,
        officer: &Officer,
    ) -> Result<Receipt, RegistryError> {
        let command = match command {
            Command::Approve { number, why, level, issued }
                if issued.is_empty() && officer.role.may(Permission::Approve) =>
            {
                self.governance.check_approval(number, level.as_ref(), &officer.name)?;
                let issued = self.issue(self.governance.wanted(number)?).await?;
                Command::Approve { number, why, level, issued }
            }
            other => other,
        };
        if let Command::InstallRoot { root, .. } | Command::Initialise { root, .. } = &command {
            let root = Root::parse(&root.payload)?;
            self.hold_keys_of(&root).await?;
        }
        Ok(self.governance.execute_as(command, officer).await?)
    }

    /// Takes in a management request as a node sent it, or says where it stands when it came in before. Also tells whether something
    /// was decided, so that it has to be published.
    ///
    /// # Errors
    /// [`RegistryError::Refused`].
    pub async fn submit(&mut self, document: Bytes) -> Result<(Standing, bool), RegistryError> {
        if let Some(standing) = self.governance.standing(&document)? {
            return Ok((standing, false));
        }
        let examined = self.governance.examine(&document)?;
        let issued =
            if examined.request.ask.needs_approval() { vec![] } else { self.issue(examined.wanted).await? };
        let by = examined.request.node.to_string();
        self.governance.execute(Command::Submit { document: document.clone(), issued }, &by).await?;
        let standing = self.governance.standing(&document)?;
        let lost = || RegistryError::Stopped("a request was filed and not found".into());
        Ok((standing.ok_or_else(lost)?, true))
    }

    /// What the pilot CA issues; without one, nothing, and governance says what is missing. While it is waited for nothing is
    /// decided and no head is signed, so the wait has an end; asked again, the CA goes on where it was.
    async fn issue(&self, wanted: Vec<WantedCertificate>) -> Result<Vec<GrantedCertificate>, RegistryError> {
        let Some(first) = wanted.first().map(|one| one.holder.clone()) else { return Ok(vec![]) };
        timeout(ISSUING, self.issue_all(wanted)).await.unwrap_or_else(|_| {
            let why = format!(
                "CA quá chậm / the CA did not answer for all within {} s; try again",
                ISSUING.as_secs()
            );
            Err(RegistryError::Issuing { holder: first, why })
        })
    }

    async fn issue_all(
        &self,
        wanted: Vec<WantedCertificate>,
    ) -> Result<Vec<GrantedCertificate>, RegistryError> {
        let Some(issuer) = &self.issuer else { return Ok(vec![]) };
        let mut issued = Vec::with_capacity(wanted.len());
        for one in wanted {
            let answer = issuer.issue(&one.request, one.usage, &one.holder, &one.organisation).await;
            let answer = answer.map_err(|why| RegistryError::Issuing { holder: one.holder.clone(), why })?;
            issued.push(GrantedCertificate {
                holder: one.holder,
                usage: one.usage,
                certificate: answer.certificate,
                intermediates: answer.intermediates,
            });
        }
        Ok(issued)
    }

    /// Publishes what was decided, or signs the same version again.
    ///
    /// # Errors
    /// [`RegistryError::Publish`]; [`RegistryError::Restored`] while a restored registry is closed.
    pub async fn publish(&mut self) -> Result<Published, RegistryError> {
        self.refuse_closed().await?;
        let root = self.governance.state()?.root();
        let signing = signing_key(&self.keys, root).ok_or(RegistryError::NoPublishingKey)?;
        if signing != self.signing {
            tracing::info!(key = %signing, "heads are signed with another publishing key from here on");
            let (keys, parts) = (Arc::clone(&self.keys), Arc::clone(&self.parts));
            self.publisher = Publisher::open(keys, signing.clone(), parts, Arc::clone(&self.clock)).await?;
            self.signing = signing;
        }
        Ok(self.publisher.publish(&mut self.governance).await?)
    }

    /// What was decided so far.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] while the instance is not opened.
    pub fn state(&self) -> Result<&State, RegistryError> {
        Ok(self.governance.state()?)
    }

    /// How many decisions there are.
    pub const fn decisions(&self) -> u64 {
        self.governance.decisions()
    }

    async fn refuse_closed(&self) -> Result<(), RegistryError> {
        let data = self.places.0.clone();
        let Ok(state) = self.governance.state() else {
            return if self.places.pending_anchor().exists() {
                Err(RegistryError::AwaitsRoot(data))
            } else {
                Ok(())
            };
        };
        let mark = off_runtime(move || Mark::read(&data)).await?;
        match mark {
            Some(mark) if mark.closes(state.root()) => {
                Err(RegistryError::Restored { restored: mark.restored, made: mark.made })
            }
            _ => Ok(()),
        }
    }

    /// A root is taken over only when its heads can be signed here afterwards. Keys made since this folder was opened (by a draft)
    /// are read now.
    async fn hold_keys_of(&mut self, root: &Root) -> Result<(), RegistryError> {
        let newest = root.publishing_keys.last();
        if newest.is_none_or(|key| label_of(&self.keys, key).is_none()) {
            let (keys, passphrase) = (self.places.keys(), self.passphrase.clone());
            let opened = off_runtime(move || Ok(FileKeyStore::open(&keys, &passphrase)?)).await?;
            self.keys = Arc::new(opened);
        }
        signing_key(&self.keys, root).map(drop).ok_or(RegistryError::NoPublishingKey)
    }
}

/// The key that signs heads under this root: the last one that it names and that is here.
fn signing_key(keys: &FileKeyStore, root: &Root) -> Option<KeyLabel> {
    root.publishing_keys.iter().rev().find_map(|key| label_of(keys, key))
}

fn label_of(keys: &FileKeyStore, key: &PublicKey) -> Option<KeyLabel> {
    keys.keys().into_iter().find(|held| held.public_key == key.0).map(|held| held.label)
}
