//! What information systems may fetch of their own exchanges: containers, and the directory that checks them.

use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::spawn_blocking;
use truc_directory::part;
use truc_edge::{Document, DocumentError, DocumentQuestion, EdgeEvidence, Wanted, file_name};
use truc_evidence::container::{self, ExportError, SIZE_LIMIT};
use truc_evidence::{EvidenceStore, ProofStore, Query, Role, StoreError, StoredRecord};
use truc_exchange::ports::CurrentDirectory;
use truc_model::{MessageId, SubsystemId};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// Most exchanges in one answer.
const MOST: usize = 100;

/// The folder in the ZIP of `/verificationconf`, as in X-Road's.
const FOLDER: &str = "verificationconf";

const README: &str = "\
# Kiểm tra ngoại tuyến hồ sơ tải từ /asic / checking offline what /asic gives out
#
#   truc verify HO-SO.asice --anchor verificationconf/anchor.json
#
# Tệp neo này chỉ đáng tin như kết nối đã đưa nó tới: so sánh với tệp neo nhận trực tiếp từ đơn vị vận hành sổ đăng ký.
# This anchor is worth as much as the connection it came by: compare it with the one that the registry's operator gives out.
#
# head.json, root-*.json, trust.json, parts/: danh bạ đã ký, đang có hiệu lực / the signed directory in force.
# Mỗi hồ sơ mang theo danh bạ của thời điểm trao đổi; không cần công cụ nào khác ngoài openssl và unzip: META-INF/notes/README.txt.
# Each container carries the directory of its own time; openssl and unzip are enough, see META-INF/notes/README.txt in it.
";

/// The node's evidence behind the edge.
pub(crate) struct NodeEvidence {
    pub(crate) instance: String,
    pub(crate) anchor_file: PathBuf,
    pub(crate) hosted: Vec<SubsystemId>,
    pub(crate) directory: Arc<dyn CurrentDirectory>,
    pub(crate) evidence: Arc<dyn EvidenceStore>,
    pub(crate) proofs: Arc<dyn ProofStore>,
}

fn told(error: impl std::fmt::Display) -> DocumentError {
    DocumentError::Failed(error.to_string())
}

fn stored(error: StoreError) -> DocumentError {
    if error == StoreError::NotFound { DocumentError::NotFound } else { told(error) }
}

fn exported(error: ExportError) -> DocumentError {
    match error {
        ExportError::NotFound(_) => DocumentError::NotFound,
        ExportError::Store(error) => stored(error),
        ExportError::TooLarge => DocumentError::TooMuch,
        ExportError::Missing { .. } | ExportError::Damaged { .. } => told(error),
    }
}

/// Whether the subsystem took part on this node: as the caller of its consumer side, or behind its provider side.
fn took_part(record: &StoredRecord, subsystem: &SubsystemId) -> bool {
    match record.local.role {
        Role::Consumer => record.local.client == *subsystem,
        Role::Provider => record.local.service.subsystem() == *subsystem,
    }
}

impl NodeEvidence {
    /// The bus's id in what a caller may write for it: itself, or the `X-Road-Id` that the edge made of it.
    fn own_id(&self, query_id: &str) -> Option<MessageId> {
        let made = query_id.strip_prefix(&self.instance).and_then(|rest| rest.strip_prefix('-'));
        made.unwrap_or(query_id).parse().ok()
    }

    /// The exchanges that bear the id and in which the subsystem took part here, newest first.
    async fn exchanges(&self, question: &DocumentQuestion) -> Result<Vec<MessageId>, DocumentError> {
        let query = Query { caller_id: Some(question.query_id.clone()), ..Query::default() };
        let found = self.evidence.list(query).await.map_err(stored)?;
        let mut ids: Vec<MessageId> = found.exchanges.into_iter().map(|exchange| exchange.id).collect();
        ids.extend(self.own_id(&question.query_id).filter(|id| !ids.contains(id)));
        let mut own = Vec::new();
        for id in ids {
            let records = self.evidence.exchange(id).await.map_err(stored)?;
            if records.iter().any(|record| took_part(record, &question.client)) {
                own.push(id);
            }
        }
        Ok(own)
    }

