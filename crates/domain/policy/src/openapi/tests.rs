use proptest::prelude::*;

use super::*;

fn listed(document: &str) -> Vec<String> {
    let found = OpenApi::parse(document.as_bytes()).unwrap().operations().unwrap();
    found.endpoints.iter().map(|e| format!("{} {}", e.method, e.path.as_str())).collect()
}

const YAML: &str = r#"# comment
openapi: 3.1.0
info: &i {title: Tra cứu, version: "1.0"}
servers:
  - url: https://10.0.0.5:8443/api/v1
  - {url: "https://{env}.example/z"}
paths:
  /cong-dan/{id}:
    servers: [{url: "http://inner/b"}]
    get:
      responses:
        200: {description: 'có: dấu'}
        default: {description: no}
    x-ignored: *i
  /cong-dan: {post: {responses: {}}, parameters: []}
"#;

#[test]
fn endpoints_are_read_from_json_and_yaml() {
    assert_eq!(listed(YAML), ["GET /cong-dan/*", "POST /cong-dan"]);
    let json = r#"{"openapi":"3.0.3","paths":{"/a/{b}":{"get":{},"trace":{},"summary":"x"},"/a/{c}":{"get":{}},"x-y":{"get":{}}}}"#;
    assert_eq!(listed(json), ["GET /a/*", "TRACE /a/*"]);
    assert_eq!(listed("openapi: 3.1\npaths: {/x: {get: {}}}"), ["GET /x"]);
    assert!(OpenApi::parse(YAML.as_bytes()).unwrap().operations().unwrap().endpoints[0].generated);
}

#[test]
fn what_cannot_be_listed_is_told() {
    let document = r##"{"openapi":"3.1.0","paths":{"/a":{"$ref":"#/components/pathItems/A","put":{}},"b":{"get":{}},"/{c":{},"/d":1}}"##;
    let found = OpenApi::parse(document.as_bytes()).unwrap().operations().unwrap();
    assert_eq!(found.endpoints.len(), 1);
    assert_eq!(found.notes.len(), 4, "{:?}", found.notes);
    assert!(found.notes[0].contains("#/components/pathItems/A"));
    let none = OpenApi::parse(b"{\"openapi\":\"3.1.0\"}").unwrap().operations().unwrap();
    assert!(none.endpoints.is_empty() && none.notes.len() == 1);
}

#[test]
fn other_documents_are_refused_by_name() {
    let refused = |text: &str| OpenApi::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused(r#"{"swagger":"2.0"}"#), DescriptionError::Swagger("2.0".into()));
    assert_eq!(refused("swagger: '2.0'"), DescriptionError::Swagger("2.0".into()));
    for other in ["3.2.0", "2.0", "4.0", "3", "3.10.1", "x"] {
        let got = refused(&format!("{{\"openapi\":\"{other}\"}}"));
        assert_eq!(got, DescriptionError::Version(other.into()));
    }
    for other in ["{}", "[]", "x", "", "openapi: [3.0.0]"] {
        let got = refused(other);
        let told = got == DescriptionError::NotOpenApi || matches!(got, DescriptionError::Unreadable { .. });
        assert!(told, "{other}: {got}");
    }
    for broken in ["{", "{\"a\":1,\"a\":2}", "a: 1\na: 2", "a: *x", "a: 1\n---\nb: 2", "\u{0}"] {
        assert!(
            matches!(refused(broken), DescriptionError::Unreadable { .. }),
            "{broken}: {}",
            refused(broken)
        );
    }
    let large = vec![b' '; DESCRIPTION_LIMIT + 1];
    assert_eq!(OpenApi::parse(&large), Err(DescriptionError::TooLarge));
}

#[test]
fn bombs_are_refused() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let of = format!("*a{}", n - 1);
        aliases.push_str(&format!("a{n}: &a{n} [{}]\n", [of.as_str(); 9].join(", ")));
    }
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 4_000].join(", "));
    let deep_json = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let deep_yaml = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    let deep_blocks: String = (0..300).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let many = format!("{{\"a\":[{}1]}}", "1,".repeat(600_000));
    for bomb in [aliases, long, deep_json, deep_yaml, deep_blocks, many] {
        let got = OpenApi::parse(bomb.as_bytes());
        assert!(matches!(got, Err(DescriptionError::Unreadable { .. })), "{:.80}", bomb);
    }
    // The deepest that is read fits on the stack of a test, which is that of a worker thread.
    let (open, close) = ("[".repeat(tree::DEPTH_LIMIT - 1), "]".repeat(tree::DEPTH_LIMIT - 1));
    for deep in [
        format!("openapi: 3.0.0\na: {open}{close}"),
        format!("{{\"openapi\":\"3.0.0\",\"a\":{open}{close}}}"),
    ] {
        assert!(OpenApi::parse(deep.as_bytes()).unwrap().without_addresses().is_ok());
    }
    let paths: Vec<String> = (0..=ENDPOINT_LIMIT).map(|n| format!("\"/{n}\":{{\"get\":{{}}}}")).collect();
    let document = format!("{{\"openapi\":\"3.0.0\",\"paths\":{{{}}}}}", paths.join(","));
    let got = OpenApi::parse(document.as_bytes()).unwrap().operations();
    assert_eq!(got, Err(DescriptionError::TooMany(ENDPOINT_LIMIT + 1)));
}

