//! Header texts as ASCII or RFC 8187 ext-values (protocol P10.1).

/// Writes a text: as it is where it is plain ASCII, else as `UTF-8''%C4%91`. An ASCII text that would read as an ext-value
/// is coded too, so that what the service reads is what the caller meant.
pub(crate) fn encode(text: &str) -> String {
    let like_coded = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("utf-8'"));
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) && !like_coded {
        return text.to_owned();
    }
    let mut out = String::from("UTF-8''");
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn ascii_stays_and_the_rest_is_coded() {
        assert_eq!(encode("1.004194 (a'b)"), "1.004194 (a'b)");
        assert_eq!(encode("Đăng ký"), "UTF-8''%C4%90%C4%83ng%20k%C3%BD");
        assert_eq!(encode("utf-8''x"), "UTF-8''utf-8%27%27x");
    }
}
