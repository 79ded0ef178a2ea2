//! Runs one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use truc_model::Digest;
use turmoil::Sim;

use crate::invariants;
use crate::node::live;
use crate::papers::{NODES, PROVIDERS, address, papers};
use crate::plan::Event;
use crate::world::World;

const TICK: Duration = Duration::from_millis(20);

/// By then every exchange must be closed.
const LIMIT: Duration = Duration::from_secs(1000);

/// How often it is asked whether all is done.
const LOOK_EVERY: u32 = 25;

/// What came of a seed.
pub(crate) struct Ran {
    pub(crate) lines: Vec<String>,
    pub(crate) digest: Digest,
    /// What is said of single calls beyond the log.
    pub(crate) asides: Vec<String>,
    /// What did not hold; empty when all is well.
    pub(crate) wrong: Vec<String>,
    pub(crate) simulated: Duration,
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// Runs `seed` to its end.
pub(crate) fn run(seed: u64) -> Ran {
    papers();
    let world = Arc::new(World::new(seed));
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(2 * LIMIT)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(world.plan.latency)
        .tcp_capacity(256)
        .build();
    for node in 0..NODES.len() {
        let ours = Arc::clone(&world);
        sim.host(name(node), move || live(node, Arc::clone(&ours)));
        assert!(address(node).starts_with(&format!("{}:", sim.lookup(name(node)))), "addresses in order");
    }
    let mut net = Net { sim, links: BTreeMap::new() };
    let stopped = to_the_end(&mut net, &world);
    let mut wrong = invariants::check(&world);
    wrong.extend(stopped.err());
    let simulated = net.sim.elapsed();
    // Dropping the simulation ends every process; what they then do is no part of the run.
    let (lines, digest) = (world.journal.lines(), world.journal.digest());
    Ran { lines, digest, asides: world.journal.asides(), wrong, simulated }
}

fn to_the_end(net: &mut Net<'_>, world: &World) -> Result<(), String> {
    let mut events = world.plan.events.iter().peekable();
    let mut steps = 0_u32;
    loop {
        let now = net.sim.elapsed();
        while let Some((_, event)) = events.next_if(|(at, _)| *at <= now) {
            world.journal.note_at(now, format_args!("{event:?}"));
            net.apply(*event);
        }
        net.sim.step().map_err(|error| format!("a node ended: {error}"))?;
        steps += 1;
        if !steps.is_multiple_of(LOOK_EVERY) {
            continue;
        }
        invariants::nobody_waits_too_long(world, now)?;
        if now > world.plan.healed && invariants::settled(world) {
            return Ok(());
        }
        if now > LIMIT {
            return Err(format!("not everything is closed after {LIMIT:?}"));
        }
    }
}

/// The simulated network with what is done to it.
struct Net<'s> {
    sim: Sim<'s>,
    /// What is done to each link, by consumer's and provider's node.
    links: BTreeMap<(usize, usize), Event>,
}

impl Net<'_> {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Crash(node) => self.quietly(node, |sim| sim.crash(name(node))),
            Event::Bounce(node) => self.quietly(node, |sim| sim.bounce(name(node))),
            Event::Start(node) => self.sim.bounce(name(node)),
            Event::PartitionOneWay(from, to) => {
                self.links.insert((from.max(to), from.min(to)), event);
                self.put(event);
            }
            Event::Partition(a, b)
            | Event::Repair(a, b)
            | Event::Hold(a, b)
            | Event::Release(a, b)
            | Event::Slow(a, b, _)
            | Event::Lossy(a, b, _) => {
                self.links.insert((a, b), event);
                self.put(event);
            }
        }
    }

    fn put(&mut self, event: Event) {
        let sim = &mut self.sim;
        match event {
            Event::Partition(a, b) => sim.partition(name(a), name(b)),
            Event::PartitionOneWay(from, to) => sim.partition_oneway(name(from), name(to)),
            Event::Repair(a, b) => sim.repair(name(a), name(b)),
            Event::Hold(a, b) => sim.hold(name(a), name(b)),
            Event::Release(a, b) => sim.release(name(a), name(b)),
            Event::Slow(a, b, longest) => sim.set_link_max_message_latency(name(a), name(b), longest),
            Event::Lossy(a, b, lost) => {
                sim.set_link_fail_rate(name(a), name(b), f64::from(lost) / 1000.0);
            }
            Event::Crash(_) | Event::Start(_) | Event::Bounce(_) => {}
        }
    }

    /// The connections of a process that ends are closed in the order in which its tasks are dropped, which is no part of the
    /// simulation's order. So its links are held meanwhile, which draws no latencies; then everything arrives at once.
    fn quietly(&mut self, node: usize, end: impl FnOnce(&mut Sim<'_>)) {
        let links: Vec<_> = (PROVIDERS..NODES.len())
            .flat_map(|a| (0..PROVIDERS).map(move |b| (a, b)))
            .filter(|(a, b)| node == *a || node == *b)
            .collect();
        for (a, b) in &links {
            match self.links.get(&(*a, *b)) {
                Some(Event::Partition(..) | Event::Hold(..)) => {}
                Some(Event::PartitionOneWay(..)) => self.put(Event::Partition(*a, *b)),
                Some(Event::Lossy(..)) => {
                    self.put(Event::Lossy(*a, *b, 0));
                    self.put(Event::Hold(*a, *b));
                }
                _ => self.put(Event::Hold(*a, *b)),
            }
        }
        end(&mut self.sim);
        for (a, b) in links {
            match self.links.get(&(a, b)).copied() {
                Some(Event::Partition(..) | Event::Hold(..)) => {}
                Some(oneway @ Event::PartitionOneWay(..)) => {
                    self.put(Event::Repair(a, b));
                    self.put(oneway);
                }
                Some(lossy @ Event::Lossy(..)) => {
                    self.put(Event::Release(a, b));
                    self.put(lossy);
                }
                _ => self.put(Event::Release(a, b)),
            }
        }
    }
}
