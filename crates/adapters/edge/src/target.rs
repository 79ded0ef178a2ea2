//! What a request line asks for: a service, or the list of clients.

use http::{Method, Uri};
use truc_message::{CanonicalPath, CanonicalQuery};
use truc_model::{Fault, FaultCode, InvalidId, NodeId, ServiceId, SubsystemId};

/// What a request line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A call to a service.
    Call {
        /// Which service.
        service: ServiceId,
        /// The rest of the path.
        path: CanonicalPath,
        /// The query, when there was a `?`.
        query: Option<CanonicalQuery>,
    },
    /// The members and subsystems of an instance; of this node's own when none is named.
    ListClients {
        /// The `xRoadInstance` parameter.
        instance: Option<String>,
    },
    /// `/asic` or `/verificationconf`: judged further on, since their mistakes are told in plain text.
    SignedDocuments,
}

pub(crate) fn malformed(detail: impl Into<String>) -> Fault {
    Fault::client(FaultCode::Malformed, detail)
}

/// Reads a request line.
///
/// # Errors
/// MALFORMED; its detail says what is wrong with the caller's own address.
pub(crate) fn parse(method: &Method, uri: &Uri) -> Result<Target, Fault> {
    let fits = |b: u8| b.is_ascii_uppercase() || b == b'-';
    if *method == Method::CONNECT || method.as_str().len() > 32 || !method.as_str().bytes().all(fits) {
        return Err(malformed("the method must be 1 to 32 upper-case letters, and not CONNECT"));
    }
    if let Some(address) = uri.path().strip_prefix("/r1/") {
        return call(address, uri.query());
    }
    match uri.path() {
        "/asic" | "/verificationconf" => Ok(Target::SignedDocuments),
        "/listClients" if matches!(*method, Method::GET | Method::HEAD) => list_clients(uri.query()),
        "/listClients" => Err(malformed("listClients is asked with GET")),
        path => Err(malformed(version(path).map_or_else(
            || "this node answers /r1/{instance}/{class}/{member}/{subsystem}/{service}[/path][?query], /listClients, /asic and /verificationconf".into(),
            |other| format!("version r{other} of the REST protocol is not spoken here, only r1"),
        ))),
    }
}

/// The digits of `/r2/...`, when they are not those of the version spoken here.
fn version(path: &str) -> Option<&str> {
    let first = path.strip_prefix("/r")?.split('/').next()?;
    (!first.is_empty() && first.len() <= 4 && first != "1" && first.bytes().all(|b| b.is_ascii_digit()))
        .then_some(first)
}

fn call(address: &str, query: Option<&str>) -> Result<Target, Fault> {
    let pieces: Vec<&str> = address.splitn(6, '/').collect();
    let (id, rest) = pieces.split_at(pieces.len().min(5));
    let [instance, class, member, subsystem, service] = decode::<5>(id, "the path")?;
    let service = ServiceId::new(&instance, &class, &member, &subsystem, &service)
        .map_err(|e| malformed(e.to_string()))?;
    let raw = rest.first().map_or_else(String::new, |rest| format!("/{rest}"));
    let path =
        CanonicalPath::parse(&raw).map_err(|e| malformed(format!("the path after the service: {e}")))?;
    let query =
        query.map(CanonicalQuery::parse).transpose().map_err(|e| malformed(format!("the query: {e}")))?;
    Ok(Target::Call { service, path, query })
}

/// Each part is percent-encoded on its own (X-Road pr-rest 4.1); a `%2F` decodes to a character that no id may hold.
fn decode<const N: usize>(parts: &[&str], what: &str) -> Result<[String; N], Fault> {
    let parts: [&str; N] = parts.try_into().map_err(|_| {
        malformed(format!(
            "{what} names an identifier of {N} parts separated by '/', this has {}",
            parts.len()
        ))
    })?;
    let mut out = [const { String::new() }; N];
    for (place, part) in out.iter_mut().zip(parts) {
        let decoded = CanonicalPath::parse(&format!("/{part}"))
            .map_err(|e| malformed(format!("an identifier part of {what}: {e}")))?;
        *place = decoded.segments().pop().unwrap_or_default();
    }
    Ok(out)
}

