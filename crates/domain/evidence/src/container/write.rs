//! Writes the container: a ZIP with fixed times and an order of its own, so that the same exchange gives the same bytes.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use bytes::Bytes;
use truc_model::Digest;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use super::collect::{Exchange, ExportError};
use super::notes::{FileNote, Notes, VERSION};
use super::stamped::Group;
use super::{SIZE_LIMIT, names, readme};

/// Writes the container of `exchange`.
///
/// Entries are stored, not deflated: then the bytes do not depend on a compressor's version.
///
/// # Errors
/// [`ExportError::TooLarge`] past [`SIZE_LIMIT`].
pub fn write(exchange: &Exchange) -> Result<Vec<u8>, ExportError> {
    let mut entries: Vec<(String, Bytes)> =
        vec![(names::MIMETYPE.to_owned(), Bytes::from_static(names::MEDIA_TYPE.as_bytes()))];
    for message in &exchange.messages {
        let named = message.note.names();
        entries.push((named.header, message.header.clone()));
        if let Some(body) = &message.body {
            entries.push((named.body, body.clone()));
        }
        entries.push((named.manifest, message.manifest.clone()));
        entries.push((named.signature, message.cms.clone()));
    }
    let mut notes = Notes {
        v: VERSION,
        request: exchange.request,
        records: exchange.records.clone(),
        heads: exchange.heads.iter().map(|(note, ..)| note.clone()).collect(),
        files: vec![],
    };
    let supporting = supporting(exchange, &notes);
    notes.files = supporting
        .iter()
        .map(|(name, bytes)| FileNote { name: name.clone(), sha256: Digest::of(bytes) })
        .collect();
    entries.extend(supporting);
    let files: BTreeMap<String, Bytes> = entries.iter().cloned().collect();
    let readme = readme::text(&notes, &files).map_err(|why| ExportError::Damaged { sequence: 0, why })?;
    entries.push((names::RECORDS.to_owned(), notes.to_bytes().into()));
    entries.push((names::README.to_owned(), readme.into()));
    zip(&entries)
}

/// The supporting files, with the evidence records and heads that the notes claim.
fn supporting(exchange: &Exchange, notes: &Notes) -> BTreeMap<String, Bytes> {
    let mut files = exchange.supporting.clone();
    for (note, text, token) in &exchange.heads {
        files.insert(names::log_head(note.head), text.clone());
        files.insert(names::token(note.head), token.clone());
    }
    for record in &exchange.records {
        let message = exchange.messages.iter().find(|m| Some(m.note) == record.message);
        let ers = exchange.evidence_records.get(&record.sequence);
        let (Some(message), Some(ers), Some(named)) = (message, ers, notes.evidence_record(record)) else {
            continue;
        };
        let signed = message.note.names();
        let group = Group {
            manifest: (&signed.manifest, Digest::of(&message.manifest)),
            signature: (&signed.signature, Digest::of(&message.cms)),
            statuses: &record.statuses,
        };
        files.insert(named.manifest, group.manifest_of(&named.record).into());
        files.insert(named.record, ers.clone());
    }
    files
}

fn zip(entries: &[(String, Bytes)]) -> Result<Vec<u8>, ExportError> {
    let total: usize = entries.iter().map(|(name, bytes)| 2 * name.len() + bytes.len() + 128).sum();
    if u64::try_from(total).unwrap_or(u64::MAX) > SIZE_LIMIT || entries.len() > super::ENTRIES_LIMIT {
        return Err(ExportError::TooLarge);
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(total)));
    for (name, bytes) in entries {
        // Writing to memory within the limits of plain ZIP leaves no other failure.
        zip.start_file(name.as_str(), options).map_err(|_| ExportError::TooLarge)?;
        zip.write_all(bytes).map_err(|_| ExportError::TooLarge)?;
    }
    Ok(zip.finish().map_err(|_| ExportError::TooLarge)?.into_inner())
}

/// A certificate in PEM.
pub(super) fn pem(der: &[u8]) -> String {
    truc_trust::pem("CERTIFICATE", der)
}
