//! What a registry may send, and be sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use truc_directory::SignedHead;
use truc_model::Digest;
use truc_wire::registry as wire;

fn stable<M: Message + Default + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<M> {
    let read = M::decode(bytes).ok()?;
    let again = M::decode(read.encode_to_vec().as_slice()).expect("what is written is read");
    assert!(again == read, "{read:?}");
    Some(read)
}

fuzz_target!(|data: &[u8]| {
    if let Some(update) = stable::<wire::HeadUpdate>(data)
        && let Ok(signed) = SignedHead::parse(&update.signed_head)
    {
        assert_eq!(SignedHead::parse(&signed.to_bytes()).as_ref(), Ok(&signed));
        let _ = signed.unverified();
    }
    if let Some(request) = stable::<wire::PartsRequest>(data) {
        let _ = request.digests.iter().filter_map(|d| Digest::from_slice(d)).count();
    }
    let _ = stable::<wire::Part>(data);
    let _ = stable::<wire::WatchRequest>(data);
});
