//! `truc service …`: the services of a running node.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use truc_admin::service_to_json;
use truc_model::ServiceId;
use truc_policy::{ServiceDefinition, ServiceKind, ServiceUrl};

use super::target::Target;
use super::{service_timeout, size};
use crate::out;

/// The services that a running node offers
#[derive(Subcommand)]
#[command(after_help = "Example:\n  truc service list --config node.toml")]
pub(crate) enum Service {
    /// Offer a service; nobody may call it until access is granted
    #[command(
        after_help = "Example:\n  truc service add VN/GOV/G01/csdl-dancu/tra-cuu-cong-dan --url http://127.0.0.1:8101 --openapi http://127.0.0.1:8101/openapi.json --require-officer --require-purpose"
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
    /// Where its OpenAPI 3 document lies
    #[arg(long, value_name = "URL")]
    openapi: Option<ServiceUrl>,
    /// How long the provider's system may take, at most 270s
    #[arg(long, value_parser = service_timeout, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// Largest request body
    #[arg(long, value_parser = size, value_name = "SIZE")]
    max_body: Option<u64>,
    /// Every call must name the officer (X-Road-UserId)
    #[arg(long)]
    require_officer: bool,
    /// Every call must state its purpose (Truc-Purpose)
    #[arg(long)]
    require_purpose: bool,
    /// The service changes nothing; noted, not used yet
    #[arg(long)]
    side_effect_free: bool,
    /// A header of this service's answers whose value is not recorded; several may be given
    ///
    /// It does not hide headers of requests: those are sealed by the caller's node, which does not know this list. Authorization, cookies
    /// and the like are never recorded, of requests and answers alike.
    #[arg(long = "secret-header", value_name = "NAME", value_parser = header_name)]
    secret_headers: Vec<String>,
    /// Give a service that is there already this definition
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    target: Target,
    /// Print the service as one JSON object
    #[arg(long)]
    json: bool,
}

impl Add {
    fn definition(&self) -> ServiceDefinition {
        let mut service = ServiceDefinition::rest(self.service.clone(), self.url.clone());
        if self.openapi.is_some() {
            service.kind = ServiceKind::OpenApi;
            service.description_url.clone_from(&self.openapi);
        }
        service.timeout = self.timeout.unwrap_or(service.timeout);
        service.max_body = self.max_body.unwrap_or(service.max_body);
        service.require_officer = self.require_officer;
        service.require_purpose = self.require_purpose;
        service.side_effect_free = self.side_effect_free;
        service.secret_headers = self.secret_headers.clone();
        service
    }
}

impl Service {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Add(add) => {
                let (client, definition) = (add.target.client().await?, add.definition());
                let service = if add.replace {
                    client.change_service(&definition).await?
                } else {
                    client.add_service(&definition).await?
                };
                show(&service, add.json)?;
            }
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
    let mut notes = vec![format!("{} s", service.timeout.as_secs_f32())];
    notes.extend(service.require_officer.then(|| "officer".to_owned()));
    notes.extend(service.require_purpose.then(|| "purpose".to_owned()));
    notes.extend(service.side_effect_free.then(|| "side-effect free".to_owned()));
    notes.extend(service.disabled.as_ref().map(|notice| format!("paused: {notice}")));
    Ok(out::line(format!("{}\t{}\t{}", service.id, service.url, notes.join(", ")))?)
}
