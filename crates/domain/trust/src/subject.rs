//! Certificate profiles: whose certificate it is, read from its subject by the rules of the CA that issued it (protocol P3.2, P6.1).
//!
//! What is known of the subjects that Vietnamese CAs write, and what is assumed until one of them confirms it:
//!
//! - **Known** (public CAs, seen in signed invoices and documents): an enterprise's tax number is `UID=MST:<10 digits>`, a branch's
//!   `UID=MST:<10 digits>-<3 digits>`; a person within the enterprise has a further `UID=CCCD:…` or `UID=CMND:…`.
//! - **Known** (CA of the Government Cipher Committee, G2): an agency's subject has names (`CN`, `O`, `OU`, `L`, `C`), sometimes
//!   `UID=MST:…` and `UID=MNS:…` (the budget-relation number). None of these is the agency's code (mã định danh điện tử).
//! - **Assumed**: a certificate of that CA for this bus carries the agency's code as `UID=MDD:<code>` or `serialNumber=MDD:<code>`, in the
//!   new form (`H49`, `H29.14`) or the old one (`000.00.00.H49`). Until the CA writes it, its certificates name no member here and are refused.

use truc_directory::{AgencyCode, Profile, Usage};
use truc_model::{MemberId, NodeId};

use crate::certificate::Certificate;
use crate::name::{Name, SubjectAttribute as A};

/// Before an agency's code in `UID` or `serialNumber`, profile `vn-state`.
const AGENCY: &str = "MDD:";
/// Before a tax number in `UID`, profile `vn-enterprise`.
const TAX: &str = "MST:";
/// Before the number of a person's identity document: citizen card, its predecessor, passport.
const PERSONS: [&str; 4] = ["CCCD:", "CMND:", "HC:", "PASSPORT:"];

/// Whom a subject names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The member.
    pub member: MemberId,
    /// The node, in an auth certificate. `None` where the profile cannot name nodes: then the node is bound by its registered fingerprint
    /// alone, and the certificate speaks for the member only.
    pub node: Option<NodeId>,
}

/// Why a subject names nobody by its CA's profile. The sentences never repeat a person's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// What says the member or node is missing, or stands there more than once.
    #[error(
        "tên chủ thể thiếu hoặc có nhiều hơn một {what}, ví dụ {example} / its subject has none or more than one {what}, e.g. {example}"
    )]
    Missing {
        /// The attribute.
        what: &'static str,
        /// What would be right.
        example: &'static str,
    },
    /// The value is no identifier of a member or node.
    #[error("{what} {value:?} không phải mã hợp lệ: {why} / {what} {value:?} is no valid code: {why}")]
    Value {
        /// The attribute.
        what: &'static str,
        /// What it says.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// The node in `commonName` is another member's.
    #[error(
        "nút {node} không thuộc thành viên {member} ghi cùng chứng thư / node {node} is not of member {member}, whom the same subject names"
    )]
    NodeOfAnother {
        /// The node.
        node: NodeId,
        /// The member.
        member: MemberId,
    },
    /// A person's certificate: the directory publishes certificates, and a person's number must not get there.
    #[error(
        "đây là chứng thư của một cá nhân (có số giấy tờ tuỳ thân); hãy dùng chứng thư của tổ chức / this is a person's certificate (it \
         has the number of an identity document); use the organisation's own"
    )]
    Person,
    /// A branch's certificate does not speak for the enterprise.
    #[error(
        "đây là chứng thư của chi nhánh (MST có 13 số); hãy dùng chứng thư của doanh nghiệp / this is a branch's certificate (a tax number \
         of 13 digits); use the enterprise's own"
    )]
    Branch,
}

impl Certificate {
    /// Whom the subject names, by the profile of the CA that issued it.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn named(&self, profile: Profile, usage: Usage) -> Result<Named, ProfileError> {
        named(self.subject_name(), profile, usage)
    }
}

/// Reads `subject` by `profile`.
pub(crate) fn named(subject: &Name, profile: Profile, usage: Usage) -> Result<Named, ProfileError> {
    match profile {
        Profile::Truc1 => truc(subject, usage),
        Profile::VnState => state(subject).map(|member| Named { member, node: None }),
        Profile::VnEnterprise => enterprise(subject).map(|member| Named { member, node: None }),
    }
}

