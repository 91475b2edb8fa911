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
    whole: Vec<Slot>,
    reduced: Vec<Slot>,
    room: AtomicU64,
}

type Slot = OnceLock<Arc<RgbImage>>;

impl Cache {
    pub fn new(images: usize, bytes: u64) -> Cache {
        let slots = || (0..images).map(|_| Slot::new()).collect();
        Cache {
            whole: slots(),
            reduced: slots(),
            room: AtomicU64::new(bytes),
        }
    }

    /// The picture as it was decoded.
    pub fn whole(&self, image: usize) -> Option<Arc<RgbImage>> {
        self.whole[image].get().cloned()
    }

    /// The picture at a shorter side, if that is the side it was kept at.
    pub fn reduced(&self, image: usize, side: usize) -> Option<Arc<RgbImage>> {
        let picture = self.reduced[image].get()?;
        (picture.width.min(picture.height) == side).then(|| picture.clone())
    }

    pub fn keep_whole(&self, image: usize, picture: &Arc<RgbImage>) {
        self.keep(&self.whole[image], picture);
    }

    pub fn keep_reduced(&self, image: usize, picture: &Arc<RgbImage>) {
        self.keep(&self.reduced[image], picture);
    }

    fn keep(&self, slot: &Slot, picture: &Arc<RgbImage>) {
        let bytes = picture.data.len() as u64;
        let take = |room: u64| room.checked_sub(bytes);
        if self
            .room
            .try_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_err()
        {
            return;
        }
        if slot.set(picture.clone()).is_err() {
            // The slot was filled before, or by another thread just now.
            self.room.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize) -> Arc<RgbImage> {
        Arc::new(RgbImage {
            width,
            height,
            data: vec![0; width * height * 3],
        })
    }

    #[test]
    fn the_budget_is_never_exceeded() {
        let cache = Cache::new(5, 100);
        cache.keep_whole(0, &picture(10, 1));
        cache.keep_reduced(0, &picture(10, 1));
        cache.keep_whole(1, &picture(10, 1));
        cache.keep_whole(2, &picture(10, 1));
        assert!(cache.whole(0).is_some() && cache.reduced(0, 1).is_some());
        assert!(cache.whole(1).is_some() && cache.whole(2).is_none());
        cache.keep_reduced(4, &picture(3, 1));
        assert!(cache.reduced(4, 1).is_some());
        assert_eq!(cache.room.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn keeping_twice_costs_once() {
        let cache = Cache::new(1, 100);
        cache.keep_whole(0, &picture(10, 1));
        cache.keep_whole(0, &picture(10, 1));
        assert_eq!(cache.room.load(Ordering::Relaxed), 70);
    }

    #[test]
    fn a_reduced_picture_is_found_at_its_own_side_only() {
        let cache = Cache::new(1, 1000);
        cache.keep_reduced(0, &picture(6, 4));
        cache.keep_reduced(0, &picture(3, 2));
        assert!(cache.reduced(0, 4).is_some());
        assert!(cache.reduced(0, 2).is_none() && cache.reduced(0, 6).is_none());
        assert!(cache.whole(0).is_none());
        assert_eq!(cache.room.load(Ordering::Relaxed), 1000 - 72);
    }
}
