//! Two officers at once at the same request: one decides, the other is told who did.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::office::{Api, Relay, at, current, done, edit, folder, registry, registry_at};
use crate::support::{Bus, rounds, run};

const OFFICERS: [(&str, &str); 2] = [("lan", "token-lan"), ("minh", "token-minh")];

fn token(file: &str) -> String {
    format!("{file}-of-a-test")
}

/// Two officers with tokens of their own.
fn appoint(registry: &std::path::Path) {
    for (_, file) in OFFICERS {
        std::fs::write(registry.join(file), token(file)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(registry.join(file), mode).unwrap();
    }
    edit(&registry.join("registry.toml"), |text| {
        let one = |(name, file)| {
            format!("[[admin.officer]]\nname = \"{name}\"\nrole = \"registrar\"\ntoken-file = \"{file}\"\n")
        };
        text + "\n" + &OFFICERS.map(one).concat()
    });
}

/// What one of the two was told.
#[derive(Debug)]
struct Told {
    officer: &'static str,
    approves: bool,
    status: u16,
    text: String,
}

async fn decide(
    (api, start): (Api, Arc<Barrier>),
    officer: &'static str,
    approves: bool,
    number: u64,
) -> Told {
    api.get("status").await;
    start.wait().await;
    let (status, answer) = if approves {
        api.approve(number).await.unwrap()
    } else {
        api.post("requests/refuse", &json!({"number": number, "reason": "chưa đủ hồ sơ"})).await.unwrap()
    };
    Told { officer, approves, status, text: answer.to_string() }
}

/// Both at once; the one who won.
async fn pair(apis: &[Api; 2], round: usize, number: u64) -> Told {
    // Approval against refusal, one way and the other, and each against its like.
    let approves = [round % 4 < 2, round.is_multiple_of(2)];
    let start = Arc::new(Barrier::new(2));
    let of = |at: usize| {
        tokio::spawn(decide((apis[at].clone(), Arc::clone(&start)), OFFICERS[at].0, approves[at], number))
    };
    let (one, other) = (of(0), of(1));
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!(won.status, 200, "{won:?} {lost:?}");
    assert_eq!(lost.status, 409, "{won:?} {lost:?}");
    let state = if won.approves { "approved" } else { "refused" };
    let told = format!("was decided already: {state} by {}", won.officer);
    assert!(lost.text.contains(&told), "{won:?} {lost:?}");
    won
}

#[test]
fn of_two_officers_at_once_one_decides_and_the_other_is_told_who_did() {
    run(async {
        let mut relay = None;
        let bus = Bus::start_prepared(|layout| {
            appoint(&layout.registry_folder());
            // Each request comes from an address of its own: what one address may send in a minute is another matter.
            let started = Relay::start(layout.registry.0);
            let node = layout.node_folder(layout.node("H26").unwrap());
            registry_at(&node, &[started.port]);
            relay = Some(started);
        })
        .await;
        let apis = OFFICERS.map(|(_, file)| Api::with(&bus.layout, &token(file)));
        let node = folder(&bus, "H26");
        let mut wins = [0, 0];
        for round in 0..rounds(40) {
            let subsystem = format!("VN/GOV/H26/cap-{round}");
            let ask = ["node", "request", "register-subsystem", &subsystem, "--name", "Thử"];
            done(at(&node, &ask).await);
            let number = apis[0].last_request("VN/GOV/H26/ss1").await;
            let won = pair(&apis, round, number).await;
            wins[usize::from(won.officer == OFFICERS[1].0)] += 1;
            let shown = apis[1].get(&format!("requests/{number}")).await;
            let state = if won.approves { "approved" } else { "refused" };
            assert_eq!(shown["state"], state, "{shown}");
            let known = apis[0].get("subsystems").await;
            let there = known.as_array().unwrap().iter().any(|s| s["id"] == subsystem.as_str());
            assert_eq!(there, won.approves, "{won:?}");
            // One entry of the journal for it, in the winner's name.
            let log = done(registry(&bus, &["audit", "list", "--json"]).await);
            let decided: Vec<Value> = log
                .lines()
                .map(crate::office::json)
                .filter(|one| {
                    one["kind"] == format!("request.{state}")
                        && one["payload"].to_string().contains(&number.to_string())
                })
                .collect();
            let last = decided.last().unwrap_or_else(|| panic!("{state} {number}: {log}"));
            assert_eq!(last["by"], won.officer, "{last}");
        }
        eprintln!("lan and minh decided first: {wins:?}");
        done(registry(&bus, &["audit", "verify"]).await);
        current(&bus, &["H26", "G01"]).await;
    });
}
