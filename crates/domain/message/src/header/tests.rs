//! Headers that are, and many that are not.

use super::*;

pub(crate) fn request() -> Header {
    let sent: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
    Header {
        v: VERSION,
        kind: Kind::Request,
        id: MessageId::new(sent, [7; 10]),
        instance: "VN".into(),
        client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
        service: "VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan".parse().unwrap(),
        from: "VN/GOV/H26/ss1".parse().unwrap(),
        to: "VN/GOV/G01/ss1".parse().unwrap(),
        directory: DirectoryRef { epoch: 1, version: 7 },
        sent,
        expires: sent.plus(std::time::Duration::from_secs(60)),
        method: Some("POST".into()),
        path: Some("/cong-dan/tra-cuu".into()),
        query: None,
        headers: vec![
            HeaderField::plain("Accept", b"application/json"),
            HeaderField::plain("x-raw", &[0xff, 0xfe]),
        ],
        user_id: Some("cb-0123".into()),
        agency: None,
        purpose: Some("1.004194".into()),
        legal_basis: None,
        consent: None,
        represented_party: None,
        issue: None,
        client_message_id: None,
        idempotency_key: None,
        trace: None,
        body: Some(BodyInfo { media_type: Some("application/json".into()), length: Some(2) }),
        status: None,
        in_reply_to: None,
        leaf: None,
    }
}

#[test]
fn the_golden_header_of_version_1() {
    let golden = include_bytes!("../../tests/golden/request-header-v1.json");
    assert_eq!(String::from_utf8(request().to_bytes().unwrap()).unwrap(), String::from_utf8_lossy(golden));
    assert_eq!(Header::parse(golden).unwrap(), request());
}

#[test]
fn unknown_repeated_and_missing_keys_are_refused() {
    let text = String::from_utf8(request().to_bytes().unwrap()).unwrap();
    for changed in [
        text.replacen('{', "{\"new\":1,", 1),
        text.replacen('{', "{\"purpose\":\"x\",", 1),
        text.replace("\"method\":\"POST\",", ""),
        text.replace("\"v\":1", "\"v\":2"),
        text.replace("SUBSYSTEM:", "NODE:"),
        text.replace("NODE:VN/GOV/G01", "NODE:XX/GOV/G01"),
        text.replace("\"value\":\"application/json\"", "\"value\":\"a\\r\\nb: c\""),
        text.replace("/cong-dan/tra-cuu", "/cong-dan/../x"),
        format!("{text} {{}}"),
    ] {
        assert!(Header::parse(changed.as_bytes()).is_err(), "{changed}");
    }
    assert_eq!(
        Header::parse(text.replace("\"v\":1", "\"v\":9").as_bytes()),
        Err(MalformedHeader::Version(9))
    );
}

/// The values of an object in order: what serde takes for the struct itself.
fn as_list(object: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(object).unwrap();
    serde_json::Value::from_iter(value.as_object().unwrap().values().cloned()).to_string()
}

#[test]
fn a_header_has_one_form() {
    let answer = Header {
        kind: Kind::Response,
        method: None,
        path: None,
        status: Some(200),
        in_reply_to: Some(InReplyTo { id: request().id, digest: Digest([1; 32]) }),
        leaf: Some(Leaf { index: 3, hash: Digest([2; 32]) }),
        ..request()
    };
    for good in [request(), answer.clone(), Header { headers: vec![], ..request() }] {
        assert_eq!(Header::parse(&good.to_bytes().unwrap()).unwrap(), good);
    }
    let text = String::from_utf8(answer.to_bytes().unwrap()).unwrap();
    assert!(Header::parse(text.replacen('{', "{\"headers\":[],", 1).as_bytes()).is_err(), "twice");
    let first = r#"{"name":"accept","value":"application/json"}"#;
    let body = r#"{"mediaType":"application/json","length":2}"#;
    let directory = r#"{"epoch":1,"version":7}"#;
    let reply = serde_json::to_string(&answer.in_reply_to).unwrap();
    let leaf = serde_json::to_string(&answer.leaf).unwrap();
    for (place, other) in [
        (first, r#"["accept","application/json",null,null]"#.to_owned()),
        (first, r#"["accept","application/json"]"#.to_owned()),
        (first, r#"{"name":"accept","value":"application/json","base64":null}"#.to_owned()),
        (body, r#"["application/json",2]"#.to_owned()),
        (body, "[]".to_owned()),
        (body, "null".to_owned()),
        (body, r#"{"mediaType":null,"length":2}"#.to_owned()),
        (directory, "[1,7]".to_owned()),
        (&reply, format!("[\"{}\",\"{}\"]", request().id, Digest([1; 32]))),
        (&leaf, as_list(&leaf)),
        (r#""response""#, r#"{"response":null}"#.to_owned()),
        (r#""purpose":"#, r#""consent":null,"purpose":"#.to_owned()),
    ] {
        let changed = text.replace(place, &other);
        assert_ne!(changed, text, "{place}");
        let refused = Header::parse(changed.as_bytes());
        assert!(matches!(refused, Err(MalformedHeader::Json(_))), "{changed}: {refused:?}");
    }
    for whole in ["[]", "[1]", "null", "1", "\"x\"", &format!("[{text}]")] {
        assert!(matches!(Header::parse(whole.as_bytes()), Err(MalformedHeader::Json(_))), "{whole}");
    }
    let mut values = vec![serde_json::json!(1), serde_json::json!("request")];
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in ["id", "instance", "client", "service", "from", "to", "directory", "sent", "expires"] {
        values.push(parsed[key].clone());
    }
    values.extend([serde_json::json!("GET"), serde_json::json!("/x")]);
    let listed = serde_json::Value::from(values).to_string();
    assert!(Header::parse(listed.as_bytes()).is_err(), "{listed}");
}

#[test]
fn a_secret_in_clear_is_no_header() {
    for name in ["authorization", "cookie", "set-cookie", "proxy-x"] {
        let mut header = request();
        header.headers = vec![HeaderField::plain(name, b"Bearer s")];
        assert!(header.to_bytes().is_err(), "{name}");
        let sent = serde_json::to_vec(&header).unwrap();
        let refused = Header::parse(&sent).unwrap_err();
        assert!(matches!(refused, MalformedHeader::Field { field: "headers", .. }), "{refused}");
        assert!(!refused.to_string().contains("Bearer"), "{refused}");
        header.headers = vec![HeaderField::plain(name, &[0xff])];
        assert!(header.to_bytes().is_err(), "{name} in base64");
        header.headers = vec![HeaderField::hidden(name, Digest([1; 32]))];
        assert_eq!(Header::parse(&header.to_bytes().unwrap()).unwrap(), header);
    }
}
