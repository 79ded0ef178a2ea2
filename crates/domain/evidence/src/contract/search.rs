//! What a search must find: every field alone, some together, and page by page without a gap or a double.

use bytes::Bytes;
use truc_message::Kind;
use truc_model::{Digest, MessageId};

use super::{Check, Sample, ensure, text};
use crate::{EvidenceStore, Found, KeyedHash, NewRecord, Outcome, PAGE_LIMIT, Query, RecordKind, Role};

/// Exchanges in the store; more than some stores keep together, so that endings fall far from their beginnings.
const EXCHANGES: u64 = 90;
/// Answers of every fourth come after so many further requests.
const LATE: u64 = 20;

const CLIENTS: [&str; 3] = ["VN/GOV/H26/mot-cua-so-1", "VN/GOV/H26/mot-cua-so-2", "VN/GOV/H26/khac"];
const SERVICES: [&str; 2] = ["VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan", "VN/GOV/G01/csdl-dancu/tra-cuu-ho"];
const AGENCIES: [&str; 3] = ["Sở Tư pháp", "UBND phường 1", "UBND phường 2"];
const HOSTED_CLIENT: &str = "VN/GOV/G01/hoi";
const HOSTED_SERVICE: &str = "VN/GOV/H26/kho/ho-so";

fn keyed(what: &str, number: u64) -> KeyedHash {
    KeyedHash { key_id: "index-1".into(), hash: Digest::of(format!("{what} {number}").as_bytes()) }
}

/// Hashes as whoever has two keys asks for them: one of an older key that finds nothing, and the one wanted.
fn hashes(what: &str, number: u64) -> Option<Vec<KeyedHash>> {
    Some(vec![KeyedHash { key_id: "index-0".into(), hash: Digest::of(b"another") }, keyed(what, number)])
}

const fn is_provided(n: u64) -> bool {
    n % 9 == 4
}

fn agency(n: u64) -> Option<&'static str> {
    AGENCIES.get(usize::try_from(n % 4).ok()?).copied()
}

fn purpose(n: u64) -> String {
    format!("Mục đích {}", n % 6)
}

fn outcome(n: u64) -> (Outcome, Option<&'static str>) {
    match n % 8 {
        5 => (Outcome::Refused, Some("NO_RIGHT")),
        6 => (Outcome::Unknown, Some("TIMEOUT")),
        7 => (Outcome::Unknown, None),
        _ => (Outcome::Ok, None),
    }
}

fn sample(n: u64) -> Result<Sample, String> {
    let mut sample = Sample::new(n)?;
    let pick = |of: &[&'static str]| of.get(usize::try_from(n).ok()? % of.len()).copied();
    let (client, service) = match is_provided(n) {
        true => (Some(HOSTED_CLIENT), Some(HOSTED_SERVICE)),
        false => (pick(&CLIENTS), pick(&SERVICES)),
    };
    sample.client = client.unwrap_or_default().parse().map_err(text)?;
    sample.service = service.unwrap_or_default().parse().map_err(text)?;
    Ok(sample)
}

/// Gives a record what its exchange has: its people, and its half of the node.
fn of_exchange(mut record: NewRecord, n: u64) -> NewRecord {
    let local = &mut record.local;
    local.officer = Some(keyed("officer", n % 5));
    local.subject = Some(keyed("subject", n % 7)).filter(|_| record.kind == RecordKind::Request);
    local.dossier = Some(keyed("dossier", n % 11));
    if is_provided(n) {
        local.role = Role::Provider;
        record.owner = local.service.member();
    }
    record
}

fn request(n: u64) -> Result<NewRecord, String> {
    let sample = sample(n)?;
    let mut record = of_exchange(sample.request(b"")?, n);
    let mut header = sample.header(Kind::Request, sample.at)?;
    header.agency = agency(n).map(str::to_owned);
    header.purpose = Some(purpose(n));
    header.client_message_id = Some(format!("ma-{}", n % 30));
    record.header = Bytes::from(header.to_bytes().map_err(text)?);
    Ok(record)
}

fn ending(n: u64) -> Result<Option<NewRecord>, String> {
    let sample = sample(n)?;
    let record = match outcome(n) {
        (Outcome::Ok, _) => sample.response(b"{}")?,
        (Outcome::Refused, fault) => sample.refusal(fault.unwrap_or_default(), None)?,
        (outcome, Some(fault)) => sample.unsigned(fault, Some(outcome))?,
        (_, None) => return Ok(None),
    };
    Ok(Some(of_exchange(record, n)))
}

/// Fills an empty store with exchanges that differ in everything that can be asked for, and asks.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn search(store: &dyn EvidenceStore) -> Check {
    let append = async |record| store.append(record, None).await.map(drop).map_err(text);
    for n in 0..EXCHANGES + LATE {
        if n < EXCHANGES {
            append(request(n)?).await?;
        }
        let late = n.checked_sub(LATE).filter(|late| late % 4 == 0);
        for ended in [Some(n).filter(|n| n % 4 != 0 && *n < EXCHANGES), late].into_iter().flatten() {
            if let Some(record) = ending(ended)? {
                append(record).await?;
            }
        }
    }
    search_reopened(store).await
}

