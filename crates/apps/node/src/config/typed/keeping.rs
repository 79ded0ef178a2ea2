//! `[evidence]`: archive, retention and space.

use std::collections::BTreeMap;
use std::path::Path;

use truc_archives::S3Settings;
use truc_keeping::Threshold;

use super::super::keeping::{ArchiveSettings, KeepingSettings};
use super::super::mistakes::Mistakes;
use super::super::raw::{Opt, RawArchive, RawConfig};
use super::super::units::Size;

pub(super) fn keeping(raw: &RawConfig, base: &Path, m: &mut Mistakes) -> KeepingSettings {
    let default = KeepingSettings::default();
    let raw = &raw.keeping;
    let mut retention = BTreeMap::new();
    for class in &raw.retention {
        let name = class.class.identified("class = \"default\"", m);
        let bodies = class.bodies.identified("bodies = \"10y\"", m);
        if let (Some(name), Some(bodies)) = (name, bodies)
            && retention.insert(name, bodies).is_some()
        {
            m.add(&class.class.key, "stands here twice; keep one [[evidence.retention]] for each class");
        }
    }
    KeepingSettings {
        archive: raw.archive.as_ref().and_then(|archive| archive_of(archive, base, m)),
        retention,
        alarm_free: alarm(&raw.alarm_free, m),
        refuse_free: raw
            .refuse_free
            .parsed(Size(default.refuse_free), "a size like refuse-free = \"256 MiB\"", m)
            .0,
    }
}

fn alarm(opt: &Opt<String>, m: &mut Mistakes) -> Threshold {
    let Some(text) = opt.get() else { return Threshold::default() };
    let size = || text.parse::<Size>().ok().map(|size| Threshold::Bytes(size.0));
    text.parse().ok().or_else(size).unwrap_or_else(|| {
        m.add(&opt.key, format!("{text:?} is not understood; write a share of the disk like \"10%\", or a size like \"20 GiB\""));
        Threshold::default()
    })
}

fn archive_of(raw: &RawArchive, base: &Path, m: &mut Mistakes) -> Option<ArchiveSettings> {
    let bucket = [&raw.endpoint, &raw.bucket, &raw.prefix, &raw.region, &raw.access_key_file]
        .into_iter()
        .chain([&raw.secret_key_file, &raw.ca_file]);
    if let Some(folder) = raw.folder.get() {
        for opt in bucket.filter(|opt| opt.is_given()) {
            m.add(&opt.key, "does not go with folder: an archive is a folder or a bucket");
        }
        return Some(ArchiveSettings::Folder(base.join(folder)));
    }
    let endpoint =
        raw.endpoint.required("folder = \"/mnt/luu-tru/truc\", or endpoint = \"https://s3.example.vn\"", m);
    let endpoint = endpoint.filter(|text| {
        let https = text.starts_with("https://");
        if !https && !text.starts_with("http://") {
            m.add(&raw.endpoint.key, "must begin with https:// (or http:// on this machine)");
        }
        if https && !raw.ca_file.is_given() {
            m.add(
                &raw.ca_file.key,
                "is missing: there are no built-in CAs; write ca-file = \"certs/s3-ca.pem\"",
            );
        }
        true
    });
    let bucket = raw.bucket.required("bucket = \"truc-bang-chung\"", m);
    let file = |opt: &Opt<String>| opt.get().map(|file| base.join(file));
    let access = raw.access_key_file.required("access-key-file = \"s3-access-key\"", m).map(|f| base.join(f));
    let secret = raw.secret_key_file.required("secret-key-file = \"s3-secret-key\"", m).map(|f| base.join(f));
    let prefix = raw.prefix.get().cloned().unwrap_or_default();
    if !prefix.is_empty()
        && let Err(error) = truc_evidence::check_name(&prefix)
    {
        m.add(
            &raw.prefix.key,
            format!("{error}; write letters, digits and dashes, like prefix = \"h26-ss1\""),
        );
    }
    Some(ArchiveSettings::S3(Box::new(S3Settings {
        endpoint: endpoint?.clone(),
        bucket: bucket?.clone(),
        prefix,
        region: raw.region.get().cloned().unwrap_or_else(|| "us-east-1".to_owned()),
        access_key_file: access?,
        secret_key_file: secret?,
        ca_file: file(&raw.ca_file),
    })))
}
