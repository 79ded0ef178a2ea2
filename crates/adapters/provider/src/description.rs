//! A service's OpenAPI document, without the addresses behind the node (X-Road pr-mrest 5).

use serde_json::Value;

/// The members of a path item that are operations (OpenAPI 3.1, Path Item Object).
const OPERATIONS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Reads an OpenAPI 3 document in JSON and reduces every server address to its path.
///
/// # Errors
/// One sentence on what it is instead, for the provider.
pub(crate) fn hide_addresses(document: &[u8]) -> Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(document).map_err(|e| {
        format!("it is not JSON ({e}): publish the OpenAPI document as JSON, YAML is not read here")
    })?;
    let version = value.get("openapi").and_then(Value::as_str).unwrap_or_default();
    if !version.starts_with("3.") {
        return Err("its field \"openapi\" does not say version 3".to_owned());
    }
    reduce(value.get_mut("servers"));
    for group in ["paths", "webhooks"] {
        let Some(items) = value.get_mut(group).and_then(Value::as_object_mut) else { continue };
        for item in items.values_mut() {
            reduce(item.get_mut("servers"));
            for operation in OPERATIONS {
                reduce(item.get_mut(operation).and_then(|o| o.get_mut("servers")));
            }
        }
    }
    serde_json::to_vec(&value).map_err(|e| e.to_string())
}

fn reduce(servers: Option<&mut Value>) {
    for server in servers.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(Value::String(url)) = server.get_mut("url")
            && !url.contains('{')
        {
            *url = path_of(url);
        }
    }
}

/// The path of an address; a relative one stays as it is.
fn path_of(url: &str) -> String {
    let Some((_, rest)) =
        url.split_once("//").filter(|(before, _)| before.is_empty() || before.ends_with(':'))
    else {
        return url.to_owned();
    };
    rest.find('/').map_or_else(|| "/".to_owned(), |at| rest.get(at..).unwrap_or("/").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hidden_wherever_servers_are_listed() {
        let document = br#"{"openapi":"3.0.3","servers":[{"url":"http://10.0.0.5:9000/v1"},{"url":"https://inner"},{"url":"/x"},
            {"url":"//inner/y"},{"url":"https://{env}.example/z"}],
            "paths":{"/a":{"servers":[{"url":"http://h/a"}],"get":{"servers":[{"url":"http://h/b"}]}}}}"#;
        let value: Value = serde_json::from_slice(&hide_addresses(document).unwrap()).unwrap();
        let urls: Vec<&str> =
            value["servers"].as_array().unwrap().iter().map(|s| s["url"].as_str().unwrap()).collect();
        assert_eq!(urls, ["/v1", "/", "/x", "/y", "https://{env}.example/z"]);
        assert_eq!(value["paths"]["/a"]["servers"][0]["url"], "/a");
        assert_eq!(value["paths"]["/a"]["get"]["servers"][0]["url"], "/b");
    }

    #[test]
    fn what_is_no_openapi_3_in_json_is_told() {
        assert!(hide_addresses(b"openapi: 3.0.3\n").unwrap_err().contains("YAML"));
        assert!(hide_addresses(br#"{"swagger":"2.0"}"#).unwrap_err().contains("version 3"));
    }
}
