//! The rule of protocol P3.5, with responders and lists that work, lie, lag and go away; the clock is the test's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_keys::{KeyKind, SignatureAlgorithm};
use truc_model::{Digest, Timestamp};

use crate::ocsp::{self, CertId, Entry, Verdict};
use crate::testing::{Party, noon, seal};
use crate::{
    Accepted, Certificate, ServiceState, StatusBook, StatusPolicy, StatusSource, StatusSourceError, Subject,
    TrustError,
};

const A: &str = "http://a/";
const B: &str = "http://b/";
const LIST: &str = "http://list/";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What each URL answers; whoever is not here is away.
#[derive(Default)]
struct Net {
    answers: Mutex<HashMap<&'static str, Bytes>>,
    asked: Mutex<Vec<String>>,
    /// While set, answers wait.
    held: Option<tokio::sync::Semaphore>,
    waiting: AtomicUsize,
}

impl Net {
    fn set(&self, url: &'static str, answer: Option<Bytes>) {
        let mut answers = self.answers.lock().unwrap();
        match answer {
            Some(answer) => drop(answers.insert(url, answer)),
            None => drop(answers.remove(url)),
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    async fn answer(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        self.asked.lock().unwrap().push(url.to_owned());
        if let Some(held) = &self.held {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            drop(held.acquire().await.unwrap());
        }
        self.answers.lock().unwrap().get(url).cloned().ok_or_else(|| StatusSourceError("away".into()))
    }
}

#[async_trait]
impl StatusSource for Net {
    async fn ocsp(&self, url: &str, _: &Certificate, _: &Certificate) -> Result<Bytes, StatusSourceError> {
        self.answer(url).await
    }
    async fn revocation_list(&self, url: &str) -> Result<Bytes, StatusSourceError> {
        self.answer(url).await
    }
}

struct Bench {
    ca: Party,
    leaf: Party,
    authority: ApprovedAuthority,
    net: Arc<Net>,
    book: StatusBook,
}

impl Bench {
    fn new() -> Self {
        Self::over(Net::default())
    }

    fn over(net: Net) -> Self {
        let ca = Party::root("CA");
        let leaf = ca.issue(KeyKind::EcP256, seal("G01"), 4711);
        let authority = ApprovedAuthority {
            name: "CA".into(),
            certificate: Der(Bytes::copy_from_slice(ca.certificate.der())),
            intermediates: vec![],
            usages: vec![Usage::Sign],
            profile: Profile::Truc1,
            ocsp: vec![A.into(), B.into()],
            crl: Some(LIST.into()),
        };
        let net = Arc::new(net);
        let book = StatusBook::new(Arc::clone(&net) as _, StatusPolicy::default(), Digest([5; 32]));
        Self { ca, leaf, authority, net, book }
    }

    fn subject(&self) -> Subject<'_> {
        let (certificate, issuer) = (&self.leaf.certificate, &self.ca.certificate);
        Subject { certificate, issuer, authority: &self.authority }
    }

    fn says(&self, verdict: Verdict, this_update: Timestamp) -> Bytes {
        response(&self.ca, &self.leaf.certificate, verdict, this_update)
    }

    fn good(&self, this_update: Timestamp) -> Bytes {
        self.says(Verdict::Good, this_update)
    }

    fn list(&self, revoked: &[u64], this_update: Timestamp, life: Duration) -> Bytes {
        list(&self.ca, revoked, this_update, this_update.plus(life))
    }

    async fn ask(&self, carried: &[Bytes], now: Timestamp) -> Result<Accepted, TrustError> {
        self.book.establish(&self.subject(), carried, now).await
    }

    fn state(&self, now: Timestamp) -> ServiceState {
        self.book.inner.authorities.of("CA").state(StatusPolicy::default().grace, now)
    }
}

pub(crate) fn response(ca: &Party, of: &Certificate, verdict: Verdict, this_update: Timestamp) -> Bytes {
    let id = CertId::of(of, &ca.certificate);
    let entry = Entry { id, verdict, this_update, next_update: None };
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let to_sign = ocsp::prepare_response(&[entry], &ca.certificate, this_update, algorithm).unwrap();
    let value = ca.sign(to_sign.bytes());
    to_sign.assemble(&value).unwrap().into()
}

pub(crate) fn list(ca: &Party, revoked: &[u64], this_update: Timestamp, next_update: Timestamp) -> Bytes {
    let date = |at: Timestamp| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(at.seconds()).unwrap())
    };
    let entry = |serial: &u64| rcgen::RevokedCertParams {
        serial_number: rcgen::SerialNumber::from(*serial),
        revocation_time: date(this_update),
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = rcgen::CertificateRevocationListParams {
        this_update: date(this_update),
        next_update: date(next_update),
        crl_number: rcgen::SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    Bytes::copy_from_slice(params.signed_by(&ca.issuer).unwrap().der())
}

#[tokio::test]
async fn responders_are_tried_in_order_and_who_failed_last_is_tried_last() {
    let bench = Bench::new();
    bench.net.set(B, Some(bench.good(noon())));
    let accepted = bench.ask(&[], noon()).await.unwrap();
    assert!(!accepted.graced && accepted.list.is_none());
    assert_eq!(bench.net.asked(), [A, B]);
    // The status is stale by now; A is back, and still comes last for a while.
    let later = noon().plus(HOUR).plus(MINUTE);
    bench.net.set(A, Some(bench.good(later)));
    bench.net.set(B, Some(bench.good(later)));
    assert!(bench.ask(&[], later).await.is_ok());
    assert_eq!(bench.net.asked(), [A], "an hour is more than a while");
    bench.net.set(A, None);
    let later = later.plus(HOUR).plus(MINUTE);
    bench.net.set(B, Some(bench.good(later)));
    assert!(bench.ask(&[], later).await.is_ok());
    assert_eq!(bench.net.asked(), [A, B]);
    bench.net.set(A, Some(bench.good(later)));
    bench.book.renew(&bench.subject(), later.plus(MINUTE)).await.unwrap();
    assert_eq!(bench.net.asked(), [B], "a minute is not");
}

#[tokio::test]
async fn an_answer_that_settles_nothing_is_passed_over() {
    let other = Party::root("another");
    let make: [fn(&Bench, &Party) -> Bytes; 6] = [
        |_, _| Bytes::from_static(b"junk"),
        |_, _| ocsp::failure(ocsp::Failure::TryLater).into(),
        |_, _| ocsp::failure(ocsp::Failure::Unauthorised).into(),
        |bench, other| response(other, &bench.leaf.certificate, Verdict::Good, noon()),
        |bench, _| bench.good(noon().minus(2 * HOUR)),
        |bench, _| bench.good(noon().plus(HOUR)),
    ];
    for (n, wrong) in make.into_iter().enumerate() {
        let bench = Bench::new();
        bench.net.set(A, Some(wrong(&bench, &other)));
        bench.net.set(B, Some(bench.good(noon())));
        let accepted = bench.ask(&[], noon()).await.unwrap();
        assert_eq!((accepted.this_update, accepted.graced), (noon(), false), "{n}");
        assert_eq!(bench.state(noon()), ServiceState::Fresh);
        bench.net.set(B, None);
        let bench = Bench {
            book: StatusBook::new(Arc::clone(&bench.net) as _, StatusPolicy::default(), Digest([0; 32])),
            ..bench
        };
        let answer = bench.ask(&[], noon()).await;
        // Alone, only the stale one counts, and by grace.
        assert_eq!(answer.map(|a| a.graced).ok(), (n == 4).then_some(true), "{n}");
        assert_eq!(bench.state(noon()), ServiceState::Degraded);
    }
}

/// The attacker holds back the newer status and carries one from before the revocation.
#[tokio::test]
async fn a_stale_status_of_the_attackers_choice_counts_only_when_nobody_can_be_asked() {
    let revoked = Verdict::Revoked { at: noon().minus(HOUR) };
    let stale = |bench: &Bench| [bench.good(noon().minus(2 * HOUR))];
    let bench = Bench::new();
    bench.net.set(B, Some(bench.says(revoked, noon())));
    assert_eq!(bench.ask(&stale(&bench), noon()).await.unwrap_err(), TrustError::Revoked);
    // Once seen it stays, with everybody away.
    bench.net.set(B, None);
    assert_eq!(bench.ask(&stale(&bench), noon().plus(HOUR)).await.unwrap_err(), TrustError::Revoked);

    let bench = Bench::new();
    bench.net.set(A, Some(bench.says(Verdict::Unknown, noon())));
    assert_eq!(bench.ask(&stale(&bench), noon()).await.unwrap_err(), TrustError::StatusIsUnknown);
    bench.net.set(A, None);
    bench.net.set(LIST, Some(bench.list(&[], noon().plus(HOUR), HOUR)));
    let later = noon().plus(HOUR).plus(MINUTE);
    assert_eq!(
        bench.ask(&stale(&bench), later).await.unwrap_err(),
        TrustError::StatusIsUnknown,
        "whatever a list says"
    );

    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[4711], noon().minus(HOUR), 24 * HOUR)));
    assert_eq!(
        bench.ask(&stale(&bench), noon()).await.unwrap_err(),
        TrustError::Revoked,
        "the list is asked too"
    );

    let bench = Bench::new();
    let accepted = bench.ask(&stale(&bench), noon()).await.unwrap();
    assert!(accepted.graced && accepted.known.is_some() && accepted.list.is_none());
    assert_eq!(bench.net.asked(), [A, B, LIST], "only then");
}

