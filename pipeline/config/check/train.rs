//! `[train]`, and what the student's losses need of other sections.

use stages::model::DecoderConfig;
use stages::train::lora::{FREEZABLE, TARGETS, Tuned};
use stages::train::losses::TokenLoss;
use stages::train::select::{Select, Targets};
use stages::train::{TeacherAt, TrainConfig};
use stages::value::Estimator;
use stages::value::targets::Level;

use super::Permit::{Above0To1, AtLeast, Below1, Between, NotNegative, Positive, Share};
use super::{Checked, names, numbers, refuse};
use crate::config::types::Config;

/// `[train]` by itself.
pub(super) fn check(train: &TrainConfig) -> Checked {
    let t = train;
    numbers(
        "train",
        &[
            ("replay_times", t.replay_times as f64, AtLeast(1.0)),
            ("epochs", t.epochs, Positive),
            ("batch_size", t.batch_size as f64, AtLeast(1.0)),
            ("micro_batch", t.micro_batch as f64, AtLeast(1.0)),
            ("learning_rate", t.learning_rate, Positive),
            ("warmup", t.warmup, Share),
            ("floor", t.floor, Share),
            ("beta_1", t.beta_1, Below1),
            ("beta_2", t.beta_2, Below1),
            ("weight_decay", t.weight_decay, NotNegative),
            ("clip", t.clip, NotNegative),
            ("prompt_weight", t.prompt_weight, NotNegative),
            ("face_floor", t.face_floor, Share),
            ("golden_share", t.golden_share, Share),
            ("top_k", t.top_k as f64, Between(1.0, 1024.0)),
            ("on_policy", t.on_policy, Share),
            ("on_policy_tokens", t.on_policy_tokens as f64, AtLeast(1.0)),
            ("on_policy_temperature", t.on_policy_temperature, Positive),
            ("distil_share", t.distil_share, Above0To1),
            ("distil_temperature", t.distil_temperature, Positive),
            ("value_gain", t.value_gain, Positive),
            ("future_weight", t.future_weight, Positive),
            ("max_tokens", t.max_tokens as f64, AtLeast(2.0)),
            ("validation_share", t.validation_share, Below1),
            ("lora_alpha", t.lora_alpha, Positive),
            ("value_weight", t.value_weight, NotNegative),
        ],
    )?;
    names("train.freeze", &t.freeze, &FREEZABLE)?;
    names("train.lora_targets", &t.lora_targets, &TARGETS)?;
    if t.lora_rank > 0 && !t.freeze.is_empty() {
        let hint = "adapters leave all weights as they are: choose what they change by train.lora_targets, \
                    or set train.lora_rank to 0";
        return Err(refuse("train.freeze has no effect with train.lora_rank above 0", hint));
    }
    Ok(())
}

/// Checks that `[train]` leaves something to train of a model of this shape.
///
/// # Errors
/// If everything is frozen.
pub fn tuned(train: &TrainConfig, shape: &DecoderConfig) -> Checked {
    let tuned = if train.value_weight > 0.0 { Tuned::beside_head } else { Tuned::of };
    let layers = shape.num_hidden_layers;
    tuned(train, shape, 0)
        .map(|_| ())
        .map_err(|error| refuse(error.to_string(), format!("the model has {layers} layers")))
}

/// What the student's losses need of other sections.
pub(super) fn losses(config: &Config) -> Checked {
    let (train, value) = (&config.train, &config.value);
    if train.loss == TokenLoss::Golden && train.reference.is_empty() && config.model.from_scratch() {
        return Err(refuse(
            "train.loss is \"golden\", but a student from scratch has no trained reference in round 1",
            "set train.reference to the directory of a trained model with the same tokenizer, or model.path \
             to a base",
        ));
    }
    if train.loss == TokenLoss::Distil {
        if train.teacher == TeacherAt::Model && config.model.teacher.is_empty() {
            return Err(refuse(
                "train.loss is \"distil\", but model.teacher is empty",
                "set model.teacher to the directory of a model with the student's tokenizer, or \
                 train.teacher to \"endpoint\"",
            ));
        }
        if train.teacher == TeacherAt::Endpoint && config.model.from_scratch() {
            return Err(refuse(
                "train.teacher is \"endpoint\", but a student from scratch has tokens of its own",
                "set model.path to a model with the tokens of the server's model",
            ));
        }
        if train.targets == Targets::Search {
            return Err(refuse(
                "train.targets is \"search\", but a teacher reads solutions without their dead ends",
                "set train.targets to \"all\" or \"shortest\", or train.loss to \"ce\"",
            ));
        }
    }
    if train.on_policy > 0.0 && train.loss != TokenLoss::Distil {
        return Err(refuse(
            "train.on_policy is above 0, but train.loss is not \"distil\"",
            "a student's own answers teach nothing without a teacher: set train.loss to \"distil\" and \
             model.teacher to a model",
        ));
    }
    if train.on_policy > 0.0 && train.max_tokens_total > 0 {
        return Err(refuse(
            "train.max_tokens_total and train.on_policy are above 0: the length of own answers is unknown",
            "set train.max_steps instead",
        ));
    }
    if train.loss == TokenLoss::Value {
        if !config.has_value(1) {
            let (what, hint) = match value.model {
                Estimator::None => {
                    ("value.model is \"none\"", "set value.model to \"features\" or \"decoder\"")
                }
                _ => (
                    "value.model = \"trunk\" has no trunk in round 1",
                    "set value.model to \"features\" or \"decoder\", or model.path",
                ),
            };
            return Err(refuse(format!("train.loss is \"value\", but {what}"), hint));
        }
        if !value.levels.contains(&Level::Steps) {
            return Err(refuse(
                "train.loss is \"value\", but value.levels lacks \"steps\"",
                "steps are weighed by the values of the states between them: add \"steps\"",
            ));
        }
    }
    if train.select == Select::Golden && train.value_weight > 0.0 {
        return Err(refuse(
            "train.select is \"golden\", but with train.value_weight paths of the trees are learned beside \
             the kept rows, in no such order",
            "set train.value_weight to 0, or train.select to \"replay\"",
        ));
    }
    Ok(())
}
