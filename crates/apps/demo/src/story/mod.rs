//! The story of `truc demo`, step by step, each checked as it is told (design §12).

mod enrolment;
mod forger;
mod merger;
mod past;
mod proof;
mod rewriter;
mod steps;
mod teller;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, BusOptions, Processes, open_services, provision};
use crate::description;
use crate::http::HttpClient;
use steps::Tale;
use teller::Teller;

/// How often a demo that stays up looks after its processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Nobody who listens to a story waits a minute for a time-stamp, in seconds.
const STAMP_EVERY: u32 = 2;

/// How the demo is run.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The bus.
    pub bus: BusOptions,
    /// The one binary, by which every process is started.
    pub program: PathBuf,
    /// End after the story instead of staying up.
    pub once: bool,
}

/// Makes or finds the bus, starts it, tells the story, writes `demo.json`, and stays up until `stop` unless told otherwise.
/// Returns whether every step went as told.
///
/// # Errors
/// [`BusError`] when the bus does not stand.
pub async fn run(options: DemoOptions, stop: CancellationToken) -> Result<bool, BusError> {
    let _only_one = take_folder(&options.bus.dir)?;
    let teller = Teller::new();
    teller.opening(&options.bus.dir);
    let begun = Instant::now();
    let bus = BusOptions { stamp_every: Some(STAMP_EVERY), ..options.bus.clone() };
    let layout = provision(&bus, &mut |what| teller.progress(begun, what)).await?;
    let mut processes = Processes::new(layout.clone(), options.program.clone());
    let told = tell(&options, &layout, &mut processes, &teller, begun, &stop).await;
    if let Ok(true) = told
        && !options.once
    {
        teller.staying(&layout, &processes, &options.program);
        stay(&mut processes, &teller, &options, &stop).await;
    }
    processes.stop_all().await;
    if options.once {
        // Where everything lies, for whoever starts it again; nothing runs any more.
        description::write(&layout, &processes)?;
    }
    told
}

/// Two demos in one folder would talk to each other's processes.
fn take_folder(dir: &Path) -> Result<File, BusError> {
    std::fs::create_dir_all(dir).map_err(|e| BusError::file(dir, e))?;
    let path = dir.join("lock");
    let lock = File::options().create(true).append(true).open(&path).map_err(|e| BusError::file(&path, e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(BusError::file(
            dir,
            "a demo already runs in this folder; end it, or choose another with --dir",
        )),
        Err(std::fs::TryLockError::Error(error)) => Err(BusError::file(&path, error)),
    }
}

/// Stays up until told to stop, and says so when a process ends by itself.
async fn stay(processes: &mut Processes, teller: &Teller, options: &DemoOptions, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        for (process, log) in processes.ended() {
            teller.lost(&process, &log, &options.program);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

async fn tell(
    options: &DemoOptions,
    layout: &crate::bus::Layout,
    processes: &mut Processes,
    teller: &Teller,
    begun: Instant,
    stop: &CancellationToken,
) -> Result<bool, BusError> {
    let mut progress = |what: &str| teller.progress(begun, what);
    let started = tokio::select! {
        started = processes.start_all(&mut progress) => started,
        () = stop.cancelled() => return Ok(false),
    };
    started?;
    open_services(layout).await?;
    teller.standing(begun, layout.enrolled().count());
    let mut tale = Tale {
        layout,
        processes,
        http: HttpClient::default(),
        program: options.program.clone(),
        first_call: None,
        container: None,
        heads: None,
    };
    let tally = tokio::select! {
        tally = steps::tell(&mut tale, teller) => tally,
        () = stop.cancelled() => return Ok(false),
    };
    if !options.once {
        description::write(layout, processes)?;
    }
    teller.closing(begun, tally);
    Ok(tally.failed == 0)
}
