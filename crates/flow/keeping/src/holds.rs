//! Legal holds: the bodies of an exchange stay until the last hold on it is released.

use std::collections::{BTreeMap, BTreeSet};

use truc_evidence::{ClassMonth, Hold, Proof, Release, holds_in_force};
use truc_model::MessageId;

use crate::error::KeepingError;
use crate::keeper::Keeper;

/// Most characters of a case, and of a reason.
const CASE_LIMIT: usize = 100;
const REASON_LIMIT: usize = 1000;
/// Most exchanges of one command; a case may have several.
const REQUESTS_LIMIT: usize = 10_000;

/// A hold that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldTaken {
    /// It.
    pub hold: Hold,
    /// Requests of which a body has expired already.
    pub gone: Vec<MessageId>,
}

impl Keeper {
    /// Holds the bodies of the exchanges that `requests` began, under the name `case`; durable when this returns. A case that is in force
    /// already gets more exchanges.
    ///
    /// # Errors
    /// [`KeepingError`]; nothing is held then.
    pub async fn hold(
        &self,
        case: &str,
        reason: &str,
        by: &str,
        requests: &[MessageId],
    ) -> Result<HoldTaken, KeepingError> {
        said("a case", case, CASE_LIMIT)?;
        said("a reason", reason, REASON_LIMIT)?;
        let requests: BTreeSet<MessageId> = requests.iter().copied().collect();
        if requests.is_empty() || requests.len() > REQUESTS_LIMIT {
            return Err(KeepingError::Invalid(format!("name 1 to {REQUESTS_LIMIT} exchanges")));
        }
        let _one = self.one.lock().await;
        let keys: BTreeMap<ClassMonth, bool> =
            self.segments.class_months().await?.into_iter().map(|m| (m.of, m.key)).collect();
        let copies: BTreeSet<u64> = self.segments.held().await?.into_iter().collect();
        let (mut unknown, mut gone) = (Vec::new(), Vec::new());
        for request in &requests {
            let records = self.evidence.exchange(*request).await?;
            if records.is_empty() {
                unknown.push(*request);
            }
            for record in records.iter().filter(|r| r.has_body && !copies.contains(&r.sequence)) {
                let place = self.segments.body_place(record.sequence).await?;
                if place.is_some_and(|of| !keys.get(&of).copied().unwrap_or(false)) && !gone.contains(request)
                {
                    gone.push(*request);
                }
            }
        }
        if !unknown.is_empty() {
            return Err(KeepingError::UnknownRequests(unknown));
        }
        let hold = Hold {
            case: case.to_owned(),
            reason: reason.to_owned(),
            by: by.to_owned(),
            at: self.clock.now(),
            requests: requests.into_iter().collect(),
        };
        self.proofs.prove(Proof::Hold(hold.clone())).await?;
        Ok(HoldTaken { hold, gone })
    }

    /// Ends the hold of a case. Copies that no other hold needs are destroyed.
    ///
    /// # Errors
    /// [`KeepingError`]; the hold is in force then, unless only a copy could not be destroyed, which the next day does.
    pub async fn release(&self, case: &str, reason: &str, by: &str) -> Result<Release, KeepingError> {
        said("a reason", reason, REASON_LIMIT)?;
        let release = {
            let _one = self.one.lock().await;
            if !holds_in_force(&self.proofs.marks().await?).contains_key(case) {
                return Err(KeepingError::NoSuchCase(case.to_owned()));
            }
            let (case, reason, by) = (case.to_owned(), reason.to_owned(), by.to_owned());
            let release = Release { case, reason, by, at: self.clock.now() };
            self.proofs.prove(Proof::Release(release.clone())).await?;
            release
        };
        self.drop_copies().await?;
        Ok(release)
    }

    /// The holds in force, by case.
    ///
    /// # Errors
    /// [`KeepingError`] when the proofs cannot be read.
    pub async fn holds(&self) -> Result<Vec<Hold>, KeepingError> {
        let holds: Vec<_> = holds_in_force(&self.proofs.marks().await?).into_values().collect();
        self.lock().holds = holds.len() as u64;
        Ok(holds)
    }

    /// The records with a body that some hold in force names.
    async fn held_records(&self, marks: &[Proof]) -> Result<BTreeSet<u64>, KeepingError> {
        let holds = holds_in_force(marks);
        self.lock().holds = holds.len() as u64;
        let requests: BTreeSet<MessageId> = holds.into_values().flat_map(|hold| hold.requests).collect();
        let mut records = BTreeSet::new();
        for request in requests {
            let exchange = self.evidence.exchange(request).await?;
            records.extend(exchange.iter().filter(|r| r.has_body).map(|r| r.sequence));
        }
        Ok(records)
    }

    /// Copies the held bodies of a month that is about to expire. One that cannot be copied keeps the whole month.
    pub(crate) async fn copy_held(&self, of: &ClassMonth, marks: &[Proof]) -> Result<(), KeepingError> {
        for sequence in self.held_records(marks).await? {
            if self.segments.body_place(sequence).await?.as_ref() == Some(of) {
                let there = self.segments.hold_body(sequence).await?;
                tracing::info!(sequence, there, "a held body outlives its month");
            }
        }
        Ok(())
    }

    /// Every held body of a month without a key was copied before the key went.
    pub(crate) async fn held_has_copies(&self, of: &ClassMonth, marks: &[Proof]) -> Result<(), KeepingError> {
        let copies = self.segments.held().await?;
        for sequence in self.held_records(marks).await? {
            let lost =
                !copies.contains(&sequence) && self.segments.body_place(sequence).await?.as_ref() == Some(of);
            if lost {
                return Err(KeepingError::HeldLost(of.folder(), sequence));
            }
        }
        Ok(())
    }

    /// Destroys the copies that no hold in force needs.
    pub(crate) async fn drop_copies(&self) -> Result<(), KeepingError> {
        let _one = self.one.lock().await;
        let needed = self.held_records(&self.proofs.marks().await?).await?;
        for sequence in self.segments.held().await? {
            if !needed.contains(&sequence) {
                self.segments.release_body(sequence).await?;
            }
        }
        Ok(())
    }
}

fn said(what: &str, text: &str, limit: usize) -> Result<(), KeepingError> {
    let plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if plain && text.chars().count() <= limit {
        return Ok(());
    }
    Err(KeepingError::Invalid(format!("{what} is 1 to {limit} characters in one line")))
}
