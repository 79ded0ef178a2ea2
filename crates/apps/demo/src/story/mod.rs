//! The story of `truc demo`, step by step, each checked as it is told (design §12).

mod forger;
mod proof;
mod steps;
mod teller;

use std::path::PathBuf;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, BusOptions, Processes, open_services, provision};
use crate::description;
use crate::http::HttpClient;
use steps::Tale;
use teller::Teller;

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
    let teller = Teller::new();
    teller.opening(&options.bus.dir);
    let begun = Instant::now();
    let layout = provision(&options.bus, &mut |what| teller.progress(begun, what)).await?;
    let mut processes = Processes::new(layout.clone(), options.program.clone());
    let told = tell(&options, &layout, &mut processes, &teller, begun, &stop).await;
    if let Ok(true) = told
        && !options.once
    {
        teller.staying(&layout, &processes, &options.program);
        stop.cancelled().await;
    }
    processes.stop_all().await;
    told
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
    teller.standing(begun);
    let mut tale = Tale {
        layout,
        processes,
        http: HttpClient::default(),
        program: options.program.clone(),
        first_call: None,
        container: None,
    };
    let all_well = tokio::select! {
        all_well = steps::tell(&mut tale, teller) => all_well,
        () = stop.cancelled() => return Ok(false),
    };
    description::write(layout, processes)?;
    teller.closing(begun, all_well);
    Ok(all_well)
}
