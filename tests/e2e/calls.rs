//! Calls over the bus, as an information system sees them (issue: the edge).

use serde_json::Value;
use truc_admin::EvidenceFilter;
use truc_model::MessageId;

use crate::echo::seen;
use crate::support::{Bus, DESK, ECHO, run};

#[test]
fn every_method_and_payload_passes_and_is_on_record_at_both_nodes() {
    run(async {
        let bus = Bus::shared().await;
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let body = if method == "GET" { "" } else { "nội dung" };
            let answer = bus
                .call(method, &format!("{ECHO}/a/b?x=1&x=2"), &[("Content-Type", "text/plain")], body)
                .await;
            assert_eq!(answer.status, 200, "{method}: {:?}", answer.body);
            let told = answer.json();
            assert_eq!(told["method"], method);
            assert_eq!(told["uri"], "/a/b?x=1&x=2");
            assert_eq!(told["length"], body.len());
            let id: MessageId = answer.header("x-road-request-id").unwrap().parse().unwrap();
            assert_eq!(bus.echo.carried_out(&id.to_string()), 1);
            for member in ["H26", "G01"] {
                let shown = bus.admin(member).evidence_show(id, false).await.unwrap();
                assert_eq!(shown.records.len(), 2, "{member}");
            }
        }
        let head = bus.call("HEAD", &format!("{ECHO}/a"), &[], "").await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    });
}

#[test]
fn bodies_small_and_big_come_back_bit_for_bit() {
    run(async {
        let bus = Bus::shared().await;
        for length in [0, 1, 65_535, 65_536, 65_537, 300_000, 5_000_000, 11_000_000] {
            let body: Vec<u8> =
                (0..length).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            if length > 10_000_000 {
                // Beyond the service's own limit: refused before anything is spooled.
                let answer = bus.call("POST", &format!("{ECHO}/raw"), &[], body).await;
                assert_eq!(answer.status, 413, "{:?}", answer.body);
                continue;
            }
            let media = [("Content-Type", "application/octet-stream")];
            let answer = bus.call("POST", &format!("{ECHO}/raw"), &media, body.clone()).await;
            assert_eq!(answer.status, 200, "{length}: {:?}", answer.body);
            assert!(answer.body == body, "a body of {length} bytes came back changed");
            assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        }
    });
}

#[test]
fn the_service_sees_who_asks_and_why_and_forged_headers_are_replaced() {
    run(async {
        let bus = Bus::shared().await;
        let headers = [
            ("X-Road-Id", "ma-cua-toi-1"),
            ("X-Road-UserId", "cb-0123"),
            ("X-Road-Issue", "HS-2026-1"),
            ("Truc-Purpose", "UTF-8''Tra%20c%E1%BB%A9u"),
            ("Truc-Legal-Basis", "ND 278/2025"),
            ("X-Road-Request-Id", "forged"),
            ("X-Road-Service", "VN/GOV/G99/x/y"),
            ("Connection", "close"),
            ("X-Custom", "a"),
            ("X-Custom", "b"),
        ];
        let answer = bus.call("POST", &format!("{ECHO}/x"), &headers, "{}").await;
        assert_eq!(answer.status, 200);
        let told = answer.json();
        let id = answer.header("x-road-request-id").unwrap();
        assert_eq!(seen(&told, "x-road-client"), Some(DESK));
        assert_eq!(seen(&told, "x-road-service"), Some(ECHO));
        assert_eq!(seen(&told, "x-road-request-id"), Some(id));
        assert_eq!(seen(&told, "x-road-id"), Some("ma-cua-toi-1"));
        assert_eq!(seen(&told, "x-road-userid"), Some("cb-0123"));
        assert_eq!(seen(&told, "x-road-issue"), Some("HS-2026-1"));
        assert_eq!(seen(&told, "truc-purpose"), Some("UTF-8''Tra%20c%E1%BB%A9u"));
        assert_eq!(seen(&told, "truc-legal-basis"), Some("ND 278/2025"));
        let customs: Vec<&Value> =
            told["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == "x-custom").collect();
        assert_eq!(customs.len(), 2, "duplicates pass");
        assert_eq!(answer.header("x-road-id"), Some("ma-cua-toi-1"));
        assert_eq!(answer.header("x-road-client"), Some(DESK));
        assert_eq!(answer.header("x-road-service"), Some(ECHO));
        assert!(answer.header("x-road-request-hash").is_some());
        assert_eq!(answer.header("x-echo"), Some("1"));
    });
}

#[test]
fn secrets_reach_the_service_and_are_no_evidence() {
    run(async {
        let bus = Bus::shared().await;
        let answer = bus
            .call(
                "GET",
                &format!("{ECHO}/s"),
                &[("Authorization", "Bearer rat-bi-mat"), ("Cookie", "k=rat-bi-mat")],
                "",
            )
            .await;
        assert_eq!(seen(&answer.json(), "authorization"), Some("Bearer rat-bi-mat"));
        assert_eq!(answer.header("set-cookie"), Some("session=geheim"));
        let id: MessageId = answer.header("x-road-request-id").unwrap().parse().unwrap();
        for member in ["H26", "G01"] {
            let shown = bus.admin(member).evidence_show(id, false).await.unwrap();
            let text = serde_json::to_string(&shown).unwrap();
            assert!(text.contains("authorization") && text.contains("sha256"), "{text}");
            assert!(!text.contains("rat-bi-mat") && !text.contains("geheim"), "{member} holds a secret");
        }
    });
}

#[test]
fn the_services_own_answers_pass_untouched() {
    run(async {
        let bus = Bus::shared().await;
        for status in [201, 302, 400, 404, 409, 500, 503] {
            let answer = bus.call("GET", &format!("{ECHO}/status/{status}"), &[], "").await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.header("x-road-error"), None, "{status} is the service's own answer");
        }
        let redirect = bus.call("GET", &format!("{ECHO}/status/302"), &[], "").await;
        assert_eq!(redirect.header("location"), Some("http://elsewhere.example/x"));
    });
}

