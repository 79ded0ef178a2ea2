//! A message as frames, and the words for changing it. The only file here that knows how messages lie in frames.

use bytes::Bytes;
use serde_json::Value;
use truc_message::{Kind as Message, Parts, manifest};
use truc_model::{Digest, FaultCode, MessageId, Timestamp};
use truc_testkit::TestNode;
use truc_wire::peer::frame::Kind;
use truc_wire::peer::{BodyChunk, Data, Frame, Open, Recorded, Secret, Signature, Ticket, signature};

use crate::forge::{Cms, Pen};

/// What one side sends in one exchange: its frames, and the chunks of a body that goes beside the stream.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tape {
    pub(crate) frames: Vec<Frame>,
    pub(crate) chunks: Vec<BodyChunk>,
    /// The connection ends after the frames.
    pub(crate) cut: bool,
}

/// The kinds of frames by name, as tables speak of them.
pub(crate) fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Open(_) => "open",
        Kind::Data(_) => "data",
        Kind::Signature(_) => "signature",
        Kind::Recorded(_) => "recorded",
        Kind::Refusal(_) => "refusal",
        Kind::Fault(_) => "fault",
        Kind::Cancel(_) => "cancel",
        Kind::Ticket(_) => "ticket",
    }
}

/// What a side said in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// An unsigned fault.
    Fault(FaultCode),
    /// A signed refusal.
    Refusal(FaultCode),
    /// A signed response.
    Response,
    /// Nothing.
    Nothing,
}

impl Tape {
    /// A message of a test's own making, as the peer crate would write it.
    pub(crate) fn of(parts: &Parts) -> Self {
        let body = parts.body.bytes().cloned().unwrap_or_default();
        let open = Open {
            header: parts.header.clone(),
            secrets: parts
                .secrets
                .iter()
                .map(|s| Secret { salt: s.salt.to_vec().into(), value: s.value.clone().into() })
                .collect(),
            status_digests: parts.statuses.iter().map(|s| digest_bytes(s)).collect(),
            statuses: parts.statuses.clone(),
            body_length: body.len() as u64,
            ..Open::default()
        };
        let mut kinds = vec![Kind::Open(open)];
        if !body.is_empty() {
            kinds.push(Kind::Data(Data { bytes: body }));
        }
        let single = signature::Kind::Single(parts.signature.cms().clone());
        kinds.push(Kind::Signature(Signature { kind: Some(single) }));
        kinds.push(Kind::Recorded(Recorded { leaf_index: 0, leaf_hash: vec![0; 32].into() }));
        let frames = kinds.into_iter().map(|kind| Frame { exchange: 0, kind: Some(kind) }).collect();
        Self { frames, ..Self::default() }
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.frames.iter().filter_map(|f| f.kind.as_ref()).map(name).collect()
    }

    /// Where the first frame of this name lies.
    pub(crate) fn at(&self, wanted: &str) -> usize {
        let found = self.names().iter().position(|name| *name == wanted);
        found.unwrap_or_else(|| panic!("no {wanted} frame in {:?}", self.names()))
    }

    pub(crate) fn kind(&mut self, wanted: &str) -> &mut Kind {
        let at = self.at(wanted);
        self.frames[at].kind.as_mut().unwrap()
    }

    pub(crate) fn drop_frame(&mut self, wanted: &str) {
        let at = self.at(wanted);
        self.frames.remove(at);
    }

    pub(crate) fn insert(&mut self, at: usize, kind: Kind) {
        let exchange = self.frames[0].exchange;
        self.frames.insert(at, Frame { exchange, kind: Some(kind) });
    }

    /// The same frames under another exchange number.
    pub(crate) fn numbered(&self, exchange: u64) -> Self {
        let mut copy = self.clone();
        copy.frames.iter_mut().for_each(|frame| frame.exchange = exchange);
        copy
    }

    pub(crate) fn open(&mut self) -> &mut Open {
        let found = self.frames.iter_mut().find_map(|frame| match frame.kind.as_mut() {
            Some(Kind::Open(open)) => Some(open),
            Some(Kind::Refusal(refusal)) => refusal.open.as_mut(),
            _ => None,
        });
        found.unwrap()
    }

    /// The CMS, wherever it lies.
    pub(crate) fn cms(&mut self) -> &mut Bytes {
        let found = self.frames.iter_mut().find_map(|frame| match frame.kind.as_mut() {
            Some(Kind::Signature(signature)) => signature.kind.as_mut(),
            Some(Kind::Refusal(refusal)) => refusal.signature.as_mut()?.kind.as_mut(),
            _ => None,
        });
        match found.unwrap() {
            signature::Kind::Single(cms) => cms,
            signature::Kind::Batch(batch) => &mut batch.cms,
        }
    }