#[tokio::test]
async fn without_a_responder_a_list_counts_as_long_as_a_response_would() {
    let bench = Bench::new();
    let life = 30 * 24 * HOUR;
    bench.net.set(LIST, Some(bench.list(&[1, 2, 3], noon(), life)));
    let accepted = bench.ask(&[], noon()).await.unwrap();
    assert!(accepted.known.is_none() && !accepted.graced && accepted.this_update == noon());
    assert_eq!(accepted.list.unwrap().list.this_update(), noon());
    assert_eq!(bench.state(noon()), ServiceState::Degraded, "the responders are away all the same");
    let graced = async |at: Timestamp| bench.ask(&[], at).await.map(|accepted| accepted.graced);
    assert_eq!(graced(noon().plus(HOUR)).await, Ok(false));
    assert_eq!(graced(noon().plus(HOUR + MINUTE)).await, Ok(true));
    assert_eq!(graced(noon().plus(12 * HOUR)).await, Ok(true));
    let gone = TrustError::StatusUnavailable(bench.leaf.certificate.fingerprint());
    assert_eq!(
        graced(noon().plus(12 * HOUR + MINUTE)).await,
        Err(gone.clone()),
        "although the list is in force for a month"
    );
    assert_eq!(bench.state(noon().plus(13 * HOUR)), ServiceState::Expired);

    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[], noon(), HOUR)));
    assert!(bench.ask(&[], noon()).await.is_ok());
    let gone = TrustError::StatusUnavailable(bench.leaf.certificate.fingerprint());
    assert_eq!(bench.ask(&[], noon().plus(HOUR + MINUTE)).await.unwrap_err(), gone, "past its nextUpdate");
    // A new list, and it works again; then the responder, and it works as before.
    let later = noon().plus(2 * HOUR);
    bench.net.set(LIST, Some(bench.list(&[], later, HOUR)));
    assert!(bench.ask(&[], later).await.unwrap().list.is_some());
    let later = later.plus(HOUR + 11 * MINUTE);
    bench.net.set(A, Some(bench.good(later)));
    let accepted = bench.ask(&[], later).await.unwrap();
    assert!(accepted.list.is_none() && !accepted.graced);
    assert_eq!(bench.state(later), ServiceState::Fresh);
}

