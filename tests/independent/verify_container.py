"""A second, independent verifier of containers, written from docs/evidence.md and docs/protocol.md alone.

It judges what other people's tools cannot (verify.py has those judge the rest): from the anchor through the directory to
the signer, the time-stamp authority and the node's log key; the manifest and its signature; the statuses before and after
the token; the evidence record; the head of the log and the inclusion of each record's leaf. It knows the CA profile truc-1, CAs
that answer by OCSP and authorities whose own certificate is listed. An assertion that fails is the verdict.

    verify_container.py CONTAINER ANCHOR_JSON
"""

import base64
import datetime
import hashlib
import json
import re
import sys
import zipfile

from asn1crypto import algos, cms, core, ocsp, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, utils

META = "META-INF/"
HOUR = datetime.timedelta(hours=1)
SKEW = datetime.timedelta(seconds=60)
XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" '
    'xmlns:ds="http://www.w3.org/2000/09/xmldsig#">%s%s</asic:ASiCManifest>\n'
)
REFERENCE = (
    '<asic:DataObjectReference MimeType="%s" URI="%s"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
    "<ds:DigestValue>%s</ds:DigestValue></asic:DataObjectReference>"
)


class Hashes(core.SequenceOf):
    _child_spec = core.OctetString


class HashTree(core.SequenceOf):
    _child_spec = Hashes


class ArchiveTimeStamp(core.Sequence):
    _fields = [("tree", HashTree, {"implicit": 2}), ("token", cms.ContentInfo)]


class Chain(core.SequenceOf):
    _child_spec = ArchiveTimeStamp


class Chains(core.SequenceOf):
    _child_spec = Chain


class DigestAlgorithms(core.SequenceOf):
    _child_spec = algos.DigestAlgorithm


class EvidenceRecord(core.Sequence):
    _fields = [("version", core.Integer), ("algorithms", DigestAlgorithms), ("chains", Chains)]


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def moment(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)


def b64(raw):
    return base64.b64encode(raw).decode()


def only(items):
    (item,) = items
    return item


def ed25519_holds(key, signature, text):
    ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, text)


def holds(key, signature, text, digest, pss=False):
    """A signature by a certificate's key over a text, or over its digest where `text` is None."""
    algorithm = {"sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}[digest]()
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, text, ec.ECDSA(algorithm))
    else:
        key.verify(signature, text, padding.PSS(padding.MGF1(algorithm), 32) if pss else padding.PKCS1v15(), algorithm)


def valid_at(certificate, at):
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def cms_signer(content, econtent, certificates, hashed):
    """The certificate that made the one SignerInfo: message digest, ESSCertID and signature hold over `hashed`."""
    signer = only(content["signer_infos"])
    attributes = {a["type"].native: only(a["values"]) for a in signer["signed_attrs"]}
    assert len(attributes) == len(signer["signed_attrs"])
    assert attributes["content_type"].native == econtent
    digest = signer["digest_algorithm"]["algorithm"].native
    assert attributes["message_digest"].native == hashlib.new(digest, hashed).digest()
    if "signing_certificate_v2" in attributes:
        ess = attributes["signing_certificate_v2"]["certs"][0]
        named, by = ess["cert_hash"].native, ess["hash_algorithm"]["algorithm"].native
    else:
        named, by = attributes["signing_certificate"]["certs"][0]["cert_hash"].native, "sha1"
    certificate = only(c for c in certificates if hashlib.new(by, der(c)).digest() == named)
    assert signer["sid"].name == "issuer_and_serial_number" and signer["sid"].chosen["serial_number"].native == certificate.serial_number
    assert signer["sid"].chosen["issuer"].dump() == certificate.issuer.public_bytes()
    pss = signer["signature_algorithm"]["algorithm"].native == "rsassa_pss"
    holds(certificate.public_key(), signer["signature"].native, signer["signed_attrs"].untag().dump(), digest, pss)
    return certificate, attributes


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def embedded(content):
    return [x509.load_der_x509_certificate(c.chosen.dump()) for c in content["certificates"]]


