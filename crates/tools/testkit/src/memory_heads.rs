//! Heads of other logs in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use truc_log::{HeadStore, HeadStoreError, LogView, NewHead, Noted, log_of, take_in};
use truc_model::NodeId;

/// The [`HeadStore`] of tests.
#[derive(Default)]
pub struct MemoryHeads(Mutex<BTreeMap<String, LogView>>);

impl MemoryHeads {
    fn views(&self) -> MutexGuard<'_, BTreeMap<String, LogView>> {
        self.0.lock().unwrap()
    }
}

fn of(views: &BTreeMap<String, LogView>, node: Option<&NodeId>) -> Vec<String> {
    let is_of = |log: &&String| node.is_none_or(|node| log_of(log).is_some_and(|(id, _)| id == *node));
    views.keys().filter(is_of).cloned().collect()
}

#[async_trait]
impl HeadStore for MemoryHeads {
    async fn note(&self, new: NewHead) -> Result<Noted, HeadStoreError> {
        let mut views = self.views();
        let held = views.get(&new.head.checkpoint().origin).cloned();
        let (noted, changed) = take_in(held, &new, |node| of(&views, Some(node)).len())?;
        changed.map(|view| views.insert(view.log.clone(), view));
        Ok(noted)
    }

    async fn view(&self, log: &str) -> Result<Option<LogView>, HeadStoreError> {
        Ok(self.views().get(log).cloned())
    }

    async fn logs(&self, node: Option<&NodeId>) -> Result<Vec<String>, HeadStoreError> {
        Ok(of(&self.views(), node))
    }
}

#[cfg(test)]
mod tests {
    use truc_keys::KeyKind;

    use super::*;
    use crate::memory_signer::{MemorySigner, TestKey};

    #[tokio::test]
    async fn keeps_the_contract() {
        let mut signer = MemorySigner::default();
        signer.add("log", &TestKey::generate(KeyKind::Ed25519));
        let heads = MemoryHeads::default();
        truc_log::contract::head_store(&heads, &signer).await.unwrap();
        truc_log::contract::head_store_reopened(&heads).await.unwrap();
        truc_log::contract::head_store_chains(&MemoryHeads::default(), &signer).await.unwrap();
    }
}
