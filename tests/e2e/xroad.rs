//! Information systems written for X-Road, played by curl: connections of all three types, HTTP as it is spoken in the field,
//! and the signed documents (docs/xroad-compatibility.md).

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OnceCell;
use truc_policy::ServiceDefinition;

use crate::support::{Bus, DESK, ECHO, arg, run, truc, until};

/// Its information system must come over HTTPS.
const HTTPS_DESK: &str = "VN/GOV/H26/mot-cua-so-2";
/// Its information system must show the certificate `desk.pem`.
const PINNED_DESK: &str = "VN/GOV/H26/mot-cua-so-3";
/// The same with `changing.pem`, which a test replaces.
const CHANGING_DESK: &str = "VN/GOV/H26/mot-cua-so-4";
/// A service that answers with an interim answer, chunks and a trailer.
const ODD: &str = "VN/GOV/G01/csdl-dancu/la";

/// True when the tools are there; else the test is skipped, or fails where everything is required.
fn tools() -> bool {
    let there = |tool: &str, word: &str| {
        Command::new(tool).arg(word).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    if there("curl", "--version") && there("openssl", "version") {
        return true;
    }
    assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "curl and openssl are required");
    eprintln!("SKIPPED: curl or openssl is not on this machine");
    false
}

fn self_signed(folder: &Path, name: &str) {
    let (key, certificate) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pem")));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", arg(&key), "-out", arg(&certificate)])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A bus whose Hà Nội node speaks HTTPS.
struct XRoad {
    bus: Bus,
    https: u16,
    certificates: PathBuf,
}

impl XRoad {
    /// The one that these tests share.
    async fn shared() -> Arc<Self> {
        static SHARED: OnceCell<Arc<XRoad>> = OnceCell::const_new();
        Arc::clone(SHARED.get_or_init(|| async { Arc::new(Self::start().await) }).await)
    }

    async fn start() -> Self {
        let https = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut certificates = PathBuf::new();
        let bus = Bus::start_prepared(|layout| {
            let node = layout.node("H26").unwrap();
            certificates = layout.node_folder(node).join("edge");
            std::fs::create_dir(&certificates).unwrap();
            for name in ["edge", "desk", "stranger", "changing", "changed"] {
                self_signed(&certificates, name);
            }
            std::fs::copy(certificates.join("changing.pem"), certificates.join("changing-pinned.pem")).unwrap();
            let file = layout.node_config(node);
            let text = std::fs::read_to_string(&file).unwrap().replace(
                "[edge]   # the members' information systems\n",
                &format!(
                    "[edge]\nhttps-listen = \"127.0.0.1:{https}\"\ncertificate-file = \"edge/edge.pem\"\nkey-file = \"edge/edge.key\"\n"
                ),
            );
            let client = |id: &str, connection: &str, files: &str| {
                format!("\n[[client]]\nsubsystem = \"{id}\"\nconnection = \"{connection}\"\n{files}\n")
            };
            let pinned = "https-client-certificate";
            let clients = [
                client(HTTPS_DESK, "https", ""),
                client(PINNED_DESK, pinned, "certificate-files = [\"edge/desk.pem\"]"),
                client(CHANGING_DESK, pinned, "certificate-files = [\"edge/changing-pinned.pem\"]"),
            ];
            std::fs::write(&file, text + &clients.concat()).unwrap();
        })
        .await;
        for desk in [HTTPS_DESK, PINNED_DESK, CHANGING_DESK] {
            bus.grant(desk, ECHO, "*", "/**").await;
        }
        let odd = odd_service().await;
        let service = ServiceDefinition::rest(ODD.parse().unwrap(), odd.parse().unwrap());
        bus.admin("G01").add_service(&service).await.unwrap();
        bus.grant(DESK, ODD, "*", "/**").await;
        Self { bus, https, certificates }
    }

    fn plain(&self, path: &str) -> String {
        self.bus.edge(path)
    }

    fn secured(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.https)
    }

    /// The certificate and key that a caller shows.
    fn shown(&self, name: &str) -> Vec<String> {
        let file = |ending: &str| arg(&self.certificates.join(format!("{name}.{ending}"))).to_owned();
        vec!["--cert".to_owned(), file("pem"), "--key".to_owned(), file("key")]
    }

    /// One call with curl.
    async fn curl(&self, url: String, client: &str, more: &[&str]) -> Curled {
        let mut args: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        args.extend(["--cacert".to_owned(), arg(&self.certificates.join("edge.pem")).to_owned()]);
        args.extend(["-H".to_owned(), format!("X-Road-Client: {client}"), url]);
        curl(args).await
    }
}

