//! What the train stage has of a teacher (`train.loss = "distil"`): stored targets of kept rows, and a model
//! that reads what the student writes itself.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use datasets::table::TokenTargets;
use datasets::types::{Kept, Problem, Split};
use serde::Serialize;
use stages::curate::contamination::normalised;
use stages::model::soft::TopK;
use stages::model::{DecoderConfig, Model, Precision, Tokenizer};
use stages::train::on_policy::OnPolicy;
use stages::train::teacher::{Tokens, same_tokens, stored};
use stages::train::{TrainConfig, row_tokens, validates};

use crate::run::rows::{Rounds, StageOutput, problems_of};
use crate::run::session::Session;
use crate::run::workspace::{FileHashes, Workspace};
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

/// Refuses a teacher whose tokens are not the student's.
///
/// # Errors
/// What differs.
pub fn refuse_other_tokens(path: &Path, teacher: &Model, student: &Model) -> Result<(), Failure> {
    let of = |model: &'_ Model| (model.decoder.config.clone(), model.tokenizer.clone());
    refuse(path, &of(teacher), &of(student))
}

/// The same before anything is loaded, from shapes and tokenizers.
///
/// # Errors
/// What differs.
pub fn refuse(
    path: &Path,
    teacher: &(DecoderConfig, Tokenizer),
    student: &(DecoderConfig, Tokenizer),
) -> Result<(), Failure> {
    fn of((config, tokenizer): &(DecoderConfig, Tokenizer)) -> Tokens<'_> {
        Tokens { tokenizer, ends: &config.eos_token_ids }
    }
    same_tokens(of(teacher), of(student)).map_err(|why| {
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
    #[serde(skip)]
    path: PathBuf,
    teacher: FileHashes,
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
        let path = PathBuf::from(&session.config.model.teacher);
        Ok(Some(Self { teacher: session.workspace.file_hashes(&path)?, path }))
    }

    /// The teacher.
    ///
    /// # Errors
    /// One that cannot be read, or has other tokens than the student.
    pub fn load(&self, workspace: &Workspace, dtype: Precision, student: &Model) -> Result<Arc<Model>> {
        let teacher = workspace.load(&self.path, dtype)?;
        refuse_other_tokens(&self.path, &teacher, student)?;
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
