//! Who may use the API: named tokens, each with a role.

use ring::hmac;
use serde::{Deserialize, Serialize};
use truc_model::MemberId;
use zeroize::Zeroizing;

/// Shortest token, in characters; 32 random characters cannot be guessed over a network.
const SHORTEST: usize = 32;
const LONGEST: usize = 256;

/// What a token's holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything.
    Administrator,
    /// Services, rights and local groups; status and lists.
    ServiceManager,
    /// Evidence; status.
    Auditor,
    /// Status and lists.
    Observer,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] =
        &[Self::Administrator, Self::ServiceManager, Self::Auditor, Self::Observer];

    /// The word used in configuration and documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::ServiceManager => "service-manager",
            Self::Auditor => "auditor",
            Self::Observer => "observer",
        }
    }
}

/// One token as configured.
pub struct TokenEntry {
    /// Its name, under which decisions are journaled.
    pub name: String,
    /// What it permits.
    pub role: Role,
    /// The hosted member to whose affairs it is limited; none for the whole node.
    pub member: Option<MemberId>,
    /// The token itself; forgotten once the table is made.
    pub token: Zeroizing<String>,
}

/// Why no table was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// A name is empty, too long or has odd characters.
    #[error("token name {0:?}: 1 to 64 characters of A-Z a-z 0-9 . _ - @ are allowed")]
    Name(String),
    /// `init` and `node` stand in the journal for the machine itself.
    #[error("token name {0:?} is reserved: choose another")]
    Reserved(String),
    /// Two tokens have one name.
    #[error("two tokens are named {0:?}: decisions could not be told apart")]
    Duplicate(String),
    /// The token could be guessed, or does not fit into a header.
    #[error(
        "token {0:?} must have {SHORTEST} to {LONGEST} visible ASCII characters: make one with `openssl rand -hex 32`"
    )]
    Weak(String),
    /// Two names share one token.
    #[error("tokens {0:?} and {1:?} are the same: give each its own")]
    Shared(String, String),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// The only member whose affairs it may see and change.
    pub(crate) member: Option<MemberId>,
}

/// The tokens in force. It keeps no token, only HMAC-SHA-256 values under a key of this process, compared in constant
/// time.
pub struct TokenTable {
    key: hmac::Key,
    rows: Vec<(Caller, hmac::Tag)>,
}

impl TokenTable {
    /// Makes the table.
    ///
    /// # Errors
    /// [`TokenError`] names the entry that is off.
    pub fn new(entries: impl IntoIterator<Item = TokenEntry>) -> Result<Self, TokenError> {
        let random = ring::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random).map_err(|_| TokenError::Random)?;
        let mut table = Self { key, rows: Vec::new() };
        for entry in entries {
            table.add(entry)?;
        }
        Ok(table)
    }

    fn add(&mut self, entry: TokenEntry) -> Result<(), TokenError> {
        let TokenEntry { name, role, member, token } = entry;
        let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fit) {
            return Err(TokenError::Name(name));
        }
        if matches!(name.as_str(), "init" | "node") {
            return Err(TokenError::Reserved(name));
        }
        if !(SHORTEST..=LONGEST).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Weak(name));
        }
        if self.rows.iter().any(|(caller, _)| caller.name == name) {
            return Err(TokenError::Duplicate(name));
        }
        if let Some(other) = self.find(&token) {
            return Err(TokenError::Shared(other.name.clone(), name));
        }
        let tag = hmac::sign(&self.key, token.as_bytes());
        self.rows.push((Caller { name, role, member }, tag));
        Ok(())
    }

    /// Looks at every row, whether or not one has matched.
    pub(crate) fn find(&self, token: &str) -> Option<&Caller> {
        let matches = |tag: &hmac::Tag| hmac::verify(&self.key, token.as_bytes(), tag.as_ref()).is_ok();
        self.rows.iter().fold(None, |found, (caller, tag)| if matches(tag) { Some(caller) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, token: &str) -> TokenEntry {
        TokenEntry {
            name: name.into(),
            role: Role::Auditor,
            member: None,
            token: Zeroizing::new(token.into()),
        }
    }

    #[test]
    fn tokens_are_found_by_value_and_checked_when_made() {
        let (a, b) = ("a".repeat(32), "b".repeat(32));
        let table = TokenTable::new([entry("kiem-toan", &a), entry("hai", &b)]).unwrap();
        assert_eq!(table.find(&b).unwrap().name, "hai");
        assert!(table.find(&"c".repeat(32)).is_none() && table.find("").is_none());
        let error = |entries: Vec<TokenEntry>| TokenTable::new(entries).err();
        assert_eq!(error(vec![entry("x", "short")]), Some(TokenError::Weak("x".into())));
        assert_eq!(error(vec![entry("x", &a), entry("x", &b)]), Some(TokenError::Duplicate("x".into())));
        assert_eq!(
            error(vec![entry("x", &a), entry("y", &a)]),
            Some(TokenError::Shared("x".into(), "y".into()))
        );
        assert_eq!(error(vec![entry("init", &a)]), Some(TokenError::Reserved("init".into())));
        assert_eq!(error(vec![entry("a b", &a)]), Some(TokenError::Name("a b".into())));
    }
}
