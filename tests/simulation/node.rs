//! One node as a process: everything real but the network, the disk, the clock and the services. A crash takes all but the
//! disk; the start after it is that of a real node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use truc_evidence::{EvidenceStore, IndexKey, OpenRequest, Recorder, Role};
use truc_exchange::ports::{ConsumerSide as _, CurrentDirectory, NoTimeStamps, PeerLink, ProviderSide};
use truc_exchange::{Consumer, Draft, DraftBody, Ground, Provider, Sealing};
use truc_message::Body;
use truc_model::{Clock, Retry, Timestamp};
use truc_peer::{Connections, Identity, PeerDoor, PeerDoorConfig, PeerLinks};
use truc_testkit::registry::InForce;
use truc_testkit::{MemorySpool, draft};
use truc_trust::{OwnStatuses, StatusPolicy, Verifier};

use crate::journal::elapsed;
use crate::network::{SimListener, SimNetwork};
use crate::papers::{NodePapers, Responder, client, papers, start};
use crate::plan::CallPlan;
use crate::service::{Services, is, pieces, whole};
use crate::world::{State, Told, World};

/// The wall clock of one node: simulated time, a little off.
struct SimClock {
    off_by: i64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let now = start().plus(elapsed());
        let off = Duration::from_millis(self.off_by.unsigned_abs());
        if self.off_by < 0 { now.minus(off) } else { now.plus(off) }
    }
}

/// As a node's own: how often open exchanges are looked for, and how old one must be.
const ABANDONED_EVERY: Duration = Duration::from_secs(60);
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

/// A caller who was told "not carried out" tries so often in all.
const ATTEMPTS: usize = 3;

/// Both halves of a running node.
struct Halves {
    ground: Arc<Ground>,
    consumer: Arc<Consumer>,
    provider: Arc<Provider>,
}

/// The process of a node, from its start to its end, which is a crash.
pub(crate) async fn live(node: usize, world: Arc<World>) -> turmoil::Result {
    let own = &papers().nodes[node];
    world.journal.note(format_args!("{} starts", own.id));
    let clock: Arc<dyn Clock> = Arc::new(SimClock { off_by: world.plan.skews[node] });
    let directory = Arc::new(InForce::default());
    directory.set(Arc::clone(&papers().directory));
    let directory = directory as Arc<dyn CurrentDirectory>;
    let identity = Arc::new(Identity::new(&[Bytes::copy_from_slice(own.auth.der())], &own.auth_key)?);
    identity.staple(&own.auth.fingerprint(), &papers().statuses.of(&own.auth));
    let (connections, spool) = (Connections::default(), MemorySpool::for_tests());
    let network = || SimNetwork { node, journal: Arc::clone(&world.journal) };
    let links = PeerLinks::new(
        &identity,
        Arc::clone(&directory),
        Arc::clone(&clock),
        connections.clone(),
        Arc::clone(&spool) as _,
    )?;
    let links: Arc<dyn PeerLink> = Arc::new(links.over(Arc::new(network())));
    let halves = Halves::new(own, node, &world, &clock, &directory, links);

    let open = halves.ground.recorder.restore().await?;
    let (ours, asked): (Vec<_>, Vec<_>) =
        open.into_iter().partition(|request| request.record.local.role == Role::Consumer);
    halves.provider.close_open(&asked).await;
    tokio::spawn(close_abandoned(halves.clone(), ours));
    spawn_callers(node, &world, &halves.consumer);

    let side = Arc::clone(&halves.provider) as Arc<dyn ProviderSide>;
    let config = PeerDoorConfig::default();
    let door = PeerDoor::new(&identity, directory, clock, side, connections, spool, config)?;
    let listener = SimListener::bind(network()).await?;
    door.serve(listener, CancellationToken::new()).await?;
    Ok(())
}

impl Clone for Halves {
    fn clone(&self) -> Self {
        let (ground, consumer, provider) = (&self.ground, &self.consumer, &self.provider);
        Self { ground: Arc::clone(ground), consumer: Arc::clone(consumer), provider: Arc::clone(provider) }
    }
}

