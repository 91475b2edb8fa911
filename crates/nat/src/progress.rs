//! A run on the terminal: a line an iteration, and under it a bar for what is being done.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nat_search::Settings;
use nat_transfer::{Course, Epoch, Event, Generation, Observer, Phase, Progress as Step, Seconds};

/// Least time between two lines about passes over the images.
const BETWEEN_EPOCHS: Duration = Duration::from_secs(5);

/// Watches a run for a person. Where stderr is no terminal, only whole lines are written.
pub struct Progress {
    bar: ProgressBar,
    phase: Option<(Phase, usize)>,
    phase_begun: Instant,
    /// Steps of the phase at the last call.
    done: usize,
    /// Where the run stands, and how far it is to go.
    course: Course,
    search: Settings,
    clock: TimeLeft,
    last: String,
    warned: bool,
    told: Option<Instant>,
    profile: bool,
}

impl Progress {
    /// Begins to watch; with `profile`, an iteration's line says where its time went.
    pub fn new(profile: bool) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template("{bar:12} {pos}/{len} {wide_msg}")
                .expect("the template is well formed"),
        );
        Progress {
            bar,
            phase: None,
            phase_begun: Instant::now(),
            done: 0,
            course: Course::default(),
            search: Settings::default(),
            clock: TimeLeft::default(),
            last: String::new(),
            warned: false,
            told: None,
            profile,
        }
    }

    /// Removes the bar.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    /// A line that stays above the bar.
    pub fn line(&self, text: &str) {
        if std::io::stderr().is_terminal() {
            self.bar.println(text);
        } else {
            errln!("{text}");
        }
    }

    /// A pass over the images, where there is no terminal to show a bar on. Of those that follow each other fast, few are told.
    pub fn epoch(&mut self, epoch: &Epoch) {
        let soon = self
            .told
            .is_some_and(|told| told.elapsed() < BETWEEN_EPOCHS);
        if std::io::stderr().is_terminal() || soon {
            return;
        }
        self.told = Some(Instant::now());
        let iteration = match epoch.phase {
            Phase::Finetune => String::new(),
            _ => format!("iteration {}  ", self.course.trained),
        };
        let set = epoch.set.as_ref();
        self.line(&format!(
            "{iteration}{:<8}{}  epoch {}  loss {:.3}  {:.0} images/s",
            epoch.phase.name(),
            set.map_or_else(String::new, |set| format!("  {set}")),
            epoch.epoch,
            epoch.loss,
            epoch.images_per_s,
        ));
    }

    fn generation(&mut self, ended: &Generation) {
        let all = ended.further.iter().filter_map(|agreement| agreement.tau);
        let worst = all.chain(ended.tau).reduce(f64::min);
        let mut tau = (ended.tau).map_or_else(|| "-".to_owned(), |tau| format!("{tau:.2}"));
        for agreement in &ended.further {
            if let Some(value) = agreement.tau {
                tau.push_str(&format!(", {} {value:.2}", agreement.objective));
            }
        }
        self.last = format!("HV {:.4}  tau {tau}", ended.hypervolume);
        let (course, search) = (self.course, self.search);
        let new = match course.closes() {
            true => 1.0,
            false => ended.predicted.len() as f64 / ended.archive.max(1) as f64,
        };
        self.clock
            .iteration_ended(ended.seconds.fit + ended.seconds.search, new);
        // On a terminal the bar says it.
        let left = (self.clock.after(course, &search))
            .filter(|_| !course.is_last(&search) && !std::io::stderr().is_terminal())
            .map_or_else(String::new, |left| format!(", {} left", plain(left)));
        let iteration = match course.closes() {
            true => format!("closing {:>4} of {}", course.closed, search.closing),
            false => format!("iteration {:>2} of {}", course.trained, search.iterations),
        };
        self.line(&format!(
            "{iteration}  archive {:>3}  front {:>3}  HV {:.4}  best error {:.2} %  tau {tau}  ({:.0} s{left})",
            ended.archive,
            ended.front,
            ended.hypervolume,
            ended.best_error,
            ended.seconds.total()
        ));
        if self.profile {
            self.line(&profile(&ended.seconds));
        }
        let poor = worst.is_some_and(|tau| tau < POOR_TAU);
        if poor && !std::mem::replace(&mut self.warned, true) {
            self.line(&format!(
                "nat: warning: the predictor ranks new networks poorly (Kendall's tau below \
                 {POOR_TAU}); more search images or a longer training usually help"
            ));
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Epoch(epoch) => self.epoch(epoch),
            Event::Generation(generation) => self.generation(generation),
            Event::Start { .. } | Event::Resume { .. } | Event::Finish(_) => {}
        }
    }

    fn progress(&mut self, step: &Step) {
        (self.course, self.search) = (step.course, step.search);
        // The trials of a learning rate and the training after them are one phase, each counted from its beginning.
        let phase = Some((step.phase, step.course.generation));
        if self.phase != phase || step.done < self.done {
            self.phase = phase;
            self.phase_begun = Instant::now();
            self.clock.phase_began(step);
            self.bar.reset();
        }
        self.done = step.done;
        self.clock.stepped(step, self.phase_begun.elapsed());
        self.bar.set_length(step.total as u64);
        self.bar.set_position(step.done as u64);
        let loss = step
            .loss
            .map_or_else(String::new, |loss| format!("  loss {loss:.3}"));
        let left = match (self.clock.left(step), self.clock.left_of_phase(step)) {
            (Some(left), _) => format!("{} left  ", plain(left)),
            (None, Some(left)) => format!("{} left of this phase  ", plain(left)),
            (None, None) => String::new(),
        };
        let rate = if step.images_per_s > 0.0 {
            format!("  {:.0} images/s", step.images_per_s)
        } else {
            String::new()
        };
        let set = step
            .set
            .map_or_else(String::new, |set| format!(" {}", set.as_str()));
        let iteration = match step.phase {
            Phase::Finetune => String::new(),
            _ => step.course.told(&step.search) + "  ",
        };
        // What matters most comes first: a narrow terminal cuts off the rest.
        self.bar.set_message(format!(
            "{left}{iteration}{}{set}{loss}  {}{rate}",
            step.phase.name(),
            self.last
        ));
    }
}