#[tokio::test]
async fn revoked_on_a_list_is_revoked_for_good() {
    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[4711], noon(), HOUR)));
    assert_eq!(bench.ask(&[], noon()).await.unwrap_err(), TrustError::Revoked);
    let later = noon().plus(11 * MINUTE);
    bench.net.set(LIST, Some(bench.list(&[], later, HOUR)));
    assert_eq!(bench.ask(&[], later).await.unwrap_err(), TrustError::Revoked, "a later list is silent");
    assert_eq!(
        bench.ask(&[bench.good(later)], later).await.unwrap_err(),
        TrustError::Revoked,
        "a response says good"
    );
    let much_later = noon().plus(50 * HOUR);
    assert_eq!(bench.ask(&[bench.good(much_later)], much_later).await.unwrap_err(), TrustError::Revoked);
    // The same for one that nobody had asked about while the list was in force.
    let bench = Bench::new();
    bench.book.offer_list(&bench.ca.certificate, &bench.list(&[4711], noon(), HOUR), noon()).unwrap();
    assert_eq!(bench.ask(&[bench.good(noon())], noon()).await.unwrap_err(), TrustError::Revoked);
}

#[tokio::test]
async fn a_list_never_outdoes_a_newer_response_nor_an_older_list_a_newer_one() {
    let bench = Bench::new();
    let revoked = bench.says(Verdict::Revoked { at: noon() }, noon());
    bench.net.set(LIST, Some(bench.list(&[], noon().plus(HOUR), 24 * HOUR)));
    let later = noon().plus(HOUR + MINUTE);
    assert_eq!(bench.ask(&[revoked], later).await.unwrap_err(), TrustError::Revoked);
    // A newer response than the list is the one relied on.
    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[], noon(), 24 * HOUR)));
    let carried = [bench.good(noon().plus(MINUTE))];
    let accepted = bench.ask(&carried, noon().plus(2 * HOUR)).await.unwrap();
    assert!(accepted.list.is_none() && accepted.graced && accepted.this_update == noon().plus(MINUTE));
    // Somebody replays the list of before.
    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[4711], noon(), 24 * HOUR)));
    assert_eq!(bench.ask(&[], noon()).await.unwrap_err(), TrustError::Revoked);
    let before = bench.list(&[], noon().minus(HOUR), 24 * HOUR);
    bench.book.offer_list(&bench.ca.certificate, &before, noon()).unwrap();
    assert_eq!(bench.book.lists()[0].list.this_update(), noon());
}

