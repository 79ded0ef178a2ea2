//! Agency codes from a list into the directory, at a stopped and at a running registry.

use truc_directory::MemberStatus;
use truc_registry::*;

use super::{clock, new_registry};

fn options(unconfirmed: bool) -> LoadOptions {
    LoadOptions { class: "GOV".into(), unconfirmed }
}

async fn registered(door: &mut Door) -> Registered {
    Registered::read(&door.directory().await.unwrap()).unwrap()
}

/// What loading the built-in list does now.
async fn load(door: &mut Door, unconfirmed: bool) -> (usize, CodesLoaded) {
    let there = registered(door).await;
    let plan = plan_codes(&agency_codes().unwrap(), &there, &options(unconfirmed)).unwrap();
    let steps = plan.steps.len();
    (steps, door.load_codes(LoadCodes { steps: plan.steps }).await.unwrap())
}

#[tokio::test]
async fn the_built_in_list_is_loaded_once() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    let before = door.directory().await.unwrap()["head"]["version"].as_u64().unwrap();
    // Somebody in the list is there already, under a name of its own.
    let hanoi =
        AddMember { id: "VN/GOV/H26".into(), name_vi: "UBND TP Hà Nội".into(), name_en: "Hanoi".into() };
    door.apply(hanoi).await.unwrap();

    let (steps, loaded) = load(&mut door, false).await;
    assert_eq!((loaded.decided as usize, loaded.already, &loaded.refused), (steps, 0, &None));
    assert_eq!(load(&mut door, false).await.0, 0, "all that is sure is there");
    let (steps, loaded) = load(&mut door, true).await;
    assert_eq!((loaded.decided as usize, loaded.refused), (steps, None));
    assert_eq!(load(&mut door, true).await.0, 0, "and now everything");

    let there = registered(&mut door).await;
    assert_eq!(there.members().count(), 94);
    let bac_giang = there.resolve("000.00.00.H02", "GOV").unwrap();
    assert_eq!((bac_giang.id.as_str(), bac_giang.status), ("VN/GOV/H02", MemberStatus::Closed));
    assert_eq!(bac_giang.succession.as_ref().unwrap().member.as_str(), "VN/GOV/H05");
    assert_eq!(there.resolve("H26", "GOV").unwrap().name_vi, "UBND TP Hà Nội");
    let g04 = there.resolve("000.00.00.G04", "GOV").unwrap();
    assert!(g04.status == MemberStatus::Closed && g04.succession.is_none());
    // Every decision is in the journal, and they were published twice.
    let after = door.directory().await.unwrap();
    assert!(after["head"]["version"].as_u64().unwrap() > before + 200);
    let heads = std::fs::read_dir(place.path().join("registry/directory")).unwrap().count();
    assert!(heads < 50, "{heads}");
}

#[tokio::test]
async fn a_batch_stops_at_what_is_refused_and_goes_on_later() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    let member = |code: &str| {
        Step::AddMember(AddMember {
            id: format!("VN/GOV/{code}"),
            name_vi: code.into(),
            name_en: code.into(),
        })
    };
    let close = |code: &str, to: &str| {
        let successor = Some(format!("VN/GOV/{to}"));
        Step::CloseMember(CloseMember { id: format!("VN/GOV/{code}"), successor, subsystems: vec![] })
    };
    let steps = vec![member("H02"), member("H02"), close("H02", "H05"), member("H05")];
    let loaded = door.load_codes(LoadCodes { steps }).await.unwrap();
    assert_eq!((loaded.decided, loaded.already), (1, 1));
    assert!(loaded.refused.unwrap().contains("VN/GOV/H05"));
    let steps = vec![member("H02"), member("H05"), close("H02", "H05")];
    let loaded = door.load_codes(LoadCodes { steps }).await.unwrap();
    assert_eq!((loaded.decided, loaded.already, loaded.refused), (2, 1, None));
    let unreadable = Step::AddMember(AddMember { id: "VN".into(), name_vi: "a".into(), name_en: "b".into() });
    let error = door.load_codes(LoadCodes { steps: vec![member("H06"), unreadable] }).await;
    assert!(error.is_err());
    assert!(registered(&mut door).await.resolve("H06", "GOV").is_err(), "nothing of it was decided");
}

#[tokio::test]
async fn a_running_registry_takes_the_list_as_one_batch() {
    let place = tempfile::tempdir().unwrap();
    let made = new_registry(&place.path().join("registry")).await;
    let config = RegistryConfig::load(&made.config).unwrap();
    let running = start(&config, clock()).await.unwrap();
    let token = std::fs::read_to_string(&config.admin_token_file).unwrap().trim().to_owned();
    let mut door = Door::Api { address: running.admin, token };
    let (steps, loaded) = load(&mut door, true).await;
    assert_eq!((loaded.decided as usize, &loaded.refused), (steps, &None));
    assert_eq!(load(&mut door, true).await.0, 0);
    let there = registered(&mut door).await;
    assert_eq!(there.resolve("VN/GOV/000.00.00.H02", "GOV").unwrap().status, MemberStatus::Closed);
    // What was loaded comes back with the journal, not only from the running process.
    running.stop().await.unwrap();
    let mut door = Door::open(&made.config, clock()).await.unwrap();
    assert_eq!(registered(&mut door).await, there);
}
