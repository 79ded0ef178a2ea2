//! `truc service endpoint …`: the endpoints of a service that are listed by hand.

use clap::{Args, Subcommand};
use truc_admin::AdminClient;
use truc_model::ServiceId;
use truc_policy::{Endpoint, MethodPattern, PathGlob, ServiceDefinition};

use super::target::Target;
use crate::out;

/// The endpoints that a service lists beside those of its OpenAPI document
#[derive(Subcommand)]
#[command(
    after_help = "Example:\n  truc service endpoint add VN/GOV/G01/csdl-dancu/tra-cuu --method GET --path '/suc-khoe'"
)]
pub(crate) enum ServiceEndpoint {
    /// List one endpoint more; who may call it is said by access
    #[command(
        after_help = "Example:\n  truc service endpoint add VN/GOV/G01/csdl-dancu/tra-cuu --method GET --path '/cong-dan/*'"
    )]
    Add(Which),
    /// List an endpoint that was added by hand no longer
    #[command(
        after_help = "Example:\n  truc service endpoint remove VN/GOV/G01/csdl-dancu/tra-cuu --method GET --path '/cong-dan/*'"
    )]
    Remove(Which),
}

#[derive(Args)]
pub(crate) struct Which {
    /// The service
    service: ServiceId,
    /// The method, or * for every one
    #[arg(long)]
    method: MethodPattern,
    /// The path pattern: * within a segment, ** for any depth
    #[arg(long, value_name = "PATTERN")]
    path: PathGlob,
    #[command(flatten)]
    target: Target,
}

impl Which {
    async fn service(&self) -> anyhow::Result<(AdminClient, ServiceDefinition)> {
        let client = self.target.client().await?;
        let service = client.service(&self.service).await?;
        Ok((client, service))
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { method: self.method.clone(), path: self.path.clone(), generated: false }
    }
}

impl ServiceEndpoint {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(which) => {
                let ((client, mut service), endpoint) = (which.service().await?, which.endpoint());
                if service.endpoints.contains(&endpoint) {
                    anyhow::bail!("this endpoint is listed already; nothing is left to do");
                }
                service.endpoints.push(endpoint);
                client.change_service(&service).await?;
            }
            Self::Remove(which) => {
                let ((client, mut service), endpoint) = (which.service().await?, which.endpoint());
                let before = service.endpoints.len();
                service.endpoints.retain(|listed| *listed != endpoint);
                if service.endpoints.len() == before {
                    anyhow::bail!(
                        "no such endpoint was added by hand; truc service show lists them. Those of the OpenAPI \
                         document change with the document: truc service refresh"
                    );
                }
                client.change_service(&service).await?;
            }
        }
        Ok(())
    }
}

/// One endpoint in a line.
pub(crate) fn show(mark: &str, endpoint: &Endpoint) -> anyhow::Result<()> {
    let origin = if endpoint.generated { "\tOpenAPI" } else { "" };
    Ok(out::line(format!("{mark}{} {}{origin}", endpoint.method, endpoint.path.as_str()))?)
}
