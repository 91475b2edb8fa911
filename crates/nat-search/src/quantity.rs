//! Numbers as people write them: `200M`, `15ms`, `30%`.

use crate::Objective;

/// The number of a text that may end in `K`, `M`, `G`, `ms` or `%`; nothing where it is no finite number.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    let text = text.strip_suffix("ms").unwrap_or(text).trim_end();
    let (digits, scale) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        Some((at, 'g' | 'G')) => (&text[..at], 1e9),
        Some((at, '%')) => (&text[..at], 1.0),
        _ => (text, 1.0),
    };
    let number = digits.trim().parse::<f64>().ok()? * scale;
    number.is_finite().then_some(number)
}

/// What is wrong with what stands behind the number of a text, where it cannot be said of an objective.
pub(crate) fn wrong_unit(objective: Objective, text: &str) -> Option<&'static str> {
    let text = text.trim_end();
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic() || c == '%');
    match (objective, &text[digits.len()..]) {
        (Objective::Command(_), "m") => Some(
            "ends in 'm', which of a command may be milli or million: write M for million, or the plain number",
        ),
        (_, unit) if units(objective).contains(&unit) => None,
        _ => Some("has a unit of something else"),
    }
}

/// What may stand behind a number of an objective. What a command counts only its author knows.
fn units(objective: Objective) -> &'static [&'static str] {
    match objective {
        Objective::Error | Objective::ErrorOn(_) => &["", "%"],
        Objective::Madds | Objective::Params | Objective::Memory => {
            &["", "k", "K", "m", "M", "g", "G"]
        }
        Objective::Latency(_) => &["", "ms"],
        Objective::Command(_) => &["", "k", "K", "M", "g", "G", "ms", "%"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn suffixes_scale_and_nonsense_is_nothing() {
        let read = ["200M", " 1.5 k", "2G", "15ms", "15 ms", "30%", "7"].map(quantity);
        assert_eq!(
            read.map(Option::unwrap),
            [2e8, 1500.0, 2e9, 15.0, 15.0, 30.0, 7.0]
        );
        for text in ["", "M", "ms", "1e999", "1e308K", "nan", "12 apples", "1MM"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn of_a_command_a_small_m_could_be_milli() {
        let energy = Objective::Command(Name::new("energy"));
        for text in ["5m", "5 m "] {
            let wrong = wrong_unit(energy, text).unwrap();
            assert!(wrong.contains("write M"), "{wrong}");
            assert_eq!(wrong_unit(Objective::Madds, text), None);
        }
        for text in ["5", "0.005", "5M", "5k", "5ms", "5%"] {
            assert_eq!(wrong_unit(energy, text), None, "{text}");
        }
        assert!(wrong_unit(Objective::Error, "5m").is_some());
    }
}
