//! The stores on a real disk, with real keys.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may stop where it stands"
)]
#![allow(missing_docs, reason = "a test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use truc_keys::{KeyKind, KeyLabel, SignatureAlgorithm, Signer as _, SignerError, contract};
use truc_keystores::{FileKeyStore, KeyStoreError, Passphrase, SecretStore};

fn label(text: &str) -> KeyLabel {
    KeyLabel::new(text).unwrap()
}

fn passphrase() -> Passphrase {
    Passphrase::new("một hai ba")
}

/// A PKCS#8 key that openssl made; none, said loudly, where there is no openssl.
fn openssl_key(arguments: &[&str]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("key.pem");
    let made = Command::new("openssl").arg("genpkey").args(arguments).arg("-out").arg(&pem).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("TRUC_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is needed: {made:?}");
        eprintln!("SKIPPED: keys made by openssl (openssl genpkey does not run here)");
        return None;
    }
    // genpkey alone writes the older PKCS#1 and SEC 1 forms as DER.
    let der = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"])
        .arg(&pem)
        .output();
    Some(der.unwrap().stdout)
}

#[tokio::test]
async fn every_kind_keeps_the_signer_contract() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    for (name, kind) in [("p256", KeyKind::EcP256), ("p384", KeyKind::EcP384), ("ed25519", KeyKind::Ed25519)]
    {
        let made = FileKeyStore::generate(&keys, &passphrase(), &label(name), kind).unwrap();
        assert_eq!(made.kind, kind);
    }
    let store = FileKeyStore::open(&keys, &passphrase()).unwrap();
    assert_eq!(store.keys().len(), 3);
    contract::signer(&store).await.unwrap();
    assert!(store.pkcs8(&label("p256")).is_some() && store.pkcs8(&label("other")).is_none());
    // P-384 with SHA-256 is accepted from others but never made.
    let never = store.sign(&label("p384"), SignatureAlgorithm::EcdsaP384Sha256, Bytes::new()).await;
    assert!(matches!(never, Err(SignerError::WrongKind { .. })));
    for file in std::fs::read_dir(&keys).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn keys_made_by_openssl_are_imported() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(&str, &[&str], KeyKind); 5] = [
        ("rsa-2048", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], KeyKind::Rsa),
        ("rsa-4096", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"], KeyKind::Rsa),
        ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], KeyKind::EcP256),
        ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], KeyKind::EcP384),
        ("ed25519", &["-algorithm", "ED25519"], KeyKind::Ed25519),
    ];
    for (name, arguments, kind) in cases {
        let Some(der) = openssl_key(arguments) else { return };
        assert_eq!(
            FileKeyStore::import_pkcs8(dir.path(), &passphrase(), &label(name), &der).unwrap().kind,
            kind
        );
    }
    let store = FileKeyStore::open(dir.path(), &passphrase()).unwrap();
    contract::signer(&store).await.unwrap();
    let rsa = store.key(&label("rsa-2048")).unwrap();
    for algorithm in [
        SignatureAlgorithm::RsaPkcs1Sha384,
        SignatureAlgorithm::RsaPkcs1Sha512,
        SignatureAlgorithm::RsaPssSha256,
    ] {
        let value = store.sign(&rsa.label, algorithm, Bytes::from_static(b"x")).await.unwrap();
        assert!(algorithm.verify(&rsa.public_key, b"x", &value), "{algorithm:?}");
    }
    let small = openssl_key(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]).unwrap();
    let refused = FileKeyStore::import_pkcs8(dir.path(), &passphrase(), &label("small"), &small);
    assert!(matches!(refused, Err(KeyStoreError::UnusableKey)));
}

#[test]
fn rsa_is_not_generated_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let generate = |name: &str, kind| FileKeyStore::generate(dir.path(), &passphrase(), &label(name), kind);
    assert!(matches!(generate("r", KeyKind::Rsa), Err(KeyStoreError::RsaNotGenerated)));
    let first = generate("auth", KeyKind::EcP256).unwrap();
    assert!(matches!(generate("auth", KeyKind::EcP256), Err(KeyStoreError::Exists(_))));
    let store = FileKeyStore::open(dir.path(), &passphrase()).unwrap();
    assert_eq!(store.keys(), [first]);
}

#[test]
fn a_wrong_passphrase_neither_opens_nor_adds() {
    let dir = tempfile::tempdir().unwrap();
    FileKeyStore::generate(dir.path(), &passphrase(), &label("auth"), KeyKind::EcP256).unwrap();
    let wrong = Passphrase::new("mot hai ba");
    assert!(matches!(FileKeyStore::open(dir.path(), &wrong), Err(KeyStoreError::NotOpened(_))));
    let added = FileKeyStore::generate(dir.path(), &wrong, &label("sign"), KeyKind::EcP256);
    assert!(matches!(added, Err(KeyStoreError::NotOpened(_))));
    assert!(SecretStore::new(dir.path(), &wrong).secret(&label("evidence")).is_err());
    assert!(FileKeyStore::open(dir.path(), &passphrase()).is_ok());
}

