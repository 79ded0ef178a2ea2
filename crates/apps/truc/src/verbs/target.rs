//! Which node a verb is about: found through its configuration file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use truc_admin::AdminClient;
use truc_node::config::NodeConfig;

use super::{blocking, read};

/// The node.
#[derive(Args)]
pub(crate) struct Target {
    /// The node's configuration file
    #[arg(long, default_value = "node.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Address of the admin API, where it is not the one of the configuration
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// Name of the [[admin.token]] to use; the first one unless given
    #[arg(long, value_name = "NAME")]
    pub(crate) token: Option<String>,
}

impl Target {
    pub(crate) async fn load(&self) -> anyhow::Result<NodeConfig> {
        let path = self.config.clone();
        blocking(move || NodeConfig::load(&path)).await
    }

    /// A client of the node's admin API.
    pub(crate) async fn client(&self) -> anyhow::Result<AdminClient> {
        let config = self.load().await?;
        let wanted = |name: &str| self.token.as_deref().is_none_or(|token| token == name);
        let Some(token) = config.admin.tokens.iter().find(|t| wanted(&t.name)) else {
            bail!(
                "{} names no [[admin.token]]{}",
                self.config.display(),
                match &self.token {
                    Some(name) => format!(" {name:?}"),
                    None => ", so nobody may use the admin API; add one".to_owned(),
                }
            );
        };
        let text = String::from_utf8(read(&token.token_file).await?).context("the token file is not text")?;
        let address = reachable(self.admin.unwrap_or(config.admin.listen));
        Ok(AdminClient::new(&format!("http://{address}"), text.trim())?)
    }
}

/// Where to connect to what listens at `address`: "everywhere" is here too.
pub(crate) const fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => {}
    }
    address
}
