//! A time-stamp authority that stays away: within the grace nobody waits for it, past the grace new exchanges are refused at both
//! halves, and when it is back everything is stamped and goes on by itself.
#![allow(clippy::print_stderr, reason = "what a round came to is for people")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use truc_directory::Anchor;
use truc_evidence::container::{self, CheckName, State, Verdict};
use truc_model::MessageId;
use truc_policy::{ServiceDefinition, TimeStamp};

use crate::clocks::{Clocks, OTHERS, library};
use crate::invariants::{NODES, check, finish, fsck, stamped};
use crate::liar::{Liar, Mode};
use crate::load::{Called, Told, call};
use crate::office::{edit, health};
use crate::process_ground::{is_fault, tally, works_within};
use crate::support::{Bus, DESK, ECHO, rounds, run, until};

const HOUR: i64 = 3600;
/// `[time-stamping] grace`, and a little.
const PAST_THE_GRACE: i64 = 49 * HOUR;
/// A service that is called only when its request is stamped.
const IMMEDIATE: &str = "VN/GOV/G01/csdl-dancu/tuc-thi";
/// A subsystem whose node holds no record that waits: what refuses it is the other half.
const THIRD: &str = "VN/GOV/G10/csdl-datdai";
const WORKS_AGAIN: Duration = Duration::from_secs(60);

/// A bus whose clocks go together, with an authority that can go away while the responders beside it stay.
struct Ground {
    bus: Bus,
    clocks: Clocks,
    authority: Liar,
}

impl Ground {
    async fn new(library: &str) -> Self {
        let (mut clocks, mut authority) = (None, None);
        let bus = Bus::start_as(|layout| {
            for plan in layout.enrolled() {
                // A node looks at its own statuses by a clock that is not moved: every 20 minutes would be once in this test.
                edit(&layout.node_config(plan), |text| {
                    let soon = text.replace("fetch-interval = \"20m\"", "fetch-interval = \"10s\"");
                    assert_ne!(soon, text);
                    soon
                });
            }
            authority = Some(Liar::in_front_of_the_pki(layout));
            let (set, program) = Clocks::new(&layout.dir, library, &[], 0);
            clocks = Some(set);
            program
        });
        let ground = Self { bus: bus.await, clocks: clocks.unwrap(), authority: authority.unwrap() };
        let bus = &ground.bus;
        let mut service =
            ServiceDefinition::rest(IMMEDIATE.parse().unwrap(), bus.echo.url().parse().unwrap());
        service.evidence.time_stamp = TimeStamp::Immediate;
        bus.admin("G01").add_service(&service).await.unwrap();
        bus.grant(DESK, IMMEDIATE, "*", "/**").await;
        bus.grant(THIRD, ECHO, "*", "/**").await;
        ground
    }
}

/// A call of a subsystem to a service, through the edge of its node.
async fn ask(bus: &Bus, member: &str, client: &str, service: &str) -> (u16, Value) {
    let url = format!("{}/r1/{service}/x", bus.layout.node(member).unwrap().edge_url());
    let answer = bus.http.send("GET", &url, &[("X-Road-Client", client)], "").await.unwrap();
    (answer.status.as_u16(), answer.json())
}

async fn stamps(bus: &Bus, member: &str) -> Value {
    health(bus, bus.layout.node(member).unwrap()).await["timeStamps"].clone()
}

fn answered(called: &[Called]) -> Vec<MessageId> {
    let id = |one: &Called| match &one.told {
        Told::Answered { id, .. } => Some(*id),
        _ => None,
    };
    called.iter().filter_map(id).collect()
}

#[test]
fn an_authority_that_stays_away_stops_new_exchanges_past_the_grace_until_it_is_back() {
    let test = "overdue::an_authority_that_stays_away_stops_new_exchanges_past_the_grace_until_it_is_back";
    let Some(library) = library(test) else { return };
    run(async {
        let ground = Arc::new(Ground::new(library).await);
        let mut now = 0;
        for round in 0..rounds(1) {
            now += self::round(&ground, round, now).await;
        }
        let bus = &ground.bus;
        finish(bus, "an authority that stays away").await;
        for member in NODES {
            let told = fsck(bus, "at the end", member).await;
            let waited = told["waited"]["seconds"].as_i64();
            assert!(waited > Some(48 * HOUR), "{member}: fsck does not tell how late the stamps are: {told}");
        }
    });
}