#[test]
fn a_renamed_or_foreign_file_refuses_the_store() {
    let dir = tempfile::tempdir().unwrap();
    FileKeyStore::generate(dir.path(), &passphrase(), &label("auth"), KeyKind::EcP256).unwrap();
    std::fs::copy(dir.path().join("auth.key"), dir.path().join("sign.key")).unwrap();
    assert!(matches!(FileKeyStore::open(dir.path(), &passphrase()), Err(KeyStoreError::Format { .. })));
    std::fs::write(dir.path().join("sign.key"), r#"{"v":2,"new":true}"#).unwrap();
    let error = FileKeyStore::open(dir.path(), &passphrase()).unwrap_err().to_string();
    assert!(error.contains("its version is 2"), "{error}");
    std::fs::remove_file(dir.path().join("sign.key")).unwrap();
    let text = std::fs::read_to_string(dir.path().join("auth.key")).unwrap();
    std::fs::write(dir.path().join("auth.key"), text.replacen('{', "{\"extra\":1,", 1)).unwrap();
    let error = FileKeyStore::open(dir.path(), &passphrase()).unwrap_err().to_string();
    assert!(error.contains("extra"), "{error}");
}

#[test]
fn secrets_are_made_once_and_differ() {
    let dir = tempfile::tempdir().unwrap();
    let store = SecretStore::new(dir.path(), &passphrase());
    let first = store.secret(&label("evidence-VN-GOV-H26")).unwrap();
    assert_eq!(*first, *store.secret(&label("evidence-VN-GOV-H26")).unwrap());
    assert_ne!(*first, *store.secret(&label("index")).unwrap());
    let again = SecretStore::new(dir.path(), &passphrase());
    assert_eq!(*first, *again.secret(&label("evidence-VN-GOV-H26")).unwrap());
    // A key renamed into a secret is none.
    FileKeyStore::generate(dir.path(), &passphrase(), &label("k"), KeyKind::Ed25519).unwrap();
    std::fs::rename(dir.path().join("k.key"), dir.path().join("k.secret")).unwrap();
    assert!(matches!(again.secret(&label("k")), Err(KeyStoreError::Format { .. })));
}

#[test]
fn a_passphrase_file_is_private_and_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passphrase");
    let write = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("một hai ba\n", 0o640);
    let error = Passphrase::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    let keys = dir.path().join("keys");
    FileKeyStore::generate(&keys, &passphrase(), &label("auth"), KeyKind::EcP256).unwrap();
    for text in ["một hai ba", "một hai ba\n", "một hai ba\r\n"] {
        write(text, 0o600);
        assert!(FileKeyStore::open(&keys, &Passphrase::from_file(&path).unwrap()).is_ok(), "{text:?}");
    }
    for text in ["", "\n", "a\nb\n"] {
        write(text, 0o600);
        assert!(matches!(Passphrase::from_file(&path), Err(KeyStoreError::BadPassphrase(_))), "{text:?}");
    }
    let made = dir.path().join("made");
    Passphrase::from_file_or_create(&made).unwrap();
    let text = std::fs::read_to_string(&made).unwrap();
    Passphrase::from_file_or_create(&made).unwrap();
    assert_eq!(std::fs::read_to_string(&made).unwrap(), text);
    assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Files written by the first version must open for ever.
#[tokio::test]
async fn the_golden_store_still_opens() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let store = FileKeyStore::open(&dir, &Passphrase::new("golden passphrase")).unwrap();
    assert_eq!(store.keys().len(), 2);
    contract::signer(&store).await.unwrap();
    let secret =
        SecretStore::new(&dir, &Passphrase::new("golden passphrase")).secret(&label("evidence")).unwrap();
    assert_eq!(
        truc_model::Digest::of(secret.as_ref()).to_string(),
        include_str!("golden/evidence.sha256").trim()
    );
}

#[tokio::test]
async fn keys_made_later_join_an_open_store() {
    let dir = tempfile::tempdir().unwrap();
    let passphrase = Passphrase::new("one");
    let label = |text: &str| KeyLabel::new(text).unwrap();
    FileKeyStore::generate(dir.path(), &passphrase, &label("auth"), KeyKind::EcP256).unwrap();
    let store = FileKeyStore::open(dir.path(), &passphrase).unwrap();
    assert_eq!(store.look_again(&passphrase).unwrap(), vec![]);
    let made = FileKeyStore::generate(dir.path(), &passphrase, &label("auth-2"), KeyKind::EcP256).unwrap();
    assert!(store.key(&label("auth-2")).is_none() && store.pkcs8(&label("auth-2")).is_none());
    assert!(store.look_again(&Passphrase::new("two")).is_err());
    assert_eq!(store.keys().len(), 1, "nothing came of the wrong passphrase");
    assert_eq!(store.look_again(&passphrase).unwrap(), vec![label("auth-2")]);
    assert_eq!(store.key(&label("auth-2")), Some(made.clone()));
    let text = bytes::Bytes::from_static(b"text");
    let signature =
        store.sign(&label("auth-2"), SignatureAlgorithm::EcdsaP256Sha256, text.clone()).await.unwrap();
    assert!(SignatureAlgorithm::EcdsaP256Sha256.verify(&made.public_key, &text, &signature));
    // A damaged newcomer is told and changes nothing.
    std::fs::write(dir.path().join("auth-3.key"), "{}").unwrap();
    assert!(store.look_again(&passphrase).is_err());
    assert_eq!(store.keys().len(), 2);
}
