//! Whether a saved state fits the record of its run: both are files that can be changed between two processes.

use std::path::Path;

use nat_search::{Member, Objective};

use crate::{
    RunDirectory, RunRecord, TransferError,
    checkpoint::{self, Position, State},
};

/// Checks that a run can go on from the state in a folder, where `measured` is what it measures of every network.
///
/// # Errors
/// The first field of the state that does not fit the others, or what the record asks for and the state does not hold.
pub(crate) fn check_state(
    directory: &RunDirectory,
    record: &RunRecord,
    measured: &[Objective],
    state: &State,
    folder: &Path,
) -> Result<(), TransferError> {
    let path = checkpoint::state_path(folder);
    let check = |holds: bool, reason: String| match holds {
        true => Ok(()),
        false => Err(TransferError::Damaged {
            path: path.clone(),
            reason,
        }),
    };
    let course = state.course;
    check(
        (course.trained.checked_add(course.closed)).is_some_and(|all| all <= course.generation),
        format!(
            "trained and closed must be no more than generation together, got {} and {} of {}",
            course.trained, course.closed, course.generation
        ),
    )?;
    let sets = record.data.len();
    let (candidates, members) = (state.candidates.len(), state.archive.len());
    let (place, under_way, seen) = match &state.position {
        Position::Pretrain { set, .. }
        | Position::WarmUp { set, .. }
        | Position::Adapt { set, .. } => (*set, true, 0),
        Position::Evaluate { set, errors } => {
            check(
                errors.len() == candidates,
                format!(
                    "position.errors must have an entry for each of {candidates} candidates, got {}",
                    errors.len()
                ),
            )?;
            (*set, true, *set)
        }
        Position::Complete => (0, false, 0),
    };
    check(
        place < sets,
        format!("position.set must be below {sets}, the number of data sets, got {place}"),
    )?;
    check(
        !under_way || candidates > 0,
        "candidates must not be empty inside an iteration".into(),
    )?;
    check(
        under_way || members > 0,
        "archive must not be empty after an iteration".into(),
    )?;
    check(
        state.measured.len() == seen && state.measured.iter().all(|set| set.len() == candidates),
        format!(
            "measured must have {seen} lists, one for each data set before that of the position, of {candidates} \
             measurements"
        ),
    )?;
    if !state.readings.is_empty() {
        let whole = state.readings.iter().all(|set| set.len() == members);
        check(
            state.readings.len() == sets && whole,
            format!(
                "readings must have {sets} lists, one for each data set, of {members} measurements"
            ),
        )?;
        check(
            !matches!(state.position, Position::Evaluate { .. }) || candidates >= members,
            "candidates must begin with the archive that readings are of".into(),
        )?;
    }
    let archive: Vec<Member> = (state.archive.iter())
        .map(|line| line.member(&record.space))
        .collect::<Result<_, _>>()?;
    check_archive(directory, record, measured, &archive, folder)?;
    let differs = |what: &str, known: String, wanted: String| TransferError::Damaged {
        path: directory.path("run.toml"),
        reason: format!(
            "{what} must stay as in {}: {known}; got {wanted}. Restore it, or start a new run",
            path.display()
        ),
    };
    let (known, wanted) = (state.seed, record.config.seed);
    if known != wanted {
        return Err(differs("seed", known.to_string(), wanted.to_string()));
    }
    let (known, wanted) = (&state.objectives, &record.config.objectives);
    if known != wanted {
        let list = |objectives: &[Objective]| {
            let names: Vec<String> = objectives.iter().map(Objective::to_string).collect();
            names.join(", ")
        };
        return Err(differs("objectives", list(known), list(wanted)));
    }
    check(
        [0, known.len()].contains(&state.reference.len()),
        format!(
            "reference must have a value for each of {} objectives, got {}",
            known.len(),
            state.reference.len()
        ),
    )?;
    Ok(())
}