#[test]
fn addresses_are_hidden_wherever_servers_are_listed() {
    let document = r#"{"openapi":"3.0.3","servers":[{"url":"http://10.0.0.5:9000/v1"},{"url":"https://inner"},{"url":"/x"},{"url":"//inner/y"},{"url":"https://{env}.example/z"},{"url":"http://h?a=/b"}],"paths":{"/a":{"servers":[{"url":"http://h/a"}],"get":{"servers":[{"url":"http://h/b"}]}}},"components":{"pathItems":{"P":{"servers":[{"url":"http://h/p"}]}}}}"#;
    let hidden = OpenApi::parse(document.as_bytes()).unwrap().without_addresses().unwrap();
    let expected = document
        .replace("http://10.0.0.5:9000/v1", "/v1")
        .replace("https://inner", "/")
        .replace("//inner/y", "/y")
        .replace("http://h?a=/b", "/?a=/b")
        .replace("http://h/", "/");
    assert_eq!(hidden, expected, "order and everything else stay");
}

#[test]
fn yaml_is_given_back_as_yaml() {
    let document = OpenApi::parse(YAML.as_bytes()).unwrap();
    assert_eq!(document.media_type(), "application/yaml");
    let text = document.clone().without_addresses().unwrap();
    assert!(!text.contains("10.0.0.5") && !text.contains("inner") && text.starts_with("openapi:"), "{text}");
    let again = OpenApi::parse(text.as_bytes()).unwrap();
    assert_eq!(again.operations(), document.operations());
    let url = |n: usize| match again.tree.get("servers") {
        Some(Node::List(servers)) => servers[n].get("url").and_then(Node::text).unwrap().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!((url(0).as_str(), url(1).as_str()), ("/api/v1", "https://{env}.example/z"));
}

fn any_tree() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(|n| Node::Number(n.into())),
        "\\PC{0,12}".prop_map(Node::Text),
        "[ -~\n\t]{0,20}".prop_map(Node::Text),
        prop_oneof![
            "1.0",
            "yes",
            "null",
            "~",
            "0x10",
            "- a",
            "a: b",
            "#x",
            "'",
            "2026-11-21",
            ".nan",
            "1_000",
            "012"
        ]
        .prop_map(Node::Text),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Node::List),
            proptest::collection::btree_map("[ -~]{0,8}|200|true|ô", inner, 0..5)
                .prop_map(|map| Node::Map(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _read = OpenApi::parse(&bytes);
    }

    #[test]
    fn any_text_behind_a_good_beginning_is_read_or_refused(rest in "[-a-z0-9 :{}\\[\\],&*!|>'\"#\n/]{0,200}") {
        for start in ["openapi: 3.0.0\npaths:\n  /a: ", "openapi: 3.1.0\n", "{\"openapi\":\"3.0.0\","] {
            if let Ok(document) = OpenApi::parse(format!("{start}{rest}").as_bytes()) {
                let found = document.operations();
                let text = document.without_addresses().unwrap();
                prop_assert_eq!(OpenApi::parse(text.as_bytes()).unwrap().operations(), found);
            }
        }
    }

    #[test]
    fn what_is_written_reads_the_same(tree in any_tree()) {
        let whole = Node::Map(vec![("openapi".into(), Node::Text("3.1.0".into())), ("x-tree".into(), tree)]);
        for format in [Format::Json, Format::Yaml] {
            let document = OpenApi { format, tree: whole.clone() };
            let text = document.clone().without_addresses().unwrap();
            prop_assert_eq!(OpenApi::parse(text.as_bytes()).map(|d| d.tree), Ok(whole.clone()), "{}", text);
        }
    }
}
