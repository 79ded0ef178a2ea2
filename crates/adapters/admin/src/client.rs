//! The client of the API, as the command line's verbs use it.

mod evidence;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use truc_directory::GroupMember;
use truc_model::{MemberId, ServiceId, SubsystemId};
use truc_policy::{Conditions, GroupCode, RightId, ServiceDefinition};

use crate::fault::FaultBody;
use crate::view::{
    AccessEntry, AccessFilter, CheckAnswer, CheckCall, DirectoryView, Grant, GroupEntry, GroupFilter,
    GroupMemberBody, NewGroup, NodeStatus, Notice, Offered, PlanView, PolicyFilter, PolicyText, Refreshed,
    SuccessionEntry, service_from_json, service_to_json,
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A little longer than the node's own, so that its answer is the one that is seen.
const CALL_DEADLINE: Duration = Duration::from_secs(35);
/// Largest answer taken, in bytes; a container holds bodies.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address or token cannot be used.
    #[error("{0}")]
    Settings(String),
    /// Nobody answers there.
    #[error(
        "node not running at {url}: {reason}. Start it with `truc node run`, or check the admin address in its configuration"
    )]
    NotRunning {
        /// The API's address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// The node took too long; a change may have been made.
    #[error("the node at {url} did not answer within 35 s: look at the list before trying again")]
    Timeout {
        /// The API's address.
        url: String,
    },
    /// The node refuses, and says why.
    #[error("{}: {} ({} / {})", fault.code, fault.detail, fault.message.vi, fault.message.en)]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        fault: FaultBody,
    },
    /// The connection broke off in the middle.
    #[error("the connection to the node at {url} broke off: {reason}. Look whether it runs, and try again")]
    Lost {
        /// The API's address.
        url: String,
        /// What the connection said.
        reason: String,
    },
    /// What answers is not a node of this version.
    #[error("the answer of {url} is not one of a node's admin API: {reason}")]
    BadAnswer {
        /// The API's address.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// Calls one node's API. Cheap to clone; every call has a deadline.
#[derive(Clone)]
pub struct AdminClient {
    base: String,
    bearer: HeaderValue,
    http: Client<HttpConnector, Full<Bytes>>,
}

type Called<T> = Result<T, ClientError>;

impl AdminClient {
    /// A client of the API at `base_url`, e.g. `http://127.0.0.1:4000`.
    ///
    /// # Errors
    /// [`ClientError::Settings`] when the address is not plain `http://host:port` or the token fits into no header.
    pub fn new(base_url: &str, token: &str) -> Called<Self> {
        let base = base_url.trim_end_matches('/').to_owned();
        let authority = base.strip_prefix("http://").unwrap_or_default();
        if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
            let problem = format!("{base_url:?} is not an admin address like http://127.0.0.1:4000");
            return Err(ClientError::Settings(problem));
        }
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer
            .map_err(|_| ClientError::Settings("the token has characters no header can carry".into()))?;
        bearer.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_DEADLINE));
        connector.set_nodelay(true);
        Ok(Self { base, bearer, http: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// How the node is.
    ///
    /// # Errors
    /// [`ClientError`], as of every call.
    pub async fn status(&self) -> Called<NodeStatus> {
        self.get("/status").await
    }

    /// The directory it works with.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory(&self) -> Called<DirectoryView> {
        self.get("/directory").await
    }

    /// All services.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn services(&self) -> Called<Vec<ServiceDefinition>> {
        let list: Vec<Value> = self.get("/services").await?;
        list.into_iter().map(|json| self.service_of(json)).collect()
    }

    /// One service.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn service(&self, id: &ServiceId) -> Called<ServiceDefinition> {
        let json = self.get(&service_path(id)).await?;
        self.service_of(json)
    }

    /// Adds a service; the node reads its OpenAPI document, if it has one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_service(&self, service: &ServiceDefinition) -> Called<Offered> {
        let json = self.send(Method::POST, "/services", Some(&service_to_json(service))).await?;
        Offered::from_json(json).map_err(|reason| self.bad_answer(reason))
    }

    /// Gives a service another definition.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn change_service(&self, service: &ServiceDefinition) -> Called<Offered> {
        let json =
            self.send(Method::PUT, &service_path(&service.id), Some(&service_to_json(service))).await?;
        Offered::from_json(json).map_err(|reason| self.bad_answer(reason))
    }

    /// Has the node read a service's OpenAPI document again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn refresh_service(&self, id: &ServiceId) -> Called<Refreshed> {
        self.send(Method::POST, &format!("{}/refresh", service_path(id)), None::<&()>).await
    }

    /// Removes a service and every right to it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_service(&self, id: &ServiceId) -> Called<()> {
        self.delete(&service_path(id)).await
    }

    /// Pauses a service.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn disable_service(&self, id: &ServiceId, notice: &str) -> Called<ServiceDefinition> {
        let notice = Notice { notice: notice.to_owned() };
        let json = self.send(Method::POST, &format!("{}/disable", service_path(id)), Some(&notice)).await?;
        self.service_of(json)
    }

    /// Ends the pause of a service.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn enable_service(&self, id: &ServiceId) -> Called<ServiceDefinition> {
        let json = self.send(Method::POST, &format!("{}/enable", service_path(id)), None::<&()>).await?;
        self.service_of(json)
    }

    /// The rights that match.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn access(&self, filter: &AccessFilter) -> Called<Vec<AccessEntry>> {
        self.get(&with_query("/access", filter)).await
    }

    /// Grants a right.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn grant(&self, grant: &Grant) -> Called<AccessEntry> {
        self.send(Method::POST, "/access", Some(grant)).await
    }

    /// Revokes the right with this id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke(&self, id: RightId) -> Called<()> {
        self.delete(&format!("/access/{id}")).await
    }

    /// Revokes the right that says this, whatever its conditions, as long as that is one right.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn revoke_same(&self, grant: &Grant) -> Called<()> {
        let said = Grant { conditions: Conditions::default(), ..grant.clone() };
        self.delete(&with_query("/access", &said)).await
    }

    /// Has a call judged without making it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn check(&self, call: &CheckCall) -> Called<CheckAnswer> {
        self.send(Method::POST, "/access/check", Some(call)).await
    }

    /// What closed members leave to their successors at this node and was not carried over yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn successions(&self) -> Called<Vec<SuccessionEntry>> {
        self.get("/access/successions").await
    }

    /// Gives the successor of a closed member what that one has here.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn accept_succession(&self, of: &MemberId) -> Called<SuccessionEntry> {
        let path = format!("/access/successions/{}", escaped(of.as_str(), true));
        self.send(Method::POST, &path, None::<&()>).await
    }

    /// Services, groups and rights as one text, of the node or of one hosted member.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export(&self, member: Option<&MemberId>) -> Called<PolicyText> {
        let filter = PolicyFilter { member: member.cloned() };
        self.get(&with_query("/policy", &filter)).await
    }

    /// What would change if the text were applied.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn plan(&self, text: &PolicyText) -> Called<PlanView> {
        self.send(Method::POST, "/policy/plan", Some(text)).await
    }

    /// Makes the text so, if what is in force is still what its digest names.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn apply(&self, text: &PolicyText) -> Called<PlanView> {
        self.send(Method::POST, "/policy/apply", Some(text)).await
    }

    /// The local groups that match.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn local_groups(&self, filter: &GroupFilter) -> Called<Vec<GroupEntry>> {
        self.get(&with_query("/local-groups", filter)).await
    }

    /// Makes a local group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn add_local_group(&self, group: &NewGroup) -> Called<GroupEntry> {
        self.send(Method::POST, "/local-groups", Some(group)).await
    }

    /// Removes a local group that no right names.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn remove_local_group(&self, owner: &SubsystemId, code: &GroupCode) -> Called<()> {
        self.delete(&group_path(owner, code)).await
    }

    /// Puts someone into a local group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn join_local_group(
        &self,
        owner: &SubsystemId,
        code: &GroupCode,
        member: &GroupMember,
    ) -> Called<GroupEntry> {
        let body = GroupMemberBody { member: member.clone() };
        self.send(Method::POST, &format!("{}/members", group_path(owner, code)), Some(&body)).await
    }

    /// Takes someone out of a local group.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leave_local_group(
        &self,
        owner: &SubsystemId,
        code: &GroupCode,
        member: &GroupMember,
    ) -> Called<GroupEntry> {
        let body = GroupMemberBody { member: member.clone() };
        let path = with_query(&format!("{}/members", group_path(owner, code)), &body);
        self.send(Method::DELETE, &path, None::<&()>).await
    }

    fn service_of(&self, json: Value) -> Called<ServiceDefinition> {
        service_from_json(json).map_err(|reason| ClientError::BadAnswer { url: self.base.clone(), reason })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Called<T> {
        self.send(Method::GET, path, None::<&()>).await
    }

    async fn delete(&self, path: &str) -> Called<()> {
        self.call(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Called<T> {
        let bytes = body.map_or_else(|| Ok(Vec::new()), serde_json::to_vec);
        let bytes = bytes.map_err(|e| ClientError::Settings(e.to_string()))?;
        let answer = self.call(method, path, bytes.into()).await?;
        serde_json::from_slice(&answer).map_err(|e| self.bad_answer(e))
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Called<Bytes> {
        let exchange = async {
            let request = Request::builder()
                .method(method)
                .uri(format!("{}/api/v1{path}", self.base))
                .header(AUTHORIZATION, self.bearer.clone())
                .header(ACCEPT, "application/json")
                .header(CONTENT_TYPE, "application/json")
                .body(Full::new(body))
                .map_err(|e| ClientError::Settings(e.to_string()))?;
            let response = self.http.request(request).await.map_err(|e| self.unreachable(&e))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
            let body = body.map_err(|e| match e.downcast::<LengthLimitError>() {
                Ok(long) => self.bad_answer(long),
                Err(broken) => self.lost(broken),
            })?;
            let body = body.to_bytes();
            if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
        };
        let late = |_| Err(ClientError::Timeout { url: self.base.clone() });
        tokio::time::timeout(CALL_DEADLINE, exchange).await.unwrap_or_else(late)
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        let mut reason: &dyn std::error::Error = error;
        let mut unreadable = false;
        while let Some(source) = reason.source() {
            reason = source;
            unreadable |= reason.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        }
        let reason = reason.to_string();
        match (error.is_connect(), unreadable) {
            (true, _) => ClientError::NotRunning { url: self.base.clone(), reason },
            (false, true) => self.bad_answer(reason),
            (false, false) => self.lost(reason),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice(body) {
            Ok(fault) => ClientError::Refused { status, fault },
            Err(_) => self.bad_answer(format!("HTTP status {status}")),
        }
    }

    fn lost(&self, reason: impl ToString) -> ClientError {
        ClientError::Lost { url: self.base.clone(), reason: reason.to_string() }
    }

    fn bad_answer(&self, reason: impl ToString) -> ClientError {
        ClientError::BadAnswer { url: self.base.clone(), reason: reason.to_string() }
    }
}

fn service_path(id: &ServiceId) -> String {
    format!("/services/{}", escaped(id.as_str(), true))
}

fn group_path(owner: &SubsystemId, code: &GroupCode) -> String {
    format!("/local-groups/{}/{}", escaped(owner.as_str(), true), escaped(code.as_str(), false))
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3), and `/` where it separates.
fn escaped(text: &str, slashes: bool) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (slashes && b == b'/') {
            out.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// Adds the fields of `filter`, which are texts and numbers, as a query.
fn with_query(path: &str, filter: &impl Serialize) -> String {
    let fields = serde_json::to_value(filter).unwrap_or_default();
    let pairs = fields.as_object().into_iter().flatten().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", escaped(&text, false))
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_queries_are_written_safely() {
        for bad in ["", "127.0.0.1:4000", "https://x", "http://u@x", "http://x/api", "http://"] {
            assert!(matches!(AdminClient::new(bad, "t"), Err(ClientError::Settings(_))), "{bad}");
        }
        assert!(AdminClient::new("http://127.0.0.1:4000/", "a\nb").is_err());
        let service: ServiceId = "VN/GOV/G01/a/what?".parse().unwrap();
        assert_eq!(service_path(&service), "/services/VN/GOV/G01/a/what%3F");
        let filter = AccessFilter { service: Some(service), subject: None };
        assert_eq!(with_query("/access", &filter), "/access?service=VN%2FGOV%2FG01%2Fa%2Fwhat%3F");
        assert_eq!(with_query("/access", &AccessFilter::default()), "/access");
    }
}
