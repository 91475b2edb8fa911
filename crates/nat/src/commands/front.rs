//! `nat front` and `nat pick`: the answer of a run.

use std::{collections::BTreeSet, io::IsTerminal, path::Path};

use anyhow::Result;
use nat_transfer::{Answer, Limits, Member, Objective, RunDirectory, Tested, archive};
use serde_json::{Map, Value};

use crate::{args, dataset, failure::wrong_argument, table};

/// High-trade-off points that are marked in tables.
const MARKED: usize = 4;

pub fn front(args: &args::Front) -> Result<()> {
    let answer = Answer::open(RunDirectory::at(&args.run))?;
    let front = answer.front();
    let tests = args
        .test
        .then(|| test_errors(&answer, &front))
        .transpose()?;
    let test = |index: usize| tests.as_ref().map(|tests| &tests[index]);
    if args.json {
        for (index, member) in front.iter().enumerate() {
            outln!("{}", json_line(&answer, member, test(index)));
        }
    } else if args.csv {
        let mut header = String::from("genes");
        for (objective, _) in front.iter().take(1).flat_map(Member::known) {
            header.push_str(&format!(",{objective}"));
        }
        for (name, _) in tests.iter().flatten().take(1).flat_map(tested) {
            header.push_str(&format!(",{name}"));
        }
        outln!("{header}");
        for (index, member) in front.iter().enumerate() {
            let known = member.known().map(|(_, value)| value);
            let tested = test(index).into_iter().flat_map(tested);
            let values: String = known
                .chain(tested.map(|(_, error)| error))
                .map(|value| format!(",{value}"))
                .collect();
            outln!("\"{}\"{values}", member.genes);
        }
    } else {
        out!("{}", front_table(&answer, &front, tests.as_deref()));
    }
    Ok(())
}

/// The test errors of a network by the names of their columns.
fn tested(tested: &Tested) -> impl Iterator<Item = (String, f64)> {
    let mean = ("test_error".to_owned(), tested.test_error);
    let sets = tested.sets.iter();
    std::iter::once(mean).chain(sets.map(|(name, error)| (name.clone(), *error)))
}

pub fn pick(args: &args::Pick) -> Result<()> {
    let answer = Answer::open(RunDirectory::at(&args.run))?;
    let front = answer.front();
    let chosen: Vec<Member> = match args.tradeoff {
        Some(count) => {
            let limits = limits(&args.choice)?;
            let admitted: Vec<Member> = front
                .into_iter()
                .filter(|member| limits.admit(member))
                .collect();
            high_tradeoff(&answer, &admitted, count)
                .into_iter()
                .map(|i| admitted[i].clone())
                .collect()
        }
        None => vec![choose(&front, &args.choice)?.clone()],
    };
    if args.json {
        for member in &chosen {
            outln!("{}", json_line(&answer, member, None));
        }
    } else {
        out!("{}", front_table(&answer, &chosen, None));
    }
    Ok(())
}

/// The network of a front that `--where` and `--best` choose.
pub fn choose<'a>(front: &'a [Member], choice: &args::Choice) -> Result<&'a Member> {
    let best: Objective = choice.best.parse()?;
    Ok(nat_transfer::pick(front, &limits(choice)?, best)?)
}

fn limits(choice: &args::Choice) -> Result<Limits> {
    Ok(choice
        .r#where
        .as_deref()
        .map(Limits::parse)
        .transpose()?
        .unwrap_or_default())
}

/// The front of a finished run, where its report lies and what to do next.
pub fn print_answer(run: &Path) -> Result<()> {
    let answer = Answer::open(RunDirectory::at(run))?;
    let front = answer.front();
    out!("{}", front_table(&answer, &front, None));
    let name = run.display();
    if front.len() > MARKED {
        outln!(
            "\n* high-trade-off points: moving away from them costs most of one objective per gain in another"
        );
    }
    outln!("\nreport   {}", run.join("report.html").display());
    outln!("next     nat front {name} --test");
    if let Some(middle) = front.get(front.len() / 2) {
        let limit = (middle.madds as f64 / 1e5).ceil() / 10.0;
        outln!(
            "         nat export {name} --where \"madds<={limit}M\" --best error --to model.onnx"
        );
    }
    Ok(())
}

