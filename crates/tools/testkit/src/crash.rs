//! A power cut between any two steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Counts the steps of everything that shares it; at one of them everything stops, until the restart. Each step counts twice: before
/// it is done, and after.
#[derive(Debug, Default)]
pub struct Crash {
    counted: AtomicUsize,
    at: AtomicUsize,
    down: AtomicBool,
}

impl Crash {
    /// Crashes at the count `at`, from 1; 0 never.
    pub fn at(at: usize) -> Arc<Self> {
        Arc::new(Self { at: AtomicUsize::new(at), ..Self::default() })
    }

    /// Crashes so many counts from now.
    pub fn crash_after(&self, counts: usize) {
        self.at.store(self.counted.load(Ordering::SeqCst) + counts, Ordering::SeqCst);
    }

    /// Whether it came to that.
    pub fn happened(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }

    /// From now on everything works.
    pub fn restart(&self) {
        self.at.store(0, Ordering::SeqCst);
        self.down.store(false, Ordering::SeqCst);
    }

    /// False when the power is off.
    pub fn tick(&self) -> bool {
        let count = self.counted.fetch_add(1, Ordering::SeqCst) + 1;
        if count == self.at.load(Ordering::SeqCst) {
            self.down.store(true, Ordering::SeqCst);
        }
        !self.happened()
    }

    /// Does `work` as one step.
    ///
    /// # Errors
    /// Those of `work`; `dead` when the power went off before it, or after it.
    pub fn step<T, E>(&self, dead: impl Fn() -> E, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if !self.tick() {
            return Err(dead());
        }
        let done = work();
        if self.tick() { done } else { Err(dead()) }
    }
}
