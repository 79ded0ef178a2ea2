//! Certificates as no honest member or node has them: for tests of who is believed.

use rcgen::{DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use truc_model::{MemberId, NodeId};
use truc_trust::Certificate;

use crate::authority::{Authority, ORGANIZATION_IDENTIFIER, params};
use crate::memory_signer::TestKey;

/// The years between which a certificate counts, each from its first of January.
pub(crate) type Years = (i32, i32);

impl Authority {
    /// A member's sign certificate that counts only between these years.
    pub fn seal_of_years(&self, member: &MemberId, key: &TestKey, (from, to): Years) -> Certificate {
        let id = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec());
        let mut params = params(&[(id, member.as_str()), (DnType::CommonName, "Con dấu thử")]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment];
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        self.issue(params, key)
    }

    /// A node's auth certificate that counts only between these years.
    pub fn auth_of_years(&self, node: &NodeId, key: &TestKey, (from, to): Years) -> Certificate {
        let id = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.to_vec());
        let owner = node.owner();
        let mut params = params(&[(id, owner.as_str()), (DnType::CommonName, node.as_str())]);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        self.issue(params, key)
    }
}
