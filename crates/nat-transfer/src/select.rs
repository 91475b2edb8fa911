//! Choosing networks by limits: `madds<=200M,error<30`.

use crate::{Member, Objective, TransferError};

/// How a value is compared with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// One limit on one objective.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limit {
    objective: Objective,
    comparison: Comparison,
    bound: f64,
}

/// Limits that a network must meet, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits(Vec<Limit>);

impl Limits {
    /// Reads `name<=value` parts separated by commas or `and`. Values may end in `K`, `M`, `G` or `%`.
    ///
    /// # Errors
    /// An unknown objective, no comparison, or something that is no number; the message quotes the part.
    pub fn parse(text: &str) -> Result<Limits, TransferError> {
        text.replace(" and ", ",")
            .split(',')
            .map(|part| parse_limit(part.trim()))
            .collect::<Result<_, _>>()
            .map(Limits)
    }

    /// Whether a network meets every limit.
    pub fn admit(&self, member: &Member) -> bool {
        self.0.iter().all(|limit| {
            let value = member.value(limit.objective);
            match limit.comparison {
                Comparison::Less => value < limit.bound,
                Comparison::AtMost => value <= limit.bound,
                Comparison::Greater => value > limit.bound,
                Comparison::AtLeast => value >= limit.bound,
            }
        })
    }
}

fn parse_limit(part: &str) -> Result<Limit, TransferError> {
    let bad = |what: &str| {
        TransferError::Config(format!(
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
    let rest = rest.trim();
    let (digits, scale) = match rest.char_indices().last() {
        Some((at, 'k' | 'K')) => (&rest[..at], 1e3),
        Some((at, 'm' | 'M')) => (&rest[..at], 1e6),
        Some((at, 'g' | 'G')) => (&rest[..at], 1e9),
        Some((at, '%')) => (&rest[..at], 1.0),
        _ => (rest, 1.0),
    };
    let number: f64 = digits
        .trim()
        .parse()
        .map_err(|_| bad("does not end in a number"))?;
    if !number.is_finite() {
        return Err(bad("does not end in a finite number"));
    }
    Ok(Limit {
        objective,
        comparison,
        bound: number * scale,
    })
}

/// The admitted network with the least value of `best`; ties by the other values, then by genotype.
///
/// # Errors
/// Nothing is admitted; the message gives the range that the front covers.
pub fn pick<'a>(
    front: &'a [Member],
    limits: &Limits,
    best: Objective,
) -> Result<&'a Member, TransferError> {
    let rank = |member: &Member| {
        (
            member.value(best),
            member.error,
            member.madds,
            member.params,
        )
    };
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
            TransferError::Config(format!(
                "no network of the front meets these limits; the front covers {}",
                Objective::ALL.map(range).join(", ")
            ))
        })
}

fn span(objective: Objective, low: f64, high: f64) -> String {
    match objective {
        Objective::Error => format!("{low:.1} to {high:.1} %"),
        Objective::Madds | Objective::Params => format!("{:.2}M to {:.2}M", low / 1e6, high / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use nat_space::Space;

    use super::*;

    fn member(error: f64, madds: u64) -> Member {
        Member {
            genes: Space::builtin("tiny").unwrap().smallest(),
            error,
            madds,
            params: 1000,
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
    fn nonsense_is_quoted() {
        for (text, part) in [
            ("madds", "no comparison"),
            ("madds<=x", "number"),
            ("weight<1", "'weight'"),
            ("", "''"),
        ] {
            let error = Limits::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
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
        let error = pick(
            &front,
            &Limits::parse("madds<=0.5M").unwrap(),
            Objective::Error,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("1.00M to 3.00M") && error.contains("20.0 to 40.0 %"),
            "{error}"
        );
    }
}
