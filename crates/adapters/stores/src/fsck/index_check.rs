//! The index against the journal, on a copy: looking into it must not change it.

use std::path::{Path, PathBuf};

use truc_evidence::{Proof, StoreError};
use truc_model::Digest;

use crate::evidence::index::Index;
use crate::files::{io, open_plain};
use crate::journal::scan::{Place, Point};

/// The copied index; none when there is none, or it cannot be opened: it is made again at the next start.
pub(super) struct IndexCheck {
    pub(super) path: PathBuf,
    index: Index,
    /// How far it reaches. It may be behind the journal, never before it.
    pub(super) reaches: Point,
    _place: tempfile::TempDir,
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::io::copy(&mut open_plain(&entry.path())?, &mut std::fs::File::create(target)?)?;
        }
    }
    Ok(())
}

impl IndexCheck {
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join("index/evidence");
        if !path.is_dir() {
            return Ok(None);
        }
        let place = tempfile::tempdir().map_err(|e| io(&std::env::temp_dir(), e))?;
        let copied = place.path().join("index");
        copy(&path, &copied).map_err(|e| io(&path, e))?;
        let (index, reaches) = Index::open(&copied, &place.path().join("aside"))?;
        Ok(reaches.map(|reaches| Self { path, index, reaches, _place: place }))
    }

    /// Whether the record, which begins at `place`, is found there.
    pub(super) fn record(&self, sequence: u64, place: Place) -> Result<(), String> {
        self.same(place, self.index.place(sequence), || format!("record {sequence}"))
    }

    pub(super) fn artifact(&self, digest: &Digest, place: Place) -> Result<(), String> {
        // One that was torn off and written again is found at its later place.
        match self.index.artifact(digest) {
            Ok(Some(_)) => Ok(()),
            _ => self.same(place, Ok(None), || format!("the artifact {digest}")),
        }
    }

    pub(super) fn knows(&self, digest: &Digest) -> bool {
        matches!(self.index.artifact(digest), Ok(Some(_)))
    }

    pub(super) fn proof(&self, proof: &Proof, place: Place) -> Result<(), String> {
        match proof {
            Proof::Batch(batch) if batch.first < batch.next => {
                self.same(place, self.index.batch_of(batch.first), || {
                    format!("the batch from {}", batch.first)
                })
            }
            Proof::Status(status) => {
                let found = self.index.status_after(&status.certificate, status.this_update);
                match found {
                    Ok(Some(_)) => Ok(()),
                    other => self.same(place, other, || format!("a status of {}", status.certificate)),
                }
            }
            _ => Ok(()),
        }
    }

    fn same(
        &self,
        place: Place,
        found: Result<Option<Place>, String>,
        what: impl Fn() -> String,
    ) -> Result<(), String> {
        if place >= self.reaches.place {
            return Ok(());
        }
        match found {
            Ok(Some(found)) if found == place => Ok(()),
            Ok(_) => {
                Err(format!("{} is not where the index says; remove the index, it is made again", what()))
            }
            Err(why) => Err(format!("the index cannot be read ({why}); remove it, it is made again")),
        }
    }
}
