//! What a seed stands for: who calls what and when, and what happens to the network and the nodes meanwhile.

use std::time::Duration;

use crate::papers::{NODES, PROVIDERS, SERVICES};

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.between(0, length as u64 - 1)).unwrap()
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// A body, of one octet repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyPlan {
    pub(crate) length: usize,
    pub(crate) octet: u8,
    /// It comes in pieces, and whether its length is announced.
    pub(crate) flows: Option<bool>,
}

impl BodyPlan {
    fn draw(dice: &mut Dice, huge: bool) -> Self {
        let octet = u8::try_from(dice.between(1, 255)).unwrap();
        let (length, flows) = match dice.between(0, 99) {
            _ if huge => (dice.between(10 << 20, 11 << 20), Some(dice.percent(50))),
            0..60 => (dice.between(0, 2048), None),
            60..85 => (dice.between(190 << 10, 210 << 10), None),
            // A short body that flows is announced: unannounced ones are waited for, up to 10 MiB, before they leave.
            _ => (dice.between(65 << 10, 600 << 10), Some(true)),
        };
        Self { length: usize::try_from(length).unwrap(), octet, flows }
    }
}

/// One call of an information system.
#[derive(Debug, Clone)]
pub(crate) struct CallPlan {
    /// The index of the consumer's node in [`NODES`].
    pub(crate) node: usize,
    pub(crate) at: Duration,
    pub(crate) service: &'static str,
    pub(crate) request: BodyPlan,
    pub(crate) answer: BodyPlan,
    /// How long the service takes, and whether it then breaks off.
    pub(crate) takes: Duration,
    pub(crate) fails: bool,
}

/// What is done to a link between a consumer's node and a provider's, or to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Partition(usize, usize),
    /// From the first to the second only.
    PartitionOneWay(usize, usize),
    Repair(usize, usize),
    Hold(usize, usize),
    Release(usize, usize),
    /// Longest latency of the link.
    Slow(usize, usize, Duration),
    /// Messages lost, in a thousand.
    Lossy(usize, usize, u16),
    Crash(usize),
    Start(usize),
    /// Crash and start with nothing in between.
    Bounce(usize),
}

/// All that a seed decides.
pub(crate) struct Plan {
    pub(crate) calls: Vec<CallPlan>,
    /// In the order of time.
    pub(crate) events: Vec<(Duration, Event)>,
    /// Longest latency of a healthy link.
    pub(crate) latency: Duration,
    /// By how many milliseconds each node's clock is off.
    pub(crate) skews: Vec<i64>,
    /// From then on all is well.
    pub(crate) healed: Duration,
}

/// One seed in so many has a body of more than 10 MiB.
const HUGE_EVERY: u64 = 20;

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let latency = dice.millis(5, 60);
        let skews = NODES.iter().map(|_| i64::try_from(dice.between(0, 20_000)).unwrap() - 10_000).collect();
        let mut calls: Vec<CallPlan> = (0..dice.between(8, 14)).map(|_| call(&mut dice)).collect();
        if seed.is_multiple_of(HUGE_EVERY) {
            let huge = BodyPlan::draw(&mut dice, true);
            let asks = dice.percent(50);
            let call = calls.first_mut().unwrap();
            *(if asks { &mut call.request } else { &mut call.answer }) = huge;
        }
        let events = events(&mut dice, latency);
        let healed = events.last().map_or(Duration::ZERO, |(at, _)| *at) + Duration::from_millis(10);
        let last = (PROVIDERS..NODES.len())
            .flat_map(|node| SERVICES.map(|service| last_call(node, service, healed)));
        calls.extend(last);
        Self { calls, events, latency, skews, healed }
    }
}

fn call(dice: &mut Dice) -> CallPlan {
    CallPlan {
        node: PROVIDERS + dice.index(NODES.len() - PROVIDERS),
        at: dice.millis(0, 20_000),
        service: SERVICES[dice.index(SERVICES.len())],
        request: BodyPlan::draw(dice, false),
        answer: BodyPlan::draw(dice, false),
        takes: if dice.percent(60) { dice.millis(0, 50) } else { dice.millis(50, 6000) },
        fails: dice.percent(5),
    }
}

/// A half-dead connection is given up by then: keep-alive asks every 20 s and waits 10 s.
const WELL_AGAIN: Duration = Duration::from_secs(33);

/// A call that must be answered at once, since all is well again.
fn last_call(node: usize, service: &'static str, healed: Duration) -> CallPlan {
    let body = BodyPlan { length: 10, octet: 7, flows: None };
    let takes = Duration::from_millis(10);
    CallPlan { node, at: healed + WELL_AGAIN, service, request: body, answer: body, takes, fails: false }
}

/// Faults of one link or node follow each other; those of different ones overlap.
fn events(dice: &mut Dice, latency: Duration) -> Vec<(Duration, Event)> {
    let mut events = Vec::new();
    for a in PROVIDERS..NODES.len() {
        for b in 0..PROVIDERS {
            let mut at = dice.millis(500, 15_000);
            while dice.percent(45) && at < Duration::from_secs(25) {
                let (fault, end, longest) = link_fault(dice, a, b, latency);
                let until = at + dice.millis(20, longest);
                events.extend([(at, fault), (until, end)]);
                at = until + dice.millis(500, 15_000);
            }
        }
    }
    for node in 0..NODES.len() {
        let mut at = dice.millis(500, 20_000);
        while dice.percent(40) && at < Duration::from_secs(25) {
            if dice.percent(50) {
                events.push((at, Event::Bounce(node)));
            } else {
                let up = at + dice.millis(20, 15_000);
                events.extend([(at, Event::Crash(node)), (up, Event::Start(node))]);
                at = up;
            }
            at += dice.millis(500, 10_000);
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// A fault of the link, what ends it, and for how many milliseconds it lasts at most.
fn link_fault(dice: &mut Dice, a: usize, b: usize, latency: Duration) -> (Event, Event, u64) {
    let (from, to) = if dice.percent(50) { (a, b) } else { (b, a) };
    match dice.between(0, 4) {
        0 => (Event::Partition(a, b), Event::Repair(a, b), 35_000),
        1 => (Event::PartitionOneWay(from, to), Event::Repair(a, b), 35_000),
        2 => (Event::Hold(a, b), Event::Release(a, b), 25_000),
        3 => (Event::Slow(a, b, dice.millis(200, 3000)), Event::Slow(a, b, latency), 20_000),
        _ => {
            let lost = u16::try_from(dice.between(2, 60)).unwrap();
            (Event::Lossy(a, b, lost), Event::Lossy(a, b, 0), 8_000)
        }
    }
}
