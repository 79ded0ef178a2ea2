//! `README.txt`: the by-hand steps for one container, as a text that is at the same time a shell script (protocol P5.6).
//!
//! It is written from the container's other files alone, so that [`super::verify`] can write it again and compare: nobody
//! can slip commands of their own to the person who follows it. Everything put into a command is a UUID, hexadecimal
//! digits, base64 or a number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use truc_message::{Header, manifest};
use truc_model::{Digest, Timestamp};
use truc_trust::{Certificate, cms, crl, ocsp};

use super::looked::Looked;
use super::notes::{MessageNote, Notes, RecordNote, SINCE_TIME};
use super::{names, readme_time, signed_directory};
use crate::record::LocalPart;

pub(super) type Files = BTreeMap<String, Bytes>;

const OPENING: &str = r#"# HỒ SƠ BẰNG CHỨNG CỦA MỘT LẦN TRAO ĐỔI - CÁCH TỰ KIỂM TRA
# EVIDENCE OF ONE EXCHANGE - HOW TO CHECK IT BY HAND
#
# Chỉ cần: openssl (3.0 trở lên), unzip, cat, sort, cmp. Không cần mạng, không cần phần mềm Trục.
# All it takes: openssl (3.0 or later), unzip, cat, sort, cmp. No network, no software of Trục.
#
# Dòng bắt đầu bằng # là lời giải thích, các dòng còn lại là lệnh. Hãy giải nén hồ sơ vào một thư mục trống, đặt cạnh thư
# mục đó tệp hồ sơ (container.asice) và chứng thư gốc của tổ chức chứng thực (ca.pem), rồi chạy từng lệnh trong thư mục,
# hoặc chạy tất cả: sh -e META-INF/notes/README.txt
# Lines that begin with # explain, the other lines are commands. Unpack the container into an empty folder, put the
# container (container.asice) and the certificate of the certificate authority (ca.pem) beside that folder, then run the
# commands one by one inside it, or all at once: sh -e META-INF/notes/README.txt
#
# Chứng thư gốc phải lấy từ tổ chức chứng thực hoặc sổ đăng ký, KHÔNG lấy từ hồ sơ này.
# Take the authority's certificate from the authority or from the registry, NEVER from this container.
CONTAINER=${CONTAINER:-../container.asice}
CA=${CA:-../ca.pem}

# 0. Hồ sơ phải ở đó / The container must be there
[ -f "$CONTAINER" ] || { echo "không thấy / not found: $CONTAINER"; false; }
# 1. Không có hai mục trùng tên / No two entries bear one name (cmp must say nothing)
unzip -Z1 "$CONTAINER" | sort > check-names.txt
unzip -Z1 "$CONTAINER" | sort -u | cmp - check-names.txt
"#;

/// Of the opening, what version 1 does not say.
const SINCE_2: &str = r#"# 0. Hồ sơ phải ở đó / The container must be there
[ -f "$CONTAINER" ] || { echo "không thấy / not found: $CONTAINER"; false; }
"#;

const CLOSING: &str = "\n# HỒ SƠ NÀY CHƯA CHỨNG MINH / WHAT THIS CONTAINER DOES NOT SHOW\n";

/// As versions 1 and 2 say it.
const NO_TIME: &str = r#"# - Dấu thời gian của bên thứ ba (RFC 3161): không có. Thời điểm ký là do bên ký tự ghi; trạng thái chứng thư ở trên cho
#   biết thêm. / A time-stamp of a third party (RFC 3161): there is none. The signing time is the signer's own word; the
#   certificate statuses above say a little more.
# - Vị trí của bản ghi trong nhật ký đã công bố của nút: không có. / The record's place in the node's published log: none.
"#;

const AT_ONCE: &str =
    "# Kiểm tra tự động toàn bộ / Everything at once: truc verify container.asice --anchor anchor.json\n";

