//! What the train stage has of a teacher (`train.loss = "distil"`): stored targets of kept rows, and a model
//! that reads what the student writes itself.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use datasets::table::TokenTargets;
use datasets::types::{Kept, Problem, Split};
use serde::Serialize;
use stages::curate::contamination::normalised;
use stages::model::soft::TopK;
use stages::model::{Model, Precision};
use stages::train::on_policy::OnPolicy;
use stages::train::teacher::{Tokens, same_tokens, stored};
use stages::train::{TrainConfig, row_tokens, validates};

use crate::run::rows::{Rounds, StageOutput, problems_of};
use crate::run::session::Session;
use crate::run::workspace::Workspace;
use crate::stage::policy::ModelFiles;
use crate::terminal::exit::Failure;

/// What the teacher said of each kept row, if it has read it.
///
/// # Errors
/// Failed reads.
pub fn taught(targets: &Rounds, kept: &[Kept], config: &TrainConfig) -> Result<Vec<Option<Arc<TopK>>>> {
    let mut all = HashMap::new();
    for round in &targets.0 {
        for row in round.read::<TokenTargets>()? {
            all.insert(row.solution_id.clone(), Arc::new(stored(row, config)?));
        }
    }
    Ok(kept.iter().map(|row| all.get(&row.solution_id).cloned()).collect())
}

/// The tokens of a model.
pub fn tokens(model: &Model) -> Tokens<'_> {
    Tokens { tokenizer: &model.tokenizer, ends: &model.decoder.config.eos_token_ids }
}

/// Refuses a teacher whose tokens are not the student's.
///
/// # Errors
/// What differs.
pub fn refuse_other_tokens(path: &Path, teacher: Tokens<'_>, student: Tokens<'_>) -> Result<(), Failure> {
    same_tokens(teacher, student).map_err(|why| {
        Failure::input(
            format!("{} cannot be the teacher: {why}", path.display()),
            "a student learns a teacher's distribution over the same tokens: set model.teacher to a model of \
             the student's family, or train.loss to \"ce\" to learn from its samples",
        )
    })
}

/// What rows that a student writes itself depend on.
#[derive(Serialize)]
pub struct OwnRows {
    teacher: ModelFiles,
}

impl OwnRows {
    /// Those of a session, if it asks for any.
    ///
    /// # Errors
    /// A teacher that cannot be read.
    pub fn of(session: &Session) -> Result<Option<Self>> {
        if session.config.train.on_policy == 0.0 {
            return Ok(None);
        }
        Ok(Some(Self { teacher: ModelFiles::of(session, &session.config.model.teacher)? }))
    }

    /// The teacher.
    ///
    /// # Errors
    /// One that cannot be read, or has other tokens than the student.
    pub fn load(&self, workspace: &Workspace, dtype: Precision, student: &Model) -> Result<Arc<Model>> {
        let teacher = self.teacher.load(workspace, dtype)?;
        refuse_other_tokens(&self.teacher.path, tokens(&teacher), tokens(student))?;
        Ok(teacher)
    }

    /// The questions of train problems as the student is asked them: not of those that validate, and none
    /// that a test problem asks.
    ///
    /// # Errors
    /// Failed reads; if no question is left.
    pub fn prompts(problems: &StageOutput, config: &TrainConfig, student: &Model) -> Result<Vec<Vec<u32>>> {
        let held: Vec<Problem> =
            if config.allow_leaks { Vec::new() } else { problems_of(problems, Split::Test, 0)? };
        let held: HashSet<String> = held.iter().map(|p| normalised(&p.question)).collect();
        let asked = |problem: &Problem| {
            !validates(&problem.problem_id, config) && !held.contains(&normalised(&problem.question))
        };
        let mut prompts = Vec::new();
        for problem in problems_of(problems, Split::Train, 0)?.iter().filter(|problem| asked(problem)) {
            let (prompt, _) = row_tokens(&student.tokenizer, 0, &problem.question, "")?;
            if OnPolicy::fits(&prompt, config, &student.decoder.config) {
                prompts.push(prompt);
            }
        }
        if prompts.is_empty() {
            return Err(Failure::input(
                "no train problem is left for the student to answer (train.on_policy)",
                "lower train.on_policy_tokens, or give more problems",
            )
            .into());
        }
        Ok(prompts)
    }
}
