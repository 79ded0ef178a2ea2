//! A real S3 server (s3s-fs) of its own for a test, and TLS before it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use truc_archives::S3Settings;

pub(crate) const BUCKET: &str = "bang-chung";
const ACCESS: &str = "truc-test-access";
const SECRET: &str = "truc-test-secret";

/// Where the server's program is; `None` skips the test, but not where everything must run.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo/bin"));
    let found = std::env::split_paths(&path).chain(home).map(|dir| dir.join("s3s-fs")).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("TRUC_REQUIRE_ALL").is_none(), "s3s-fs is missing");
        eprintln!("SKIPPED: no s3s-fs; cargo install s3s-fs --version 0.14.1 --features binary --locked");
    }
    found
}

/// A running server with one empty bucket; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub(crate) async fn start() -> Option<Self> {
        let program = program()?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("store").join(BUCKET)).unwrap();
        std::fs::write(dir.path().join("access"), format!("{ACCESS}\n")).unwrap();
        std::fs::write(dir.path().join("secret"), format!("{SECRET}\n")).unwrap();
        let port = free_port();
        let child = Self::spawn(&program, dir.path(), port);
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), dir };
        server.answers().await;
        Some(server)
    }

    fn spawn(program: &Path, dir: &Path, port: u16) -> Child {
        Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS, "--secret-key", SECRET])
            .arg(dir.join("store"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn answers(&mut self) {
        for _ in 0..600 {
            if TcpStream::connect(self.address).await.is_ok() {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the server has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not answer");
    }

    pub(crate) async fn restart(&mut self) {
        self.child = Self::spawn(&program().unwrap(), self.dir.path(), self.address.port());
        self.answers().await;
    }

    pub(crate) fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: format!("http://{}", self.address),
            bucket: BUCKET.into(),
            prefix: String::new(),
            region: "us-east-1".into(),
            access_key_file: self.dir.path().join("access"),
            secret_key_file: self.dir.path().join("secret"),
            ca_file: None,
        }
    }

    /// Puts TLS before the server; returns its address and the file of the CA.
    pub(crate) async fn with_tls(&self) -> (SocketAddr, PathBuf) {
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::from_params(&params, &ca_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let file = self.dir.path().join("ca.pem");
        std::fs::write(&file, ca.pem()).unwrap();

        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let tls =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let tls = tls.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), self.address);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut outside = acceptor.accept(stream).await?;
                    let mut inside = TcpStream::connect(server).await?;
                    tokio::io::copy_bidirectional(&mut outside, &mut inside).await
                });
            }
        });
        (address, file)
    }
}
