//! Choosing networks by limits: `madds<=200M,error<30`.

use serde::{Deserialize, Serialize};

use crate::{
    Member, Objective, SearchError,
    quantity::{quantity, wrong_unit},
};

/// How a value is compared with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Most by which a network misses a bound: sums of it stay finite.
const FARTHEST: f64 = 1e100;

/// One limit on one objective.
#[derive(Clone, Debug, PartialEq)]
struct Limit {
    objective: Objective,
    comparison: Comparison,
    bound: f64,
    /// As it was written.
    text: String,
}

impl Limit {
    /// By how much a network misses the bound, as a share of it; 0 where it does not.
    fn violation(&self, member: &Member) -> f64 {
        let value = member.value(self.objective);
        let (excess, strict) = match self.comparison {
            Comparison::Less => (value - self.bound, true),
            Comparison::AtMost => (value - self.bound, false),
            Comparison::Greater => (self.bound - value, true),
            Comparison::AtLeast => (self.bound - value, false),
        };
        if excess < 0.0 || excess == 0.0 && !strict {
            return 0.0;
        }
        let scale = if self.bound == 0.0 {
            1.0
        } else {
            self.bound.abs()
        };
        (excess / scale).clamp(f64::EPSILON, FARTHEST)
    }
}

/// Limits that a network must meet, all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Limits(Vec<Limit>);

impl Limits {
    /// Reads `name<=value` parts separated by commas or `and`. Values may end in `K`, `M`, `G`, `ms` or `%`; small letters
    /// mean the same, but for the `m` of a command's value, which is refused: the command may count in milli.
    ///
    /// # Errors
    /// An unknown objective, no comparison, something that is no number, or another unit than the objective's; the message
    /// quotes the part.
    pub fn parse(text: &str) -> Result<Limits, SearchError> {
        text.replace(" and ", ",")
            .split(',')
            .map(|part| parse_limit(part.trim()))
            .collect::<Result<_, _>>()
            .map(Limits)
    }

    /// Whether a network meets every limit.
    pub fn admit(&self, member: &Member) -> bool {
        self.violation(member) == 0.0
    }

    /// By how much a network misses the limits: the sum of the excesses, each as a share of its bound. 0 where it
    /// meets all.
    pub fn violation(&self, member: &Member) -> f64 {
        self.0.iter().map(|limit| limit.violation(member)).sum()
    }

    /// What is limited.
    pub fn objectives(&self) -> impl Iterator<Item = Objective> {
        self.0.iter().map(|limit| limit.objective)
    }

    /// Gives objectives other names.
    ///
    /// # Errors
    /// What `rename` says.
    pub fn rename<E>(
        &mut self,
        mut rename: impl FnMut(Objective) -> Result<Objective, E>,
    ) -> Result<(), E> {
        for limit in &mut self.0 {
            let renamed = rename(limit.objective)?;
            if renamed != limit.objective {
                let comparison = limit.text.find(['<', '>']).unwrap_or_default();
                limit.text = format!("{renamed}{}", &limit.text[comparison..]);
                limit.objective = renamed;
            }
        }
        Ok(())
    }

    /// Whether everything that is limited is known of the networks of a front.
    ///
    /// # Errors
    /// The first objective that is not, and those that are.
    pub fn check(&self, front: &[Member]) -> Result<(), SearchError> {
        self.objectives()
            .try_for_each(|objective| known(front, objective))
    }

