//! OpenAPI documents of services (OpenAPI Specification 3.0 and 3.1): the endpoints they describe, and the document
//! without the addresses behind the node (X-Road pr-mrest 5). Whoever fetches them hands in bytes; bytes of any kind are
//! read within bounds.

mod template;
mod tree;

use serde::de::DeserializeSeed as _;

use crate::right::MethodPattern;
use crate::service::{ENDPOINT_LIMIT, Endpoint};
use tree::{Node, Reader, Room};

/// Largest document, in bytes.
pub const DESCRIPTION_LIMIT: usize = 4 * 1024 * 1024;
/// Most notes about one document.
const NOTE_LIMIT: usize = 50;

/// The members of a path item that are operations (OpenAPI 3.1, Path Item Object).
const OPERATIONS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Why a text is not a description that this version reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// More than [`DESCRIPTION_LIMIT`] bytes.
    #[error("the OpenAPI document is larger than {DESCRIPTION_LIMIT} bytes: split it into several services")]
    TooLarge,
    /// Neither JSON nor YAML, or beyond the bounds for what it holds.
    #[error("the OpenAPI document is not {format} that can be read here: {problem}")]
    Unreadable {
        /// "JSON" or "YAML", by its first character.
        format: &'static str,
        /// What the reader said.
        problem: String,
    },
    /// JSON or YAML of something else.
    #[error("this is not an OpenAPI document: it has no field \"openapi\" with a text like 3.0.3 or 3.1.0")]
    NotOpenApi,
    /// Swagger 2.
    #[error(
        "this is a Swagger {0} document; OpenAPI 3.0 and 3.1 are read here: convert it (most editors and generators can), then try again"
    )]
    Swagger(String),
    /// Another version of OpenAPI.
    #[error("this document is of OpenAPI {0}; 3.0.x and 3.1.x are read here: publish it in one of these")]
    Version(String),
    /// More operations than a service can list.
    #[error("the document describes {0} operations, at most {ENDPOINT_LIMIT} can be listed: split it")]
    TooMany(usize),
}

/// How the document was written; it is given back in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Yaml,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenApi {
    format: Format,
    tree: Node,
}

/// What a document describes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operations {
    /// The operations, marked as generated, in the document's order.
    pub endpoints: Vec<Endpoint>,
    /// What of it could not be listed, for the operator.
    pub notes: Vec<String>,
}

impl OpenApi {
    /// Reads a document, JSON when it begins with `{`, else YAML.
    ///
    /// # Errors
    /// [`DescriptionError`] says what it is instead.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptionError> {
        if bytes.len() > DESCRIPTION_LIMIT {
            return Err(DescriptionError::TooLarge);
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let json = bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
        let (format, tree) =
            if json { (Format::Json, read_json(bytes)?) } else { (Format::Yaml, read_yaml(bytes)?) };
        check_version(&tree)?;
        Ok(Self { format, tree })
    }

    /// The media type that fits how it was written (RFC 8259, RFC 9512).
    pub const fn media_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Yaml => "application/yaml",
        }
    }

    /// The endpoints: method and path of every operation, a parameter being `*`. The base path of `servers` is not part of
    /// them, as with X-Road: paths are relative to the service's own address.
    ///
    /// # Errors
    /// [`DescriptionError::TooMany`].
    pub fn operations(&self) -> Result<Operations, DescriptionError> {
        let mut found = Operations::default();
        let mut count = 0;
        match self.tree.get("paths") {
            Some(Node::Map(paths)) => {
                for (template, item) in paths.iter().filter(|(name, _)| !name.starts_with("x-")) {
                    count += found.take(template, item);
                }
            }
            _ => found.note("the document has no \"paths\": no endpoint is listed".to_owned()),
        }
        if count > ENDPOINT_LIMIT { Err(DescriptionError::TooMany(count)) } else { Ok(found) }
    }

    /// The document as it was written (JSON or YAML), every server address without variables reduced to its path.
    ///
    /// # Errors
    /// [`DescriptionError::Unreadable`] when it cannot be written again, [`DescriptionError::TooLarge`] when that is larger
    /// than a document may be.
    pub fn without_addresses(mut self) -> Result<String, DescriptionError> {
        reduce(self.tree.get_mut("servers"));
        for group in ["paths", "webhooks"] {
            self.tree.get_mut(group).into_iter().flat_map(Node::values_mut).for_each(reduce_item);
        }
        let shared = self.tree.get_mut("components").and_then(|c| c.get_mut("pathItems"));
        shared.into_iter().flat_map(Node::values_mut).for_each(reduce_item);
        let text = match self.format {
            Format::Json => serde_json::to_string(&self.tree).map_err(|e| unreadable("JSON", &e)),
            Format::Yaml => serde_saphyr::to_string(&self.tree).map_err(|e| unreadable("YAML", &e)),
        }?;
        // YAML may grow, by aliases written out and by indentation.
        if text.len() > DESCRIPTION_LIMIT { Err(DescriptionError::TooLarge) } else { Ok(text) }
    }
}

