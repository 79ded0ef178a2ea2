//! The signed bytes: an ETSI ASiC manifest naming header and body by SHA-256 (protocol P2.1, ETSI EN 319 162-1 A.4).
//!
//! Names are signed, so they are unique across the messages of one container from the start. The manifest is never
//! sent: both sides write it with [`write`], and any difference in header or body is a difference in its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use truc_model::{Digest, MessageId};

use crate::header::Kind;

/// Where the parts of one message lie in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// `<kind>-<id>/header.json`
    pub header: String,
    /// `<kind>-<id>/body.bin`
    pub body: String,
    /// `META-INF/ASiCManifest-<kind>-<id>.xml`
    pub manifest: String,
    /// `META-INF/signature-<kind>-<id>.p7s`
    pub signature: String,
}

/// The names of the message `id` of `kind`.
pub fn names(kind: Kind, id: MessageId) -> Names {
    let stem = format!("{}-{id}", kind.as_str());
    Names {
        header: format!("{stem}/header.json"),
        body: format!("{stem}/body.bin"),
        manifest: format!("META-INF/ASiCManifest-{stem}.xml"),
        signature: format!("META-INF/signature-{stem}.p7s"),
    }
}

/// Writes the manifest; the same input gives the same bytes on every node for ever.
pub fn write(kind: Kind, id: MessageId, header: Digest, body: Digest) -> Vec<u8> {
    let names = names(kind, id);
    let object = |uri: &str, media: &str, digest: Digest| {
        format!(
            "<asic:DataObjectReference MimeType=\"{media}\" URI=\"{uri}\">\
             <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/>\
             <ds:DigestValue>{}</ds:DigestValue></asic:DataObjectReference>",
            STANDARD.encode(digest.as_bytes())
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <asic:ASiCManifest xmlns:asic=\"http://uri.etsi.org/02918/v1.2.1#\" \
         xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">\
         <asic:SigReference MimeType=\"application/pkcs7-signature\" URI=\"{}\"/>{}{}</asic:ASiCManifest>\n",
        names.signature,
        object(&names.header, "application/json", header),
        object(&names.body, "application/octet-stream", body),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use truc_model::Timestamp;

    #[test]
    fn the_golden_manifest_of_version_1() {
        let id = MessageId::new(Timestamp::from_millis(1_795_230_245_678), [7; 10]);
        let bytes = write(Kind::Request, id, Digest::of(b"header"), Digest::of(b"body"));
        let golden = include_str!("../tests/golden/manifest-v1.xml");
        assert_eq!(String::from_utf8(bytes).unwrap(), golden);
    }
}
