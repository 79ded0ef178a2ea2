//! One ZIP of many containers, with an index (`docs/evidence.md` §4.9). Containers are written one after the other; the index
//! waits in two files without a name, so that memory does not grow with what is exported.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;
use truc_admin::EvidenceEntry;
use truc_model::{Digest, MessageId, Timestamp, visible};
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

use super::files;

/// What was asked, as far as an archive may say it on to whoever reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// Not whom it was about.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) subject: bool,
    /// Not which one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dossier: bool,
}

/// The head of the index.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Title {
    pub(crate) v: u32,
    pub(crate) made: Timestamp,
    pub(crate) by: String,
    pub(crate) node: String,
    pub(crate) query: Asked,
}

/// One line of the index.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    request: MessageId,
    time: Timestamp,
    client: String,
    service: String,
    outcome: &'a str,
    fault: Option<&'a str>,
    file: Option<String>,
    sha256: Option<Digest>,
    length: Option<u64>,
    stamped: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
}

const COLUMNS: &str = "request,time,client,service,outcome,fault,file,sha256,length,stamped,why\r\n";

impl Row<'_> {
    fn csv(&self) -> String {
        let plain = |text: &dyn std::fmt::Display| text.to_string();
        let cells = [
            plain(&self.request),
            plain(&self.time),
            self.client.clone(),
            self.service.clone(),
            self.outcome.to_owned(),
            self.fault.unwrap_or_default().to_owned(),
            self.file.clone().unwrap_or_default(),
            self.sha256.map_or_else(String::new, |d| plain(&d)),
            self.length.map_or_else(String::new, |n| plain(&n)),
            self.stamped.map_or_else(String::new, |s| plain(&s)),
            self.why.unwrap_or_default().to_owned(),
        ];
        format!("{}\r\n", cells.map(|cell| quoted(&cell)).join(","))
    }
}

/// RFC 4180; what a spreadsheet would take for a formula is kept text, and what could turn or break a line is shown.
fn quoted(cell: &str) -> String {
    let cell = visible(cell);
    let formula = cell.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{cell}") } else { cell };
    if text.contains(['"', ',']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// What is made of one exchange: the container and whether every record in it is stamped, or why there is none.
pub(crate) type Made = Result<(Vec<u8>, bool), String>;

/// The archive under way, in a file of another name beside the one that is asked for. Dropped before [`Archive::finish`], it is
/// removed: half an archive is worth nothing.
pub(crate) struct Archive {
    path: PathBuf,
    zip: Option<ZipWriter<BufWriter<NamedTempFile>>>,
    csv: BufWriter<File>,
    json: BufWriter<File>,
    containers: u64,
    missing: u64,
}

impl Archive {
    /// A new file, for its owner only; none that is there is overwritten.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = files::begun(path)?;
        let spool = || tempfile::tempfile_in(files::folder(path)).map(BufWriter::new);
        let (mut csv, json) = (spool()?, spool()?);
        csv.write_all(COLUMNS.as_bytes())?;
        let zip = Some(ZipWriter::new(BufWriter::new(file)));
        Ok(Self { path: path.to_owned(), zip, csv, json, containers: 0, missing: 0 })
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.containers, self.missing)
    }

    /// Writes the container of one exchange, and its line in the index.
    pub(crate) fn add(&mut self, entry: &EvidenceEntry, made: &Made) -> io::Result<()> {
        let mut row = Row {
            request: entry.id,
            time: entry.time,
            client: entry.client.to_string(),
            service: entry.service.to_string(),
            outcome: entry.outcome.as_str(),
            fault: entry.fault.as_deref(),
            file: None,
            sha256: None,
            length: None,
            stamped: None,
            why: None,
        };
        match made {
            Ok((container, stamped)) => {
                let name = format!("containers/{}.asice", entry.id);
                self.file(&name, container.as_slice())?;
                row.file = Some(name);
                row.sha256 = Some(Digest::of(container));
                row.length = Some(container.len() as u64);
                row.stamped = Some(*stamped);
                self.containers += 1;
            }
            Err(why) => {
                row.why = Some(why);
                self.missing += 1;
            }
        }
        self.csv.write_all(row.csv().as_bytes())?;
        let comma = if self.containers + self.missing > 1 { ",\n" } else { "\n" };
        self.json.write_all(comma.as_bytes())?;
        serde_json::to_writer(&mut self.json, &row)?;
        Ok(())
    }

    fn file(&mut self, name: &str, mut content: impl io::Read) -> io::Result<()> {
        let zip = self.zip.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o600);
        zip.start_file(name, options).map_err(io::Error::other)?;
        io::copy(&mut content, zip).map(drop)
    }

    /// Writes the index and closes the file, which is on disk when this returns.
    pub(crate) fn finish(mut self, title: &Title) -> io::Result<()> {
        let csv = rewound(&mut self.csv)?;
        self.file("index.csv", csv)?;
        let rows = rewound(&mut self.json)?;
        let head = serde_json::to_string(title)?;
        let head = head.strip_suffix('}').unwrap_or(&head);
        let complete = self.missing == 0;
        let start = format!("{head},\"complete\":{complete},\"containers\":[");
        self.file("index.json", io::Read::chain(start.as_bytes(), io::Read::chain(rows, &b"\n]}\n"[..])))?;
        let zip = self.zip.take().ok_or(io::ErrorKind::NotConnected)?;
        let file = zip.finish().map_err(io::Error::other)?;
        files::kept(file.into_inner().map_err(io::IntoInnerError::into_error)?, &self.path)
    }
}

