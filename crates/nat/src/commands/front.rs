//! `nat front` and `nat pick`: the answer of a run.

use std::{collections::BTreeSet, io::IsTerminal, path::Path};

use anyhow::Result;
use nat_transfer::{
    Answer, DataRecord, Limits, Member, Name, Objective, Tested, archive, as_written,
};
use serde_json::{Map, Value};

use crate::{
    answer, args,
    commands::report,
    dataset,
    failure::{self, wrong_argument},
    shell, table,
};

/// High-trade-off points that are marked in tables.
const MARKED: usize = 4;

pub fn front(args: &args::Front) -> Result<()> {
    let answer = answer::open(&args.run)?;
    let front = answer.front();
    if front.is_empty() {
        errln!("nat: {}", nothing(&answer));
    }
    let (mut tests, mut larger_test) = (None, None);
    if args.test {
        let larger = larger(&answer, &front).cloned();
        let all: Vec<Member> = front.iter().cloned().chain(larger).collect();
        let mut all = test_errors(&answer, &all)?;
        larger_test = all.drain(front.len()..).next();
        tests = Some(all);
    }
    let test = |index: usize| tests.as_ref().map(|tests| &tests[index]);
    if args.json {
        for (index, member) in front.iter().enumerate() {
            outln!("{}", json_line(&answer, member, test(index)));
        }
    } else if args.csv {
        let mut header = String::from("genes,resolution");
        for (objective, _) in front.iter().take(1).flat_map(Member::known) {
            header.push_str(&format!(",{objective}"));
        }
        let columns = |test| tested(&answer, test);
        for (name, _) in tests.iter().flatten().take(1).flat_map(columns) {
            header.push_str(&format!(",{name}"));
        }
        outln!("{header}");
        for (index, member) in front.iter().enumerate() {
            let known = member.known().map(|(_, value)| value);
            let tested = test(index).into_iter().flat_map(columns);
            let values: String = known
                .chain(tested.map(|(_, error)| error))
                .map(|value| format!(",{value}"))
                .collect();
            let side = answer.record.space.architecture(&member.genes).resolution;
            outln!("\"{}\",{side}{values}", member.genes);
        }
    } else {
        out!("{}", front_table(&answer, &front, tests.as_deref()));
        out!("{}", marks(&front));
        out!("{}", basis(&answer));
        out!("{}", undecided(&answer, &front, larger_test, &args.run));
    }
    let page = args.run.join("report.html");
    if args.test
        && page.exists()
        && let Err(error) = report::write(&args.run, &page)
    {
        // What was asked for has been said.
        errln!(
            "nat: warning: {} is as it was before: {}",
            page.display(),
            failure::one_line(&error)
        );
    }
    Ok(())
}

/// What the asterisks of a table mean, where it has some.
fn marks(front: &[Member]) -> &'static str {
    match front.len() > MARKED {
        true => {
            "\n* high-trade-off points: moving away from them costs most of one objective per gain in another\n"
        }
        false => "",
    }
}

/// What the errors of a table rest on.
fn basis(answer: &Answer) -> String {
    let evaluate = &answer.record.config.evaluate;
    let images = |data: &DataRecord| Some(evaluate.search_images(data.search_images?).to_string());
    let Some(images) = answer
        .record
        .data
        .iter()
        .map(images)
        .collect::<Option<Vec<_>>>()
    else {
        return String::new();
    };
    let how = if evaluate.regress {
        "estimated from"
    } else {
        "counted on"
    };
    format!(
        "\n{}error %: {how} {} images of the search split\n",
        counted(answer),
        images.join(" and ")
    )
}

/// The largest network of the archive that the images of the search cannot tell from the best, where the front has it not.
fn larger<'a>(answer: &'a Answer, front: &[Member]) -> Option<&'a Member> {
    let open = answer.record.undecided(&answer.archive)?;
    let largest = open.larger.first().copied()?;
    (front.iter().all(|member| member.genes != largest.genes)).then_some(largest)
}