class Directory:
    """The parts under META-INF/directory/<digest>/, led back to the anchor (P6)."""

    def __init__(self, files, digest, anchor):
        self.place = f"{META}directory/{digest}/"
        file = {n[len(self.place) :]: b for n, b in files.items() if n.startswith(self.place)}
        assert sha(file["head.json"]).hex() == digest
        keys, threshold, root, number = anchor["rootKeys"], anchor["threshold"], None, 1
        while f"root-{number}.json" in file:
            endorsed = json.loads(file[f"root-{number}.json"])
            new = json.loads(base64.b64decode(endorsed["payload"]))
            assert new["version"] == number and new["instance"] == anchor["instance"]
            assert root is None or new["epoch"] >= root["epoch"]
            self.endorsed(endorsed, keys, threshold)
            self.endorsed(endorsed, new["rootKeys"], new["threshold"])
            root, keys, threshold, number = new, new["rootKeys"], new["threshold"], number + 1
        endorsed = json.loads(file["trust.json"])
        self.endorsed(endorsed, keys, threshold)
        self.trust = json.loads(base64.b64decode(endorsed["payload"]))
        signed = json.loads(file["head.json"])
        text = base64.b64decode(signed["head"])
        key = only(k for k in root["publishingKeys"] if sha(bytes.fromhex(k)).hex() == signed["key"])
        ed25519_holds(bytes.fromhex(key), base64.b64decode(signed["signature"]), text)
        self.head = json.loads(text)
        assert self.head["instance"] == anchor["instance"] == self.trust["instance"] and self.head["epoch"] == root["epoch"]
        parts = {p["name"]: p["digest"] for p in self.head["parts"]}
        assert parts["trust"] == sha(file["trust.json"]).hex()
        for n in range(1, number):
            assert parts[f"root/{n}"] == sha(file[f"root-{n}.json"]).hex()
        assert f"root/{number}" not in parts
        self.members = {}
        for name, content in file.items():
            if name.startswith("member-"):
                member = json.loads(content)
                plain = member["id"].removeprefix("MEMBER:")
                listed = parts.get(f"member/{plain}") or self.indexed(file, parts, plain, member["id"])
                assert listed == sha(content).hex(), name
                self.members[member["id"]] = member
        self.issued, self.expires = moment(self.head["issued"]), moment(self.head["expires"])

    @staticmethod
    def endorsed(document, keys, threshold):
        payload, good = base64.b64decode(document["payload"]), set()
        for key in keys:
            for s in document["signatures"]:
                if s["key"] == sha(bytes.fromhex(key)).hex():
                    ed25519_holds(bytes.fromhex(key), base64.b64decode(s["signature"]), payload)
                    good.add(key)
        assert len(good) >= threshold, "too few signatures of root keys"

    @staticmethod
    def indexed(file, parts, plain, member):
        digest = parts[f"members/{sha(plain.encode())[0]:02x}"]
        index = file[f"index-{digest}.json"]
        assert sha(index).hex() == digest
        return only(m["digest"] for m in json.loads(index)["members"] if m["id"] == member)

    def node(self, node):
        return only(n for m in self.members.values() for n in m["nodes"] if n["id"] == node)

    def authority(self, certificate, at):
        """The issuer of a signer's certificate, by a path to an approved CA for signing, valid at a time."""
        for authority in self.trust["authorities"]:
            if "sign" not in authority["usages"]:
                continue
            assert authority["profile"] == "truc-1", "a profile that this verifier does not know"
            root = x509.load_der_x509_certificate(base64.b64decode(authority["certificate"]))
            between = [x509.load_der_x509_certificate(base64.b64decode(c)) for c in authority["intermediates"]]
            for path in [[root]] + [[i, root] for i in between]:
                try:
                    for child, parent in zip([certificate] + path, path):
                        child.verify_directly_issued_by(parent)
                        assert valid_at(child, at) and parent.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
                    return path[0]
                except Exception:
                    continue
        raise AssertionError("no path to an approved authority")


def status_of(response, certificate, issuer):
    """The one answer of an OCSP response about a certificate, once its signature holds; None when it is about another."""
    response = ocsp.OCSPResponse.load(response, strict=True)
    assert response["response_status"].native == "successful"
    basic = response.basic_ocsp_response
    found = [r for r in basic["tbs_response_data"]["responses"] if r["cert_id"]["serial_number"].native == certificate.serial_number]
    key = asn1_x509.Certificate.load(der(issuer)).public_key["public_key"].contents[1:]
    found = [r for r in found if r["cert_id"]["issuer_key_hash"].native == hashlib.new(r["cert_id"]["hash_algorithm"]["algorithm"].native, key).digest()]
    if not found:
        return None
    responder = issuer
    for candidate in (x509.load_der_x509_certificate(c.dump()) for c in basic["certs"] or []):
        usage = candidate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert x509.ExtendedKeyUsageOID.OCSP_SIGNING in usage and valid_at(candidate, only(found)["this_update"].native)
        candidate.verify_directly_issued_by(issuer)
        responder = candidate
    digest = basic["signature_algorithm"].hash_algo
    holds(responder.public_key(), basic["signature"].native, basic["tbs_response_data"].dump(), digest)
    return only(found)