#[tokio::test]
async fn a_list_is_fetched_once_in_ten_minutes() {
    let bench = Bench::new();
    bench.net.set(LIST, Some(bench.list(&[], noon(), 24 * HOUR)));
    let lists = |bench: &Bench| bench.net.asked().iter().filter(|url| *url == LIST).count();
    let at = |minutes: u32| noon().plus(HOUR + (1 + minutes) * MINUTE);
    let mut fetched = Vec::new();
    for minutes in [0, 1, 9, 10, 11, 20] {
        assert!(bench.ask(&[], at(minutes)).await.unwrap().graced);
        fetched.push(lists(&bench));
    }
    assert_eq!(fetched, [1, 0, 0, 1, 0, 1]);
    // Broken lists are not asked for again and again either.
    let bench = Bench::new();
    bench.net.set(LIST, Some(Bytes::from_static(b"junk")));
    let mut fetched = 0;
    for second in 0..100 {
        drop(bench.ask(&[], noon().plus(Duration::from_secs(second))).await);
        fetched += lists(&bench);
    }
    assert!((3..=9).contains(&fetched), "{fetched}");
}

#[tokio::test]
async fn an_outage_is_met_with_few_queries() {
    let bench = Bench::new();
    let stale = [bench.good(noon().minus(2 * HOUR))];
    let mut asked = 0;
    for second in 0..600 {
        assert!(bench.ask(&stale, noon().plus(Duration::from_secs(second))).await.unwrap().graced);
        asked += bench.net.asked().len();
    }
    assert!((20..=70).contains(&asked), "{asked} requests to three services in ten minutes");
    let back = noon().plus(Duration::from_secs(600));
    bench.net.set(A, Some(bench.good(back.plus(MINUTE))));
    assert!(!bench.ask(&stale, back.plus(MINUTE)).await.unwrap().graced, "noticed within a minute");
}

#[tokio::test]
async fn many_who_need_one_status_make_one_query() {
    let held = Some(tokio::sync::Semaphore::new(0));
    let bench = Bench::over(Net { held, ..Net::default() });
    bench.net.set(A, Some(bench.good(noon())));
    let subject = bench.subject();
    let mut all: Vec<_> = (0..100).map(|_| bench.book.establish(&subject, &[], noon()).boxed()).collect();
    for one in &mut all {
        assert!(one.now_or_never().is_none());
    }
    // Who began it goes away; the others still get their answer.
    drop(all.remove(0));
    bench.net.held.as_ref().unwrap().add_permits(1000);
    for one in futures::future::join_all(all).await {
        assert!(!one.unwrap().graced);
    }
    assert_eq!(bench.net.asked(), [A]);
    assert_eq!(bench.net.waiting.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_the_service_is_known_to_be_away_only_one_exchange_waits_for_it() {
    let held = Some(tokio::sync::Semaphore::new(1000));
    let bench = Bench::over(Net { held, ..Net::default() });
    let stale = [bench.good(noon().minus(2 * HOUR))];
    assert!(bench.ask(&stale, noon()).await.unwrap().graced);
    bench.net.asked();
    bench.net.held.as_ref().unwrap().forget_permits(1000);
    let later = noon().plus(MINUTE);
    let subject = bench.subject();
    let mut prober = bench.book.establish(&subject, &stale, later).boxed();
    assert!((&mut prober).now_or_never().is_none(), "it tries again");
    // The others need no list either: that one is under rest or being fetched by nobody, and what they have is within grace.
    let mut second = bench.book.establish(&subject, &stale, later).boxed();
    let waits_for_list = (&mut second).now_or_never().is_none();
    assert_eq!(bench.net.asked(), if waits_for_list { vec![A, LIST] } else { vec![A] });
    bench.net.held.as_ref().unwrap().add_permits(1000);
    assert!(prober.await.unwrap().graced);
}