impl Operations {
    /// Lists the operations of one path; returns how many there are.
    fn take(&mut self, template: &str, item: &Node) -> usize {
        let Node::Map(members) = item else {
            self.note(format!("path {}: is not an object, it is left out", shown(template)));
            return 0;
        };
        if let Some(target) = item.get("$ref").and_then(Node::text) {
            self.note(format!(
                "path {}: refers to {}; what stands there is not listed: write the operations in place, or add the endpoints by hand",
                shown(template),
                shown(target)
            ));
        }
        let path = match template::pattern(template) {
            Ok(path) => path,
            Err(problem) => {
                self.note(format!("path {}: {problem}; it is left out", shown(template)));
                return 0;
            }
        };
        let names = members.iter().map(|(name, _)| name.as_str()).filter(|name| OPERATIONS.contains(name));
        let methods: Vec<MethodPattern> =
            names.filter_map(|name| name.to_ascii_uppercase().parse().ok()).collect();
        let count = methods.len();
        for method in methods {
            let endpoint = Endpoint { method, path: path.clone(), generated: true };
            if self.endpoints.len() <= ENDPOINT_LIMIT && !self.endpoints.contains(&endpoint) {
                self.endpoints.push(endpoint);
            }
        }
        count
    }

    fn note(&mut self, note: String) {
        match self.notes.len() {
            NOTE_LIMIT => self.notes.push("there is more of this kind".to_owned()),
            n if n < NOTE_LIMIT => self.notes.push(note),
            _ => {}
        }
    }
}

/// A text of the document in a note: short and without control characters.
fn shown(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn unreadable(format: &'static str, error: &dyn std::fmt::Display) -> DescriptionError {
    let problem = error.to_string();
    DescriptionError::Unreadable { format, problem: shown(problem.lines().next().unwrap_or_default()) }
}

fn read_json(bytes: &[u8]) -> Result<Node, DescriptionError> {
    let room = Room::whole();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tree = Reader { room: &room, depth: 0 }.deserialize(&mut reader);
    tree.and_then(|tree| reader.end().map(|()| tree)).map_err(|e| unreadable("JSON", &e))
}

fn read_yaml(bytes: &[u8]) -> Result<Node, DescriptionError> {
    let text = std::str::from_utf8(bytes).map_err(|e| unreadable("YAML", &e))?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: tree::DEPTH_LIMIT,
            flow_nesting_limit: tree::DEPTH_LIMIT,
            max_anchors: 1_000,
            max_aliases: 5_000,
            max_recorded_anchor_bytes: 16 * 1024 * 1024,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 200_000,
            max_replay_stack_depth: 16,
        },
        with_snippet: false,
    };
    let room = Room::whole();
    let read = |d: serde_saphyr::Deserializer<'_, '_>| Reader { room: &room, depth: 0 }.deserialize(d);
    serde_saphyr::with_deserializer_from_str_with_options(text, options, read)
        .map_err(|e| unreadable("YAML", &e))
}

fn check_version(tree: &Node) -> Result<(), DescriptionError> {
    if let Some(version) = tree.get("swagger") {
        return Err(DescriptionError::Swagger(shown(&spelled(version))));
    }
    let version = match tree.get("openapi") {
        Some(version @ (Node::Text(_) | Node::Number(_))) => spelled(version),
        _ => return Err(DescriptionError::NotOpenApi),
    };
    let known = version.strip_prefix("3.0").or_else(|| version.strip_prefix("3.1"));
    match known {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => Ok(()),
        _ => Err(DescriptionError::Version(shown(&version))),
    }
}

/// A version as written; `3.1` without quotes is a number in YAML.
fn spelled(version: &Node) -> String {
    match version {
        Node::Text(text) => text.clone(),
        Node::Number(number) => number.to_string(),
        _ => "?".to_owned(),
    }
}

fn reduce_item(item: &mut Node) {
    reduce(item.get_mut("servers"));
    for operation in OPERATIONS {
        reduce(item.get_mut(operation).and_then(|o| o.get_mut("servers")));
    }
}

fn reduce(servers: Option<&mut Node>) {
    for server in servers.into_iter().flat_map(Node::items_mut) {
        if let Some(Node::Text(url)) = server.get_mut("url")
            && !url.contains('{')
        {
            *url = path_of(url);
        }
    }
}

/// The path of an address; a relative one stays as it is.
fn path_of(url: &str) -> String {
    let Some((_, rest)) =
        url.split_once("//").filter(|(before, _)| before.is_empty() || before.ends_with(':'))
    else {
        return url.to_owned();
    };
    let end_of_host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let tail = rest.get(end_of_host..).unwrap_or_default();
    if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") }
}

#[cfg(test)]
mod tests;
