//! An ordered map over indices on a bounded number of threads.

/// `[f(0), f(1), .., f(count - 1)]`, computed by at most `threads` threads.
///
/// Each thread takes one contiguous range of the indices and a state of its own from `state`, so
/// that scratch memory is allocated once a thread. The order of the results is that of the indices.
pub fn ordered_map<S, T: Send>(
    count: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let threads = threads.clamp(1, count.max(1));
    let range = |thread: usize| count * thread / threads..count * (thread + 1) / threads;
    let run = |thread: usize| -> Vec<T> {
        let mut state = state();
        range(thread).map(|i| f(&mut state, i)).collect()
    };
    std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> = (1..threads)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        let mut results = run(0);
        for other in others {
            match other.join() {
                Ok(part) => results.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_for_any_number_of_threads() {
        for count in [0, 1, 2, 7, 100] {
            let expected: Vec<usize> = (0..count).map(|i| i * i).collect();
            for threads in [0, 1, 2, 3, 200] {
                assert_eq!(
                    ordered_map(count, threads, || (), |(), i| i * i),
                    expected,
                    "{count} on {threads}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "index 3")]
    fn a_panic_reaches_the_caller() {
        ordered_map(4, 2, || (), |(), i| assert!(i < 3, "index {i}"));
    }
}
