//! Requests that may be carried out: the third link of the type chain.

use truc_directory::Directory;
use truc_model::Fault;
use truc_trust::{Request, Verified};

use crate::judge::{Call, Judgement, ServiceTarget};
use crate::policy::Policy;
use crate::right::RightId;

/// A verified request that the policy permits. Only [`Policy::admit`] makes one, so that nothing unverified and nothing
/// without a right can be recorded as admitted or reach a service:
///
/// ```compile_fail
/// # fn skip<T>(request: T, judgement: truc_policy::Judgement) {
/// let forged = truc_policy::Admitted { request, judgement }; // private fields
/// # }
/// ```
///
/// ```compile_fail
/// # fn skip(policy: &truc_policy::Policy, received: truc_message::Received, directory: &truc_directory::Directory) {
/// let early = policy.admit(received, directory); // not verified
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admitted<T> {
    request: T,
    judgement: Judgement,
}

impl<T> Admitted<T> {
    /// The verified request.
    pub const fn request(&self) -> &T {
        &self.request
    }
    /// What answers it.
    pub const fn target(&self) -> &ServiceTarget {
        self.judgement.target()
    }
    /// The right that permits it; none for a metaservice.
    pub const fn right(&self) -> Option<RightId> {
        self.judgement.right()
    }
}

impl<T: Clone> Admitted<T> {
    /// The request again, for a service that its operator declares free of side effects: it may be called before the
    /// records are durable (protocol P4.3). `None` for any other.
    pub fn side_effect_free(&self) -> Option<SideEffectFree<T>> {
        match self.target() {
            ServiceTarget::Service(service) if service.is_called_early() => {
                Some(SideEffectFree(self.clone()))
            }
            _ => None,
        }
    }
}

/// An admitted request whose service is declared free of side effects. Only [`Admitted::side_effect_free`] makes one.
#[derive(Debug, Clone)]
pub struct SideEffectFree<T>(Admitted<T>);

impl<T> SideEffectFree<T> {
    /// The admitted request.
    pub const fn admitted(&self) -> &Admitted<T> {
        &self.0
    }
}

/// A verified request that is not permitted, given back so that the refusal can be signed and recorded.
#[derive(Debug, Clone)]
pub struct NotAdmitted {
    /// The request.
    pub request: Verified<Request>,
    /// Why not.
    pub fault: Fault,
}

impl Policy {
    /// Admits a verified request, or says why not, as of the moment its header arrived: see [`Policy::judge`]. UNKNOWN_SERVICE, as protocol P4.6 has it, is
    /// told unsigned; the other faults of a service hosted here are signed refusals.
    ///
    /// # Errors
    /// [`NotAdmitted`] with the request and the fault.
    pub fn admit(
        &self,
        request: Verified<Request>,
        directory: &Directory,
    ) -> Result<Admitted<Verified<Request>>, Box<NotAdmitted>> {
        let body_len = request.message().sealed.body().len();
        let judged =
            Call::of(request.header(), body_len, request.at()).and_then(|call| self.judge(&call, directory));
        match judged {
            Ok(judgement) => Ok(Admitted { request, judgement }),
            Err(fault) => Err(Box::new(NotAdmitted { request, fault })),
        }
    }
}
