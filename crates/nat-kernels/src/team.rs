//! Threads that help with one loop after another.
//!
//! A training step of a small network is several hundred loops of some ten microseconds each, with a few microseconds
//! between them. A helper that sleeps in between wakes up too late for most of them, so helpers look for the next loop for a
//! while before they sleep. The thread that has a loop takes part in it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a helper looks for work before it sleeps: longer than nearly all gaps between the loops of a step.
const PATIENCE: Duration = Duration::from_micros(100);

/// Looks between two at the clock.
const LOOKS: usize = 64;

/// Helpers, and the loops that they may join.
pub(crate) struct Team {
    /// Seats of all jobs together: what helpers look at without a lock.
    seats: AtomicUsize,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    asleep: usize,
    next: usize,
}

/// What a loop consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Items that call no loops themselves and hold no locks: whoever waits for others may join in the meantime.
    Fine,
    /// Anything, such as whole networks.
    Coarse,
}

/// A loop that wants helpers.
#[derive(Clone, Copy)]
struct Job {
    number: usize,
    grain: Grain,
    /// How many more may join.
    seats: usize,
    task: *const Task<'static>,
}

// SAFETY: the task is shared between threads, which its parts allow, and outlives the job: see `Team::run`.
unsafe impl Send for Job {}

struct Task<'a> {
    work: &'a (dyn Fn() + Sync),
    /// Helpers that work on it.
    joined: AtomicUsize,
    panicked: AtomicBool,
}

