//! Threads and memory that kernels work with.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// How many threads the kernels may use, and the buffers that they give back after use.
///
/// A clone shares the buffers. Large feature maps come and go with every training step; taking them from here instead
/// of the system spares the page faults, which cost as much as a pass over the memory.
#[derive(Clone, Debug)]
pub struct Workspace {
    threads: usize,
    free: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Workspace {
    /// A workspace without buffers for up to `threads` threads of the global rayon pool; 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            free: Arc::default(),
        }
    }

    /// The same buffers for another number of threads.
    pub fn with_threads(&self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            free: Arc::clone(&self.free),
        }
    }

    /// Threads that the kernels may use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// A buffer of `length` values, whatever they are.
    pub fn take(&self, length: usize) -> Buffer {
        let mut free = self.free.lock().expect("no holder of the lock panics");
        // The smallest that fits and does not waste more than it holds.
        let fitting = free
            .iter()
            .enumerate()
            .filter(|(_, vec)| (length..=2 * length).contains(&vec.capacity()))
            .min_by_key(|(_, vec)| vec.capacity())
            .map(|(index, _)| index);
        let recycled = fitting.map(|index| free.swap_remove(index));
        drop(free);
        let mut values = recycled.unwrap_or_default();
        if values.capacity() == 0 {
            values = vec![0.0; length];
        } else {
            values.resize(length, 0.0);
        }
        Buffer {
            values,
            home: Arc::clone(&self.free),
        }
    }

    /// A buffer of `length` zeros.
    pub fn zeros(&self, length: usize) -> Buffer {
        let mut buffer = self.take(length);
        buffer.fill(0.0);
        buffer
    }

    /// Does `work` for every item in `0..items`, each once, on any of the threads.
    pub fn for_each(&self, items: usize, work: impl Fn(usize) + Sync) {
        self.for_each_with(items, 0, |item, _| work(item));
    }

    /// [`Workspace::for_each`] with `scratch` values, whatever they are, for the use of one item at a time.
    pub fn for_each_with(
        &self,
        items: usize,
        scratch: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut buffer = self.take(scratch);
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    return;
                }
                work(item, &mut buffer);
            }
        };
        let threads = self.threads.min(items);
        if threads <= 1 {
            return worker();
        }
        rayon::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|_| worker());
            }
            worker();
        });
    }
}

/// Memory of a [`Workspace`], which gets it back when this is dropped.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    home: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Buffer {
    /// The values as a vector of their own, which does not come back.
    pub fn into_vec(mut self) -> Vec<f32> {
        std::mem::take(&mut self.values)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let values = std::mem::take(&mut self.values);
        if values.capacity() > 0
            && let Ok(mut free) = self.home.lock()
        {
            free.push(values);
        }
    }
}

/// A slice that several threads write to, each its own places.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    start: *mut f32,
    length: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: access goes through `unsafe` methods whose callers promise disjoint places.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            slice: PhantomData,
        }
    }

    /// `length` values from `offset` on.
    ///
    /// # Safety
    /// No other thread may use any of them while the result lives.
    ///
    /// # Panics
    /// If they do not lie inside the slice.
    pub(crate) unsafe fn slice(self, offset: usize, length: usize) -> &'a mut [f32] {
        self.check(offset + length);
        // SAFETY: inside the slice, and not aliased by the promise of the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), length) }
    }

    /// The address of the value at `offset`, which must lie inside the slice where it is used.
    pub(crate) fn pointer(&self, offset: usize) -> *mut f32 {
        self.start.wrapping_add(offset)
    }

    /// Panics unless the slice has at least `length` values.
    pub(crate) fn check(&self, length: usize) {
        assert!(length <= self.length, "outside of a shared slice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_with_any_number_of_threads() {
        for threads in 1..4 {
            let workspace = Workspace::new(threads);
            let mut done = vec![0.0; 100];
            let shared = Shared::new(&mut done);
            workspace.for_each_with(100, 3, |item, scratch| {
                scratch.fill(item as f32);
                // SAFETY: one place an item.
                unsafe { shared.slice(item, 1)[0] += scratch.iter().sum::<f32>() }
            });
            assert!((0..100).all(|item| done[item] == 3.0 * item as f32));
        }
    }

    #[test]
    fn a_buffer_comes_back_and_is_used_again() {
        let workspace = Workspace::new(1);
        let first = workspace.take(100).as_ptr();
        let again = workspace.take(60);
        assert_eq!(again.as_ptr(), first);
        assert_eq!(again.len(), 60);
        // Too large a buffer is not wasted on a small request.
        drop(again);
        assert_ne!(workspace.take(10).as_ptr(), first);
        assert!(workspace.zeros(100).iter().all(|&v| v == 0.0));
    }
}