/// Away, within the grace, past it, back; by how many seconds the clocks went on.
async fn round(ground: &Arc<Ground>, round: usize, now: i64) -> i64 {
    let (bus, about) = (&ground.bus, format!("authority away, round {round}"));
    let mut called = works_within(bus, &about, WORKS_AGAIN).await;
    for member in NODES {
        stamped(bus, &about, member).await;
    }
    ground.authority.stamps(Mode::Away);
    let late = call(bus).await;
    assert!(late.is_answered(), "{about}: {:?}", late.told);
    let first = answered(std::slice::from_ref(&late))[0];
    called.push(late);
    ground.clocks.set(OTHERS, now + 2 * HOUR);
    called.extend(within_the_grace(ground, &about).await);

    ground.clocks.set(OTHERS, now + PAST_THE_GRACE);
    called.extend(past_the_grace(ground, &about).await);
    if round % 2 == 1 {
        started_again(ground, &about).await;
    }

    until(&format!("{about}: the nodes' own statuses are of now"), || async {
        let mut fresh = true;
        for member in NODES {
            let told = health(bus, bus.layout.node(member).unwrap()).await;
            fresh &= told["certificates"].as_array().unwrap().iter().all(|one| one["status"] == "fresh");
        }
        fresh
    })
    .await;
    ground.authority.stamps(Mode::Honest);
    called.extend(works_within(bus, &about, WORKS_AGAIN).await);
    eprintln!("{about}: {}", tally(&called));
    check(bus, &about, &called).await;
    for member in NODES {
        stamped(bus, &about, member).await;
        says_how_late(bus, &about, member, first).await;
    }
    until(&format!("{about}: both nodes are well"), || async {
        let mut well = true;
        for member in NODES {
            let told = health(bus, bus.layout.node(member).unwrap()).await;
            well &= told["serving"] == true && told["timeStamps"]["state"] == "fresh";
        }
        well
    })
    .await;
    PAST_THE_GRACE
}

