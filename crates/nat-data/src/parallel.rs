//! Work shared among threads, results in the order of the items.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// `work` of every item, on up to `threads` threads (at least one); the result does not depend on
/// their number.
///
/// # Panics
/// Where `work` does.
pub(crate) fn in_order<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let drain = || {
        let mut done = Vec::new();
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            done.push((at, work(item)));
        }
        done
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.min(items.len()))
            .map(|_| scope.spawn(drain))
            .collect();
        let mut results = drain();
        for worker in workers {
            results.extend(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
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
        let items: Vec<usize> = (0..500).collect();
        for threads in [0, 1, 2, 7, 1000] {
            assert_eq!(
                in_order(&items, threads, |i| i * i),
                items.iter().map(|i| i * i).collect::<Vec<_>>()
            );
        }
        assert!(in_order(&[0; 0], 4, |i| *i).is_empty());
    }
}
