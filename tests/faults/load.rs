//! Load while something fails: callers that go on whatever they are told, and remember what that was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use truc_model::MessageId;

use crate::support::{Bus, DESK, ECHO, until};

const CALLERS: u64 = 8;
const BIG: usize = 200 << 10;

/// What the caller of one call was told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The service's answer; `whole` when it is what the service said.
    Answered { id: MessageId, status: u16, whole: bool },
    /// A fault of the bus.
    Fault { status: u16, code: String, id: Option<MessageId>, text: String },
    /// Nothing: the connection broke, or there was none.
    Nothing(String),
}

/// One call.
#[derive(Debug)]
pub(crate) struct Called {
    /// The caller's own id (`X-Road-Id`), no two the same.
    pub(crate) own: String,
    pub(crate) told: Told,
}

impl Called {
    pub(crate) const fn is_answered(&self) -> bool {
        matches!(self.told, Told::Answered { .. })
    }
    /// What it was told, in a word: a fault's code, nothing for an answer.
    fn name(&self) -> &str {
        match &self.told {
            Told::Answered { .. } => "",
            Told::Fault { code, .. } => code,
            Told::Nothing(_) => "nothing",
        }
    }
}

/// One call by the usual desk: mostly small writes and reads, every eighth with a body of 200 KiB each way.
pub(crate) async fn call(bus: &Bus) -> Called {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let own = format!("goi-{}-{number}", std::process::id());
    let (method, path, body) = match number % 8 {
        0 => ("POST", "raw", big(number)),
        1 | 2 => ("GET", "doc", Bytes::new()),
        _ => ("POST", "raw", Bytes::from(format!("ghi {number}"))),
    };
    let headers = [("X-Road-Client", DESK), ("X-Road-Id", own.as_str()), ("Content-Type", "text/plain")];
    let url = bus.edge(&format!("/r1/{ECHO}/{path}/{number}"));
    let answer = match bus.http.send(method, &url, &headers, body.clone()).await {
        Ok(answer) => answer,
        Err(error) => return Called { own, told: Told::Nothing(error) },
    };
    let (status, told) = (answer.status.as_u16(), answer.json());
    if answer.header("x-road-error").is_some() {
        let code = told["code"].as_str().unwrap_or_default().to_owned();
        let id = told["requestId"].as_str().and_then(|text| text.parse().ok());
        return Called { own, told: Told::Fault { status, code, id, text: told.to_string() } };
    }
    let id = answer.header("x-road-request-id").unwrap().parse().unwrap();
    let whole = if path == "raw" { answer.body == body } else { told["length"] == 0 };
    Called { own, told: Told::Answered { id, status, whole } }
}

fn big(number: u64) -> Bytes {
    (0..BIG)
        .map(|place| (number as usize).wrapping_add(place.wrapping_mul(31)) as u8)
        .collect::<Vec<_>>()
        .into()
}

/// Callers at work until they are stopped.
pub(crate) struct Load {
    bus: Arc<Bus>,
    stop: Arc<AtomicBool>,
    /// How often which fault was told; answers under the empty name.
    told: Arc<Mutex<HashMap<String, usize>>>,
    callers: Vec<JoinHandle<Vec<Called>>>,
}

impl Load {
    /// Starts eight callers, and waits until the service has heard of forty calls.
    pub(crate) async fn start(bus: &Arc<Bus>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::<Mutex<HashMap<String, usize>>>::default();
        let before = bus.echo.total();
        let callers = (0..CALLERS)
            .map(|_| {
                let (bus, stop, told) = (Arc::clone(bus), Arc::clone(&stop), Arc::clone(&told));
                tokio::spawn(async move {
                    let mut called = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let one = call(&bus).await;
                        // Who is refused at once does not ask again at once.
                        if !one.is_answered() {
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                        *told.lock().unwrap().entry(one.name().to_owned()).or_default() += 1;
                        called.push(one);
                    }
                    called
                })
            })
            .collect();
        let load = Self { bus: Arc::clone(bus), stop, told, callers };
        until("the load runs", || async { bus.echo.total() > before + 40 }).await;
        load
    }

    fn count(&self, name: &str) -> usize {
        self.told.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    /// How many calls were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.count("")
    }

    /// How many calls were told this fault so far.
    pub(crate) fn told(&self, fault: &str) -> usize {
        self.count(fault)
    }

    /// Waits until `more` further calls were told this fault.
    pub(crate) async fn until_told(&self, fault: &str, more: usize) {
        let before = self.count(fault);
        until(&format!("callers are told {fault}"), || async { self.count(fault) >= before + more }).await;
    }

    /// Waits until `more` further calls were answered.
    pub(crate) async fn answers(&self, more: usize) {
        let before = self.count("");
        until("calls are answered", || async { self.count("") >= before + more }).await;
    }

    /// Waits until `more` further calls were carried out.
    pub(crate) async fn goes_on(&self, more: u32) {
        let before = self.bus.echo.total();
        until("the load goes on", || async { self.bus.echo.total() > before + more }).await;
    }

    /// Stops the callers; returns what each call came to.
    pub(crate) async fn stop(mut self) -> Vec<Called> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for caller in std::mem::take(&mut self.callers) {
            all.extend(caller.await.unwrap());
        }
        all
    }
}

impl Drop for Load {
    /// When a test fails, its callers end with it: they hold the bus.
    fn drop(&mut self) {
        for caller in &self.callers {
            caller.abort();
        }
    }
}