/// What was written, to be read from its beginning.
fn rewound(spool: &mut BufWriter<File>) -> io::Result<BufReader<File>> {
    spool.flush()?;
    let mut file = spool.get_ref().try_clone()?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use truc_evidence::{Outcome, Role};

    fn entry(n: u8) -> EvidenceEntry {
        let time = Timestamp::from_millis(1_795_230_245_678 + i64::from(n));
        EvidenceEntry {
            id: MessageId::new(time, [n; 10]),
            time,
            role: Role::Consumer,
            client: "VN/GOV/H26/mot-cua-so-1".parse().unwrap(),
            service: "VN/GOV/G01/csdl-dancu/tra-cuu".parse().unwrap(),
            outcome: Outcome::Ok,
            fault: None,
        }
    }

    fn title() -> Title {
        let query =
            Asked { client: None, service: None, since: None, until: None, subject: true, dossier: false };
        let made = Timestamp::from_millis(1_795_230_300_000);
        Title { v: 1, made, by: "auditor".into(), node: "VN/GOV/H26/ss1".into(), query }
    }

    fn read(path: &Path, name: &str) -> String {
        let mut zip = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
        let mut text = String::new();
        zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn an_archive_names_what_it_holds_and_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.zip");
        let mut archive = Archive::create(&path).unwrap();
        for n in 0..3 {
            archive.add(&entry(n), &Ok((vec![n; 10], n == 1))).unwrap();
        }
        let why = "the journal lacks the directory head \"x\", which a record refers to";
        archive.add(&entry(9), &Err(why.into())).unwrap();
        assert_eq!(archive.counts(), (3, 1));
        archive.finish(&title()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let index: serde_json::Value = serde_json::from_str(&read(&path, "index.json")).unwrap();
        assert_eq!(index["complete"], false);
        assert_eq!(index["query"], serde_json::json!({ "subject": true }));
        let rows = index["containers"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[1]["stamped"], true);
        assert_eq!((&rows[3]["file"], &rows[3]["why"]), (&serde_json::Value::Null, &why.into()));
        let digest = rows[2]["sha256"].as_str().unwrap();
        let name = rows[2]["file"].as_str().unwrap();
        assert_eq!(Digest::of(read(&path, name).as_bytes()).to_string(), digest);
        let csv = read(&path, "index.csv");
        assert_eq!(csv.lines().count(), 5);
        assert!(csv.contains("head \"\"x\"\", which"), "{csv}");
        assert!(Archive::create(&path).err().unwrap().to_string().contains("exists"));
        assert!(path.exists(), "what was there stays");
    }

    #[test]
    fn half_an_archive_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.zip");
        let mut archive = Archive::create(&path).unwrap();
        archive.add(&entry(1), &Ok((vec![1], true))).unwrap();
        assert!(!path.exists(), "killed here, nothing would stand in the way of the next try");
        drop(archive);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn who_came_first_keeps_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.zip");
        let archive = Archive::create(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        assert!(archive.finish(&title()).unwrap_err().to_string().contains("exists"));
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody else's");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_found_is_an_archive_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.zip");
        Archive::create(&path).unwrap().finish(&title()).unwrap();
        let index: serde_json::Value = serde_json::from_str(&read(&path, "index.json")).unwrap();
        assert_eq!((&index["complete"], index["containers"].as_array().unwrap().len()), (&true.into(), 0));
    }

    #[test]
    fn a_cell_is_no_formula() {
        for (cell, formula) in [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x")] {
            assert_eq!(quoted(cell), formula);
        }
        assert_eq!(quoted("\t=1\r\n\u{202e}"), "\\u{9}=1\\u{d}\\u{a}\\u{202e}");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
