//! The request line at the edge: `METHOD address`.
#![no_main]

use http::{Method, Uri};
use libfuzzer_sys::fuzz_target;
use truc_edge::fuzzing::{call, node, written};

fuzz_target!(|line: &str| {
    let Some((method, uri)) = line.split_once(' ') else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let Ok(uri) = uri.parse::<Uri>() else { return };
    match call(&method, &uri) {
        Ok(Some((service, path, query))) => {
            let question = if query.is_some() { "?" } else { "" };
            let text = query.as_ref().map_or("", |q| q.as_str());
            let again = format!("/r1/{}{}{question}{text}", written(&service), path.as_str());
            let uri = again.parse::<Uri>().expect("what is forwarded is an address");
            assert_eq!(call(&method, &uri).expect("one form"), Some((service, path, query)), "{again}");
        }
        Ok(None) => {}
        Err(fault) => assert!(fault.detail.len() < 2000, "{}", fault.detail.len()),
    }
    let _ = node(uri.path());
});
