//! Decoded pictures in memory, within a budget.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::picture::RgbImage;

/// Keeps pictures until the budget is used up, and those for good.
///
/// Epochs visit every image once in random order. Replacing the least recently used would then throw out
/// each picture just before its turn; a fixed part of the set hits in proportion to the
/// budget, without bookkeeping.
#[derive(Debug)]
pub(crate) struct Cache {
    slots: Vec<OnceLock<Arc<RgbImage>>>,
    room: AtomicU64,
}

impl Cache {
    pub fn new(images: usize, bytes: u64) -> Cache {
        Cache {
            slots: (0..images).map(|_| OnceLock::new()).collect(),
            room: AtomicU64::new(bytes),
        }
    }

    pub fn get(&self, image: usize) -> Option<Arc<RgbImage>> {
        self.slots[image].get().cloned()
    }

    pub fn keep(&self, image: usize, picture: &Arc<RgbImage>) {
        let bytes = picture.data.len() as u64;
        let take = |room: u64| room.checked_sub(bytes);
        if self
            .room
            .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return;
        }
        if self.slots[image].set(picture.clone()).is_err() {
            // Another thread was faster with the same picture.
            self.room.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(bytes: usize) -> Arc<RgbImage> {
        Arc::new(RgbImage {
            width: bytes / 3,
            height: 1,
            data: vec![0; bytes],
        })
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let cache = Cache::new(5, 100);
        for image in 0..4 {
            cache.keep(image, &picture(30));
        }
        assert!((0..3).all(|image| cache.get(image).is_some()));
        assert!(cache.get(3).is_none());
        cache.keep(4, &picture(9));
        assert!(cache.get(4).is_some());
        assert_eq!(cache.room.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn keeping_twice_costs_once() {
        let cache = Cache::new(1, 100);
        cache.keep(0, &picture(30));
        cache.keep(0, &picture(30));
        assert_eq!(cache.room.load(Ordering::Relaxed), 70);
    }
}
