//! Asking the authorities, one after the other, until one gives a good token (`docs/evidence.md` §3.3).

use std::time::Duration;

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use truc_model::{Clock, Digest, Timestamp};
use truc_trust::Standings;
use truc_trust::timestamp::{TimeStampAuthority, TimeStampRequest, TimeStampSource, judge_response};

use crate::error::StampError;
use crate::state::AuthorityStanding;

/// One authority has this long.
const DEADLINE: Duration = Duration::from_secs(10);
/// Authorities that are asked for one token.
const ASKED: usize = 16;

/// A token that was judged and is to be kept.
pub(crate) struct Stamped {
    pub(crate) authority: String,
    pub(crate) gen_time: Timestamp,
    pub(crate) token: Bytes,
}

/// Remembers how each authority answered.
pub(crate) struct Asking {
    standings: Standings,
}

impl Asking {
    pub(crate) fn new(seed: Digest) -> Self {
        Self { standings: Standings::new(seed) }
    }

    pub(crate) fn standings(
        &self,
        authorities: &[TimeStampAuthority],
        grace: Duration,
        now: Timestamp,
    ) -> Vec<AuthorityStanding> {
        let told = |authority: &TimeStampAuthority| {
            let standing = self.standings.of(&authority.name);
            AuthorityStanding { name: authority.name.clone(), state: standing.state(grace, now), standing }
        };
        authorities.iter().map(told).collect()
    }

    /// How long to rest after everybody failed so many times in a row: 1 s, 2 s … 60 s, of that half to the whole.
    pub(crate) fn rest(&self, failures: u32) -> Duration {
        self.standings.rest("", failures)
    }

    /// A token over `imprint` from the first authority that gives a good one; who failed lately is asked last.
    pub(crate) async fn token(
        &self,
        imprint: Digest,
        authorities: &[TimeStampAuthority],
        source: &dyn TimeStampSource,
        clock: &dyn Clock,
    ) -> Result<Stamped, StampError> {
        let names: Vec<String> = authorities.iter().map(|authority| authority.name.clone()).collect();
        let mut failures = Vec::new();
        for name in self.standings.order(&names, clock.now()).into_iter().take(ASKED) {
            let Some(authority) = authorities.iter().find(|authority| authority.name == name) else {
                continue;
            };
            match ask(imprint, authority, source, clock).await? {
                Ok(stamped) => {
                    if self.standings.answered(&name, clock.now()) {
                        tracing::info!(authority = %name, "the time-stamp authority stamps again");
                    }
                    return Ok(stamped);
                }
                Err(why) => {
                    if self.standings.failed(&name, false, clock.now()) {
                        tracing::warn!(authority = %name, %why, "the time-stamp authority gave no good token");
                    }
                    failures.push(format!("{name}: {why}"));
                }
            }
        }
        if failures.is_empty() {
            return Err(StampError::NoAuthority);
        }
        Err(StampError::AllFailed(failures.join("; ")))
    }
}

/// The inner error is the authority's: the next one is asked.
async fn ask(
    imprint: Digest,
    authority: &TimeStampAuthority,
    source: &dyn TimeStampSource,
    clock: &dyn Clock,
) -> Result<Result<Stamped, String>, StampError> {
    let mut nonce = [0; 8];
    SystemRandom::new().fill(&mut nonce).map_err(|_| StampError::NoRandom)?;
    let request = TimeStampRequest::new(imprint, u64::from_be_bytes(nonce));
    let fetching = source.fetch(&authority.url, request.to_der().into(), DEADLINE);
    // The source keeps the deadline too; whether it does is not relied on.
    let answer = match tokio::time::timeout(DEADLINE, fetching).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Ok(Err(error.0)),
        Err(_) => return Ok(Err(format!("no answer within {} s", DEADLINE.as_secs()))),
    };
    let judged = judge_response(&answer, &request, authority, clock.now());
    Ok(judged.map_err(|error| error.to_string()).map(|(stamp, token)| Stamped {
        authority: authority.name.clone(),
        gen_time: stamp.gen_time,
        token: Bytes::copy_from_slice(token.der()),
    }))
}
