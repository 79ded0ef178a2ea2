//! Code lists as a service on the bus (docs/operate/codes.md §4).

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::office::{at, done, folder, json};
use crate::support::{Bus, DESK, TRUC, arg, run, truc};

const LISTS: &str = "VN/GOV/G01/csdl-dancu/danh-muc";

#[test]
fn code_lists_are_served_offered_and_asked_through_two_nodes() {
    run(async {
        let bus = Bus::shared().await;
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("code-lists");
        done(truc(&["code-lists", "publish", "agency-codes", "--dir", arg(&dir)]).await);
        let mut served = Command::new(TRUC)
            .args(["code-lists", "serve", "--listen", "127.0.0.1:0", "--json", "--until-stdin-closes"])
            .args(["--dir", arg(&dir)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(served.stdout.as_mut().unwrap()).read_line(&mut line).await.unwrap();
        let url = format!("http://{}", json(&line)["listen"].as_str().unwrap());

        let node = folder(&bus, "G01");
        let openapi = format!("{url}/openapi.json");
        let add = ["service", "add", LISTS, "--url", &url, "--openapi", &openapi, "--side-effect-free"];
        done(at(&node, &add).await);
        let grant = ["access", "grant", LISTS, "--to", DESK, "--method", "GET", "--path", "/code-lists/**"];
        done(at(&node, &grant).await);

        let code = format!("{LISTS}/code-lists/agency-codes/codes/000.00.00.H02");
        let answer = bus.call("GET", &code, &[], "").await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains("H02") && text.contains("closed") && text.contains("H05"), "{text}");
        let whole = bus.call("GET", &format!("{LISTS}/code-lists/agency-codes"), &[], "").await;
        let entries = whole.json()["codes"].as_array().map_or(0, Vec::len);
        assert!(entries >= 94, "{entries} {:?}", whole.body.get(..200));
        // What the description does not have nobody may call, and an unknown code is the service's own answer.
        assert_eq!(bus.call("DELETE", &code, &[], "").await.status, 403);
        let unknown = bus.call("GET", &format!("{LISTS}/code-lists/agency-codes/codes/Z99"), &[], "").await;
        assert!(unknown.status == 404 && unknown.header("x-road-error").is_none(), "{unknown:?}");

        let file = folder(&bus, "H26");
        let call = ["call", "--client", DESK, LISTS, "GET", "/code-lists/agency-codes/codes/000.00.00.H05"];
        let called = done(at(&file, &call).await);
        assert!(called.contains("H05"), "{called}");

        bus.admin("G01").remove_service(&LISTS.parse().unwrap()).await.unwrap();
        drop(served.stdin.take());
        served.wait().await.unwrap();
    });
}
