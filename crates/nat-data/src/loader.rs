//! Batches made ahead of their use.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::batch::{Batch, BatchRequest, Transform, batch};
use crate::error::DataError;
use crate::set::ImageSet;

/// Iterator over the batches of some requests, in their order, made by threads of its own.
///
/// The batches are those of [`batch()`], with any number of threads. After an error the iterator ends.
/// Dropping it stops the threads after the batch each is at.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    set: Arc<ImageSet>,
    transform: Transform,
    prefetch: usize,
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    /// Drawn from as workers take them: those of a long training together are larger than its images.
    requests: Box<dyn Iterator<Item = BatchRequest> + Send>,
    /// Requests handed to workers.
    taken: usize,
    /// Whether there are no more of them.
    ended: bool,
    /// Batches handed to the caller.
    delivered: usize,
    finished: BTreeMap<usize, Result<Batch, DataError>>,
    stopped: bool,
}

impl Loader {
    /// Starts `threads` workers (at least one) that stay at most `prefetch` batches (at least one) ahead of
    /// the caller. They draw the requests in order, each when it is its turn.
    pub fn new<R>(
        set: Arc<ImageSet>,
        transform: Transform,
        requests: R,
        threads: usize,
        prefetch: usize,
    ) -> Loader
    where
        R: IntoIterator<Item = BatchRequest>,
        R::IntoIter: Send + 'static,
    {
        let shared = Arc::new(Shared {
            set,
            transform,
            prefetch: prefetch.max(1),
            progress: Mutex::new(Progress {
                requests: Box::new(requests.into_iter()),
                taken: 0,
                ended: false,
                delivered: 0,
                finished: BTreeMap::new(),
                stopped: false,
            }),
            changed: Condvar::new(),
        });
        let workers = (0..threads.max(1))
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || shared.work())
            })
            .collect();
        Loader { shared, workers }
    }
}

impl Shared {
    /// No code panics while it holds the lock, so its data are sound even when poisoned.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        progress: MutexGuard<'a, Progress>,
        while_true: impl Fn(&mut Progress) -> bool,
    ) -> MutexGuard<'a, Progress> {
        self.changed
            .wait_while(progress, while_true)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut progress = self.wait(self.progress(), |p| {
                !p.stopped && !p.ended && p.taken >= p.delivered + self.prefetch
            });
            if progress.stopped || progress.ended {
                return;
            }
            // Caught, or whoever waits for a batch would wait for ever.
            let request = caught(|| Ok(progress.requests.next()));
            let request = match request {
                Ok(None) => {
                    progress.ended = true;
                    drop(progress);
                    self.changed.notify_all();
                    return;
                }
                Ok(Some(request)) => Ok(request),
                Err(panicked) => {
                    progress.ended = true;
                    Err(panicked)
                }
            };
            let at = progress.taken;
            progress.taken += 1;
            drop(progress);

            let result =
                request.and_then(|request| caught(|| batch(&self.set, &self.transform, &request)));
            self.progress().finished.insert(at, result);
            self.changed.notify_all();
        }
    }
}

/// What work gives, its panic as an error.
fn caught<T>(work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(DataError::Worker {
            message: message(&*panic),
        })
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panicked".to_owned())
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &self.shared;
        let mut progress = shared.progress();
        if progress.stopped {
            return None;
        }
        let next = progress.delivered;
        progress = shared.wait(progress, |p| {
            !(p.finished.contains_key(&next) || p.ended && p.taken == next)
        });
        let result = progress.finished.remove(&next)?;
        progress.delivered += 1;
        progress.stopped = result.is_err();
        shared.changed.notify_all();
        Some(result)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.progress().stopped = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Panics of the work itself were caught and delivered.
            let _ = worker.join();
        }
    }
}
