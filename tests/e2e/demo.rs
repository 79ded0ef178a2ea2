//! `truc demo` as a new user runs it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use truc_demo::DemoFile;

use crate::support::{TRUC, arg, run, truc, until};

/// The processes whose command line names this folder.
fn alive_in(folder: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    let lines = processes.filter_map(line).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    lines.filter(|line| line.contains(folder) && line.contains("--config")).collect()
}

#[test]
fn the_story_is_told_twice_and_leaves_nothing_running() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("thư mục demo");
        for start in ["first", "second"] {
            let ran = truc(&["demo", "--once", "--dir", arg(&dir)]).await;
            assert_eq!(ran.code, 0, "{start}: {}\n{}", ran.stdout, ran.stderr);
            assert!(!ran.stdout.contains('✘'), "{}", ran.stdout);
            assert!(
                ran.stdout.matches('✔').count() + ran.stdout.matches('‼').count() == 18,
                "{}",
                ran.stdout
            );
        }
        assert_eq!(alive_in(arg(&dir)), Vec::<String>::new());
    });
}

#[test]
fn the_demo_stays_up_describes_itself_and_takes_its_processes_with_it() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        let mut child = Command::new(TRUC)
            .args(["demo", "--dir", arg(&dir)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let file = dir.join("demo.json");
        until("demo.json is written", || async {
            std::fs::read(&file).is_ok_and(|text| serde_json::from_slice::<DemoFile>(&text).is_ok())
        })
        .await;
        let described: DemoFile = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            (described.instance.as_str(), described.nodes.len(), described.services.len()),
            ("VN", 4, 3)
        );
        assert!(described.registry.pid.is_some() && described.nodes.iter().all(|node| node.pid.is_some()));
        let second = truc(&["demo", "--once", "--dir", arg(&dir)]).await;
        assert_eq!(second.code, 1, "one demo a folder: {}", second.stdout);
        let http = truc_demo::http::HttpClient::default();
        for service in &described.services {
            assert_eq!(http.get(&service.description_url).await.unwrap().status, 200);
        }
        // However the demo ends, nothing it started outlives it.
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        tokio::time::timeout(
            Duration::from_secs(30),
            until("all have ended", || async { alive_in(arg(&dir)).is_empty() }),
        )
        .await
        .unwrap();
    });
}
