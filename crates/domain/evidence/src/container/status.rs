//! What the certificate authorities said of a signer, before and after its time-stamp (protocol P3.5).

use std::time::Duration;

use bytes::Bytes;
use truc_message::CALL_LIFE;
use truc_model::Timestamp;
use truc_trust::{Certificate, CertificateStatus, StatusPolicy, Verdict as Standing, crl, ocsp};

use super::report::{CheckName, State};
use super::verify::Outcomes;

type Outcome = (CheckName, State, String);

/// The statuses of one record, and whose they should be.
pub(super) struct Carried<'a> {
    /// OCSP responses that the record relied on.
    pub(super) before: Vec<&'a Bytes>,
    /// Revocation lists that stood in for a responder that was away (ADR 0019).
    pub(super) lists: Vec<&'a Bytes>,
    /// How many the record names: longer ones are not kept.
    pub(super) lists_named: usize,
    /// OCSP responses made after the time-stamp.
    pub(super) after: Vec<&'a Bytes>,
    pub(super) signer: &'a Certificate,
    pub(super) issuer: &'a Certificate,
}

/// What is relied on, and where it was read.
struct Relied {
    status: CertificateStatus,
    list: bool,
}

impl Carried<'_> {
    pub(super) fn judge(&self, sent: Timestamp, stamped: Option<Timestamp>) -> Outcomes {
        let before = self.check_before(sent, stamped);
        let Some(stamped) = stamped else { return vec![before] };
        let (after, first) = self.check_after(sent, stamped);
        let later = first.filter(|_| self.is_silent(sent)).and_then(|first| self.stand_in(&first));
        vec![later.unwrap_or(before), after]
    }

    /// The newest response about the signer decides; it is fresh for an hour and graced for twelve (protocol P3.5). One made
    /// later than any call lives says nothing of the time of sending; when the record was made is nobody's signed word.
    fn check_before(&self, sent: Timestamp, stamped: Option<Timestamp>) -> Outcome {
        let name = CheckName::Status;
        let (response, later) = match self.newest_response(sent.plus(CALL_LIFE)) {
            Ok(found) => found,
            Err(why) => return (name, State::Failed, why),
        };
        let list = self.newest_list(sent);
        let Some(Relied { status, list }) = choose(response, list) else {
            return (name, State::NotShown, self.nothing(later).into());
        };
        let source = if list { "revocation list" } else { "OCSP" };
        let since = status.this_update;
        match status.verdict {
            Standing::Revoked { at } => revoked(name, at, sent, stamped),
            Standing::Unknown => (name, State::Failed, "the responder does not know the certificate".into()),
            Standing::Good => good(source, since, sent),
        }
    }

    /// Whether the record carries no status at all about the signer, neither of the time of sending nor of a later one.
    fn is_silent(&self, sent: Timestamp) -> bool {
        let of_signer = |bytes: &&Bytes| {
            let judged = ocsp::read(bytes).and_then(|r| r.judge(self.signer, self.issuer, sent));
            judged != Err(ocsp::OcspError::OtherCertificate)
        };
        let of_issuer = |bytes: &&Bytes| crl::read(bytes, self.issuer).is_ok();
        !self.before.iter().any(of_signer) && !self.lists.iter().any(of_issuer)
    }

    /// A revocation is final, so that whoever is good after the token was good when it signed: the status after stands in where
    /// the record has none. Only *good* does: a responder's *revoked* may be a hold, whose time says nothing of the time before.
    /// Nor does one from after the certificate ended, of which a responder may have forgotten (RFC 6960 §4.4.4).
    fn stand_in(&self, first: &CertificateStatus) -> Option<Outcome> {
        let since = first.this_update;
        let counts = first.verdict == Standing::Good && since <= self.signer.not_after();
        counts.then(|| {
            let said = format!("the record carries none; good (OCSP), as of {since}, after the time-stamp: so it was good before, as a revocation is final");
            (CheckName::Status, State::Ok, said)
        })
    }

    fn nothing(&self, later: bool) -> &'static str {
        if later {
            "the OCSP responses in this record are of a later time than the sending, or of impossible times"
        } else if self.lists_named > self.lists.len() {
            "the record relied on a revocation list that was too long to be kept; the authority has it"
        } else {
            "no OCSP response about the signer's certificate is in this record"
        }
    }

    fn newest_response(&self, at: Timestamp) -> Result<(Option<CertificateStatus>, bool), String> {
        let (mut newest, mut later) = (None::<CertificateStatus>, false);
        for bytes in &self.before {
            match ocsp::read(bytes).and_then(|response| response.judge(self.signer, self.issuer, at)) {
                Ok(status) if newest.is_none_or(|n| n.this_update <= status.this_update) => {
                    newest = Some(status);
                }
                // Statuses of several certificates lie together: one that is of another is no failure.
                Ok(_) | Err(ocsp::OcspError::OtherCertificate) => {}
                Err(ocsp::OcspError::Times) => later = true,
                Err(why) => return Err(why.to_string()),
            }
        }
        Ok((newest, later))
    }

    /// Lists of other authorities, and such as were not in force, say nothing of this signer.
    fn newest_list(&self, at: Timestamp) -> Option<CertificateStatus> {
        let judged =
            |bytes: &&Bytes| crl::read(bytes, self.issuer).and_then(|l| l.judge(self.signer, at)).ok();
        self.lists.iter().filter_map(judged).max_by_key(|status| status.this_update)
    }

    /// The first status issued after the token: whoever's key was stolen has had the time to say so. A later one that says "revoked
    /// before the token" counts against it nevertheless: a CA may learn late when a key was lost. Returns that first status where
    /// all of them hold.
    fn check_after(&self, sent: Timestamp, stamped: Timestamp) -> (Outcome, Option<CertificateStatus>) {
        match self.first_after(sent, stamped) {
            Err(failed) => (failed, None),
            Ok(None) => {
                let why = "no status issued after the time-stamp is in this container";
                ((CheckName::StatusAfter, State::NotShown, why.into()), None)
            }
            Ok(Some(status)) => (told_after(&status, sent, stamped), Some(status)),
        }
    }

    fn first_after(&self, sent: Timestamp, stamped: Timestamp) -> Result<Option<CertificateStatus>, Outcome> {
        let name = CheckName::StatusAfter;
        let mut found = None::<CertificateStatus>;
        for bytes in &self.after {
            // Judged at its own time: it may be read years later.
            let status = ocsp::read(bytes).and_then(|r| r.judge(self.signer, self.issuer, r.produced_at()));
            let status = match status {
                Ok(status) if status.this_update >= stamped => status,
                Ok(status) => {
                    let why = format!("of {}, which is not after the time-stamp", status.this_update);
                    return Err((name, State::Failed, why));
                }
                Err(why) => return Err((name, State::Failed, why.to_string())),
            };
            if let Standing::Revoked { at } = status.verdict
                && at <= stamped
            {
                return Err(revoked(name, at, sent, Some(stamped)));
            }
            let sooner = found.is_none_or(|f| status.this_update < f.this_update);
            found = if sooner { Some(status) } else { found };
        }
        Ok(found)
    }
}

