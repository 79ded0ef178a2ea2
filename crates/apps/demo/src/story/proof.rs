//! The proof: evidence of both sides, exported, and checked without the bus.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use truc_evidence::container::{CheckName, Report, State, Verdict, is_stamped};
use truc_message::{Body, Header, Kind, Parts, Signature, manifest};
use truc_model::MessageId;

use super::steps::Tale;
use super::teller::Ended;
use crate::bus::admin_client;

const TOOL_DEADLINE: Duration = Duration::from_secs(30);
/// Every record is under a time-stamp by then, or something is wrong.
const STAMPED_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a node has on record of an exchange, in order.
pub(crate) async fn record_kinds(
    tale: &Tale<'_>,
    member: &str,
    id: MessageId,
) -> Result<Vec<String>, String> {
    let node = tale.layout.node(member).map_err(|e| e.to_string())?;
    let admin = admin_client(tale.layout, node).map_err(|e| e.to_string())?;
    let shown = admin.evidence_show(id, false).await.map_err(|e| e.to_string())?;
    let kind = |record: &truc_admin::EvidenceRecord| {
        serde_json::to_value(record.kind).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    };
    Ok(shown.records.iter().map(kind).collect())
}

async fn container_bytes(tale: &Tale<'_>, id: MessageId) -> Result<Bytes, String> {
    let node = tale.layout.node("H26").map_err(|e| e.to_string())?;
    let admin = admin_client(tale.layout, node).map_err(|e| e.to_string())?;
    admin.evidence_container(id).await.map_err(|e| e.to_string())
}

fn entry(container: &Bytes, name: &str) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut zip =
        zip::ZipArchive::new(std::io::Cursor::new(container.as_ref())).map_err(|e| e.to_string())?;
    let mut file = zip.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

/// The first call's request as a thief would have it: exact header, body and signature.
pub(crate) async fn captured_request(tale: &Tale<'_>, id: MessageId) -> Result<Parts, String> {
    let container = container_bytes(tale, id).await?;
    let names = manifest::names(Kind::Request, id);
    Ok(Parts {
        header: entry(&container, &names.header)?.into(),
        body: Body::new(entry(&container, &names.body)?.into()),
        secrets: Vec::new(),
        signature: Signature::Single(entry(&container, &names.signature)?.into()),
        statuses: Vec::new(),
    })
}

