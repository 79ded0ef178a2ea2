//! Services.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use truc_model::ServiceId;
use truc_policy::{Endpoint, ServiceDefinition};

/// A service as the API writes it: its definition with the id in plain form.
pub fn service_to_json(service: &ServiceDefinition) -> Value {
    // Texts, numbers and lists only: writing them cannot fail.
    let mut json = serde_json::to_value(service).unwrap_or_default();
    json["id"] = Value::String(service.id.to_string());
    json
}

/// Reads a service as the API writes it.
///
/// # Errors
/// A sentence that names the key that is off.
pub fn service_from_json(mut json: Value) -> Result<ServiceDefinition, String> {
    let id = json
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| crate::explain::value("", "missing field `id`"))?;
    let id: ServiceId = id.parse().map_err(|e| format!("id: {e}"))?;
    json["id"] = Value::String(id.tagged());
    serde_path_to_error::deserialize(json)
        .map_err(|e| crate::explain::value(&e.path().to_string(), &e.inner().to_string()))
}

/// A service as it is in force after it was added or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its definition.
    pub service: ServiceDefinition,
    /// What of its OpenAPI document could not be listed, and what keeps calls from it; JSON key `notes`, absent when there is none.
    pub notes: Vec<String>,
}

impl Offered {
    /// As the API writes it: the service with its notes.
    pub fn to_json(&self) -> Value {
        let mut json = service_to_json(&self.service);
        if !self.notes.is_empty() {
            json["notes"] = Value::from(self.notes.clone());
        }
        json
    }

    /// Reads it as the API writes it.
    ///
    /// # Errors
    /// A sentence that names the key that is off.
    pub fn from_json(mut json: Value) -> Result<Self, String> {
        let notes = json.as_object_mut().and_then(|object| object.remove("notes"));
        let notes = notes.map_or_else(|| Ok(Vec::new()), serde_json::from_value);
        Ok(Self { notes: notes.map_err(|e| format!("notes: {e}"))?, service: service_from_json(json)? })
    }
}

/// What reading a service's OpenAPI document again has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refreshed {
    /// Endpoints that are new in the document.
    pub added: Vec<Endpoint>,
    /// Endpoints that are no longer in it. Rights that name them stay.
    pub deleted: Vec<Endpoint>,
    /// What of the document could not be listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The notice of a paused service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notice {
    /// What callers read.
    pub notice: String,
}
