//! Reads certificates and certificate requests for governance: whose they are, and whether they may be registered.

use truc_directory::{ApprovedAuthority, Der, Profile, Usage};
use truc_governance::{CertificateHolder, CertificateInspector, SubjectKey};
use truc_model::{MemberId, NodeId, Timestamp};
use truc_trust::{
    Certificate, CertificateError, CertificateRequest, PathError, ProfileError, Purpose, RequestError,
    check_path,
};

/// Why a certificate or a request is not taken. Each sentence goes to the operator who brought it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// It is no certificate.
    #[error("không đọc được chứng thư / the certificate cannot be read: {0}")]
    Unreadable(CertificateError),
    /// It is no request, its key is weak, or it is not signed by its own key.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A certificate for a key of no allowed kind or size.
    #[error(
        "khoá của chứng thư quá yếu hoặc không được dùng: cần ECDSA P-256, P-384 hoặc RSA 2048 đến 4096 bit / the key of the certificate is too \
         weak or of no allowed kind: use ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits"
    )]
    WeakKey,
    /// It names somebody else.
    #[error(
        "chứng thư ghi tên {named}, không phải {expected} / it names {named}, not {expected}: ask for one in the name of {expected}"
    )]
    WrongSubject {
        /// Who asked.
        expected: String,
        /// Whom the subject names.
        named: String,
    },
    /// It names nobody by the profile of the CA behind it.
    #[error("theo hồ sơ {profile}: {why} [profile {profile}]", profile = profile.as_str())]
    NobodyNamed {
        /// The profile.
        profile: Profile,
        /// What is missing or wrong.
        why: ProfileError,
    },
    /// Its validity has not begun.
    #[error(
        "chứng thư chưa có hiệu lực, từ {0} / the certificate is not valid before {0}: wait, or check the clock"
    )]
    NotYetValid(Timestamp),
    /// Its validity is over.
    #[error("chứng thư đã hết hạn lúc {0} / the certificate expired at {0}: bring a new one")]
    Expired(Timestamp),
    /// Its extensions do not allow what it is to be used for.
    #[error(
        "chứng thư không được dùng để {vi} / the certificate may not be used {en}: ask the CA for {ask}",
        vi = match .0 { Usage::Sign => "ký", Usage::Auth => "xác thực TLS" },
        en = match .0 { Usage::Sign => "to sign messages", Usage::Auth => "to authenticate a node in TLS" },
        ask = match .0 {
            Usage::Sign => "key usage digitalSignature or nonRepudiation",
            Usage::Auth => "key usage digitalSignature and extended key usage clientAuth and serverAuth",
        }
    )]
    WrongUsage(Usage),
    /// No CA approved for this usage stands behind it.
    #[error(
        "không có CA được công nhận (cho mục đích {usage}) đứng sau chứng thư / no CA approved for {usage} stands behind the certificate: see \
         `truc registry authority list`",
        usage = match .0 { Usage::Sign => "sign", Usage::Auth => "auth" }
    )]
    UnknownCa(Usage),
    /// The path to the CA does not hold for another reason.
    #[error("đường dẫn chứng thực không hợp lệ / the certificate's path does not hold: {0}")]
    Path(PathError),
    /// It is for another key than the requested one.
    #[error(
        "chứng thư dành cho khoá khác với khoá trong yêu cầu / the certificate is for another key than the one in the request: bring the one that \
         the CA made from it"
    )]
    OtherKey,
    /// A key serves one certificate for one holder.
    #[error("khoá này đã được đăng ký; hãy tạo khoá mới / this key is registered already: make a new one")]
    KeyUsed,
    /// The holder is no member (sign) or node (auth).
    #[error("{0:?} không phải thành viên hay nút / {0:?} is no member (sign) or node (auth)")]
    NoHolder(String),
    /// An approved CA's own certificate cannot be read.
    #[error("CA {name}: {why}")]
    Authority {
        /// What people call it.
        name: String,
        /// What is wrong with it.
        why: CertificateError,
    },
}

/// What somebody brings.
#[derive(Debug, Clone, Copy)]
pub enum Offered<'a> {
    /// A certificate request: subject by profile truc-1, as nodes write it, whatever CA it goes to.
    Request(&'a Der),
    /// A certificate: subject by the profile of the CA behind it.
    Certificate(&'a Der),
}

/// What is expected of a certificate or request that somebody brings for an enrolment.
pub struct Expectation<'a> {
    /// What it is for.
    pub usage: Usage,
    /// In whose name: a member's plain id with [`Usage::Sign`], a node's with [`Usage::Auth`].
    pub holder: &'a str,
    /// The key that the certificate must carry, where one was requested.
    pub key: Option<&'a SubjectKey>,
    /// The approved CAs.
    pub authorities: &'a [ApprovedAuthority],
    /// The moment.
    pub at: Timestamp,
    /// Whether a key is registered or requested already.
    pub key_used: &'a dyn Fn(&SubjectKey) -> bool,
}

