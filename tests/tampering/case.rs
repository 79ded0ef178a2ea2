//! One row of the matrix: what is changed, and what must come of it on both sides.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use truc_evidence::RecordKind::{self, Refusal, Request, Response, Unsigned};
use truc_exchange::ports::{ConsumerSide as _, ServiceAnswer};
use truc_exchange::{CallContext, Draft};
use truc_message::{Body, CanonicalQuery};
use truc_model::{Fault, FaultCode, Side};
use truc_testkit::{Bus, TestNode, draft};

use crate::relay::{OnChunks, OnOutcome, OnTape, Plan, Relay, Scene, Way};
use crate::wire::{Said, Tape};
use crate::{CLIENT, CONSUMER, PROVIDER, SERVICE, federation};

/// What comes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The honest provider's node, on the wire.
    pub(crate) provider: Said,
    /// The caller behind the honest consumer's node: an HTTP status, or a fault and where it was raised.
    pub(crate) caller: Result<u16, (Side, FaultCode)>,
    /// How often the service was called for this exchange.
    pub(crate) calls: usize,
    /// Records of this exchange at the provider's node.
    pub(crate) there: Vec<RecordKind>,
    /// Records of this exchange at the consumer's node.
    pub(crate) here: Vec<RecordKind>,
}

/// The provider's node tells an unsigned fault, calls nothing, records nothing; the consumer's node records what it heard.
pub(crate) fn told(code: FaultCode) -> Outcome {
    Outcome {
        provider: Said::Fault(code),
        caller: Err((Side::ServerProxy, code)),
        calls: 0,
        there: vec![],
        here: vec![Request, Unsigned],
    }
}

/// The provider's node refuses under its member's seal, calls nothing, and both sides have it on record.
pub(crate) fn refused(code: FaultCode) -> Outcome {
    Outcome {
        provider: Said::Refusal(code),
        caller: Err((Side::ServerProxy, code)),
        calls: 0,
        there: vec![Request, Refusal],
        here: vec![Request, Refusal],
    }
}

/// The hostile node made another message of it that its own member sealed: the provider's node answers that message, which
/// is no answer to what the consumer's node asked.
pub(crate) fn another(provider: Said) -> Outcome {
    let (calls, ending) = match provider {
        Said::Refusal(_) => (0, Refusal),
        _ => (1, Response),
    };
    let there = vec![Request, ending];
    Outcome { calls, there, provider, ..doubted(FaultCode::InconsistentResponse) }
}

/// The provider's node hears nothing that it could answer; the caller is told at its deadline that nothing is known.
pub(crate) fn unheard() -> Outcome {
    let (provider, there) = (Said::Nothing, vec![]);
    Outcome { provider, calls: 0, there, ..doubted(FaultCode::OutcomeUnknown) }
}

/// The provider's node acted, and then says this unsigned word of its own, which the caller is told as that node's.
pub(crate) fn believed(code: FaultCode) -> Outcome {
    Outcome { caller: Err((Side::ServerProxy, code)), ..doubted(code) }
}

/// The service was called, once; the consumer's node does not believe the answer, says so, and does not keep it as one.
pub(crate) fn doubted(code: FaultCode) -> Outcome {
    Outcome {
        provider: Said::Response,
        caller: Err((Side::ClientProxy, code)),
        calls: 1,
        there: vec![Request, Response],
        here: vec![Request, Unsigned],
    }
}

/// Nothing was lost: the very answer of the provider is on both records and with the caller.
pub(crate) fn harmless() -> Outcome {
    Outcome {
        provider: Said::Response,
        caller: Ok(200),
        calls: 1,
        there: vec![Request, Response],
        here: vec![Request, Response],
    }
}

/// What moves the honest side's own deadlines on when the hostile node falls silent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    None,
    /// After the request was passed on.
    OfRequest(u64),
    /// After the answer was passed on.
    OfAnswer(u64),
}

pub(crate) struct Case {
    name: String,
    plan: Plan,
    expected: Outcome,
    silence: Silence,
    warm: bool,
    ill: bool,
    draft: fn() -> Draft,
    before: Option<Box<dyn Fn(&Bus)>>,
}

fn case(name: &str, plan: Plan, expected: Outcome) -> Case {
    Case {
        name: name.to_owned(),
        plan,
        expected,
        silence: Silence::None,
        warm: false,
        ill: false,
        draft: full_draft,
        before: None,
    }
}

