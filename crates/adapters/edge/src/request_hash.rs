//! `X-Road-Request-Hash`: lets an information system check which request an answer belongs to (protocol P10.1, X-Road
//! pr-rest 4.3).
//!
//! ```text
//! block = METHOD CRLF
//!         /r1/{service}{path}[?query] CRLF           the service id's five parts, the canonical path, the query as sent
//!         name:value CRLF ...                         each field that this node forwarded: names in lower case, grouped by
//!                                                     first appearance, values as received
//!         x-road-request-id:{id} CRLF
//!         x-road-id:{instance}-{id} CRLF              only when the caller sent none and the node made it
//! hash  = base64(SHA-512(SHA-512(block) ‖ SHA-512(body)))      with a body
//!         base64(SHA-512(block))                               without one (no bytes)
//! ```
//!
//! Left out of the block, because they end at the node: `connection`, what it names, `keep-alive`, `proxy-*` credentials, `te`,
//! `trailer`, `transfer-encoding`, `upgrade`, `host`, `user-agent`, `server`, `content-length`, `expect`, and a caller's own
//! `x-road-request-id`, `x-road-request-hash`, `x-road-service`, `x-road-error`.
//!
//! The published test vector is `tests/golden/request-hash-v1.json` of this crate; it was computed by another program.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA512, digest};

/// SHA-512 over a body; `None` when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHash(Option<[u8; 64]>);

fn sha512(bytes: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(digest(&SHA512, bytes).as_ref());
    out
}

impl BodyHash {
    /// Hashes a body once, before it is sent.
    pub fn of(body: &[u8]) -> Self {
        Self((!body.is_empty()).then(|| sha512(body)))
    }
}

/// Hashes a body that comes piece by piece.
pub(crate) struct BodyHasher {
    context: Context,
    any: bool,
}

impl Default for BodyHasher {
    fn default() -> Self {
        Self { context: Context::new(&SHA512), any: false }
    }
}

impl BodyHasher {
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
        self.any |= !piece.is_empty();
    }
    /// The hash of what has come so far.
    pub(crate) fn hash(&self) -> BodyHash {
        let mut out = [0; 64];
        out.copy_from_slice(self.context.clone().finish().as_ref());
        BodyHash(self.any.then_some(out))
    }
}

/// The bytes that stand for the request's head. `fields` have lower-case names.
pub fn block(
    method: &str,
    target: &str,
    fields: &[(String, Vec<u8>)],
    request_id: &str,
    generated_id: Option<&str>,
) -> Vec<u8> {
    let mut block = Vec::with_capacity(1024);
    let mut put = |pieces: &[&[u8]]| {
        for piece in pieces {
            block.extend_from_slice(piece);
        }
        block.extend_from_slice(b"\r\n");
    };
    put(&[method.as_bytes()]);
    put(&[target.as_bytes()]);
    for (name, value) in fields {
        put(&[name.as_bytes(), b":", value]);
    }
    put(&[b"x-road-request-id:", request_id.as_bytes()]);
    if let Some(id) = generated_id {
        put(&[b"x-road-id:", id.as_bytes()]);
    }
    block
}

/// The header's value.
pub fn request_hash(block: &[u8], body: BodyHash) -> String {
    let head = sha512(block);
    match body.0 {
        None => STANDARD.encode(head),
        Some(body) => {
            let mut both = Context::new(&SHA512);
            both.update(&head);
            both.update(&body);
            STANDARD.encode(both.finish())
        }
    }
}
