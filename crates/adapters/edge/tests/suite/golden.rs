//! The published test vector of `X-Road-Request-Hash`.

use serde::Deserialize;
use truc_edge::request_hash::{BodyHash, block, request_hash};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    request_id: String,
    generated_id: Option<String>,
    body: String,
    block: String,
    hash: String,
}

#[test]
fn the_request_hash_of_version_1() {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../golden/request-hash-v1.json")).unwrap();
    assert_eq!(vectors.len(), 2);
    for v in vectors {
        let fields: Vec<_> = v.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect();
        let bytes = block(&v.method, &v.target, &fields, &v.request_id, v.generated_id.as_deref());
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), v.block, "{}", v.name);
        assert_eq!(request_hash(&bytes, BodyHash::of(v.body.as_bytes())), v.hash, "{}", v.name);
    }
}
