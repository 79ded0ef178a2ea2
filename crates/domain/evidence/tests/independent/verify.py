"""Checks a container with other people's verifiers, and with none of our code.

pyHanko judges the CAdES signatures with their OCSP responses, asn1crypto reads the evidence records (RFC 4998), and
rfc3161-client (Trail of Bits) the time-stamp tokens. Trust comes from the certificates given, never from the container:
TSA_PEM is the certificate that the directory lists, and behind it the CA above it where it is not a CA itself.

    verify.py CONTAINER CA_PEM [TSA_PEM]
"""

import asyncio
import base64
import hashlib
import sys
import xml.etree.ElementTree as ElementTree
import zipfile

import cryptography.x509
import rfc3161_client
from asn1crypto import algos, cms, core, ocsp, pem, x509
from pyhanko.sign.general import extract_certificate_info
from pyhanko.sign.validation.generic_cms import async_validate_detached_cms
from pyhanko_certvalidator import ValidationContext

ASIC = "{http://uri.etsi.org/02918/v1.2.1#}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"


class Hashes(core.SequenceOf):
    _child_spec = core.OctetString


class HashTree(core.SequenceOf):
    _child_spec = Hashes


class ArchiveTimeStamp(core.Sequence):
    _fields = [
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", core.SetOf, {"implicit": 1, "optional": True}),
        ("reduced_hash_tree", HashTree, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class Chain(core.SequenceOf):
    _child_spec = ArchiveTimeStamp


class Chains(core.SequenceOf):
    _child_spec = Chain


class DigestAlgorithms(core.SequenceOf):
    _child_spec = algos.DigestAlgorithm


class EvidenceRecord(core.Sequence):
    _fields = [
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("crypto_infos", core.Sequence, {"implicit": 0, "optional": True}),
        ("encryption_info", core.Sequence, {"implicit": 1, "optional": True}),
        ("sequence", Chains),
    ]


def sha256(data):
    return hashlib.sha256(data).digest()


def read_certificate(path):
    with open(path, "rb") as file:
        return file.read()


def manifest(archive, name):
    """The file that the manifest is about, and the digests of what it names, each compared with the file's own."""
    root = ElementTree.fromstring(archive.read(name))
    digests = []
    for reference in root.findall(f"{ASIC}DataObjectReference"):
        method = reference.find(f"{DS}DigestMethod").attrib["Algorithm"]
        assert method == "http://www.w3.org/2001/04/xmlenc#sha256", method
        stated = base64.b64decode(reference.find(f"{DS}DigestValue").text)
        uri = reference.attrib["URI"]
        if uri in archive.namelist():
            assert sha256(archive.read(uri)) == stated, f"{uri} is not what {name} names"
        else:
            print(f"{uri}: not in the container, its digest only")
        digests.append(stated)
    return root.find(f"{ASIC}SigReference").attrib["URI"], digests


async def signature(archive, name, ca):
    """A CAdES signature over a manifest, at its signing time, with the OCSP responses of the container."""
    signed, _ = manifest(archive, name)
    content = cms.ContentInfo.load(archive.read(signed), strict=True)["content"]
    attributes = content["signer_infos"][0]["signed_attrs"]
    moment = next(a["values"][0].native for a in attributes if a["type"].native == "signing_time")
    responses = [n for n in archive.namelist() if n.startswith("META-INF/ocsp/")]
    between = [n for n in archive.namelist() if n.startswith("META-INF/certs/")]
    context = ValidationContext(
        trust_roots=[x509.Certificate.load(pem.unarmor(ca)[2])],
        other_certs=[x509.Certificate.load(pem.unarmor(archive.read(n))[2]) for n in between],
        ocsps=[ocsp.OCSPResponse.load(archive.read(n)) for n in responses],
        moment=moment,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )
    status = await async_validate_detached_cms(archive.read(name), content, context)
    assert status.bottom_line, f"{signed}: {status.summary()}"
    signer = extract_certificate_info(content).signer_cert
    print(f"{signed}: {status.summary()} {moment.isoformat()} {signer.subject.human_friendly}")


def time_stamp(archive, name, tsa):
    """An evidence record: from exactly the objects that its manifest names up to the token's imprint, and the token."""
    file, digests = manifest(archive, name)
    record = EvidenceRecord.load(archive.read(file), strict=True)
    assert record["version"].native == 1
    assert len(record["sequence"]) == 1 and len(record["sequence"][0]) == 1
    stamp = record["sequence"][0][0]
    lists = [[h.native for h in hashes] for hashes in stamp["reduced_hash_tree"]]
    assert sorted(digests) == sorted(lists[0]), f"{file} is about other objects than {name} names"
    below = sha256(b"".join(sorted(lists[0])))
    for hashes in lists[1:]:
        below = sha256(b"".join(sorted(hashes + [below])))
    token = stamp["time_stamp"].dump()
    response = bytes.fromhex("3003020100") + token
    response = b"\x30\x82" + len(response).to_bytes(2, "big") + response
    response = rfc3161_client.decode_timestamp_response(response)
    # The authority's certificate, which the directory lists, and the CA above it where it is not one itself.
    listed, *above = cryptography.x509.load_pem_x509_certificates(tsa)
    verifier = rfc3161_client.VerifierBuilder()
    if above:
        verifier = verifier.tsa_certificate(listed)
    for certificate in above or [listed]:
        verifier = verifier.add_root_certificate(certificate)
    assert verifier.build().verify(response, below), file
    print(f"{file}: {len(lists[0])} objects, {len(lists) - 1} steps, {response.tst_info.gen_time.isoformat()}")


def main(container, ca, tsa=None):
    with zipfile.ZipFile(container) as archive:
        assert archive.namelist()[0] == "mimetype"
        assert archive.read("mimetype") == b"application/vnd.etsi.asic-e+zip"
        for name in archive.namelist():
            if name.startswith("META-INF/ASiCManifest-"):
                asyncio.run(signature(archive, name, read_certificate(ca)))
            if name.startswith("META-INF/ASiCEvidenceRecordManifest-"):
                time_stamp(archive, name, read_certificate(tsa))


if __name__ == "__main__":
    main(*sys.argv[1:])