/// Where the time of an iteration went: its parts, and what these were made of.
fn profile(seconds: &Seconds) -> String {
    let within = &seconds.within;
    let parts = [
        ("before the first archive", seconds.pretrain),
        ("adapt", seconds.adapt),
        ("evaluate", seconds.evaluate),
        ("commands", seconds.commands),
        ("fit the predictor", seconds.fit),
        ("search", seconds.search),
    ];
    let total: f64 = parts.iter().map(|(_, part)| part).sum();
    let shares = |parts: &[(&str, f64)], total: f64| {
        let shown: Vec<String> = parts
            .iter()
            .filter(|(_, part)| *part > 0.0)
            .map(|(name, part)| format!("{name} {part:.2} s ({:.0} %)", 100.0 * part / total))
            .collect();
        shown.join(", ")
    };
    let training = seconds.pretrain + seconds.adapt;
    let measuring = within.calibration + within.classification;
    format!(
        "    {}\n    training: {}\n    measuring, all workers: {}",
        shares(&parts, total),
        shares(
            &[
                ("forward and backward", within.gradients),
                ("optimizer", within.updates),
                ("waiting for images", within.waiting),
                ("saving", within.saving),
            ],
            training
        ),
        shares(
            &[
                ("recalibration", within.calibration),
                ("classification", within.classification),
            ],
            measuring
        ),
    )
}

/// Rank correlation below which a predictor is of little use.
const POOR_TAU: f64 = 0.5;

/// Seconds that the rest of the run will take, from the speed of what has been seen.
#[derive(Default)]
struct TimeLeft {
    adapt: Option<Rate>,
    evaluate: Option<Rate>,
    current: Option<Rate>,
    between: f64,
    /// Networks that a closing round measures.
    new: f64,
    already: usize,
}

#[derive(Clone, Copy)]
struct Rate {
    seconds_each: f64,
    total: usize,
}

impl TimeLeft {
    fn phase_began(&mut self, step: &Step) {
        self.already = step.done.saturating_sub(1);
        self.current = None;
    }

    fn stepped(&mut self, step: &Step, since: Duration) {
        let done = step.done.saturating_sub(self.already);
        if done == 0 {
            return;
        }
        let rate = Some(Rate {
            seconds_each: since.as_secs_f64() / done as f64,
            total: step.total,
        });
        self.current = rate;
        match step.phase {
            Phase::Adapt => self.adapt = rate,
            Phase::Evaluate => self.evaluate = rate,
            Phase::Pretrain | Phase::WarmUp | Phase::Finetune | Phase::Search | Phase::Commands => {
            }
        }
    }

