//! Evidence of real nodes: stamped by a real authority, searched, exported, checked by hand and by `truc verify`, kept, held, archived,
//! and checked on the disk of a stopped node.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;
use truc_admin::EvidenceSearch;
use truc_evidence::container::is_stamped;
use truc_model::MessageId;
use truc_policy::{Bodies, JsonPointer, ServiceDefinition, SubjectPlace};

use crate::office::{at, done, edit, folder, json as parsed, refused};
use crate::support::{Bus, DESK, ECHO, Ran, arg, run, truc, until};

/// Says whom it is about: `{"congDan":{"so":…}}`.
const PERSON: &str = "VN/GOV/G01/csdl-dancu/cong-dan";
/// Keeps digests of bodies alone.
const SPARING: &str = "VN/GOV/G01/csdl-dancu/chi-bam";
/// A desk without rights.
const STRANGER: &str = "VN/GOV/H26/mot-cua-so-7";
const BOTH: [&str; 2] = ["G01", "H26"];

/// A bus whose nodes stamp each second, with the services of these tests; `config` adds to the ministry's configuration.
async fn stamping_bus(config: &str) -> Bus {
    let bus = Bus::start_prepared(|layout| {
        for member in BOTH {
            edit(&layout.node_config(layout.node(member).unwrap()), |text| {
                assert!(
                    text.contains("every = \"1m\"") && text.contains("fetch-interval = \"20m\""),
                    "{text}"
                );
                let text = text.replace("every = \"1m\"", "every = \"1s\"");
                let text = text.replace("fetch-interval = \"20m\"", "fetch-interval = \"10s\"");
                if member == "G01" { text + config } else { text }
            });
        }
    })
    .await;
    for (id, digest) in [(PERSON, false), (SPARING, true)] {
        let mut definition = ServiceDefinition::rest(id.parse().unwrap(), bus.echo.url().parse().unwrap());
        let pointer: JsonPointer = "/congDan/so".parse().unwrap();
        definition.evidence.subject = Some(SubjectPlace::JsonPointer(pointer));
        if digest {
            definition.evidence.bodies = Bodies::Digest;
        }
        bus.admin("G01").add_service(&definition).await.unwrap();
        bus.grant(DESK, id, "*", "/**").await;
    }
    bus
}

/// The bus of the tests that only look.
async fn shared() -> Arc<Bus> {
    static BUS: OnceCell<Arc<Bus>> = OnceCell::const_new();
    Arc::clone(BUS.get_or_init(|| async { Arc::new(stamping_bus("").await) }).await)
}

/// Asks about a person; the request's id.
async fn ask(bus: &Bus, service: &str, number: &str, headers: &[(&str, &str)]) -> MessageId {
    let body = json!({ "congDan": { "so": number } }).to_string();
    let media = [("Content-Type", "application/json")];
    let answer = bus.call("POST", &format!("{service}/x"), &[&media, headers].concat(), body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.header("x-road-request-id").unwrap().parse().unwrap()
}

async fn container(bus: &Bus, member: &str, id: MessageId) -> Bytes {
    bus.admin(member).evidence_container(id).await.unwrap()
}

/// Waits until every record that a node has of an exchange is time-stamped.
async fn stamped(bus: &Bus, member: &str, id: MessageId) {
    until("the exchange is time-stamped", || async {
        let shown = bus.admin(member).evidence_show(id, false).await.unwrap();
        shown.records.len() == 2 && is_stamped(&container(bus, member, id).await).unwrap()
    })
    .await;
}

/// `truc evidence export ID --out FILE` at a member's node.
async fn export(bus: &Bus, member: &str, id: MessageId, file: &Path) {
    let id = id.to_string();
    done(at(&folder(bus, member), &["evidence", "export", &id, "--out", arg(file)]).await);
}

/// `truc verify`: the report of a container that holds.
async fn holds(bus: &Bus, file: &Path) -> Value {
    let anchor = bus.layout.anchor();
    let report = parsed(&done(truc(&["verify", arg(file), "--anchor", arg(&anchor), "--json"]).await));
    assert_eq!(report["verdict"], "holds", "{report}");
    report
}

/// How often a check of this name came out well; it never failed.
fn well(report: &Value, name: &str) -> usize {
    let of_name = || report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    assert!(of_name().all(|check| check["state"] != "failed"), "{report}");
    of_name().filter(|check| check["state"] == "ok").count()
}

/// The ids that `truc evidence list` prints at a member's node.
async fn list(bus: &Bus, member: &str, args: &[&str]) -> Vec<String> {
    let told = done(at(&folder(bus, member), &[&["evidence", "list", "--json"], args].concat()).await);
    told.lines().map(|line| parsed(line)["id"].as_str().unwrap().to_owned()).collect()
}

fn unpack(file: &Path, to: &Path) {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(file).unwrap()).unwrap();
    zip.extract(to).unwrap();
}