    /// The body, wherever it lies.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for frame in &self.frames {
            match frame.kind.as_ref() {
                Some(Kind::Data(data)) => body.extend_from_slice(&data.bytes),
                Some(Kind::Refusal(refusal)) => body.extend_from_slice(&refusal.body),
                _ => {}
            }
        }
        self.chunks.iter().for_each(|chunk| body.extend_from_slice(&chunk.bytes));
        body
    }

    /// Puts another small body in; the announced length follows.
    pub(crate) fn set_body(&mut self, body: &[u8]) {
        self.open().body_length = body.len() as u64;
        for frame in &mut self.frames {
            match frame.kind.as_mut() {
                Some(Kind::Data(data)) => data.bytes = Bytes::copy_from_slice(body),
                Some(Kind::Refusal(refusal)) => refusal.body = Bytes::copy_from_slice(body),
                _ => {}
            }
        }
    }

    pub(crate) fn ticket(&self) -> Option<Bytes> {
        self.frames.iter().find_map(|frame| match frame.kind.as_ref() {
            Some(Kind::Ticket(Ticket { ticket })) => Some(ticket.clone()),
            _ => None,
        })
    }

    pub(crate) fn header(&mut self) -> Object {
        Object::read(&self.open().header)
    }

    /// Changes the header's keys; the signature stays what it was.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Object)) {
        let mut header = self.header();
        change(&mut header);
        self.open().header = header.write();
    }

    pub(crate) fn field(&mut self, key: &str) -> Value {
        serde_json::from_slice::<Value>(&self.open().header).unwrap()[key].clone()
    }

    pub(crate) fn id(&mut self) -> MessageId {
        self.field("id").as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn sent(&mut self) -> Timestamp {
        self.field("sent").as_str().unwrap().parse().unwrap()
    }

    /// The manifest of what lies here now.
    pub(crate) fn manifest(&mut self) -> Vec<u8> {
        let kind = match self.field("kind").as_str().unwrap() {
            "response" => Message::Response,
            "refusal" => Message::Refusal,
            "document" => Message::Document,
            "event" => Message::Event,
            _ => Message::Request,
        };
        let (id, body) = (self.id(), Digest::of(&self.body()));
        manifest::write(kind, id, Digest::of(&self.open().header), body)
    }

    pub(crate) fn digest(&mut self) -> Digest {
        Digest::of(&self.manifest())
    }

    /// Signs what lies here now, as honest code would.
    pub(crate) fn sign(&mut self, pen: &Pen) {
        let (manifest, sent) = (self.manifest(), self.sent());
        *self.cms() = pen.cms(&manifest, sent);
    }

    /// Signs what lies here now, though it may be no header that honest code would write.
    pub(crate) fn sign_raw(&mut self, pen: &Pen) {
        let readable = serde_json::from_slice::<Value>(&self.open().header);
        let of_text = |key: &str| readable.as_ref().ok().and_then(|v| v[key].as_str()?.parse().ok());
        let sent = of_text("sent").unwrap_or(Timestamp::from_millis(1_795_230_245_000));
        let manifest = if readable.is_ok() { self.manifest() } else { self.open().header.to_vec() };
        *self.cms() = pen.cms(&manifest, sent);
    }

    /// Signs what lies here now in a form of one's own.
    pub(crate) fn forge(&mut self, pen: &Pen, change: impl FnOnce(&mut Cms)) {
        let (manifest, sent) = (self.manifest(), self.sent());
        let mut cms = Cms::honest(pen, &manifest, sent);
        change(&mut cms);
        *self.cms() = cms.write(pen);
    }

    /// What this tape says, taken as an answer.
    pub(crate) fn said(&self) -> Said {
        let Some(kind) = self.frames.first().and_then(|frame| frame.kind.as_ref()) else {
            return Said::Nothing;
        };
        let mut copy = self.clone();
        match kind {
            Kind::Fault(fault) => Said::Fault(FaultCode::from_name(&fault.code).unwrap()),
            Kind::Open(_) | Kind::Refusal(_) if copy.field("kind") == "refusal" => {
                let body: Value = serde_json::from_slice(&self.body()).unwrap();
                Said::Refusal(FaultCode::from_name(body["code"].as_str().unwrap()).unwrap())
            }
            Kind::Open(_) => Said::Response,
            other => panic!("an answer does not begin with {}", name(other)),
        }
    }
}

pub(crate) fn digest_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(Digest::of(bytes).as_bytes())
}

/// One bit of one octet.
pub(crate) fn flip(bytes: &mut Bytes, at: usize) {
    let mut out = bytes.to_vec();
    out[at] ^= 1;
    *bytes = out.into();
}

/// The top level of a JSON object as text: keys and raw values in their order.
#[derive(Clone, Debug)]
pub(crate) struct Object(pub(crate) Vec<(String, String)>);

impl Object {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let inside = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        let (mut depth, mut quoted, mut escaped) = (0, false, false);
        let mut members = vec![String::new()];
        for c in inside.chars() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                '{' | '[' if !quoted => depth += 1,
                '}' | ']' if !quoted => depth -= 1,
                ',' if !quoted && depth == 0 => {
                    members.push(String::new());
                    continue;
                }
                _ => {}
            }
            members.last_mut().unwrap().push(c);
        }
        let split = |member: String| {
            let (key, value) = member.split_once(':').unwrap();
            (key.trim().trim_matches('"').to_owned(), value.to_owned())
        };
        Self(members.into_iter().map(split).collect())
    }

    pub(crate) fn write(&self) -> Bytes {
        let members: Vec<String> = self.0.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        format!("{{{}}}", members.join(",")).into()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Puts another raw value in, or adds the key at the end.
    pub(crate) fn set(&mut self, key: &str, raw: &str) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, value)) => *value = raw.to_owned(),
            None => self.0.push((key.to_owned(), raw.to_owned())),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    pub(crate) fn add(&mut self, key: &str, raw: &str) {
        self.0.push((key.to_owned(), raw.to_owned()));
    }

    pub(crate) fn replace(&mut self, key: &str, from: &str, to: &str) {
        let value = self.get(key).unwrap().to_owned();
        assert!(value.contains(from), "{key}: {value}");
        self.set(key, &value.replacen(from, to, 1));
    }
}

/// A request that `from` seals for `to`, as frames; for exchanges that no honest consumer begins.
pub(crate) async fn request_of(from: &TestNode, to: &TestNode, client: &str, service: &str) -> Tape {
    let draft = truc_testkit::draft(client, service);
    let member = draft.client.member();
    let header = from.header(&draft, &to.id);
    let signed = from.sign(&member, header, truc_message::Body::empty(), vec![]).await;
    Tape::of(&from.parts(&member, &signed))
}