fn told_after(status: &CertificateStatus, sent: Timestamp, stamped: Timestamp) -> Outcome {
    let name = CheckName::StatusAfter;
    match status.verdict {
        Standing::Good => (name, State::Ok, format!("good, as of {}", status.this_update)),
        Standing::Unknown => (name, State::Failed, "the responder does not know the certificate".into()),
        Standing::Revoked { at } => revoked(name, at, sent, Some(stamped)),
    }
}

/// A list never outdoes what a response says against a certificate; of two that say good the newer one is relied on.
fn choose(response: Option<CertificateStatus>, list: Option<CertificateStatus>) -> Option<Relied> {
    let response = response.map(|status| Relied { status, list: false });
    let list = list.map(|status| Relied { status, list: true });
    match (response, list) {
        (Some(r), Some(l)) => {
            let against = r.status.verdict != Standing::Good;
            let keep = against
                || (l.status.verdict == Standing::Good && r.status.this_update >= l.status.this_update);
            Some(if keep { r } else { l })
        }
        (one, other) => one.or(other),
    }
}

/// A token shows that the signature is older than a revocation; without one only the signer's word would.
fn revoked(name: CheckName, at: Timestamp, sent: Timestamp, stamped: Option<Timestamp>) -> Outcome {
    match stamped {
        _ if at <= sent => (name, State::Failed, format!("revoked {at}, before the message was sent")),
        Some(stamped) if at > stamped => {
            (name, State::Ok, format!("revoked {at}, after the time-stamp of {stamped}: it was good before"))
        }
        Some(stamped) => {
            let why = format!(
                "revoked {at}, before the time-stamp of {stamped}: nothing shows the signature to be older"
            );
            (name, State::Failed, why)
        }
        None => (
            name,
            State::NotShown,
            format!("revoked {at}, after the time of sending: only a time-stamp could tell"),
        ),
    }
}

fn good(source: &str, since: Timestamp, sent: Timestamp) -> Outcome {
    let (name, policy) = (CheckName::Status, StatusPolicy::default());
    let within = |limit: Duration| sent <= since.plus(limit);
    if within(policy.freshness) {
        (name, State::Ok, format!("good and fresh ({source}), as of {since}"))
    } else if within(policy.grace) {
        let said = format!("good ({source}), as of {since}: past 1 h, accepted by grace of up to 12 h");
        (name, State::Ok, said)
    } else {
        (name, State::Failed, format!("too old, as of {since}: more than 12 h before the sending"))
    }
}