def read_head(note, directories, node):
    """A head's size and root, once the log key of the node is found to have signed it (2.2)."""
    text, _, signatures = note.decode().partition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    assert re.fullmatch(re.escape(node.replace("+", "%2B")) + r"(/log-[0-9a-f-]+)?", origin)
    name, signature = re.fullmatch("— (\\S+) (\\S+)\n", signatures).groups()
    signature = base64.b64decode(signature, validate=True)
    for directory in directories:
        key = bytes.fromhex(directory.node(node)["logKey"])
        if name == origin and signature[:4] == sha(name.encode(), b"\n\x01", key)[:4]:
            ed25519_holds(key, signature[4:], text.encode())
            return int(size), base64.b64decode(root)
    raise AssertionError("no log key of a directory signed the head")


def included(leaf, index, size, path):
    """The root that an inclusion proof of RFC 6962 §2.1.1 leads to (RFC 9162 §2.1.3.2)."""
    at, last = index, size - 1
    assert at <= last
    for sibling in map(bytes.fromhex, path):
        assert last > 0
        if at & 1 or at == last:
            leaf = sha(b"\x01", sibling, leaf)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            leaf = sha(b"\x01", leaf, sibling)
        at, last = at >> 1, last >> 1
    assert last == 0
    return leaf


def up(below, lists):
    for siblings in lists:
        below = sha(*sorted([below, *siblings]))
    return below


def token_time(token, imprint, listed):
    """genTime of a token over an imprint, by the certificate that the directory lists."""
    content = cms.ContentInfo.load(token, strict=True)["content"]
    signed = content["encap_content_info"]
    info = signed["content"].parsed
    at = info["gen_time"].native
    certificate, _ = cms_signer(content, "tst_info", [listed], signed["content"].contents)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert usage.critical and list(usage.value) == [x509.ExtendedKeyUsageOID.TIME_STAMPING] and valid_at(certificate, at)
    assert info["message_imprint"]["hash_algorithm"]["algorithm"].native == "sha256"
    assert info["message_imprint"]["hashed_message"].native == imprint, "the token is about something else"
    return at


def main(container, anchor):
    with open(anchor) as file:
        anchor = json.load(file)
    with zipfile.ZipFile(container) as archive:
        names = archive.namelist()
        assert names[0] == "mimetype" and len(names) == len({n.lower() for n in names})
        files = {n: archive.read(n) for n in names}
    assert files["mimetype"] == b"application/vnd.etsi.asic-e+zip"
    notes = json.loads(files[META + "notes/records.json"])
    for file in notes["files"]:
        assert sha(files[file["name"]]).hex() == file["sha256"], file["name"]
    directories = {n.split("/")[2] for n in names if n.startswith(META + "directory/")}
    directories = {d: Directory(files, d, anchor) for d in directories}
    request = only({json.dumps(r["message"]): r for r in notes["records"] if r["kind"] == "request"}.values())
    request = (json.loads(files["%(kind)s-%(id)s/header.json" % request["message"]]), request["manifestDigest"])
    for record in notes["records"]:
        if "message" in record:
            stamp = judge(files, notes, record, directories, request)
            print(record["sequence"], record["kind"], "holds,", f"no younger than {stamp}" if stamp else "not stamped")


