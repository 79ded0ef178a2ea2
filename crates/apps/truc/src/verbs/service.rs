//! `truc service …`: the services of a running node.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use truc_admin::{AdminClient, service_to_json};
use truc_model::{Fingerprint, ServiceId};
use truc_policy::{
    Bodies, BodyClass, EvidenceSettings, JsonPointer, PathSegment, QueryName, ServiceDefinition, ServiceKind,
    ServiceUrl, SubjectPlace, TimeStamp,
};

use super::service_endpoints::{self, ServiceEndpoint};
use super::target::Target;
use super::{max_body, read, service_timeout};
use crate::out;

/// The services that a running node offers
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc service list --config node.toml")]
pub(crate) enum Service {
    /// Offer a service; nobody may call it until access is granted
    #[command(
        after_help = "Example:\n  truc service add VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan --url http://127.0.0.1:8101 --openapi http://127.0.0.1:8101/openapi.json --require-officer --require-purpose\n  truc service add VN/GOV/G01/csdl-dancu/ho-tich --url https://ho-tich.g01.local/api --openapi ho-tich.yaml --pin ho-tich.pem --subject-pointer /soDinhDanh --bodies digest"
    )]
    Add(Box<Add>),
    /// List the services
    #[command(after_help = "Example:\n  truc service list --config node.toml")]
    List {
        #[command(flatten)]
        target: Target,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one service with its endpoints
    #[command(after_help = "Example:\n  truc service show VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan")]
    Show {
        /// The service
        service: ServiceId,
        #[command(flatten)]
        target: Target,
        /// Print it as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Read a service's OpenAPI document again; shows which endpoints came and went, and lists them so
    #[command(after_help = "Example:\n  truc service refresh VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan")]
    Refresh {
        /// The service
        service: ServiceId,
        #[command(flatten)]
        target: Target,
        /// Print what changed as one JSON object
        #[arg(long)]
        json: bool,
    },
    #[command(subcommand)]
    Endpoint(ServiceEndpoint),
    /// Stop offering a service, with every right to it
    #[command(after_help = "Example:\n  truc service remove VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan")]
    Remove {
        /// The service
        service: ServiceId,
        #[command(flatten)]
        target: Target,
    },
    /// End the pause of a service
    #[command(after_help = "Example:\n  truc service enable VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan")]
    Enable {
        /// The service
        service: ServiceId,
        #[command(flatten)]
        target: Target,
    },
    /// Pause a service; callers are answered SERVICE_DISABLED
    #[command(
        after_help = "Example:\n  truc service disable VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan --notice 'Bảo trì đến 18 giờ'"
    )]
    Disable {
        /// The service
        service: ServiceId,
        /// What callers read
        #[arg(long, value_name = "TEXT")]
        notice: String,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Args)]
pub(crate) struct Add {
    /// The service
    service: ServiceId,
    /// Where the provider's own system answers; a call's path and query are added to it
    #[arg(long, value_name = "URL")]
    url: ServiceUrl,
    /// Its OpenAPI 3.0 or 3.1 document: a file, which the node keeps, or the address at which the node reads it
    #[arg(long, value_name = "FILE|URL", value_parser = openapi)]
    openapi: Option<Described>,
    /// PEM file of a certificate of which the https service must show exactly one; several may be given
    ///
    /// Name, dates and issuer of a pinned certificate do not count. Without this the certificate is verified against [provider] ca-file.
    #[arg(long = "pin", value_name = "FILE")]
    pins: Vec<PathBuf>,
    /// How long the provider's system may take, at most 270s
    #[arg(long, value_parser = service_timeout, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Largest request body, in B, KiB, MiB or GiB, at most 1024 GiB; 10 MiB when not given
    #[arg(long, value_parser = max_body, value_name = "SIZE")]
    max_body: Option<u64>,
    /// Every call must name the officer (X-Road-UserId)
    #[arg(long)]
    require_officer: bool,
    /// Every call must state its purpose (Truc-Purpose)
    #[arg(long)]
    require_purpose: bool,
    /// Every call must state its legal basis (Truc-Legal-Basis)
    #[arg(long)]
    require_legal_basis: bool,
    /// Calls change nothing at the provider: it may be called before both records are durable
    #[arg(long)]
    side_effect_free: bool,
    /// A header of this service's answers whose value is not recorded; several may be given
    ///
    /// It does not hide headers of requests: those are sealed by the caller's node, which does not know this list. Authorization, cookies
    /// and the like are never recorded, of requests and answers alike.
    #[arg(long = "secret-header", value_name = "NAME", value_parser = header_name)]
    secret_headers: Vec<String>,
    #[command(flatten)]
    evidence: Evidence,
    /// Give a service that is there already this definition
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    target: Target,
    /// Print the service as one JSON object
    #[arg(long)]
    json: bool,
}