/// What the images of the search leave open, empty where nothing. `test` is the test error of the network in question, where it
/// was measured.
fn undecided(answer: &Answer, front: &[Member], test: Option<Tested>, run: &Path) -> String {
    let (Some(open), Some(largest)) = (
        answer.record.undecided(&answer.archive),
        larger(answer, front),
    ) else {
        return String::new();
    };
    let run = shell::quoted(&run.display().to_string());
    let test = test.map_or_else(String::new, |test| {
        format!(", {}test error {:.2} %", counted(answer), test.test_error)
    });
    let counted = counted(answer);
    format!(
        "\nwithin a standard error of the best ({:.1} points), and so perhaps as good or better, is a larger network:\n\
         {}  {counted}error {:.2} %{test}, {} MAdds, {} px (nat export {run} --genes {} --to model.onnx)\n",
        open.standard_error,
        largest.genes,
        largest.error,
        table::millions(largest.madds),
        answer.record.space.architecture(&largest.genes).resolution,
        largest.genes,
    )
}

/// The test errors of a network by the names of their columns, those of several data sets in the order of the run.
fn tested(answer: &Answer, tested: &Tested) -> Vec<(String, f64)> {
    let mean = ("test_error".to_owned(), tested.test_error);
    let sets = answer.record.sets().into_iter().flatten();
    let on_set = |set: Name| {
        let name = format!("test_error:{}", set.as_str());
        let error = *tested.sets.get(&name)?;
        Some((name, error))
    };
    std::iter::once(mean)
        .chain(sets.filter_map(on_set))
        .collect()
}

pub fn pick(args: &args::Pick) -> Result<()> {
    let answer = answer::open(&args.run)?;
    let front = answer.front();
    let chosen: Vec<Member> = match args.tradeoff {
        Some(count) => {
            let (limits, best) = asked(&answer, &args.choice)?;
            // Says why where none is admitted.
            nat_transfer::pick(&front, &limits, best)?;
            let admitted: Vec<Member> = front
                .into_iter()
                .filter(|member| limits.admit(member))
                .collect();
            archive::high_tradeoff(&admitted, &answer.record.config.objectives, count.into())
                .into_iter()
                .map(|i| admitted[i].clone())
                .collect()
        }
        None => vec![choose(&answer, &front, &args.choice)?.clone()],
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
pub fn choose<'a>(
    answer: &Answer,
    front: &'a [Member],
    choice: &args::Choice,
) -> Result<&'a Member> {
    let (limits, best) = asked(answer, choice)?;
    Ok(nat_transfer::pick(front, &limits, best)?)
}

/// `--where` and `--best` in the names that the run uses: as in the arguments of a search, a latency may be named by the file
/// of its table, the only one by nothing, and the error by the way of counting.
fn asked(answer: &Answer, choice: &args::Choice) -> Result<(Limits, Objective)> {
    let record = &answer.record;
    let plain = |text: &str| -> Result<String> {
        match nat_transfer::plain_error(text) {
            Some(_) if !record.config.evaluate.balanced => Err(wrong_argument(
                "this run counts every image the same: it has an error, and no balanced_error",
            )),
            Some(plain) => Ok(plain),
            None => Ok(text.to_owned()),
        }
    };
    let named = |objective: Objective| match objective {
        Objective::Latency(file) if record.tables.iter().all(|(name, _)| *name != file) => {
            let stem = Path::new(file.as_str()).file_stem();
            Objective::Latency(match (stem, &record.tables[..]) {
                (Some(stem), _) => Name::new(&stem.to_string_lossy()),
                (None, [(only, _)]) => *only,
                (None, _) => file,
            })
        }
        other => other,
    };
    let mut limits = match &choice.r#where {
        Some(text) => Limits::parse(&plain(text)?)?,
        None => Limits::default(),
    };
    limits.rename(|objective| Ok::<_, anyhow::Error>(named(objective)))?;
    Ok((limits, named(plain(&choice.best)?.parse()?)))
}

/// A value as limits are written.
fn in_short(objective: Objective, value: f64) -> String {
    match objective {
        Objective::Madds | Objective::Params | Objective::Memory => table::millions(value as u64),
        Objective::Error | Objective::ErrorOn(_) => format!("{value:.2}%"),
        Objective::Latency(_) => format!("{value:.2}ms"),
        Objective::Command(_) => format!("{value}"),
    }
}

