//! Section 2.4 of the golden files.

use nat_supernet::losses::{cross_entropy, distillation};

use crate::fixtures::{assert_close, fixtures, vector};

#[test]
fn losses_and_their_gradients() {
    let Some(fixtures) = fixtures() else { return };
    let cases = fixtures.cases["distillation"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let number = |field: &str| case[field].as_f64().unwrap() as f32;
        let prefix = format!("kd/c{}", case["classes"]);
        let logits = |which: &str| {
            fixtures
                .tensor(&format!("{prefix}/{which}_logits"))
                .logits()
        };
        let labels = fixtures.tensor(&format!("{prefix}/labels")).indices();
        let student = logits("student").autodiff().require_grad();

        let soft = distillation(student.clone(), logits("teacher"));
        let hard = cross_entropy(student.clone(), &labels, number("label_smoothing"));
        let loss = soft.clone() * number("kd_ratio") + hard.clone();
        for (field, value) in [("soft_ce", &soft), ("hard_ce", &hard), ("loss", &loss)] {
            let difference = vector(value.clone())[0] - number(field);
            assert!(
                difference.abs() <= 1e-5,
                "{prefix} {field}: off by {difference}"
            );
        }
        let gradient = student.grad(&loss.backward()).unwrap();
        let name = case["grad"].as_str().unwrap();
        assert_close(name, &vector(gradient), &fixtures.tensor(name).values, 1e-5);
    }
}
