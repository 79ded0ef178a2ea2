//! Talking with the registry about one document until it is decided.

use std::time::Duration;

use bytes::Bytes;
use truc_directory::Anchor;
use truc_directory_sync::{SubmitClient, SubmitRefusal};
use truc_governance::{RequestState, Standing};
use truc_model::Digest;

use super::error::EnrolmentError;
use super::folder::Pending;
use crate::config::NodeConfig;
use crate::error::NodeError;

/// How often a document that waits is sent again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The first wait; each is half as long again as the one before.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Default for Patience {
    /// The registry takes 60 a minute from one address: an office may have several nodes behind it.
    fn default() -> Self {
        Self { first: Duration::from_secs(2), most: Duration::from_secs(20) }
    }
}

impl Patience {
    /// The `n`th wait, and of it a share between a half and the whole that the document decides: nodes do not come all at once.
    fn wait(&self, n: u32, document: &Bytes) -> Duration {
        let whole = self.first.mul_f64(1.5_f64.powi(n.min(20).cast_signed())).min(self.most);
        let drawn = Digest::of(&[&Digest::of(document).0[..], &n.to_be_bytes()].concat());
        whole / 2 + whole / 2 * u32::from(drawn.0[0]) / 255
    }
}

/// What happens while a document waits.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A document that a former run left here goes on.
    Resumed,
    /// The registry says where it stands; told when that changed.
    Stands(&'a Standing),
    /// The registry cannot be reached, or is busy; it is tried again.
    Away(&'a str),
}

/// Hears of the progress.
pub type Tell<'a> = &'a mut (dyn FnMut(Progress<'_>) + Send);

/// The registry that the anchor names.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    client: SubmitClient,
    patience: Patience,
}

impl Registrar {
    /// Reads the anchor. Blocks.
    pub(crate) fn open(config: &NodeConfig, patience: Patience) -> Result<Self, NodeError> {
        let text = std::fs::read(&config.anchor_file).map_err(|e| NodeError::file(&config.anchor_file, e))?;
        let anchor = Anchor::parse(&text).map_err(|e| NodeError::file(&config.anchor_file, e))?;
        Ok(Self { client: SubmitClient::new(&anchor), patience })
    }

    /// Sends the document once; the answer is about these very bytes.
    pub(crate) async fn ask(&self, document: &Bytes) -> Result<Standing, EnrolmentError> {
        let answered = self.client.submit(document).await.map_err(|refusal| match refusal {
            SubmitRefusal::Refused(why) => EnrolmentError::Refused(why),
            SubmitRefusal::Busy(why) | SubmitRefusal::Unavailable(why) => EnrolmentError::Away(why),
        })?;
        let standing: Standing =
            serde_json::from_slice(&answered).map_err(|e| EnrolmentError::Answer(e.to_string()))?;
        if standing.document == Digest::of(document) {
            Ok(standing)
        } else {
            Err(EnrolmentError::Answer("it is about another document".into()))
        }
    }

    /// Sends the document until the registry has it, and with `to_the_end` until it is decided. May be dropped at any moment.
    pub(crate) async fn pursue(
        &self,
        pending: &Pending,
        to_the_end: bool,
        tell: Tell<'_>,
    ) -> Result<Standing, EnrolmentError> {
        let mut last: Option<Standing> = None;
        for n in 0.. {
            match self.ask(&pending.document).await {
                Ok(standing) => {
                    if standing.comparison_code != pending.code {
                        return Err(EnrolmentError::Answer("its comparison code is another one".into()));
                    }
                    if last.as_ref() != Some(&standing) {
                        tell(Progress::Stands(&standing));
                    }
                    if !to_the_end || !standing.state.is_open() {
                        return Ok(standing);
                    }
                    last = Some(standing);
                }
                Err(EnrolmentError::Away(why)) if to_the_end => tell(Progress::Away(&why)),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(self.patience.wait(n, &pending.document)).await;
        }
        Err(EnrolmentError::Away("gave up".into()))
    }
}

/// An officer's refusal as an error.
pub(crate) fn approved(standing: &Standing) -> Result<(), EnrolmentError> {
    if standing.state != RequestState::Refused {
        return Ok(());
    }
    let why = standing.refusal().unwrap_or_default().to_owned();
    Err(EnrolmentError::Declined { number: standing.number, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_differ_between_documents() {
        let (patience, one) = (Patience::default(), Bytes::from_static(b"one"));
        for n in 0..200 {
            let wait = patience.wait(n, &one);
            assert!(wait >= patience.first / 2 && wait <= patience.most, "{n}: {wait:?}");
        }
        assert!(patience.wait(100, &one) >= patience.most / 2);
        let other = Bytes::from_static(b"other");
        assert!((0..20).any(|n| patience.wait(n, &one) != patience.wait(n, &other)));
    }
}
