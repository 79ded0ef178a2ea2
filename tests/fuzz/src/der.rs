//! DER, written by hand: what a fuzzer needs and an honest writer would refuse to write.

/// INTEGER.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BITS: u8 = 0x03;
/// SEQUENCE.
pub const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier of ECDSA with SHA-256.
pub const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// One element.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let mut out = vec![tag];
    match value.len() {
        n if n < 0x80 => out.push(n as u8),
        n if n < 0x100 => out.extend([0x81, n as u8]),
        n if n < 0x1_0000 => out.extend([0x82, (n >> 8) as u8, n as u8]),
        n => out.extend([0x83, (n >> 16) as u8, (n >> 8) as u8, n as u8]),
    }
    out.extend(value);
    out
}

/// A BIT STRING without unused bits.
pub fn bits(value: &[u8]) -> Vec<u8> {
    tlv(BITS, &[&[0], value])
}

/// A GeneralizedTime or UTCTime text.
pub fn time(text: &str) -> Vec<u8> {
    tlv(if text.len() == 13 { 0x17 } else { 0x18 }, &[text.as_bytes()])
}