/// Whether a tool is there; told loudly where it is not.
async fn tools(wanted: &[&str]) -> bool {
    for tool in wanted {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().await.unwrap();
        if !found.status.success() {
            assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "{tool} is not there");
            eprintln!("SKIPPED: checking by hand needs {tool}");
            return false;
        }
    }
    true
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Whether any file under these places holds the text.
fn leaked(places: &[PathBuf], text: &str) -> Option<PathBuf> {
    let holds =
        |file: &PathBuf| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).contains(text);
    places.iter().flat_map(|place| files(place)).find(holds)
}

/// Stops a member's node, lets `work` be done on its folder, and starts it again.
async fn while_stopped<F: Future>(bus: &Bus, member: &str, work: F) -> F::Output {
    let mut processes = bus.processes.lock().await;
    let node = processes.node(bus.layout.node(member).unwrap());
    processes.stop(&node.name).await.unwrap();
    let result = work.await;
    processes.start(vec![node]).await.unwrap();
    result
}

#[test]
fn what_both_nodes_export_holds_with_its_time_for_truc_and_by_hand() {
    run(async {
        let bus = shared().await;
        let out = tempfile::tempdir().unwrap();
        let id = ask(&bus, PERSON, "001099000101", &[("Truc-Purpose", "1.004194")]).await;
        let by_hand = tools(&["openssl", "unzip", "sort", "cmp"]).await;
        for member in BOTH {
            stamped(&bus, member, id).await;
            let file = out.path().join(format!("{member}.asice"));
            export(&bus, member, id, &file).await;
            let report = holds(&bus, &file).await;
            for (name, times) in
                [("signature", 2), ("status", 2), ("timestamp", 2), ("evidence-record", 2), ("log", 2)]
            {
                assert_eq!(well(&report, name), times, "{member}, {name}: {report}");
            }
            let (home, request) = (folder(&bus, member), id.to_string());
            refused(&at(&home, &["evidence", "export", &request, "--out", arg(&file)]).await, "exists");
            let people = truc(&["verify", arg(&file), "--anchor", arg(&bus.layout.anchor())]).await;
            assert!(people.code == 0 && people.stdout.contains("ĐẠT"), "{}", people.stdout);
            if by_hand {
                read_me(&bus, &file, &out.path().join(member)).await;
            }
        }
        // One changed byte, and it holds no more.
        let file = out.path().join("H26.asice");
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let changed = out.path().join("changed.asice");
        std::fs::write(&changed, bytes).unwrap();
        let ran = truc(&["verify", arg(&changed), "--anchor", arg(&bus.layout.anchor())]).await;
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    });
}

