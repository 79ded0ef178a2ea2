//! One file per family of verbs.

pub(crate) mod access;
mod access_check;
mod access_succession;
pub(crate) mod call;
pub(crate) mod code_lists;
pub(crate) mod demo;
pub(crate) mod evidence;
mod evidence_archive;
mod evidence_audit;
mod evidence_disk;
mod evidence_export;
mod evidence_fsck;
mod evidence_hold;
mod evidence_list;
mod evidence_retention;
mod evidence_rotate;
mod evidence_subject;
mod files;
pub(crate) mod node;
mod node_apply;
mod node_backup;
mod node_enroll;
mod node_request;
mod node_status;
pub(crate) mod pki;
pub(crate) mod register;
pub(crate) mod registry;
pub(crate) mod registry_backup;
pub(crate) mod registry_codes;
mod registry_member;
mod registry_node;
mod registry_request;
pub(crate) mod registry_root;
pub(crate) mod registry_trust;
pub(crate) mod service;
mod service_endpoints;
mod target;
pub(crate) mod verify;

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use truc_model::{Clock, SystemClock};

/// The machine's clock, for what needs one.
fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// Reads a small file off the runtime's threads.
async fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    tokio::fs::read(path).await.with_context(|| path.display().to_string())
}

/// Runs what blocks off the runtime's threads.
async fn blocking<T: Send + 'static, E: std::error::Error + Send + Sync + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

/// For clap: a duration with its unit.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    truc_node::config::parse_duration(text)
        .ok_or_else(|| "write a number with a unit, like 90s, 10m or 1h".to_owned())
}

/// For clap: how long a provider's system may take.
fn service_timeout(text: &str) -> Result<std::time::Duration, String> {
    let span = duration(text)?;
    if span.is_zero() || span > truc_policy::MAX_TIMEOUT {
        return Err(format!(
            "write a duration longer than 0, at most {}s",
            truc_policy::MAX_TIMEOUT.as_secs()
        ));
    }
    Ok(span)
}

/// For clap: `host:port` as others call it.
fn host_port(text: &str) -> Result<String, String> {
    truc_directory::check_address(text).map(|()| text.to_owned())
}

/// For clap: a size with its unit.
fn max_body(text: &str) -> Result<u64, String> {
    let size = truc_node::config::parse_size(text).filter(|size| *size <= truc_policy::MAX_BODY);
    size.ok_or_else(|| {
        "write a number with a unit (B, KiB, MiB, GiB), like 512 KiB or 16 MiB, at most 1024 GiB".to_owned()
    })
}