    async fn of_exchange(
        &self,
        id: MessageId,
        question: &DocumentQuestion,
    ) -> Result<Vec<Document>, DocumentError> {
        let (evidence, proofs) = (self.evidence.as_ref(), self.proofs.as_ref());
        let exchange = container::collect_proved(evidence, proofs, id).await.map_err(exported)?;
        let stem = file_name(&question.query_id);
        let text = id.to_string();
        // As X-Road, ten characters tell apart what bears one id; the last of an id are random.
        let tail = text.get(text.len().saturating_sub(10)..).unwrap_or_default().to_owned();
        let wanted = question.wanted;
        let writing = spawn_blocking(move || {
            let mut documents = Vec::new();
            let mut put = |kind: &str, exchange: &container::Exchange| {
                let container = container::write(exchange).map_err(exported)?.into();
                documents.push(Document { name: format!("{stem}-{kind}-{tail}.asice"), container });
                Ok::<_, DocumentError>(())
            };
            if wanted != Wanted::Response {
                put("request", &exchange.clone().request_only())?;
            }
            if wanted != Wanted::Request && exchange.is_answered() {
                put("response", &exchange)?;
            }
            Ok(documents)
        });
        writing.await.map_err(told)?
    }
}

#[async_trait]
impl EdgeEvidence for NodeEvidence {
    async fn verification(&self) -> Result<Bytes, DocumentError> {
        let directory = self.directory.current().ok_or_else(|| told("the node has no directory yet"))?;
        let anchor_file = self.anchor_file.clone();
        let writing = spawn_blocking(move || {
            let anchor = std::fs::read(&anchor_file).map_err(told)?;
            let raw = directory.raw();
            let mut files: Vec<(String, Bytes)> = vec![
                ("README.txt".to_owned(), Bytes::from_static(README.as_bytes())),
                ("anchor.json".to_owned(), anchor.into()),
                ("head.json".to_owned(), raw.signed_head().clone()),
            ];
            let roots = (1..).zip(raw.root_chain());
            files.extend(roots.map(|(n, root): (u32, _)| (format!("root-{n}.json"), root.clone())));
            for (name, digest, bytes) in raw.parts() {
                let name = if name == part::TRUST {
                    "trust.json".to_owned()
                } else {
                    format!("parts/{digest}.json")
                };
                files.push((name, bytes.clone()));
            }
            let files = files.into_iter().map(|(name, bytes)| (format!("{FOLDER}/{name}"), bytes));
            archive(&files.collect::<Vec<_>>())
        });
        writing.await.map_err(told)?
    }

    async fn documents(&self, question: DocumentQuestion) -> Result<Vec<Document>, DocumentError> {
        if !self.hosted.contains(&question.client) {
            return Err(DocumentError::NotFound);
        }
        let exchanges = self.exchanges(&question).await?;
        if exchanges.len() > MOST {
            return Err(DocumentError::TooMuch);
        }
        let mut documents = Vec::new();
        let mut total = 0;
        for id in exchanges {
            let more = self.of_exchange(id, &question).await?;
            total += more.iter().map(|document| document.container.len() as u64).sum::<u64>();
            if total > SIZE_LIMIT {
                return Err(DocumentError::TooMuch);
            }
            documents.extend(more);
        }
        if documents.is_empty() { Err(DocumentError::NotFound) } else { Ok(documents) }
    }

    async fn zip(&self, documents: Vec<Document>) -> Result<Bytes, DocumentError> {
        let files: Vec<_> = documents.into_iter().map(|d| (d.name, d.container)).collect();
        spawn_blocking(move || archive(&files)).await.map_err(told)?
    }
}

/// A ZIP with fixed times: what is in it is signed, or compresses little.
fn archive(files: &[(String, Bytes)]) -> Result<Bytes, DocumentError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let total: usize = files.iter().map(|(name, bytes)| 2 * name.len() + bytes.len() + 128).sum();
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(total)));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), options).map_err(told)?;
        zip.write_all(bytes).map_err(told)?;
    }
    Ok(zip.finish().map_err(told)?.into_inner().into())
}