/// What the service says about its evidence.
#[derive(Args)]
#[command(next_help_heading = "Evidence")]
struct Evidence {
    /// Where the JSON in a request's body names whom the call is about, as a JSON pointer like /congDan/soDinhDanh
    ///
    /// The number is indexed as a keyed hash, so that one can ask who looked at somebody's data (truc evidence subject).
    #[arg(long, value_name = "POINTER", group = "subject")]
    subject_pointer: Option<JsonPointer>,
    /// Which segment of the path names it, counted from 1 after the service's code
    #[arg(long, value_name = "N", group = "subject")]
    subject_segment: Option<PathSegment>,
    /// Which query parameter names it
    #[arg(long, value_name = "NAME", group = "subject")]
    subject_query: Option<QueryName>,
    /// What the node keeps of requests' and answers' bodies: full, or digest for their signed digests alone [default: full]
    #[arg(long, value_name = "WHAT")]
    bodies: Option<Bodies>,
    /// How long it keeps them: the name of an [[evidence.retention]] class of node.toml [default: default]
    #[arg(long, value_name = "CLASS")]
    retention: Option<BodyClass>,
    /// When records are time-stamped: batch, with those of their minute, or immediate, before the service is called and before its answer
    /// counts [default: batch]
    #[arg(long, value_name = "WHEN")]
    time_stamp: Option<TimeStamp>,
}

impl Evidence {
    fn settings(&self) -> EvidenceSettings {
        let pointer = self.subject_pointer.clone().map(SubjectPlace::JsonPointer);
        let segment = self.subject_segment.map(SubjectPlace::PathSegment);
        let query = self.subject_query.clone().map(SubjectPlace::Query);
        EvidenceSettings {
            subject: pointer.or(segment).or(query),
            bodies: self.bodies.unwrap_or_default(),
            retention: self.retention.clone().unwrap_or_default(),
            time_stamp: self.time_stamp.unwrap_or_default(),
        }
    }
}

/// Where an OpenAPI document is.
#[derive(Debug, Clone)]
enum Described {
    File(PathBuf),
    At(ServiceUrl),
}

fn openapi(text: &str) -> Result<Described, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return text.parse().map(Described::At).map_err(|e: truc_policy::InvalidUrl| e.to_string());
    }
    Ok(Described::File(text.into()))
}

impl Add {
    async fn definition(&self) -> anyhow::Result<ServiceDefinition> {
        let mut service = ServiceDefinition::rest(self.service.clone(), self.url.clone());
        if let Some(described) = &self.openapi {
            service.kind = ServiceKind::OpenApi;
            match described {
                Described::At(url) => service.description_url = Some(url.clone()),
                Described::File(file) => service.document = Some(document(file).await?),
            }
        }
        for file in &self.pins {
            service.pinned_certificates.extend(fingerprints(file).await?);
        }
        service.timeout = self.timeout.unwrap_or(service.timeout);
        service.max_body = self.max_body.unwrap_or(service.max_body);
        service.require_officer = self.require_officer;
        service.require_purpose = self.require_purpose;
        service.require_legal_basis = self.require_legal_basis;
        service.side_effect_free = self.side_effect_free;
        service.secret_headers = self.secret_headers.clone();
        service.evidence = self.evidence.settings();
        Ok(service)
    }

    async fn run(self) -> anyhow::Result<()> {
        let client = self.target.client().await?;
        let mut definition = self.definition().await?;
        let offered = if self.replace {
            // What was listed by hand stays; the rest comes from the command line and the document.
            definition.endpoints = client.service(&self.service).await?.endpoints;
            definition.endpoints.retain(|endpoint| !endpoint.generated);
            client.change_service(&definition).await?
        } else {
            client.add_service(&definition).await?
        };
        show(&offered.service, self.json)?;
        offered.notes.iter().for_each(|note| out::note(format!("note: {note}")));
        Ok(())
    }
}

