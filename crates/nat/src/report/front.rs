//! The front as a scatter, and its movement over the generations.

use maud::{Markup, html};
use nat_transfer::Objective;

use super::axis::Axis;
use super::label::{self, Label};
use super::model::{Member, Run, Shown, number};
use super::plot::{Frame, WIDE, drawing, figure, points, ramp, ramp_legend};

const HEIGHT: f64 = 400.0;

/// One scatter for each objective on the horizontal axis.
pub fn scatters(run: &Run) -> Markup {
    let y = run.upward();
    html! { @for x in run.rightward() { (scatter(run, x, y)) } }
}

fn scatter(run: &Run, x: Objective, y: Objective) -> Markup {
    let Some(last) = run.archives.last() else {
        return html! {};
    };
    let frame = Frame {
        width: WIDE,
        height: HEIGHT,
        x: Axis::covering(run.settled.iter().map(|member| x.of(member)), 9),
        y: Axis::covering(run.settled.iter().map(|member| y.of(member)), 6),
    };
    let place = |member: &Member| (frame.x(x.of(member)), frame.y(y.of(member)));
    let front: Vec<(f64, f64)> = run.front.iter().map(place).collect();
    let labels = label::place(
        &run.named
            .iter()
            .map(|&position| front[position])
            .collect::<Vec<_>>(),
        &front,
        (frame.left(), frame.top(), frame.right(), frame.bottom()),
    );
    let on_front = |member: &Member| {
        run.front
            .iter()
            .any(|best| best.measured.genes == member.measured.genes)
    };
    let two = run.objectives.len() == 2;
    let body = html! {
        (frame.axes(&x.title(), &y.title()))
        g.archive {
            @for member in run.settled.iter().filter(|member| !on_front(member)) {
                @let (cx, cy) = place(member);
                circle cx=(cx) cy=(cy) r="3" { title { (describe(member)) } }
            }
        }
        @if two { polyline.front points=(staircase(&front)) {} }
        g.front {
            @for (member, (cx, cy)) in run.front.iter().zip(&front) {
                circle cx=(cx) cy=(cy) r="4.5" { title { (describe(member)) } }
            }
        }
        g.named {
            @for (&position, Label { x, y }) in run.named.iter().zip(&labels) {
                @let (cx, cy) = front[position];
                line x1=(cx) y1=(cy) x2=(x) y2=(y) {}
                circle.ring cx=(cx) cy=(cy) r="6.5" {}
                circle.badge cx=(x) cy=(y) r=(label::RADIUS) { title { (describe(&run.front[position])) } }
                text x=(x) y=(y + 4.0) text-anchor="middle" { @if let Some(letter) = run.letter(position) { (letter) } }
            }
        }
    };
    let caption = format!("Front: {} against {}", y.noun(), x.noun());
    let description = format!(
        "Scatter of {} networks measured in generation {}; {} of them are not dominated. {}",
        last.members.len(),
        last.generation,
        run.front.len(),
        extent(&run.front, x, y)
    );
    let explanation = html! {
        span.legend { i.dot.front {} " non-dominated" @if !two { " in " (run.objectives.len()) " objectives" } }
        span.legend { i.dot.archive {} " rest of the archive" }
        span.legend { i.dot.mark {} " high trade-off: leaving it costs most of one objective for a gain in another" }
    };
    let name = format!("front-{}", x.noun().replace(' ', "-"));
    figure(
        &caption,
        drawing(&name, WIDE, HEIGHT, &caption, &description, body),
        explanation,
    )
}

