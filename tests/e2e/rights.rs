//! Default deny, and every condition of a right, decided on the running provider's node.

use truc_policy::ServiceDefinition;

use crate::support::{Bus, DESK, run};

#[test]
fn nothing_is_allowed_that_was_not_granted() {
    run(async {
        let bus = Bus::shared().await;
        let admin = bus.admin("G01");
        let service = "VN/GOV/G01/csdl-dancu/quyen";
        let mut definition =
            ServiceDefinition::rest(service.parse().unwrap(), bus.echo.url().parse().unwrap());
        admin.add_service(&definition).await.unwrap();
        let kind =
            |answer: &truc_demo::http::Answer| answer.header("x-road-error").unwrap_or("none").to_owned();
        let before = bus.echo.total();

        let denied = bus.call("GET", &format!("{service}/a/1"), &[], "").await;
        assert_eq!(
            (denied.status.as_u16(), kind(&denied).as_str()),
            (403, "server.serverproxy.access_denied")
        );

        bus.grant(DESK, service, "GET", "/a/*").await;
        assert_eq!(bus.call("GET", &format!("{service}/a/1"), &[], "").await.status, 200);
        for (method, path) in
            [("POST", "/a/1"), ("GET", "/a"), ("GET", "/a/1/2"), ("GET", "/b"), ("GET", "/a/%2F")]
        {
            let denied = bus.call(method, &format!("{service}{path}"), &[], "").await;
            assert_eq!(denied.status, 403, "{method} {path}");
        }

        definition.require_officer = true;
        definition.require_purpose = true;
        admin.change_service(&definition).await.unwrap();
        let no_officer = bus.call("GET", &format!("{service}/a/1"), &[("Truc-Purpose", "x")], "").await;
        assert_eq!(kind(&no_officer), "server.serverproxy.officer_required");
        let no_purpose = bus.call("GET", &format!("{service}/a/1"), &[("X-Road-UserId", "x")], "").await;
        assert_eq!(kind(&no_purpose), "server.serverproxy.purpose_required");
        let both = [("X-Road-UserId", "x"), ("Truc-Purpose", "x")];
        assert_eq!(bus.call("GET", &format!("{service}/a/1"), &both, "").await.status, 200);

        admin.disable_service(&service.parse().unwrap(), "bảo trì đến 12:00").await.unwrap();
        let paused = bus.call("GET", &format!("{service}/a/1"), &both, "").await;
        assert_eq!(
            (paused.status.as_u16(), kind(&paused).as_str()),
            (503, "server.serverproxy.service_disabled")
        );
        admin.enable_service(&service.parse().unwrap()).await.unwrap();

        let rights = admin.access(&truc_admin::AccessFilter::default()).await.unwrap();
        let ours = rights.iter().find(|entry| entry.service.to_string() == service).unwrap();
        admin.revoke(ours.id).await.unwrap();
        assert_eq!(bus.call("GET", &format!("{service}/a/1"), &both, "").await.status, 403);
        assert_eq!(bus.echo.total(), before + 2, "only what was allowed reached the service");
        admin.remove_service(&service.parse().unwrap()).await.unwrap();
        assert_eq!(bus.call("GET", &format!("{service}/a/1"), &both, "").await.status, 404);
    });
}