fn four(text: &str, what: &str) -> Result<[String; 4], Fault> {
    decode::<4>(&text.split('/').collect::<Vec<_>>(), what)
}

fn named<T>(what: &str, id: Result<T, InvalidId>) -> Result<T, Fault> {
    id.map_err(|e| malformed(format!("{what}: {e}")))
}

/// The subsystem that a header value names: exactly four parts.
///
/// # Errors
/// MALFORMED.
pub(crate) fn subsystem(text: &str, what: &str) -> Result<SubsystemId, Fault> {
    let [instance, class, member, code] = four(text, what)?;
    named(what, SubsystemId::new(&instance, &class, &member, &code))
}

/// The node that a header value names: exactly four parts.
///
/// # Errors
/// MALFORMED.
pub(crate) fn node(text: &str, what: &str) -> Result<NodeId, Fault> {
    let [instance, class, member, code] = four(text, what)?;
    named(what, NodeId::new(&instance, &class, &member, &code))
}

/// The party that a call is made for: `[class/]code`, each part percent-encoded on its own (X-Road pr-3rd 3). The class may be
/// foreign to the bus, so only the form is looked at; the text travels as it was given.
///
/// # Errors
/// MALFORMED.
pub(crate) fn represented_party(text: &str) -> Result<(), Fault> {
    const WHAT: &str = "X-Road-Represented-Party";
    let parts: Vec<&str> = text.split('/').collect();
    let parts = match parts.as_slice() {
        [code] => decode::<1>(&[code], WHAT)?.to_vec(),
        [class, code] => decode::<2>(&[class, code], WHAT)?.to_vec(),
        _ => return Err(malformed(format!("{WHAT} is [class/]code, one or two parts"))),
    };
    if parts.iter().any(|part| part.trim().is_empty() || part.contains('/')) {
        return Err(malformed(format!(
            "{WHAT} is [class/]code, and no part of it may be empty or hold a '/'"
        )));
    }
    Ok(())
}

fn list_clients(query: Option<&str>) -> Result<Target, Fault> {
    let mut instance = None;
    for pair in query.unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "xRoadInstance" || instance.is_some() {
            return Err(malformed("listClients takes one parameter, xRoadInstance, at most once"));
        }
        let [value] = decode::<1>(&[value], "xRoadInstance")?;
        instance = Some(value);
    }
    Ok(Target::ListClients { instance })
}