fn truc(subject: &Name, usage: Usage) -> Result<Named, ProfileError> {
    let what = "organizationIdentifier (2.5.4.97)";
    let member = subject.get(A::OrganizationIdentifier);
    let member = member.ok_or(ProfileError::Missing { what, example: "VN/GOV/H26" })?;
    let member: MemberId = member.parse().map_err(|e| wrong(what, member, &e))?;
    if usage == Usage::Sign {
        return Ok(Named { member, node: None });
    }
    let what = "commonName (CN)";
    let node = subject.get(A::CommonName).ok_or(ProfileError::Missing { what, example: "VN/GOV/H26/ss1" })?;
    let node: NodeId = node.parse().map_err(|e| wrong(what, node, &e))?;
    if node.owner() != member {
        return Err(ProfileError::NodeOfAnother { node, member });
    }
    Ok(Named { member, node: Some(node) })
}

fn state(subject: &Name) -> Result<MemberId, ProfileError> {
    const WHAT: &str = "UID/serialNumber MDD:<mã định danh>";
    no_person(subject)?;
    let values = subject.all(A::UserId).chain(subject.all(A::SerialNumber));
    let mut codes: Vec<&str> = values.filter_map(|value| value.strip_prefix(AGENCY)).collect();
    codes.dedup();
    let [code] = codes[..] else {
        return Err(ProfileError::Missing { what: WHAT, example: "UID=MDD:H49" });
    };
    // The directory's alias table is not asked: what a certificate says must not depend on what the registry decides tomorrow.
    let canonical: AgencyCode = code.parse().map_err(|e| wrong(WHAT, code, &e))?;
    MemberId::new("VN", "GOV", canonical.as_str()).map_err(|e| wrong(WHAT, code, &e))
}

fn enterprise(subject: &Name) -> Result<MemberId, ProfileError> {
    const WHAT: &str = "UID=MST:<mã số thuế>";
    no_person(subject)?;
    let numbers: Vec<&str> = subject.all(A::UserId).filter_map(|value| value.strip_prefix(TAX)).collect();
    let [number] = numbers[..] else {
        return Err(ProfileError::Missing { what: WHAT, example: "UID=MST:9901000019" });
    };
    if let Some((_, branch)) = number.split_once('-')
        && branch.len() == 3
        && branch.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(ProfileError::Branch);
    }
    if !is_tax_number(number) {
        return Err(wrong(WHAT, number, &"10 digits, the last one their check digit"));
    }
    MemberId::new("VN", "COM", number).map_err(|e| wrong(WHAT, number, &e))
}

fn no_person(subject: &Name) -> Result<(), ProfileError> {
    let mut values = subject.all(A::UserId).chain(subject.all(A::SerialNumber));
    let person = |value: &str| PERSONS.iter().any(|prefix| value.starts_with(prefix));
    if values.any(person) { Err(ProfileError::Person) } else { Ok(()) }
}

fn wrong(what: &'static str, value: &str, why: &dyn ToString) -> ProfileError {
    ProfileError::Value { what, value: value.chars().take(80).collect(), why: why.to_string() }
}