def judge(files, notes, record, directories, request):
    local = json.loads(record["local"])
    directory = directories[local["directory"]]
    name = "%(kind)s-%(id)s" % record["message"]
    header = json.loads(files[f"{name}/header.json"])
    sent = moment(header["sent"])
    assert header["kind"] == record["kind"] and header["id"] == record["message"]["id"]
    assert directory.issued <= sent + 6 * SKEW and directory.expires > sent

    # manifest, signature, record
    manifest_name = f"{META}ASiCManifest-{name}.xml"
    manifest, signature = files[manifest_name], files[f"{META}signature-{name}.p7s"]
    stated = re.findall("<ds:DigestValue>([^<]*)", manifest.decode())
    body = b64(sha(files[f"{name}/body.bin"])) if record["message"]["body"] else stated[1]
    about = f'<asic:SigReference MimeType="application/pkcs7-signature" URI="{META}signature-{name}.p7s"/>'
    parts = REFERENCE % ("application/json", f"{name}/header.json", b64(sha(files[f"{name}/header.json"])))
    parts += REFERENCE % ("application/octet-stream", f"{name}/body.bin", body)
    assert manifest == (XML % (about, parts)).encode() and sha(manifest).hex() == record["manifestDigest"]
    content = cms.ContentInfo.load(signature, strict=True)["content"]
    assert content["encap_content_info"]["content_type"].native == "data" and not content["encap_content_info"]["content"].native
    signer, attributes = cms_signer(content, "data", embedded(content), manifest)
    assert attributes["signing_time"].native == sent.replace(microsecond=0)
    statuses = [bytes.fromhex(s) for s in record["statuses"]]
    kind = {"request": 1, "response": 2, "refusal": 3}[record["kind"]]
    leaf = sha(b"\0\1", record["sequence"].to_bytes(8, "big"), bytes([kind]), sha(manifest), sha(signature),
               len(statuses).to_bytes(2, "big"), *statuses, sha(record["local"].encode()))  # fmt: skip
    assert leaf.hex() == record["leaf"]

    # answer, signer registered, node
    asked, digest = request
    if record["kind"] != "request":
        assert header["inReplyTo"] == {"id": asked["id"], "digest": digest}
        assert [header[k] for k in ("client", "service", "from", "to")] == [asked[k] for k in ("client", "service", "to", "from")]
    system = header["client"] if record["kind"] == "request" else "SUBSYSTEM:" + header["service"].removeprefix("SERVICE:").rpartition("/")[0]
    plain = system.removeprefix("SUBSYSTEM:").rpartition("/")[0]
    member = directory.members["MEMBER:" + plain]
    assert member["status"] == "active" and sha(der(signer)).hex() in [c["fingerprint"] for c in member["signCertificates"]]
    assert plain in [a.value for a in signer.subject.get_attributes_for_oid(x509.ObjectIdentifier("2.5.4.97"))]
    assert system in directory.node(header["from"])["serves"]

    # path and status before
    issuer = directory.authority(signer, sent)

    def about(digests):
        return [a for s in digests if (a := status_of(files[f"{META}ocsp/{s}.der"], signer, issuer))]

    own, later = about(record["statuses"]), about(record.get("statusesAfter", []))
    if own or "stamped" not in record:
        before = max((a for a in own if a["this_update"].native <= sent + 6 * SKEW), key=lambda a: a["this_update"].native)
        assert before["cert_status"].name == "good" and sent - before["this_update"].native <= 12 * HOUR
    if "stamped" not in record:
        return None

    # evidence record, token, status after
    place = only(h for h in notes["heads"] if h["head"] == record["stamped"]["head"])
    note = files[f"{META}notes/heads/{place['head']}.txt"]
    assert sha(note).hex() == place["head"]
    token = files[f"{META}notes/heads/{place['head']}.der"]
    objects = [(manifest_name, "text/xml"), (f"{META}signature-{name}.p7s", "application/pkcs7-signature")]
    objects += [(f"{META}ocsp/{s}.der", "application/ocsp-response") for s in record["statuses"]]
    parts = "".join(REFERENCE % (media, file, b64(sha(files[file]))) for file, media in objects)
    suffix = name if f"{META}evidencerecord-{name}-{record['sequence']}.ers" not in files else f"{name}-{record['sequence']}"
    about = f'<asic:SigReference URI="{META}evidencerecord-{suffix}.ers"/>'
    assert files[f"{META}ASiCEvidenceRecordManifest-{suffix}.xml"] == (XML % (about, parts)).encode()
    evidence = EvidenceRecord.load(files[f"{META}evidencerecord-{suffix}.ers"], strict=True)
    assert evidence["version"].native == 1 and [a["algorithm"].native for a in evidence["algorithms"]] == ["sha256"]
    ats = only(only(evidence["chains"]))
    first, *lists = [[h.native for h in hashes] for hashes in ats["tree"]]
    assert first == sorted(sha(files[file]) for file, _ in objects) and ats["token"].dump() == token
    imprint = up(sha(*first), lists)
    listed = {a["certificate"] for d in directories.values() for a in d.trust["timestampAuthorities"] if a["name"] == place["authority"]}
    stamp = token_time(token, imprint, x509.load_der_x509_certificate(base64.b64decode(only(listed))))
    assert stamp == moment(place["genTime"]) and stamp >= sent - 6 * SKEW
    assert len(later) == len(record.get("statusesAfter", [])) and all(a["this_update"].native >= stamp for a in later)
    for state in (a["cert_status"] for a in later):
        assert state.name == "good" or state.name == "revoked" and state.chosen["revocation_time"].native > stamp
    if not own:
        # A record without a status about the signer: the first one after the token stands in, when it says good (4.4).
        first = min(later, key=lambda a: a["this_update"].native)
        assert first["cert_status"].name == "good" and first["this_update"].native <= signer.not_valid_after_utc

    # log
    recorder = asked["from"] if local["role"] == "consumer" else asked["to"]
    size, root = read_head(note, directories.values(), recorder)
    assert size == place["next"] and place["first"] <= record["sequence"] < size
    assert up(sha(note), [[bytes.fromhex(p)] for p in place["path"]]) == imprint
    assert included(leaf, record["sequence"], size, record["stamped"]["inclusion"]) == root
    return stamp


if __name__ == "__main__":
    main(*sys.argv[1:])