/// An identifier as X-Road writes it in addresses: of the characters that an id may hold only `?` needs encoding.
pub(crate) fn encode(id: &str) -> String {
    id.replace('?', "%3F")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(uri: &str) -> Result<Target, Fault> {
        parse(&Method::GET, &uri.parse().unwrap())
    }

    #[test]
    fn id_parts_are_decoded_one_by_one_and_the_rest_is_canonical() {
        let base = "/r1/VN/GOV/G01/csdl-dancu/tra-cuu";
        for (uri, id, rest, query) in [
            (base.to_owned(), "VN/GOV/G01/csdl-dancu/tra-cuu", "", None),
            (format!("{base}/"), "VN/GOV/G01/csdl-dancu/tra-cuu", "/", None),
            (format!("{base}?"), "VN/GOV/G01/csdl-dancu/tra-cuu", "", Some("")),
            (
                format!("{base}/a%2fb/%63?x=1&x=%20"),
                "VN/GOV/G01/csdl-dancu/tra-cuu",
                "/a%2Fb/c",
                Some("x=1&x=%20"),
            ),
            ("/r1/VN/GOV/G01/%63sdl/a%3Fb//x".to_owned(), "VN/GOV/G01/csdl/a?b", "//x", None),
            (format!("http://node:8080{base}/v1"), "VN/GOV/G01/csdl-dancu/tra-cuu", "/v1", None),
        ] {
            let Target::Call { service, path, query: got } = read(&uri).unwrap() else { panic!("{uri}") };
            assert_eq!((service.as_str(), path.as_str()), (id, rest), "{uri}");
            assert_eq!(got.as_ref().map(CanonicalQuery::as_str), query, "{uri}");
        }
        assert_eq!(encode("VN/GOV/G01/csdl/a?b"), "VN/GOV/G01/csdl/a%3Fb");
    }

    #[test]
    fn everything_else_is_told_what_is_wrong() {
        for (uri, said) in [
            ("/r2/VN/GOV/G01/a/b", "r2"),
            ("/r1/VN/GOV/G01/a", "5 parts"),
            ("/r1/", "5 parts"),
            ("/r1/VN/GOV/G01/a%2Fb/c", "a/b"),
            ("/r1/VN/GOV/G01//c", "identifier part"),
            ("/r1/VN/GOV/G01/%2e%2e/c", "'.' and '..'"),
            ("/r1/VN/GOV/G01/a/b/../c", "'.' and '..'"),
            ("/r1/VN/GOV/G01/a/b/%zz", "percent"),
            ("/r1/VN/GOV/G01/a/b?x=%z", "percent"),
            ("/r1/VN/GOV/G01/%C4%91/b", "allowed"),
            ("/r1", "/listClients"),
            ("/", "/listClients"),
            ("/listClients?x=1", "xRoadInstance"),
            ("/listClients?xRoadInstance=a&xRoadInstance=b", "at most once"),
        ] {
            let fault = read(uri).unwrap_err();
            assert_eq!(fault.code, FaultCode::Malformed);
            assert!(fault.detail.contains(said), "{uri}: {}", fault.detail);
        }
        let uri = "/r1/VN/GOV/G01/a/b".parse().unwrap();
        for method in
            [Method::CONNECT, Method::from_bytes(b"get").unwrap(), Method::from_bytes(&[b'A'; 33]).unwrap()]
        {
            assert!(parse(&method, &uri).is_err(), "{method}");
        }
        assert!(parse(&Method::from_bytes(b"M-SEARCH").unwrap(), &uri).is_ok());
        assert!(parse(&Method::POST, &"/listClients".parse().unwrap()).is_err());
    }

    #[test]
    fn nodes_and_subsystems_have_four_parts() {
        assert_eq!(
            subsystem("VN/GOV/H26/mot%2Dcua", "X-Road-Client").unwrap().as_str(),
            "VN/GOV/H26/mot-cua"
        );
        assert!(subsystem("VN/GOV/H26", "X-Road-Client").is_err());
        assert!(node("VN/GOV/H26/ss1/x", "X-Road-Security-Server").is_err());
    }

    #[test]
    fn a_represented_party_is_a_code_with_or_without_a_class() {
        for fine in ["0123456789", "COM/0123456789", "KHAC/Công%20ty".replace('ô', "%C3%B4").as_str()] {
            represented_party(fine).unwrap();
        }
        for wrong in ["", "/", "COM/", "/0123", "a/b/c", "COM/a b", "COM/%zz", "COM/a%2Fb", "COM/.."] {
            assert!(represented_party(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_are_decoded_once_and_never_twice() {
        // %252e is the text "%2e" and not a dot: nothing behind this may decode it again, so it stays as it was written.
        let Target::Call { path, .. } = read("/r1/VN/GOV/G01/a/b/%252e%252e/c").unwrap() else { panic!() };
        assert_eq!(path.as_str(), "/%252e%252e/c");
        assert_eq!(path.segments(), ["%2e%2e", "c"]);
        for id in ["/r1/VN/GOV/G01/a/b%252Fc", "/r1/VN/GOV/G01/a%2Fb/c", "/r1/VN/GOV/G01/a/b%25"] {
            assert!(read(id).is_err(), "{id}: '%' and '/' are in no identifier");
        }
        let cap = format!("/r1/VN/GOV/G01/a/b/{}", "x".repeat(7999));
        assert!(read(&cap).is_ok() && read(&format!("{cap}x")).is_err());
    }
}
