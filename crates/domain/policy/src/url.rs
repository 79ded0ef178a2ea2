//! Where a service lives behind the provider's node.

use std::fmt;
use std::str::FromStr;

use truc_message::CanonicalPath;

/// The address of a provider's own system: `http` or `https`, host, optional port, optional path; no user, query or
/// fragment. A trailing `/` is dropped, because a call's path begins with one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceUrl {
    text: String,
    /// Where the authority ends and the path begins.
    path_at: usize,
}

/// Why a text is not a service address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Neither `http://` nor `https://`.
    #[error("a service address starts with http:// or https://")]
    Scheme,
    /// It carries a user or a password.
    #[error(
        "a service address must not carry a user or password: give the system's credentials where it asks for them"
    )]
    User,
    /// Host or port is malformed.
    #[error("the host and port of a service address look like dancu.g01.local:8080 or [2001:db8::1]:8080")]
    Authority,
    /// It has a query or a fragment.
    #[error("a service address ends before '?' and '#': the caller's path and query are added to it")]
    Query,
    /// The path is malformed.
    #[error("path of the service address: {0}")]
    Path(String),
}

impl ServiceUrl {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// True for `https`.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }
    /// Host and port as written.
    pub fn authority(&self) -> &str {
        let from = if self.is_https() { 8 } else { 7 };
        self.text.get(from..self.path_at).unwrap_or_default()
    }
    /// The path, empty or starting with `/`.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }
    /// The address a call goes to: this one, then the call's canonical path, then its query.
    pub fn call(&self, path: &str, query: Option<&str>) -> String {
        match query {
            Some(query) => format!("{}{path}?{query}", self.text),
            None => format!("{}{path}", self.text),
        }
    }
}

impl FromStr for ServiceUrl {
    type Err = InvalidUrl;
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = match text.strip_prefix("https://") {
            Some(rest) => ("https://", rest),
            None => ("http://", text.strip_prefix("http://").ok_or(InvalidUrl::Scheme)?),
        };
        if rest.contains(['?', '#']) {
            return Err(InvalidUrl::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(InvalidUrl::User);
        }
        check_authority(authority)?;
        let path = CanonicalPath::parse(path).map_err(|e| InvalidUrl::Path(e.to_string()))?;
        // All of them: what is written down is read again after a restart, and must then be the same address.
        let path = path.as_str().trim_end_matches('/');
        Ok(Self { text: format!("{scheme}{authority}{path}"), path_at: scheme.len() + authority.len() })
    }
}

fn check_authority(authority: &str) -> Result<(), InvalidUrl> {
    let with_port = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, "")) => format!("{authority}:80"),
        None if !authority.contains(':') => format!("{authority}:80"),
        _ => authority.to_owned(),
    };
    truc_directory::check_address(&with_port).map_err(|_| InvalidUrl::Authority)
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for ServiceUrl {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for ServiceUrl {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_whole() {
        let url: ServiceUrl = "https://dancu.g01.local:8443/api/v1/".parse().unwrap();
        assert_eq!(
            (url.as_str(), url.authority(), url.path()),
            ("https://dancu.g01.local:8443/api/v1", "dancu.g01.local:8443", "/api/v1")
        );
        assert_eq!(url.call("/cong-dan", Some("a=1")), "https://dancu.g01.local:8443/api/v1/cong-dan?a=1");
        for slashes in ["http://x/a/", "http://x/a//", "http://x/a///"] {
            assert_eq!(slashes.parse::<ServiceUrl>().unwrap().as_str(), "http://x/a");
        }
        for good in ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:80/x", "http://[2001:db8::1]"]
        {
            assert_eq!(good.parse::<ServiceUrl>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn anything_more_is_refused() {
        for (bad, why) in [
            ("ftp://x", InvalidUrl::Scheme),
            ("x:80", InvalidUrl::Scheme),
            ("http://u:p@x", InvalidUrl::User),
            ("http://x?y", InvalidUrl::Query),
            ("http://x/#y", InvalidUrl::Query),
            ("http://", InvalidUrl::Authority),
            ("http:///x", InvalidUrl::Authority),
            ("http://x:0", InvalidUrl::Authority),
            ("http://x:70000", InvalidUrl::Authority),
            ("http://x y", InvalidUrl::Authority),
        ] {
            assert_eq!(bad.parse::<ServiceUrl>(), Err(why), "{bad}");
        }
        assert!(matches!("http://x/../y".parse::<ServiceUrl>(), Err(InvalidUrl::Path(_))));
    }
}