async fn document(file: &Path) -> anyhow::Result<String> {
    let size = tokio::fs::metadata(file).await.with_context(|| file.display().to_string())?.len();
    if size > truc_policy::DOCUMENT_LIMIT as u64 {
        bail!(
            "{} has {size} bytes, the node keeps at most {}: publish it and give its address",
            file.display(),
            truc_policy::DOCUMENT_LIMIT
        );
    }
    String::from_utf8(read(file).await?).with_context(|| format!("{} is not UTF-8 text", file.display()))
}

/// The fingerprints of the certificates in a PEM file.
async fn fingerprints(file: &Path) -> anyhow::Result<Vec<Fingerprint>> {
    let pem = read(file).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.with_context(|| file.display().to_string())?;
    if all.is_empty() {
        bail!("{}: no certificate in it; it must be the service's own certificate in PEM", file.display());
    }
    if all.iter().any(|certificate| truc_trust::Certificate::is_example(certificate)) {
        bail!("{}: {}", file.display(), truc_trust::CertificateError::Example);
    }
    Ok(all.iter().map(|certificate| Fingerprint::of(certificate)).collect())
}

async fn refresh(client: &AdminClient, service: &ServiceId, json: bool) -> anyhow::Result<()> {
    let told = client.refresh_service(service).await?;
    if json {
        return out::json(&told);
    }
    told.added.iter().try_for_each(|endpoint| service_endpoints::show("added   ", endpoint))?;
    told.deleted.iter().try_for_each(|endpoint| service_endpoints::show("deleted ", endpoint))?;
    if told.added.is_empty() && told.deleted.is_empty() {
        out::line("the document describes the same endpoints as before")?;
    } else if !told.deleted.is_empty() {
        out::note("rights to deleted endpoints stay until they are revoked: truc access list");
    }
    told.notes.iter().for_each(|note| out::note(format!("note: {note}")));
    Ok(())
}

impl Service {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => add.run().await?,
            Self::Show { service, target, json } => {
                let service = target.client().await?.service(&service).await?;
                show(&service, json)?;
                if !json {
                    service.endpoints.iter().try_for_each(|e| service_endpoints::show("  ", e))?;
                }
            }
            Self::Refresh { service, target, json } => {
                refresh(&target.client().await?, &service, json).await?;
            }
            Self::Endpoint(verb) => verb.run().await?,
            Self::List { target, json } => {
                for service in target.client().await?.services().await? {
                    show(&service, json)?;
                }
            }
            Self::Remove { service, target } => target.client().await?.remove_service(&service).await?,
            Self::Enable { service, target } => {
                target.client().await?.enable_service(&service).await?;
            }
            Self::Disable { service, notice, target } => {
                target.client().await?.disable_service(&service, &notice).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn header_name(text: &str) -> Result<String, String> {
    let name = http::HeaderName::from_bytes(text.as_bytes());
    name.map(|n| n.as_str().to_owned())
        .map_err(|_| "write the name of an HTTP header, like X-Api-Key".to_owned())
}

fn show(service: &ServiceDefinition, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(&service_to_json(service));
    }
    let size = truc_node::config::show_size(service.max_body);
    let mut notes = vec![format!("{} s", service.timeout.as_secs_f32()), format!("max-body {size}")];
    notes.extend((service.kind == ServiceKind::OpenApi).then(|| "OpenAPI".to_owned()));
    let pins = service.pinned_certificates.len();
    notes.extend((pins > 0).then(|| format!("{pins} pinned")));
    notes.extend(service.require_officer.then(|| "officer".to_owned()));
    notes.extend(service.require_purpose.then(|| "purpose".to_owned()));
    notes.extend(service.require_legal_basis.then(|| "legal basis".to_owned()));
    notes.extend(service.side_effect_free.then(|| "side-effect free".to_owned()));
    let said = &service.evidence;
    notes.extend(said.subject.as_ref().map(|place| format!("subject: {place}")));
    notes.extend((said.bodies != Bodies::default()).then(|| format!("bodies: {}", said.bodies)));
    notes.extend((said.retention != BodyClass::default()).then(|| format!("retention: {}", said.retention)));
    notes.extend(
        (said.time_stamp != TimeStamp::default()).then(|| format!("time-stamp: {}", said.time_stamp)),
    );
    notes.extend(service.disabled.as_ref().map(|notice| format!("paused: {notice}")));
    Ok(out::line(format!("{}\t{}\t{}", service.id, service.url, notes.join(", ")))?)
}