#[test]
fn wrong_requests_get_a_true_status_and_say_what_to_do() {
    run(async {
        let bus = Bus::shared().await;
        let send = |path: &str, client: Option<&str>| {
            let (bus, url) = (bus.clone(), bus.edge(path));
            let headers: Vec<(String, String)> =
                client.map(|c| ("X-Road-Client".to_owned(), c.to_owned())).into_iter().collect();
            async move {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                bus.http.send("GET", &url, &headers, "").await.unwrap()
            }
        };
        let cases = [
            ("/r1/VN/GOV/G01/csdl-dancu/echo/x", None, 400, "client.bad_request"),
            ("/r1/VN/GOV/G01/csdl-dancu", Some(DESK), 400, "client.bad_request"),
            ("/r2/VN/GOV/G01/csdl-dancu/echo", Some(DESK), 400, "client.bad_request"),
            ("/r1/VN/GOV/G01/csdl-dancu/echo/../x", Some(DESK), 400, "client.bad_request"),
            ("/r1/VN/GOV/G01/csdl-dancu/echo/%2e%2e/x", Some(DESK), 400, "client.bad_request"),
            ("/r1/VN/GOV/G01/csdl%2Fdancu/echo/x", Some(DESK), 400, "client.bad_request"),
            ("/r1/VN/GOV/G01/csdl-dancu/echo", Some("VN/GOV/H26"), 400, "client.bad_request"),
            (
                "/r1/VN/GOV/G01/csdl-dancu/echo",
                Some("VN/GOV/H49/mot-cua"),
                403,
                "server.clientproxy.unknown_member",
            ),
            ("/r1/VN/GOV/G77/csdl-dancu/echo", Some(DESK), 404, "server.clientproxy.unknown_member"),
            ("/r1/VN/GOV/G01/khong-co/echo", Some(DESK), 404, "server.clientproxy.unknown_member"),
            ("/r1/VN/GOV/G01/csdl-dancu/khong-co", Some(DESK), 404, "server.serverproxy.unknown_service"),
        ];
        for (path, client, status, kind) in cases {
            let answer = send(path, client).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {:?}", answer.body);
            assert_eq!(answer.header("x-road-error"), Some(kind), "{path}");
            let told = answer.json();
            for key in ["type", "message", "detail"] {
                assert!(
                    told[key].as_str().is_some_and(|text| !text.is_empty()),
                    "{path} lacks {key}: {told}"
                );
            }
        }
    });
}

#[test]
fn metaservices_answer_in_x_roads_form() {
    run(async {
        let bus = Bus::shared().await;
        let methods = bus.call("GET", "VN/GOV/G01/csdl-dancu/listMethods", &[], "").await;
        assert_eq!(methods.status, 200, "{:?}", methods.body);
        let listed = methods.json();
        let codes: Vec<&str> =
            listed["service"].as_array().unwrap().iter().filter_map(|s| s["service_code"].as_str()).collect();
        assert!(codes.contains(&"echo") && codes.contains(&"tra-cuu-cong-dan"), "{codes:?}");
        assert_eq!(listed["service"][0]["object_type"], "SERVICE");
        let stranger = [("X-Road-Client", "VN/GOV/H26/mot-cua-so-10")];
        let url = bus.edge("/r1/VN/GOV/G01/csdl-dancu/allowedMethods");
        let allowed = bus.http.send("GET", &url, &stranger, "").await.unwrap();
        assert_eq!(allowed.json()["service"].as_array().unwrap().len(), 0);
        let description =
            bus.call("GET", "VN/GOV/G01/csdl-dancu/getOpenAPI?serviceCode=tra-cuu-cong-dan", &[], "").await;
        assert!(description.json()["openapi"].as_str().unwrap().starts_with("3."));
        assert!(!String::from_utf8_lossy(&description.body).contains("127.0.0.1"), "addresses are hidden");
        let clients = bus.http.get(&bus.edge("/listClients")).await.unwrap();
        let members = clients.json()["member"].as_array().unwrap().clone();
        assert_eq!(members.iter().filter(|m| m["id"]["object_type"] == "MEMBER").count(), 3);
    });
}

#[test]
fn evidence_is_listed_by_client_and_service() {
    run(async {
        let bus = Bus::shared().await;
        let answer = bus.call("GET", &format!("{ECHO}/list"), &[], "").await;
        let id: MessageId = answer.header("x-road-request-id").unwrap().parse().unwrap();
        let filter = EvidenceFilter {
            client: Some(DESK.parse().unwrap()),
            service: Some(ECHO.parse().unwrap()),
            ..EvidenceFilter::default()
        };
        for member in ["H26", "G01"] {
            let list = bus.admin(member).evidence(&filter).await.unwrap();
            let entry = list.iter().find(|entry| entry.id == id).expect(member);
            assert_eq!(serde_json::to_value(entry).unwrap()["outcome"], "ok");
        }
    });
}