/// Why a front is empty.
fn nothing(answer: &Answer) -> String {
    let config = &answer.record.config;
    let limits = as_written(config.limits.clone().into(), config.evaluate.balanced);
    let misses = |member: &&Member| answer.record.config.limits.violation(member);
    let nearest = (answer.archive.iter()).min_by(|a, b| misses(a).total_cmp(&misses(b)));
    let nearest = nearest.map_or_else(String::new, |member| {
        let known: Vec<String> = (member.known())
            .map(|(objective, value)| format!("{objective} {}", in_short(objective, value)))
            .collect();
        format!("; the nearest is {} ({})", member.genes, known.join(", "))
    });
    let mut limited = answer.record.config.limits.objectives();
    let estimated = answer.record.config.evaluate.regress;
    let settled = match estimated && limited.any(Objective::is_error) {
        true => " by errors drawn to their trend over multiply-adds",
        false => "",
    };
    format!(
        "none of the {} measured networks meets the limits of this run{settled}: {}{nearest}",
        answer.archive.len(),
        limits.join(", ")
    )
}

/// The front of a finished run, where its report lies, if anywhere, and what to do next.
pub fn print_answer(run: &Path) -> Result<()> {
    let answer = answer::open(run)?;
    let front = answer.front();
    match front.is_empty() {
        true => outln!("{}", nothing(&answer)),
        false => out!("{}", front_table(&answer, &front, None)),
    }
    out!("{}", marks(&front));
    out!("{}", basis(&answer));
    out!("{}", undecided(&answer, &front, None, run));
    outln!("");
    let page = run.join("report.html");
    if page.exists() {
        outln!("report   {}", page.display());
    }
    if let Some(middle) = front.get(front.len() / 2) {
        let set = answer.record.sets()[0];
        let name = shell::quoted(&run.display().to_string());
        outln!("next     nat front {name} --test");
        let set = set.map(|name| name.as_str());
        outln!("         {}", shell::export(run, set, middle.madds));
    }
    Ok(())
}

fn test_errors(answer: &Answer, front: &[Member]) -> Result<Vec<Tested>> {
    let all = front.len() * answer.record.data.len();
    answer.test(front, dataset::open_recorded, &mut |done| {
        if std::io::stderr().is_terminal() {
            let end = if done == all { '\n' } else { '\r' };
            err!("nat: {done} of {all} measurements on the test split{end}");
        }
    })
}

fn json_line(answer: &Answer, member: &Member, test: Option<&Tested>) -> Value {
    let mut line = Map::new();
    line.insert("genes".into(), member.genes.to_string().into());
    let architecture = answer.record.space.architecture(&member.genes);
    line.insert("resolution".into(), architecture.resolution.into());
    line.insert("error".into(), member.error.into());
    if answer.record.config.evaluate.balanced {
        line.insert("balanced".into(), true.into());
    }
    line.insert("madds".into(), member.madds.into());
    line.insert("params".into(), member.params.into());
    line.insert("memory".into(), member.memory.into());
    for (objective, value) in &member.measures {
        line.insert(objective.to_string(), (*value).into());
    }
    for (name, error) in test.into_iter().flat_map(|test| tested(answer, test)) {
        line.insert(name, error.into());
    }
    Value::Object(line)
}

fn counted(answer: &Answer) -> &'static str {
    table::counted(answer.record.config.evaluate.balanced)
}

fn front_table(answer: &Answer, front: &[Member], tests: Option<&[Tested]>) -> String {
    let marked: BTreeSet<usize> = if front.len() > MARKED {
        archive::high_tradeoff(front, &answer.record.config.objectives, MARKED)
            .into_iter()
            .collect()
    } else {
        BTreeSet::new()
    };
    let counted = counted(answer);
    let mut header: Vec<String> = vec!["genes".into(), format!("{counted}error %")];
    for (name, _) in tests
        .and_then(|tests| tests.first())
        .into_iter()
        .flat_map(|test| tested(answer, test))
    {
        // The name of a data set stays as it is.
        header.push(format!(
            "{} %",
            name.replacen("test_error", &format!("{counted}test error"), 1)
        ));
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
            let errors = test.into_iter().flat_map(|test| tested(answer, test));
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