/// Writes the text for these files, as the version of their notes words it.
///
/// # Errors
/// The sentence says which file cannot be read.
pub(super) fn text(notes: &Notes, files: &Files) -> Result<String, String> {
    let (first, timed) = (notes.v == 1, notes.v >= SINCE_TIME);
    let mut out = if first { OPENING.replacen(SINCE_2, "", 1) } else { OPENING.to_owned() };
    let looked = Looked::new(files);
    let without_body = || notes.messages().into_iter().filter(|m| !m.body);
    for message in without_body() {
        if first {
            bare_1(&mut out, &message);
        } else {
            bare(&mut out, &message, files, timed)?;
        }
    }
    if timed {
        readme_time::opening(&mut out, notes);
    }
    supporting(&mut out, notes);
    for message in notes.messages() {
        let records: Vec<&RecordNote> = notes.records.iter().filter(|r| r.message == Some(message)).collect();
        one(&mut out, &message, &records, &looked, first)?;
    }
    signed_directory::steps(&mut out, files);
    readme_time::steps(&mut out, notes, &looked)?;
    out.push_str(CLOSING);
    if timed {
        readme_time::closing(&mut out, notes);
    } else {
        out.push_str(NO_TIME);
    }
    for message in without_body().filter(|_| !first) {
        put(
            &mut out,
            format_args!(
                "# - Nội dung {}: không có, chỉ có giá trị băm. / The body {0}: it is not here, only its digest.\n",
                message.names().body
            ),
        );
    }
    out.push_str(AT_ONCE);
    Ok(out)
}

/// As version 1 speaks of a body that is not here.
fn bare_1(out: &mut String, message: &MessageNote) {
    let body = message.names().body;
    put(
        out,
        format_args!("\n# {body}: nội dung không còn lưu tại nút, chỉ có giá trị băm trong bản kê đã ký.\n"),
    );
    line(out, "# The node no longer holds this body; only its digest is in the signed manifest.");
}

/// Says how a body that is not here can be compared by whoever has it.
fn bare(out: &mut String, message: &MessageNote, files: &Files, timed: bool) -> Result<(), String> {
    let tool = if timed { "openssl dgst -sha256 -r" } else { "sha256sum" };
    let names = message.names();
    let digest = stated_body(message, &names, files)?;
    put(
        out,
        format_args!(
            "\n# {}: nội dung không có trong hồ sơ; bản kê đã ký chỉ nêu giá trị băm. Nút không bao giờ giữ nội dung trên 10 MiB.\n\
             # This body is not in the container; the signed manifest names its digest. Nodes never keep bodies over 10 MiB.\n\
             # Bên nào còn nội dung thì so / A party that still has the body compares: {tool} TỆP/FILE phải in ra / must print\n\
             #   {digest}\n",
            names.body
        ),
    );
    Ok(())
}

/// The body's digest, as the manifest states it.
fn stated_body(message: &MessageNote, names: &manifest::Names, files: &Files) -> Result<Digest, String> {
    let file = |name: &str| files.get(name).ok_or_else(|| format!("{name} is missing"));
    let stated = message.stated_body(file(&names.header)?, file(&names.manifest)?);
    stated.ok_or_else(|| format!("{} is not a manifest of this message", names.manifest))
}

pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// Writing to a String cannot fail.
pub(super) fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn supporting(out: &mut String, notes: &Notes) {
    if notes.files.is_empty() {
        return;
    }
    line(
        out,
        "\n# 2. Các tệp kèm theo đúng với giá trị băm / The supporting files have these digests (cmp must say nothing)",
    );
    line(out, "cat > check-files.txt <<'END'");
    for file in &notes.files {
        put(out, format_args!("{} *{}\n", file.sha256, file.name));
    }
    line(out, "END");
    let all: Vec<&str> = notes.files.iter().map(|f| f.name.as_str()).collect();
    put(out, format_args!("openssl dgst -sha256 -r {} | cmp - check-files.txt\n", all.join(" \\\n  ")));
}