/// What [`search`] appended is found, also after the store was reopened or its index made again.
///
/// # Errors
/// The sentence names the clause that does not hold.
pub async fn search_reopened(store: &dyn EvidenceStore) -> Check {
    for (clause, query, wanted) in cases()? {
        let wanted: Vec<u64> = (0..EXCHANGES).rev().filter(|n| wanted(*n)).collect();
        for limit in [0, 1, 4, 50] {
            let found = all_pages(store, Query { limit, ..query.clone() }).await?;
            ensure(found == wanted, &format!("{clause}, in pages of {limit}: {found:?}, not {wanted:?}"))?;
        }
    }
    cursors(store).await
}

type Case = (&'static str, Query, Box<dyn Fn(u64) -> bool + Send>);

fn case(clause: &'static str, query: Query, wanted: impl Fn(u64) -> bool + Send + 'static) -> Case {
    (clause, query, Box::new(wanted))
}

fn cases() -> Result<Vec<Case>, String> {
    let q = Query::default;
    let id = |n| Ok::<_, String>(Some(sample(n)?.request));
    let answer = |n| Ok::<_, String>(Some(Sample::id(sample(n)?.at.plus(super::SECOND), 1, n)));
    let client = CLIENTS[1].parse().ok();
    let service: Option<truc_model::ServiceId> = SERVICES[0].parse().ok();
    let hosted = HOSTED_SERVICE.parse().ok();
    let owner = |text: &str| text.parse().ok();
    let (from, to) = (Some(sample(30)?.at), Some(sample(60)?.at));
    let own = |n: u64| !is_provided(n);
    let is_client = move |n: u64| own(n) && n % 3 == 1;
    let is_service = move |n: u64| own(n) && n.is_multiple_of(2);
    let consumer = Some(Role::Consumer);
    Ok(vec![
        case("no condition finds everything", q(), |_| true),
        case("a request's id finds it", Query { message: id(17)?, ..q() }, |n| n == 17),
        case("an answer's id finds its exchange", Query { message: answer(20)?, ..q() }, |n| n == 20),
        case("so does that of a refusal", Query { message: answer(13)?, ..q() }, |n| n == 13),
        case("an unknown id finds nothing", Query { message: answer(7)?, ..q() }, |_| false),
        case("a caller's id", Query { caller_id: Some("ma-7".into()), ..q() }, |n| n % 30 == 7),
        case("a part of a caller's id", Query { caller_id: Some("ma".into()), ..q() }, |_| false),
        case("a client", Query { client: client.clone(), ..q() }, is_client),
        case("a service", Query { service: service.clone(), ..q() }, is_service),
        case(
            "a client and a service",
            Query { client: client.clone(), service: service.clone(), ..q() },
            move |n| is_client(n) && is_service(n),
        ),
        case("a client of another service", Query { client: client.clone(), service: hosted, ..q() }, |_| {
            false
        }),
        case("an officer", Query { officer: hashes("officer", 3), ..q() }, |n| n % 5 == 3),
        case("a subject", Query { subject: hashes("subject", 2), ..q() }, |n| n % 7 == 2),
        case("a dossier", Query { dossier: hashes("dossier", 10), ..q() }, |n| n % 11 == 10),
        case("a person is no other field's", Query { officer: hashes("subject", 2), ..q() }, |_| false),
        case("no hash finds nothing", Query { subject: Some(vec![]), ..q() }, |_| false),
        case("an agency", Query { agency: Some(AGENCIES[1].into()), ..q() }, |n| n % 4 == 1),
        case("a purpose", Query { purpose: Some(purpose(5)), ..q() }, |n| n % 6 == 5),
        case("a fault", Query { fault: Some("NO_RIGHT".into()), ..q() }, |n| n % 8 == 5),
        case("another fault", Query { fault: Some("TIMEOUT".into()), ..q() }, |n| n % 8 == 6),
        case("answered", Query { outcome: Some(Outcome::Ok), ..q() }, |n| outcome(n).0 == Outcome::Ok),
        case("refused", Query { outcome: Some(Outcome::Refused), ..q() }, |n| n % 8 == 5),
        case("failed", Query { outcome: Some(Outcome::Failed), ..q() }, |_| false),
        case("unknown or open", Query { outcome: Some(Outcome::Unknown), ..q() }, |n| n % 8 >= 6),
        case("the consumer's half", Query { role: consumer, ..q() }, own),
        case("the provider's half", Query { role: Some(Role::Provider), ..q() }, is_provided),
        case("a hosted member's", Query { owner: owner("VN/GOV/H26"), ..q() }, |_| true),
        case("a stranger's", Query { owner: owner("VN/GOV/G01"), ..q() }, |_| false),
        case("a time", Query { since: from, until: to, ..q() }, |n| (30..60).contains(&n)),
        case("a time without end", Query { since: from, ..q() }, |n| n >= 30),
        case("a time that is over before it begins", Query { since: to, until: from, ..q() }, |_| false),
        case(
            "officer, service and time",
            Query { officer: hashes("officer", 3), service, until: to, ..q() },
            move |n| n % 5 == 3 && is_service(n) && n < 60,
        ),
        case(
            "subject, purpose and outcome",
            Query {
                subject: hashes("subject", 2),
                purpose: Some(purpose(3)),
                outcome: Some(Outcome::Ok),
                ..q()
            },
            |n| n % 7 == 2 && n % 6 == 3 && outcome(n).0 == Outcome::Ok,
        ),
        case(
            "client, agency and fault",
            Query { client, agency: Some(AGENCIES[1].into()), fault: Some("NO_RIGHT".into()), ..q() },
            move |n| is_client(n) && n % 4 == 1 && n % 8 == 5,
        ),
        case(
            "a request and another one's subject",
            Query { message: id(17)?, subject: hashes("subject", 4), ..q() },
            |_| false,
        ),
    ])
}

async fn page(store: &dyn EvidenceStore, query: Query) -> Result<Found, String> {
    let limit = query.page();
    let found = store.list(query).await.map_err(text)?;
    ensure(found.exchanges.len() <= limit, "a page is never longer than was asked")?;
    Ok(found)
}

fn number_of(id: &MessageId) -> u64 {
    let (_, low) = id.as_bytes().split_at(8);
    low.try_into().map_or(u64::MAX, u64::from_be_bytes) & 0xffff
}

async fn all_pages(store: &dyn EvidenceStore, mut query: Query) -> Result<Vec<u64>, String> {
    let mut found = Vec::new();
    // More pages than exchanges: a store that goes round in circles is found out.
    for _ in 0..=EXCHANGES {
        let page = page(store, query.clone()).await?;
        for exchange in page.exchanges {
            let (n, number) = (number_of(&exchange.id), exchange.id);
            let (outcome, fault) = outcome(n);
            ensure(exchange.id == sample(n)?.request, "an id is that of a request")?;
            ensure(
                exchange.outcome == outcome && exchange.fault.as_deref() == fault,
                &format!("{number} ended as {:?} {:?}", exchange.outcome, exchange.fault),
            )?;
            ensure(exchange.time == sample(n)?.at, "a time is that of the request")?;
            found.push(n);
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(found),
        }
    }
    Err("a search never ends".into())
}

/// A cursor comes back from outside and may be anything.
async fn cursors(store: &dyn EvidenceStore) -> Check {
    let nothing = page(store, Query { after: Some(0), ..Query::default() }).await?;
    ensure(nothing == Found::default(), "behind the beginning there is nothing")?;
    let everything =
        page(store, Query { after: Some(u64::MAX), limit: usize::MAX, ..Query::default() }).await?;
    ensure(everything == page(store, Query::default()).await?, "a cursor beyond the end is no cursor")?;
    ensure(everything.exchanges.len() as u64 == EXCHANGES && PAGE_LIMIT as u64 > EXCHANGES, "all are there")?;
    let records = 2 * EXCHANGES;
    for after in 0..records {
        let found = all_pages(store, Query { after: Some(after), limit: 7, ..Query::default() }).await?;
        let wanted =
            everything.exchanges.iter().filter(|e| e.records.first().is_some_and(|first| *first < after));
        let wanted: Vec<u64> = wanted.map(|e| number_of(&e.id)).collect();
        ensure(found == wanted, &format!("behind {after} there is only what is older"))?;
    }
    Ok(())
}
