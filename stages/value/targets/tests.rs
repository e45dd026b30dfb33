use super::*;
use datasets::domains::domain;
use datasets::types::Split;

fn node(id: u32, parent: Option<u32>, step: &str, status: &str) -> Node {
    Node {
        problem_id: "p".into(),
        tree_id: "1-best-of-n".into(),
        node_id: id,
        parent_id: parent,
        step: step.into(),
        status: status.into(),
        visits: 1,
        expansion_order: (status == "expanded").then_some(id),
        ..Node::default()
    }
}

fn reading(targets: Targets, min_tries: u32) -> Reading {
    Reading { targets, min_tries, unexplored: 0.5, most: 100 }
}

/// root -> a -> (right end twice, b -> wrong end), root -> c -> wrong end, three times.
fn sampled_tree() -> Vec<Node> {
    let mut nodes = vec![
        node(0, None, "", "expanded"),
        node(1, Some(0), "a", "expanded"),
        node(2, Some(1), "#### 7", "solution"),
        node(3, Some(1), "b", "expanded"),
        node(4, Some(3), "#### 8", "wrong"),
        node(5, Some(0), "c", "expanded"),
        node(6, Some(5), "#### 9", "wrong"),
    ];
    nodes[2].visits = 2;
    nodes[6].visits = 3;
    nodes[3].value = Some(0.25);
    nodes
}

#[test]
fn what_could_not_be_judged_is_no_try() {
    let mut nodes = sampled_tree();
    nodes.push(node(7, Some(1), "#### many", "undecided"));
    nodes.push(node(8, Some(0), "d", "expanded"));
    nodes.push(node(9, Some(8), "#### several", "undecided"));
    for targets in [Targets::Soft, Targets::Hard, Targets::Backup, Targets::Td] {
        let reading = reading(targets, 1);
        assert_eq!(by_steps(&nodes, &reading), by_steps(&sampled_tree(), &reading), "{targets:?}");
    }
    let nothing_needed = by_steps(&nodes, &reading(Targets::Backup, 0));
    assert!(!nothing_needed.contains_key("d"), "{nothing_needed:?}");
}

fn by_steps(nodes: &[Node], reading: &Reading) -> HashMap<String, (f32, u32)> {
    let problem = puzzle("Use 1, 2 and 3 to make 6.", "6");
    let nodes: Vec<&Node> = nodes.iter().collect();
    let name = |o: &Observed| {
        o.steps.join(" ") + &o.answer.as_ref().map_or(String::new(), |answer| format!(" -> {answer}"))
    };
    observe(&problem, domain("countdown").unwrap(), &nodes, reading, None)
        .iter()
        .map(|o| (name(o), (o.target, o.tries)))
        .collect()
}

fn puzzle(question: &str, answer: &str) -> Problem {
    Problem {
        problem_id: "p".into(),
        domain: "countdown".into(),
        source: "t".into(),
        split: Split::Train,
        question: question.into(),
        answer: answer.into(),
        difficulty: 0,
        meta: String::new(),
    }
}

#[test]
fn sampled_trees_give_shares_maxima_and_values_of_next_states() {
    let nodes = sampled_tree();
    let soft = by_steps(&nodes, &reading(Targets::Soft, 1));
    assert_eq!(soft["a"], (2.0 / 3.0, 3));
    assert_eq!((soft["a b"], soft["c"], soft["a -> 7"]), ((0.0, 1), (0.0, 3), (1.0, 2)));
    assert_eq!(by_steps(&nodes, &reading(Targets::Hard, 1))["a"].0.to_bits(), 1.0f32.to_bits());
    assert_eq!(by_steps(&nodes, &reading(Targets::Backup, 1))["a"].0.to_bits(), 1.0f32.to_bits());
    // With two tries at least, the one path through b is no ground, nor a state.
    let sure = by_steps(&nodes, &reading(Targets::Backup, 2));
    assert!(!sure.contains_key("a b") && sure.contains_key("a b -> 8"));
    // The best next state of c is its end, of a its right end.
    let td = by_steps(&nodes, &reading(Targets::Td, 1));
    assert_eq!((td["a"].0.to_bits(), td["c"].0.to_bits()), (1.0f32.to_bits(), 0.0f32.to_bits()));
    let without: Vec<Node> = nodes.into_iter().filter(|n| n.node_id != 2).collect();
    assert_eq!(by_steps(&without, &reading(Targets::Td, 1))["a"].0.to_bits(), 0.25f32.to_bits());
}

#[test]
fn enumerated_trees_tell_good_states_from_their_siblings() {
    let problem = puzzle("Use 2, 3 and 5 to make 30.", "30");
    let mut nodes = vec![
        node(0, None, "", "expanded"),
        node(1, Some(0), "3*2=6", "expanded"),
        node(2, Some(1), "6*5=30", "solution"),
        node(3, Some(0), "5-3=2", "expanded"),
    ];
    for node in &mut nodes {
        node.tree_id = "1-best-first".into();
    }
    let nodes: Vec<&Node> = nodes.iter().collect();
    let domain = domain("countdown").unwrap();
    let found = observe(&problem, domain, &nodes, &reading(Targets::Soft, 1), None);
    let of = |step: &str| {
        found.iter().find(|o| o.steps.join(" ") == step).unwrap_or_else(|| panic!("{step}: {found:?}"))
    };
    assert_eq!((of("3*2=6").target.to_bits(), of("3*2=6").tries), (1.0f32.to_bits(), 1));
    assert!(of("3*2=6 6*5=30").whole && of("3*2=6 6*5=30").target > 0.5);
    // Searched to its end without success: certain. Merely looked at: half as heavy.
    assert_eq!(
        (of("5-3=2").target.to_bits(), of("5-3=2").weight.to_bits()),
        (0.0f32.to_bits(), 1.0f32.to_bits())
    );
    assert_eq!(
        (of("3+2=5").target.to_bits(), of("3+2=5").weight.to_bits()),
        (0.0f32.to_bits(), 0.5f32.to_bits())
    );
    let few = observe(&problem, domain, &nodes, &Reading { most: 2, ..reading(Targets::Soft, 1) }, None);
    let mass = |found: &[Observed]| found.iter().filter(|o| o.target < 0.5).map(|o| o.weight).sum::<f32>();
    assert_eq!(few.iter().filter(|o| o.target < 0.5).count(), 2);
    assert!(mass(&few) > 0.5 * mass(&found), "those drawn stand for the others");
    assert!(
        observe(&problem, domain, &nodes, &Reading { most: 0, ..reading(Targets::Soft, 1) }, None).is_empty()
    );
}