fn one(
    out: &mut String,
    message: &MessageNote,
    records: &[&RecordNote],
    looked: &Looked<'_>,
    first: bool,
) -> Result<(), String> {
    let files = looked.files;
    let (names, stem) = (message.names(), message.stem());
    let file = |name: &str| files.get(name).ok_or_else(|| format!("{name} is missing"));
    let header = Header::parse(file(&names.header)?).map_err(|e| format!("{}: {e}", names.header))?;
    let signature = cms::read(file(&names.signature)?).map_err(|e| format!("{}: {e}", names.signature))?;
    let signer = signature.certificate();
    let seal = names::certificate(signer.fingerprint());
    let seconds = header.sent.seconds();
    put(
        out,
        format_args!(
            "\n# ===== {stem} =====\n# {} -> {}\n# {}\n",
            header.client, header.service, header.sent
        ),
    );
    line(
        out,
        if message.body || first {
            "# 3. Bản kê đúng với tiêu đề và nội dung / The manifest fits header and body (cmp must say nothing)"
        } else {
            "# 3. Bản kê đúng với tiêu đề; nội dung chưa được so / The manifest fits the header, the body is not compared (cmp must say nothing)"
        },
    );
    if first && !message.body {
        compare_1(out, &names);
    } else {
        rewrite(out, message, &names, files)?;
    }

    line(
        out,
        "# 4. Chữ ký trên bản kê / The signature over the manifest: must say \"CAdES Verification successful\"",
    );
    line(out, "#    -attime là thời điểm gửi, nên lệnh vẫn đúng khi chứng thư đã hết hạn.");
    line(
        out,
        "#    -attime is the time of sending, so that the command still works when the certificates have expired.",
    );
    let issuer = find_issuer(signer, signature.intermediates(), records, looked);
    let issuer_file =
        issuer.as_ref().map(|i| names::certificate(i.fingerprint())).filter(|n| files.contains_key(n));
    let chain =
        if issuer_file.is_some() { intermediates(out, &stem, seconds, looked) } else { "$CA".to_owned() };
    put(
        out,
        format_args!(
            "openssl cms -verify -cades -binary -inform DER -in {} -content {} \\\n  -CAfile \"{chain}\" -purpose any \
             -attime {seconds} -signer check-{stem}.pem -out /dev/null\n",
            names.signature, names.manifest
        ),
    );

    line(
        out,
        "# 5. Ai đã ký: in ra chủ thể chứng thư; phải đúng là tệp dưới đây / Who signed: the subject, and this very file",
    );
    put(
        out,
        format_args!(
            "openssl x509 -in check-{stem}.pem -noout -nameopt oneline,-esc_msb,utf8 -subject -serial -dates \\\n  -fingerprint -sha256\n"
        ),
    );
    put(out, format_args!("openssl x509 -in check-{stem}.pem -outform DER -out check-{stem}.der\n"));
    put(out, format_args!("openssl x509 -in {seal} -outform DER | cmp - check-{stem}.der\n"));

    let issuer = issuer.as_ref().map(|i| Issuer {
        certificate: i,
        file: issuer_file.as_deref().unwrap_or("$CA"),
        chain,
    });
    statuses(out, records, files, &seal, signer, issuer, seconds);
    directory(out, message, &header, records, looked, signer);
    Ok(())
}

/// As version 1 has a manifest compared whose body is not here.
fn compare_1(out: &mut String, names: &manifest::Names) {
    line(out, "#    Không có nội dung: chỉ so được tiêu đề, giá trị băm của nội dung in ra là từ bản kê.");
    line(
        out,
        "#    Without the body only the header is compared: the first digest below must stand in the manifest.",
    );
    let (header, manifest) = (&names.header, &names.manifest);
    put(out, format_args!("openssl dgst -sha256 -binary {header} | openssl base64\ncat {manifest}\n"));
}

/// The shell writes the manifest once more, with digests that openssl computes there and then; that of a body which is not
/// here as the manifest states it.
fn rewrite(
    out: &mut String,
    message: &MessageNote,
    names: &manifest::Names,
    files: &Files,
) -> Result<(), String> {
    // Two digests whose base64 can stand nowhere else in the manifest.
    let (a, b) = (Digest([0xaa; 32]), Digest([0xbb; 32]));
    let template =
        String::from_utf8(manifest::write(message.kind, message.id, a, b)).map_err(|e| e.to_string())?;
    let computed = |name: &str| format!("$(openssl dgst -sha256 -binary {name} | openssl base64)");
    let body = if message.body {
        computed(&names.body)
    } else {
        STANDARD.encode(stated_body(message, names, files)?.as_bytes())
    };
    let text = template.replace(&STANDARD.encode(a.as_bytes()), &computed(&names.header));
    let text = text.replace(&STANDARD.encode(b.as_bytes()), &body);
    put(out, format_args!("cat > check-{}.xml <<END\n{text}END\n", message.stem()));
    put(out, format_args!("cmp check-{}.xml {}\n", message.stem(), names.manifest));
    Ok(())
}

