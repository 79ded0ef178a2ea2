//! Who may decide what: the roles of the registry's officers (docs/registry.md §4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an officer is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfficerRole {
    /// Members, subsystems, nodes, groups, invitations, requests.
    Registrar,
    /// Trust services, roots, security levels, certificates, suspensions; may approve requests too.
    SecurityOfficer,
    /// Reads everything and changes nothing.
    Auditor,
    /// All of it; for a pilot.
    Administrator,
}

/// What a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// To change who and what is registered.
    Register,
    /// To decide on requests.
    Approve,
    /// To change what is trusted.
    Secure,
}

impl OfficerRole {
    /// Whether the role carries the permission; reading needs none.
    pub const fn may(self, permission: Permission) -> bool {
        match self {
            Self::Administrator => true,
            Self::Auditor => false,
            Self::Registrar => matches!(permission, Permission::Register | Permission::Approve),
            Self::SecurityOfficer => matches!(permission, Permission::Secure | Permission::Approve),
        }
    }

    /// The role's name, as configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registrar => "registrar",
            Self::SecurityOfficer => "security-officer",
            Self::Auditor => "auditor",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for OfficerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OfficerRole {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Registrar, Self::SecurityOfficer, Self::Auditor, Self::Administrator]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is no role; write registrar, security-officer, auditor or administrator")
            })
    }
}

/// Somebody who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Officer {
    /// The name that stands in the audit log.
    pub name: String,
    /// What the officer may do.
    pub role: OfficerRole,
}

impl Officer {
    /// Whoever holds the registry's folder and its passphrase, or the registry's own process: may do everything.
    pub fn machine(name: &str) -> Self {
        Self { name: name.to_owned(), role: OfficerRole::Administrator }
    }
}