/// A row whose request is changed.
pub(crate) fn request(
    name: &str,
    change: impl Fn(&mut Tape, &Scene) + Send + Sync + 'static,
    expected: Outcome,
) -> Case {
    case(name, Plan { request: Some(Box::new(change) as OnTape), ..Plan::default() }, expected)
}

/// A row whose answer is changed.
pub(crate) fn answer(
    name: &str,
    change: impl Fn(&mut Tape, &Scene) + Send + Sync + 'static,
    expected: Outcome,
) -> Case {
    case(name, Plan { answer: Some(Box::new(change) as OnTape), ..Plan::default() }, expected)
}

/// A row whose answer's big body is changed.
pub(crate) fn fetched(
    name: &str,
    change: impl Fn(&mut Vec<truc_wire::peer::BodyChunk>) + Send + Sync + 'static,
    expected: Outcome,
) -> Case {
    case(name, Plan { fetched: Some(Box::new(change) as OnChunks), ..Plan::default() }, expected)
}

/// A row in which the stream ends before the answer, and what `Outcome` says is changed.
pub(crate) fn outcome(
    name: &str,
    change: impl Fn(&mut truc_wire::peer::OutcomeReply, &Scene) + Send + Sync + 'static,
    expected: Outcome,
) -> Case {
    let lost = |tape: &mut Tape, _: &Scene| (tape.frames, tape.cut) = (vec![], true);
    let plan = Plan {
        answer: Some(Box::new(lost) as OnTape),
        outcome: Some(Box::new(change) as OnOutcome),
        ..Plan::default()
    };
    case(name, plan, expected)
}

impl Case {
    /// An honest exchange went over the same streams before.
    pub(crate) fn after_one(mut self) -> Self {
        self.warm = true;
        self
    }
    /// Afterwards the two nodes do not talk any more, and should not.
    pub(crate) fn and_no_more(mut self) -> Self {
        self.ill = true;
        self
    }
    /// The hostile node says nothing further to the provider's node for so many seconds.
    pub(crate) fn silent_request(mut self, seconds: u64) -> Self {
        self.silence = Silence::OfRequest(seconds);
        self
    }
    /// The hostile node says nothing further to the consumer's node for so many seconds.
    pub(crate) fn silent_answer(mut self, seconds: u64) -> Self {
        self.silence = Silence::OfAnswer(seconds);
        self
    }
    /// Another call than the usual one.
    pub(crate) fn of(mut self, draft: fn() -> Draft) -> Self {
        self.draft = draft;
        self
    }
    /// Something is so before the call.
    pub(crate) fn when(mut self, before: impl Fn(&Bus) + 'static) -> Self {
        self.before = Some(Box::new(before));
        self
    }
}

/// A call with every field there is.
pub(crate) fn full_draft() -> Draft {
    Draft {
        method: "POST".into(),
        query: Some(CanonicalQuery::parse("nam=2026").unwrap()),
        headers: vec![
            ("accept".into(), b"application/json".to_vec()),
            ("authorization".into(), b"Bearer bi-mat".to_vec()),
            ("cookie".into(), b"phien=1".to_vec()),
        ],
        media_type: Some("text/plain".into()),
        body: Body::new("hỏi về một công dân".into()).into(),
        context: CallContext {
            user_id: Some("cb-0123".into()),
            agency: Some("UBND".into()),
            purpose: Some("1.004194".into()),
            legal_basis: Some("Luật 26/2023".into()),
            consent: Some("phieu-7".into()),
            represented_party: Some("bo-phan".into()),
            issue: Some("ho-so-1".into()),
            client_message_id: Some("cua-toi-1".into()),
            idempotency_key: Some("mot-lan".into()),
            trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            target: None,
        },
        ..draft(CLIENT, SERVICE)
    }
}

pub(crate) fn sibling_draft() -> Draft {
    Draft { client: crate::SIBLING.parse().unwrap(), ..full_draft() }
}

pub(crate) fn empty_draft() -> Draft {
    Draft { body: Body::empty().into(), ..full_draft() }
}

pub(crate) fn big_draft() -> Draft {
    let body: Vec<u8> = (0_u8..251).cycle().take(600 * 1024).collect();
    Draft { body: Body::new(body.into()).into(), ..full_draft() }
}

/// The service answers with its request's body, one field in clear and two hidden ones.
pub(crate) fn serve(bus: &Bus) {
    bus.node(PROVIDER).services.on(SERVICE, |asked| async move {
        Ok(ServiceAnswer {
            status: 200,
            headers: vec![
                ("etag".into(), b"\"1\"".to_vec()),
                ("set-cookie".into(), b"a=1".to_vec()),
                ("set-cookie".into(), b"b=2".to_vec()),
            ],
            media_type: Some("text/plain".into()),
            body: asked.body.into(),
        })
    });
}

