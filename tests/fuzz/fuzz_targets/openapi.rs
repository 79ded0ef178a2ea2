//! OpenAPI documents of services, JSON and YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truc_policy::OpenApi;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = OpenApi::parse(bytes) else { return };
    let found = document.operations();
    if let Ok(found) = &found {
        assert!(found.endpoints.len() <= 2000 && found.notes.len() <= 51);
        assert!(found.endpoints.iter().all(|e| e.generated));
        assert!(found.notes.iter().all(|n| n.len() < 2000 && !n.chars().any(char::is_control)));
    }
    // What callers are shown is the same document, and stays as it is when it is reduced again.
    let media = document.media_type();
    let Ok(shown) = document.clone().without_addresses() else { return };
    let again = OpenApi::parse(shown.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{shown}"));
    assert_eq!(again.media_type(), media, "{shown}");
    assert_eq!(again.operations(), found, "{shown}");
    assert_eq!(again.without_addresses().as_deref(), Ok(shown.as_str()));
});
