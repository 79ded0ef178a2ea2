//! Bodies whose time is over: held ones copied, the key destroyed, segments removed here and in the archive, a tombstone.

use truc_evidence::{ClassMonth, ClassMonthState, Proof, Tombstone, archived};
use truc_model::{Digest, Timestamp};

use crate::error::KeepingError;
use crate::keeper::Keeper;
use crate::plan::{Plan, TombstoneSegment};

impl Keeper {
    /// Destroys the bodies of every class and month whose time is over, and the copies that no hold needs any more; returns which
    /// classes and months.
    ///
    /// # Errors
    /// The first [`KeepingError`]; other months are not kept from expiring by it.
    pub async fn expire(&self) -> Result<Vec<ClassMonth>, KeepingError> {
        let now = self.believed_now().await?;
        let mut gone = Vec::new();
        let mut failed = None;
        for state in self.segments.class_months().await? {
            if state.is_lost() {
                failed.get_or_insert(KeepingError::KeyLost(state.of.folder()));
                continue;
            }
            let due = self.classes.get(&state.of.class).and_then(|r| r.expires(state.of.month));
            let Some(due) = due.filter(|due| *due <= now) else {
                // A file in the folder alone destroys nothing before its time, and has nothing signed.
                if state.plan.is_some() {
                    failed.get_or_insert(KeepingError::Early(state.of.folder()));
                }
                continue;
            };
            // One month at a time: whoever wants to hold something waits for one, not for all.
            let _one = self.one.lock().await;
            match self.expire_one(&state, due, now).await {
                Ok(()) => gone.push(state.of),
                Err(error) => {
                    // The round tells it, once.
                    tracing::debug!(class = %state.of.class, month = %state.of.month, %error, "expiry stopped");
                    failed.get_or_insert(error);
                }
            }
        }
        if let Err(error) = self.drop_copies().await {
            failed.get_or_insert(error);
        }
        self.lock().expired += gone.len() as u64;
        failed.map_or(Ok(gone), Err)
    }

    async fn expire_one(
        &self,
        state: &ClassMonthState,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), KeepingError> {
        let of = &state.of;
        let marks = self.proofs.marks().await?;
        if state.key {
            // Also after a restart: a hold may have been taken since the plan was made.
            self.copy_held(of, &marks).await?;
        } else {
            // Who lost the key is not this expiry, unless it copied first what is held.
            self.held_has_copies(of, &marks).await?;
        }
        let plan = match &state.plan {
            Some(plan) => {
                let plan = Plan::decode(of, plan)?;
                let whole = !state.key || plan.names(&self.segments_of(state, &marks).await?);
                if !whole || !plan.begun_within(due, now) {
                    return Err(KeepingError::Plan(of.folder()));
                }
                plan
            }
            None => {
                let plan = Plan::new(of, &self.segments_of(state, &marks).await?, now)?;
                self.segments.begin_expiry(of, plan.encode(of)?.into()).await?;
                plan
            }
        };
        self.segments.destroy_key(of).await?;
        self.segments.remove_segments(of).await?;
        self.remove_archived(of, &marks).await?;
        for text in plan.unsaid(&marks) {
            let note = self.notes.note(text.clone()).await.map_err(KeepingError::Note)?;
            self.proofs.prove(Proof::Tombstone(Tombstone { note })).await?;
        }
        self.segments.end_expiry(of).await?;
        tracing::info!(class = %of.class, month = %of.month, "bodies have expired");
        Ok(())
    }

    /// Every segment of the month with its digest: those here and those in the archive.
    async fn segments_of(
        &self,
        state: &ClassMonthState,
        marks: &[Proof],
    ) -> Result<Vec<TombstoneSegment>, KeepingError> {
        let away = archived(marks).into_values().filter(|a| state.of.holds(&a.file));
        let away = away.filter(|a| !state.segments.contains(&a.file));
        let mut all: Vec<_> =
            away.map(|a| TombstoneSegment { file: a.file, sha256: a.sha256, length: a.length }).collect();
        for file in &state.segments {
            let bytes = self.segments.bytes(file).await?;
            let (sha256, length) = (Digest::of(&bytes), bytes.len() as u64);
            all.push(TombstoneSegment { file: file.clone(), sha256, length });
        }
        all.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(all)
    }

    /// Whatever lies there of the month, also what a crash left without a proof.
    async fn remove_archived(&self, of: &ClassMonth, marks: &[Proof]) -> Result<(), KeepingError> {
        let Some(archive) = &self.archive else {
            let away = archived(marks).into_values().any(|a| of.holds(&a.file));
            return if away { Err(KeepingError::NoArchive(of.folder())) } else { Ok(()) };
        };
        for object in archive.list(&of.archive_folder()).await? {
            archive.delete(&object.name).await?;
        }
        Ok(())
    }
}
