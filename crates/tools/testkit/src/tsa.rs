//! Time-stamp authorities that do as a test says: stamp, hang, refuse or lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use der::asn1::{GeneralizedTime, Int, ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _};
use rcgen::{
    CertificateParams, CustomExtension, DnType, KeyPair, KeyUsagePurpose, SerialNumber, SigningKey as _,
};
use tokio::sync::Notify;
use truc_keys::{KeyKind, SignatureAlgorithm};
use truc_model::{Clock, Timestamp};
use truc_trust::timestamp::{TimeStampAuthority, TimeStampSource, TimeStampSourceError};
use truc_trust::{Certificate, cms};
use x509_tsp::{TimeStampReq, TspVersion, TstInfo};

use crate::memory_signer::TestKey;

const POLICY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.32473.1.1");

/// What an authority does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Stamps it.
    Good,
    /// Cannot be reached.
    Away,
    /// Takes it and never answers.
    Silent,
    /// Waits for [`Tsas::open`], then stamps.
    Gated,
    /// Says no.
    Refuses,
    /// Stamps somebody else's digest.
    OtherDigest,
    /// Answers another request.
    OtherNonce,
    /// Its clock is an hour ahead.
    Ahead,
    /// Answers with something else.
    Nonsense,
}

/// What is wrong with an authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// Its time is over.
    Expired,
    /// It may be used for other things too.
    ManyUsages,
    /// That it is for time-stamping alone is not critical.
    NotCritical,
}

struct Tsa {
    key: KeyPair,
    certificate: Certificate,
    mood: Mood,
    asked: usize,
}

/// Time-stamp authorities behind one [`TimeStampSource`]; each answers at `http://NAME.invalid/`.
pub struct Tsas {
    clock: Arc<dyn Clock>,
    all: Mutex<BTreeMap<String, Tsa>>,
    serial: Mutex<u64>,
    gate: Notify,
}

impl Tsas {
    /// None yet; their time is the clock's.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, all: Mutex::default(), serial: Mutex::new(0), gate: Notify::new() }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Tsa>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new authority; as the directory lists it.
    pub fn add(&self, name: &str, flaw: Flaw) -> TimeStampAuthority {
        let key = TestKey::generate(KeyKind::EcP256).into_pair();
        let der = params(name, flaw).self_signed(&key).unwrap().der().to_vec();
        let certificate = Certificate::from_der(&der).unwrap();
        let tsa = Tsa { key, certificate: certificate.clone(), mood: Mood::Good, asked: 0 };
        self.all().insert(url(name), tsa);
        TimeStampAuthority { name: name.to_owned(), certificate, url: url(name) }
    }

    /// From now on.
    pub fn set(&self, name: &str, mood: Mood) {
        self.all().get_mut(&url(name)).unwrap().mood = mood;
    }

    /// Lets one request of a gated authority through, now or as soon as it comes.
    pub fn open(&self) {
        self.gate.notify_one();
    }

    /// How often it was asked.
    pub fn asked(&self, name: &str) -> usize {
        self.all()[&url(name)].asked
    }

    fn stamp(&self, url: &str, request: &[u8], mood: Mood) -> Vec<u8> {
        let mut asked = TimeStampReq::from_der(request).unwrap();
        if mood == Mood::OtherDigest {
            asked.message_imprint.hashed_message = OctetString::new([7; 32].as_slice()).unwrap();
        }
        if mood == Mood::OtherNonce {
            asked.nonce = Some(Int::new(&[1]).unwrap());
        }
        let ahead = Duration::from_secs(if mood == Mood::Ahead { 3600 } else { 0 });
        let at = self.clock.now().plus(ahead);
        let serial = {
            let mut serial = self.serial.lock().unwrap_or_else(PoisonError::into_inner);
            *serial += 1;
            *serial
        };
        let info = TstInfo {
            version: TspVersion::V1,
            policy: POLICY,
            message_imprint: asked.message_imprint,
            serial_number: Int::new(&[&[1][..], &serial.to_be_bytes()].concat()).unwrap(),
            gen_time: generalized(at),
            accuracy: None,
            ordering: false,
            nonce: asked.nonce,
            tsa: None,
            extensions: None,
        };
        let all = self.all();
        let tsa = &all[url];
        let made = cms::prepare_encapsulated(
            cms::TIME_STAMP_INFO,
            &info.to_der().unwrap(),
            &tsa.certificate,
            SignatureAlgorithm::EcdsaP256Sha256,
            at,
        );
        let made = made.unwrap();
        let value = tsa.key.sign(made.bytes()).unwrap();
        granted(&made.assemble(&value).unwrap())
    }
}

fn url(name: &str) -> String {
    format!("http://{name}.invalid/")
}

fn generalized(at: Timestamp) -> GeneralizedTime {
    GeneralizedTime::from_unix_duration(Duration::from_secs(u64::try_from(at.seconds()).unwrap())).unwrap()
}

/// TimeStampResp of status `granted` around a token.
fn granted(token: &[u8]) -> Vec<u8> {
    let status = [0x30, 0x03, 0x02, 0x01, 0x00];
    let length = status.len() + token.len();
    let mut response = vec![0x30, 0x82];
    response.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    response.extend_from_slice(&status);
    response.extend_from_slice(token);
    response
}

fn params(name: &str, flaw: Flaw) -> CertificateParams {
    const STAMPING: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
    const CLIENT: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(if flaw == Flaw::Expired { 2021 } else { 2049 }, 1, 1);
    params.serial_number = Some(SerialNumber::from(1));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usages = if flaw == Flaw::ManyUsages { [STAMPING, CLIENT].concat() } else { STAMPING.to_vec() };
    let list = [&[0x30, u8::try_from(usages.len()).unwrap()], usages.as_slice()].concat();
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 37], list);
    extension.set_criticality(flaw != Flaw::NotCritical);
    params.custom_extensions.push(extension);
    params
}

#[async_trait]
impl TimeStampSource for Tsas {
    async fn fetch(
        &self,
        url: &str,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, TimeStampSourceError> {
        let away = || TimeStampSourceError("nobody is there".into());
        let mood = {
            let mut all = self.all();
            let tsa = all.get_mut(url).ok_or_else(away)?;
            tsa.asked += 1;
            tsa.mood
        };
        match mood {
            Mood::Away => return Err(away()),
            Mood::Silent => {
                tokio::time::sleep(deadline).await;
                return Err(TimeStampSourceError("no answer in time".into()));
            }
            Mood::Refuses => return Ok(Bytes::from_static(&[0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02])),
            Mood::Nonsense => return Ok(Bytes::from_static(b"<html>Welcome</html>")),
            Mood::Gated => self.gate.notified().await,
            Mood::Good | Mood::OtherDigest | Mood::OtherNonce | Mood::Ahead => {}
        }
        Ok(self.stamp(url, &request, mood).into())
    }
}

#[cfg(test)]
mod tests {
    use truc_model::SystemClock;
    use truc_trust::contract::{StampingAuthorities, time_stamp_source};

    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        let tsas = Tsas::new(Arc::new(SystemClock));
        let up = tsas.add("good", Flaw::None);
        let silent = tsas.add("silent", Flaw::None);
        tsas.set("silent", Mood::Silent);
        let on = StampingAuthorities { up: &up, down: "http://nobody.invalid/", silent: &silent.url };
        time_stamp_source(&tsas, on, SystemClock.now()).await.unwrap();
    }
}