/// Ten digits whose last is 10 − (Σ wᵢdᵢ mod 11), w = 31, 29, 23, 19, 17, 13, 7, 5, 3; numbers for which that is 10 are never given.
fn is_tax_number(number: &str) -> bool {
    const WEIGHTS: [u32; 9] = [31, 29, 23, 19, 17, 13, 7, 5, 3];
    let digits: Option<Vec<u32>> = number.chars().map(|c| c.to_digit(10)).collect();
    let Some(digits) = digits.filter(|d| d.len() == 10) else { return false };
    let sum: u32 = WEIGHTS.iter().zip(&digits).map(|(weight, digit)| weight * digit).sum();
    10 - sum % 11 == digits[9]
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::testing::{Party, seal};
    use rcgen::DnType;
    use truc_keys::KeyKind;

    /// A certificate with these subject attributes beside the usual names.
    fn certificate(attributes: &[(&[u64], &str)]) -> Certificate {
        let mut params = seal("thử");
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (id, value) in attributes {
            params.distinguished_name.push(DnType::CustomDnType(id.to_vec()), *value);
        }
        Party::root("CA").issue(KeyKind::EcP256, params, 1).certificate
    }

    const UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];
    const SERIAL: &[u64] = &[2, 5, 4, 5];
    const CN: &[u64] = &[2, 5, 4, 3];
    const ORG_ID: &[u64] = &[2, 5, 4, 97];

    fn member(certificate: &Certificate, profile: Profile) -> Result<String, ProfileError> {
        [Usage::Sign, Usage::Auth].map(|usage| certificate.named(profile, usage)).into_iter().try_fold(
            String::new(),
            |_, named| {
                let named = named?;
                assert_eq!(named.node, None, "these profiles name no node");
                Ok(named.member.to_string())
            },
        )
    }

    #[test]
    fn enterprises_are_named_by_their_tax_number() {
        let good = certificate(&[(CN, "CÔNG TY GIẢ LẬP"), (UID, "MST:9901000019")]);
        assert_eq!(member(&good, Profile::VnEnterprise).unwrap(), "VN/COM/9901000019");
        for number in ["9901002753", "9901004126", "9901005497", "9901006860", "9901008233", "9901009607"] {
            assert!(is_tax_number(number), "{number}");
        }
        for (uid, told) in [
            ("MST:9901000018", "check digit"),
            ("MST:990100001", "check digit"),
            ("MST:990100001x", "check digit"),
            ("MST:9901000019-001", "branch"),
            ("9901000019", "none or more"),
            ("CCCD:099085000011", "person"),
        ] {
            let told_of = member(&certificate(&[(UID, uid)]), Profile::VnEnterprise).unwrap_err().to_string();
            assert!(told_of.contains(told), "{uid}: {told_of}");
            assert!(!told_of.contains("099085000011"), "no personal number in a sentence");
        }
        let nobody = certificate(&[(CN, "x")]);
        assert!(matches!(member(&nobody, Profile::VnEnterprise), Err(ProfileError::Missing { .. })));
    }

    #[test]
    fn agencies_are_named_by_their_code_in_either_form() {
        for (attribute, value, expected) in [
            (UID, "MDD:H49", "VN/GOV/H49"),
            (UID, "MDD:000.00.00.H49", "VN/GOV/H49"),
            (SERIAL, "MDD:000.00.18.G12", "VN/GOV/G12.18"),
            (SERIAL, "MDD:001.02.14.H29", "VN/GOV/H29.14.02.001"),
            (UID, "MDD:H55.242", "VN/GOV/H55.242"),
        ] {
            let read = member(&certificate(&[(CN, "Cơ quan"), (attribute, value)]), Profile::VnState);
            assert_eq!(read.unwrap(), expected, "{value}");
        }
        let both = certificate(&[(UID, "MDD:H49"), (SERIAL, "MDD:H49")]);
        assert_eq!(member(&both, Profile::VnState).unwrap(), "VN/GOV/H49");
        for attributes in [
            &[(UID, "MDD:H49"), (SERIAL, "MDD:H26")][..],
            &[(UID, "MST:0400260612")],
            &[(UID, "MNS:1047665")],
            &[(CN, "H49")],
            &[(UID, "MDD:h49")],
            &[(UID, "MDD:")],
            &[(UID, "MDD:H49."), (CN, "x")],
            &[(UID, "MDD:001.00.14.H29")],
            &[(UID, "MDD:H49"), (SERIAL, "CCCD:099085000011")],
        ] {
            assert!(member(&certificate(attributes), Profile::VnState).is_err(), "{attributes:?}");
        }
    }

    #[test]
    fn profiles_do_not_read_each_others_subjects() {
        let ours = certificate(&[(ORG_ID, "VN/GOV/H26"), (CN, "VN/GOV/H26/ss1")]);
        let named = ours.named(Profile::Truc1, Usage::Auth).unwrap();
        assert_eq!(named.node.unwrap().as_str(), "VN/GOV/H26/ss1");
        assert_eq!(ours.named(Profile::Truc1, Usage::Sign).unwrap().node, None);
        assert!(ours.named(Profile::VnState, Usage::Sign).is_err());
        assert!(ours.named(Profile::VnEnterprise, Usage::Sign).is_err());
        let theirs = certificate(&[(UID, "MST:9901000019"), (CN, "VN/COM/9901000019/ss1")]);
        assert!(theirs.named(Profile::Truc1, Usage::Auth).is_err());
        let mixed = certificate(&[(ORG_ID, "VN/GOV/H26"), (CN, "VN/GOV/H49/ss1")]);
        let refused = mixed.named(Profile::Truc1, Usage::Auth);
        assert!(matches!(refused, Err(ProfileError::NodeOfAnother { .. })));
    }
}
