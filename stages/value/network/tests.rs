use super::*;
use crate::events::Silent;

/// States of which the value is a function of two named features together, and of a number.
fn lessons(count: u64, from: u64) -> Vec<Lesson> {
    (from..from + count)
        .map(|i| {
            let (a, b, x) = (
                key::unit(&["a".into(), i.into()]) < 0.5,
                key::unit(&["b".into(), i.into()]) < 0.5,
                key::unit(&["x".into(), i.into()]),
            );
            let good = (a ^ b) == (x < 0.5);
            let sparse = vec![1000 + u64::from(a), 2000 + u64::from(b), 1_000_000 + i % 97];
            let target =
                Target { place: 0, target: f32::from(u8::from(good)), weight: 1.0, group: (i / 10) as u32 };
            Lesson::new(&Features { dense: vec![x as f32, 1.0], sparse }, target)
        })
        .collect()
}

fn training(loss: ValueLoss) -> Training {
    Training { loss, epochs: 12, batch: 64, learning_rate: 0.01, seed: 3 }
}

#[test]
fn it_learns_what_no_linear_function_says_with_every_loss_and_a_constant_cannot() {
    let (train, held) = (lessons(4000, 0), lessons(1000, 100_000));
    for loss in [ValueLoss::Bce, ValueLoss::Mse, ValueLoss::Pairwise] {
        let (network, _, _) = Network::train(&train, &held, &training(loss), &Silent).unwrap();
        let right = |l: &&Lesson| (network.forward(&l.seen).z > 0.0) == (l.target.target > 0.5);
        let share = held.iter().filter(right).count() as f64 / held.len() as f64;
        assert!(share > 0.9, "{loss:?}: {share}");
    }
}

#[test]
fn threads_do_not_change_it_and_its_file_gives_it_back() {
    let train = lessons(600, 0);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Network::train(&train, &[], &training(ValueLoss::Bce), &Silent).unwrap().0)
    };
    let one = on(1);
    assert_eq!(one, on(4));
    let bytes = one.file().unwrap();
    assert_eq!(Network::parse("x".as_ref(), &bytes).unwrap(), one);
    assert!(Network::parse("x".as_ref(), &bytes[..bytes.len() - 4]).is_err());
}

#[test]
fn gradients_are_those_of_the_loss() {
    let train = lessons(8, 0);
    let mut network = Network::new(2, 5);
    let mut gradient = vec![0.0; network.dense.len()];
    for lesson in &train {
        let pass = network.forward(&lesson.seen);
        network.backward(&lesson.seen, &pass, sigmoid(pass.z) - lesson.target.target, &mut gradient);
    }
    for i in (0..network.dense.len()).step_by(37) {
        let kept = network.dense[i];
        let mut at = |x: f32| {
            network.dense[i] = x;
            network.loss(ValueLoss::Bce, &train) * 8.0
        };
        let slope = (at(kept + 1e-2) - at(kept - 1e-2)) / 2e-2;
        network.dense[i] = kept;
        assert!((slope - f64::from(gradient[i])).abs() < 2e-2, "weight {i}: {slope} and {}", gradient[i]);
    }
}