impl Expectation<'_> {
    /// Checks what is brought, and answers its key.
    ///
    /// # Errors
    /// [`CertificateProblem`]: the first of: unreadable or weak key, path and usage, validity, subject, another key, key in use.
    pub fn check(&self, offered: Offered<'_>) -> Result<SubjectKey, CertificateProblem> {
        let key = match offered {
            Offered::Request(der) => request(der, self.usage, self.holder)?,
            Offered::Certificate(der) => {
                let certificate = read(der)?;
                let named = judge(&certificate, self.usage, self.authorities, self.at)?;
                is_holder(&named, self.usage, self.holder)?;
                key_of(&certificate)
            }
        };
        if self.key.is_some_and(|expected| *expected != key) {
            return Err(CertificateProblem::OtherKey);
        }
        if (self.key_used)(&key) { Err(CertificateProblem::KeyUsed) } else { Ok(key) }
    }
}

/// Chain to an approved CA that allows the usage, valid at the moment, holder by that CA's profile. Status (OCSP) is not
/// asked for here: it is judged with every message.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaInspector;

impl CertificateInspector for CaInspector {
    fn inspect(
        &self,
        certificate: &Der,
        usage: Usage,
        authorities: &[ApprovedAuthority],
        at: Timestamp,
    ) -> Result<CertificateHolder, String> {
        read(certificate).and_then(|c| judge(&c, usage, authorities, at)).map_err(|e| e.to_string())
    }

    fn certificate_key(&self, certificate: &Der) -> Result<SubjectKey, String> {
        read(certificate).map(|certificate| key_of(&certificate)).map_err(|e| e.to_string())
    }

    fn request_key(&self, asked: &Der, usage: Usage, holder: &str) -> Result<SubjectKey, String> {
        request(asked, usage, holder).map_err(|e| e.to_string())
    }
}

fn read(der: &Der) -> Result<Certificate, CertificateProblem> {
    Certificate::from_der(der.as_bytes()).map_err(|error| match error {
        CertificateError::Key => CertificateProblem::WeakKey,
        other => CertificateProblem::Unreadable(other),
    })
}

fn key_of(certificate: &Certificate) -> SubjectKey {
    SubjectKey { kind: certificate.key_kind(), public_key: certificate.public_key().to_vec() }
}

fn request(der: &Der, usage: Usage, holder: &str) -> Result<SubjectKey, CertificateProblem> {
    let request = CertificateRequest::from_der(der.as_bytes())?;
    let named = request.named(usage).map_err(|why| nobody(Profile::Truc1, why))?;
    is_holder(&CertificateHolder { member: named.member, node: named.node }, usage, holder)?;
    Ok(SubjectKey { kind: request.key_kind(), public_key: request.public_key().to_vec() })
}

fn nobody(profile: Profile, why: ProfileError) -> CertificateProblem {
    CertificateProblem::NobodyNamed { profile, why }
}

/// The member, and the node where the profile names one: where it does not, the node is bound by registration alone.
fn is_holder(named: &CertificateHolder, usage: Usage, holder: &str) -> Result<(), CertificateProblem> {
    let none = || CertificateProblem::NoHolder(holder.chars().take(200).collect());
    let (member, node) = match usage {
        Usage::Sign => (holder.parse::<MemberId>().map_err(|_| none())?, None),
        Usage::Auth => {
            let node: NodeId = holder.parse().map_err(|_| none())?;
            (node.owner(), Some(node))
        }
    };
    let other_node = named.node.is_some() && named.node != node;
    if named.member == member && !other_node {
        return Ok(());
    }
    let named = named.node.as_ref().map_or(named.member.as_str(), NodeId::as_str).to_owned();
    Err(CertificateProblem::WrongSubject { expected: holder.to_owned(), named })
}

/// Whom a certificate names, once a path to an approved CA holds.
fn judge(
    end: &Certificate,
    usage: Usage,
    authorities: &[ApprovedAuthority],
    at: Timestamp,
) -> Result<CertificateHolder, CertificateProblem> {
    let purpose = match usage {
        Usage::Sign => Purpose::Sign,
        Usage::Auth => Purpose::Auth,
    };
    let mut last = CertificateProblem::UnknownCa(usage);
    for authority in authorities.iter().filter(|a| a.allows(usage)) {
        let read = |der: &Der| {
            let failed = |why| CertificateProblem::Authority { name: authority.name.clone(), why };
            Certificate::from_der(der.as_bytes()).map_err(failed)
        };
        let anchor = read(&authority.certificate)?;
        let between = authority.intermediates.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        match check_path(end, &between, &[anchor], purpose, at) {
            Ok(_) => {
                let named =
                    end.named(authority.profile, usage).map_err(|why| nobody(authority.profile, why))?;
                return Ok(CertificateHolder { member: named.member, node: named.node });
            }
            Err(PathError::UnknownIssuer) => {}
            Err(error) => last = problem(error, end, usage, at),
        }
    }
    Err(last)
}

fn problem(error: PathError, end: &Certificate, usage: Usage, at: Timestamp) -> CertificateProblem {
    match error {
        PathError::WrongUsage(_) => CertificateProblem::WrongUsage(usage),
        PathError::Expired if at > end.not_after() => CertificateProblem::Expired(end.not_after()),
        PathError::NotYetValid if at < end.not_before() => CertificateProblem::NotYetValid(end.not_before()),
        other => CertificateProblem::Path(other),
    }
}