/// What curl saw.
struct Curled {
    status: u16,
    version: String,
    /// Every header line of every answer, interim ones too.
    head: String,
    body: Vec<u8>,
}

impl Curled {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
        self.head.lines().find(named)?.split_once(':').map(|(_, value)| value.trim())
    }
}

async fn curl(args: Vec<String>) -> Curled {
    let folder = tempfile::tempdir().unwrap();
    let (head, body) = (folder.path().join("head"), folder.path().join("body"));
    let output = tokio::process::Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--max-time", "60", "-w", "%{http_code} %{http_version}"])
        .args(["-D", arg(&head), "-o", arg(&body)])
        .args(&args)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "curl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    let (status, version) = told.split_once(' ').unwrap();
    let read = |file: &Path| std::fs::read(file).unwrap_or_default();
    Curled {
        status: status.parse().unwrap(),
        version: version.to_owned(),
        head: String::from_utf8_lossy(&read(&head)).into_owned(),
        body: read(&body),
    }
}

/// Answers every request with the same bytes; gives its URL.
async fn odd_service() -> String {
    const ANSWER: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTrailer: X-Trailer\r\nServer: secret/1.0\r\nTransfer-Encoding: chunked\r\n\
        Connection: close\r\n\r\n2\r\nla\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
                    if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(ANSWER).await.ok();
            });
        }
    });
    url
}

#[test]
fn the_three_connection_types_hold_for_real_callers() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let path = format!("/r1/{ECHO}/a");
        for (client, secured, shown, status) in [
            (DESK, false, None, 200),
            (DESK, true, None, 200),
            (HTTPS_DESK, false, None, 401),
            (HTTPS_DESK, true, None, 200),
            (PINNED_DESK, false, None, 401),
            (PINNED_DESK, true, None, 401),
            (PINNED_DESK, true, Some("stranger"), 401),
            (PINNED_DESK, true, Some("desk"), 200),
            // A certificate speaks for its subsystem and for no other.
            (CHANGING_DESK, true, Some("desk"), 401),
        ] {
            let url = if secured { x.secured(&path) } else { x.plain(&path) };
            let shown = shown.map(|name| x.shown(name)).unwrap_or_default();
            let more: Vec<&str> = shown.iter().map(String::as_str).collect();
            let seen = x.curl(url, client, &more).await;
            assert_eq!(seen.status, status, "{client} secured {secured} {more:?}: {}", seen.text());
            if status == 401 {
                assert_eq!(seen.header("x-road-error"), Some("server.clientproxy.ssl_authentication_failed"));
                assert_eq!(seen.json()["code"], "CLIENT_NOT_AUTHENTICATED");
            }
        }
        for (flags, version) in [
            (&["--tls-max", "1.2", "--http1.1"][..], "1.1"),
            (&["--tlsv1.3", "--http1.1"], "1.1"),
            (&["--http2"], "2"),
        ] {
            let seen = x.curl(x.secured(&path), HTTPS_DESK, flags).await;
            assert_eq!((seen.status, seen.version.as_str()), (200, version), "{flags:?}");
        }
    });
}

#[test]
fn a_pinned_certificate_is_replaced_without_a_restart() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let status = |shown: &str| {
            let (x, shown) = (Arc::clone(&x), x.shown(shown));
            async move {
                let more: Vec<&str> = shown.iter().map(String::as_str).collect();
                x.curl(x.secured(&format!("/r1/{ECHO}/a")), CHANGING_DESK, &more).await.status
            }
        };
        assert_eq!((status("changing").await, status("changed").await), (200, 401));
        std::fs::copy(x.certificates.join("changed.pem"), x.certificates.join("changing-pinned.pem"))
            .unwrap();
        let pid = {
            let processes = x.bus.processes.lock().await;
            let name = processes.node(x.bus.layout.node("H26").unwrap()).name;
            processes.pid(&name).unwrap()
        };
        assert!(Command::new("kill").args(["-HUP", &pid.to_string()]).status().unwrap().success());
        until("the new certificate counts", || async { status("changed").await == 200 }).await;
        assert_eq!(status("changing").await, 401);
    });
}