/// The container's own note, as a shell runs it.
async fn read_me(bus: &Bus, file: &Path, folder: &Path) {
    unpack(file, folder);
    let note = std::fs::read_to_string(folder.join("META-INF/notes/README.txt")).unwrap();
    assert!(note.contains("openssl ts -verify"), "{note}");
    let pki = bus.layout.pki_folder();
    let ran = Command::new("sh")
        .args(["-e", "META-INF/notes/README.txt"])
        .current_dir(folder)
        .env("CONTAINER", file)
        .env("CA", pki.join("ca.pem"))
        .env("TSA", pki.join("tsa.pem"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{said}");
    assert_eq!(said.matches("CAdES Verification successful").count(), 2, "{said}");
    assert!(said.contains("Verification: OK") && said.contains("Signature Verified Successfully"), "{said}");
}

#[test]
fn the_status_after_the_time_stamp_comes_with_traffic() {
    run(async {
        let bus = shared().await;
        let out = tempfile::tempdir().unwrap();
        let id = ask(&bus, PERSON, "001099000102", &[]).await;
        for member in BOTH {
            stamped(&bus, member, id).await;
        }
        // Nodes renew their statuses each 10 s here, and carry the new one in what they say next. Each keeps that of the other's signer.
        for (member, signed_by_other) in [("G01", "request"), ("H26", "response")] {
            let number = std::cell::Cell::new(0);
            until("a status after the token is kept", || async {
                number.set(number.get() + 1);
                ask(&bus, PERSON, "001099000199", &[]).await;
                let file = out.path().join(format!("{member}-{}.asice", number.get()));
                export(&bus, member, id, &file).await;
                let report = holds(&bus, &file).await;
                assert!(well(&report, "status-after") <= 2);
                report["checks"].as_array().unwrap().iter().any(|check| {
                    check["name"] == "status-after"
                        && check["state"] == "ok"
                        && check["message"].as_str().is_some_and(|of| of.starts_with(signed_by_other))
                })
            })
            .await;
        }
    });
}

#[test]
fn exchanges_are_found_by_whatever_is_known_of_them() {
    run(async {
        let bus = shared().await;
        let headers = [
            ("X-Road-UserId", "cb-tim-kiem"),
            ("X-Road-Issue", "HS-TIM-1"),
            ("X-Road-Id", "goi-tim-1"),
            ("Truc-Purpose", "UTF-8''X%C3%A1c%20minh%20t%C3%ACm"),
            ("Truc-Agency", "UTF-8''Ph%C6%B0%E1%BB%9Dng%20T%C3%ACm"),
        ];
        let before = bus.admin("G01").status().await.unwrap();
        assert_eq!(before.node.to_string(), "VN/GOV/G01/ss1");
        let first = ask(&bus, PERSON, "001099000103", &headers).await.to_string();
        let second = ask(&bus, ECHO, "001099000103", &[]).await.to_string();
        let body = json!({ "congDan": { "so": "001099000103" } }).to_string();
        let url = bus.edge(&format!("/r1/{PERSON}/x"));
        let denied = bus.http.send("POST", &url, &[("X-Road-Client", STRANGER)], body).await.unwrap();
        assert_eq!(denied.status, 403, "{:?}", denied.body);
        let denied = denied.header("x-road-request-id").unwrap().to_owned();
        let answer = {
            let shown = bus.admin("G01").evidence_show(first.parse().unwrap(), false).await.unwrap();
            let header = shown.records[1].header.as_ref().unwrap().get().to_owned();
            parsed(&header)["id"].as_str().unwrap().to_owned()
        };
        let entry = |id: &str| {
            let found = EvidenceSearch { message: Some(id.parse().unwrap()), ..EvidenceSearch::default() };
            let bus = Arc::clone(&bus);
            async move { bus.admin("H26").evidence_search(&found).await.unwrap().exchanges.pop().unwrap().time }
        };
        let (since, until) = (entry(&first).await.to_string(), entry(&second).await.to_string());

        for member in BOTH {
            let role = if member == "G01" { "provider" } else { "consumer" };
            for filter in [
                &["--message", &first][..],
                &["--message", &answer],
                &["--caller-id", "goi-tim-1"],
                &["--officer", "cb-tim-kiem"],
                &["--dossier", "HS-TIM-1"],
                &["--purpose", "Xác minh tìm"],
                &["--agency", "Phường Tìm"],
                &[
                    "--purpose",
                    "Xác minh tìm",
                    "--service",
                    PERSON,
                    "--client",
                    DESK,
                    "--outcome",
                    "ok",
                    "--role",
                    role,
                ],
            ] {
                assert_eq!(list(&bus, member, filter).await, [first.as_str()], "{member} {filter:?}");
            }
            assert_eq!(list(&bus, member, &["--client", STRANGER]).await, [denied.as_str()]);
            assert_eq!(
                list(&bus, member, &["--fault", "NO_RIGHT", "--outcome", "refused"]).await,
                [denied.as_str()]
            );
            let period =
                list(&bus, member, &["--since", &since, "--client", DESK, "--service", PERSON]).await;
            assert!(period.contains(&first), "{member}: {period:?}");
            let echoed = list(&bus, member, &["--service", ECHO]).await;
            assert!(echoed.contains(&second) && !echoed.contains(&first), "{member}: {echoed:?}");
            assert_eq!(list(&bus, member, &["--officer", "cb-khac"]).await, Vec::<String>::new());
            let one = at(&folder(&bus, member), &["evidence", "list", "--limit", "1", "--json"]).await;
            assert!(
                one.stdout.lines().count() == 1 && one.stderr.contains("--after"),
                "{}{}",
                one.stdout,
                one.stderr
            );
        }
        // Whom it was about is the provider's to say: of both calls to the service that says where the number is.
        assert_eq!(
            list(&bus, "G01", &["--subject", "001099000103"]).await,
            [denied.as_str(), first.as_str()]
        );
        assert_eq!(list(&bus, "H26", &["--subject", "001099000103"]).await, Vec::<String>::new());
        let only = ["--subject", "001099000103", "--since", &since, "--until", &until];
        assert_eq!(list(&bus, "G01", &only).await, [first.as_str()]);
    });
}

#[test]
fn a_citizen_reads_who_asked_and_the_number_lies_nowhere() {
    run(async {
        let bus = shared().await;
        let out = tempfile::tempdir().unwrap();
        let number = "001099770104";
        let stated = [
            ("Truc-Purpose", "1.004194"),
            ("Truc-Agency", "H26.133"),
            ("Truc-Legal-Basis", "ND 278/2025"),
            ("X-Road-UserId", "cb-khong-ai-biet"),
        ];
        let asked = ask(&bus, PERSON, number, &stated).await;
        let sparing = ask(&bus, SPARING, number, &stated).await;
        let home = folder(&bus, "G01");
        let report = done(at(&home, &["evidence", "subject", number]).await);
        for part in [
            "AI ĐÃ TRA CỨU DỮ LIỆU CỦA TÔI",
            "WHO LOOKED AT MY DATA",
            "UBND thành phố Hà Nội",
            "unit stated in the request: H26.133",
            "purpose: 1.004194",
            "legal basis: ND 278/2025",
            PERSON,
            &asked.to_string(),
            &sparing.to_string(),
            "in all: 2",
        ] {
            assert!(report.contains(part), "{part:?} in {report}");
        }
        assert!(!report.contains("cb-khong-ai-biet"), "officers are named on demand alone: {report}");
        let told =
            parsed(&done(at(&home, &["evidence", "subject", number, "--with-officer", "--json"]).await));
        assert_eq!(told["accesses"][0]["officer"], "cb-khong-ai-biet", "{told}");
        let nobody = done(at(&home, &["evidence", "subject", "001099999999"]).await);
        assert!(nobody.contains("in all: 0"), "{nobody}");

        // Neither the index, nor anything else in a node's data folder, nor the log of any process holds the number, or the officer.
        for member in BOTH {
            stamped(&bus, member, asked).await;
            stamped(&bus, member, sparing).await;
            let data = folder(&bus, member).join("data");
            assert!(files(&data.join("index")).len() > 3);
            let places = [data, bus.layout.dir.join("logs")];
            for secret in [number, "cb-khong-ai-biet"] {
                assert_eq!(leaked(&places, secret), None, "{member}");
            }
        }

        // One archive of all about the person: each container holds, and the index does not say about whom it is.
        let zip = out.path().join("person.zip");
        let told =
            at(&home, &["evidence", "export", "--subject", number, "--out", arg(&zip), "--json"]).await;
        assert_eq!(parsed(&done(told))["containers"], 2);
        let index = archive(&bus, &zip, &out.path().join("person")).await;
        assert_eq!((&index["complete"], &index["query"]), (&true.into(), &json!({ "subject": true })));
        assert!(!index.to_string().contains(number));
        assert!(index["containers"].as_array().unwrap().iter().all(|one| one["stamped"] == true), "{index}");

        // What was kept of the sparing service: digests alone, and it holds.
        let shown = bus.admin("G01").evidence_show(sparing, true).await.unwrap();
        assert!(shown.records.iter().all(|record| !record.has_body && record.body.is_none()));
        let at_consumer = bus.admin("H26").evidence_show(sparing, true).await.unwrap();
        assert!(at_consumer.records.iter().all(|record| record.has_body));

        // And one of a period, at the consumer's node.
        let since = told_time(&bus, asked).await;
        let period = out.path().join("period.zip");
        let args = ["evidence", "export", "--since", &since, "--client", DESK, "--out", arg(&period)];
        done(at(&folder(&bus, "H26"), &args).await);
        let index = archive(&bus, &period, &out.path().join("period")).await;
        let ids: Vec<&str> = index["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["request"].as_str().unwrap())
            .collect();
        assert!(
            ids.contains(&asked.to_string().as_str()) && ids.contains(&sparing.to_string().as_str()),
            "{ids:?}"
        );
    });
}

/// When an exchange was recorded at the consumer's node.
async fn told_time(bus: &Bus, id: MessageId) -> String {
    let search = EvidenceSearch { message: Some(id), ..EvidenceSearch::default() };
    bus.admin("H26").evidence_search(&search).await.unwrap().exchanges[0].time.to_string()
}

/// Unpacks an archive of many; every stamped container in it holds.
async fn archive(bus: &Bus, zip: &Path, to: &Path) -> Value {
    unpack(zip, to);
    let index = parsed(&std::fs::read_to_string(to.join("index.json")).unwrap());
    let lines = std::fs::read_to_string(to.join("index.csv")).unwrap().lines().count();
    let containers = index["containers"].as_array().unwrap();
    assert_eq!(lines, containers.len() + 1);
    for one in containers {
        holds(bus, &to.join(one["file"].as_str().unwrap())).await;
    }
    index
}

#[test]
fn holds_fsck_heads_and_new_keys_over_stops_and_starts() {
    run(async {
        let config = "\n[[evidence.retention]]\nclass = \"default\"\nbodies = \"10y\"\n";
        let bus = stamping_bus(config).await;
        let home = folder(&bus, "G01");
        let first = ask(&bus, PERSON, "001099000105", &[("X-Road-UserId", "cb-cu")]).await;
        stamped(&bus, "G01", first).await;

        // A hold, its list, its end.
        let case = ["--case", "vụ án 12/2026"];
        let add = ["evidence", "hold", "add", "--reason", "yêu cầu của VKSND"];
        let unknown = at(&home, &[&add[..], &case, &["0199f3c2-5d7e-7c1a-9b52-3f1f0a6f2b11"]].concat()).await;
        refused(&unknown, "0199f3c2");
        done(at(&home, &[&add[..], &case, &[&first.to_string()]].concat()).await);
        let listed = parsed(&done(at(&home, &["evidence", "hold", "list", "--json"]).await));
        assert_eq!((&listed["case"], &listed["requests"]), (&case[1].into(), &json!([first.to_string()])));
        let kept = done(at(&home, &["evidence", "retention"]).await);
        assert!(kept.contains("default\t") && kept.contains("\t10y\t"), "{kept}");
        let disk = parsed(&done(at(&home, &["evidence", "disk", "--json"]).await));
        assert!(disk["records"].as_u64() >= Some(2) && disk["journal"].as_u64() > Some(0), "{disk}");
        let heads = home.join("heads.json");
        done(at(&home, &["evidence", "heads", "--registry", "--out", arg(&heads)]).await);
        let size: u64 = {
            let told = parsed(&std::fs::read_to_string(&heads).unwrap());
            let note = told["witnesses"][0]["logs"][0]["newest"]["note"].as_str().unwrap().to_owned();
            note.lines().nth(1).unwrap().parse().unwrap()
        };
        assert!(size >= 2);
        let running = at(&home, &["evidence", "fsck"]).await;
        assert_eq!(running.code, 1, "a running node is not checked: {}", running.stdout);

        let rotated = while_stopped(&bus, "G01", async {
            let clean = parsed(&done(at(&home, &["evidence", "fsck", "--json"]).await));
            assert_eq!((&clean["problems"], &clean["anchored"]), (&json!([]), &json!(0)), "{clean}");
            assert!(clean["stamped"].as_u64() >= Some(2), "{clean}");
            assert_eq!(clean["chained"], clean["stamped"], "{clean}");
            let told = done(at(&home, &["evidence", "fsck", "--heads", arg(&heads)]).await);
            let wanted = format!("anchored outside: up to record {}, by registry", size - 1);
            assert!(told.contains(&wanted) && !told.contains("PROBLEM"), "{wanted}: {told}");
            let wanted = format!("as heads say up to record {}", size - 1);
            assert!(told.contains(&wanted), "{wanted}: {told}");
            // What can be read of a stopped node.
            let stopped = done(at(&home, &["evidence", "hold", "list"]).await);
            assert!(stopped.contains(case[1]), "{stopped}");
            let disk = parsed(&done(at(&home, &["evidence", "disk", "--json"]).await));
            assert!(disk["needed"]["ratio"].as_f64() > Some(0.0), "{disk}");
            assert_eq!(list(&bus, "G01", &["--subject", "001099000105"]).await, [first.to_string()]);
            let file = home.join("stopped.asice");
            export(&bus, "G01", first, &file).await;
            holds(&bus, &file).await;
            at(&home, &["evidence", "rotate-keys", "VN/GOV/G01"]).await
        })
        .await;
        assert!(done(rotated).contains("generation 2"));

        // Old and new records are found, read, and hold; the fsck of the whole is clean.
        let second = ask(&bus, PERSON, "001099000105", &[("X-Road-UserId", "cb-cu")]).await;
        stamped(&bus, "G01", second).await;
        let both = [second.to_string(), first.to_string()];
        for filter in [["--subject", "001099000105"], ["--officer", "cb-cu"]] {
            assert_eq!(list(&bus, "G01", &filter).await, both, "{filter:?}");
        }
        for id in [first, second] {
            let shown = bus.admin("G01").evidence_show(id, true).await.unwrap();
            assert!(shown.records.iter().all(|record| record.body.is_some()), "{id}");
            let file = home.join(format!("{id}.asice"));
            export(&bus, "G01", id, &file).await;
            holds(&bus, &file).await;
        }
        done(at(&home, &[&["evidence", "hold", "release", "--reason", "xong"], &case[..]].concat()).await);
        assert_eq!(done(at(&home, &["evidence", "hold", "list"]).await), "");
        while_stopped(&bus, "G01", async {
            let anchor = bus.layout.anchor();
            let told = ["evidence", "fsck", "--heads", arg(&heads), "--anchor", arg(&anchor)];
            let told = done(at(&home, &told).await);
            assert!(!told.contains("PROBLEM"), "{told}");
        })
        .await;
    });
}

#[test]
fn bodies_that_lie_in_the_archive_are_exported_as_if_they_were_here() {
    run(async {
        let away = tempfile::tempdir().unwrap();
        let place = away.path().join("kho");
        std::fs::create_dir(&place).unwrap();
        let bus = stamping_bus(&format!("\n[evidence.archive]\nfolder = '{}'\n", arg(&place))).await;
        let home = folder(&bus, "G01");
        let id = ask(&bus, PERSON, "001099000106", &[]).await;
        stamped(&bus, "G01", id).await;
        let before = container(&bus, "G01", id).await;
        // No body segment is open after a start: the first round moves them all.
        while_stopped(&bus, "G01", async {}).await;
        until("the bodies are in the archive", || async {
            bus.admin("G01").keeping().await.unwrap().months.iter().any(|month| month.archived_bytes > 0)
        })
        .await;
        assert!(files(&place).iter().any(|file| arg(file).contains("/bodies/")), "{:?}", files(&place));
        let here = files(&home.join("data/bodies"));
        assert!(here.iter().any(|file| arg(file).ends_with(".away")), "{here:?}");
        assert!(!here.iter().any(|file| arg(file).ends_with(".seg")), "{here:?}");

        let shown = bus.admin("G01").evidence_show(id, true).await.unwrap();
        assert!(shown.records.iter().all(|record| record.body.is_some()), "read back from the archive");
        let file = home.join("archived.asice");
        export(&bus, "G01", id, &file).await;
        holds(&bus, &file).await;
        assert!(std::fs::read(&file).unwrap().len() >= before.len());
        let again = ask(&bus, PERSON, "001099000106", &[]).await;
        assert_eq!(
            list(&bus, "G01", &["--subject", "001099000106"]).await,
            [again.to_string(), id.to_string()]
        );
        while_stopped(&bus, "G01", async {
            for args in [&["evidence", "fsck"][..], &["evidence", "fsck", "--archive"]] {
                let told: Ran = at(&home, args).await;
                assert!(!done(told).contains("PROBLEM"));
            }
        })
        .await;
    });
}
