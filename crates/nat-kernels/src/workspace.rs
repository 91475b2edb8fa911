//! Threads and memory that kernels work with.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::team::{Grain, Team};

/// How many threads the kernels may use, and the buffers that they give back after use.
///
/// A clone shares both. Large feature maps come and go with every training step; taking them from here instead
/// of the system spares the page faults, which cost as much as a pass over the memory.
#[derive(Clone, Debug)]
pub struct Workspace {
    threads: usize,
    common: Arc<Common>,
}

#[derive(Debug, Default)]
struct Common {
    free: Mutex<Vec<Vec<f32>>>,
    /// Those who work with a clone at the same time.
    parties: AtomicUsize,
}

/// One of several that work with clones of a [`Workspace`] at the same time: see [`Workspace::party`].
#[derive(Debug)]
pub struct Party(Arc<Common>);

impl Drop for Party {
    fn drop(&mut self) {
        self.0.parties.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workspace {
    /// A workspace without buffers for up to `threads` threads; 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            common: Arc::default(),
        }
    }

    /// The same buffers for another number of threads.
    pub fn with_threads(&self, threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            common: Arc::clone(&self.common),
        }
    }

    /// Does `work` for every item in `0..items` as [`Workspace::for_each`] does, each item a [`Workspace::party`], which may
    /// itself run kernels.
    pub fn side_by_side(&self, items: usize, work: impl Fn(usize) + Sync) {
        self.spread(Grain::Coarse, items, 0, |item, _| {
            let _party = self.party();
            work(item);
        });
    }

    /// Announces a party to the threads, which are divided among all that live: a thread that runs a network of its own
    /// beside others then does not wait for help that has work already. No result depends on it.
    pub fn party(&self) -> Party {
        self.common.parties.fetch_add(1, Ordering::Relaxed);
        Party(Arc::clone(&self.common))
    }

    /// Threads that a kernel may use now.
    pub fn threads(&self) -> usize {
        let parties = self.common.parties.load(Ordering::Relaxed).max(1);
        (self.threads / parties).max(1)
    }

    /// A buffer of `length` values, whatever they are.
    pub fn take(&self, length: usize) -> Buffer {
        let mut free = self.lock();
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
            home: Arc::clone(&self.common),
        }
    }

    /// Takes memory that a [`Buffer`] was, or that comes from elsewhere, for later buffers.
    pub fn give(&self, values: Vec<f32>) {
        if values.capacity() > 0 {
            self.lock().push(values);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        self.common
            .free
            .lock()
            .expect("no holder of the lock panics")
    }

    /// A buffer of `length` zeros.
    pub fn zeros(&self, length: usize) -> Buffer {
        let mut buffer = self.take(length);
        buffer.fill(0.0);
        buffer
    }

    /// Does `work` for every item in `0..items`, each once, on any of the threads. An item must not wait for locks or call
    /// loops of its own with more than one thread: see [`Workspace::side_by_side`].
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
        self.spread(Grain::Fine, items, scratch, work);
    }

    fn spread(
        &self,
        grain: Grain,
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
        match self.threads().min(items) {
            0 | 1 => worker(),
            threads => Team::global().run(threads - 1, grain, &worker),
        }
    }
}

/// Memory of a [`Workspace`], which gets it back when this is dropped.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    home: Arc<Common>,
}

impl Buffer {
    /// The values as a vector of their own, which comes back only by [`Workspace::give`].
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
            && let Ok(mut free) = self.home.free.lock()
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
        let end = offset.checked_add(length);
        assert!(
            end.is_some_and(|end| end <= self.length),
            "outside of a shared slice"
        );
        // SAFETY: inside the slice, and not aliased by the promise of the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), length) }
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
    fn parties_share_the_threads() {
        let workspace = Workspace::new(5);
        assert_eq!(workspace.threads(), 5);
        let first = workspace.party();
        assert_eq!(workspace.clone().threads(), 5);
        let second = workspace.clone().party();
        assert_eq!(workspace.threads(), 2);
        assert_eq!(workspace.with_threads(1).threads(), 1);
        drop((first, second));
        assert_eq!(workspace.threads(), 5);
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
        // What left as a vector comes back if it is given.
        let vector = workspace.take(1000).into_vec();
        let place = vector.as_ptr();
        workspace.give(vector);
        assert_eq!(workspace.take(1000).as_ptr(), place);
    }
}
