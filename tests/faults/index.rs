//! An index that is lost, in part or as a whole: made again from the journal, the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truc_admin::{EvidenceEntry, EvidenceFilter};

use crate::invariants::{NODES, check, finish, fsck, settled, stamped};
use crate::load::Load;
use crate::support::{Bus, rounds, run};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Loses some of the folder that it is given.
type Loss = fn(&Path);

/// What is lost, in turn.
const LOST: [(&str, Loss); 5] = [
    ("all", |index| std::fs::remove_dir_all(index).unwrap()),
    ("the tree", |index| std::fs::remove_dir_all(index.join("log")).unwrap()),
    ("what is searched in", |index| std::fs::remove_dir_all(index.join("evidence")).unwrap()),
    ("half of the leaves", |index| cut(&index.join("log/leaves"))),
    ("half of the groups", |index| cut(&index.join("log/groups"))),
];

fn cut(file: &Path) {
    let length = std::fs::metadata(file).unwrap().len();
    std::fs::File::options().write(true).open(file).unwrap().set_len(length / 2).unwrap();
}

/// Every file of a folder.
fn files(folder: &Path) -> Files {
    let mut all = Files::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.insert(path.clone(), std::fs::read(&path).unwrap());
    }
    all
}

/// Everything that a search finds.
async fn found(bus: &Bus, member: &str) -> Vec<EvidenceEntry> {
    let filter = EvidenceFilter { limit: Some(1000), ..EvidenceFilter::default() };
    bus.admin(member).evidence(&filter).await.unwrap()
}

#[test]
fn a_lost_index_is_made_again_from_the_journal_the_same() {
    run(async {
        let bus = Arc::new(Bus::start().await);
        for round in 0..rounds(LOST.len()) {
            let ((what, lose), member) = (LOST[round % LOST.len()], NODES[round % 2]);
            let about = format!("lost index, {what}, {member}, round {round}");
            let load = Load::start(&bus).await;
            load.answers(40).await;
            let called = load.stop().await;
            settled(&bus, &about).await;
            stamped(&bus, &about, member).await;
            let before = found(&bus, member).await;
            let mut processes = bus.processes.lock().await;
            let plan = bus.layout.node(member).unwrap();
            let node = processes.node(plan);
            processes.stop(&node.name).await.unwrap();
            let index = bus.layout.node_folder(plan).join("data/index");
            let tree = files(&index.join("log"));
            lose(&index);
            processes.start(vec![node.clone()]).await.unwrap();
            let after = found(&bus, member).await;
            assert_eq!(after, before, "{about}: a search finds something else");
            processes.stop(&node.name).await.unwrap();
            assert!(files(&index.join("log")) == tree, "{about}: the tree's files are not what they were");
            fsck(&bus, &about, member).await;
            // And once more, killed where it may be in the middle of making it.
            lose(&index);
            processes.start(vec![node.clone()]).await.unwrap();
            processes.kill(&node.name).await.unwrap();
            processes.start(vec![node]).await.unwrap();
            drop(processes);
            check(&bus, &about, &called).await;
        }
        finish(&bus, "lost index").await;
    });
}