    /// After an iteration, given the share of the networks measured in it that were new.
    fn iteration_ended(&mut self, between: f64, new: f64) {
        self.between = between;
        let measured = self.evaluate.map_or(0, |evaluate| evaluate.total);
        self.new = new * measured as f64;
    }

    /// A closing round, from its search on.
    fn closing_round(&self, evaluate: Rate) -> f64 {
        self.between + self.new * evaluate.seconds_each
    }

    fn left_of_phase(&self, step: &Step) -> Option<f64> {
        Some(self.current?.seconds_each * (step.total - step.done) as f64)
    }

    /// The rest of this iteration and of all later ones; unknown until both of its long phases have been seen once.
    fn left(&self, step: &Step) -> Option<f64> {
        let evaluate = self.evaluate?;
        let whole = |rate: Rate| rate.seconds_each * rate.total as f64;
        let open = (step.total - step.done) as f64;
        let here = match step.phase {
            // How long a command takes is known once it is over.
            Phase::Pretrain | Phase::WarmUp | Phase::Finetune | Phase::Commands => return None,
            Phase::Search if step.course.closes() => self.closing_round(evaluate),
            Phase::Search => self.between + whole(self.adapt?) + whole(evaluate),
            Phase::Adapt => open * self.adapt?.seconds_each + whole(evaluate),
            Phase::Evaluate => open * evaluate.seconds_each,
        };
        Some(here + self.after(step.course, &step.search)?)
    }

    /// All iterations that are still to come; unknown until the long phases among them have been seen once.
    fn after(&self, course: Course, search: &Settings) -> Option<f64> {
        let whole = |rate: Rate| rate.seconds_each * rate.total as f64;
        let evaluate = self.evaluate?;
        let (training, closing) = match search.iterations.saturating_sub(course.trained) {
            0 => (0.0, search.closing.saturating_sub(course.closed)),
            open => {
                let each = self.between + whole(self.adapt?) + whole(evaluate);
                (open as f64 * each, search.closing)
            }
        };
        Some(training + closing as f64 * self.closing_round(evaluate))
    }
}

/// A duration as people say it.
fn plain(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two iterations train, the third is a closing round.
    fn search(closing: usize) -> Settings {
        Settings {
            iterations: 2,
            closing,
            ..Settings::default()
        }
    }

    fn course(generation: usize) -> Course {
        Course {
            generation,
            trained: generation.min(2),
            closed: generation.saturating_sub(2),
        }
    }

    fn step(phase: Phase, generation: usize, done: usize, total: usize) -> Step {
        Step {
            phase,
            set: None,
            course: course(generation),
            search: search(1),
            done,
            total,
            images_per_s: 1.0,
            loss: None,
        }
    }

    #[test]
    fn time_left_covers_this_iteration_and_the_later_ones() {
        let mut clock = TimeLeft::default();
        let adapt = step(Phase::Adapt, 1, 5, 10);
        clock.stepped(&adapt, Duration::from_secs(10));
        assert_eq!(clock.left(&adapt), None);
        clock.stepped(&step(Phase::Evaluate, 0, 4, 4), Duration::from_secs(4));
        clock.iteration_ended(1.0, 0.5);
        // The last of the two to come is a closing round, and measures the half that is new.
        let later = (1.0 + 20.0 + 4.0) + (1.0 + 2.0);
        assert_eq!(clock.left(&adapt), Some(5.0 * 2.0 + 4.0 + later));
        assert_eq!(clock.after(course(1), &search(1)), Some(later));
        assert_eq!(clock.after(course(3), &search(1)), Some(0.0));
        let closing = step(Phase::Search, 3, 0, 1);
        assert_eq!(clock.left(&closing), Some(1.0 + 2.0));
        clock.stepped(&step(Phase::Evaluate, 3, 3, 3), Duration::from_secs(3));
        clock.iteration_ended(1.0, 1.0);
        assert_eq!(clock.after(course(3), &search(2)), Some(1.0 + 3.0));
    }

    #[test]
    fn durations_are_plain() {
        assert_eq!(plain(59.9), "59 s");
        assert_eq!(plain(61.0), "1 min 01 s");
        assert_eq!(plain(7260.0), "2 h 01 min");
    }
}
