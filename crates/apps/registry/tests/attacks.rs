//! A running registry against curious officers, strangers on its machine and a queue of rubbish.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop where it stands")]
#![allow(missing_docs, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use truc_directory::Anchor;
use truc_directory_sync::{SubmitClient, SubmitRefusal};
use truc_governance::{InvitationCode, OfficerRole};
use truc_model::{Clock as _, SystemClock};
use truc_registry::*;
use zeroize::Zeroizing;

const ROUTES: &str = include_str!("../src/lifecycle.rs");
const VERBS: &str = include_str!("../src/verbs.rs");

async fn registry(folder: &Path) -> (Initialised, RegistryConfig) {
    let any = "127.0.0.1:0".parse().unwrap();
    let options = InitOptions {
        folder: folder.to_owned(),
        instance: "VN".into(),
        listen: any,
        public_address: "127.0.0.1:4001".into(),
        admin_listen: any,
    };
    let made = init(options, Arc::new(SystemClock)).await.unwrap();
    let mut config = RegistryConfig::load(&made.config).unwrap();
    for (name, role) in [("doc", OfficerRole::Auditor), ("lan", OfficerRole::Registrar)] {
        let token_file = folder.join(name);
        std::fs::write(&token_file, token(name)).unwrap();
        config.officers.push(OfficerToken { name: name.to_owned(), role, token_file });
    }
    (made, config)
}

fn token(name: &str) -> String {
    format!("the-token-of-the-officer-{name}")
}

/// One request over HTTP: status and the whole answer.
async fn call(api: SocketAddr, token: &str, head: &str, body: &str) -> (u16, String) {
    let mut tcp = tokio::net::TcpStream::connect(api).await.unwrap();
    let text = format!(
        "{head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// Every path of the API that stands in these sources.
fn paths() -> Vec<String> {
    let all = [ROUTES, VERBS].concat();
    let mut found: Vec<String> =
        all.split('"').filter(|text| text.starts_with("/api/v1/")).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    assert!(found.len() > 25, "{found:?}");
    found
}

fn invitation() -> (InvitationCode, Invite) {
    let code = InvitationCode::new(&Zeroizing::new([7; 25]));
    let expires = SystemClock.now().plus(Duration::from_secs(3600));
    let (id, key) = (code.id().clone(), code.key());
    (code, Invite { id, key, node: "VN/GOV/H49/ss1".into(), expires, level: None })
}

#[tokio::test]
async fn an_auditor_changes_nothing_and_sees_no_key_of_an_invitation() {
    let place = tempfile::tempdir().unwrap();
    let (made, config) = registry(&place.path().join("registry")).await;
    let running = start(&config, Arc::new(SystemClock)).await.unwrap();
    let api = running.admin;
    let mut registrar = Door::Api { address: api, token: token("lan") };
    let id = "VN/GOV/H49".to_owned();
    registrar
        .apply(AddMember { id, name_vi: "Quảng Ninh".into(), name_en: "Quang Ninh".into() })
        .await
        .unwrap();
    let (code, invite) = invitation();
    let body = serde_json::to_string(&invite).unwrap();
    let key = STANDARD
        .encode(STANDARD.decode(serde_json::to_value(&invite.key).unwrap().as_str().unwrap()).unwrap());
    assert_eq!(call(api, &token("doc"), "POST /api/v1/invitations", &body).await.0, 403);
    registrar.apply(invite).await.unwrap();

    let version = async |api| call(api, &token("doc"), "GET /api/v1/status", "").await.1;
    let before = version(api).await;
    let number =
        |text: &str| text.split("\"version\":").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
    for path in paths() {
        for method in ["POST", "DELETE", "PUT"] {
            let (status, answer) = call(api, &token("doc"), &format!("{method} {path}"), "{}").await;
            assert!(status >= 400, "{method} {path}: {answer}");
        }
        let (status, answer) = call(api, "guessed-by-somebody-else", &format!("POST {path}"), "{}").await;
        assert!(status == 401 && !answer.contains("field"), "{path}: {answer}");
    }
    let steps = r#"{"steps":[{"addAlias":{"alias":"000.00.00.H49","member":"VN/GOV/H49"}}]}"#;
    let (_, answer) = call(api, &token("doc"), "POST /api/v1/codes/load", steps).await;
    assert!(!answer.contains("\"decided\":1"), "{answer}");
    assert_eq!(number(&version(api).await), number(&before), "nothing was decided");

    for path in ["audit", "invitations", "directory", "requests", "status"] {
        let (status, answer) = call(api, &token("doc"), &format!("GET /api/v1/{path}"), "").await;
        assert_eq!(status, 200, "{path}");
        assert!(!answer.contains(&key) && !answer.contains(&code.reveal()[9..]), "{path} shows the key");
    }
    let audit = call(api, &token("doc"), "GET /api/v1/audit", "").await.1;
    assert!(audit.contains("invitation.issued") && audit.contains("\"lan\""), "{audit}");
    running.stop().await.unwrap();
    // Nor is it readable on the disk.
    let mut folders = vec![place.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
            assert!(!found, "{} holds the invitation's key in clear", path.display());
        }
    }
    drop(made);
}

#[tokio::test]
async fn rubbish_at_the_door_is_refused_with_a_sentence_and_stops_nobody() {
    let place = tempfile::tempdir().unwrap();
    let (made, config) = registry(&place.path().join("registry")).await;
    let running = start(&config, Arc::new(SystemClock)).await.unwrap();
    let mut anchor = Anchor::parse(&std::fs::read(&made.anchor).unwrap()).unwrap();
    anchor.registry[0].address = running.listen.to_string();
    let client = SubmitClient::new(&anchor);
    let deep = "[".repeat(100_000);
    let (mut refused, mut busy) = (0, 0);
    let all = [b"{}".to_vec(), deep.into_bytes(), vec![0xff; 200_000], b"null".to_vec()];
    for rubbish in all.iter().cycle().take(16).cloned() {
        match client.submit(&Bytes::from(rubbish)).await.unwrap_err() {
            SubmitRefusal::Refused(_) => refused += 1,
            SubmitRefusal::Busy(_) => busy += 1,
            SubmitRefusal::Unavailable(why) => panic!("{why}"),
        }
    }
    assert!(refused >= 10 && busy >= 1, "{refused} {busy}");
    let mut registrar = Door::Api { address: running.admin, token: token("lan") };
    let add = AddMember { id: "VN/GOV/H49".into(), name_vi: "a".into(), name_en: "b".into() };
    registrar.apply(add).await.unwrap();
    running.stop().await.unwrap();
}
