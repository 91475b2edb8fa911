//! Work shared among threads, results in the order of the items.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// `work` of every item, on up to `threads` threads (at least one); the result does not depend on
/// their number.
///
/// # Panics
/// Where `work` or the iterator does.
pub(crate) fn in_order<T: Send, R: Send>(
    items: impl Iterator<Item = T> + Send,
    threads: usize,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items = Mutex::new(items.enumerate());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let drain = || {
        let mut done = Vec::new();
        while let Some((at, item)) = next() {
            done.push((at, work(item)));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(drain)).collect();
        let mut results = drain();
        for worker in workers {
            let done = worker.join();
            results.extend(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|&(at, _)| at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_with_any_number_of_threads() {
        for threads in [0, 1, 2, 7, 20] {
            let squares = in_order(0..500, threads, |i| i * i);
            assert_eq!(squares, (0..500).map(|i| i * i).collect::<Vec<_>>());
        }
        assert!(in_order(0..0, 4, |i| i).is_empty());
    }
}