/// Checks that whatever is measured, judged by or limited is known of every network of the archive in a folder.
///
/// # Errors
/// The first objective that is not.
pub(crate) fn check_archive(
    directory: &RunDirectory,
    record: &RunRecord,
    measured: &[Objective],
    archive: &[Member],
    folder: &Path,
) -> Result<(), TransferError> {
    let config = &record.config;
    let mut wanted = (measured.iter().copied())
        .chain(config.objectives.iter().copied())
        .chain(config.limits.objectives());
    let is_unknown = |objective: &Objective| {
        archive
            .iter()
            .any(|member| member.get(*objective).is_none())
    };
    match wanted.find(is_unknown) {
        None => Ok(()),
        Some(objective) => Err(TransferError::Damaged {
            path: directory.path("run.toml"),
            reason: format!(
                "asks for '{objective}', of which nothing is known in the archive of {}: take it out again, or start a \
                 new run",
                checkpoint::state_path(folder).display()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use nat_search::{Costs, Limits, Name};

    use super::*;
    use crate::{ArchiveLine, Course, Measurement, checkpoint::Candidate, record::tests::record};

    const SEEN: Measurement = Measurement {
        error: 20.0,
        doubt: 25.0,
    };

    /// A state of two candidates that were in the archive before.
    fn state(position: Position) -> State {
        let record = record();
        let genes = [record.space.smallest(), record.space.largest()];
        let costs = Costs::new(record.space.clone(), 2);
        let line = |genes: &nat_space::Genotype| {
            ArchiveLine::of(0, &costs.member(genes.clone(), SEEN.error))
        };
        State {
            course: Course {
                generation: 1,
                trained: 1,
                closed: 0,
            },
            position,
            candidates: genes.iter().map(Candidate::unforeseen).collect(),
            archive: genes.iter().map(line).collect(),
            seed: record.config.seed,
            objectives: record.config.objectives.clone(),
            reference: vec![90.0, 1e7],
            evaluation: record.config.evaluate,
            measured: Vec::new(),
            readings: vec![vec![SEEN; 2]],
            predictors: Vec::new(),
        }
    }

    fn evaluate(set: usize, errors: usize) -> Position {
        let errors = vec![None; errors];
        Position::Evaluate { set, errors }
    }

    fn checked(record: &RunRecord, commands: &[&str], state: &State) -> Result<(), TransferError> {
        let commands = commands.iter().map(|name| Name::new(name)).collect();
        let measured = record.costs(commands).unwrap().measured();
        let folder = Path::new("run/generation-001");
        check_state(&RunDirectory::at("run"), record, &measured, state, folder)
    }

    #[test]
    fn fields_of_a_state_that_do_not_fit_each_other_are_named_with_the_file() {
        for position in [
            Position::WarmUp { set: 0, step: 3 },
            Position::Adapt { set: 0, step: 3 },
            evaluate(0, 2),
            Position::Complete,
        ] {
            checked(&record(), &[], &state(position)).unwrap();
        }
        let with = |position: Position, change: fn(&mut State)| {
            let mut state = state(position);
            change(&mut state);
            state
        };
        let adapt = || Position::Adapt { set: 0, step: 0 };
        for (state, told) in [
            (state(evaluate(0, 1)), "position.errors must have an entry"),
            (state(evaluate(0, 3)), "position.errors must have an entry"),
            (state(evaluate(1, 2)), "position.set must be below 1"),
            (
                state(Position::Pretrain { set: 7, step: 0 }),
                "position.set must be below 1",
            ),
            (
                with(adapt(), |state| state.candidates.clear()),
                "candidates must not be empty",
            ),
            (
                with(evaluate(0, 0), |state| state.candidates.clear()),
                "candidates must not be empty",
            ),
            (
                with(Position::Complete, |state| state.course.closed = 1),
                "trained and closed must be no more than generation",
            ),
            (
                with(Position::Complete, |state| state.archive.clear()),
                "archive must not be empty",
            ),
            (
                with(evaluate(0, 2), |state| state.measured.push(vec![SEEN; 2])),
                "measured must have 0 lists",
            ),
            (
                with(adapt(), |state| state.reference.truncate(1)),
                "reference must have a value for each of 2",
            ),
            (
                with(adapt(), |state| state.readings[0].push(SEEN)),
                "readings must have 1 lists",
            ),
            (
                with(evaluate(0, 1), |state| state.candidates.truncate(1)),
                "candidates must begin with the archive",
            ),
        ] {
            let error = checked(&record(), &[], &state).unwrap_err().to_string();
            let path = checkpoint::state_path(Path::new("run/generation-001"));
            let start = format!("{}: {told}", path.display());
            assert!(error.starts_with(&start), "{error} for {start}");
        }
    }

    #[test]
    fn a_record_that_asks_for_more_than_was_measured_is_named() {
        let refused = |record: &RunRecord, commands: &[&str]| {
            let error = checked(record, commands, &state(Position::Complete)).unwrap_err();
            assert!(matches!(error, TransferError::Damaged { .. }));
            let error = error.to_string();
            let path = RunDirectory::at("run").path("run.toml");
            assert!(error.starts_with(&path.display().to_string()), "{error}");
            assert!(error.contains("state.json"), "{error}");
            error
        };
        assert!(refused(&record(), &["energy"]).contains("'command:energy'"));
        let mut more = record();
        more.config.objectives.push(Objective::Params);
        assert!(refused(&more, &[]).contains("error, madds; got error, madds, params"));
        more.config.objectives.truncate(1);
        assert!(refused(&more, &[]).contains("got error."));
        more.config.objectives.push(Objective::Params);
        assert!(refused(&more, &[]).contains("got error, params."));

        let mut other = record();
        other.config.seed += 1;
        assert!(refused(&other, &[]).contains("seed must stay"));

        let mut limited = record();
        limited.config.limits = Limits::parse("command:energy<=5").unwrap();
        assert!(refused(&limited, &["energy"]).contains("'command:energy'"));
        let archive = state(Position::Complete).archive;
        let archive: Vec<Member> = (archive.iter())
            .map(|line| line.member(&limited.space).unwrap())
            .collect();
        let folder = Path::new("run/generation-001");
        let directory = RunDirectory::at("run");
        check_archive(&directory, &record(), &[], &archive, folder).unwrap();
        assert!(check_archive(&directory, &limited, &[], &archive, folder).is_err());
    }
}
