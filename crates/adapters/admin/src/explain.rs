//! What is wrong with a body or a query, in words for people: which field, and what to write.

/// What a field is to be, by its name in JSON or in the query.
const FIELDS: &[(&str, &str)] = &[
    ("id", "a service like \"VN/GOV/G01/csdl-dancu/tra-cuu\""),
    ("service", "a service like \"VN/GOV/G01/csdl-dancu/tra-cuu\""),
    ("kind", "\"rest\" or \"openapi\""),
    ("url", "where the provider's system answers, like \"http://127.0.0.1:9000\""),
    ("descriptionUrl", "where the OpenAPI document lies, like \"http://127.0.0.1:9000/openapi.json\""),
    ("document", "the OpenAPI document as one text, JSON or YAML"),
    (
        "pinnedCertificates",
        "a list of SHA-256 fingerprints of certificates, 64 lower-case hexadecimal digits each",
    ),
    ("generated", "true or false; what is true is replaced from the OpenAPI document"),
    ("endpoints", "a list like [{\"method\":\"GET\",\"path\":\"/cong-dan/*\"}]"),
    ("timeoutMs", "a number of milliseconds from 1 to 270000"),
    ("maxBody", "a number of bytes"),
    ("requireOfficer", "true or false"),
    ("requirePurpose", "true or false"),
    ("requireLegalBasis", "true or false"),
    (
        "conditions",
        "an object like {\"requireOfficer\":true,\"hours\":\"mon-fri 07:30-17:00\",\"expires\":\"2027-01-01T00:00:00.000Z\"}",
    ),
    ("at", "a time like 2026-11-21T00:00:00.000Z"),
    ("text", "the services, groups and rights as one text, as truc node export writes them"),
    ("digest", "the digest that the plan told"),
    ("officer", "true or false"),
    ("purpose", "true or false"),
    ("legalBasis", "true or false"),
    ("bodyLength", "a number of bytes"),
    ("sideEffectFree", "true or false"),
    ("secretHeaders", "a list of header names in lower case, like [\"x-api-key\"]"),
    ("disabled", "the notice that callers read, one line"),
    ("notice", "the notice that callers read, one line"),
    (
        "subject",
        "\"SUBSYSTEM:VN/GOV/H26/mot-cua-so-1\", \"MEMBER:VN/GOV/H26\", \"GROUP:code\" or \"LOCALGROUP:code\"",
    ),
    ("method", "an HTTP method like \"GET\", or \"*\""),
    ("path", "a pattern like \"/cong-dan/*\", or \"**\""),
    ("owner", "a subsystem like \"VN/GOV/G01/csdl-dancu\""),
    ("client", "a subsystem like \"VN/GOV/H26/mot-cua-so-1\""),
    ("code", "a code of letters, digits and - . _"),
    ("description", "a text"),
    ("member", "\"SUBSYSTEM:VN/GOV/H26/mot-cua-so-1\" or \"MEMBER:VN/GOV/H26\""),
    ("since", "a time like 2026-11-21T00:00:00.000Z"),
    ("until", "a time like 2026-11-21T00:00:00.000Z"),
    ("limit", "a whole number from 1 to 1000"),
    ("body", "true or false"),
    ("v", "1"),
];

/// The sentence for a value that does not read: `path` is where in the value, `problem` the reader's own words.
pub(crate) fn value(path: &str, problem: &str) -> String {
    let quoted = problem.split('`').nth(1).unwrap_or_default();
    if problem.starts_with("missing field") {
        return format!("{quoted}: is missing; write {}", wanted(quoted));
    }
    if problem.starts_with("unknown field") {
        let known: Vec<&str> = problem.split('`').skip(3).step_by(2).collect();
        return format!("{quoted}: is not a field here; known are {}", known.join(", "));
    }
    let field = path.split(['.', '[']).find(|part| !part.is_empty() && *part != "?").unwrap_or_default();
    if field.is_empty() {
        return format!("this does not read: {problem}; see docs/admin-api.md");
    }
    format!("{path}: {}; write {}", plain(problem), wanted(field))
}

/// The sentence for a body that is no JSON.
pub(crate) fn syntax(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "body: the JSON ends too early, or there is none; send one JSON object".to_owned();
    }
    format!(
        "body: this is not JSON, at line {} column {}; send one JSON object",
        error.line(),
        error.column()
    )
}

/// The sentence for a query that does not read, from the words of the library.
pub(crate) fn query(problem: &str) -> String {
    let problem = problem.strip_prefix("Failed to deserialize query string: ").unwrap_or(problem);
    let known = |name: &str| FIELDS.iter().any(|(field, _)| *field == name);
    match problem.split_once(": ") {
        Some((path, inner)) if known(path) || inner.starts_with("unknown field") => value(path, inner),
        _ => value("", problem),
    }
}

fn wanted(field: &str) -> &'static str {
    let found = FIELDS.iter().find(|(name, _)| *name == field);
    found.map_or("it as docs/admin-api.md shows", |(_, wanted)| wanted)
}

/// The reader's words without those about its own types.
fn plain(problem: &str) -> String {
    let problem = problem.split(" at line ").next().unwrap_or(problem);
    match problem.strip_prefix("invalid type: ") {
        Some(rest) => format!("{} does not fit", rest.split(", expected").next().unwrap_or(rest)),
        None => match problem.strip_prefix("unknown variant ") {
            Some(rest) => {
                format!("{} is not known", rest.split(',').next().unwrap_or(rest).replace('`', "\""))
            }
            None => problem.replace('`', "\""),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::view::service_from_json;

    #[test]
    fn a_mistake_names_its_field_and_what_to_write() {
        let service = |extra: &str| {
            let text = format!(r#"{{"id":"VN/GOV/G01/a/b","url":"http://x"{extra}}}"#);
            service_from_json(serde_json::from_str(&text).unwrap()).unwrap_err()
        };
        assert_eq!(service(""), "kind: is missing; write \"rest\" or \"openapi\"");
        assert_eq!(
            service(r#","kind":"soap""#),
            "kind: \"soap\" is not known; write \"rest\" or \"openapi\""
        );
        let told = service(r#","kind":"rest","timeoutMs":"5s""#);
        assert_eq!(
            told,
            "timeoutMs: string \"5s\" does not fit; write a number of milliseconds from 1 to 270000"
        );
        let told = service(r#","kind":"rest","stray":1"#);
        assert!(
            told.starts_with("stray: is not a field here; known are v, id, kind, url, descriptionUrl"),
            "{told}"
        );
        let told = service(r#","kind":"rest","endpoints":[{"method":"G T","path":"/"}]"#);
        assert!(told.starts_with("endpoints[0].method: ") && told.contains("; write a list like"), "{told}");
    }

    #[test]
    fn a_query_says_which_parameter() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only read")]
        struct Wanted {
            limit: Option<usize>,
            subject: String,
        }
        let told = |text: &str| {
            let uri = format!("/x?{text}").parse().unwrap();
            query(&axum::extract::Query::<Wanted>::try_from_uri(&uri).unwrap_err().body_text())
        };
        assert_eq!(
            told("limit=x&subject=y"),
            "limit: invalid digit found in string; write a whole number from 1 to 1000"
        );
        assert!(
            told("limit=1").starts_with("subject: is missing; write \"SUBSYSTEM:"),
            "{}",
            told("limit=1")
        );
        assert_eq!(told("stray=1"), "stray: is not a field here; known are limit, subject");
    }
}