impl Halves {
    fn new(
        own: &'static NodePapers,
        node: usize,
        world: &Arc<World>,
        clock: &Arc<dyn Clock>,
        directory: &Arc<dyn CurrentDirectory>,
        links: Arc<dyn PeerLink>,
    ) -> Self {
        let index_keys: HashMap<_, _> = own
            .seals
            .keys()
            .map(|member| (member.clone(), vec![IndexKey::new("index-1", &[7; 32])]))
            .collect();
        let statuses = Arc::new(OwnStatuses::default());
        for seal in own.seals.values() {
            let fingerprint = seal.certificate.fingerprint();
            statuses.renew_seal(fingerprint, papers().statuses.of(&seal.certificate));
        }
        statuses.renew_auth(papers().statuses.of(&own.auth));
        let store = Arc::clone(&world.disks[node]) as Arc<dyn EvidenceStore>;
        let ground = Arc::new(Ground {
            me: own.id.clone(),
            clock: Arc::clone(clock),
            directory: Arc::clone(directory),
            verifier: Verifier::new(own.id.clone(), Arc::new(Responder), StatusPolicy::default()),
            recorder: Recorder::new(store, Arc::clone(clock), index_keys),
            sealing: Sealing::new(Arc::clone(&own.signer) as _, own.seals.clone(), statuses),
            time_stamps: Arc::new(NoTimeStamps),
        });
        let consumer = Arc::new(Consumer::new(Arc::clone(&ground), links, own.hosted.clone()));
        let services = Arc::new(Services { node, world: Arc::clone(world) });
        let policy = Arc::new(ArcSwap::from_pointee(own.policy.clone()));
        let provider = Arc::new(Provider::new(Arc::clone(&ground), policy, services));
        Self { ground, consumer, provider }
    }
}

/// First what the last run left open, then, ever again, what this one does.
async fn close_abandoned(halves: Halves, left_open: Vec<OpenRequest>) {
    halves.consumer.close_open(left_open).await;
    loop {
        tokio::time::sleep(ABANDONED_EVERY).await;
        let before = halves.ground.clock.now().minus(ABANDONED_AFTER);
        let Ok(open) = halves.ground.recorder.abandoned(before).await else { continue };
        let (ours, asked): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|request| request.record.local.role == Role::Consumer);
        halves.provider.close_open(&asked).await;
        halves.consumer.close_open(ours).await;
    }
}

/// The information systems behind a node. Whoever was waiting when it crashed was told nothing, and does not try again.
fn spawn_callers(node: usize, world: &Arc<World>, consumer: &Arc<Consumer>) {
    for (number, plan) in world.plan.calls.iter().enumerate().filter(|(_, plan)| plan.node == node) {
        let state = world.calls()[number].state;
        if let State::Waiting(_) = state {
            world.journal.note(format_args!("call-{number} is told nothing"));
            let call = &mut world.calls()[number];
            call.attempts.push(Told::Nothing);
            call.state = State::Done;
        }
        if matches!(state, State::NotBegun | State::Again) {
            let (world, consumer) = (Arc::clone(world), Arc::clone(consumer));
            tokio::spawn(call(number, plan.clone(), world, consumer));
        }
    }
}

async fn call(number: usize, plan: CallPlan, world: Arc<World>, consumer: Arc<Consumer>) {
    tokio::time::sleep(plan.at.saturating_sub(elapsed())).await;
    loop {
        let attempt = world.calls()[number].attempts.len() + 1;
        world.calls()[number].state = State::Waiting(elapsed());
        world.journal.note(format_args!("call-{number}.{attempt} begins"));
        let told = match consumer.call(draft_of(number, attempt, &plan)).await {
            Ok(reply) => {
                if !is(&reply.body, plan.answer) {
                    world.journal.violation(format_args!("call-{number}.{attempt} got another answer"));
                }
                Told::Answer(reply.request)
            }
            Err(failed) => {
                world.journal.aside(format_args!("call-{number}.{attempt}: {}", failed.fault));
                Told::Fault(failed.fault.code)
            }
        };
        let what = match told {
            Told::Fault(code) => code.as_str(),
            _ => "the answer",
        };
        world.journal.note(format_args!("call-{number}.{attempt} is told {what}"));
        let again = attempt < ATTEMPTS && matches!(told, Told::Fault(code) if code.retry() == Retry::Later);
        {
            let call = &mut world.calls()[number];
            call.attempts.push(told);
            call.state = if again { State::Again } else { State::Done };
        }
        if !again {
            return;
        }
        let pause = 500 + (number * 7919 + attempt * 3571) % 4000;
        tokio::time::sleep(Duration::from_millis(pause as u64)).await;
    }
}

fn draft_of(number: usize, attempt: usize, plan: &CallPlan) -> Draft {
    let mut draft = draft(client(plan.node), plan.service);
    draft.method = "POST".into();
    draft.context.client_message_id = Some(format!("call-{number}"));
    draft.context.issue = Some(attempt.to_string());
    draft.body = match plan.request.flows {
        None => Body::new(whole(plan.request)).into(),
        Some(announced) => DraftBody::Coming {
            announced: announced.then_some(plan.request.length as u64),
            pieces: pieces(plan.request),
        },
    };
    draft
}
