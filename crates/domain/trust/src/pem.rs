//! PEM, as tools read it (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `der` in PEM, 64 characters a line; `label` is what it holds, e.g. `CERTIFICATE` or `CERTIFICATE REQUEST`.
pub fn pem(label: &str, der: &[u8]) -> String {
    let coded = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out + &format!("-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Certificate;
    use crate::testing::Party;

    #[test]
    fn what_is_written_is_read_again() {
        let certificate = Party::root("CA").certificate;
        let text = pem("CERTIFICATE", certificate.der());
        assert_eq!(Certificate::from_pem(text.as_bytes()).unwrap(), certificate);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(pem("X", b""), "-----BEGIN X-----\n-----END X-----\n");
    }
}