#[test]
fn bodies_pass_however_they_are_announced() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("body");
        let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&file, &body).unwrap();
        let data = format!("@{}", arg(&file));
        let path = format!("/r1/{ECHO}/raw");
        let announced: [&[&str]; 3] =
            [&[], &["-H", "Expect: 100-continue"], &["-H", "Transfer-Encoding: chunked"]];
        for (secured, version) in
            [(false, "--http1.1"), (false, "--http2-prior-knowledge"), (true, "--http1.1"), (true, "--http2")]
        {
            for how in announced {
                // HTTP/2 has no chunks of this kind.
                if version != "--http1.1" && how.iter().any(|word| word.contains("chunked")) {
                    continue;
                }
                let url = if secured { x.secured(&path) } else { x.plain(&path) };
                let post = [
                    "-X",
                    "POST",
                    "-H",
                    "Content-Type: application/octet-stream",
                    "--data-binary",
                    &data,
                    version,
                ];
                let seen = x.curl(url, DESK, &[&post[..], how].concat()).await;
                assert_eq!(seen.status, 200, "{version} {how:?}: {}", seen.text());
                assert!(seen.body == body, "{version} {how:?}: the body came back changed");
                assert_eq!(seen.header("x-road-client"), Some(DESK));
            }
        }
        for empty in [&["-X", "POST"][..], &["-X", "POST", "-H", "Content-Length: 0"], &["-X", "DELETE"]] {
            let seen = x.curl(x.plain(&format!("/r1/{ECHO}/a")), DESK, empty).await;
            assert_eq!((seen.status, &seen.json()["length"]), (200, &0.into()), "{empty:?}");
        }
        let head = x.curl(x.plain(&format!("/r1/{ECHO}/a")), DESK, &["-I"]).await;
        // With -I curl writes the head where it would write a body.
        assert_eq!((head.status, head.text()), (200, head.head.clone()));
        let trace = x.curl(x.plain(&format!("/r1/{ECHO}/a")), DESK, &["-X", "TRACE"]).await;
        assert_eq!(trace.json()["method"], "TRACE");
    });
}

#[test]
fn interim_answers_and_trailers_of_a_service_end_at_the_bus() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let seen = x.curl(x.plain(&format!("/r1/{ODD}/a")), DESK, &[]).await;
        assert_eq!((seen.status, seen.text().as_str()), (200, "la"), "{}", seen.head);
        let head = seen.head.to_ascii_lowercase();
        for gone in ["103", "link:", "trailer", "secret", "transfer-encoding"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
        assert_eq!(head.matches("\ndate:").count(), 1, "{head}");
    });
}

#[test]
fn a_target_is_one_of_the_providers_nodes_or_nothing_is_sent() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let call = |target: &str| {
            let (x, header) = (Arc::clone(&x), format!("X-Road-Security-Server: {target}"));
            async move { x.curl(x.plain(&format!("/r1/{ECHO}/a")), DESK, &["-H", &header]).await }
        };
        let own = x.bus.layout.node("G01").unwrap().id.to_string();
        assert_eq!(call(&own).await.status, 200);
        let consumer = x.bus.layout.node("H26").unwrap().id.to_string();
        for target in ["VN/GOV/G01/khong-co", &consumer] {
            let seen = call(target).await;
            let kind = "server.clientproxy.invalid_security_server";
            assert_eq!((seen.status, seen.header("x-road-error")), (404, Some(kind)), "{}", seen.text());
            assert!(seen.json()["reason"].as_str().unwrap().contains(target));
        }
        assert_eq!(call("VN/GOV/G01").await.header("x-road-error"), Some("client.bad_request"));
    });
}

fn unzipped(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let name = entry.name().unwrap().into_owned();
        files.insert(name, content);
    }
    files
}

fn asic(query: &str, client: &str) -> String {
    let parts: Vec<&str> = client.split('/').collect();
    format!(
        "/asic?queryId={query}&xRoadInstance={}&memberClass={}&memberCode={}&subsystemCode={}",
        parts[0], parts[1], parts[2], parts[3]
    )
}