async fn kinds_of(node: &TestNode, skip: usize) -> Vec<RecordKind> {
    let mut kinds = Vec::new();
    for sequence in skip..node.memory.as_ref().unwrap().len() {
        kinds.push(node.store.read(sequence as u64).await.unwrap().kind);
    }
    kinds
}

/// Moves tokio's time on, once everything that was sent has been read.
pub(crate) async fn seconds_pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Nothing here takes that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Case {
    async fn carry_out(self) -> Result<(), String> {
        let bus = Arc::new(federation().start().await);
        serve(&bus);
        let relay = Relay::between(&bus).await;
        let (consumer, provider) = (bus.node(CONSUMER), bus.node(PROVIDER));
        let mut honest = 0;
        if self.warm {
            assert_eq!(consumer.call(full_draft()).await.unwrap().status, 200);
            honest += 1;
        }
        if let Some(before) = &self.before {
            before(&bus);
        }
        let (skip_here, skip_there) = (count(consumer), count(provider));
        relay.plan(Some(self.plan));
        let (side, draft) = (Arc::clone(&consumer.consumer), (self.draft)());
        let call = tokio::spawn(async move { side.call(draft).await });
        let silence = self.silence;
        let silent = async {
            match silence {
                Silence::None => {}
                Silence::OfRequest(_) => {
                    relay.passed(Way::Request, honest + 1).await;
                    relay.barrier().await;
                }
                Silence::OfAnswer(_) => {
                    relay.passed(Way::Answer, honest + 1).await;
                    // An honest answer behind the other one has been read: so has the other one.
                    relay.plan(None);
                    assert_eq!(consumer.call(full_draft()).await.unwrap().status, 200);
                }
            }
        };
        timeout(PATIENCE, silent).await.map_err(|_| "it never falls silent".to_owned())?;
        if let Silence::OfRequest(seconds) | Silence::OfAnswer(seconds) = silence {
            seconds_pass(seconds).await;
        }
        let ended = timeout(PATIENCE, call).await.map_err(|_| "it hangs".to_owned())?.unwrap();
        let extra = usize::from(matches!(self.silence, Silence::OfAnswer(_)));
        let told = |fault: &Fault| (fault.side, fault.code);
        let detail = ended.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let provider_said = relay.heard(Way::Answer).get(honest).map_or(Said::Nothing, Tape::said);
        let got = Outcome {
            provider: provider_said,
            caller: ended.map(|reply| reply.status).map_err(|failed| told(&failed.fault)),
            calls: provider.services.count() - honest - extra,
            there: without_honest(kinds_of(provider, skip_there).await, extra),
            here: without_honest(kinds_of(consumer, skip_here).await, extra),
        };
        relay.plan(None);
        let healthy = if self.ill { Ok(()) } else { still_well(consumer).await };
        bus.close().await;
        relay.close().await;
        if got != self.expected {
            return Err(format!("expected {:?}\n           got {got:?}\n           {detail}", self.expected));
        }
        healthy
    }
}

/// An honest exchange in between left its two records on each side.
fn without_honest(mut kinds: Vec<RecordKind>, honest: usize) -> Vec<RecordKind> {
    for _ in 0..honest {
        for kind in [Request, Response] {
            let at = kinds.iter().rposition(|k| *k == kind).unwrap();
            kinds.remove(at);
        }
    }
    kinds
}

fn count(node: &TestNode) -> usize {
    node.memory.as_ref().unwrap().len()
}

/// Whatever happened, the next honest call goes through.
async fn still_well(consumer: &TestNode) -> Result<(), String> {
    match timeout(PATIENCE, consumer.call(full_draft())).await {
        Ok(Ok(reply)) if reply.status == 200 => Ok(()),
        other => Err(format!("the next honest call: {other:?}")),
    }
}

/// Carries a table out and says how many rows held.
pub(crate) async fn all(table: &str, cases: Vec<Case>) {
    let (count, mut failed) = (cases.len(), Vec::new());
    for case in cases {
        let name = case.name.clone();
        if let Err(why) = case.carry_out().await {
            failed.push(format!("  {name}\n           {why}"));
        }
    }
    eprintln!("{table}: {} of {count} rows hold", count - failed.len());
    assert!(failed.is_empty(), "{table}:\n{}", failed.join("\n"));
}