/// The certificate above the signer's, to name it to openssl. Nothing is believed here: openssl checks against `$CA`.
fn find_issuer(
    signer: &Certificate,
    embedded: &[Certificate],
    records: &[&RecordNote],
    looked: &Looked<'_>,
) -> Option<Certificate> {
    let is_above = |c: &&Certificate| c.subject_raw() == signer.issuer_raw();
    if let Some(found) = embedded.iter().find(is_above) {
        return Some(found.clone());
    }
    let mut seen = BTreeSet::new();
    let locals = records.iter().filter_map(|r| serde_json::from_str::<LocalPart>(&r.local).ok());
    let heads = locals.map(|local| local.directory).filter(|head| seen.insert(*head));
    heads.into_iter().find_map(|head| looked.authorities(head).iter().find(is_above).cloned())
}

/// The CA above a signer, and the files that openssl is given for it.
struct Issuer<'a> {
    certificate: &'a Certificate,
    file: &'a str,
    chain: String,
}

/// Intermediate CAs lie in the container. Each is first checked against `$CA`, so that none becomes trusted by lying here;
/// returns the file with the chain.
fn intermediates(out: &mut String, stem: &str, seconds: i64, looked: &Looked<'_>) -> String {
    let all = looked.intermediates();
    let chain = format!("check-{stem}-chain.pem");
    line(
        out,
        "#    Chứng thư trung gian: mỗi dòng phải là OK / Intermediate certificates: each line must say OK",
    );
    put(out, format_args!("cat {} > check-{stem}-untrusted.pem\n", all.join(" ")));
    for name in all {
        put(
            out,
            format_args!(
                "openssl verify -CAfile \"$CA\" -untrusted check-{stem}-untrusted.pem -attime {seconds} \\\n  {name}\n"
            ),
        );
    }
    put(out, format_args!("cat \"$CA\" check-{stem}-untrusted.pem > {chain}\n"));
    chain
}

fn statuses(
    out: &mut String,
    records: &[&RecordNote],
    files: &Files,
    seal: &str,
    signer: &Certificate,
    issuer: Option<Issuer<'_>>,
    seconds: i64,
) {
    let Some(issuer) = issuer else { return };
    let about = |all: Vec<Digest>| of_signer(all, signer, issuer.certificate, files);
    let named = about(records.iter().flat_map(|r| &r.statuses).copied().collect());
    lists(out, records, files, seal, &issuer, seconds);
    let after = about(records.iter().flat_map(|r| &r.statuses_after).copied().collect());
    if named.is_empty() {
        line(
            out,
            "# 6. Không có phản hồi OCSP nào cho chứng thư này / There is no OCSP response for this certificate",
        );
        if after.is_empty() {
            return;
        }
        line(
            out,
            "#    lúc gửi. Trạng thái SAU dấu thời gian nói \"good\" thì khi ký cũng vậy, vì thu hồi là vĩnh viễn: phải in \"Response verify OK\" và \"good\".\n\
             #    at the time of sending. One from AFTER the time-stamp that says \"good\" says it of then, too, as a revocation is final:\n\
             #    must say \"Response verify OK\" and \"good\". \"Status times invalid\" only means that the answer is older than today.",
        );
    } else {
        line(
            out,
            "# 6. Trạng thái chứng thư / Certificate status: must say \"Response verify OK\" and \"good\". \"Status times invalid\" only",
        );
        line(
            out,
            "#    means that the answer is older than today / chỉ có nghĩa là phản hồi đã cũ so với hôm nay; \"This Update\" phải gần giờ gửi.",
        );
    }
    for name in named {
        ask(out, &name, seal, &issuer, files, seconds);
    }
    if !after.is_empty() {
        line(
            out,
            "#    Trạng thái công bố SAU dấu thời gian (bước 9): \"This Update\" phải sau giờ đó / Issued AFTER the time-stamp (step 9):",
        );
    }
    for name in after {
        let made = files.get(&name).and_then(|bytes| ocsp::read(bytes).ok());
        let at = made.map_or(seconds, |response| response.produced_at().seconds());
        ask(out, &name, seal, &issuer, files, at);
    }
}

