//! The port behind which bodies wait that are too big for memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::body::KeptBody;

/// Why a body could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// No room; it comes back by itself when other bodies have passed.
    #[error("the spool has no room for this body")]
    Full,
    /// The disk refused; the operator's text says what.
    #[error("the spool failed: {0}")]
    Failed(String),
}

/// Keeps bodies that are too big for memory while an exchange needs them, unreadable to anybody else. Nothing of them
/// outlives the process.
#[async_trait]
pub trait Spool: Send + Sync {
    /// Begins a body, of the length that is announced, if one is.
    ///
    /// # Errors
    /// [`SpoolError`].
    async fn begin(&self, announced: Option<u64>) -> Result<Box<dyn SpoolWriter>, SpoolError>;
}

/// A body on its way into the spool. Dropping it gives its room back.
#[async_trait]
pub trait SpoolWriter: Send {
    /// Takes the next piece.
    ///
    /// # Errors
    /// [`SpoolError`]; the body is lost then.
    async fn write(&mut self, piece: Bytes) -> Result<(), SpoolError>;
    /// The whole body; dropping the last holder gives its room back.
    ///
    /// # Errors
    /// [`SpoolError`].
    async fn finish(self: Box<Self>) -> Result<Arc<dyn KeptBody>, SpoolError>;
}

/// The spool of a process that takes no big bodies.
#[derive(Debug, Clone, Copy)]
pub struct NoSpool;

#[async_trait]
impl Spool for NoSpool {
    async fn begin(&self, _announced: Option<u64>) -> Result<Box<dyn SpoolWriter>, SpoolError> {
        Err(SpoolError::Full)
    }
}