/// The fronts of all generations over each other.
pub fn movement(run: &Run) -> Markup {
    let (Some(first), Some(last)) = (run.archives.first(), run.archives.last()) else {
        return html! {};
    };
    if run.archives.len() < 2 {
        return html! {};
    }
    let (x, y) = (run.rightward()[0], run.upward());
    let fronts: Vec<Vec<&Member>> = run
        .archives
        .iter()
        .map(|archive| projected_front(run, &archive.members, x, y))
        .collect();
    let all = || fronts.iter().flatten();
    let frame = Frame {
        width: WIDE,
        height: HEIGHT,
        x: Axis::covering(all().map(|member| x.of(member)), 9),
        y: Axis::covering(all().map(|member| y.of(member)), 6),
    };
    let body = html! {
        (frame.axes(&x.title(), &y.title()))
        @for (index, (front, archive)) in fronts.iter().zip(&run.archives).enumerate() {
            @let places: Vec<(f64, f64)> =
                front.iter().map(|member| (frame.x(x.of(member)), frame.y(y.of(member)))).collect();
            g.generation style=(ramp(index, fronts.len())) {
                polyline points=(staircase(&places)) { title { "generation " (archive.generation) } }
                @for (cx, cy) in &places { circle cx=(cx) cy=(cy) r="2.2" {} }
            }
        }
    };
    let caption = format!("Movement of the front: {} against {}", y.noun(), x.noun());
    let description = format!(
        "One step line for each of {} generations. Generation {}: {} Generation {}: {}",
        fronts.len(),
        first.generation,
        extent(fronts[0].iter().copied(), x, y),
        last.generation,
        extent(fronts[fronts.len() - 1].iter().copied(), x, y)
    );
    let explanation = html! {
        (ramp_legend(first.generation, last.generation))
        span.legend { "a generation that trains measures its whole archive again, because the weights have moved; a closing round only what is new" }
        @if run.draws_to_trend() { span.legend { "errors as measured; those of the front on top are drawn to their trend over multiply-adds" } }
    };
    figure(
        &caption,
        drawing("movement", WIDE, HEIGHT, &caption, &description, body),
        explanation,
    )
}

/// The members within the run's limits that are non-dominated in two objectives alone, by ascending `x`.
fn projected_front<'a>(
    run: &Run,
    members: &'a [Member],
    x: Objective,
    y: Objective,
) -> Vec<&'a Member> {
    let admitted: Vec<&Member> = (members.iter())
        .filter(|member| run.limits.admit(&member.measured))
        .collect();
    let rows: Vec<Vec<f64>> = (admitted.iter())
        .map(|member| member.values(&[x, y]))
        .collect();
    let mut front: Vec<&Member> = nat_moo::non_dominated(&rows)
        .into_iter()
        .map(|position| admitted[position])
        .collect();
    front.sort_by(|a, b| {
        x.of(a)
            .total_cmp(&x.of(b))
            .then(y.of(a).total_cmp(&y.of(b)))
    });
    front
}

/// The border of what points dominate, given in any order: a step at each point.
fn staircase(places: &[(f64, f64)]) -> String {
    let mut sorted = places.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut corners: Vec<(f64, f64)> = Vec::with_capacity(2 * sorted.len());
    for (x, y) in sorted {
        if let Some(&(_, before)) = corners.last() {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    points(corners)
}

/// A network in one line.
fn describe(member: &Member) -> String {
    format!(
        "error {:.2} %, {:.2} M multiply-adds, {:.2} M parameters: {}",
        member.measured.error,
        Objective::Madds.of(member),
        Objective::Params.of(member),
        member.measured.genes
    )
}

/// The ranges of two objectives in a sentence.
fn extent<'a>(
    members: impl IntoIterator<Item = &'a Member> + Clone,
    x: Objective,
    y: Objective,
) -> String {
    if members.clone().into_iter().next().is_none() {
        return "No network meets the limits.".into();
    }
    let range = |objective: Objective| {
        members
            .clone()
            .into_iter()
            .map(|member| objective.of(member))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(x), range(y));
    format!(
        "{} from {} to {}, {} from {} to {}.",
        y.title(),
        number(y_low),
        number(y_high),
        x.title(),
        number(x_low),
        number(x_high)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_staircase_goes_over_and_then_down() {
        // Vertical coordinates grow downwards, so a front falls from left to right as they grow.
        assert_eq!(
            staircase(&[(30.0, 40.0), (10.0, 5.0), (20.0, 20.0)]),
            "10,5 20,5 20,20 30,20 30,40"
        );
        assert_eq!(staircase(&[]), "");
    }
}
