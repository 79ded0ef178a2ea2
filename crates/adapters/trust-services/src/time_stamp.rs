//! Time-stamps from one authority (RFC 3161 §3.4: HTTP).

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use truc_trust::timestamp::{SIZE_LIMIT, TimeStampSource, TimeStampSourceError};

use crate::http_client::HttpClient;

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(3);

/// Asks time-stamp authorities over HTTP; one request at a time is what its user sends.
pub struct TimeStampHttp(HttpClient);

impl TimeStampHttp {
    /// A client of its own; connections to an authority are kept open for 30 s.
    pub fn new() -> Self {
        Self(HttpClient::new(CONNECT))
    }
}

impl Default for TimeStampHttp {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl TimeStampSource for TimeStampHttp {
    async fn fetch(
        &self,
        url: &str,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TimeStampSourceError> {
        let answer = self.0.fetch_of_type(url, Some((QUERY, request)), Some(REPLY), deadline, SIZE_LIMIT);
        answer.await.map_err(TimeStampSourceError)
    }
}