/// Which of the statuses are the signer's: judged late enough to be from no future.
fn of_signer(all: Vec<Digest>, signer: &Certificate, issuer: &Certificate, files: &Files) -> Vec<String> {
    let late = Timestamp::from_millis(i64::MAX);
    let mut named: Vec<String> = all.into_iter().map(names::status).collect();
    named.sort();
    named.dedup();
    named.retain(|name| {
        let read = files.get(name).and_then(|bytes| ocsp::read(bytes).ok());
        read.is_some_and(|response| {
            !matches!(response.judge(signer, issuer, late), Err(ocsp::OcspError::OtherCertificate))
        })
    });
    named
}

fn ask(out: &mut String, name: &str, seal: &str, issuer: &Issuer<'_>, files: &Files, at: i64) {
    let Issuer { certificate, file, chain } = issuer;
    let own = if *file == "$CA" { String::new() } else { format!(" -verify_other {file}") };
    // openssl has to name the certificate as the response does: by SHA-256, or by SHA-1 which is its default.
    let key_hash = Digest::of(certificate.public_key());
    let by_sha256 =
        files.get(name).is_some_and(|bytes| bytes.windows(32).any(|window| window == key_hash.as_bytes()));
    let hash = if by_sha256 { "-sha256" } else { "-sha1" };
    put(
        out,
        format_args!(
            "openssl ocsp -respin {name} -issuer \"{file}\" {hash} -cert {seal} \\\n  -CAfile \"{chain}\"{own} -attime {at}\n"
        ),
    );
}

/// Revocation lists that stood in for a responder that was away.
fn lists(
    out: &mut String,
    records: &[&RecordNote],
    files: &Files,
    seal: &str,
    issuer: &Issuer<'_>,
    seconds: i64,
) {
    let local = records.iter().filter_map(|r| serde_json::from_str::<LocalPart>(&r.local).ok());
    let mut named: Vec<String> = local
        .filter_map(|l| l.trust)
        .flat_map(|t| t.revocation_lists)
        .map(|list| names::list(list.digest))
        .filter(|name| files.get(name).is_some_and(|bytes| crl::read(bytes, issuer.certificate).is_ok()))
        .collect();
    named.sort();
    named.dedup();
    for name in named {
        line(
            out,
            "# 6. Danh sách thu hồi đã dựa vào khi máy chủ OCSP vắng: phải in \"OK\" / The revocation list relied on: must say \"OK\"",
        );
        put(
            out,
            format_args!(
                "openssl verify -crl_check -CRLfile {name} -CAfile \"{}\" -partial_chain -purpose any \\\n  -attime {seconds} {seal}\n\
                 openssl crl -inform DER -in {name} -noout -issuer -lastupdate -nextupdate\n",
                issuer.chain
            ),
        );
    }
}

fn directory(
    out: &mut String,
    message: &MessageNote,
    header: &Header,
    records: &[&RecordNote],
    looked: &Looked<'_>,
    signer: &Certificate,
) {
    let member = if message.kind.is_answer() { header.service.member() } else { header.client.member() };
    put(
        out,
        format_args!(
            "# 7. Danh bạ: phần của {member} phải có vân tay chứng thư sau trong signCertificates\n"
        ),
    );
    put(
        out,
        format_args!(
            "#    Directory: the part of {member} must list this fingerprint under signCertificates:\n"
        ),
    );
    put(out, format_args!("#    {}\n", signer.fingerprint()));
    let mut heads: Vec<Digest> = records
        .iter()
        .filter_map(|r| serde_json::from_str::<LocalPart>(&r.local).ok())
        .map(|local| local.directory)
        .collect();
    heads.sort_unstable();
    heads.dedup();
    for head in heads {
        for name in looked.parts_of(head, &member) {
            put(out, format_args!("cat {name}; echo\n"));
        }
    }
}