/// The container, once every record in it is time-stamped.
async fn stamped_container(tale: &Tale<'_>, id: MessageId) -> Result<Bytes, String> {
    let begun = Instant::now();
    loop {
        let bytes = container_bytes(tale, id).await?;
        if is_stamped(&bytes).map_err(|e| e.to_string())? {
            return Ok(bytes);
        }
        if begun.elapsed() > STAMPED_WITHIN {
            return Err("the records are not time-stamped".into());
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Writes citizens' data: for its owner only, whatever the umask.
fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    opened.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    opened.write_all(bytes)
}

/// Exports the evidence and runs `truc verify` on it, with nothing but the anchor.
pub(crate) async fn verified_by_truc(tale: &mut Tale<'_>) -> Result<Ended, String> {
    let id = tale.first_call.ok_or("there was no first call")?;
    let file = tale.layout.dir.join(format!("evidence-{id}.asice"));
    let bytes = stamped_container(tale, id).await?;
    write_private(&file, &bytes).map_err(|e| format!("{}: {e}", file.display()))?;
    tale.container = Some(file.clone());
    let args = [
        "verify".into(),
        file.clone().into_os_string(),
        "--anchor".into(),
        tale.layout.anchor().into_os_string(),
        "--json".into(),
    ];
    let (well, said) = run(&tale.program, &args).await?;
    let report: Report = serde_json::from_str(&said).map_err(|e| format!("{e}: {said}"))?;
    if !well || report.verdict != Verdict::Holds {
        return Err(said);
    }
    let time = report.checks.iter().find(|c| c.name == CheckName::Timestamp && c.state == State::Ok);
    let time = time.ok_or_else(|| format!("no time-stamp holds: {said}"))?.detail.clone();
    let kinds = record_kinds(tale, "G01", id).await?;
    if kinds != ["request", "response"] {
        return Err(format!("the ministry's node holds {kinds:?} of this call"));
    }
    let file = file.display();
    Ok(Ended::Well(format!("hợp lệ / it holds: {file} ({} bytes)\n{time}", bytes.len())))
}

/// Verifies both signatures with `openssl cms`, from the container and the CA certificate alone.
pub(crate) async fn verified_by_openssl(tale: &mut Tale<'_>) -> Result<Ended, String> {
    let id = tale.first_call.ok_or("there was no first call")?;
    let file = tale.container.clone().ok_or("there is no container")?;
    let container = Bytes::from(std::fs::read(&file).map_err(|e| e.to_string())?);
    let folder = tale.layout.dir.join(format!("by-hand-{id}"));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let ca = tale.layout.pki_folder().join("ca.pem");
    let usable = openssl_is_3().await;
    let mut seen = Vec::new();
    for message in messages(&container)? {
        let args = prepare(&folder, &container, &message, &ca)?;
        if usable {
            let (well, said) = run(Path::new("openssl"), &args).await?;
            if !well {
                return Err(said);
            }
            let line =
                said.lines().find(|line| line.contains("successful")).unwrap_or("exit code 0").to_owned();
            seen.push(format!("{}: {line}", message.kind.as_str()));
        } else {
            seen.push(by_hand(&args));
        }
    }
    if usable {
        return Ok(Ended::Well(seen.join(" · ")));
    }
    let why = "không có openssl 3.0 trở lên trên máy này / openssl is absent or older than 3.0. By hand:";
    Ok(Ended::Skipped(format!("{why}\n{}", seen.join("\n"))))
}

/// The headers of the messages in a container.
fn messages(container: &Bytes) -> Result<Vec<Header>, String> {
    let zip = zip::ZipArchive::new(std::io::Cursor::new(container.as_ref())).map_err(|e| e.to_string())?;
    let names = zip.file_names().filter_map(|name| name.ok().map(std::borrow::Cow::into_owned));
    let names: Vec<String> = names.filter(|name| name.ends_with("/header.json")).collect();
    let read = |name: &String| Header::parse(&entry(container, name)?).map_err(|e| e.to_string());
    names.iter().map(read).collect()
}

/// Writes one message's files and returns openssl's arguments for it. What is signed is the manifest written again from
/// the header and body that lie in the container.
fn prepare(
    folder: &Path,
    container: &Bytes,
    header: &Header,
    ca: &Path,
) -> Result<Vec<std::ffi::OsString>, String> {
    let names = manifest::names(header.kind, header.id);
    let digest = |name: &str| entry(container, name).map(|bytes| truc_model::Digest::of(&bytes));
    let signed = manifest::write(header.kind, header.id, digest(&names.header)?, digest(&names.body)?);
    if signed != entry(container, &names.manifest)? {
        return Err(format!("{} is not the manifest of the header and body beside it", names.manifest));
    }
    let place = |suffix: &str| -> PathBuf { folder.join(format!("{}.{suffix}", header.kind.as_str())) };
    let (manifest_file, signature_file) = (place("manifest.xml"), place("p7s"));
    std::fs::write(&manifest_file, &signed).map_err(|e| e.to_string())?;
    std::fs::write(&signature_file, entry(container, &names.signature)?).map_err(|e| e.to_string())?;
    let at = header.sent.seconds().to_string();
    let words = ["cms", "-verify", "-cades", "-binary", "-inform", "DER", "-purpose", "any", "-attime", &at];
    let mut args: Vec<std::ffi::OsString> = words.iter().map(Into::into).collect();
    for (flag, value) in [("-in", &signature_file), ("-content", &manifest_file), ("-CAfile", &ca.to_owned())]
    {
        args.push(flag.into());
        args.push(value.into());
    }
    args.extend(["-out".into(), "/dev/null".into()]);
    Ok(args)
}

fn by_hand(args: &[std::ffi::OsString]) -> String {
    let words: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    format!("openssl {}", words.join(" "))
}

/// Older ones do not know `-cades`.
async fn openssl_is_3() -> bool {
    let Ok((true, said)) = run(Path::new("openssl"), &["version".into()]).await else { return false };
    let major =
        said.split_whitespace().nth(1).and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    said.starts_with("OpenSSL") && major.is_some_and(|major| major >= 3)
}

/// Runs a tool; true when it exits with 0, and everything it said.
pub(super) async fn run(program: &Path, args: &[std::ffi::OsString]) -> Result<(bool, String), String> {
    let failed = |reason: String| format!("{}: {reason}", program.display());
    let output = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(TOOL_DEADLINE, output).await.map_err(|_| failed("no end within 30 s".into()))?;
    let output = output.map_err(|e| failed(e.to_string()))?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}