fn test_errors(answer: &Answer, front: &[Member]) -> Result<Vec<Tested>> {
    let all = front.len() * answer.record.data.len();
    answer.test(front, dataset::open_recorded, &mut |done| {
        if std::io::stderr().is_terminal() {
            let end = if done == all { '\n' } else { '\r' };
            eprint!("nat: {done} of {all} measurements on the test split{end}");
        }
    })
}

fn json_line(answer: &Answer, member: &Member, test: Option<&Tested>) -> Value {
    let mut line = Map::new();
    line.insert("genes".into(), member.genes.to_string().into());
    let architecture = answer.record.space.architecture(&member.genes);
    line.insert("resolution".into(), architecture.resolution.into());
    line.insert("error".into(), member.error.into());
    line.insert("madds".into(), member.madds.into());
    line.insert("params".into(), member.params.into());
    line.insert("memory".into(), member.memory.into());
    for (objective, value) in &member.measures {
        line.insert(objective.to_string(), (*value).into());
    }
    for (name, error) in test.into_iter().flat_map(tested) {
        line.insert(name, error.into());
    }
    Value::Object(line)
}

/// Positions of the high-trade-off points of a front.
pub fn high_tradeoff(answer: &Answer, front: &[Member], count: usize) -> Vec<usize> {
    let objectives = &answer.record.config.objectives;
    if objectives.len() < 2 || front.len() < 3 {
        return (0..front.len().min(count)).collect();
    }
    nat_moo::high_tradeoff(&archive::rows(front, objectives), count)
}

fn front_table(answer: &Answer, front: &[Member], tests: Option<&[Tested]>) -> String {
    let marked: BTreeSet<usize> = if front.len() > MARKED {
        high_tradeoff(answer, front, MARKED).into_iter().collect()
    } else {
        BTreeSet::new()
    };
    let mut header: Vec<String> = vec!["genes".into(), "error %".into()];
    for (name, _) in tests
        .and_then(|tests| tests.first())
        .into_iter()
        .flat_map(tested)
    {
        header.push(format!("{} %", name.replace('_', " ")));
    }
    header.extend(["MAdds".into(), "params".into()]);
    let further: Vec<Objective> = (answer.record.config.objectives.iter().copied())
        .filter(|objective| {
            !matches!(
                objective,
                Objective::Error | Objective::Madds | Objective::Params
            )
        })
        .collect();
    header.extend(further.iter().map(|objective| match objective {
        Objective::ErrorOn(_) => format!("{objective} %"),
        _ => objective.to_string(),
    }));
    header.extend(["pixels".into(), String::new()]);
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows: Vec<Vec<String>> = front
        .iter()
        .enumerate()
        .map(|(index, member)| {
            let mut row = vec![member.genes.to_string(), format!("{:.2}", member.error)];
            let test = tests.map(|tests| &tests[index]);
            let errors = test.into_iter().flat_map(tested);
            row.extend(errors.map(|(_, error)| format!("{error:.2}")));
            row.extend([
                table::millions(member.madds),
                table::millions(member.params),
            ]);
            row.extend(further.iter().map(|&objective| match objective {
                Objective::Memory => format!("{:.0}K", member.memory as f64 / 1e3),
                Objective::Latency(_) => format!("{:.2} ms", member.value(objective)),
                Objective::Command(_) => format!("{}", member.value(objective)),
                _ => format!("{:.2}", member.value(objective)),
            }));
            row.extend([
                answer
                    .record
                    .space
                    .architecture(&member.genes)
                    .resolution
                    .to_string(),
                if marked.contains(&index) {
                    "*".into()
                } else {
                    String::new()
                },
            ]);
            row
        })
        .collect();
    table::render(&header, &rows)
}

/// The member of a run with the given genotype: from the archive with its error, or any other one without.
pub fn find<'a>(answer: &'a Answer, genes: &nat_space::Genotype) -> Result<&'a Member> {
    answer
        .archive
        .iter()
        .find(|member| member.genes == *genes)
        .ok_or_else(|| {
            wrong_argument(format!(
                "the archive of this run does not hold {genes}; `nat front` lists what it found"
            ))
        })
}
