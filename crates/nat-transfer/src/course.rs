//! Where a run stands among its iterations: what is done, and what its settings still ask for.

use nat_search::Settings;
use serde::{Deserialize, Serialize};

/// How far a run has come. Iteration 0 leads to the first archive. After it come `search.iterations` that train before they
/// measure, then `search.closing` rounds that do not. A run that has closed and is given more iterations trains again and
/// closes again, so numbers of iterations do not tell of which kind they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// The iteration under way, or the last one where none is.
    pub generation: usize,
    /// Iterations after the first archive that train, this one counted.
    pub trained: usize,
    /// Closing rounds since the last that trains, this one counted.
    pub closed: usize,
}

impl Course {
    /// With the iteration after this one under way.
    pub(crate) fn next(self, settings: &Settings) -> Course {
        let generation = self.generation + 1;
        match self.trained < settings.iterations {
            true => Course {
                generation,
                trained: self.trained + 1,
                closed: 0,
            },
            false => Course {
                generation,
                closed: self.closed + 1,
                ..self
            },
        }
    }

    /// Whether the iteration is a closing round.
    pub fn closes(self) -> bool {
        self.closed > 0
    }

    /// Whether no iteration is to follow.
    pub fn is_last(self, settings: &Settings) -> bool {
        self.trained >= settings.iterations && self.closed >= settings.closing
    }

    /// In which of the iterations or closing rounds that the settings ask for it stands.
    pub fn told(self, settings: &Settings) -> String {
        match self.closes() {
            true => format!("closing round {} of {}", self.closed, settings.closing),
            false => format!("iteration {} of {}", self.trained, settings.iterations),
        }
    }

    /// The number of the last iteration that trains.
    fn last_trained(self, settings: &Settings) -> usize {
        match settings.iterations.saturating_sub(self.trained) {
            0 => self.generation.saturating_sub(self.closed),
            open => self.generation.saturating_add(open),
        }
    }

    /// The number of the last iteration.
    pub fn last(self, settings: &Settings) -> usize {
        let last = self.last_trained(settings).saturating_add(settings.closing);
        last.max(self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(iterations: usize, closing: usize) -> Settings {
        Settings {
            iterations,
            closing,
            ..Settings::default()
        }
    }

    /// Goes on to the end; returns which iterations on the way close, and where it ends.
    fn finish(mut course: Course, settings: &Settings) -> (Vec<bool>, Course) {
        let mut closing = Vec::new();
        let (last_trained, last) = (course.last_trained(settings), course.last(settings));
        while !course.is_last(settings) {
            course = course.next(settings);
            closing.push(course.closes());
            let told = (course.last_trained(settings), course.last(settings));
            assert_eq!(told, (last_trained, last), "the end does not move");
        }
        assert_eq!(course.generation, last);
        (closing, course)
    }

    #[test]
    fn closing_rounds_come_after_all_that_trains() {
        let (closing, end) = finish(Course::default(), &settings(2, 3));
        assert_eq!(closing, [false, false, true, true, true]);
        let whole = Course {
            generation: 5,
            trained: 2,
            closed: 3,
        };
        assert_eq!(end, whole);
        assert_eq!(
            finish(Course::default(), &settings(0, 0)),
            (vec![], Course::default())
        );
    }

    #[test]
    fn more_iterations_are_that_many_more_and_close_again() {
        let (_, end) = finish(Course::default(), &settings(2, 1));
        let (closing, end) = finish(end, &settings(4, 1));
        assert_eq!(closing, [false, false, true]);
        assert_eq!((end.generation, end.trained), (6, 4));
        assert_eq!(end.told(&settings(4, 3)), "closing round 1 of 3");
        let (closing, end) = finish(end, &settings(4, 3));
        assert_eq!(closing, [true, true]);
        let more = settings(5, 3);
        assert_eq!(end.next(&more).told(&more), "iteration 5 of 5");
    }

    #[test]
    fn fewer_iterations_than_are_done_still_close() {
        let done = Course {
            generation: 4,
            trained: 4,
            closed: 0,
        };
        assert_eq!(finish(done, &settings(2, 1)).0, [true]);
        assert!(done.is_last(&settings(2, 0)));
        assert_eq!(done.last(&settings(2, 0)), 4);
    }
}
