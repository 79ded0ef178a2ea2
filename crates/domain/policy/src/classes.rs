//! Retention classes that services name, against those that a node declares (evidence.md §6.2).

use std::collections::{BTreeMap, BTreeSet};

use truc_model::ServiceId;

use crate::error::PolicyError;
use crate::evidence_settings::BodyClass;
use crate::policy::Policy;

impl Policy {
    /// The classes that services of hosted subsystems name and that are not in `declared`, with those services. Their bodies are kept
    /// for ever, so somebody should be told. What names no class is of the class `default`, which may well be kept for ever.
    pub fn undeclared_classes(&self, declared: &BTreeSet<BodyClass>) -> BTreeMap<BodyClass, Vec<ServiceId>> {
        let mut found: BTreeMap<BodyClass, Vec<ServiceId>> = BTreeMap::new();
        for service in self.services() {
            let class = &service.evidence.retention;
            if *class != BodyClass::default() && !declared.contains(class) {
                found.entry(class.clone()).or_default().push(service.id.clone());
            }
        }
        found
    }

    /// Refuses this policy when a service names an undeclared class that it did not name in the policy `before`: what is on the
    /// journal already stays in force.
    ///
    /// # Errors
    /// [`PolicyError::UndeclaredClass`].
    pub fn check_classes(&self, before: &Self, declared: &BTreeSet<BodyClass>) -> Result<(), PolicyError> {
        for (class, services) in self.undeclared_classes(declared) {
            let named = |id: &ServiceId| before.service(id).is_some_and(|s| s.evidence.retention == class);
            if let Some(service) = services.into_iter().find(|id| !named(id)) {
                let declared = declared.iter().cloned().collect();
                return Err(PolicyError::UndeclaredClass { service, class, declared });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PolicyEvent;
    use crate::service::ServiceDefinition;

    fn service(code: &str, class: &str) -> ServiceDefinition {
        let id = format!("VN/GOV/G01/csdl/{code}").parse().unwrap();
        let mut service = ServiceDefinition::rest(id, "http://127.0.0.1:9000".parse().unwrap());
        service.evidence.retention = class.parse().unwrap();
        service
    }

    #[test]
    fn a_class_that_is_named_anew_must_be_declared() {
        let declared = BTreeSet::from(["ngan".parse().unwrap()]);
        let empty = Policy::empty(["VN/GOV/G01/csdl".parse().unwrap()]);
        let add = |policy: &Policy, service| policy.apply(&PolicyEvent::ServiceAdded(service)).unwrap();
        let good = add(&add(&empty, service("a", "default")), service("b", "ngan"));
        assert_eq!(good.check_classes(&empty, &declared), Ok(()));
        assert!(good.undeclared_classes(&declared).is_empty());

        let bad = add(&good, service("c", "ngam"));
        let refused = bad.check_classes(&good, &declared).unwrap_err().to_string();
        for told in [
            "VN/GOV/G01/csdl/c",
            "\"ngam\"",
            "declared are default, ngan",
            "[[evidence.retention]]",
            "node.toml",
        ] {
            assert!(refused.contains(told), "{told}: {refused}");
        }
        let told = bad.undeclared_classes(&declared);
        assert_eq!(told.get(&"ngam".parse().unwrap()).unwrap(), &["VN/GOV/G01/csdl/c".parse().unwrap()]);

        // It is on the journal: everything else about it can still be changed, not the class to another that nobody declared.
        let mut slower = service("c", "ngam");
        slower.timeout = std::time::Duration::from_secs(7);
        let changed = bad.apply(&PolicyEvent::ServiceChanged(slower)).unwrap();
        assert_eq!(changed.check_classes(&bad, &declared), Ok(()));
        let other = bad.apply(&PolicyEvent::ServiceChanged(service("c", "dai"))).unwrap();
        assert!(other.check_classes(&bad, &declared).is_err());
        let batch = PolicyEvent::Applied { changes: vec![PolicyEvent::ServiceAdded(service("d", "ngam"))] };
        assert!(bad.apply(&batch).unwrap().check_classes(&bad, &declared).is_err(), "within a batch too");
    }
}
