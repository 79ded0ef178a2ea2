//! A registry's door over a directory that tests change at will, and a node's journal in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use truc_directory::{Anchor, HeadRef, RegistryAddress};
use truc_directory_sync::{
    DirectoryHandle, DirectorySync, HighestSeen, Publication, RegistryServer, SyncConfig, SyncError,
};
use truc_model::{Digest, Fingerprint, ManualClock};

use crate::bus::{Bus, at};

#[derive(Default)]
pub(crate) struct Journal(pub(crate) Mutex<Option<HeadRef>>);

#[async_trait]
impl HighestSeen for Journal {
    async fn highest(&self) -> Result<Option<HeadRef>, String> {
        Ok(*self.0.lock().unwrap())
    }
    async fn record(&self, head: HeadRef) -> Result<(), String> {
        *self.0.lock().unwrap() = Some(head);
        Ok(())
    }
}

pub(crate) struct Shelf {
    heads: watch::Sender<Bytes>,
    parts: Mutex<HashMap<Digest, Bytes>>,
    pub(crate) asked: AtomicUsize,
}

#[async_trait]
impl Publication for Shelf {
    fn heads(&self) -> watch::Receiver<Bytes> {
        self.heads.subscribe()
    }
    async fn part(&self, digest: &Digest) -> Result<Option<Bytes>, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.parts.lock().unwrap().get(digest).cloned())
    }
}

/// One registry: what it shows and where.
pub(crate) struct Registry {
    pub(crate) shelf: Arc<Shelf>,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Registry {
    pub(crate) async fn start(bus: &Bus) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["registry".into()]).unwrap().self_signed(&pair).unwrap();
        let shelf = Shelf {
            heads: watch::Sender::new(Bytes::new()),
            parts: Mutex::default(),
            asked: AtomicUsize::new(0),
        };
        let mut registry = Self {
            shelf: Arc::new(shelf),
            address: "127.0.0.1:0".parse().unwrap(),
            certificate: certificate.der().clone(),
            key: pair.serialize_der(),
            running: None,
        };
        registry.show(bus);
        registry.open().await;
        registry
    }

    /// Has the parts that `bus` holds, without publishing its head.
    pub(crate) fn stock(&self, bus: &Bus) {
        let mut parts = self.shelf.parts.lock().unwrap();
        parts.extend(bus.store());
        parts.extend(bus.chain.iter().map(|b| (Digest::of(b), b.clone())));
    }

    /// Publishes what `bus` holds.
    pub(crate) fn show(&self, bus: &Bus) {
        self.stock(bus);
        self.shelf.heads.send_replace(bus.signed().to_bytes());
    }

    /// Opens the door, at the same address as before.
    pub(crate) async fn open(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let server = RegistryServer::new(self.certificate.clone(), key.into(), self.shelf.clone()).unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { server.serve(listener, stopped).await.unwrap() });
        self.running = Some((stop, task));
    }

    /// Closes it.
    pub(crate) async fn close(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn anchor(&self, bus: &Bus) -> Anchor {
        let tls_certificate = Fingerprint::of(&self.certificate);
        let registry = vec![RegistryAddress { address: self.address.to_string(), tls_certificate }];
        Anchor { registry, ..bus.anchor.clone() }
    }
}

pub(crate) async fn node(
    folder: &Path,
    anchor: Anchor,
    journal: &Arc<Journal>,
) -> Result<(DirectoryHandle, DirectorySync), SyncError> {
    let config = SyncConfig {
        first_deadline: Duration::from_millis(1500),
        connect: Duration::from_millis(300),
        min_backoff: Duration::from_millis(10),
        max_backoff: Duration::from_millis(50),
        ..SyncConfig::new(folder.to_path_buf(), anchor)
    };
    let clock = Arc::new(ManualClock::new(at("2026-11-21T03:05:00.000Z")));
    DirectorySync::start(config, journal.clone(), clock).await
}