    /// Checks that no two limits on an objective leave nothing between them.
    ///
    /// # Errors
    /// The first two that do.
    pub fn check_consistent(&self) -> Result<(), SearchError> {
        let is_lower =
            |limit: &&Limit| matches!(limit.comparison, Comparison::Greater | Comparison::AtLeast);
        for lower in self.0.iter().filter(is_lower) {
            for upper in self.0.iter().filter(|limit| !is_lower(limit)) {
                let is_strict =
                    lower.comparison == Comparison::Greater || upper.comparison == Comparison::Less;
                let crossed = lower.bound > upper.bound || lower.bound == upper.bound && is_strict;
                if lower.objective == upper.objective && crossed {
                    return Err(SearchError::Config(format!(
                        "the limits '{}' and '{}' contradict each other: no network meets both",
                        lower.text, upper.text
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether one of the limits alone leaves no network: where the smallest is too large for it, or the largest too small.
    pub(crate) fn exclude(&self, smallest: &Member, largest: &Member) -> bool {
        self.0.iter().any(|limit| {
            let nearest = match limit.comparison {
                Comparison::Less | Comparison::AtMost => smallest,
                Comparison::Greater | Comparison::AtLeast => largest,
            };
            limit.violation(nearest) > 0.0
        })
    }

    /// Why none of the networks between the smallest and the largest meets these limits.
    pub(crate) fn unmet(&self, smallest: &Member, largest: &Member) -> SearchError {
        let mut ranges: Vec<String> = Vec::new();
        for objective in self.objectives() {
            let span = span(
                objective,
                smallest.value(objective),
                largest.value(objective),
            );
            let range = format!("{objective} {span}");
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        let texts: Vec<&str> = self.0.iter().map(|limit| &limit.text[..]).collect();
        SearchError::Config(format!(
            "no network of the space meets {}; from the smallest to the largest: {}",
            texts.join(", "),
            ranges.join(", ")
        ))
    }

    /// Those limits that nothing has to be measured for.
    pub fn on_costs(&self) -> Limits {
        let on_costs = |limit: &&Limit| !limit.objective.is_measured();
        Limits(self.0.iter().filter(on_costs).cloned().collect())
    }
}

impl TryFrom<Vec<String>> for Limits {
    type Error = SearchError;

    fn try_from(texts: Vec<String>) -> Result<Limits, SearchError> {
        let all = texts.iter().map(|text| Limits::parse(text));
        let all: Vec<Limits> = all.collect::<Result<_, _>>()?;
        Ok(Limits(
            all.into_iter().flat_map(|limits| limits.0).collect(),
        ))
    }
}

impl From<Limits> for Vec<String> {
    fn from(limits: Limits) -> Vec<String> {
        limits.0.into_iter().map(|limit| limit.text).collect()
    }
}

fn parse_limit(part: &str) -> Result<Limit, SearchError> {
    let bad = |what: &str| {
        SearchError::Config(format!(
            "the limit '{part}' {what}; write for example madds<=200M or error<30"
        ))
    };
    let start = part
        .find(['<', '>'])
        .ok_or_else(|| bad("has no comparison (<, <=, >, >=)"))?;
    let objective: Objective = part[..start].trim().parse()?;
    let (operator, rest) = part[start..].split_at(if part[start + 1..].starts_with('=') {
        2
    } else {
        1
    });
    let comparison = match operator {
        "<" => Comparison::Less,
        "<=" => Comparison::AtMost,
        ">" => Comparison::Greater,
        _ => Comparison::AtLeast,
    };
    let bound = quantity(rest).ok_or_else(|| bad("does not end in a finite number"))?;
    if let Some(what) = wrong_unit(objective, rest) {
        return Err(bad(what));
    }
    Ok(Limit {
        objective,
        comparison,
        bound,
        text: part.to_owned(),
    })
}

fn known(front: &[Member], objective: Objective) -> Result<(), SearchError> {
    match front.first() {
        Some(member) if member.get(objective).is_none() => {
            let names = member.known().map(|(objective, _)| objective.to_string());
            Err(SearchError::Config(format!(
                "nothing is known of '{objective}' here; there are {}",
                names.collect::<Vec<_>>().join(", ")
            )))
        }
        _ => Ok(()),
    }
}

/// The admitted network with the least value of `best`; ties by error, multiply-adds and parameters, then by genotype.
///
/// # Errors
/// Something is asked that is not known of the networks; or nothing is admitted: then the message gives the range that the
/// front covers.
pub fn pick<'a>(
    front: &'a [Member],
    limits: &Limits,
    best: Objective,
) -> Result<&'a Member, SearchError> {
    limits.check(front)?;
    known(front, best)?;
    let rank = |member: &Member| {
        (
            member.value(best),
            member.error,
            member.madds,
            member.params,
        )
    };
    if front.is_empty() {
        return Err(SearchError::Config(
            "no measured network meets the limits of the run".into(),
        ));
    }
    front
        .iter()
        .filter(|member| limits.admit(member))
        .min_by(|a, b| {
            rank(a)
                .partial_cmp(&rank(b))
                .expect("objectives are numbers")
                .then_with(|| a.genes.cmp(&b.genes))
        })
        .ok_or_else(|| {
            let range = |objective: Objective| {
                let values = front.iter().map(|member| member.value(objective));
                let (low, high) = values
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                        (low.min(value), high.max(value))
                    });
                format!("{objective} {}", span(objective, low, high))
            };
            SearchError::Config(format!(
                "no network of the front meets these limits; the front covers {}",
                (front[0].known())
                    .map(|(objective, _)| range(objective))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })
}

fn span(objective: Objective, low: f64, high: f64) -> String {
    match objective {
        Objective::Error | Objective::ErrorOn(_) => format!("{low:.1} to {high:.1} %"),
        Objective::Madds | Objective::Params => format!("{:.2}M to {:.2}M", low / 1e6, high / 1e6),
        Objective::Memory => format!("{:.0}K to {:.0}K", low / 1e3, high / 1e3),
        Objective::Latency(_) => format!("{low:.2} to {high:.2} ms"),
        Objective::Command(_) => format!("{low} to {high}"),
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;
    use crate::Name;

    fn member(error: f64, madds: u64) -> Member {
        Member {
            genes: Space::builtin("tiny").unwrap().smallest(),
            error,
            madds,
            params: 1000,
            memory: 5000,
            measures: vec![(Objective::Latency(Name::new("phone")), 12.5)],
        }
    }

    #[test]
    fn renamed_limits_are_read_as_what_they_are() {
        for text in ["latency<=15ms", "latency:<=15ms", "latency: <= 15ms"] {
            let mut limits = Limits::parse(text).unwrap();
            let phone = Objective::Latency(Name::new("phone"));
            limits.rename(|_| Ok::<_, ()>(phone)).unwrap();
            let texts: Vec<String> = limits.clone().into();
            assert_eq!(Limits::try_from(texts).unwrap(), limits, "{text}");
            assert_eq!(limits.objectives().collect::<Vec<_>>(), [phone]);
        }
    }

    #[test]
    fn limits_are_read_with_their_units() {
        let limits = Limits::parse("madds<=2.5M, error < 30%").unwrap();
        assert!(limits.admit(&member(29.9, 2_500_000)));
        assert!(!limits.admit(&member(30.0, 2_500_000)));
        assert!(!limits.admit(&member(10.0, 2_500_001)));
        assert!(
            Limits::parse("params>=1K and error>1")
                .unwrap()
                .admit(&member(2.0, 1))
        );
    }

    #[test]
    fn violations_are_shares_of_the_bounds() {
        let violation = |text: &str| {
            Limits::parse(text)
                .unwrap()
                .violation(&member(30.0, 3_000_000))
        };
        assert_eq!(violation("madds<=2M"), 0.5);
        assert_eq!(violation("madds<=2M,latency:phone<=10ms"), 0.75);
        assert_eq!(violation("madds<=3M,memory<=5K,error>=30"), 0.0);
        assert!(violation("error<30") > 0.0, "exactly on a strict bound");
        let far = violation("error<=1e-310,error<=2e-310");
        assert!(far.is_finite() && far > 1e50, "{far}");
        assert_eq!(
            Limits::parse("error<30,madds<=2M").unwrap().on_costs(),
            Limits::parse("madds<=2M").unwrap()
        );
    }

    #[test]
    fn a_configuration_holds_them_as_they_were_written() {
        let limits: Limits =
            serde_json::from_str(r#"["madds<=200M", "params<=5M and error<30"]"#).unwrap();
        let text = serde_json::to_string(&limits).unwrap();
        assert_eq!(text, r#"["madds<=200M","params<=5M","error<30"]"#);
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), limits);
    }

    #[test]
    fn nonsense_is_quoted() {
        for (text, part) in [
            ("madds", "no comparison"),
            ("madds<=x", "number"),
            ("weight<1", "'weight'"),
            ("", "''"),
            ("error<=5ms", "'error<=5ms' has a unit of something else"),
            ("error:trash<30M", "unit of something else"),
            ("madds<=15ms", "unit of something else"),
            ("params<5%", "unit of something else"),
            ("latency<=1K", "unit of something else"),
            (
                "command:energy<=5m",
                "'command:energy<=5m' ends in 'm', which of a command",
            ),
        ] {
            let error = Limits::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn limits_with_nothing_between_them_contradict_each_other() {
        let check = |text: &str| Limits::parse(text).unwrap().check_consistent();
        for text in [
            "madds>=40M,madds<=20M",
            "madds<=20M,error<5,madds>=40M",
            "error>5,error<=5",
            "error>=5,error<5",
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains("contradict each other"), "{text}: {error}");
        }
        for text in [
            "madds>=20M,madds<=40M",
            "error>=5,error<=5",
            "madds>=40M,params<=20M",
            "madds<=20M,madds<=40M",
            "latency:phone>=5ms,latency:tablet<=2ms",
        ] {
            check(text).unwrap();
        }
    }

    #[test]
    fn picks_the_best_admitted_and_says_what_there_is_otherwise() {
        let front = [
            member(40.0, 1_000_000),
            member(30.0, 2_000_000),
            member(20.0, 3_000_000),
        ];
        let limits = Limits::parse("madds<=2M").unwrap();
        assert_eq!(pick(&front, &limits, Objective::Error).unwrap().error, 30.0);
        assert_eq!(
            pick(&front, &Limits::default(), Objective::Madds)
                .unwrap()
                .error,
            40.0
        );
        let refused = |limits: &str, best: &str| {
            let limits = Limits::parse(limits).unwrap();
            let picked = pick(&front, &limits, best.parse().unwrap());
            picked.unwrap_err().to_string()
        };
        let error = refused("madds<=0.5M", "error");
        assert!(
            error.contains("1.00M to 3.00M") && error.contains("20.0 to 40.0 %"),
            "{error}"
        );
        for error in [
            refused("latency:tablet<=15ms", "error"),
            refused("madds<=2M", "latency:tablet"),
        ] {
            assert!(
                error.contains("'latency:tablet'") && error.contains("memory, latency:phone"),
                "{error}"
            );
        }
    }
}