#[test]
fn signed_documents_are_fetched_and_verified_offline() {
    if !tools() {
        return;
    }
    run(async {
        let x = XRoad::shared().await;
        let post = ["-X", "POST", "-d", "noi dung", "-H", "X-Road-Id: lap lai/1"];
        let first = x.curl(x.plain(&format!("/r1/{ECHO}/one")), DESK, &post).await;
        let second = x.curl(x.plain(&format!("/r1/{ECHO}/two")), DESK, &post).await;
        let ids = [&first, &second].map(|seen| seen.header("x-road-request-id").unwrap().to_owned());
        let unnamed = x.curl(x.plain(&format!("/r1/{ECHO}/three")), DESK, &[]).await;

        // By the caller's own id, which it used twice: two requests and two answers.
        let own = asic("lap+lai%2F1", DESK);
        let all = x.curl(x.plain(&own), DESK, &[]).await;
        assert_eq!(
            (all.status, all.header("content-type")),
            (200, Some("application/zip")),
            "{}",
            all.text()
        );
        assert_eq!(all.header("content-disposition"), Some("attachment; filename=\"lap%20lai%2F1.zip\""));
        let files = unzipped(&all.body);
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        for id in &ids {
            let tail = &id[id.len() - 10..];
            for kind in ["request", "response"] {
                let name = format!("lap%20lai%2F1-{kind}-{tail}.asice");
                assert!(names.contains(&name.as_str()), "{name} in {names:?}");
            }
        }
        assert_eq!(names.len(), 4);

        // What checks them is fetched too, and is enough.
        let conf = x.curl(x.plain("/verificationconf"), DESK, &[]).await;
        assert_eq!(conf.header("content-disposition"), Some("attachment; filename=\"verificationconf.zip\""));
        let conf = unzipped(&conf.body);
        let folder = tempfile::tempdir().unwrap();
        let anchor = folder.path().join("anchor.json");
        std::fs::write(&anchor, &conf["verificationconf/anchor.json"]).unwrap();
        assert_eq!(conf["verificationconf/anchor.json"], std::fs::read(x.bus.layout.anchor()).unwrap());
        assert!(
            conf.contains_key("verificationconf/head.json")
                && conf.contains_key("verificationconf/root-1.json")
        );
        for (name, container) in &files {
            let file = folder.path().join("one.asice");
            std::fs::write(&file, container).unwrap();
            let ran = truc(&["verify", arg(&file), "--anchor", arg(&anchor)]).await;
            assert_eq!(ran.code, 0, "{name}: {}{}", ran.stdout, ran.stderr);
            let held = unzipped(container);
            let answers =
                held.keys().filter(|n| n.starts_with("response-") && n.ends_with("header.json")).count();
            assert_eq!(answers, usize::from(name.contains("-response-")), "{name}");
        }

        // Exactly one: by the bus's own id, or by the one that the node made where the caller gave none.
        let several = x.curl(x.plain(&format!("{own}&requestOnly&unique")), DESK, &[]).await;
        assert_eq!(several.status, 400, "{}", several.text());
        for id in [ids[0].as_str(), unnamed.header("x-road-id").unwrap()] {
            let one =
                x.curl(x.plain(&format!("{}&responseOnly&unique&force", asic(id, DESK))), DESK, &[]).await;
            assert_eq!(
                (one.status, one.header("content-type")),
                (200, Some("application/vnd.etsi.asic-e+zip"))
            );
            assert!(unzipped(&one.body).contains_key("mimetype"));
        }

        // The provider's information system finds the same exchange at its own node.
        let provider = asic("lap+lai%2F1", "VN/GOV/G01/csdl-dancu");
        let its_edge = x.bus.layout.node("G01").unwrap().edge_url();
        let theirs = x.curl(format!("{its_edge}{provider}&responseOnly"), DESK, &[]).await;
        assert_eq!((theirs.status, unzipped(&theirs.body).len()), (200, 2));

        // Nobody else's.
        let stranger = "VN/GOV/H26/mot-cua-so-5";
        for (url, status) in [
            (x.plain(&asic("lap+lai%2F1", stranger)), 404),
            (x.plain(&asic(&ids[0], stranger)), 404),
            (x.plain(&asic(&ids[0], "VN/GOV/G01/csdl-dancu")), 404),
            (x.plain(&asic("khong-co", DESK)), 404),
            (x.plain(&asic("lap+lai%2F1", PINNED_DESK)), 401),
            (x.secured(&asic("lap+lai%2F1", PINNED_DESK)), 401),
            (x.plain("/asic?queryId=a"), 400),
        ] {
            let seen = x.curl(url.clone(), DESK, &[]).await;
            assert_eq!(seen.status, status, "{url}: {}", seen.text());
            assert_eq!(seen.header("content-type"), Some("text/plain;charset=utf-8"), "{url}");
        }
        let shown = x.shown("desk");
        let more: Vec<&str> = shown.iter().map(String::as_str).collect();
        let seen = x.curl(x.secured(&asic("lap+lai%2F1", PINNED_DESK)), DESK, &more).await;
        assert_eq!(seen.status, 404, "let in, and has none: {}", seen.text());
    });
}
