//! The connection to the registry: TLS 1.3, the server's certificate pinned by the anchor.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use truc_directory::RegistryAddress;
use truc_model::Fingerprint;
use truc_pinning::Pinned;

/// The usual limit for connecting, TLS included.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Opens a channel. A wrong certificate fails here: the TLS client checks the server before anything is sent.
pub(crate) async fn connect(registry: &RegistryAddress, limit: Duration) -> Result<Channel, String> {
    let config = Arc::new(client_config(registry.tls_certificate)?);
    let address = registry.address.clone();
    let name = server_name(&address)?;
    // The URI says http because TLS is ours: tonic would add its own on top of https.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| e.to_string())?
        .connect_timeout(limit)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |_| {
        let (config, address, name) = (Arc::clone(&config), address.clone(), name.clone());
        async move {
            let tcp = TcpStream::connect(&address).await?;
            tcp.set_nodelay(true)?;
            TlsConnector::from(config).connect(name, tcp).await.map(TokioIo::new)
        }
    });
    let connected = tokio::time::timeout(limit, endpoint.connect_with_connector(connector)).await;
    connected.map_err(|_| format!("no answer within {} s", limit.as_secs_f64()))?.map_err(|e| sentence(&e))
}

/// The whole chain of causes: tonic's own text says "transport error" only.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

fn server_name(address: &str) -> Result<ServerName<'static>, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|e| format!("{address}: {e}"))
}

fn client_config(pinned: Fingerprint) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let otherwise = |_| Error::General("the server's certificate is not the one that the anchor pins".into());
    let verifier = Pinned::new([pinned], otherwise, Arc::clone(&provider));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}
