//! nftables in the test's own network namespace: rules on loopback, by TCP port.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::Command;

/// Rules on what arrives; none at first. Each has a table of its own, so that several can be in force.
pub(crate) struct Rules {
    table: String,
}

/// The RST that a rule itself sends must arrive: it is never looked at.
const NOT_A_RESET: &str = "tcp flags & rst == 0";

impl Rules {
    /// Makes the table.
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let rules = Self { table: format!("faults{}", NUMBER.fetch_add(1, Ordering::SeqCst)) };
        rules.make_table().await;
        rules
    }

    async fn make_table(&self) {
        nft(&format!("add table inet {}", self.table)).await;
        nft(&format!("add chain inet {} in {{ type filter hook input priority 0 ; }}", self.table)).await;
    }

    async fn add(&self, rule: &str) {
        nft(&format!("add rule inet {} in {rule}", self.table)).await;
    }

    /// Lets `rule` judge every packet to and from `port`.
    pub(crate) async fn both_ways(&self, port: u16, rule: &str) {
        for way in ["dport", "sport"] {
            self.one_way(way, port, rule).await;
        }
    }

    async fn one_way(&self, way: &str, port: u16, rule: &str) {
        self.add(&format!("tcp {way} {port} {NOT_A_RESET} {rule}")).await;
    }

    /// Loses every packet of the one connection from `near` to `far`, for ever.
    pub(crate) async fn connection(&self, near: u16, far: u16) {
        for (to, from) in [(far, near), (near, far)] {
            self.add(&format!("tcp dport {to} tcp sport {from} counter drop")).await;
        }
    }

    /// Lets 1 megabyte a second pass one way (`dport`: to the port), and counts them.
    pub(crate) async fn slow(&self, way: &str, port: u16) {
        self.one_way(way, port, "limit rate over 1 mbytes/second burst 128 kbytes drop").await;
        nft(&format!("add counter inet {} passed_{way}", self.table)).await;
        self.one_way(way, port, &format!("counter name passed_{way}")).await;
    }

    /// Bytes that passed since [`Rules::slow`].
    pub(crate) async fn passed(&self, way: &str) -> u64 {
        let told = nft(&format!("list counter inet {} passed_{way}", self.table)).await;
        let words: Vec<&str> = told.split_whitespace().collect();
        let bytes = words.iter().position(|word| *word == "bytes").unwrap();
        words[bytes + 1].parse().unwrap()
    }

    /// Takes every rule away.
    pub(crate) async fn heal(&self) {
        nft(&format!("delete table inet {}", self.table)).await;
        self.make_table().await;
    }
}

async fn nft(rule: &str) -> String {
    let ran = Command::new("nft").arg(rule).output().await.unwrap();
    assert!(ran.status.success(), "nft {rule}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The near ports of the established connections to `port`.
pub(crate) async fn connections_to(port: u16) -> Vec<u16> {
    let far = format!(":{port}");
    let ran =
        Command::new("ss").args(["-Htn", "state", "established", "dport", "=", &far]).output().await.unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    // Recv-Q Send-Q Local:Port Peer:Port
    let near = |line: &str| line.split_whitespace().nth(2)?.rsplit(':').next()?.parse().ok();
    told.lines().filter_map(near).collect()
}