/// Two hours: every call is answered while one waits in vain for its stamp, and is refused at last.
async fn within_the_grace(ground: &Arc<Ground>, about: &str) -> Vec<Called> {
    let bus = &ground.bus;
    let before = stamps(bus, "G01").await["last"].clone();
    let immediate = tokio::spawn({
        let ground = Arc::clone(ground);
        async move { ask(&ground.bus, "H26", DESK, IMMEDIATE).await }
    });
    let mut called = Vec::new();
    while !immediate.is_finished() {
        called.push(call(bus).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(called.iter().all(Called::is_answered), "{about}: within the grace: {}", tally(&called));
    let (status, told) = immediate.await.unwrap();
    let id = told["requestId"].as_str().unwrap_or_default().to_owned();
    assert_eq!((status, &told["code"]), (503, &"TIME_STAMP_OVERDUE".into()), "{about}: {told}");
    assert_eq!(told["type"], "server.serverproxy.timestamping_failed", "{about}: {told}");
    assert_eq!(bus.echo.carried_out(&id), 0, "{about}: called although its request is not stamped");
    for member in NODES {
        let told = health(bus, bus.layout.node(member).unwrap()).await;
        let stamps = &told["timeStamps"];
        assert_eq!(
            (&stamps["state"], &told["serving"]),
            (&"degraded".into(), &true.into()),
            "{about}: {told}"
        );
        assert!(stamps["oldestSeconds"].as_i64() >= Some(2 * HOUR), "{about}, {member}: {stamps}");
    }
    assert_eq!(stamps(bus, "G01").await["last"], before, "{about}: there was no authority to stamp");
    called
}

/// 49 hours: refused by the consumer's half, and by the provider's a consumer that is well itself; told to whoever watches.
async fn past_the_grace(ground: &Ground, about: &str) -> Vec<Called> {
    let bus = &ground.bus;
    let (mut called, executed) = (Vec::new(), bus.echo.total());
    for _ in 0..4 {
        called.push(call(bus).await);
    }
    let refused = called.iter().all(|one| is_fault(one, "TIME_STAMP_OVERDUE"));
    assert!(refused, "{about}: past the grace: {:?}", called);
    let (_, told) = ask(bus, "H26", DESK, ECHO).await;
    assert_eq!(told["type"], "server.clientproxy.timestamping_failed", "{about}: {told}");
    // The certificates' statuses are 49 hours old too: what asks for new ones may have to ask twice.
    until(&format!("{about}: the provider's half refuses"), || async {
        let (status, told) = ask(bus, "G10", THIRD, ECHO).await;
        assert_ne!(status, 200, "{about}: the provider's half did not refuse: {told}");
        told["type"] == "server.serverproxy.timestamping_failed"
    })
    .await;
    assert_eq!(bus.echo.total(), executed, "{about}: a refused call was carried out");
    for member in NODES {
        watched(bus, about, member).await;
    }
    called
}

/// What /healthz and /metrics say of a node whose records have waited too long.
async fn watched(bus: &Bus, about: &str, member: &str) {
    let admin = bus.layout.node(member).unwrap().admin_url();
    let answer = bus.http.get(&format!("{admin}/healthz")).await.unwrap();
    let (status, told) = (answer.status.as_u16(), answer.json());
    let stamps = &told["timeStamps"];
    assert_eq!((status, &told["serving"]), (503, &false.into()), "{about}, {member}: {told}");
    assert_eq!((&stamps["state"], &told["state"]), (&"expired".into(), &"expired".into()), "{about}: {told}");
    assert!(stamps["oldestSeconds"].as_i64() > Some(48 * HOUR), "{about}, {member}: {stamps}");
    assert!(stamps["backlog"].as_u64() > Some(0), "{about}, {member}: {stamps}");
    assert_eq!(stamps["authorities"][0]["state"], "expired", "{about}, {member}: {stamps}");
    assert!(stamps["authorities"][0]["failingSince"].is_string(), "{about}, {member}: {stamps}");
    let text = bus.http.get(&format!("{admin}/metrics")).await.unwrap();
    let text = String::from_utf8(text.body.to_vec()).unwrap();
    let value = |name: &str| {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("truc_serving "), 0.0, "{about}, {member}");
    assert_eq!(value("truc_time_stamp_state{state=\"expired\"}"), 1.0, "{about}, {member}");
    assert!(value("truc_time_stamp_backlog_records ") > 0.0, "{about}, {member}");
    assert!(value("truc_time_stamp_oldest_seconds ") > (48 * HOUR) as f64, "{about}, {member}");
    let expired = |line: &&str| line.contains("state=\"expired\"") && line.ends_with(" 1");
    let authorities = text.lines().filter(|line| line.starts_with("truc_time_stamp_authority_state{"));
    assert_eq!(authorities.filter(expired).count(), 1, "{about}, {member}: {text}");
}

/// A start does not forget that the records wait, and loses none of them.
async fn started_again(ground: &Ground, about: &str) {
    let bus = &ground.bus;
    for member in NODES {
        let mut processes = bus.processes.lock().await;
        let node = processes.node(bus.layout.node(member).unwrap());
        processes.kill(&node.name).await.unwrap();
        let found = fsck(bus, about, member).await;
        assert!(found["stamped"].as_u64() < found["records"].as_u64(), "{about}, {member}: {found}");
        processes.start(vec![node]).await.unwrap();
        drop(processes);
        assert_eq!(stamps(bus, member).await["state"], "expired", "{about}, {member}: after a start");
    }
    let one = call(bus).await;
    assert!(is_fault(&one, "TIME_STAMP_OVERDUE"), "{about}: after a start: {:?}", one.told);
}

/// The exchange from before holds, and its report says that its time-stamps are two days late.
async fn says_how_late(bus: &Bus, about: &str, member: &str, id: MessageId) {
    let anchor = Anchor::parse(&std::fs::read(bus.layout.anchor()).unwrap()).unwrap();
    let bytes = bus.admin(member).evidence_container(id).await.unwrap();
    let report = container::verify(&bytes, &anchor).unwrap();
    assert_eq!(report.verdict, Verdict::Holds, "{about}, {member}: {report}");
    let stamps: Vec<_> = report.checks.iter().filter(|check| check.name == CheckName::Timestamp).collect();
    assert_eq!(stamps.len(), 2, "{about}, {member}: {report}");
    for stamp in stamps {
        let seconds =
            stamp.detail.split(" s after the sending").next().and_then(|before| before.rsplit(' ').next());
        let seconds = seconds.and_then(|text| text.parse::<i64>().ok());
        assert!(stamp.state == State::Ok && seconds > Some(48 * HOUR), "{about}, {member}: {report}");
    }
}