impl Team {
    /// The team of the process, one helper less than the machine has threads.
    pub(crate) fn global() -> &'static Team {
        static TEAM: OnceLock<Arc<Team>> = OnceLock::new();
        TEAM.get_or_init(|| {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            Team::with_helpers(threads - 1)
        })
    }

    fn with_helpers(helpers: usize) -> Arc<Team> {
        let team = Arc::new(Team {
            seats: AtomicUsize::new(0),
            state: Mutex::default(),
            more: Condvar::new(),
        });
        for _ in 0..helpers {
            let team = Arc::clone(&team);
            // Without a helper loops still end: whoever has them does all of their work.
            let _ = thread::Builder::new()
                .name("nat-kernels".into())
                .spawn(move || team.help());
        }
        team
    }

    /// Calls `work` on this thread, and at the same time on up to `helpers` others that have nothing else to do.
    ///
    /// When its own part is done, this thread helps with the fine loops of those that it waits for.
    ///
    /// # Panics
    /// If `work` does on any thread, when all have left it.
    pub(crate) fn run(&self, helpers: usize, grain: Grain, work: &(dyn Fn() + Sync)) {
        let task = Task {
            work,
            joined: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        };
        let number = self.post(helpers, grain, &task);
        let own = catch_unwind(AssertUnwindSafe(work));
        self.withdraw(number);
        // Nobody joins any more.
        let mut looks = 0usize;
        while task.joined.load(Ordering::Acquire) > 0 {
            if self.seats.load(Ordering::Relaxed) > 0 {
                let other = self.join(&mut self.lock(), Some(Grain::Fine));
                if let Some(other) = other {
                    Team::work_on(other);
                    continue;
                }
            }
            looks += 1;
            match looks % 4096 {
                0 => thread::yield_now(),
                _ => std::hint::spin_loop(),
            }
        }
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!task.panicked.load(Ordering::Relaxed), "a helper panicked");
    }

    fn post(&self, seats: usize, grain: Grain, task: &Task<'_>) -> usize {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let task: *const Task<'_> = task;
        state.jobs.push(Job {
            number,
            grain,
            seats,
            task: task.cast(),
        });
        self.seats.fetch_add(seats, Ordering::Relaxed);
        let wake = state.asleep.min(seats);
        drop(state);
        for _ in 0..wake {
            self.more.notify_one();
        }
        number
    }

    fn withdraw(&self, number: usize) {
        let mut state = self.lock();
        let place = state.jobs.iter().position(|job| job.number == number);
        if let Some(place) = place {
            let job = state.jobs.swap_remove(place);
            self.seats.fetch_sub(job.seats, Ordering::Relaxed);
        }
    }

    /// A seat of some job, of the given grain if any, whose task counts the helper from then on.
    fn join(&self, state: &mut State, grain: Option<Grain>) -> Option<*const Task<'static>> {
        let fits = |job: &&mut Job| job.seats > 0 && grain.is_none_or(|grain| job.grain == grain);
        let job = state.jobs.iter_mut().find(fits)?;
        job.seats -= 1;
        self.seats.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: a job that is listed under the lock has not been withdrawn, so its task lives.
        unsafe { &*job.task }.joined.fetch_add(1, Ordering::Relaxed);
        Some(job.task)
    }

    fn help(&self) -> ! {
        loop {
            Team::work_on(self.wait());
        }
    }

    /// Does what is left of a task that has been joined.
    fn work_on(task: *const Task<'static>) {
        // SAFETY: `run` keeps the task until everyone who has joined it has left.
        let task = unsafe { &*task };
        if catch_unwind(AssertUnwindSafe(task.work)).is_err() {
            task.panicked.store(true, Ordering::Relaxed);
        }
        // The last access to the task: it may be gone afterwards.
        task.joined.fetch_sub(1, Ordering::Release);
    }

    fn wait(&self) -> *const Task<'static> {
        let begun = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.seats.load(Ordering::Relaxed) > 0
                    && let Some(task) = self.join(&mut self.lock(), None)
                {
                    return task;
                }
                std::hint::spin_loop();
            }
            if begun.elapsed() > PATIENCE {
                break;
            }
        }
        let mut state = self.lock();
        loop {
            if let Some(task) = self.join(&mut state, None) {
                return task;
            }
            state.asleep += 1;
            state = self.more.wait(state).expect("no holder of the lock panics");
            state.asleep -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop over `items` that counts how often each is done.
    fn count(team: &Team, helpers: usize, items: usize) -> Vec<usize> {
        let done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
        let next = AtomicUsize::new(0);
        team.run(helpers, Grain::Fine, &|| {
            while let Some(item) = done.get(next.fetch_add(1, Ordering::Relaxed)) {
                item.fetch_add(1, Ordering::Relaxed);
            }
        });
        done.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn all_is_done_when_a_loop_returns() {
        for helpers in 0..4 {
            let team = Team::with_helpers(helpers);
            for items in 0..300 {
                assert!(count(&team, 3, items).iter().all(|&times| times == 1));
                if items % 100 == 0 {
                    thread::sleep(2 * PATIENCE);
                }
            }
        }
    }

    #[test]
    fn several_threads_have_loops_at_once() {
        let team = Team::with_helpers(2);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for items in 0..300 {
                        assert!(count(&team, 2, items).iter().all(|&times| times == 1));
                    }
                });
            }
        });
        assert_eq!(team.seats.load(Ordering::Relaxed), 0);
        assert!(team.lock().jobs.is_empty());
    }

    #[test]
    fn a_helper_takes_part() {
        let team = Team::with_helpers(1);
        let here = thread::current().id();
        let helped = AtomicBool::new(false);
        let begun = Instant::now();
        team.run(1, Grain::Fine, &|| {
            if thread::current().id() != here {
                helped.store(true, Ordering::Release);
            }
            while !helped.load(Ordering::Acquire) && begun.elapsed() < Duration::from_secs(20) {
                std::hint::spin_loop();
            }
        });
        assert!(helped.into_inner(), "nobody helps");
    }

    /// Returns when two threads have met here, or says that they have not.
    fn meet(met: &AtomicUsize) -> bool {
        let begun = Instant::now();
        met.fetch_add(1, Ordering::AcqRel);
        while met.load(Ordering::Acquire) < 2 && begun.elapsed() < Duration::from_secs(20) {
            std::hint::spin_loop();
        }
        met.load(Ordering::Acquire) >= 2
    }

    #[test]
    fn who_waits_helps_with_fine_loops() {
        let team = Team::with_helpers(1);
        let (outer, inner) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let here = thread::current().id();
        team.run(1, Grain::Coarse, &|| {
            assert!(meet(&outer), "the helper joins");
            // This thread is done; the helper has a loop for two.
            if thread::current().id() != here {
                team.run(1, Grain::Fine, &|| assert!(meet(&inner), "nobody helps"));
            }
        });
        assert_eq!(inner.into_inner(), 2);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_spares_the_team() {
        let team = Team::with_helpers(1);
        let here = thread::current().id();
        for panics_here in [true, false] {
            let met = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(1, Grain::Fine, &|| {
                    met.fetch_add(1, Ordering::AcqRel);
                    while met.load(Ordering::Acquire) < 2 {
                        std::hint::spin_loop();
                    }
                    assert!(
                        (thread::current().id() == here) != panics_here,
                        "as planned"
                    );
                })
            }));
            assert!(result.is_err());
            assert!(count(&team, 1, 50).iter().all(|&times| times == 1));
        }
    }
}
