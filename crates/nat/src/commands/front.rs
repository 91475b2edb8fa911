//! `nat front` and `nat pick`: the answer of a run.

use std::{collections::BTreeSet, io::IsTerminal, path::Path};

use anyhow::Result;
use nat_transfer::{Answer, Limits, Member, Objective, RunDirectory, archive};
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
    if args.json {
        for (index, member) in front.iter().enumerate() {
            println!(
                "{}",
                json_line(&answer, member, tests.as_ref().map(|tests| tests[index]))
            );
        }
    } else if args.csv {
        let columns: Vec<String> = front.first().map_or_else(Vec::new, |member| {
            let known = member.known();
            known
                .map(|(objective, _)| format!(",{objective}"))
                .collect()
        });
        println!(
            "genes{}{}",
            columns.concat(),
            if tests.is_some() { ",test_error" } else { "" }
        );
        for (index, member) in front.iter().enumerate() {
            let test = tests
                .as_ref()
                .map_or(String::new(), |tests| format!(",{}", tests[index]));
            let known: String = member
                .known()
                .map(|(_, value)| format!(",{value}"))
                .collect();
            println!("\"{}\"{known}{test}", member.genes);
        }
    } else {
        print!("{}", front_table(&answer, &front, tests.as_deref()));
    }
    Ok(())
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
            println!("{}", json_line(&answer, member, None));
        }
    } else {
        print!("{}", front_table(&answer, &chosen, None));
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
    print!("{}", front_table(&answer, &front, None));
    let name = run.display();
    if front.len() > MARKED {
        println!(
            "\n* high-trade-off points: moving away from them costs most of one objective per gain in another"
        );
    }
    println!("\nreport   {}", run.join("report.html").display());
    println!("next     nat front {name} --test");
    if let Some(middle) = front.get(front.len() / 2) {
        let limit = (middle.madds as f64 / 1e5).ceil() / 10.0;
        println!(
            "         nat export {name} --where \"madds<={limit}M\" --best error --to model.onnx"
        );
    }
    Ok(())
}

fn test_errors(answer: &Answer, front: &[Member]) -> Result<Vec<f64>> {
    let tests = answer.test(
        front,
        || dataset::open_recorded(&answer.record.data),
        &mut |done| {
            if std::io::stderr().is_terminal() {
                let end = if done == front.len() { '\n' } else { '\r' };
                eprint!(
                    "nat: {done} of {} networks on the test split{end}",
                    front.len()
                );
            }
        },
    )?;
    Ok(tests)
}

fn json_line(answer: &Answer, member: &Member, test_error: Option<f64>) -> Value {
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
    if let Some(test_error) = test_error {
        line.insert("test_error".into(), test_error.into());
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

fn front_table(answer: &Answer, front: &[Member], tests: Option<&[f64]>) -> String {
    let marked: BTreeSet<usize> = if front.len() > MARKED {
        high_tradeoff(answer, front, MARKED).into_iter().collect()
    } else {
        BTreeSet::new()
    };
    let mut header = vec!["genes", "error %"];
    if tests.is_some() {
        header.push("test error %");
    }
    header.extend(["MAdds", "params"]);
    let further: Vec<Objective> = (answer.record.config.objectives.iter().copied())
        .filter(|objective| matches!(objective, Objective::Memory | Objective::Latency(_)))
        .collect();
    let titles: Vec<String> = further.iter().map(ToString::to_string).collect();
    header.extend(titles.iter().map(String::as_str));
    header.extend(["pixels", ""]);
    let rows: Vec<Vec<String>> = front
        .iter()
        .enumerate()
        .map(|(index, member)| {
            let mut row = vec![member.genes.to_string(), format!("{:.2}", member.error)];
            if let Some(tests) = tests {
                row.push(format!("{:.2}", tests[index]));
            }
            row.extend([
                table::millions(member.madds),
                table::millions(member.params),
            ]);
            row.extend(further.iter().map(|&objective| match objective {
                Objective::Memory => format!("{:.0}K", member.memory as f64 / 1e3),
                _ => format!("{:.2} ms", member.value(objective)),
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
