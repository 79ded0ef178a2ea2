//! Services, rights and policy events, as they lie in journals and come through the admin API.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use truc_evidence::Decision;
use truc_policy::{LocalGroup, PolicyEvent, Right, RightId, ServiceDefinition, Subject};

fn stable<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what is written is read"), read);
    Some(read)
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(service) = stable::<ServiceDefinition>(bytes)
        && service.check().is_ok()
    {
        assert!(service.timeout <= truc_policy::MAX_TIMEOUT && service.endpoints.len() <= 2000);
    }
    if let Some(event) = stable::<PolicyEvent>(bytes) {
        assert_eq!(PolicyEvent::from_parts(event.kind(), &event.payload()), Some(Ok(event)));
    }
    if let Ok(decision) = serde_json::from_slice::<Decision>(bytes) {
        let _ = PolicyEvent::from_parts(&decision.kind, &decision.payload);
    }
    if let Ok(Value::Object(map)) = serde_json::from_slice(bytes) {
        for kind in PolicyEvent::KINDS {
            let _ = PolicyEvent::from_parts(kind, &Value::Object(map.clone()));
        }
    }
    let _ = stable::<Right>(bytes);
    let _ = serde_json::from_slice::<LocalGroup>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(subject) = text.parse::<Subject>() {
            assert_eq!(subject.to_string().parse::<Subject>().as_ref(), Ok(&subject));
        }
        if let Ok(id) = text.parse::<RightId>() {
            assert_eq!(id.to_string(), text);
        }
    }
});
